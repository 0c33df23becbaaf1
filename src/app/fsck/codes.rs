//! Everything a check can find: its code, what it means and what leads out of it. `deploy/README.md`
//! holds this list as a table, and a test compares the two.

macro_rules! codes {
    ($($name:ident = $code:literal, $means:literal, $way_out:literal;)*) => {
        /// What does not check. The spelling is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($name),* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code),* }
            }

            pub fn means(self) -> &'static str {
                match self { $(Code::$name => $means),* }
            }

            /// What to do. What is named is said in the finding's message.
            pub fn way_out(self) -> &'static str {
                match self { $(Code::$name => $way_out),* }
            }
        }
    };
}

codes! {
    LogDamage = "log_damage",
        "the record at the position cannot be read: its bytes are not those that were written",
        "keep the directory as it is; restore the named segment from a copy; what checks is still served";
    LogReadOnly = "log_read_only",
        "the log was opened with damage, or its disk failed, and takes nothing more",
        "for damage: restore the named file from a copy; after a failed write or sync: restart";
    RecordMalformed = "record_malformed",
        "the bytes are whole, but are no record that this program knows",
        "if a newer program has written here, start that one; otherwise as `log_damage`";
    PieceMismatch = "piece_mismatch",
        "a sealed part or index block is not the one that its header commits to",
        "restore the segment from a copy; the header and every proof stay good";
    PieceUnreadable = "piece_unreadable",
        "an index block does not open under its key, though it is the one that was stored",
        "the keyring holds another key under that number: put back the keyring's newest copy";
    PieceGone = "piece_gone",
        "a sealed part or index block is all zeros, and no erasure accounts for it",
        "restore the segment from a copy; without one the content is lost, the header stays";
    IndexMissing = "index_missing",
        "the index of event ids does not know a recorded event, so a retry could be stored twice",
        "stop, remove the folder `log/ids`, start: it is made again from the log";
    LedgerHashes = "ledger_hashes_damaged",
        "stored hashes of the tree differ from the records; no wrong proof was given",
        "stop, remove `ledger/edge`, start: they are made again";
    CheckpointContradicted = "checkpoint_contradicted",
        "the headers do not lead to a root that was signed: they were changed after it",
        "keep the directory and the outside copy as evidence; restore the newest copy of the data directory, or `custody recover`";
    LedgerDiverged = "ledger_diverged",
        "the log lacks or contradicts what was published",
        "restore the newest copy of the data directory; if the records are lost for good: stop, `custody recover`";
    CheckpointDamaged = "checkpoint_damaged",
        "the file of a kept checkpoint cannot be read, is no checkpoint, or its signature does not verify",
        "copy the file from the other place: `ledger/checkpoints` and the outside copy's `checkpoints` hold the same";
    CheckpointMissing = "checkpoint_missing",
        "a published checkpoint lies in one of the two places only",
        "copy the file from the other place";
    CheckpointDiffers = "checkpoint_differs",
        "the two places hold different files for the same checkpoint",
        "see which of them `custody ledger` and those who keep checkpoints know; copy that one over the other";
    OutsideUnreadable = "outside_unreadable",
        "a file or folder of the outside copy cannot be read",
        "mount it, see to its permissions, replace the disk if it fails; if it is lost for good: `custody serve --declare-outside-lost`, once";
    TombMalformed = "tomb_malformed",
        "an entry of the outside copy's `tombs` is no tomb: its name is not 64 hexadecimal digits, or it is not empty",
        "a name that was changed lacks its tomb, which is told too; restore `tombs` from a copy, then remove what does not belong there";
    TombMissing = "tomb_missing",
        "somebody was erased, but the outside copy has no tomb: an older vault would bring the person back unnoticed",
        "make the empty file that the message names in the outside copy's `tombs`";
    TombUnknown = "tomb_unknown",
        "a tomb lies in the outside copy, but the log has no erasure for it",
        "either the log lost its end (see `ledger_diverged`) or the outside copy is another log's: name the right one";
    ErasedAlive = "erased_alive",
        "the vault holds keys of somebody who was erased: it is an older copy",
        "restart: every start destroys again whoever has a tomb";
    VaultFile = "vault_file_damaged",
        "SQLite finds the vault's file damaged",
        "stop; keep the file as it is; put back the newest copy of the `vault` folder; log and keyring stay";
    VaultRows = "vault_rows_changed",
        "the rows of a table of the vault are not those that custody wrote",
        "as `vault_file_damaged`";
    VaultHolder = "vault_holder_damaged",
        "somebody's row in the vault cannot be read, or the keys in it do not open",
        "as `vault_file_damaged`; without a copy, what is sealed for that holder can never be opened";
    VaultIdentifier = "vault_identifier_damaged",
        "an identifier in the vault does not open, or stands where it is not looked for",
        "as `vault_file_damaged`; without a copy, link the identifier again with an `IdentifierLinked` event";
    VaultStray = "vault_row_stray",
        "a row of the vault belongs to nobody, or merges lead in a circle",
        "as `vault_file_damaged`";
    VaultCount = "vault_count_wrong",
        "a number that the vault keeps is not the number of what is there",
        "as `vault_file_damaged`";
    VaultOlder = "vault_older",
        "the vault is older than the log says that it has been",
        "stop; put back the newest copy of the `vault` folder; log and keyring stay";
    VaultLacks = "vault_lacks_person",
        "records name somebody whom the vault does not know, and who was not erased",
        "the vault is older or another's: put back its newest copy; without one, these records stay closed";
    VaultUnnamed = "vault_holder_unnamed",
        "the vault has somebody whom no record names, and who does not wait for one",
        "the log lacks records, or the vault is another's: compare both with their newest copies";
    KeyringLacks = "keyring_lacks_key",
        "the keyring lacks a key that stored bytes need",
        "put back the newest copy of the keyring; if the key was destroyed on purpose, what it locked is gone on purpose";
    ErasureUnfinished = "erasure_unfinished",
        "an erasure was begun and is not done",
        "start the service: it carries them through at every start and every minute";
    ErasureDamaged = "erasure_work_damaged",
        "the file of an erasure in the making is not what was written; nothing is done by it",
        "restore the file from a copy; without one: stop, remove it, start, erase the person again";
    ExportDamaged = "export_damaged",
        "a kept export is not what its manifest or its description says",
        "delete it with `custody export delete` (or its files, if it is not listed) and ask for it again";
    MirrorDiffers = "mirror_differs",
        "the second copy of log or vault is not the same as the first, though nothing is known to be lacking",
        "if the first is sound (no other finding): stop, move the mirror's directory away, `custody serve --new-mirror`; if not, the mirror may be the good one: keep both";
    MirrorFailing = "mirror_failing",
        "the second copy of log or vault lacks something",
        "mount or replace its disk; it is brought up to date every minute by itself; for a new, empty place: `custody serve --new-mirror`";
    ViewsDiffer = "views_differ",
        "answers are made from rows that the log does not lead to",
        "`custody views rebuild` makes them anew";
    ViewsStopped = "views_stopped",
        "the views cannot be made from the log beyond a record, so they were not compared",
        "see what the message names: damage of the log or a lacking key comes first; then `custody views rebuild`";
}

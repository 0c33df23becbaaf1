//! One damage after the other, each done to a copy of a furnished directory, and what is said of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;
use crate::vault::sqlite::harm;

/// What has to be said: one of these codes, or the refusal to open holds the words.
enum Said {
    Found(Code),
    Refused(&'static str),
}
use Said::{Found, Refused};

type Harm = fn(&Place);

fn data(place: &Place, path: &str) -> PathBuf {
    place.root.path().join("data").join(path)
}

fn outside(place: &Place, path: &str) -> PathBuf {
    place.root.path().join("data.outside").join(path)
}

/// All files below, in order.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn only(dir: PathBuf) -> PathBuf {
    files(&dir).into_iter().next().unwrap()
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Flips a byte of the first place that holds `text`.
fn flip_in(path: &Path, text: &[u8], after: usize) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    flip(path, (at + after) as u64);
}

fn segment(place: &Place) -> PathBuf {
    data(place, "log/00000000000000000000.seg")
}

fn vault(place: &Place) -> PathBuf {
    data(place, "vault/vault.sqlite")
}

fn sql(place: &Place, statements: &str) {
    assert!(harm::sql(&vault(place), statements) > 0, "nothing was changed by {statements}");
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// The two newest checkpoints of one of the two places.
fn checkpoints(dir: PathBuf) -> Vec<PathBuf> {
    files(&dir.join("checkpoints")).into_iter().rev().collect()
}

/// What is at `at` bytes of `b` frames: the pieces of a record are overwritten as a purge does.
fn zero_a_piece(place: &Place, whole_part: bool) {
    let path = segment(place);
    let bytes = fs::read(&path).unwrap();
    let head = b"custlog\n".len() as u64;
    assert!(bytes.len() as u64 > head);
    // The last frame of a person's event: its header names `DataCollected`.
    let needle = b"\"type\":\"DataCollected\"";
    let at = bytes.windows(needle.len()).rposition(|window| window == needle).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let begins = |start: usize| {
        let total = word(start + 4);
        (56..=98_304).contains(&total)
            && start + total <= bytes.len()
            && start + total > at
            && crc32c::crc32c(&bytes[start + 4..start + 56]) == word(start) as u32
    };
    let start = (0..at).rev().find(|start| begins(*start)).unwrap();
    let count = u16::from_le_bytes([bytes[start + 26], bytes[start + 27]]) as usize;
    let table = start + 56 + bytes[start + 28] as usize;
    let mut from = table + 8 * count + word(start + 48);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for piece in 0..count {
        let length = word(table + 8 * piece);
        if piece > 0 || whole_part {
            file.write_all_at(&vec![0; length], from as u64).unwrap();
        }
        from += length;
    }
}

const CASES: &[(&str, Harm, Said)] = &[
    // The log.
    ("a header's byte", |p| flip_in(&segment(p), b"\"DataCollected\"", 3), Found(Code::LogDamage)),
    ("the head of the segment", |p| flip(&segment(p), 20), Found(Code::LogReadOnly)),
    ("the segment cut", |p| cut(&segment(p), 3_000), Found(Code::LogReadOnly)),
    ("the segment gone", |p| fs::remove_file(segment(p)).unwrap(), Refused("restore the data directory")),
    ("a sealed part zeroed", |p| zero_a_piece(p, false), Found(Code::PieceGone)),
    ("a whole part zeroed", |p| zero_a_piece(p, true), Found(Code::PieceGone)),
    // The ledger.
    (
        "an older checkpoint inside",
        |p| flip(&checkpoints(data(p, "ledger"))[1], 80),
        Found(Code::CheckpointDamaged),
    ),
    (
        "an older checkpoint outside",
        |p| flip(&checkpoints(outside(p, ""))[1], 80),
        Found(Code::CheckpointDamaged),
    ),
    (
        "an older checkpoint gone inside",
        |p| fs::remove_file(&checkpoints(data(p, "ledger"))[1]).unwrap(),
        Found(Code::CheckpointMissing),
    ),
    (
        "an older checkpoint gone outside",
        |p| fs::remove_file(&checkpoints(outside(p, ""))[1]).unwrap(),
        Found(Code::CheckpointMissing),
    ),
    (
        "two checkpoints swapped",
        |p| {
            let kept = checkpoints(outside(p, ""));
            let (one, other) = (fs::read(&kept[0]).unwrap(), fs::read(&kept[1]).unwrap());
            fs::write(&kept[1], one).unwrap();
            fs::write(&kept[0], other).unwrap();
        },
        Refused("does not check"),
    ),
    (
        "an older checkpoint in place of another, inside and outside",
        |p| {
            for dir in [data(p, "ledger"), outside(p, "")] {
                let kept = checkpoints(dir);
                fs::copy(&kept[2], &kept[1]).unwrap();
            }
        },
        Found(Code::CheckpointDamaged),
    ),
    (
        "checkpoints outside gone",
        |p| fs::remove_dir_all(outside(p, "checkpoints")).unwrap(),
        Refused("outside copy"),
    ),
    // The rest of the outside copy.
    ("a tomb gone", |p| fs::remove_file(only(outside(p, "tombs"))).unwrap(), Found(Code::TombMissing)),
    (
        "a tomb's name changed",
        |p| {
            let tomb = only(outside(p, "tombs"));
            fs::rename(&tomb, tomb.with_file_name("zz")).unwrap();
        },
        Found(Code::TombMalformed),
    ),
    (
        "a tomb that says nothing",
        |p| fs::write(only(outside(p, "tombs")), b"x").unwrap(),
        Refused("a tomb is damaged"),
    ),
    (
        "somebody else's tomb",
        |p| fs::write(outside(p, &format!("tombs/{}", "ab".repeat(32))), b"").unwrap(),
        Found(Code::TombUnknown),
    ),
    (
        "evidence that cannot be read",
        |p| fs::write(only(outside(p, "evidence")), [0xFF, 0xFE]).unwrap(),
        Found(Code::OutsideUnreadable),
    ),
    // The vault.
    ("the vault's head", |p| flip(&vault(p), 3), Refused("put back the newest copy of the `vault` folder")),
    ("the vault cut", |p| cut(&vault(p), 20_480), Refused("damaged")),
    ("the vault gone", |p| fs::remove_file(vault(p)).unwrap(), Found(Code::VaultLacks)),
    ("a holder's keys", |p| harm::flip(&vault(p), "holders", "body", 60), Found(Code::VaultHolder)),
    ("a holder's flag", |p| harm::flip(&vault(p), "holders", "body", 2), Found(Code::VaultRows)),
    (
        "a holder destroyed",
        |p| sql(p, "UPDATE holders SET body = zeroblob(220) WHERE n = (SELECT min(n) FROM bindings)"),
        Found(Code::VaultStray),
    ),
    (
        "a holder removed",
        |p| sql(p, "DELETE FROM holders WHERE n = (SELECT min(n) FROM bindings)"),
        Found(Code::VaultLacks),
    ),
    (
        "a handle removed",
        |p| sql(p, "DELETE FROM handles WHERE n = (SELECT min(n) FROM bindings)"),
        Found(Code::VaultHolder),
    ),
    (
        "a handle of nobody",
        |p| sql(p, "INSERT INTO handles VALUES (x'00112233445566778899aabbccddeeff', 999)"),
        Found(Code::VaultStray),
    ),
    (
        "a binding removed",
        |p| sql(p, "DELETE FROM bindings WHERE n = (SELECT min(n) FROM bindings)"),
        Found(Code::VaultRows),
    ),
    ("a binding's value", |p| harm::flip(&vault(p), "bindings", "sealed", 20), Found(Code::VaultIdentifier)),
    (
        "a binding's place",
        |p| {
            sql(
                p,
                "UPDATE bindings SET place = x'00112233445566778899aabbccddeeff' WHERE n = (SELECT min(n) FROM bindings) AND kind = 'account'",
            )
        },
        Found(Code::VaultIdentifier),
    ),
    (
        "a binding's time",
        |p| sql(p, "UPDATE bindings SET from_ms = from_ms + 1 WHERE n = (SELECT min(n) FROM bindings)"),
        Found(Code::VaultRows),
    ),
    (
        "a sighting removed",
        |p| sql(p, "DELETE FROM seen WHERE n = (SELECT min(n) FROM seen)"),
        Found(Code::VaultRows),
    ),
    (
        "a sighting of nobody",
        |p| sql(p, "UPDATE seen SET n = 999 WHERE n = (SELECT min(n) FROM seen)"),
        Found(Code::VaultStray),
    ),
    ("a merge removed", |p| sql(p, "DELETE FROM merges"), Found(Code::VaultRows)),
    (
        "a merge in a circle",
        |p| sql(p, "INSERT INTO merges SELECT kept, gone FROM merges"),
        Found(Code::VaultStray),
    ),
    ("a pending row of nobody", |p| sql(p, "INSERT INTO pending VALUES (999, 0)"), Found(Code::VaultStray)),
    ("a mark of the erased removed", |p| sql(p, "DELETE FROM erased"), Found(Code::VaultRows)),
    (
        "a count",
        |p| sql(p, "UPDATE meta SET value = value + 1 WHERE name = 'people'"),
        Found(Code::VaultCount),
    ),
    (
        "the generation",
        |p| sql(p, "UPDATE meta SET value = 1 WHERE name = 'generation'"),
        Found(Code::VaultOlder),
    ),
    ("a look-up key", |p| sql(p, "UPDATE seen SET lookup = 77"), Found(Code::KeyringLacks)),
    (
        "a key-encryption key",
        |p| sql(p, "UPDATE meta SET name = 'kek:9' WHERE name = 'kek:1'"),
        Refused("keyring does not fit"),
    ),
    // What lies there for a while.
    ("an export's file", |p| flip(&data(p, "exports/kept/events.ndjson"), 90), Found(Code::ExportDamaged)),
    (
        "an export's file gone",
        |p| fs::remove_file(data(p, "exports/kept/pieces.bin")).unwrap(),
        Found(Code::ExportDamaged),
    ),
    ("an export's manifest", |p| flip(&data(p, "exports/kept/manifest"), 90), Found(Code::ExportDamaged)),
    ("an export's description", |p| flip(&data(p, "exports/kept.json"), 12), Found(Code::ExportDamaged)),
    (
        "a stranger on the shelf",
        |p| fs::write(data(p, "exports/stray"), b"").unwrap(),
        Found(Code::ExportDamaged),
    ),
    (
        "an erasure in the making, changed",
        |p| {
            fs::create_dir_all(data(p, "erasures")).unwrap();
            fs::write(data(p, "erasures/x.json"), b"{\"pieces\":[[1,1]]}\n00\n").unwrap();
        },
        Found(Code::ErasureDamaged),
    ),
    // The keyring.
    ("the keyring's byte", |p| flip(&p.config().data.keyring, 200), Refused("keyring")),
    (
        "the keyring gone",
        |p| fs::remove_file(p.config().data.keyring).unwrap(),
        Refused("there is no keyring"),
    ),
    (
        // This quarter's key is made anew at the start, under the same number.
        "an index key gone",
        |p| {
            let keyring = open_keyring(&p.config(), p.clock.now()).unwrap();
            keyring.remove(Class::Index, 20_261).unwrap();
        },
        Found(Code::PieceUnreadable),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damage_is_named() {
    let place = furnished().await;
    let mut missed = Vec::new();
    for (what, harm, said) in CASES {
        let harmed = copy_of(&place);
        harm(&harmed);
        let outcome = offline(&harmed).await;
        let right = match (&outcome, said) {
            (Ok((told, _)), Found(code)) => told.codes().contains(&code.as_str()),
            (Err(why), Refused(words)) => why.contains(words),
            _ => false,
        };
        if !right {
            let said = outcome.map(|(told, _)| told.0.into_iter().take(4).collect::<Vec<_>>());
            missed.push(format!("{what}: {said:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The service does not stop for what `fsck` can say while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_by_a_running_service_too() {
    let wanted = ["an older checkpoint outside", "a tomb gone", "a binding's time", "a holder's keys"];
    let place = furnished().await;
    for (what, harm, said) in CASES.iter().filter(|(what, ..)| wanted.contains(what)) {
        let harmed = copy_of(&place);
        harm(&harmed);
        let running = harmed.start().await.unwrap();
        let told = online(&running).await;
        let Found(code) = said else { panic!("{what} keeps it from starting") };
        assert!(told.0.iter().all(|finding| !finding.code.way_out().is_empty()));
        assert!(told.codes().contains(&code.as_str()), "{what}: {:?}", told.0);
        running.stop().await.unwrap();
    }
}

/// Hashes are made again at a start, if they do not fit; so this happens to a service that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_hash_that_changes_while_it_is_served_is_named() {
    let place = furnished().await;
    let running = place.start().await.unwrap();
    flip(&data(&place, "ledger/hashes-0"), 40);
    let told = online(&running).await;
    assert_eq!(told.codes(), ["ledger_hashes_damaged"], "{:?}", told.0);
    assert_eq!(told.0[0].position, Some(1));
    running.stop().await.unwrap();
}

/// An erasure that a crash interrupted is named as long as it is not done; an older vault brings the
/// erased back, who are named before a start destroys them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_interrupted_erasure_and_an_older_vault_leave_is_named() {
    let place = furnished().await;
    let older = copy_of(&place);
    let running = place.start().await.unwrap();
    let gone = find(&running, &place, 1).await;
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    let stop = |step| {
        if step == crate::app::erase::Step::Shredded { Err(crate::app::Error::stopping()) } else { Ok(()) }
    };
    let begun = running.app().erase_watched(&Caller::local(), &[Name::Subject(gone)], reason, stop).await;
    assert!(begun.is_err());
    running.stop().await.unwrap();
    let (told, _) = offline(&place).await.unwrap();
    assert_eq!(told.codes(), ["erasure_unfinished"], "{:?}", told.0);
    let name = only(data(&place, "erasures"));
    assert!(told.0[0].place.contains(name.file_name().unwrap().to_str().unwrap()));
    let changed = copy_of(&place);
    flip(&only(data(&changed, "erasures")), 40);
    let (told, _) = offline(&changed).await.unwrap();
    assert!(told.codes().contains(&"erasure_work_damaged"), "{:?}", told.0);
    let running = changed.start().await.unwrap();
    let alarms = running.app().status().await.unwrap().alarms;
    assert!(
        alarms.iter().any(|alarm| alarm.code == "erasure_unfinished"),
        "nothing is purged by it: {alarms:?}"
    );
    running.stop().await.unwrap();

    place.start().await.unwrap().stop().await.unwrap();
    let (told, _) = offline(&place).await.unwrap();
    assert_eq!(told.0, [], "it is carried through");
    fs::copy(vault(&older), vault(&place)).unwrap();
    let (told, _) = offline(&place).await.unwrap();
    assert!(told.codes().contains(&"erased_alive"), "{:?}", told.0);
    place.start().await.unwrap().stop().await.unwrap();
    let (told, _) = offline(&place).await.unwrap();
    assert_eq!(told.0, [], "a start buries them again");
}

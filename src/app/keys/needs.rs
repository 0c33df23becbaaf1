//! What still needs a key, and what nobody can read or trust any more without it: said before it is
//! destroyed.

use crate::app::App;
use crate::app::error::Error;
use crate::app::exports::sources::manifest_key_of;
use crate::domain::time::Timestamp;
use crate::ledger::tlog::{KeyKind, Signer};
use crate::record::Header;
use crate::vault::keyring::{Class, Description};

use super::events::name;

/// Records and bytes read at once.
const RECORDS: usize = 4_096;
const BYTES: usize = 8 << 20;

/// A key with what can be told of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: Description,
    /// Holders locked with it, or rows under it; `None` where only a search would tell.
    pub needed_by: Option<u64>,
    /// When it was destroyed here; then nothing else is known of it.
    pub destroyed: Option<Timestamp>,
}

/// What the end of a key would mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequences {
    /// Why it is not destroyed; `None` if it can be.
    pub refused: Option<String>,
    /// What is lost with it, a sentence each.
    pub lost: Vec<String>,
}

impl Consequences {
    fn refused(why: String) -> Consequences {
        Consequences { refused: Some(why), lost: Vec::new() }
    }
}

type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

impl App {
    /// All keys, those that were destroyed included.
    pub async fn list_keys(&self) -> Result<Vec<Listed>, Error> {
        let locked = self.vault.locked_with().await?;
        let mut listed = Vec::new();
        for key in self.keyring.describe() {
            let needed_by = match key.class {
                Class::Kek => {
                    Some(locked.iter().find(|(id, _)| *id == key.id).map_or(0, |(_, holders)| *holders))
                }
                // Under the active one all that is left, which is not worth a count.
                Class::Lookup if !key.active => Some(self.vault.lookup_use(key.id).await?.rows),
                _ => None,
            };
            listed.push(Listed { key, needed_by, destroyed: None });
        }
        listed.extend(self.keyring.gone().into_iter().map(|gone| Listed {
            key: Description {
                class: gone.class,
                id: gone.id,
                name: (gone.class == Class::Index).then(|| name(gone.class, gone.id)),
                created: gone.at,
                active: false,
                activated: None,
                replaced: None,
            },
            needed_by: Some(0),
            destroyed: Some(gone.at),
        }));
        Ok(listed)
    }

    /// Whether keys can be added, put to use and destroyed from here.
    pub fn keyring_is_writable(&self) -> bool {
        self.keyring.is_writable()
    }

    /// One key as it is listed.
    pub(super) fn described(&self, class: Class, id: u32) -> Result<Description, Error> {
        self.keyring.has(class, id)?;
        let found = self.keyring.describe().into_iter().find(|key| key.class == class && key.id == id);
        found.ok_or_else(|| Error::internal("key_vanished"))
    }

    /// Looks for everything that needs a key. `progress` is told of records, where all are read.
    pub async fn preview_destroy_key(
        &self,
        class: Class,
        id: u32,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Consequences, Error> {
        self.consequences(class, id, &mut progress).await
    }

    pub(super) async fn consequences(
        &self,
        class: Class,
        id: u32,
        progress: Progress<'_>,
    ) -> Result<Consequences, Error> {
        let key = self.described(class, id)?;
        let called = name(class, id);
        if key.active {
            return Ok(Consequences::refused(format!(
                "{called} is the active one: add and activate another first"
            )));
        }
        match class {
            Class::Kek => self.without_kek(&key).await,
            Class::Index => self.without_index(&key, progress).await,
            Class::Lookup => self.without_lookup(&key).await,
            Class::EvidenceLookup => self.without_evidence_lookup(&key).await,
            Class::Fingerprint => Ok(Consequences { refused: None, lost: Vec::new() }),
            Class::Checkpoint | Class::Manifest => self.without_signing(&key),
        }
    }

    async fn without_kek(&self, key: &Description) -> Result<Consequences, Error> {
        let called = name(key.class, key.id);
        let holders = self.vault.count_locked_with(key.id).await?;
        if holders > 0 {
            return Ok(Consequences::refused(format!(
                "the keys of {holders} holders are locked with {called}: run `custody keyring rewrap` first"
            )));
        }
        let from = key.activated.unwrap_or(key.created);
        let to = key.replaced.map_or_else(|| "it was replaced".to_owned(), |at| at.to_string());
        Ok(Consequences {
            refused: None,
            lost: vec![format!(
                "every backup of the vault that was made while {called} was in use, from {from} until {to}, is \
                 worthless: the people in it cannot be opened"
            )],
        })
    }

    async fn without_index(&self, key: &Description, progress: Progress<'_>) -> Result<Consequences, Error> {
        let called = name(key.class, key.id);
        let (writing, _) = self.keyring.active_index(self.clock.now())?;
        if key.id >= writing {
            return Ok(Consequences::refused(format!("records of {called} are being written")));
        }
        let (records, parts) = self.blocks_of(key.id, (0, self.log.head()), progress).await?;
        if records > 0 {
            return Ok(Consequences::refused(format!(
                "{records} records of {called} still say in {parts} index blocks whom they are about: they would be \
                 about nobody, and the views could not be made again. The key goes when the last of them is purged"
            )));
        }
        Ok(Consequences {
            refused: None,
            lost: vec![format!(
                "index blocks of {called} in older copies of the log cannot be opened: a log that is restored from one \
                 has records whose people nobody can tell"
            )],
        })
    }

    /// Records, and parts of them, that have an index block of an epoch left.
    pub(super) async fn blocks_of(
        &self,
        epoch: u32,
        (from, to): (u64, u64),
        progress: Progress<'_>,
    ) -> Result<(u64, u64), Error> {
        let (mut at, mut records, mut parts) = (from, 0, 0);
        while at < to {
            if self.called_off.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::stopping());
            }
            let stored = self.log.read(at, RECORDS, BYTES).await?;
            let Some(last) = stored.last() else { break };
            at = last.position + 1;
            for record in &stored {
                let header = Header::parse(&record.header)?;
                let mut here = 0;
                for i in 0..header.parts.len() {
                    if let Some(Some(piece)) = record.pieces.get(header.index_piece(i)) {
                        here += u64::from(Header::index_epoch(piece)? == epoch);
                    }
                }
                (records, parts) = (records + u64::from(here > 0), parts + here);
            }
            progress(at.min(to), to);
        }
        Ok((records, parts))
    }

    async fn without_lookup(&self, key: &Description) -> Result<Consequences, Error> {
        let called = name(key.class, key.id);
        let needs = self.vault.lookup_use(key.id).await?;
        if needs.rows > 0 {
            return Ok(Consequences::refused(format!(
                "{} identifiers of people are still found under {called}: they are moved by and by, at once by \
                 `custody keyring rewrap`",
                needs.rows
            )));
        }
        if let (1.., Some(until)) = (needs.erased, needs.erased_until) {
            return Ok(Consequences::refused(format!(
                "{} identifiers of erased people are remembered under {called} until {until} at the latest, so that \
                 late events about them are told; they cannot be moved",
                needs.erased
            )));
        }
        let successor =
            self.keyring.describe().into_iter().find(|other| other.class == key.class && other.active);
        let from = match successor {
            Some(successor) => self.used_from(&successor).await?,
            None => None,
        };
        let from = from.unwrap_or_else(|| self.log.head());
        // What was recorded a moment ago counts.
        self.at_least(self.log.head().checked_sub(1)).await?;
        let waiting = self.ask(move |ask| Ok(ask.named_before(from)?)).await?;
        Ok(Consequences {
            refused: None,
            lost: vec![format!(
                "parts of records that name somebody nobody knew yet, and were recorded before position {from}, find \
                 their person no more when an identifier is linked later: at most {waiting} such parts wait"
            )],
        })
    }

    async fn without_evidence_lookup(&self, key: &Description) -> Result<Consequences, Error> {
        let (kept, until) = self.vault.evidence_kept().await?;
        let Some(until) = until.filter(|_| kept > 0) else {
            return Ok(Consequences { refused: None, lost: Vec::new() });
        };
        Ok(Consequences::refused(format!(
            "the evidence of {kept} erased people is kept until {until} at the latest, and some of it may be found \
             under {} only",
            name(key.class, key.id)
        )))
    }

    fn without_signing(&self, key: &Description) -> Result<Consequences, Error> {
        let Some(origin) = self.ledger.origin() else {
            return Ok(Consequences { refused: None, lost: Vec::new() });
        };
        let seed = self.keyring.all(key.class).into_iter().find(|(id, _)| *id == key.id);
        let Some((_, seed)) = seed else { return Err(Error::internal("key_vanished")) };
        if key.class == Class::Manifest {
            let verifier = manifest_key_of(&seed, &origin)?;
            return Ok(Consequences {
                refused: None,
                lost: vec![format!(
                    "no export is signed by {verifier} any more; bundles that it signed verify as before"
                )],
            });
        }
        let signer = Signer::from_seed(&origin, KeyKind::Text, &seed).map_err(crate::ledger::Error::from)?;
        let published = self.ledger.latest().map_or(0, |latest| latest.checkpoint.size);
        Ok(Consequences {
            refused: None,
            lost: vec![format!(
                "checkpoints are signed by {} no more: whoever trusts no other key can check what was published up to \
                 {published} records, and no growth beyond. What it has signed verifies as before",
                signer.verifier()
            )],
        })
    }
}

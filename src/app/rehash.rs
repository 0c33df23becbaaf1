//! The full re-hash of the log, in steps: the tree made again from every header, held against the stored hashes
//! and the published checkpoint. It changes nothing and keeps nothing, so that a crash loses its progress.

use crate::app::App;
use crate::app::error::Error;
use crate::ledger::Audit;

/// Records read at once, and their bytes.
const RECORDS: usize = 4_096;
const BYTES: usize = 4 << 20;

/// A re-hash on its way.
pub struct Rehash {
    audit: Audit,
    at: u64,
    /// The tree's size when it began.
    until: u64,
}

/// What the headers say otherwise than what is stored or signed.
#[derive(Debug, thiserror::Error)]
#[error("{0}: run `custody fsck`")]
struct Differs(String);

impl Rehash {
    /// Headers read so far.
    pub fn records(&self) -> u64 {
        self.at
    }

    /// Fails where something differs.
    pub fn verdict(self) -> Result<(), Error> {
        if let Some(why) = self.audit.contradiction() {
            return Err(Error::fault("ledger_contradicted", Differs(why.to_owned())));
        }
        match self.audit.damaged() {
            None => Ok(()),
            Some((count, first)) => {
                let why = format!("{count} stored hashes are not those of the records, the first at {first}");
                Err(Error::fault("ledger_hashes_damaged", Differs(why)))
            }
        }
    }
}

impl App {
    pub fn rehash(&self) -> Rehash {
        Rehash { audit: Audit::of(&self.ledger), at: 0, until: self.ledger.size() }
    }

    /// Takes some more records; says whether there are more.
    pub async fn rehash_more(&self, rehash: &mut Rehash) -> Result<bool, Error> {
        if rehash.at >= rehash.until {
            return Ok(false);
        }
        let records = self.log.read(rehash.at, RECORDS, BYTES).await?;
        for record in records.iter().take_while(|record| record.position < rehash.until) {
            rehash.audit.push(&record.header)?;
            rehash.at = record.position + 1;
        }
        if records.is_empty() {
            return Err(Error::internal("log_read_nothing"));
        }
        Ok(rehash.at < rehash.until)
    }
}

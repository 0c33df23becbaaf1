//! The log's part of a check: every record is read again, parsed, its pieces compared with the hashes in
//! its header, its index blocks opened; the tree is made again. What the records say about other stores
//! is gathered on the way (`Trail`), so that the log is read once.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::pieces::Pieces;
use super::{Check, Code, Finding};
use crate::app::error::Error;
use crate::domain::event::{Body, EventType};
use crate::domain::id::{Digest, EventId, Id, SubjectId};
use crate::ledger::Audit;
use crate::log::{self, StoredRecord};
use crate::record::Header;

/// Records read at once, and their bytes.
const RECORDS: usize = 4_096;
const BYTES: usize = 4 << 20;

/// What the log says about the other stores. Grows with the number of erasures, by some forty bytes
/// each.
#[derive(Default)]
pub(super) struct Trail {
    /// Everything below was read.
    pub head: u64,
    /// All of it could be read.
    pub whole: bool,
    /// The stored hashes are those of the headers.
    pub hashed: bool,
    pub accepted: HashMap<Digest, u64>,
    pub erased: HashSet<Digest>,
    /// The vault's generation as it was last marked, and where.
    pub marked: Option<(u64, u64)>,
    /// Names that the log does not bear any more: which, and from where on it was lost under them.
    pub ended: Vec<(String, u64)>,
    pub pieces: Pieces,
}

impl Trail {
    pub fn is_unfinished(&self) -> bool {
        self.accepted.keys().any(|tomb| !self.erased.contains(tomb))
    }

    /// Takes in what a record says about other stores. Most are passed over by their first bytes.
    fn follow(&mut self, position: u64, header: &Header<'_>) {
        use EventType::*;
        let told = [IdentityErasureAccepted, IdentityErased, KeyDestroyed, VaultMarked, LogContinued];
        if !told.contains(&header.event_type) {
            return;
        }
        match header.body(None) {
            Ok(Body::IdentityErasureAccepted(body)) => {
                if let Some(tomb) = body.tomb {
                    self.accepted.entry(tomb).or_insert(position);
                }
            }
            Ok(Body::IdentityErased(body)) => {
                self.erased.extend(body.tomb);
                self.pieces.accounted_for();
            }
            // What was kept of somebody is gone too.
            Ok(Body::KeyDestroyed(body)) if body.tomb.is_some() => self.pieces.accounted_for(),
            Ok(Body::VaultMarked(body)) => {
                self.marked = body.generation.map(|generation| (generation, position));
            }
            Ok(Body::LogContinued(body)) => {
                let from = body.missing_from.unwrap_or(0);
                self.ended.extend(body.old_origin.map(|origin| (origin.to_string(), from)));
            }
            // A body that cannot be read is told with its record.
            _ => {}
        }
    }
}

impl Check<'_> {
    /// Reads every record up to the head. A record that cannot be read is named, and the next one is
    /// read all the same. `wanted` are people whom some record should name.
    pub(super) async fn log(&mut self, wanted: HashSet<SubjectId>) -> Result<Trail, Error> {
        let mut audit = Some(Audit::of(&self.app.ledger));
        let (mut at, total) = (0, self.app.log.head());
        let mut trail =
            Trail { head: total, whole: true, pieces: Pieces::looking_for(wanted), ..Trail::default() };
        while at < total {
            self.go_on()?;
            let from = at;
            match self.app.log.read(at, RECORDS, BYTES).await {
                Ok(records) => {
                    let lacking = self.not_indexed(&records).await?;
                    for record in records.iter().take_while(|record| record.position < total) {
                        at = record.position + 1;
                        if let Some(audit) = &mut audit {
                            audit.push(&record.header)?;
                        }
                        self.record(record, &mut trail).await;
                        if lacking.contains(&record.position) {
                            let what = "the id index does not know this event";
                            self.found(Finding::new(Code::IndexMissing, what).at(record.position)).await;
                        }
                    }
                    if at == from {
                        return Err(Error::internal("log_read_nothing"));
                    }
                    self.ask_for_people(&mut trail).await?;
                }
                Err(log::Error::Corrupt { .. }) => {
                    // Behind a header that cannot be read, no tree can be made.
                    (audit, trail.whole) = (None, false);
                    at = self.one_by_one(at, total, &mut trail).await?;
                }
                Err(error) => return Err(error.into()),
            }
            self.watch.progress(at, total);
        }
        if let Some(audit) = audit {
            self.summary.root = Some(audit.root());
            trail.hashed = audit.damaged().is_none();
            for finding in differences(&audit) {
                self.found(finding).await;
            }
        }
        Ok(trail)
    }

    /// What was recorded since the check began, for what it says about other stores.
    pub(super) async fn follow(&mut self, trail: &mut Trail) -> Result<(), Error> {
        let until = self.app.log.head();
        while trail.head < until {
            self.go_on()?;
            let records = match self.app.log.read(trail.head, RECORDS, BYTES).await {
                Ok(records) => records,
                // Told already, or by the next check.
                Err(log::Error::Corrupt { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Some(last) = records.last() else { return Ok(()) };
            trail.head = last.position + 1;
            for record in &records {
                if let Ok(header) = Header::parse(&record.header) {
                    trail.follow(record.position, &header);
                }
            }
        }
        Ok(())
    }

    /// Goes on record by record until one behind the damage is read, and says where that was.
    async fn one_by_one(&mut self, from: u64, total: u64, trail: &mut Trail) -> Result<u64, Error> {
        let mut damaged = false;
        for position in from..total {
            match self.app.log.get(&[position]).await {
                Ok(records) => {
                    for record in &records {
                        self.record(record, trail).await;
                    }
                    if damaged {
                        return Ok(position + 1);
                    }
                }
                Err(log::Error::Corrupt { place, what, .. }) => {
                    damaged = true;
                    self.found(Finding::new(Code::LogDamage, what).at(position).of(place)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// Positions of those records whose events the id index does not know. What cannot be parsed is
    /// told with its record.
    async fn not_indexed(&mut self, records: &[StoredRecord]) -> Result<BTreeSet<u64>, Error> {
        let named = records.iter().filter_map(|record| {
            let envelope = Header::parse(&record.header).ok()?.envelope;
            Some((record.position, (envelope.emitter, envelope.event_id)))
        });
        let (positions, ids): (Vec<u64>, Vec<(Id, EventId)>) = named.unzip();
        let found = match self.app.log.find(&ids).await {
            Ok(found) => found,
            // Opened with damage, the index is not filled, which `log_read_only` tells.
            Err(log::Error::ReadOnly(_)) => return Ok(BTreeSet::new()),
            Err(error) => return Err(error.into()),
        };
        // Where it leads elsewhere, a retry would be answered with somebody else's event.
        let lacking = positions.into_iter().zip(found).filter(|(position, found)| *found != Some(*position));
        Ok(lacking.map(|(position, _)| position).collect())
    }

    async fn record(&mut self, record: &StoredRecord, trail: &mut Trail) {
        let sizes = record.pieces.iter().flatten().map(|piece| piece.len() as u64);
        self.summary.records += 1;
        self.summary.bytes += record.header.len() as u64 + sizes.sum::<u64>();
        let malformed = |why: String| Finding::new(Code::RecordMalformed, why).at(record.position);
        let header = match Header::parse(&record.header) {
            Ok(header) => header,
            Err(why) => return self.found(malformed(why.to_string())).await,
        };
        if header.pieces() != record.pieces.len() {
            self.found(malformed("pieces are missing or too many".to_owned())).await;
        }
        if let Err(why) = header.body(None) {
            self.found(malformed(why.to_string())).await;
        }
        trail.follow(record.position, &header);
        for finding in trail.pieces.look_at(record, &header, &self.app.keyring) {
            self.found(finding).await;
        }
    }
}

/// What the ledger has stored or signed that the headers do not lead to.
fn differences(audit: &Audit) -> Vec<Finding> {
    let damaged = audit.damaged().map(|(count, first)| {
        let message = format!("{count} stored hashes of the ledger differ from the records");
        Finding::new(Code::LedgerHashes, message).at(first).of("ledger")
    });
    let contradiction = audit.contradiction().map(|why| Finding::new(Code::CheckpointContradicted, why));
    damaged.into_iter().chain(contradiction).collect()
}

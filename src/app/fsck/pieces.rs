//! Index blocks and sealed parts: whether they are those that their headers commit to, whose they are,
//! and whether an erasure accounts for those that are gone.
//!
//! What can be told of a piece that is all zeros: where its part's index block is still there, whose it
//! was, and so whether that person was erased, or something of the person's data. Where the index block is
//! gone too, only that no erasure was completed since; a part that was zeroed by something else before somebody's erasure looks as if
//! it was purged by it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::{Check, Code, Finding};
use crate::app::error::Error;
use crate::domain::event::EventType::{AnonymisationExecuted, ErasureExecuted};
use crate::domain::id::SubjectId;
use crate::log::StoredRecord;
use crate::record::{Header, IndexKey, tomb};
use crate::vault::keyring::Keyring;

/// People remembered as known to the vault, before all are forgotten and asked for again.
const KNOWN: usize = 100_000;
/// People whom the vault lacks, and of whom parts are gone, who are told one by one.
const MOST: usize = 10_000;
/// People of whom parts are gone, remembered until an erasure behind them accounts for it.
const GONE: usize = 1_000_000;

#[derive(Default)]
pub(super) struct Pieces {
    /// People in the vault whom no record has named yet.
    pub wanted: HashSet<SubjectId>,
    known: HashSet<SubjectId>,
    /// Named by the records read last: who, and where first.
    asked: BTreeMap<SubjectId, u64>,
    /// Not known to the vault.
    absent: BTreeMap<SubjectId, u64>,
    /// Of whom sealed parts are gone though their index blocks are there, and nothing was erased since; the first place.
    gone: BTreeMap<SubjectId, u64>,
    /// Parts that are gone with their index blocks since the last completed erasure.
    purged: u64,
    first_purged: Option<u64>,
    /// Index keys that are not here: blocks, and the first position.
    epochs: BTreeMap<u32, (u64, u64)>,
    keys: BTreeMap<u32, IndexKey>,
}

impl Pieces {
    pub fn looking_for(wanted: HashSet<SubjectId>) -> Pieces {
        Pieces { wanted, ..Pieces::default() }
    }

    /// An erasure was completed: it accounts for what was gone until here.
    pub fn accounted_for(&mut self) {
        (self.purged, self.first_purged) = (0, None);
    }

    pub fn look_at(&mut self, record: &StoredRecord, header: &Header<'_>, keyring: &Keyring) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (number, piece) in record.pieces.iter().enumerate() {
            if let Some(Err(why)) = piece.as_ref().map(|piece| header.check_piece(number, piece)) {
                findings.push(Finding::new(Code::PieceMismatch, why.to_string()).at(record.position));
            }
        }
        // One that is not its header's does not open either, which is no news.
        if !findings.is_empty() {
            return findings;
        }
        for (i, part) in header.parts.iter().enumerate() {
            let first = header.index_piece(i);
            let boxes = record.pieces.get(first + 1..=first + part.boxes.len()).unwrap_or_default();
            let Some(Some(block)) = record.pieces.get(first) else {
                self.purged += 1;
                self.first_purged.get_or_insert(record.position);
                continue;
            };
            let opened = Header::index_epoch(block).map(|epoch| match self.key(epoch, keyring) {
                Some(key) => header.open_index(i, block, key).map(Some),
                None => {
                    self.epochs.entry(epoch).or_insert((0, record.position)).0 += 1;
                    Ok(None)
                }
            });
            match opened.and_then(|opened| opened) {
                Ok(None) => {}
                Ok(Some(block)) => {
                    self.belongs(block.subject, record.position, boxes);
                    if matches!(header.event_type, ErasureExecuted | AnonymisationExecuted) {
                        // What lay sealed with data that were erased went with them.
                        block.subject.and_then(|subject| self.gone.remove(&subject));
                    }
                }
                Err(why) => {
                    findings.push(Finding::new(Code::PieceUnreadable, why.to_string()).at(record.position));
                }
            }
        }
        findings
    }

    fn key(&mut self, epoch: u32, keyring: &Keyring) -> Option<&IndexKey> {
        match self.keys.entry(epoch) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => {
                let key = keyring.index_key(epoch).ok()?;
                Some(place.insert(IndexKey::new(epoch, &key)))
            }
        }
    }

    fn belongs(&mut self, subject: Option<SubjectId>, position: u64, boxes: &[Option<bytes::Bytes>]) {
        let Some(subject) = subject else { return };
        self.wanted.remove(&subject);
        if !self.known.contains(&subject) && !self.absent.contains_key(&subject) {
            self.asked.entry(subject).or_insert(position);
        }
        if boxes.iter().any(Option::is_none) && self.gone.len() < GONE {
            self.gone.entry(subject).or_insert(position);
        }
    }
}

impl Check<'_> {
    /// Asks the vault for those whom the records read last have named.
    pub(super) async fn ask_for_people(&mut self, trail: &mut super::log::Trail) -> Result<(), Error> {
        let pieces = &mut trail.pieces;
        let asked = std::mem::take(&mut pieces.asked);
        if pieces.known.len() + asked.len() > KNOWN {
            pieces.known.clear();
        }
        let subjects: Vec<SubjectId> = asked.keys().copied().collect();
        let absent: HashSet<SubjectId> = match self.app.vault.absent(&subjects).await {
            Ok(absent) => absent.into_iter().collect(),
            // It was told that the vault cannot be read.
            Err(_) if self.told.contains_key(&Code::VaultFile) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        for (subject, position) in asked {
            if !absent.contains(&subject) {
                pieces.known.insert(subject);
            } else if pieces.absent.len() < MOST {
                pieces.absent.insert(subject, position);
            }
        }
        Ok(())
    }

    /// What the records say about people and keys, once all erasures are known.
    pub(super) async fn vault_against(&mut self, trail: &super::log::Trail) -> Result<(), Error> {
        let pieces = &trail.pieces;
        for (epoch, (count, first)) in &pieces.epochs {
            let what = format!("{count} index blocks, the first here, are locked with index key {epoch}");
            self.found(Finding::new(Code::KeyringLacks, what).at(*first)).await;
        }
        for (subject, position) in &pieces.absent {
            if !trail.accepted.contains_key(&tomb(*subject)) {
                let what = "its records are the first of somebody whom the vault does not know";
                self.found(Finding::new(Code::VaultLacks, what).at(*position)).await;
            }
        }
        for (subject, position) in pieces.gone.iter().take(MOST) {
            // Somebody else's erasures count for whoever was merged into that one.
            let of = *subject;
            let was_touched = || self.app.ask(move |ask| Ok(ask.was_touched(of)?));
            if !trail.accepted.contains_key(&tomb(*subject)) && !was_touched().await.unwrap_or(false) {
                let what = "a sealed part of somebody who was not erased is gone";
                self.found(Finding::new(Code::PieceGone, what).at(*position)).await;
            }
        }
        if let Some(first) = pieces.first_purged
            && !trail.is_unfinished()
        {
            let what =
                format!("{} parts, the first here, are gone, and nobody was erased since", pieces.purged);
            self.found(Finding::new(Code::PieceGone, what).at(first)).await;
        }
        // What cannot be read may be what names somebody.
        if trail.whole && pieces.epochs.is_empty() {
            for _ in &pieces.wanted {
                let what = "no record names this holder";
                self.found(Finding::new(Code::VaultUnnamed, what).of("vault")).await;
            }
        }
        let found = match self.app.vault.status().await {
            Ok(status) => status.generation,
            Err(_) if self.told.contains_key(&Code::VaultFile) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        if let Some((marked, position)) = trail.marked.filter(|(marked, _)| found < *marked) {
            let what =
                format!("the vault stands at generation {found}, the log says that it has been at {marked}");
            self.found(Finding::new(Code::VaultOlder, what).at(position)).await;
        }
        Ok(())
    }
}

//! Whom the records of a stretch of the log concern, of what decides how long data are kept.

use std::collections::BTreeSet;

use crate::domain::event::EventType;
use crate::domain::id::SubjectId;
use crate::record::MarkUse;
use crate::views::ask::Ask;
use crate::views::decode::{Decoded, DecodedPart, Decoder};
use crate::views::group::Resolver;
use crate::views::{Error, mark};

/// Records read from the log at once.
const READ: usize = 2_000;
const READ_BYTES: usize = 8 << 20;

/// Who has to be decided anew.
pub enum News {
    Some(BTreeSet<SubjectId>),
    Everybody,
}

/// Reads the records from a position to one, that one not included.
pub fn read_news(ask: &Ask, from: u64, until: u64) -> Result<News, Error> {
    let mut decoder = Decoder::new(&*ask.reach.keys);
    let mut subjects = BTreeSet::new();
    let mut next = from;
    while next < until {
        let most = usize::try_from(until - next).unwrap_or(READ).min(READ);
        let records = ask.reach.wait(ask.reach.log.read(next, most, READ_BYTES))?;
        let Some(last) = records.last() else { break };
        next = last.position + 1;
        for stored in &records {
            let position = stored.position;
            let event = decoder.decode(stored).map_err(|source| Error::Record { position, source })?;
            if holds_for_everybody(&event) {
                return Ok(News::Everybody);
            }
            if decides(event.event_type) {
                for part in &event.parts {
                    note(ask, &event, part, &mut subjects)?;
                }
            }
        }
    }
    Ok(News::Some(subjects))
}

/// What changes the rules for everybody: rules, services, activities, mappings, holds and orders that name nobody, and
/// what is taken back of such.
fn holds_for_everybody(event: &Decoded) -> bool {
    use EventType::*;
    let nobody = || !event.parts.iter().any(|part| part.role.is_data_subject());
    match event.event_type {
        RetentionRulePublished
        | RetentionRuleAnnulled
        | ServiceRegistered
        | ServiceTerminationNotified
        | ServiceTerminated
        | ActivityRegistered
        | ActivityEnded
        | MappingAdded => true,
        LegalHoldPlaced | LegalHoldReleased | AuthorityDeletionOrdered | EventsRetracted => nobody(),
        _ => false,
    }
}

/// What decides how long one person's data are kept, in whose hands they are, or who counts as that person.
fn decides(event_type: EventType) -> bool {
    use EventType::*;
    matches!(
        event_type,
        DataCollected
            | DataUsed
            | AccountRegistered
            | AccountCancelled
            | ConsentGiven
            | ConsentWithdrawn
            | PurposeAdded
            | PurposeFulfilled
            | TransactionCompleted
            | TransactionAborted
            | ObjectionUpheld
            | UnlawfulProcessingFound
            | ErasureAccepted
            | RestrictionApplied
            | RestrictionLifted
            | LegalHoldPlaced
            | LegalHoldReleased
            | AuthorityDeletionOrdered
            | ErasureExecuted
            | AnonymisationExecuted
            | ErasureDeferred
            | InstructionIssued
            | InstructionRecalled
            | InstructionAcknowledged
            | IdentifierLinked
            | IdentifierUnlinked
            | SubjectsMerged
            | SubjectsSplit
            | EventsRetracted
    )
}

fn note(ask: &Ask, event: &Decoded, part: &DecodedPart, to: &mut BTreeSet<SubjectId>) -> Result<(), Error> {
    if !part.role.is_data_subject() || part.purged {
        return Ok(());
    }
    let shapes = ask.shapes();
    let subject: Option<SubjectId> = match part.subject {
        Some(subject) => Some(subject),
        None => {
            let marks: Vec<_> = part.marks(MarkUse::Named).map(|id| (id.kind, id.mark)).collect();
            mark::attribute(&ask.reading, &shapes, &marks, event.at, u64::MAX)?
        }
    };
    let Some(subject) = subject else { return Ok(()) };
    if to.insert(subject) {
        let resolver = Resolver { reading: &ask.reading, shapes: &shapes, known_at: u64::MAX };
        to.extend(resolver.counts_as(subject)?);
    }
    Ok(())
}

//! Rules for an event that need the clock or a register: what is refused, what is filled in.

use chrono_tz::Tz;

use crate::app::error::{Error, FieldViolation};
use crate::domain::event::check::DAY_SLOTTED;
use crate::domain::event::{Body, Event, EventType, TimeSource};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::limits;

/// What the rules ask of the registers.
pub trait Registers {
    /// The zone of a service; UTC while it is not registered.
    fn zone(&self, service: Option<&Id>, at: Timestamp) -> Tz;
    /// The record kind that an activity had at an instant.
    fn record_kind(&self, activity: Option<&Id>, at: Timestamp) -> Option<Id>;
}

/// Checks the times and sets the slot of data that are kept by day.
pub fn complete(event: &mut Event, now: Timestamp, registers: &dyn Registers) -> Result<(), Error> {
    let mut violations = Vec::new();
    check_times(event, now, &mut violations);
    set_day_slot(event, registers, &mut violations);
    if violations.is_empty() { Ok(()) } else { Err(Error::Invalid(violations)) }
}

/// A server's time may be five minutes ahead. A device's clock is not to be trusted: its time is
/// kept with its offset and counts as of receipt where it lies ahead of it. What is older than
/// 31 days says that it is meant (`backfill`).
fn check_times(event: &mut Event, now: Timestamp, violations: &mut Vec<FieldViolation>) {
    let envelope = &mut event.envelope;
    let ahead = envelope.occurred_at.since(now);
    if envelope.time_source == TimeSource::Server && ahead > limits::AHEAD_MS {
        violations.push(FieldViolation::new(
            "event.occurred_at",
            "lies more than five minutes ahead of the server",
        ));
    }
    if -ahead > limits::BACKFILL_MS && !envelope.backfill {
        violations.push(FieldViolation::new("event.backfill", "is needed for an event older than 31 days"));
    }
    if envelope.time_source == TimeSource::Device && envelope.clock_offset.is_none() && ahead > 0 {
        envelope.clock_offset = Some(ahead);
    }
}

/// Events that are taken even at the disk's reserve: they end or hold the keeping of data, and
/// refusing them would keep what has to go, or lose what has to stay. What officers register is little,
/// and what goes on is judged by it.
pub fn goes_on_at_reserve(event: &Event) -> bool {
    use EventType::*;
    matches!(
        event.body.event_type(),
        ErasureAccepted
            | ErasureRefused
            | ErasureExecuted
            | ErasureDeferred
            | AnonymisationExecuted
            | IdentityErasureAccepted
            | LegalHoldPlaced
            | LegalHoldReleased
            | AuthorityDeletionOrdered
            | InstructionIssued
            | InstructionBegun
            | InstructionRecalled
            | InstructionAcknowledged
            | ControllerRegistered
            | ServiceRegistered
            | ActivityRegistered
            | ActivityEnded
            | PolicyPublished
            | LawDataActivated
            | MappingAdded
            | ServiceTerminationNotified
            | ServiceTerminated
    )
}

/// What keeps data that would have to go.
pub fn keeps_data(event_type: EventType) -> bool {
    matches!(event_type, EventType::LegalHoldPlaced | EventType::RestrictionApplied)
}

/// How far a device's clock is off, from the time it says it sent the event at.
pub fn note_device_clock(event: &mut Event, sent_at: Option<Timestamp>, now: Timestamp) {
    if event.envelope.time_source == TimeSource::Device {
        event.envelope.clock_offset = sent_at.map(|sent_at| sent_at.since(now));
    }
}

fn set_day_slot(event: &mut Event, registers: &dyn Registers, violations: &mut Vec<FieldViolation>) {
    let envelope = &event.envelope;
    let Body::DataCollected(body) = &mut event.body else { return };
    let kind = body
        .record_kind
        .clone()
        .or_else(|| registers.record_kind(envelope.activity.as_ref(), envelope.occurred_at));
    if !kind.is_some_and(|kind| DAY_SLOTTED.contains(&kind.as_str())) {
        return;
    }
    if body.slot.is_some() {
        violations.push(FieldViolation::new(
            "event.data_collected.slot",
            "is set by the server for record kinds that are kept by day",
        ));
    }
    if envelope.window.is_some_and(|window| window.to.since(window.from) > limits::DAY_WINDOW_MS) {
        violations.push(FieldViolation::new(
            "event.window",
            "is longer than 24 hours for a record kind that is kept by day",
        ));
    }
    let day =
        envelope.occurred_at.local_date(registers.zone(envelope.service.as_ref(), envelope.occurred_at));
    body.slot = day.to_string().parse().ok();
}

//! Ends that lie before their beginnings, and a shorter period that begins before anybody could have stopped it.

use super::{Contradiction, Reason, Subject, shortening};
use crate::domain::event::Body;
use crate::domain::register::Act;
use crate::domain::time::MS_PER_HOUR;

/// How long a shorter period is to be seen before it begins (`domain.md` 4.4, step 2).
const NOTICE_MS: i64 = 72 * MS_PER_HOUR;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let new = subject.new;
    let at = new.envelope.occurred_at;
    let early = match new.body {
        Body::TransferMechanismRegistered(body) => {
            let end = body.expires_at.as_ref().map(|day| day.ends());
            end.zip(body.in_force_from()).is_some_and(|(end, begin)| end <= begin).then_some("expires_at")
        }
        Body::TransferAssessed(body) => body.valid_until.is_some_and(|end| end < at).then_some("valid_until"),
        Body::AssessmentRecorded(body) => {
            body.valid_until.is_some_and(|end| end < at).then_some("valid_until")
        }
        Body::ServiceTerminationNotified(body) => {
            let notice = body.notice_at.unwrap_or(at);
            body.end_at.is_some_and(|end| end < notice).then_some("end_at")
        }
        _ => None,
    };
    if let Some(field) = early {
        found.push(subject.own(field, Reason::EndsBeforeStart, None));
    }
    stop(subject, found);
    notice(subject, found);
}

/// A version that shortens begins 72 hours after it is recorded, whatever day its publisher gives it; one without a
/// first day was always in force. Where it was published together with what it shortens there is nothing to wait for.
fn notice(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    let shortened = shortening::of(subject).filter(|shortened| shortened.stood_before());
    let Some(shortened) = shortened.filter(|_| subject.from < subject.new.now.plus_ms(NOTICE_MS)) else {
        return;
    };
    let mut early = subject.own("rule.from", Reason::ShortenedTooSoon, Some(shortened.by));
    early.id = shortened.id().to_owned();
    found.push(early);
}

/// An entry ends, or is suspended, after it was registered first. An annulment reaches back by its nature.
fn stop(subject: &Subject<'_>, found: &mut Vec<Contradiction>) {
    if !matches!(subject.act, Act::Ends | Act::Suspends) {
        return;
    }
    let field = match subject.new.body {
        Body::ActivityEnded(body) if body.effective_at.is_some() => Some("effective_at"),
        Body::ServiceTerminated(body) if body.end_at.is_some() => Some("end_at"),
        _ => None,
    };
    // A mechanism may be ended before it takes effect; what is not registered yet cannot.
    let first = subject.registered().min_by_key(|version| version.at.min(version.from));
    let Some(first) = first.filter(|first| subject.from < first.at.min(first.from)) else { return };
    let mut early = subject.own(field.unwrap_or_default(), Reason::EndsBeforeStart, Some(first));
    if field.is_none() {
        early.field = "occurred_at".to_owned();
    }
    found.push(early);
}

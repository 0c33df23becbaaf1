//! Taking events back: the request, every wrong field of it named, and what it came to.

use std::str::FromStr;

use crate::api::convert::{Path, Violations};
use crate::api::events::done;
use crate::api::guard::Call;
use crate::app::retract::Wrong;
use crate::app::{App, Error};
use crate::domain::event::RetractionReason;
use crate::domain::id::{EventId, Id};
use crate::limits;
use crate::pb;

pub(super) async fn retract(
    app: &App,
    call: &Call,
    request: pb::RetractEventsRequest,
) -> Result<pb::RetractEventsResponse, Error> {
    let check = request.check;
    let taken_back = app.retract(&call.caller, wrong(request)?, check).await?;
    let by_type = taken_back.by_type.into_iter().map(|(name, count)| (name.to_owned(), count));
    Ok(pb::RetractEventsResponse {
        positions: taken_back.positions,
        events_by_type: by_type.collect(),
        people: taken_back.people,
        retractions: u32::try_from(taken_back.retractions).unwrap_or(u32::MAX),
        already_retracted: taken_back.already.iter().map(|id| id.to_string()).collect(),
        register_entries: taken_back.register_entries.into_iter().collect(),
        second_person: taken_back.second_person,
    })
}

fn wrong(request: pb::RetractEventsRequest) -> Result<Wrong, Error> {
    let (root, mut violations) = (Path::ROOT, Violations::new());
    let emitter = one::<Id>(&request.emitter, &root.field("emitter"), &mut violations);
    let (at, most) = (root.field("event_ids"), limits::RETRACTED_AT_ONCE);
    let event_ids = ids(&request.event_ids, &at, most, &mut violations);
    if request.event_ids.is_empty() {
        violations.add(&at, "is required");
    }
    let at = root.field("replacement_ids");
    let replacement_ids = ids(&request.replacement_ids, &at, limits::REPLACEMENTS, &mut violations);
    let reason = RetractionReason::from_number(request.reason);
    if reason.is_none() {
        violations.add(&root.field("reason"), "is required");
    }
    let approver = match request.approver.as_str() {
        "" => None,
        name => one::<Id>(name, &root.field("approver"), &mut violations),
    };
    done(violations)?;
    match (emitter, reason) {
        (Some(emitter), Some(reason)) => Ok(Wrong { emitter, event_ids, reason, replacement_ids, approver }),
        _ => Err(Error::invalid("emitter", "is required")),
    }
}

fn one<T: FromStr>(text: &str, at: &Path<'_>, violations: &mut Violations) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why: T::Err| violations.add(at, why.to_string())).ok()
}

fn ids(texts: &[String], at: &Path<'_>, most: usize, violations: &mut Violations) -> Vec<EventId> {
    if texts.len() > most {
        violations.add(at, format!("has more than {most} values"));
        return Vec::new();
    }
    let read = texts.iter().enumerate().map(|(n, text)| one(text, &at.index(n), violations));
    read.collect::<Vec<Option<EventId>>>().into_iter().flatten().collect()
}

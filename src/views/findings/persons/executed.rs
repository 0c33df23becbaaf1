//! What is wrong with single acts of destroying and holding: anonymised without a test (GDPR recital 26; PIPL 73),
//! backups that outlive their promise (GDPR 5(1)(e)), holds that nobody reviewed (GDPR 17(3); policy 6.2).

use crate::domain::event::catalogue::LegalHoldPlaced;
use crate::domain::event::{Body, EventType};
use crate::domain::finding::Value;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::findings::persons::Pass;
use crate::views::findings::persons::kept::{ANONYMOUS, Expired, HOLD, Keeping, OVERRUN, Wrongs};
use crate::views::findings::{Finder, maybe};
use crate::views::report::Line;

/// What stands for the rule where it is a backup that is kept too long.
const BACKUPS: &str = "backups";

/// Backups that are gone by an instant.
pub(super) fn expired(finder: &Finder<'_>, now: Timestamp) -> Result<Vec<Expired>, Error> {
    let mut gone = Vec::new();
    let positions = finder.ask.positions_of(&[EventType::BackupsExpired], finder.known_at())?;
    finder.ask.reach.decode_all(&positions, |event| {
        if let (true, Ok(Body::BackupsExpired(body))) =
            (event.at <= now, Body::from_json(event.event_type, &event.body_json))
            && let (Some(service), Some(up_to)) = (body.service, body.up_to)
        {
            gone.push(Expired { service, stores: body.stores.to_vec(), up_to });
        }
        Ok(())
    })?;
    Ok(gone)
}

impl Pass<'_> {
    pub(super) fn executions(&self, keeping: &Keeping<'_>, past: &[&Line], to: &mut Wrongs) {
        for line in past {
            let Some((_, position)) = line.own.act else { continue };
            let (service, kind, stores, backups) = match &line.body {
                Body::ErasureExecuted(body) => {
                    (&body.service, &body.record_kind, &body.stores, body.backups_expire_at)
                }
                Body::AnonymisationExecuted(body) => {
                    if body.reid_test_ref.is_none() {
                        let service = body.service.as_ref().or(line.shape.service.as_ref());
                        let values = vec![maybe(service), maybe(body.record_kind.as_ref())];
                        to.add(ANONYMOUS, values, line.at(), position);
                    }
                    (&body.service, &body.record_kind, &body.stores, body.backups_expire_at)
                }
                _ => continue,
            };
            let service = service.as_ref().or(line.shape.service.as_ref());
            if let Some(at) = backups.filter(|at| *at <= keeping.now)
                && !are_gone(&keeping.expired, service, stores, line.at())
            {
                let values = vec![maybe(service), maybe(kind.as_ref()), Value::of(BACKUPS).ok()];
                to.add(OVERRUN, values, at, position);
            }
        }
    }

    /// Holds on this person. Those on many stand in the registers.
    pub(super) fn holds(&self, now: Timestamp, past: &[&Line], to: &mut Wrongs) {
        for line in past {
            let (Body::LegalHoldPlaced(body), Some((at, position))) = (&line.body, line.own.act) else {
                continue;
            };
            let Some(hold) = &body.hold_ref else { continue };
            // Placing it again is how it is reviewed.
            let ends = |other: &&Line| match &other.body {
                Body::LegalHoldPlaced(later) => {
                    later.hold_ref.as_ref() == Some(hold) && other.own.act > Some((at, position))
                }
                Body::LegalHoldReleased(end) => end.hold_ref.as_ref() == Some(hold) && other.at() >= at,
                _ => false,
            };
            if let Some(since) = stale_since(body, at, now)
                && !past.iter().any(ends)
            {
                to.add(HOLD, hold_key(body), since, position);
            }
        }
    }
}

/// Whether every store in which something may have been is rid of the backups that were taken before it was destroyed.
fn are_gone(expired: &[Expired], service: Option<&Id>, stores: &[Id], at: Timestamp) -> bool {
    let mut of_service = expired.iter().filter(|gone| Some(&gone.service) == service && gone.up_to >= at);
    if stores.is_empty() {
        return of_service.any(|gone| gone.stores.is_empty());
    }
    let of_service: Vec<&Expired> = of_service.collect();
    let is_gone =
        |store: &Id| of_service.iter().any(|gone| gone.stores.is_empty() || gone.stores.contains(store));
    stores.iter().all(is_gone)
}

/// Since when a hold lacks its ground or its review.
pub(in crate::views::findings) fn stale_since(
    body: &LegalHoldPlaced,
    at: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let groundless = body.ground.is_none().then_some(at);
    groundless.or(body.review_at.filter(|review| *review < now))
}

/// By its ground and provision.
pub(in crate::views::findings) fn hold_key(body: &LegalHoldPlaced) -> Vec<Option<Value>> {
    let ground = body.ground.and_then(|ground| Value::of(ground.as_str()).ok());
    let citation = body.legal_ref.as_ref().and_then(|citation| Value::of(citation.as_str()).ok());
    vec![ground, citation, None]
}

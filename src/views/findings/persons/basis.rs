//! Whether what was begun on consent had one (GDPR 6, 7, 8; PIPL 13, 14, 23, 28, 29, 31, 39; `domain.md` 4.2
//! steps 1 to 3).

use crate::domain::consent::{SETTLE_MS, To, Wanted, age_of_consent, is_below};
use crate::domain::event::{Body, LegalBasis, RecipientRole};
use crate::domain::finding::Value;
use crate::domain::id::{Id, Regime};
use crate::domain::time::Timestamp;
use crate::views::findings::persons::life::{Item, Life, Sure, Unsure};
use crate::views::findings::persons::{Hit, Pass};
use crate::views::findings::{maybe, value};

const NONE: &str = "F-NO-CONSENT";
const LEGACY: &str = "F-LEGACY-EVIDENCE";
const SEPARATE: &str = "F-NO-SEPARATE-CONSENT";
const CHILD: &str = "F-CHILD";

impl Pass<'_> {
    /// A purpose that is opened on consent needs one in force.
    pub(super) fn basis(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        for item in life.collected.iter().chain(&life.added) {
            for (purpose, basis) in &item.terms.purposes {
                let key = || vec![maybe(item.service()), value(purpose)];
                match basis {
                    Some(LegalBasis::Consent) => {
                        let wanted = Wanted::to_purpose(purpose);
                        let spans = life.consents.spans(&wanted, None);
                        let there = spans.throughout(item.first, item.last).ok_or(Unsure)?;
                        // An episode keeps the basis on which it was opened.
                        if !there && self.is_open_otherwise(life, item, purpose)? {
                            continue;
                        }
                        if !there && self.is_legacy(item)? {
                            self.wrong(hits, LEGACY, item, key());
                            continue;
                        }
                        self.missing(life, hits, (NONE, item, key()), there, |by| {
                            let learned = life.consents.learned_after(&wanted, item.last, by);
                            // Otherwise it was never counted as missing.
                            learned.filter(|_| {
                                self.is_legacy(item) == Ok(false)
                                    && self.is_open_otherwise(life, item, purpose) == Ok(false)
                            })
                        })?;
                    }
                    Some(LegalBasis::Contract) if is_cancelled(life, item)? && self.is_legacy(item)? => {
                        self.wrong(hits, LEGACY, item, key());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether the purpose was opened on another basis before, for the same service, and still is.
    fn is_open_otherwise(&self, life: &Life<'_>, item: &Item<'_>, purpose: &Id) -> Sure<bool> {
        let same = life.openings.iter().filter(|opening| {
            let consent = matches!(opening.basis, Some(LegalBasis::Consent) | None);
            !consent && opening.purpose == *purpose && opening.service.as_ref() == item.service()
        });
        Ok(item.is_after(same.map(|opening| opening.since).min())? && !is_cancelled(life, item)?)
    }

    /// Whether an event was entered afterwards, or is older than what its service keeps evidence of.
    fn is_legacy(&self, item: &Item<'_>) -> Sure<bool> {
        let finder = self.finder;
        let history = item.service().and_then(|service| finder.registers.services.get(service));
        let mut known =
            history.into_iter().flatten().filter(|entry| entry.position < finder.known_at()).peekable();
        let first = known.peek().map(|entry| entry.from);
        let from = known.last().and_then(|entry| entry.body.evidence_from).or(first);
        Ok(item.backfill || from.is_some() && !item.is_after(from)?)
    }

    /// The law of China asks for a consent of its own to sensitive data, to other controllers, to export.
    pub(super) fn separate(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        let collected = life.collected.iter().filter(|item| item.terms.sensitive);
        for item in collected.filter(|item| is_chinese(item)) {
            for purpose in purposes(item) {
                self.is_separate(life, hits, item, (purpose, To::Anybody))?;
            }
        }
        for item in life.shared.iter().filter(|item| is_chinese(item)) {
            let Some(recipient) = &item.terms.recipient else { continue };
            if self.is_independent(item, recipient)? {
                for purpose in purposes(item) {
                    self.is_separate(life, hits, item, (purpose, To::Recipient(recipient)))?;
                }
            }
        }
        for item in &life.transferred {
            for (purpose, to) in abroad_on_consent(item) {
                self.is_separate(life, hits, item, (Some(purpose), to))?;
            }
        }
        Ok(())
    }

    fn is_separate(
        &self,
        life: &Life<'_>,
        hits: &mut Vec<Hit>,
        item: &Item<'_>,
        (purpose, to): (Option<&Id>, To<'_>),
    ) -> Sure<()> {
        let wanted = separately(purpose, to);
        let there = life.consents.spans(&wanted, None).throughout(item.first, item.last).ok_or(Unsure)?;
        let recipient = match to {
            To::Anybody => None,
            To::Recipient(id) | To::Abroad(id, _) => value(id),
        };
        let key = vec![maybe(item.service()), maybe(purpose), recipient];
        let learned = |by| life.consents.learned_after(&wanted, item.last, by);
        self.missing(life, hits, (SEPARATE, item, key), there, learned)
    }

    /// Whether a recipient decides itself what becomes of the data (PIPL 23), by its registration then.
    fn is_independent(&self, item: &Item<'_>, recipient: &Id) -> Sure<bool> {
        let finder = self.finder;
        item.unless_within(finder.versions(recipient).map(|(from, _)| from))?;
        let registered = finder.registers.recipient_at(recipient, item.last, finder.known_at());
        let role = registered.and_then(|entry| entry.body.role);
        Ok(matches!(role, Some(RecipientRole::Controller | RecipientRole::Sdk)))
    }

    /// For a child a guardian consents.
    pub(super) fn children(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        let guarded = Wanted {
            purpose: None,
            to: To::Anybody,
            separate: false,
            guardian: true,
            consent_id: None,
            stops: false,
            settle_ms: 0,
        };
        for item in life.collected.iter().chain(&life.given) {
            let own = matches!(&*item.body, Body::ConsentGiven(body) if body.guardian_consent);
            let Some((age, regime)) = age_of_consent(self.finder.law, &item.terms.regimes).filter(|_| !own)
            else {
                continue;
            };
            if !is_below(life.age_band(item)?, age, self.is_for_children(item)?) {
                continue;
            }
            let there =
                life.consents.spans(&guarded, None).throughout(item.first, item.last).ok_or(Unsure)?;
            let key = vec![maybe(item.service()), Some(Value::from(regime))];
            let learned = |by| life.consents.learned_after(&guarded, item.last, by);
            self.missing(life, hits, (CHILD, item, key), there, learned)?;
        }
        Ok(())
    }

    fn is_for_children(&self, item: &Item<'_>) -> Sure<bool> {
        let (registers, known_at) = (self.finder.registers, self.finder.known_at());
        let Some(service) = item.service() else { return Ok(false) };
        let history = registers.services.get(service).into_iter().flatten();
        item.unless_within(history.map(|entry| entry.from))?;
        let registered = registers.service_at(service, item.last, known_at);
        Ok(registered.and_then(|entry| entry.body.directed_at_children) == Some(true))
    }
}

fn is_chinese(item: &Item<'_>) -> bool {
    item.terms.regimes.contains(&Regime::CN)
}

/// What the law of China asks a separate consent for in a transfer (PIPL 39): each purpose that rests on consent, and
/// to whom.
pub(super) fn abroad_on_consent<'i>(item: &'i Item<'_>) -> impl Iterator<Item = (&'i Id, To<'i>)> {
    let to = match &*item.body {
        Body::DataTransferred(body) if is_chinese(item) => item.terms.recipient.as_ref().zip(body.to_country),
        _ => None,
    };
    let on_consent = |(_, basis): &&(Id, Option<LegalBasis>)| *basis == Some(LegalBasis::Consent);
    let purposes = item.terms.purposes.iter().filter(on_consent).map(|(purpose, _)| purpose);
    to.into_iter().flat_map(move |(recipient, country)| {
        purposes.clone().map(move |purpose| (purpose, To::Abroad(recipient, country)))
    })
}

/// A consent that was asked for by itself, or given in writing.
pub(super) fn separately<'w>(purpose: Option<&'w Id>, to: To<'w>) -> Wanted<'w> {
    Wanted {
        purpose,
        to,
        separate: true,
        guardian: false,
        consent_id: None,
        stops: false,
        settle_ms: SETTLE_MS,
    }
}

/// Every purpose; `None` where there is none.
fn purposes<'i>(item: &'i Item<'_>) -> impl Iterator<Item = Option<&'i Id>> {
    let none = item.terms.purposes.is_empty().then_some(None);
    item.terms.purposes.iter().map(|(purpose, _)| Some(purpose)).chain(none)
}

/// Whether the account on which a service hangs was closed, and not opened again since or at once.
fn is_cancelled(life: &Life<'_>, item: &Item<'_>) -> Sure<bool> {
    let Some(service) = item.service() else { return Ok(false) };
    let of = |services: &[Id]| services.contains(service);
    let mut last: Option<Timestamp> = None;
    for account in life.cancelled.iter().filter(|account| of(&account.services)) {
        if account.last > item.first && account.first <= item.last {
            return Err(Unsure);
        }
        if account.last <= item.first {
            last = last.max(Some(account.last));
        }
    }
    let Some(last) = last else { return Ok(false) };
    for account in life.registered.iter().filter(|account| of(&account.services)) {
        // It counts from five minutes before on.
        let (from, to) = (account.first.plus_ms(-SETTLE_MS), account.last.plus_ms(-SETTLE_MS));
        if account.first > last && from <= item.first {
            return Ok(false);
        }
        if account.last > last && from <= item.last && (account.first != account.last || to > item.first) {
            return Err(Unsure);
        }
    }
    Ok(true)
}

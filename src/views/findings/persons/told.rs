//! Whether people were told before their data were taken, by a service or by an SDK (GDPR 13, 4(11); PIPL 13, 14,
//! 17; ePrivacy 5(3)).

use crate::domain::event::{Body, LegalBasis, PolicyChange, ShareMethod};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::views::findings::persons::life::{Item, Life, Notice, Sure, Unsure};
use crate::views::findings::persons::{Hit, Pass};
use crate::views::findings::{maybe, value};

const MISSING: &str = "F-NOTICE-MISSING";
const STALE: &str = "F-NOTICE-STALE";
const EARLY: &str = "F-PRE-CONSENT-SDK";
const SCOPE: &str = "F-SDK-SCOPE";

/// The purpose for which an SDK is of use only to those who pay (policy 9.1).
const PAYMENT: &str = "payment";

/// A material change of a policy.
struct Change {
    from: Timestamp,
    version: Id,
}

impl Pass<'_> {
    pub(super) fn told(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        for item in &life.collected {
            let covered = self.policy_from(item.service());
            let from = |by: Option<Timestamp>| first_of(&life.notices, by, |_| true).zip(covered);
            let begins = |both: (Timestamp, Timestamp)| both.0.max(both.1);
            let there = item.is_after(from(None).map(begins))?;
            let key = vec![maybe(item.service())];
            self.missing(life, hits, (MISSING, item, key), there, |by| {
                learned(recordings(life, by), by, |by| {
                    from(Some(by)).map(begins).is_some_and(|begins| begins <= item.last)
                })
            })?;
        }
        for item in &life.used {
            let consent = |(_, basis): &&(Id, Option<LegalBasis>)| *basis == Some(LegalBasis::Consent);
            for (purpose, _) in item.terms.purposes.iter().filter(consent) {
                self.fresh(life, hits, item, purpose)?;
            }
        }
        Ok(())
    }

    /// From when on a policy covers a service: its own, or the general one (policy 10).
    fn policy_from(&self, service: Option<&Id>) -> Option<Timestamp> {
        let known_at = self.finder.known_at();
        let all = self.finder.registers.policies.values().flatten();
        let fits = all.filter(|entry| {
            let of = entry.body.service.as_ref();
            entry.position < known_at && (of.is_none() || of == service)
        });
        fits.map(|entry| entry.from).min()
    }

    /// After a material change, use on consent needs the new notice and a new consent.
    fn fresh(&self, life: &Life<'_>, hits: &mut Vec<Hit>, item: &Item<'_>, purpose: &Id) -> Sure<()> {
        let changes = self.changes(item.service());
        item.unless_within(changes.iter().map(|change| change.from))?;
        let Some(change) = changes.iter().rfind(|change| change.from <= item.first) else { return Ok(()) };
        let again = life.consents.steps().iter().filter(|step| {
            let new = step.at >= change.from || step.policy_version.as_ref() == Some(&change.version);
            step.act == crate::domain::consent::Act::Given && new && step.purpose.as_ref() == Some(purpose)
        });
        let consented = item.is_after(again.map(|step| step.at).min())?;
        if !(consented && shown(&life.notices, change, item)?) {
            self.wrong(hits, STALE, item, vec![maybe(item.service()), value(&change.version)]);
        }
        Ok(())
    }

    /// Material changes of the policy of a service, the earliest first. A first version changes nothing.
    fn changes(&self, service: Option<&Id>) -> Vec<Change> {
        let known_at = self.finder.known_at();
        let mut changes = Vec::new();
        for history in self.finder.registers.policies.values() {
            let known = history.iter().filter(|entry| {
                let of = entry.body.service.as_ref();
                entry.position < known_at && (of.is_none() || of == service)
            });
            for entry in known.skip(1).filter(|e| e.body.change_kind == Some(PolicyChange::Material)) {
                changes
                    .extend(entry.body.version.clone().map(|version| Change { from: entry.from, version }));
            }
        }
        changes.sort_by(|a, b| (a.from, &a.version).cmp(&(b.from, &b.version)));
        changes
    }

    /// An SDK reads only after the person was asked or fully told, and one for payments only of those who pay.
    pub(super) fn sdks(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        if life.is_a_device_alone() {
            return Ok(());
        }
        for item in &life.observed {
            let Body::SdkObserved(body) = &*item.body else { continue };
            let Some(name) = &body.sdk_name else { continue };
            let behind = self.finder.behind(body, name);
            // What says of itself that it came too early is counted without asking whom it was about.
            if body.before_consent != Some(true) {
                let key = vec![value(name), maybe(body.app_version.as_ref())];
                self.early(life, hits, (item, key), &behind)?;
            }
            item.unless_within(behind.iter().flat_map(|id| self.finder.recipient_bounds(id)))?;
            let registered = self.finder.registered(&behind, body, item.last);
            let pays = life.openings.iter().any(|opening| opening.purpose.as_str() == PAYMENT);
            if let Some(recipient) = registered.filter(|_| !pays)
                && self.is_for_payments(&recipient, item.last)
            {
                self.wrong(hits, SCOPE, item, vec![value(name), value(&recipient), None]);
            }
        }
        for item in &life.shared {
            let Body::DataShared(body) = &*item.body else { continue };
            let Some(recipient) =
                item.terms.recipient.as_ref().filter(|_| body.method == Some(ShareMethod::Sdk))
            else {
                continue;
            };
            let named = self.finder.versions(recipient).last().and_then(|(_, body)| body.sdk.as_ref());
            let name = named.map_or(recipient, |sdk| &sdk.name);
            let key = vec![value(name), maybe(body.app_version.as_ref())];
            self.early(life, hits, (item, key), std::slice::from_ref(recipient))?;
        }
        Ok(())
    }

    fn early(
        &self,
        life: &Life<'_>,
        hits: &mut Vec<Hit>,
        (item, key): (&Item<'_>, Vec<Option<crate::domain::finding::Value>>),
        behind: &[Id],
    ) -> Sure<()> {
        let from = |by: Option<Timestamp>| {
            let consents = life.consents.steps().iter().filter(|step| {
                let known = by.is_none_or(|by| step.recorded_at <= by);
                let about = step.recipient.as_ref().is_none_or(|to| behind.contains(to));
                step.act == crate::domain::consent::Act::Given && known && about
            });
            let asked = consents.map(|step| step.at).min();
            asked.into_iter().chain(first_of(&life.notices, by, |notice| notice.full)).min()
        };
        let there = item.is_after(from(None))?;
        self.missing(life, hits, (EARLY, item, key), there, |by| {
            learned(recordings(life, by), by, |by| from(Some(by)).is_some_and(|from| from <= item.last))
        })
    }

    fn is_for_payments(&self, recipient: &Id, at: Timestamp) -> bool {
        let registered = self.finder.registers.recipient_at(recipient, at, self.finder.known_at());
        registered.is_some_and(|entry| {
            let purposes = &entry.body.purposes;
            !purposes.is_empty() && purposes.iter().all(|purpose| purpose.as_str() == PAYMENT)
        })
    }
}

/// When the first notice of some kind was shown, as far as was recorded by an instant.
fn first_of(
    notices: &[Notice],
    by: Option<Timestamp>,
    counts: impl Fn(&Notice) -> bool,
) -> Option<Timestamp> {
    let known = notices.iter().filter(|notice| by.is_none_or(|by| notice.recorded_at <= by));
    known.filter(|notice| counts(notice)).map(|notice| notice.first).min()
}

/// Whether the notice of a change was shown, at the latest when something happened: that very version, or any
/// after the change.
fn shown(notices: &[Notice], change: &Change, item: &Item<'_>) -> Sure<bool> {
    let (mut surely, mut perhaps) = (false, false);
    for notice in notices {
        let (earliest, latest) = match notice.version.as_ref() == Some(&change.version) {
            true => (notice.first, notice.first),
            // Of several that begin before the change only the last is known to lie behind it.
            false if notice.first >= change.from => (notice.first, notice.first),
            false if notice.last >= change.from => (change.from, notice.last),
            false => continue,
        };
        surely |= latest <= item.first;
        perhaps |= earliest <= item.last;
    }
    if perhaps && !surely { Err(Unsure) } else { Ok(surely) }
}

/// When something that allows others was recorded after an instant, the earliest first.
fn recordings(life: &Life<'_>, by: Timestamp) -> Vec<Timestamp> {
    let notices = life.notices.iter().map(|notice| notice.recorded_at);
    let consents = life.consents.steps().iter().map(|step| step.recorded_at);
    let mut later: Vec<Timestamp> = notices.chain(consents).filter(|recorded| *recorded > by).collect();
    later.sort_unstable();
    later
}

/// When it became known that something was there, where nobody knew by an instant.
fn learned(later: Vec<Timestamp>, by: Timestamp, known: impl Fn(Timestamp) -> bool) -> Option<Timestamp> {
    if known(by) { None } else { later.into_iter().find(|recorded| known(*recorded)) }
}

//! Whether people's choices were free, and kept (GDPR 5(1)(b), 6(4), 7(2), 7(4), 21(3); PIPL 6, 14, 16, 24).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::consent::{To, Wanted};
use crate::domain::event::catalogue::{DataUsed, MessageSent};
use crate::domain::event::{Body, Compatibility, MessageNature, Permission};
use crate::domain::finding::Value;
use crate::domain::id::Id;
use crate::domain::time::{MS_PER_DAY, Timestamp};
use crate::domain::vocabulary::{self, Level};
use crate::views::findings::persons::life::{Item, Life, Opening, Sure, Unsure, meets};
use crate::views::findings::persons::{Hit, Pass};
use crate::views::findings::{maybe, value};

const CREEP: &str = "F-PURPOSE-CREEP";
const OPTOUT: &str = "F-MARKETING-OPTOUT";
const BUNDLED: &str = "F-BUNDLED-CONSENT";
const FORCED: &str = "F-FORCED-PERMISSION";

const MARKETING: &str = "direct_marketing";
/// Purposes that may not hide behind others on one screen.
const APART: &[&str] = &[MARKETING, "cross_service"];
/// What the cause of a refused service is called where it is a consent that was not given.
const CONSENT: &str = "consent";

impl Pass<'_> {
    /// Data serve what they were collected for, and what was added as the law asks.
    pub(super) fn uses(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        for item in &life.used {
            let Body::DataUsed(body) = &*item.body else { continue };
            for (purpose, _) in &item.terms.purposes {
                let touched = |opening: &&Opening| is_touched(opening, body);
                let held = life.openings.iter().filter(|opening| opening.collected).filter(touched);
                let opened = life.openings.iter().filter(touched);
                let opened = opened.filter(|opening| opening.purpose == *purpose);
                let is_held = item.is_after(held.map(|opening| opening.since).min())?;
                if is_held && !item.is_after(opened.map(|opening| opening.since).min())? {
                    self.wrong(hits, CREEP, item, vec![maybe(item.service()), value(purpose)]);
                }
            }
        }
        for item in &life.added {
            let Body::PurposeAdded(body) = &*item.body else { continue };
            let assessed = body.assessment_ref.is_some();
            for (purpose, _) in &item.terms.purposes {
                let consented = || life.consents.in_force(&Wanted::to_purpose(purpose), item.last);
                let allowed = match body.compatibility {
                    Some(Compatibility::Same | Compatibility::Compatible) => assessed,
                    Some(Compatibility::NewConsent) => consented(),
                    None => assessed || consented(),
                };
                if !allowed {
                    self.wrong(hits, CREEP, item, vec![maybe(item.service()), value(purpose)]);
                }
            }
        }
        Ok(())
    }

    /// Marketing goes to those who want it.
    pub(super) fn marketing(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        let purpose = MARKETING.parse::<Id>().ok();
        for item in &life.sent {
            let Body::MessageSent(body) = &*item.body else { continue };
            if !is_marketing(body) {
                continue;
            }
            let wanted = Wanted {
                purpose: purpose.as_ref(),
                to: To::Anybody,
                separate: false,
                guardian: false,
                consent_id: body.consent_id.as_ref(),
                stops: true,
                settle_ms: 0,
            };
            let spans = life.consents.spans(&wanted, None);
            if !spans.throughout(item.first, item.last).ok_or(Unsure)? {
                let channel = body.channel.and_then(|channel| channel.as_str().parse::<Id>().ok());
                let key = vec![maybe(item.service()), maybe(body.template.as_ref()), maybe(channel.as_ref())];
                self.wrong(hits, OPTOUT, item, key);
            }
        }
        Ok(())
    }

    /// One screen, one purpose, where one of them must stand apart.
    pub(super) fn bundles(&self, life: &Life<'_>, hits: &mut Vec<Hit>) {
        let mut screens: BTreeMap<_, Vec<(&Item<'_>, Id)>> = BTreeMap::new();
        for item in &life.given {
            let Body::ConsentGiven(body) = &*item.body else { continue };
            let (Some(shown), Some(purpose)) = (&body.evidence_sha256, &body.purpose) else { continue };
            let meant = self.finder.mapped(crate::domain::event::MappingKind::Purpose, purpose, item.shape);
            let screen = (shown.to_string(), item.service().cloned(), item.shape.policy_version.clone());
            screens.entry(screen).or_default().push((item, meant));
        }
        for ((_, service, version), given) in screens {
            let purposes: BTreeSet<&Id> = given.iter().map(|(_, purpose)| purpose).collect();
            if purposes.len() < 2 || !given.iter().any(|(item, purpose)| stands_apart(item, purpose)) {
                continue;
            }
            let list = Value::list(purposes.iter().map(|purpose| purpose.as_str())).ok();
            for (item, _) in &given {
                let key = vec![maybe(service.as_ref()), maybe(version.as_ref()), list.clone()];
                self.wrong(hits, BUNDLED, item, key);
            }
        }
    }

    /// Who says no to what is not needed is not turned away for it.
    pub(super) fn forced(&self, life: &Life<'_>, hits: &mut Vec<Hit>) -> Sure<()> {
        for item in &life.refused {
            let Body::ServiceRefused(body) = &*item.body else { continue };
            let Some(cause) = &body.cause else { continue };
            let mut forced = false;
            if cause.as_str() == CONSENT {
                for no in &life.said_no {
                    let Body::ConsentRefused(said) = &*no.body else { continue };
                    let purpose = said.purpose.as_ref();
                    let free = |pass: &Self| !pass.is_required(item, purpose, &said.cats);
                    forced |= is_soon_after(item, no.first, no.last)? && free(self);
                }
            } else {
                for no in life.denials.iter().filter(|no| no.permission.as_str() == cause.as_str()) {
                    let cats = categories_of(no.permission);
                    let free = |pass: &Self| !pass.is_required(item, no.purpose.as_ref(), &cats);
                    forced |= is_soon_after(item, no.first, no.last)? && free(self);
                }
            }
            if forced {
                let key = vec![maybe(item.service()), maybe(body.feature.as_ref()), value(cause)];
                self.wrong(hits, FORCED, item, key);
            }
        }
        Ok(())
    }

    /// Whether an activity of the service that serves the purpose says that it cannot do without such data.
    fn is_required(&self, item: &Item<'_>, purpose: Option<&Id>, cats: &[Id]) -> bool {
        let (registers, known_at) = (self.finder.registers, self.finder.known_at());
        registers.activities.keys().any(|activity| {
            let Some(revision) = registers.activity_at(activity, item.last, known_at) else { return false };
            let body = revision.entry.body;
            let serves = purpose.is_none_or(|of| body.purposes.iter().any(|one| one.id == *of));
            let needs = match cats {
                [] => !body.required.is_empty(),
                cats => body.required.iter().any(|needed| meets(cats, Some(needed))),
            };
            body.service.as_ref() == item.service() && serves && needs
        })
    }
}

/// Whether a use is of such data.
fn is_touched(opening: &Opening, body: &DataUsed) -> bool {
    let fits = |asked: &Option<Id>, has: &Option<Id>| asked.is_none() || has.is_none() || asked == has;
    fits(&body.service, &opening.service)
        && fits(&body.record_kind, &opening.record_kind)
        && (opening.cats.is_empty() || meets(&opening.cats, body.category.as_ref()))
        && fits(&body.slot, &opening.slot)
}

/// By what it is said to be for, or by the name of its template.
fn is_marketing(body: &MessageSent) -> bool {
    let tagged = |template: &Id| {
        template.as_str().split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "marketing")
    };
    body.nature == Some(MessageNature::Marketing) || body.template.as_ref().is_some_and(tagged)
}

fn stands_apart(item: &Item<'_>, purpose: &Id) -> bool {
    let Body::ConsentGiven(body) = &*item.body else { return false };
    let sensitive = |cat: &Id| vocabulary::level(cat.as_str()) == Some(Level::Sensitive);
    APART.contains(&purpose.as_str()) || body.cats.iter().any(sensitive)
}

/// Whether something happened within a day after one of a number of like things.
fn is_soon_after(item: &Item<'_>, first: Timestamp, last: Timestamp) -> Sure<bool> {
    let day = |at: Timestamp| at.plus_ms(MS_PER_DAY);
    if first > item.last || day(last) < item.first {
        return Ok(false);
    }
    let one = first == last && item.first == item.last;
    let surely = [first, last].iter().any(|no| *no <= item.first && item.last <= day(*no));
    if surely || one { Ok(surely) } else { Err(Unsure) }
}

/// What a permission of the operating system lets an app take.
fn categories_of(permission: Permission) -> Vec<Id> {
    let names: &[&str] = match permission {
        Permission::LocationPrecise | Permission::LocationCoarse => &["pd:GPSCoordinate", "x:wlan_ap"],
        Permission::Camera => &["pd:Picture", "x:device_serial"],
        Permission::Storage => &["pd:Picture"],
        Permission::Notifications => &[],
    };
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

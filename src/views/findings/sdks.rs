//! Findings about SDKs that were seen reading data (PIPL 6, 13, 17; ePrivacy 5(3); App rules 2019).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::catalogue::{RecipientRegistered, SdkObserved};
use crate::domain::event::{Body, MappingKind, RecipientRole};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;
use crate::views::Error;
use crate::views::findings::lessons::Keys;
use crate::views::findings::{Finder, Kind, maybe, value};
use crate::views::stretch::Stretch;

const UNDECLARED: &str = "F-SDK-UNDECLARED";
const EARLY: &str = "F-PRE-CONSENT-SDK";

/// What one version of an SDK was seen to read, and since when.
type Versions = BTreeMap<Id, (Timestamp, BTreeSet<Id>, Vec<Stretch>)>;

impl Finder<'_> {
    pub(super) fn sdks(&mut self) -> Result<(), Error> {
        let seen = self.kinds(|body| match body {
            Body::SdkObserved(body) => Some((**body).clone()),
            _ => None,
        });
        let mut sdks: BTreeMap<Id, Versions> = BTreeMap::new();
        for kind in seen {
            let Some(name) = kind.body.sdk_name.clone() else { continue };
            let behind = self.behind(&kind.body, &name);
            let bounds: Vec<Timestamp> = behind.iter().flat_map(|id| self.recipient_bounds(id)).collect();
            let entries = behind.iter().flat_map(|id| self.recipient_positions(id)).collect();
            let lessons = self.lessons(entries)?;
            for case in self.cases(UNDECLARED, &kind, bounds.clone(), &lessons)? {
                let wrong = |finder: &Self, known_at| {
                    let registered =
                        finder.registered_before(&behind, &kind.body, case.stretch.first, known_at);
                    if registered.is_some() { Keys::new() } else { vec![vec![value(&name)]] }
                };
                self.judge_case(UNDECLARED, (&case, &lessons), wrong);
            }
            if kind.body.before_consent == Some(true) {
                for stretch in self.stretches(EARLY, &kind, Vec::new())? {
                    self.raise(EARLY, vec![value(&name), maybe(kind.body.app_version.as_ref())], &stretch);
                }
            }
            for stretch in self.stretches("F-SDK-SCOPE", &kind, bounds)? {
                self.reads(&kind, (&name, &behind), &stretch);
                let Some(version) = &kind.body.sdk_version else { continue };
                let of = sdks.entry(name.clone()).or_default().entry(version.clone());
                let (first, cats, stretches) =
                    of.or_insert_with(|| (stretch.first, BTreeSet::new(), Vec::new()));
                *first = stretch.first.min(*first);
                cats.extend(kind.body.cats.iter().cloned());
                stretches.push(stretch);
            }
        }
        for (name, versions) in sdks {
            self.changed(&name, versions);
        }
        Ok(())
    }

    /// The recipients that may be behind an SDK.
    pub(super) fn behind(&self, body: &SdkObserved, name: &Id) -> Vec<Id> {
        let ids = self.registers.recipients.keys();
        let mine = ids.filter(|id| {
            let named =
                |version: &RecipientRegistered| version.sdk.as_ref().is_some_and(|sdk| sdk.name == *name);
            body.recipient_id.as_ref() == Some(*id) || self.versions(id).any(|(_, version)| named(version))
        });
        mine.cloned().collect()
    }

    /// The one of them that was registered for it and in force at an instant.
    pub(super) fn registered(&self, behind: &[Id], body: &SdkObserved, at: Timestamp) -> Option<Id> {
        self.registered_before(behind, body, at, self.known_at())
    }

    fn registered_before(
        &self,
        behind: &[Id],
        body: &SdkObserved,
        at: Timestamp,
        known_at: u64,
    ) -> Option<Id> {
        let in_force = |id: &&Id| {
            let current = self.versions_before(id, known_at).filter(|(from, _)| *from <= at).last();
            current.is_some_and(|(_, version)| {
                let named = version.sdk.as_ref().map(|sdk| &sdk.name) == body.sdk_name.as_ref();
                let same =
                    body.recipient_id.as_ref() == Some(*id) && version.role == Some(RecipientRole::Sdk);
                (named || same) && !self.has_ended(id, at, known_at)
            })
        };
        behind.iter().find(in_force).cloned()
    }

    /// Categories that were read and are not declared.
    fn reads(&mut self, kind: &Kind<SdkObserved>, (name, behind): (&Id, &[Id]), stretch: &Stretch) {
        let Some(recipient) = self.registered(behind, &kind.body, stretch.first) else { return };
        let Some(entry) = self.registers.recipient_at(&recipient, stretch.first, self.known_at()) else {
            return;
        };
        let declared = entry.body.cats.clone();
        for cat in kind.body.cats.iter() {
            let cat = self.mapped(MappingKind::Category, cat, &kind.shape);
            if !declared.iter().any(|one| vocabulary::satisfies(cat.as_str(), one.as_str())) {
                self.raise("F-SDK-SCOPE", vec![value(name), value(&recipient), value(&cat)], stretch);
            }
        }
    }

    /// A version reads what the one seen before it did not.
    fn changed(&mut self, name: &Id, versions: Versions) {
        let mut sorted: Vec<_> = versions.into_iter().collect();
        sorted.sort_by(|(a, (first, ..)), (b, (other, ..))| (first, a).cmp(&(other, b)));
        for pair in sorted.windows(2) {
            let ((_, (_, before, _)), (version, (_, cats, stretches))) = (&pair[0], &pair[1]);
            if !cats.is_subset(before) {
                for stretch in stretches {
                    self.raise("F-SDK-CHANGED", vec![value(name), value(version)], stretch);
                }
            }
        }
    }
}

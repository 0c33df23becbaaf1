//! Findings about what was collected, used and decided (GDPR 5, 13, 22, 35; PIPL 6, 13, 17, 24, 55).

use std::collections::BTreeSet;

use crate::domain::event::catalogue::{ActivityRegistered, DataCollected, PolicyPublished};
use crate::domain::event::{AssessmentKind, Body, DecisionEffect, MappingKind, PurposeBasis};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::{self, Level};
use crate::views::Error;
use crate::views::findings::lessons::Keys;
use crate::views::findings::{Finder, Kind, maybe, value};
use crate::views::shape::Shape;
use crate::views::stretch::Stretch;

const UNDECLARED: &str = "F-CATEGORY-UNDECLARED";
const UNASSESSED: &str = "F-NO-ASSESSMENT";

/// Terms of fideslang under which data tell who somebody is, or how to reach or find them.
const TELLING: &[&str] =
    &["user.contact", "user.location", "user.unique_id", "user.device.device_id", "user.government_id"];

impl Finder<'_> {
    pub(super) fn collecting(&mut self) -> Result<(), Error> {
        let collected = self.kinds(|body| match body {
            Body::DataCollected(body) => Some((**body).clone()),
            _ => None,
        });
        for kind in collected {
            let mut bounds = self.revisions(&kind.shape);
            bounds.extend(self.registers.policies.values().flatten().map(|entry| entry.from));
            for stretch in self.stretches(UNDECLARED, &kind, bounds.clone())? {
                self.collection(&kind, &stretch);
            }
            let assessed = self.registers.assessments.keys();
            bounds.extend(assessed.flat_map(|of| self.registers.assessment_bounds(of)));
            let lessons = self.lessons(self.assessment_positions(&kind))?;
            for case in self.cases(UNASSESSED, &kind, bounds, &lessons)? {
                let at = case.stretch.first;
                let wrong = |finder: &Self, known_at| finder.unassessed(&kind, at, known_at);
                self.judge_case(UNASSESSED, (&case, &lessons), wrong);
            }
        }
        self.uses()?;
        self.decisions()
    }

    fn collection(&mut self, kind: &Kind<DataCollected>, stretch: &Stretch) {
        let (shape, at) = (&kind.shape, stretch.first);
        let activity = self.revision(shape, at).map(|revision| revision.entry.body);
        let cats = self.categories(kind, activity.as_deref());
        let purposes = purposes(&kind.body, activity.as_deref());
        self.unknown_terms(kind, activity.as_deref(), (&cats, &purposes), stretch);
        self.declared(shape, (&cats, &purposes), stretch);
        if kind.body.encrypted_at_rest == Some(false) {
            for cat in cats.iter().filter(|cat| is_telling(cat)) {
                self.raise("F-CLEARTEXT", vec![maybe(shape.service.as_ref()), value(cat)], stretch);
            }
        }
        for regime in self.regimes(shape, at) {
            for purpose in purposes.iter().filter(|purpose| !self.law.knows(regime, purpose.basis)) {
                let service = shape.service.as_ref().filter(|_| shape.activity.is_none());
                let key = vec![maybe(shape.activity.as_ref()), maybe(service), value(&purpose.id)];
                self.raise("F-BASIS-REGIME", key, stretch);
            }
        }
    }

    pub(super) fn categories(
        &self,
        kind: &Kind<DataCollected>,
        activity: Option<&ActivityRegistered>,
    ) -> BTreeSet<Id> {
        let cats = match activity {
            Some(activity) if kind.body.cats.is_empty() => &activity.cats,
            _ => &kind.body.cats,
        };
        cats.iter().map(|cat| self.mapped(MappingKind::Category, cat, &kind.shape)).collect()
    }

    /// Terms that neither a vocabulary nor a register knows (GDPR 30). A mapping cures them.
    fn unknown_terms(
        &mut self,
        kind: &Kind<DataCollected>,
        activity: Option<&ActivityRegistered>,
        (cats, purposes): (&BTreeSet<Id>, &[PurposeBasis]),
        stretch: &Stretch,
    ) {
        let mut unknown: Vec<(&str, Id)> = Vec::new();
        let of = |id: &Id| vocabulary::known(vocabulary::Kind::Category, id.as_str());
        unknown.extend(cats.iter().filter(|cat| !of(cat)).map(|cat| ("category", cat.clone())));
        for purpose in purposes {
            let meant = self.mapped(MappingKind::Purpose, &purpose.id, &kind.shape);
            if !vocabulary::known(vocabulary::Kind::Purpose, meant.as_str()) {
                unknown.push(("purpose", meant));
            }
        }
        let record_kind = kind.body.record_kind.as_ref().or_else(|| activity?.record_kind.as_ref());
        if let Some(id) = record_kind {
            let meant = self.mapped(MappingKind::RecordKind, id, &kind.shape);
            if !vocabulary::known(vocabulary::Kind::RecordKind, meant.as_str()) {
                unknown.push(("record_kind", meant));
            }
        }
        if let Some(id) = kind.shape.activity.as_ref().filter(|_| activity.is_none()) {
            unknown.push(("activity", id.clone()));
        }
        for (what, term) in unknown {
            self.raise("F-UNMAPPED", vec![maybe(what.parse().ok().as_ref()), value(&term)], stretch);
        }
    }

    /// The policy in force for a service: its own, else the general one (policy 10).
    fn policy(&self, service: Option<&Id>, at: Timestamp) -> Option<&PolicyPublished> {
        let known_at = self.known_at();
        let in_force = |of: Option<&Id>| {
            let all = self.registers.policies.values().flatten();
            let mine = all.filter(move |entry| {
                entry.from <= at && entry.position < known_at && entry.body.service.as_ref() == of
            });
            mine.max_by_key(|entry| (entry.from, entry.position)).map(|entry| &*entry.body)
        };
        service.and_then(|service| in_force(Some(service))).or_else(|| in_force(None))
    }

    /// What is collected for a purpose must be published for it (GDPR 13, 14; PIPL 17).
    fn declared(
        &mut self,
        shape: &Shape,
        (cats, purposes): (&BTreeSet<Id>, &[PurposeBasis]),
        stretch: &Stretch,
    ) {
        let Some(policy) = self.policy(shape.service.as_ref(), stretch.first).cloned() else { return };
        for purpose in purposes {
            let meant = self.mapped(MappingKind::Purpose, &purpose.id, shape);
            let declared = policy.declared.iter().find(|declared| declared.purpose == meant);
            let declared = declared.map(|declared| declared.cats.to_vec()).unwrap_or_default();
            for cat in cats {
                if !declared.iter().any(|one| vocabulary::satisfies(cat.as_str(), one.as_str())) {
                    let key = vec![maybe(policy.version.as_ref()), value(&meant), value(cat)];
                    self.raise(UNDECLARED, key, stretch);
                }
            }
        }
    }

    /// Sensitive data need an assessment before (GDPR 35; PIPL 55).
    fn unassessed(&self, kind: &Kind<DataCollected>, at: Timestamp, known_at: u64) -> Keys {
        let shape = &kind.shape;
        let mut keys = Keys::new();
        let revision = self.revision(shape, at).map(|revision| revision.entry.body);
        let sensitive = kind.body.sensitive.or_else(|| revision.as_ref()?.sensitive);
        let Some(activity) = shape.activity.as_ref().filter(|_| sensitive == Some(true)) else { return keys };
        let document = revision.and_then(|activity| activity.assessment_ref.clone());
        for regime in self.regimes(shape, at) {
            let assessment = match regime.as_str() {
                "CN" => AssessmentKind::Pipia,
                "EU" => AssessmentKind::Dpia,
                _ => continue,
            };
            let mut of = [Some(activity), document.as_ref()].into_iter().flatten();
            if !of.any(|of| self.registers.is_assessed(of, assessment, at, known_at)) {
                let kind = assessment.as_str().parse::<Id>().ok();
                keys.push(vec![value(activity), None, maybe(kind.as_ref())]);
            }
        }
        keys
    }

    /// Where assessments stand that may be of a collection's activity, or the document one of its revisions names.
    fn assessment_positions(&self, kind: &Kind<DataCollected>) -> Vec<u64> {
        let Some(activity) = &kind.shape.activity else { return Vec::new() };
        let history = self.registers.activities.get(activity).into_iter().flatten();
        let documents = history.filter_map(|entry| entry.body.assessment_ref.as_ref());
        let of = std::iter::once(activity).chain(documents);
        let made = of.filter_map(|of| self.registers.assessments.get(of)).flatten();
        made.map(|entry| entry.position).collect()
    }

    /// Analysis that is tied to who somebody is (policy 2).
    fn uses(&mut self) -> Result<(), Error> {
        let linked = self.kinds(|body| match body {
            Body::DataUsed(body) => {
                let analytics = body.purpose.as_ref().is_some_and(|purpose| purpose.as_str() == "analytics");
                (analytics && body.pseudonymous == Some(false)).then_some(())
            }
            _ => None,
        });
        for kind in linked {
            for stretch in self.stretches("F-ANALYTICS-LINKED", &kind, Vec::new())? {
                self.raise("F-ANALYTICS-LINKED", vec![maybe(kind.shape.service.as_ref())], &stretch);
            }
        }
        Ok(())
    }

    /// A decision with legal or similar effect: somebody must be able to have a human look at it (GDPR 22), or
    /// to refuse it (PIPL 24).
    fn decisions(&mut self) -> Result<(), Error> {
        let decisions = self.kinds(|body| match body {
            Body::AutomatedDecisionMade(body) => Some((**body).clone()),
            _ => None,
        });
        for kind in decisions {
            let weighty = matches!(kind.body.effect, Some(DecisionEffect::Legal | DecisionEffect::Similar));
            for stretch in self.stretches("F-ADM", &kind, self.revisions(&kind.shape))? {
                let regimes = self.regimes(&kind.shape, stretch.first);
                let chinese = regimes.iter().any(|regime| regime.as_str() == "CN");
                let other = regimes.is_empty() || regimes.iter().any(|regime| regime.as_str() != "CN");
                let lacks_review = other && kind.body.human_review != Some(true);
                let lacks_choice = chinese && kind.body.opt_out_offered != Some(true);
                if weighty && (lacks_review || lacks_choice) {
                    self.raise("F-ADM", vec![maybe(kind.body.logic_ref.as_ref())], &stretch);
                }
            }
        }
        Ok(())
    }
}

fn purposes(body: &DataCollected, activity: Option<&ActivityRegistered>) -> Vec<PurposeBasis> {
    match activity {
        Some(activity) if body.purposes.is_empty() => activity.purposes.to_vec(),
        _ => body.purposes.to_vec(),
    }
}

/// Whether a category must not lie about in clear (GDPR 32; PIPL 51).
fn is_telling(cat: &Id) -> bool {
    vocabulary::term(vocabulary::Kind::Category, cat.as_str()).is_some_and(|term| {
        let under = |key: &str| TELLING.iter().any(|prefix| key.starts_with(prefix));
        term.level == Some(Level::Sensitive) || term.fideslang.iter().any(|key| under(key))
    })
}

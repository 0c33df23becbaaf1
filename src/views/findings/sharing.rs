//! Findings about what was given to recipients (GDPR 26, 28, 32; PIPL 20 to 23).

use std::collections::BTreeSet;

use crate::domain::event::catalogue::{ActivityRegistered, DataShared, RecipientRegistered};
use crate::domain::event::{AssessmentKind, Body, LegalBasis, MappingKind, RecipientRole};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;
use crate::views::Error;
use crate::views::findings::lessons::Keys;
use crate::views::findings::{Finder, Kind, maybe, value};
use crate::views::stretch::Stretch;

const CONTRACT: &str = "F-RECIPIENT-NO-CONTRACT";
const UNBALANCED: &str = "F-NO-ASSESSMENT";

impl Finder<'_> {
    pub(super) fn sharing(&mut self) -> Result<(), Error> {
        let shares = self.kinds(|body| match body {
            Body::DataShared(body) => Some((**body).clone()),
            _ => None,
        });
        for share in shares {
            let Some(stated) = &share.body.recipient_id else { continue };
            let recipient = self.mapped(MappingKind::Recipient, stated, &share.shape);
            let mut bounds = self.revisions(&share.shape);
            bounds.extend(self.recipient_bounds(&recipient));
            let lessons = self.lessons(self.recipient_positions(&recipient))?;
            for case in self.cases(CONTRACT, &share, bounds.clone(), &lessons)? {
                let at = case.stretch.first;
                let wrong = |finder: &Self, known_at| finder.without_contract(&recipient, at, known_at);
                self.judge_case(CONTRACT, (&case, &lessons), wrong);
            }
            for stretch in self.stretches("F-SHARE-NO-SAFEGUARD", &share, bounds)? {
                self.share(&share, &recipient, &stretch);
            }
            self.balances(&share, &recipient)?;
        }
        Ok(())
    }

    /// Data are given on a legitimate interest only after it was balanced against people's own (GDPR 6(1)(f), 35;
    /// policy 4.3.5).
    fn balances(&mut self, share: &Kind<DataShared>, recipient: &Id) -> Result<(), Error> {
        let shape = &share.shape;
        let history = shape.activity.as_ref().and_then(|activity| self.registers.activities.get(activity));
        let revisions: Vec<_> = history.into_iter().flatten().map(|entry| entry.body.clone()).collect();
        let may_be = rests_on_interest(&share.body, None)
            || revisions.iter().any(|activity| rests_on_interest(&share.body, Some(&**activity)));
        if !may_be {
            return Ok(());
        }
        let documents = revisions.iter().filter_map(|activity| activity.assessment_ref.as_ref());
        let of: BTreeSet<&Id> = documents.chain(&share.body.assessment_ref).chain(&shape.activity).collect();
        let mut bounds = self.revisions(shape);
        bounds.extend(of.iter().flat_map(|of| self.registers.assessment_bounds(of)));
        let made = of.iter().filter_map(|of| self.registers.assessments.get(*of)).flatten();
        let lessons = self.lessons(made.map(|entry| entry.position).collect())?;
        for case in self.cases(UNBALANCED, share, bounds, &lessons)? {
            let at = case.stretch.first;
            let wrong = |finder: &Self, known_at| finder.unbalanced(share, recipient, at, known_at);
            self.judge_case(UNBALANCED, (&case, &lessons), wrong);
        }
        Ok(())
    }

    /// The key of what is wrong where no balancing stands behind an interest: none of what the event or its activity
    /// names, and none of the activity itself.
    fn unbalanced(&self, share: &Kind<DataShared>, recipient: &Id, at: Timestamp, known_at: u64) -> Keys {
        let (shape, body) = (&share.shape, &share.body);
        let revision = self.revision(shape, at).map(|revision| revision.entry.body);
        if !rests_on_interest(body, revision.as_deref()) {
            return Keys::new();
        }
        let document = revision.as_ref().and_then(|activity| activity.assessment_ref.as_ref());
        let mut of = [body.assessment_ref.as_ref(), document, shape.activity.as_ref()].into_iter().flatten();
        if of.any(|of| self.registers.is_assessed(of, AssessmentKind::Lia, at, known_at)) {
            return Keys::new();
        }
        let kind = AssessmentKind::Lia.as_str().parse::<Id>().ok();
        let recipient = shape.activity.is_none().then_some(recipient);
        vec![vec![maybe(shape.activity.as_ref()), maybe(recipient), maybe(kind.as_ref())]]
    }

    /// Where something about a recipient begins or ends.
    pub(super) fn recipient_bounds(&self, recipient: &Id) -> Vec<Timestamp> {
        let versions = self.registers.recipients.get(recipient).into_iter().flatten();
        let ends = self.registers.recipient_ends.get(recipient).into_iter().flatten();
        let mut bounds: Vec<Timestamp> = ends.map(|entry| entry.from).collect();
        for entry in versions {
            bounds.push(entry.from);
            bounds.extend(entry.body.contract_from.as_ref().map(|day| day.begins()));
            bounds.extend(entry.body.contract_to.as_ref().map(|day| day.ends()));
        }
        bounds
    }

    /// Where what is registered of a recipient stands.
    pub(super) fn recipient_positions(&self, recipient: &Id) -> Vec<u64> {
        let versions = self.registers.recipients.get(recipient).into_iter().flatten();
        let ends = self.registers.recipient_ends.get(recipient).into_iter().flatten();
        versions.map(|entry| entry.position).chain(ends.map(|entry| entry.position)).collect()
    }

    /// Every registration of a recipient that is known.
    pub(super) fn versions(&self, recipient: &Id) -> impl Iterator<Item = (Timestamp, &RecipientRegistered)> {
        self.versions_before(recipient, self.known_at())
    }

    pub(super) fn versions_before(
        &self,
        recipient: &Id,
        known_at: u64,
    ) -> impl Iterator<Item = (Timestamp, &RecipientRegistered)> {
        let history = self.registers.recipients.get(recipient).into_iter().flatten();
        history.filter(move |entry| entry.position < known_at).map(|entry| (entry.from, &*entry.body))
    }

    /// Whether a recipient had been ended by an instant, and not registered again.
    pub(super) fn has_ended(&self, recipient: &Id, at: Timestamp, known_at: u64) -> bool {
        let ends = self.registers.recipient_ends.get(recipient).into_iter().flatten();
        let known = ends.filter(|entry| entry.position < known_at && entry.from <= at);
        let last = known.map(|entry| entry.from).max();
        let registered =
            self.versions_before(recipient, known_at).map(|(from, _)| from).filter(|from| *from <= at).max();
        last.is_some_and(|ended| registered.is_none_or(|registered| registered <= ended))
    }

    /// The key of what is wrong where no contract covers an instant, as known before a position. It names the
    /// contract by what is known now, so that a finding keeps its name.
    fn without_contract(&self, recipient: &Id, at: Timestamp, known_at: u64) -> Keys {
        let newest = self.versions(recipient).last().map(|(_, body)| body);
        if newest.is_some_and(|body| body.role == Some(RecipientRole::Authority)) {
            return Keys::new();
        }
        let covers = |body: &RecipientRegistered| {
            let from = body.contract_from.as_ref().is_some_and(|day| day.begins() <= at);
            from && body.contract_to.as_ref().is_none_or(|day| at < day.ends())
        };
        let registered = self.versions_before(recipient, known_at).any(|(_, body)| covers(body));
        if registered && !self.has_ended(recipient, at, known_at) {
            return Keys::new();
        }
        let contract = newest.and_then(|body| body.contract_ref.as_ref());
        vec![vec![value(recipient), maybe(contract)]]
    }

    /// What was given, for what, and how protected.
    fn share(&mut self, share: &Kind<DataShared>, recipient: &Id, stretch: &Stretch) {
        let (shape, body) = (&share.shape, &share.body);
        let revision = self.revision(shape, stretch.first).map(|revision| revision.entry.body);
        let registered = self.registers.recipient_at(recipient, stretch.first, self.known_at());
        let registered = registered.map(|entry| entry.body.clone());
        let role = registered.as_ref().and_then(|registered| registered.role);
        let bare = match &revision {
            Some(activity) => body.safeguards.is_empty() && activity.safeguards.is_empty(),
            None => body.safeguards.is_empty(),
        };
        if bare && role != Some(RecipientRole::Authority) {
            let key = vec![value(recipient), maybe(shape.activity.as_ref())];
            self.raise("F-SHARE-NO-SAFEGUARD", key, stretch);
        }
        let Some(registered) = registered else {
            let kind = "recipient".parse().ok();
            return self.raise("F-UNMAPPED", vec![maybe(kind.as_ref()), value(recipient)], stretch);
        };
        let purposes: BTreeSet<Id> = match (&body.purpose, &revision) {
            (Some(purpose), _) => BTreeSet::from([self.mapped(MappingKind::Purpose, purpose, shape)]),
            (None, Some(activity)) => activity.purposes.iter().map(|purpose| purpose.id.clone()).collect(),
            (None, None) => BTreeSet::new(),
        };
        for purpose in purposes {
            if !registered.purposes.is_empty() && !registered.purposes.contains(&purpose) {
                let key = vec![maybe(shape.service.as_ref()), value(&purpose)];
                self.raise("F-PURPOSE-CREEP", key, stretch);
            }
        }
        let cats = match &revision {
            Some(activity) if body.cats.is_empty() => activity.cats.to_vec(),
            _ => body.cats.to_vec(),
        };
        if !registered.cats.is_empty() {
            let sdk = registered.sdk.as_ref().map(|sdk| sdk.name.clone());
            for cat in &cats {
                let cat = self.mapped(MappingKind::Category, cat, shape);
                let covers = |declared: &Id| vocabulary::satisfies(cat.as_str(), declared.as_str());
                if !registered.cats.iter().any(covers) {
                    let key = vec![maybe(sdk.as_ref()), value(recipient), value(&cat)];
                    self.raise("F-SDK-SCOPE", key, stretch);
                }
            }
        }
    }
}

/// Whether what is given rests on a legitimate interest, as it says itself, or as its activity says of its purpose.
fn rests_on_interest(body: &DataShared, activity: Option<&ActivityRegistered>) -> bool {
    if let Some(basis) = body.basis {
        return basis == LegalBasis::LegitimateInterest;
    }
    let mut registered = activity.into_iter().flat_map(|activity| activity.purposes.iter());
    registered.any(|one| {
        one.basis == LegalBasis::LegitimateInterest && body.purpose.as_ref().is_none_or(|of| *of == one.id)
    })
}

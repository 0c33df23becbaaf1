//! Which events a selector picks (`domain.md` 2.2): every field that is set must be so, in one and the same event.
//! What an event leaves to its activity is read there, as it was registered then.

use crate::domain::event::catalogue::ActivityRegistered;
use crate::domain::event::{Body, MappingKind};
use crate::domain::finding::Key;
use crate::domain::id::{Country, Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;
use crate::views::list::Facets;
use crate::views::population::Standing;
use crate::views::registers::Registers;
use crate::views::shape::Shape;

/// Who is meant. What is not set does not narrow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    pub subject: Option<SubjectId>,
    pub service: Option<Id>,
    pub record_kind: Option<Id>,
    pub category: Option<Id>,
    pub slot: Option<Id>,
    pub purpose: Option<Id>,
    pub recipient: Option<Id>,
    pub sdk_version: Option<Id>,
    pub app_version: Option<Id>,
    pub policy_version: Option<Id>,
    pub mechanism: Option<Id>,
    pub country: Option<Country>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    pub consent: Option<(Id, Standing)>,
    pub finding: Option<Key>,
}

/// What of a body a selector asks for besides what every list of events does.
#[derive(Default)]
struct More {
    record_kind: Option<Id>,
    slot: Option<Id>,
    sdk_version: Option<Id>,
    app_version: Option<Id>,
    /// Whether what is not stated is the activity's.
    of_activity: bool,
}

impl Selector {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Selector::default()
    }

    /// Whether lines of transfers say all that is asked for.
    pub fn asks_of_transfers_only(&self) -> bool {
        let Selector { recipient, country, .. } = self;
        *self == Selector { recipient: recipient.clone(), country: *country, ..Selector::default() }
    }

    pub fn picks(
        &self,
        shape: &Shape,
        body: &Body,
        at: Timestamp,
        registers: &Registers,
        known_at: u64,
    ) -> bool {
        let more = More::of(body);
        let activity = registers.resolved(shape, at, known_at).map(|revision| revision.entry.body);
        let registered: Option<&ActivityRegistered> = activity.as_deref().filter(|_| more.of_activity);
        let is = |wanted: &Option<Id>, has: Option<&Id>| wanted.is_none() || wanted.as_ref() == has;
        let service = shape.service.as_ref().or_else(|| activity.as_ref()?.service.as_ref());
        if !is(&self.service, service)
            || !is(&self.policy_version, shape.policy_version.as_ref())
            || !is(&self.slot, more.slot.as_ref())
            || !is(&self.sdk_version, more.sdk_version.as_ref())
            || !is(&self.app_version, more.app_version.as_ref())
        {
            return false;
        }
        let meant = |kind, term: &Id| registers.mapped(kind, term, &shape.emitter, known_at);
        let kind = more.record_kind.as_ref().or_else(|| registered?.record_kind.as_ref());
        let kind = kind.map(|kind| meant(MappingKind::RecordKind, kind));
        let mut facets = Facets::of(body);
        if let Some(registered) = registered {
            if facets.categories.is_empty() {
                facets.categories.extend(registered.cats.iter().cloned());
            }
            if facets.purposes.is_empty() {
                facets.purposes.extend(registered.purposes.iter().map(|purpose| purpose.id.clone()));
            }
        }
        let any = |wanted: &Option<Id>, mut has: Box<dyn Iterator<Item = Id> + '_>, narrower: bool| {
            wanted.as_ref().is_none_or(|wanted| {
                has.any(|id| id == *wanted || narrower && vocabulary::satisfies(id.as_str(), wanted.as_str()))
            })
        };
        let cats = facets.categories.iter().map(|cat| meant(MappingKind::Category, cat));
        let purposes = facets.purposes.iter().map(|purpose| meant(MappingKind::Purpose, purpose));
        let recipients = facets.recipients.iter().map(|id| meant(MappingKind::Recipient, id));
        is(&self.record_kind, kind.as_ref())
            && any(&self.category, Box::new(cats), true)
            && any(&self.purpose, Box::new(purposes), false)
            && any(&self.recipient, Box::new(recipients), false)
            && self.country.is_none_or(|country| facets.countries.contains(&country))
    }
}

impl More {
    fn of(body: &Body) -> More {
        macro_rules! datum {
            ($body:ident) => {
                More { record_kind: $body.record_kind.clone(), slot: $body.slot.clone(), ..More::default() }
            };
        }
        match body {
            Body::DataCollected(body) => More { of_activity: true, ..datum!(body) },
            Body::DataUsed(body) => More { of_activity: true, ..datum!(body) },
            Body::PurposeAdded(body) => datum!(body),
            Body::PurposeFulfilled(body) => datum!(body),
            Body::DataRectified(body) => datum!(body),
            Body::TransactionCompleted(body) => datum!(body),
            Body::TransactionAborted(body) => datum!(body),
            Body::ErasureAccepted(body) => datum!(body),
            Body::RestrictionApplied(body) => datum!(body),
            Body::RestrictionLifted(body) => datum!(body),
            Body::DataTransferred(_) => More { of_activity: true, ..More::default() },
            Body::DataShared(body) => More {
                slot: body.slot.clone(),
                sdk_version: body.sdk_version.clone(),
                app_version: body.app_version.clone(),
                of_activity: true,
                ..More::default()
            },
            Body::SdkObserved(body) => More {
                sdk_version: body.sdk_version.clone(),
                app_version: body.app_version.clone(),
                ..More::default()
            },
            _ => More::default(),
        }
    }
}

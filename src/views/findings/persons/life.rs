//! What is known of one person, sorted by what is judged: either from the tallies of the rows, or record by
//! record. A tally says only that things happened between two instants; whatever has another answer within it is
//! *unsure* and is asked of the records.

use std::borrow::Cow;
use std::rc::Rc;

use crate::domain::consent::{Act, Step, Timeline};
use crate::domain::event::{
    AgeBand, Body, LegalBasis, MappingKind, NoticeLayer, Permission, PermissionState, PurposeBasis,
};
use crate::domain::id::{Id, Regime};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;
use crate::views::findings::Finder;
use crate::views::registers::Revision;
use crate::views::shape::Shape;

/// The answer changes within a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure;

pub type Sure<T> = Result<T, Unsure>;

/// What an event means with what its activity says, after mappings.
#[derive(Debug, Default, PartialEq)]
pub struct Terms {
    pub purposes: Vec<(Id, Option<LegalBasis>)>,
    pub cats: Vec<Id>,
    pub regimes: Vec<Regime>,
    pub sensitive: bool,
    pub recipient: Option<Id>,
    pub record_kind: Option<Id>,
}

impl Terms {
    pub fn of(finder: &Finder<'_>, shape: &Shape, body: &Body, revision: Option<&Revision>) -> Terms {
        let activity = revision.map(|revision| &*revision.entry.body);
        let meant = |kind, term: &Id| finder.mapped(kind, term, shape);
        let registered = activity.map_or(&[][..], |activity| &activity.purposes);
        let of = |list: &[PurposeBasis]| -> Vec<(Id, Option<LegalBasis>)> {
            list.iter().map(|one| (meant(MappingKind::Purpose, &one.id), Some(one.basis))).collect()
        };
        let stated = |purpose: &Option<Id>, basis: Option<LegalBasis>| match purpose {
            Some(purpose) => {
                let known = registered.iter().find(|one| one.id == *purpose).map(|one| one.basis);
                vec![(meant(MappingKind::Purpose, purpose), basis.or(known))]
            }
            None => of(registered),
        };
        let cats = |stated: &[Id]| -> Vec<Id> {
            let registered = activity.map_or(&[][..], |activity| &activity.cats);
            let list = if stated.is_empty() { registered } else { stated };
            list.iter().map(|cat| meant(MappingKind::Category, cat)).collect()
        };
        let recipient = |id: &Option<Id>| id.as_ref().map(|id| meant(MappingKind::Recipient, id));
        let regimes = match activity {
            Some(activity) if shape.regimes.is_empty() => activity.regimes.to_vec(),
            _ => shape.regimes.clone(),
        };
        let mut terms = Terms { regimes, ..Terms::default() };
        match body {
            Body::DataCollected(body) => {
                terms.purposes = if body.purposes.is_empty() { of(registered) } else { of(&body.purposes) };
                terms.cats = cats(&body.cats);
                terms.sensitive = body.sensitive.or_else(|| activity?.sensitive) == Some(true);
                let kind = body.record_kind.as_ref().or_else(|| activity?.record_kind.as_ref());
                terms.record_kind = kind.map(|kind| meant(MappingKind::RecordKind, kind));
            }
            Body::DataUsed(body) => terms.purposes = stated(&body.purpose, body.basis),
            Body::DataShared(body) => {
                terms.purposes = stated(&body.purpose, body.basis);
                terms.recipient = recipient(&body.recipient_id);
            }
            Body::DataTransferred(body) => {
                terms.purposes = stated(&body.purpose, None);
                terms.recipient = recipient(&body.recipient_id);
            }
            Body::PurposeAdded(body) => terms.purposes = of(body.purpose.as_slice()),
            _ => {}
        }
        terms
    }
}

/// Records of one person that are alike, or one record.
#[derive(Debug)]
pub struct Item<'s> {
    pub shape: &'s Shape,
    /// The shape's number in the dictionary.
    pub number: u32,
    /// Header and index fields.
    pub body: Cow<'s, Body>,
    pub terms: Rc<Terms>,
    /// How many single acts.
    pub count: u64,
    /// Since when, windows included.
    pub since: Timestamp,
    /// What is judged happened between these.
    pub first: Timestamp,
    pub last: Timestamp,
    /// Of one record.
    pub position: Option<u64>,
    /// Of one record that was read, or of a late one.
    pub recorded_at: Option<Timestamp>,
    pub backfill: bool,
    /// Of a device that was the person's only for a time.
    pub linked: bool,
}

impl Item<'_> {
    pub fn service(&self) -> Option<&Id> {
        self.shape.service.as_ref()
    }

    /// Whether something that is so from an instant on was so: `None` counts as never.
    pub fn is_after(&self, from: Option<Timestamp>) -> Sure<bool> {
        match from {
            Some(from) if from <= self.first => Ok(true),
            Some(from) if from <= self.last => Err(Unsure),
            _ => Ok(false),
        }
    }

    /// Nothing that begins at one of these instants may change the answer.
    pub fn unless_within(&self, mut bounds: impl Iterator<Item = Timestamp>) -> Sure<()> {
        let changes = bounds.any(|bound| self.first < bound && bound <= self.last);
        if changes { Err(Unsure) } else { Ok(()) }
    }
}

/// A notice, or several alike.
#[derive(Debug)]
pub struct Notice {
    pub first: Timestamp,
    pub last: Timestamp,
    pub recorded_at: Timestamp,
    pub full: bool,
    pub version: Option<Id>,
}

/// A permission that was denied or revoked, or several alike.
#[derive(Debug)]
pub struct Denial {
    pub first: Timestamp,
    pub last: Timestamp,
    pub permission: Permission,
    pub purpose: Option<Id>,
}

/// A purpose that began to be served by a datum.
#[derive(Debug)]
pub struct Opening {
    pub since: Timestamp,
    pub purpose: Id,
    pub basis: Option<LegalBasis>,
    /// `None` of each: all.
    pub service: Option<Id>,
    pub record_kind: Option<Id>,
    pub cats: Vec<Id>,
    pub slot: Option<Id>,
    /// Whether data were collected, not only given a further purpose.
    pub collected: bool,
}

/// An account that was opened or closed, or several alike.
#[derive(Debug)]
pub struct Account {
    pub first: Timestamp,
    pub last: Timestamp,
    /// Services whose contracts hang on it.
    pub services: Vec<Id>,
}

/// Everything about one person that detectors ask.
#[derive(Debug, Default)]
pub struct Life<'s> {
    pub collected: Vec<Item<'s>>,
    pub used: Vec<Item<'s>>,
    pub added: Vec<Item<'s>>,
    pub shared: Vec<Item<'s>>,
    pub transferred: Vec<Item<'s>>,
    pub observed: Vec<Item<'s>>,
    pub sent: Vec<Item<'s>>,
    pub refused: Vec<Item<'s>>,
    pub given: Vec<Item<'s>>,
    pub said_no: Vec<Item<'s>>,
    pub consents: Timeline,
    pub notices: Vec<Notice>,
    pub denials: Vec<Denial>,
    pub openings: Vec<Opening>,
    pub bands: Vec<(Timestamp, Timestamp, AgeBand)>,
    pub registered: Vec<Account>,
    pub cancelled: Vec<Account>,
    /// Whether everything about the person was recorded long enough ago to be judged by what is missing.
    pub ripe: bool,
    /// Before they are a timeline.
    pub steps: Vec<Step>,
}

impl<'s> Life<'s> {
    pub fn add(&mut self, finder: &Finder<'_>, item: Item<'s>) {
        let recorded_at = item.recorded_at.unwrap_or(item.last);
        match &*item.body {
            Body::DataCollected(body) => {
                let slot = body.slot.clone();
                self.open(&item, (item.service().cloned(), item.terms.record_kind.clone()), slot, true);
                self.collected.push(item);
            }
            Body::PurposeAdded(body) => {
                let (of, slot) = ((body.service.clone(), body.record_kind.clone()), body.slot.clone());
                self.open(&item, of, slot, false);
                self.added.push(item);
            }
            Body::DataUsed(_) => self.used.push(item),
            Body::DataShared(_) => self.shared.push(item),
            Body::DataTransferred(_) => self.transferred.push(item),
            Body::SdkObserved(_) => self.observed.push(item),
            Body::MessageSent(_) => self.sent.push(item),
            Body::ServiceRefused(_) => self.refused.push(item),
            Body::ConsentGiven(body) => {
                let step = Step {
                    recipient: body.recipient.as_ref().map(|id| recipient(finder, item.shape, id)),
                    country: body.country,
                    kind: body.kind,
                    expires_at: body.expires_at,
                    consent_id: body.consent_id.clone(),
                    guardian: body.guardian_consent,
                    ..step(finder, &item, recorded_at, Act::Given, body.purpose.as_ref())
                };
                self.steps.push(step);
                self.bands.extend(body.age_band.map(|band| (item.first, item.last, band)));
                self.given.push(item);
            }
            Body::ConsentRefused(body) => {
                let step = Step {
                    recipient: body.recipient.as_ref().map(|id| recipient(finder, item.shape, id)),
                    country: body.country,
                    ..step(finder, &item, recorded_at, Act::Refused, body.purpose.as_ref())
                };
                self.steps.push(step);
                self.bands.extend(body.age_band.map(|band| (item.first, item.last, band)));
                self.said_no.push(item);
            }
            Body::ConsentWithdrawn(body) => {
                let step = Step {
                    recipient: body.recipient.as_ref().map(|id| recipient(finder, item.shape, id)),
                    country: body.country,
                    ..step(finder, &item, recorded_at, Act::Withdrawn, body.purpose.as_ref())
                };
                self.steps.push(step);
            }
            Body::ObjectionUpheld(body) => {
                self.steps.push(step(finder, &item, recorded_at, Act::Objected, body.purpose.as_ref()));
            }
            Body::NoticeShown(body) => self.notices.push(Notice {
                first: item.first,
                last: item.last,
                recorded_at,
                // Who does not say how much was shown is taken to have shown all.
                full: body.layer != Some(NoticeLayer::JustInTime),
                version: item.shape.policy_version.clone(),
            }),
            Body::DevicePermissionChanged(body) => {
                let no = matches!(body.state, Some(PermissionState::Denied | PermissionState::Revoked));
                let purpose =
                    body.purpose.as_ref().map(|id| finder.mapped(MappingKind::Purpose, id, item.shape));
                self.denials.extend(body.permission.filter(|_| no).map(|permission| Denial {
                    first: item.first,
                    last: item.last,
                    permission,
                    purpose,
                }));
            }
            Body::AccountRegistered(body) => {
                self.bands.extend(body.age_band.map(|band| (item.first, item.last, band)));
                self.registered.push(account(finder, &item, &body.services));
            }
            Body::AccountCancelled(body) => self.cancelled.push(account(finder, &item, &body.services)),
            _ => {}
        }
    }

    fn open(&mut self, item: &Item<'_>, of: (Option<Id>, Option<Id>), slot: Option<Id>, collected: bool) {
        let cats = match &*item.body {
            Body::PurposeAdded(body) => body.category.iter().cloned().collect(),
            _ => item.terms.cats.clone(),
        };
        for (purpose, basis) in &item.terms.purposes {
            self.openings.push(Opening {
                since: item.since,
                purpose: purpose.clone(),
                basis: *basis,
                service: of.0.clone(),
                record_kind: of.1.clone(),
                cats: cats.clone(),
                slot: slot.clone(),
                collected,
            });
        }
    }

    /// Everything was added.
    pub fn close(&mut self) {
        self.consents = Timeline::new(std::mem::take(&mut self.steps));
    }

    /// Whether nobody but a device is known by this.
    pub fn is_a_device_alone(&self) -> bool {
        let known = self.registered.is_empty() && self.cancelled.is_empty() && self.notices.is_empty();
        known && self.consents.is_empty() && !self.observed.iter().any(|item| item.linked)
    }

    /// How old the person was said to be last; before anybody said so, how old first.
    pub fn age_band(&self, item: &Item<'_>) -> Sure<Option<AgeBand>> {
        let mut all = self.bands.iter().map(|(_, _, band)| *band);
        let first = all.next();
        if all.all(|band| Some(band) == first) {
            return Ok(first);
        }
        let unclear = |(first, last, _): &&(Timestamp, Timestamp, AgeBand)| {
            *last > item.first && *first <= item.last && (first, last) != (&item.last, &item.last)
                || first < last && *first <= item.first && item.first < *last
        };
        if self.bands.iter().any(|band| unclear(&band)) {
            return Err(Unsure);
        }
        // Of two said at one instant the younger.
        let before = self.bands.iter().filter(|(_, last, _)| *last <= item.first);
        let last = before.max_by(|(_, a, one), (_, b, other)| (a, other).cmp(&(b, one)));
        let after = self.bands.iter().min_by_key(|(first, _, band)| (*first, *band));
        Ok(last.or(after).map(|(_, _, band)| *band))
    }
}

fn recipient(finder: &Finder<'_>, shape: &Shape, id: &Id) -> Id {
    finder.mapped(MappingKind::Recipient, id, shape)
}

fn step(
    finder: &Finder<'_>,
    item: &Item<'_>,
    recorded_at: Timestamp,
    act: Act,
    purpose: Option<&Id>,
) -> Step {
    Step {
        at: item.last,
        recorded_at,
        act,
        purpose: purpose.map(|id| finder.mapped(MappingKind::Purpose, id, item.shape)),
        recipient: None,
        country: None,
        kind: None,
        policy_version: item.shape.policy_version.clone(),
        expires_at: None,
        consent_id: None,
        guardian: false,
    }
}

/// Services whose contracts hang on an account: those named, else those registered for the service.
fn account(finder: &Finder<'_>, item: &Item<'_>, named: &[Id]) -> Account {
    let mut services = named.to_vec();
    if let (true, Some(service)) = (named.is_empty(), item.service()) {
        let registered = finder.registers.service_at(service, item.last, finder.known_at());
        services.extend(registered.iter().flat_map(|entry| entry.body.account_services.iter().cloned()));
        services.push(service.clone());
    }
    Account { first: item.first, last: item.last, services }
}

/// Whether a category that is asked about is one of these; no category is asked about: any.
pub fn meets(cats: &[Id], asked: Option<&Id>) -> bool {
    asked.is_none_or(|asked| cats.iter().any(|cat| vocabulary::satisfies(cat.as_str(), asked.as_str())))
}

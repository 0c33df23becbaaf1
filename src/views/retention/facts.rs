//! From what is kept of a person to the facts of a decision: terms mapped, and what was not stated filled in from the
//! activity that was registered then.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::datum::{DatumKey, Selector};
use crate::domain::event::catalogue::{DataCollected, DataUsed};
use crate::domain::event::{Body, LegalBasis, MappingKind, PurposeBasis};
use crate::domain::id::Id;
use crate::domain::retention::{Act, Fact};
use crate::domain::time::Timestamp;
use crate::views::registers::Registers;
use crate::views::report::{Line, data};

/// The purpose of data whose activity names none: no rule speaks for it, so that it is never destroyed.
const UNMAPPED: &str = "unmapped";

/// All of them, by what they are about. In which order they were told does not matter: whoever decides sorts them.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// What happened to each datum and to no other.
    pub data: BTreeMap<DatumKey, Vec<Fact>>,
    /// What may be about several.
    pub general: Vec<Fact>,
    /// Between whose ends something may lie that these facts do not tell.
    pub spans: Vec<Span>,
    /// Who got which categories, by name.
    pub shared: BTreeMap<Id, BTreeSet<Id>>,
    uses: Vec<Use>,
    /// Purposes to which consent was given without naming a recipient.
    consented: BTreeSet<Id>,
    /// Withdrawals that name a recipient.
    of_recipients: Vec<(Id, Fact)>,
}

/// First and last of more than two things that are told as one.
#[derive(Debug, Clone)]
pub struct Span {
    pub first: Timestamp,
    pub last: Timestamp,
    pub purposes: Vec<Id>,
    /// Of a collection; a use may be of any.
    pub record_kind: Option<Id>,
}

#[derive(Debug, Clone)]
struct Use {
    at: Timestamp,
    backfill: bool,
    of: Selector,
    purpose: Id,
}

impl Gathered {
    pub fn of(lines: &[Line], registers: &Registers, known_at: u64) -> Gathered {
        let mut gathered = Gathered::default();
        for line in lines {
            Reader { registers, known_at, line }.read(&mut gathered);
        }
        // A withdrawal of one recipient's ends the purpose only where consent was never given in general.
        for (purpose, fact) in std::mem::take(&mut gathered.of_recipients) {
            if !gathered.consented.contains(&purpose) {
                gathered.general.push(fact);
            }
        }
        gathered.place_uses();
        gathered
    }

    /// A use that says no more than its purpose is of the data that have this purpose; only where none has, it is one
    /// of all that it selects.
    fn place_uses(&mut self) {
        let uses = std::mem::take(&mut self.uses);
        if uses.is_empty() {
            return;
        }
        let served: Vec<(DatumKey, BTreeSet<Id>)> =
            self.data.keys().map(|key| (key.clone(), self.purposes_of(key))).collect();
        for Use { at, backfill, of, purpose } in uses {
            let mut placed = false;
            for (key, _) in served.iter().filter(|(key, serves)| serves.contains(&purpose) && of.holds(key)) {
                let act = Act::Used { of: Selector::one(key), purpose: purpose.clone() };
                self.data.entry(key.clone()).or_default().push(Fact { at, id: None, backfill, act });
                placed = true;
            }
            if !placed {
                self.push(at, backfill, Act::Used { of, purpose });
            }
        }
    }

    fn purposes_of(&self, key: &DatumKey) -> BTreeSet<Id> {
        let own = self.data.get(key).into_iter().flatten();
        own.chain(&self.general)
            .flat_map(|fact| match &fact.act {
                Act::Collected { purposes, .. } => purposes.as_slice(),
                Act::PurposeAdded { of, purpose } if of.holds(key) => std::slice::from_ref(purpose),
                _ => &[],
            })
            .map(|purpose| purpose.id.clone())
            .collect()
    }

    fn push(&mut self, at: Timestamp, backfill: bool, act: Act) {
        self.general.push(Fact { at, id: None, backfill, act });
    }
}

/// One line, and what its words mean.
struct Reader<'a> {
    registers: &'a Registers,
    known_at: u64,
    line: &'a Line,
}

impl Reader<'_> {
    fn meant(&self, kind: MappingKind, term: &Id) -> Id {
        self.registers.mapped(kind, term, &self.line.shape.emitter, self.known_at)
    }

    fn purpose(&self, purpose: &Id) -> Id {
        self.meant(MappingKind::Purpose, purpose)
    }

    fn read(&self, to: &mut Gathered) {
        macro_rules! of {
            ($body:ident) => {
                Selector {
                    service: $body.service.clone(),
                    record_kind: $body
                        .record_kind
                        .as_ref()
                        .map(|kind| self.meant(MappingKind::RecordKind, kind)),
                    category: $body.category.as_ref().map(|cat| self.meant(MappingKind::Category, cat)),
                    slot: $body.slot.clone().into(),
                    exact: false,
                }
            };
        }
        // Of its own slot only, and of the service that reports it.
        macro_rules! transaction {
            ($body:ident, $act:ident) => {
                Act::$act { of: self.of_transaction($body.record_kind.as_ref(), $body.slot.as_ref()) }
            };
        }
        macro_rules! executed {
            ($body:ident, $anonymised:literal) => {{
                let of = of!($body);
                let of = if $body.exact == Some(true) { of.exactly() } else { of };
                Act::Executed { of, collected_before: $body.collected_before, anonymised: $anonymised }
            }};
        }
        let (at, backfill) = (self.line.at(), self.line.own.backfill);
        let act = match &self.line.body {
            Body::DataCollected(body) => return self.collected(body, to),
            Body::DataShared(body) => return self.given(body.recipient_id.as_ref(), &body.cats, to),
            Body::DataTransferred(body) => return self.given(body.recipient_id.as_ref(), &body.cats, to),
            Body::DataUsed(body) => return self.used(body, of!(body), to),
            Body::AccountRegistered(body) => {
                let services = self.contracts(&body.services);
                self.note_span(to, Vec::new(), None);
                for at in self.ends() {
                    to.push(at, backfill, Act::AccountRegistered { services: services.clone() });
                }
                return;
            }
            Body::AccountCancelled(body) => {
                Act::AccountCancelled { services: self.contracts(&body.services) }
            }
            Body::ConsentGiven(body) => {
                let Some(purpose) = body.purpose.as_ref().map(|purpose| self.purpose(purpose)) else {
                    return;
                };
                if body.recipient.is_none() {
                    to.consented.insert(purpose.clone());
                }
                Act::ConsentGiven { purpose, expires_at: body.expires_at }
            }
            Body::ConsentWithdrawn(body) => {
                let Some(purpose) = body.purpose.as_ref().map(|purpose| self.purpose(purpose)) else {
                    return;
                };
                let act = Act::ConsentWithdrawn { purpose: purpose.clone() };
                if body.recipient.is_some() {
                    to.of_recipients.push((purpose, Fact { at, id: None, backfill, act }));
                    return;
                }
                act
            }
            Body::PurposeAdded(body) => {
                let Some(purpose) = &body.purpose else { return };
                let purpose = PurposeBasis { id: self.purpose(&purpose.id), basis: purpose.basis };
                Act::PurposeAdded { of: of!(body), purpose }
            }
            Body::PurposeFulfilled(body) => {
                let Some(purpose) = &body.purpose else { return };
                Act::PurposeFulfilled { of: of!(body), purpose: self.purpose(purpose) }
            }
            Body::TransactionCompleted(body) => transaction!(body, TransactionCompleted),
            Body::TransactionAborted(body) => transaction!(body, TransactionAborted),
            Body::ObjectionUpheld(body) => {
                let purpose = body.purpose.as_ref().map(|purpose| self.purpose(purpose));
                Act::ObjectionUpheld { of: of!(body), purpose }
            }
            Body::UnlawfulProcessingFound(body) => {
                let purpose = body.purpose.as_ref().map(|purpose| self.purpose(purpose));
                Act::UnlawfulProcessingFound { of: of!(body), purpose }
            }
            Body::ErasureAccepted(body) => Act::ErasureAccepted { of: of!(body) },
            Body::RestrictionApplied(body) => Act::RestrictionApplied { of: of!(body), ground: body.ground },
            Body::RestrictionLifted(body) => Act::RestrictionLifted { of: of!(body), ground: body.ground },
            Body::LegalHoldPlaced(body) => {
                let Some(hold) = body.hold_ref.clone().or_else(|| body.hold_id.clone()) else { return };
                Act::HoldPlaced { of: of!(body), hold }
            }
            Body::LegalHoldReleased(body) => {
                let Some(hold) = body.hold_ref.clone().or_else(|| body.hold_id.clone()) else { return };
                Act::HoldReleased { hold }
            }
            Body::AuthorityDeletionOrdered(body) => {
                let Some(order) = body.order_ref.clone().or_else(|| body.order_id.clone()) else { return };
                Act::DeletionOrdered { of: of!(body), order, authority: body.authority.clone() }
            }
            Body::ErasureExecuted(body) => executed!(body, false),
            Body::AnonymisationExecuted(body) => executed!(body, true),
            Body::ErasureDeferred(body) => {
                let technical = body.reason.as_ref().is_some_and(|reason| reason.as_str() == "technical");
                Act::Deferred { of: of!(body), technical }
            }
            _ => return,
        };
        to.push(at, backfill, act);
    }

    /// First and last of what a line counts.
    fn ends(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let (first, last) = (self.line.tally.first, self.line.tally.last);
        std::iter::once(first).chain((last != first).then_some(last))
    }

    fn note_span(&self, to: &mut Gathered, purposes: Vec<Id>, record_kind: Option<Id>) {
        let (first, last) = (self.line.tally.first, self.line.tally.last);
        if self.line.tally.count > 2 {
            to.spans.push(Span { first, last, purposes, record_kind });
        }
    }

    fn collected(&self, body: &DataCollected, to: &mut Gathered) {
        let registered = self.line.revision.as_ref().map(|revision| &*revision.entry.body);
        let purposes: Vec<PurposeBasis> = data::purposes(self.line, &body.purposes)
            .into_iter()
            .filter_map(|(purpose, basis, _)| {
                let id =
                    purpose.map_or_else(|| UNMAPPED.parse().ok(), |purpose| Some(self.purpose(&purpose)));
                Some(PurposeBasis { id: id?, basis: basis.unwrap_or(LegalBasis::OtherLaw) })
            })
            .collect();
        let regimes = data::regimes(self.line);
        for key in data::datum_keys(self.line.shape.service.as_ref(), body, registered) {
            let key = DatumKey {
                service: key.service,
                record_kind: key.record_kind.map(|kind| self.meant(MappingKind::RecordKind, &kind)),
                category: self.meant(MappingKind::Category, &key.category),
                slot: key.slot,
            };
            let named = purposes.iter().map(|purpose| purpose.id.clone()).collect();
            self.note_span(to, named, key.record_kind.clone());
            for at in self.ends() {
                let act =
                    Act::Collected { key: key.clone(), regimes: regimes.clone(), purposes: purposes.clone() };
                let fact = Fact { at, id: None, backfill: self.line.own.backfill, act };
                to.data.entry(key.clone()).or_default().push(fact);
            }
        }
    }

    /// A use states its purpose, or is for those of its activity.
    fn used(&self, body: &DataUsed, of: Selector, to: &mut Gathered) {
        let registered = self.line.revision.as_ref().map(|revision| &revision.entry.body.purposes);
        let stated: Vec<Id> = match &body.purpose {
            Some(purpose) => vec![self.purpose(purpose)],
            None => registered
                .into_iter()
                .flat_map(|purposes| purposes.iter())
                .map(|purpose| self.purpose(&purpose.id))
                .collect(),
        };
        // A use of all services' data is that of the service that tells of it.
        let of = Selector { service: of.service.or_else(|| self.line.shape.service.clone()), ..of };
        let backfill = self.line.own.backfill;
        self.note_span(to, stated.clone(), None);
        for purpose in stated {
            let one = |at| Use { at, backfill, of: of.clone(), purpose: purpose.clone() };
            to.uses.extend(self.ends().map(one));
        }
    }

    /// Who got which categories: those stated, else those of the activity.
    fn given(&self, recipient: Option<&Id>, stated: &[Id], to: &mut Gathered) {
        let Some(recipient) = recipient else { return };
        let recipient = self.meant(MappingKind::Recipient, recipient);
        let (cats, _) = data::categories(self.line, stated);
        let cats = cats.iter().map(|cat| self.meant(MappingKind::Category, cat));
        to.shared.entry(recipient).or_default().extend(cats);
    }

    fn of_transaction(&self, kind: Option<&Id>, slot: Option<&Id>) -> Selector {
        use crate::domain::datum::SlotSelector;
        Selector {
            service: self.line.shape.service.clone(),
            record_kind: kind.map(|kind| self.meant(MappingKind::RecordKind, kind)),
            slot: slot.map_or(SlotSelector::Unnamed, |slot| SlotSelector::Named(slot.clone())),
            ..Selector::default()
        }
    }

    /// Services whose contracts hang on an account: those stated, else those of the service that tells of it.
    fn contracts(&self, stated: &[Id]) -> Vec<Id> {
        if !stated.is_empty() {
            return stated.to_vec();
        }
        let Some(own) = &self.line.shape.service else { return Vec::new() };
        let registered = self.registers.service_at(own, self.line.tally.last, self.known_at);
        let mut services = registered.map(|entry| entry.body.account_services.to_vec()).unwrap_or_default();
        services.push(own.clone());
        services
    }
}

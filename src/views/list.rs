//! The list of all events, filtered. Zone maps say which 65,536 positions cannot match, so that a
//! rare recipient or a past month does not read the whole log.

use std::collections::{BTreeSet, HashSet};

use crate::domain::event::{Body, EventType};
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::decode::Decoder;
use crate::views::event_view::EventView;
use crate::views::lock;
use crate::views::shape::Shape;
use crate::views::store;
use crate::views::zone::{ZONE, Zone};

/// All conditions must hold; an empty list is no condition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub types: Vec<EventType>,
    pub emitters: Vec<Id>,
    pub services: Vec<Id>,
    pub activities: Vec<Id>,
    pub purposes: Vec<Id>,
    pub recipients: Vec<Id>,
    /// Stated in the event; what an activity fills in is not looked at.
    pub categories: Vec<Id>,
    pub countries: Vec<Country>,
    /// At or after.
    pub occurred_from: Option<Timestamp>,
    /// Before.
    pub occurred_to: Option<Timestamp>,
    pub recorded_from: Option<Timestamp>,
    pub recorded_to: Option<Timestamp>,
    /// Only records at or behind this position.
    pub position_from: Option<u64>,
    /// Only records before this position.
    pub known_at: Option<u64>,
    pub oldest_first: bool,
}

/// Where the next page begins: at or after it, or, newest first, before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64);

#[derive(Debug)]
pub struct Page {
    pub events: Vec<EventView>,
    /// `None` at the end. A page may be short, even empty, and not be the last.
    pub next: Option<Cursor>,
    /// Records below this position were looked at.
    pub applied: u64,
}

/// Records read at once.
const READ: u64 = 1024;

/// Records that one page looks at most; then it is handed out as it is.
const LOOKED_AT: u64 = 1 << 18;

/// What of a body a filter asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Facets {
    pub purposes: BTreeSet<Id>,
    pub recipients: BTreeSet<Id>,
    pub categories: BTreeSet<Id>,
    pub countries: BTreeSet<Country>,
}

impl Facets {
    /// Whether bodies of a type can have any. Where `of` passes over a type, this must too.
    pub fn are_in(event_type: EventType) -> bool {
        use EventType::*;
        !matches!(
            event_type,
            LogOpened
                | LogContinued
                | FormatRaised
                | JobRan
                | VaultMarked
                | KeyRotated
                | KeyDestroyed
                | RecordSetAside
                | LawDataActivated
                | MappingAdded
                | RecordsRead
                | ContentDisclosed
                | ExportProduced
                | BackupTaken
                | BackupsExpired
                | IdentityErasureAccepted
                | IdentityErased
        )
    }

    /// Of the header fields of a body.
    pub fn of(body: &Body) -> Facets {
        let mut facets = Facets::default();
        macro_rules! take {
            (purpose $b:ident) => {
                facets.purposes.extend($b.purpose.clone())
            };
            (recipient $b:ident) => {
                facets.recipients.extend($b.recipient_id.clone())
            };
            (country $b:ident) => {
                facets.countries.extend($b.country)
            };
            (cats $b:ident) => {
                facets.categories.extend($b.cats.iter().cloned())
            };
        }
        match body {
            Body::DataCollected(b) => {
                facets.purposes.extend(b.purposes.iter().map(|purpose| purpose.id.clone()));
                facets.countries.extend(b.collection_country.into_iter().chain(b.storage_country));
                take!(cats b);
            }
            Body::DataUsed(b) => {
                take!(purpose b);
                facets.categories.extend(b.category.clone());
            }
            Body::PurposeAdded(b) => facets.purposes.extend(b.purpose.iter().map(|p| p.id.clone())),
            Body::PurposeFulfilled(b) => take!(purpose b),
            Body::ConsentGiven(b) => {
                take!(purpose b);
                take!(country b);
                facets.recipients.extend(b.recipient.clone());
            }
            Body::ConsentRefused(b) => {
                take!(purpose b);
                take!(country b);
                facets.recipients.extend(b.recipient.clone());
            }
            Body::ConsentWithdrawn(b) => {
                take!(purpose b);
                take!(country b);
                facets.recipients.extend(b.recipient.clone());
            }
            Body::DevicePermissionChanged(b) => take!(purpose b),
            Body::DataShared(b) => {
                take!(cats b);
                take!(purpose b);
                take!(recipient b);
            }
            Body::SdkObserved(b) => {
                take!(recipient b);
                take!(cats b);
            }
            Body::DataTransferred(b) => {
                take!(cats b);
                take!(purpose b);
                take!(recipient b);
                facets.countries.extend(b.from_country.into_iter().chain(b.to_country));
            }
            Body::StaffAccessed(b) => facets.countries.extend(b.from_country),
            Body::ObjectionUpheld(b) => take!(purpose b),
            Body::ObjectionRejected(b) => take!(purpose b),
            Body::UnlawfulProcessingFound(b) => take!(purpose b),
            Body::RecipientRegistered(b) => {
                take!(recipient b);
                take!(country b);
            }
            Body::RecipientEnded(b) => take!(recipient b),
            Body::RecipientNotified(b) => take!(recipient b),
            Body::RecipientAcknowledged(b) => take!(recipient b),
            Body::AuthorityRequestReceived(b) => take!(country b),
            Body::AuthorityDisclosureDecided(b) => take!(country b),
            Body::ControllerRegistered(b) => take!(country b),
            Body::ServiceRegistered(b) => facets.countries.extend(b.storage_country),
            Body::ActivityRegistered(b) => {
                facets.purposes.extend(b.purposes.iter().map(|purpose| purpose.id.clone()));
                facets.recipients.extend(b.recipients.iter().cloned());
            }
            _ => {}
        }
        facets
    }
}

impl Filter {
    /// Whether an event matches; what a filter cannot see is decided by the record itself.
    pub fn matches(&self, view: &EventView) -> bool {
        let envelope = &view.envelope;
        let from_to = |at: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>| {
            from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to)
        };
        self.position_from.is_none_or(|from| from <= view.position)
            && one_of(&self.types, Some(&view.event_type))
            && one_of(&self.emitters, Some(&envelope.emitter))
            && one_of(&self.services, envelope.service.as_ref())
            && one_of(&self.activities, envelope.activity.as_ref())
            && from_to(envelope.occurred_at, self.occurred_from, self.occurred_to)
            && from_to(view.recorded_at, self.recorded_from, self.recorded_to)
            && self.fits(&Facets::of(&view.body))
    }

    fn fits(&self, facets: &Facets) -> bool {
        let any =
            |wanted: &[Id], has: &BTreeSet<Id>| wanted.is_empty() || wanted.iter().any(|id| has.contains(id));
        any(&self.purposes, &facets.purposes)
            && any(&self.recipients, &facets.recipients)
            && any(&self.categories, &facets.categories)
            && (self.countries.is_empty() || self.countries.iter().any(|c| facets.countries.contains(c)))
    }

    /// Whether events of a shape can match.
    fn may_match(&self, shape: &Shape) -> bool {
        one_of(&self.types, Some(&shape.event_type))
            && one_of(&self.emitters, Some(&shape.emitter))
            && one_of(&self.services, shape.service.as_ref())
            && one_of(&self.activities, shape.activity.as_ref())
            && match &shape.body {
                Some(body) => self.fits(&Facets::of(body)),
                // What the record itself says, if its type says any of this.
                None => self.fits(&Facets::default()) || Facets::are_in(shape.event_type),
            }
    }

    fn may_hold(&self, zone: &Zone, shapes: &HashSet<u32>) -> bool {
        let meets = |span: Option<(Timestamp, Timestamp)>, from: Option<Timestamp>, to: Option<Timestamp>| {
            span.is_none_or(|(first, last)| {
                from.is_none_or(|from| from <= last) && to.is_none_or(|to| first < to)
            })
        };
        (zone.anything || zone.shapes.iter().any(|shape| shapes.contains(shape)))
            && meets(zone.recorded, self.recorded_from, self.recorded_to)
            && meets(zone.occurred, self.occurred_from, self.occurred_to)
    }
}

fn one_of<T: PartialEq>(wanted: &[T], has: Option<&T>) -> bool {
    wanted.is_empty() || has.is_some_and(|has| wanted.contains(has))
}

impl Ask {
    /// One page of all events that match.
    pub fn list(&self, filter: &Filter, cursor: Option<Cursor>, limit: usize) -> Result<Page, Error> {
        let end = filter.known_at.unwrap_or(u64::MAX).min(self.applied);
        let shapes: HashSet<u32> = lock::read(&self.generation.shared.shapes)
            .iter()
            .filter(|(_, shape)| filter.may_match(shape))
            .map(|(number, _)| number)
            .collect();
        let mut page = Page { events: Vec::new(), next: None, applied: self.applied };
        let mut decoder = Decoder::new(&*self.reach.keys);
        let mut looked_at = 0;
        let start = filter.position_from.unwrap_or(0).min(end);
        let first = if filter.oldest_first { start } else { end };
        let mut at = cursor.map_or(first, |cursor| cursor.0.min(end));
        let limit = limit.clamp(1, limits::PAGE);
        while let Some((from, to)) = self.next_range(filter, &shapes, at, end)? {
            if to <= start {
                return Ok(page);
            }
            if looked_at >= LOOKED_AT {
                page.next = Some(Cursor(at));
                return Ok(page);
            }
            looked_at += to - from;
            let positions: Vec<u64> = (from..to).collect();
            let mut records = self.reach.get(&positions)?;
            if !filter.oldest_first {
                records.reverse();
            }
            for record in records {
                let position = record.position;
                let view = EventView::read(&self.reading, &mut decoder, record, |_| None)?;
                if !filter.matches(&view) {
                    continue;
                }
                page.events.push(view);
                if page.events.len() == limit {
                    let next = if filter.oldest_first { position + 1 } else { position };
                    page.next =
                        (if filter.oldest_first { next < end } else { next > 0 }).then_some(Cursor(next));
                    return Ok(page);
                }
            }
            at = if filter.oldest_first { to } else { from };
        }
        Ok(page)
    }

    /// The next positions to look at, passing over zones that cannot match.
    fn next_range(
        &self,
        filter: &Filter,
        shapes: &HashSet<u32>,
        mut at: u64,
        end: u64,
    ) -> Result<Option<(u64, u64)>, Error> {
        loop {
            let number = match filter.oldest_first {
                true if at >= end => return Ok(None),
                true => at / ZONE,
                false if at == 0 => return Ok(None),
                false => (at - 1) / ZONE,
            };
            let row = self.reading.get(&store::zone(number))?;
            let holds = match row {
                Some(row) => filter.may_hold(&Zone::decode(&row)?, shapes),
                None => true,
            };
            let (first, beyond) = (number * ZONE, ((number + 1) * ZONE).min(end));
            match (holds, filter.oldest_first) {
                (true, true) => return Ok(Some((at, (at + READ).min(beyond)))),
                (true, false) => return Ok(Some((at.saturating_sub(READ).max(first), at))),
                (false, true) => at = beyond,
                (false, false) => at = first,
            }
        }
    }
}

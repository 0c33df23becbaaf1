//! Findings about where people's data lie, and from where they are looked at (GDPR 44; PIPL 36 to 40).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::event::catalogue::{About, DataCollected};
use crate::domain::event::{Body, EventType, MappingKind, TransferMode};
use crate::domain::finding::Value;
use crate::domain::id::{Country, Id, Regime, SubjectId};
use crate::domain::time::{MS_PER_HOUR, Timestamp};
use crate::domain::vocabulary;
use crate::views::Error;
use crate::views::exported::Merged;
use crate::views::findings::{Finder, Kind, maybe, value};
use crate::views::flows::Transfer;
use crate::views::occurrences::{self, Occurrence};
use crate::views::shape::Shape;
use crate::views::store;
use crate::views::stretch::Stretch;

const REMOTE: &str = "F-REMOTE-ACCESS";
const LOCAL: &str = "F-LOCALISATION";
const REGION: &str = "F-REGION";

/// A flow by remote access that may stand for looks from a country: its service, and when it was recorded.
type Look = (Country, Option<Id>, Vec<Timestamp>);

impl Finder<'_> {
    pub(super) fn abroad(&mut self) -> Result<(), Error> {
        self.remote_access()?;
        self.localisation()?;
        self.region()
    }

    /// Staff of another company look at data from abroad, and no transfer says so within the hour. One that is
    /// recorded for the country, and for the same service or for none, stands for every look within an hour of it.
    fn remote_access(&mut self) -> Result<(), Error> {
        let accesses = self.kinds(|body| match body {
            Body::StaffAccessed(body) => body.from_country,
            _ => None,
        });
        let Some(scope) = self.scope_of(REMOTE).filter(|_| !accesses.is_empty()) else { return Ok(()) };
        let looks = self.looks()?;
        for kind in accesses {
            let (shape, country) = (&kind.shape, kind.body);
            let mut bounds = self.revisions(shape);
            bounds.extend(self.registrations(shape.service.as_ref()));
            let mine = looks.iter().filter(|(to, service, _)| {
                *to == country && (service.is_none() || *service == shape.service)
            });
            let mut told: Vec<Timestamp> = mine.flat_map(|(_, _, at)| at.iter().copied()).collect();
            told.sort_unstable();
            let untold = |one: &Occurrence| {
                let from = told.partition_point(|at| *at < one.at.plus_ms(-MS_PER_HOUR));
                told.get(from).is_none_or(|at| *at > one.at.plus_ms(MS_PER_HOUR))
            };
            let stretches = self.ask.stretches_of(kind.number, bounds, &scope, self.is_tracing(), untold)?;
            for stretch in stretches {
                if self.is_foreign(shape, country, &stretch) {
                    let key = vec![maybe(shape.service.as_ref()), Some(Value::from(country))];
                    self.raise(REMOTE, key, &stretch);
                }
            }
        }
        Ok(())
    }

    /// Whether the looks come from where the data's law does not reach, by a company that is not the
    /// service's owner. Of a service that is not registered nobody knows the owner, and nothing is said.
    fn is_foreign(&self, shape: &Shape, country: Country, stretch: &Stretch) -> bool {
        let at = stretch.first;
        let service = shape.service.as_ref();
        let registered = service.and_then(|service| self.registers.service_at(service, at, self.known_at()));
        let owner = registered.and_then(|entry| entry.body.owner.as_ref());
        let day = at.local_date(chrono_tz::UTC);
        owner.is_some_and(|owner| *owner != shape.controller)
            && self.regimes(shape, at).iter().any(|regime| is_beyond(*regime, country, day))
    }

    fn looks(&self) -> Result<Vec<Look>, Error> {
        let mut looks = Vec::new();
        for transfer in self.ask.transfer_shapes() {
            let (Some(TransferMode::RemoteAccess), Some(to)) = (transfer.body.mode, transfer.body.to_country)
            else {
                continue;
            };
            let all = occurrences::of_shape(&self.ask.reading, transfer.number, self.known_at());
            let at = all.map(|one| one.map(|one| one.at)).collect::<Result<_, _>>()?;
            looks.push((to, transfer.shape.service.clone(), at));
        }
        Ok(looks)
    }

    /// Where a service's registrations begin.
    fn registrations(&self, service: Option<&Id>) -> Vec<Timestamp> {
        let history = service.and_then(|service| self.registers.services.get(service));
        history.into_iter().flatten().map(|entry| entry.from).collect()
    }

    /// What is collected in China and stored elsewhere, without a transfer of the category to there of the same
    /// people on record, whenever (PIPL 38 to 40; policy 6.1).
    fn localisation(&mut self) -> Result<(), Error> {
        let collected = self.kinds(|body| match body {
            Body::DataCollected(body) => {
                let chinese = body.collection_country.is_some_and(|country| country.as_str() == "CN");
                chinese.then(|| (**body).clone())
            }
            _ => None,
        });
        if collected.is_empty() || self.scope_of(LOCAL).is_none() {
            return Ok(());
        }
        let transfers = self.ask.transfer_shapes();
        let merged = self.ask.merged()?;
        for kind in collected {
            let mut bounds = self.revisions(&kind.shape);
            bounds.extend(self.registrations(kind.shape.service.as_ref()));
            for stretch in self.stretches(LOCAL, &kind, bounds)? {
                self.stored_abroad(&kind, &stretch, &transfers, &merged)?;
            }
        }
        Ok(())
    }

    fn stored_abroad(
        &mut self,
        kind: &Kind<DataCollected>,
        stretch: &Stretch,
        transfers: &[Transfer],
        merged: &Merged,
    ) -> Result<(), Error> {
        let (shape, at) = (&kind.shape, stretch.first);
        let service = shape.service.as_ref();
        let registered = service.and_then(|service| self.registers.service_at(service, at, self.known_at()));
        let stored = kind.body.storage_country.or_else(|| registered?.body.storage_country);
        let Some(stored) = stored.filter(|country| country.as_str() != "CN") else { return Ok(()) };
        let activity = self.revision(shape, at).map(|revision| revision.entry.body);
        let mut by_person: Vec<(Id, BTreeSet<SubjectId>)> = Vec::new();
        for cat in self.categories(kind, activity.as_deref()) {
            let mine: Vec<&Transfer> =
                transfers.iter().filter(|transfer| self.takes(transfer, &cat, stored)).collect();
            if mine.is_empty() {
                self.raise(LOCAL, local_key(shape, &cat, stored), stretch);
            } else {
                by_person.push((cat, self.transferred_people(&mine, merged)?));
            }
        }
        for (cat, untold) in self.untold(stretch, &by_person, merged)? {
            self.raise(LOCAL, local_key(shape, &cat, stored), &untold);
        }
        Ok(())
    }

    /// Whether a transfer takes a category out of China to a country.
    fn takes(&self, transfer: &Transfer, cat: &Id, to: Country) -> bool {
        let chinese = transfer.body.from_country.is_some_and(|from| from.as_str() == "CN");
        let activity = transfer.shape.activity.as_ref().filter(|_| transfer.body.cats.is_empty());
        let revisions = activity.and_then(|activity| self.registers.activities.get(activity));
        let known = revisions.into_iter().flatten().filter(|entry| entry.position < self.known_at());
        let mut cats = transfer.body.cats.iter().chain(known.flat_map(|entry| entry.body.cats.iter()));
        let covers = |taken: &Id| {
            let taken = self.mapped(MappingKind::Category, taken, &transfer.shape);
            vocabulary::satisfies(cat.as_str(), taken.as_str())
        };
        chinese && transfer.body.to_country == Some(to) && cats.any(covers)
    }

    /// Whose data some transfers took.
    fn transferred_people(&self, of: &[&Transfer], merged: &Merged) -> Result<BTreeSet<SubjectId>, Error> {
        let mut people = BTreeSet::new();
        let canonical = |who: SubjectId| merged.get(&who).copied().unwrap_or(who);
        for transfer in of {
            if self.known_at() >= self.ask.applied {
                for row in self.ask.reading.prefix(&store::exported_of(transfer.number)) {
                    let (key, _) = row?;
                    people.extend(key.last_chunk::<16>().map(|who| canonical(SubjectId(*who))));
                }
            } else {
                let all = occurrences::of_shape(&self.ask.reading, transfer.number, self.known_at());
                let positions = all.map(|one| one.map(|one| one.position)).collect::<Result<Vec<_>, _>>()?;
                self.ask.reach.decode_all(&positions, |event| {
                    people.extend(event.data_subjects().map(canonical));
                    Ok(())
                })?;
            }
        }
        Ok(people)
    }

    /// The records of a stretch about somebody who is not among the people of a category. Nothing is said of
    /// the erased: what was transferred of them nobody knows any more.
    fn untold(
        &self,
        stretch: &Stretch,
        told: &[(Id, BTreeSet<SubjectId>)],
        merged: &Merged,
    ) -> Result<Vec<(Id, Stretch)>, Error> {
        let mut found: BTreeMap<&Id, Stretch> = BTreeMap::new();
        let Some(scope) = self.scope_of(LOCAL).filter(|_| !told.is_empty()) else { return Ok(Vec::new()) };
        let positions = self.ask.positions_in(stretch, &scope)?;
        self.ask.reach.decode_all(&positions, |event| {
            for (cat, told) in told {
                for who in event.data_subjects() {
                    let canonical = merged.get(&who).copied().unwrap_or(who);
                    if told.contains(&canonical) || self.ask.reading.get(&store::erased(who))?.is_some() {
                        continue;
                    }
                    let one = Occurrence::of(&event);
                    found
                        .entry(cat)
                        .or_insert_with(|| Stretch::some_of(stretch.shape, &one, self.is_tracing()))
                        .add(&one);
                    break;
                }
            }
            Ok(())
        })?;
        Ok(found.into_iter().map(|(cat, stretch)| (cat.clone(), stretch)).collect())
    }

    /// Events about people whose law lies outside the region of this log. A collective event of such a law
    /// counts too: it is about people, if about none by name.
    fn region(&mut self) -> Result<(), Error> {
        let Some(region) = self.region_of_log()? else { return Ok(()) };
        let shapes: Vec<(u32, Arc<Shape>)> =
            self.ask.shapes().iter().map(|(number, shape)| (number, Arc::clone(shape))).collect();
        for (number, shape) in shapes {
            let outside =
                |regime: &Regime, at: Timestamp| is_outside(region, *regime, at.local_date(chrono_tz::UTC));
            let revisions = shape.activity.as_ref().and_then(|id| self.registers.activities.get(id));
            let mut registered = revisions.into_iter().flatten().flat_map(|entry| entry.body.regimes.iter());
            let may_be = shape.regimes.iter().any(|regime| *regime != region)
                || shape.regimes.is_empty() && registered.any(|regime| *regime != region);
            // Most shapes end here, and their records are not looked at.
            if shape.event_type.about() == About::Nobody || !may_be {
                continue;
            }
            let kind = Kind { number, shape, body: () };
            for stretch in self.stretches(REGION, &kind, self.revisions(&kind.shape))? {
                let regimes: BTreeSet<Regime> =
                    self.regimes(&kind.shape, stretch.first).into_iter().collect();
                for regime in regimes.into_iter().filter(|regime| outside(regime, stretch.first)) {
                    self.raise(REGION, vec![Some(Value::from(region)), Some(Value::from(regime))], &stretch);
                }
            }
        }
        Ok(())
    }

    /// As the log's first event names it.
    fn region_of_log(&self) -> Result<Option<Regime>, Error> {
        let positions = self.ask.positions_of(&[EventType::LogOpened], self.known_at())?;
        let mut region = None;
        self.ask.reach.decode_all(&positions[..positions.len().min(1)], |event| {
            if let Ok(Body::LogOpened(body)) = Body::from_json(event.event_type, &event.body_json) {
                region = body.region.and_then(|region| region.as_str().parse().ok());
            }
            Ok(())
        })?;
        Ok(region)
    }
}

fn local_key(shape: &Shape, cat: &Id, stored: Country) -> Vec<Option<Value>> {
    vec![maybe(shape.service.as_ref()), value(cat), Some(Value::from(stored))]
}

/// Whether a country lies outside where a law keeps data: the European Economic Area, or China.
fn is_beyond(regime: Regime, country: Country, day: NaiveDate) -> bool {
    match regime {
        Regime::CN => country.as_str() != "CN",
        regime => vocabulary::is_european(regime, day) && !vocabulary::in_eea(country, day),
    }
}

/// Whether a law is none of a region's: the laws of the European Economic Area are one region's.
fn is_outside(region: Regime, regime: Regime, day: NaiveDate) -> bool {
    region != regime && !(vocabulary::is_european(region, day) && vocabulary::is_european(regime, day))
}

//! Which events an export is about, before any of it is made.

use std::time::Duration;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::exports::make::{Job, Plan};
use crate::app::exports::{Scope, Span, Wanted};
use crate::app::subjects::Name;
use crate::domain::id::{Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::export::MAX_SELECTION;
use crate::record::Header;
use crate::record::key::tag_key;
use crate::vault;
use crate::verify::{Kind, Level, TagKeys};
use crate::views::list::{Cursor, Filter};

/// How long it is waited for the views to know whom was recorded last.
const PATIENCE: Duration = Duration::from_secs(5);
/// People whose parts one export opens, at most.
const MAX_OPENED: usize = 32;

impl App {
    /// Refuses what cannot be exported to this caller, and finds people and places.
    pub(super) async fn plan(&self, caller: &Caller, id: Id, wanted: Wanted) -> Result<Job, Error> {
        let Wanted { scope, level, opened, opening, cover, since, .. } = wanted;
        let of_person = matches!(scope, Scope::Person(..));
        check_opened(&opened, level, of_person)?;
        if level == Level::Opened || of_person {
            caller.may_open()?;
            if opening.is_none() {
                let why =
                    "parts are opened and tag keys handed out only with a reason and a ticket".to_owned();
                return Err(Error::Precondition { reason: "reason_required", why });
            }
        }
        let head = self.log.head();
        let (kind, (from, to)) = match &scope {
            Scope::Range(span) => (Kind::Range, self.places(*span, head).await?),
            Scope::Person(_, span) => (Kind::Subject, self.places(*span, head).await?),
            Scope::Filter { filter, .. } => {
                let to = filter.known_at.unwrap_or(head).min(head);
                (Kind::Selection, (filter.position_from.unwrap_or(0).min(to), to))
            }
        };
        let mut people = Vec::new();
        for name in &opened {
            people.push(self.known(name).await?.0);
        }
        let plan = match scope {
            Scope::Range(_) => Plan::Range,
            Scope::Filter { filter, without_retracted } => Plan::Selection(filter, without_retracted),
            Scope::Person(name, _) => {
                let (canonical, members) = self.known(&name).await?;
                if level == Level::Opened {
                    people.push(canonical);
                }
                Plan::Person(self.tag_keys(&members, from, to).await?)
            }
        };
        Ok(Job { id, caller: caller.clone(), kind, plan, from, to, level, people, opening, cover, since })
    }

    async fn places(&self, span: Span, head: u64) -> Result<(u64, u64), Error> {
        let (from, to) = match span {
            Span::Positions(from, to) => (from, to.unwrap_or(head)),
            Span::Recorded(from, to) => self.recorded_between(from, to, head).await?,
        };
        if to > head {
            return Err(Error::invalid(
                "range.position_to",
                format_args!("goes beyond the {head} events recorded"),
            ));
        }
        if from >= to {
            return Err(Error::invalid("range", "holds no event"));
        }
        Ok((from, to))
    }

    /// The smallest range that holds every event recorded in a span of time.
    async fn recorded_between(
        &self,
        recorded_from: Option<Timestamp>,
        recorded_to: Option<Timestamp>,
        head: u64,
    ) -> Result<(u64, u64), Error> {
        let filter = Filter { recorded_from, recorded_to, known_at: Some(head), ..Filter::default() };
        let first = self.first_of(Filter { oldest_first: true, ..filter.clone() }).await?;
        let last = self.first_of(filter).await?;
        Ok(first.zip(last).map_or((0, 0), |(first, last)| (first, last + 1)))
    }

    async fn first_of(&self, filter: Filter) -> Result<Option<u64>, Error> {
        let mut cursor = None;
        loop {
            let page = self
                .list(filter.clone(), cursor, 1, filter.known_at.and_then(|to| to.checked_sub(1)))
                .await?;
            match (page.events.first(), page.next) {
                (Some(found), _) => return Ok(Some(found.position)),
                (None, None) => return Ok(None),
                (None, next) => cursor = next,
            }
        }
    }

    /// Whom a name means, with everybody merged into them.
    async fn known(&self, name: &Name) -> Result<(SubjectId, Vec<SubjectId>), Error> {
        let subject = self.who(name, None).await?;
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let group = self.ask(move |ask| Ok(ask.group(subject, u64::MAX)?)).await?;
        let group = group.ok_or(Error::SubjectNotFound)?;
        Ok((group.canonical, group.members.into_iter().collect()))
    }

    /// The keys of the years in which the range was recorded, of all who count as the person for good.
    async fn tag_keys(&self, members: &[SubjectId], from: u64, to: u64) -> Result<TagKeys, Error> {
        let mut years = Vec::new();
        for record in self.log.get(&[from, to - 1]).await? {
            years.push(Header::parse(&record.header)?.recorded_at.year());
        }
        let mut keys = Vec::new();
        for member in members {
            let holder = match self.vault.holder(*member).await {
                Ok(holder) => holder,
                Err(vault::Error::NotFound) => continue,
                Err(error) => return Err(error.into()),
            };
            let (first, last) = (years.iter().min().copied(), years.iter().max().copied());
            for year in first.into_iter().flat_map(|first| first..=last.unwrap_or(first)) {
                keys.push((year, tag_key(&holder.link, year)));
            }
        }
        Ok(TagKeys::new(keys))
    }

    /// Every position that passes a filter, ascending.
    pub(super) async fn selected(
        &self,
        filter: &Filter,
        without_retracted: bool,
        to: u64,
    ) -> Result<Vec<u64>, Error> {
        let filter = Filter { oldest_first: true, known_at: Some(to), ..filter.clone() };
        let (mut positions, mut cursor): (Vec<u64>, Option<Cursor>) = (Vec::new(), None);
        loop {
            let page = self.list(filter.clone(), cursor, crate::limits::PAGE, None).await?;
            let fits = page.events.iter().filter(|view| !without_retracted || view.retracted_by.is_none());
            positions.extend(fits.map(|view| view.position));
            if positions.len() > MAX_SELECTION {
                return Err(Error::Precondition {
                    reason: "export_refused",
                    why: format!(
                        "more than {MAX_SELECTION} events pass the filter: narrow it, or export the range"
                    ),
                });
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(positions);
            }
        }
    }
}

fn check_opened(opened: &[Name], level: Level, of_person: bool) -> Result<(), Error> {
    let wrong = match (opened.is_empty(), level == Level::Opened, of_person) {
        (false, _, true) => "is not stated for one person's export: it is that person",
        (false, false, _) => "is stated at the level opened only",
        (true, true, false) => "is required at the level opened: whose parts are opened",
        _ if opened.len() > MAX_OPENED => "names more than 32 people",
        _ => return Ok(()),
    };
    Err(Error::invalid("opened", wrong))
}

/// A filter in words, and for machines as JSON; empty conditions are left out.
pub(super) fn described(filter: &Filter, without_retracted: bool) -> (String, String) {
    let mut stated: Vec<(&str, Vec<String>)> = vec![
        ("types", filter.types.iter().map(|t| t.as_str().to_owned()).collect()),
        ("emitters", texts(&filter.emitters)),
        ("services", texts(&filter.services)),
        ("activities", texts(&filter.activities)),
        ("purposes", texts(&filter.purposes)),
        ("categories", texts(&filter.categories)),
        ("recipients", texts(&filter.recipients)),
        ("countries", texts(&filter.countries)),
    ];
    for (name, at) in [
        ("occurred_from", filter.occurred_from),
        ("occurred_to", filter.occurred_to),
        ("recorded_from", filter.recorded_from),
        ("recorded_to", filter.recorded_to),
    ] {
        stated.push((name, at.iter().map(ToString::to_string).collect()));
    }
    if without_retracted {
        stated.push(("without_retracted", vec!["true".to_owned()]));
    }
    stated.retain(|(_, values)| !values.is_empty());
    let words =
        stated.iter().map(|(name, values)| format!("{}: {}", name.replace('_', " "), values.join(" or ")));
    let words = words.collect::<Vec<_>>().join("; ");
    let machine: serde_json::Map<_, _> =
        stated.into_iter().map(|(name, values)| (name.to_owned(), serde_json::json!(values))).collect();
    let words = if words.is_empty() { "every event".to_owned() } else { words };
    (words, serde_json::Value::Object(machine).to_string())
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

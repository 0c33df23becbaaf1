//! What is held about a person: who is meant, the report, the events as evidence, and sealed
//! values for those who may see them, after the read was recorded.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::locators::Located;
use crate::app::own::Opening;
use crate::domain::disclosure::tips_off;
use crate::domain::event::{Body, EventType};
use crate::domain::id::SubjectId;
use crate::domain::identity::{Class, Identifier};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::record::{self, Header};
use crate::vault::{self, Candidate, Holder};
use crate::views::EventView;
use crate::views::report::{Report, ReportOptions};

/// How a caller names a person.
#[derive(Debug, Clone)]
pub enum Name {
    Subject(SubjectId),
    Identifier(Identifier),
}

/// An event of a person's, with what was opened of it.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub view: EventView,
    /// The body with its sealed fields where they could be opened.
    pub opened: Option<Body>,
    /// Why sealed fields stay closed, where there are any.
    pub closed: Option<&'static str>,
}

/// A report and what could be opened for it.
#[derive(Debug)]
pub struct Answer {
    pub report: Report,
    pub evidence: Vec<Evidence>,
    /// The person's identifiers, for a caller that opened.
    pub identifiers: Vec<(Identifier, Candidate)>,
    /// Locators of its data, for a caller that opened.
    pub locators: Vec<Located>,
}

/// What a list of a person's events is asked for with.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub types: Vec<EventType>,
    pub occurred_from: Option<Timestamp>,
    pub occurred_to: Option<Timestamp>,
    pub known_at: Option<u64>,
    pub at_least: Option<u64>,
    pub oldest_first: bool,
    /// Where the page before ended: its last position, or the one behind it if the oldest come first.
    pub cursor: Option<u64>,
    pub limit: usize,
}

/// Events of a person looked at for one page, so that a narrow filter cannot hold a thread.
const LOOKED_AT: usize = 10_000;

impl App {
    /// Everybody an identifier has meant or was seen with. Creates nothing.
    pub async fn find_subject(&self, identifier: &Identifier) -> Result<Vec<Candidate>, Error> {
        Ok(self.vault.candidates(identifier, None).await?)
    }

    /// Everything that is held about a person. With `opening`, sealed values of the evidence and
    /// the person's identifiers are opened; that this is done is recorded first.
    pub async fn report(
        &self,
        caller: &Caller,
        name: &Name,
        options: ReportOptions,
        at_least: Option<u64>,
        opening: Option<&Opening>,
    ) -> Result<Answer, Error> {
        let subject = self.who(name, options.as_of).await?;
        self.at_least(at_least).await?;
        let decided_at = options.as_of.unwrap_or_else(|| self.clock.now());
        let options = ReportOptions { decided_at: Some(decided_at), ..options };
        // Looked at before the question: views that were whole then know everybody.
        let lacking = self.views.stale();
        let report = self.ask(move |ask| Ok(ask.report(subject, options)?)).await?;
        let mut report = report.ok_or_else(|| match lacking {
            Some(_) => Error::ViewsBehind { at: self.views.applied() },
            None => Error::SubjectNotFound,
        })?;
        report.stale = self.views.stale();
        if caller.speaks_to_the_person() {
            let before = report.other_acts.len();
            report.other_acts.retain(|line| !tips_off(&line.body));
            // A number must not tell either.
            report.events -= (before - report.other_acts.len()) as u64;
            report.evidence.retain(|view| !tips_off(&view.body));
        }
        let evidence = std::mem::take(&mut report.evidence);
        let (mut identifiers, mut locators) = (Vec::new(), Vec::new());
        let evidence = match opening {
            None => evidence.into_iter().map(sealed).collect(),
            Some(opening) => {
                caller.may_open()?;
                let collections = self.sealed_collections(report.subject, options).await?;
                let shown: BTreeSet<u64> =
                    evidence.iter().chain(&collections).map(|view| view.position).collect();
                self.record_read(caller, "GetSubjectReport", opening, shown.len() as u64, 1).await?;
                locators = self.locators(self.open_all(collections).await?);
                for member in [report.subject].iter().chain(&report.merged).chain(&report.linked) {
                    identifiers.extend(self.vault.identifiers(*member).await?);
                }
                self.open_all(evidence).await?
            }
        };
        Ok(Answer { report, evidence, identifiers, locators })
    }

    /// A page of a person's events and where the next page begins.
    pub async fn subject_events(
        &self,
        caller: &Caller,
        name: &Name,
        wanted: Wanted,
        opening: Option<&Opening>,
    ) -> Result<(Vec<Evidence>, Option<u64>, u64), Error> {
        let subject = self.who(name, None).await?;
        self.at_least(wanted.at_least).await?;
        let untold = caller.speaks_to_the_person();
        let (views, next, applied) = self
            .ask(move |ask| {
                let (mut found, mut cursor, mut looked_at) = (Vec::new(), wanted.cursor, 0);
                let limit = wanted.limit.clamp(1, limits::PAGE);
                loop {
                    let page = if wanted.oldest_first {
                        ask.subject_events_from(subject, cursor.unwrap_or(0), wanted.known_at, limit)?
                    } else {
                        ask.subject_events(subject, cursor, wanted.known_at, limit)?
                    };
                    let last = page.len() < limit;
                    looked_at += page.len();
                    for view in page {
                        cursor = Some(view.position + u64::from(wanted.oldest_first));
                        if wanted.matches(&view) && !(untold && tips_off(&view.body)) {
                            found.push(view);
                        }
                        if found.len() == limit {
                            return Ok((found, cursor, ask.applied));
                        }
                    }
                    if last || looked_at >= LOOKED_AT {
                        return Ok((found, cursor.filter(|_| !last), ask.applied));
                    }
                }
            })
            .await?;
        let evidence = match opening {
            None => views.into_iter().map(sealed).collect(),
            Some(opening) => {
                caller.may_open()?;
                self.record_read(caller, "ListSubjectEvents", opening, views.len() as u64, 1).await?;
                self.open_all(views).await?
            }
        };
        Ok((evidence, next, applied))
    }

    /// Who is meant. A contact alone names candidates, never a person whose report may be given:
    /// numbers and addresses change hands (`domain.md` 2.5, rule 1).
    pub(crate) async fn who(&self, name: &Name, at: Option<Timestamp>) -> Result<SubjectId, Error> {
        let identifier = match name {
            Name::Subject(subject) => return Ok(*subject),
            Name::Identifier(identifier) => identifier,
        };
        let mut candidates = self.vault.candidates(identifier, at).await?;
        candidates.sort_by_key(|candidate| candidate.subject);
        candidates.dedup_by_key(|candidate| candidate.subject);
        match (candidates.as_slice(), identifier.kind.class()) {
            ([], _) => Err(Error::SubjectNotFound),
            ([one], class) if class != Class::Contact => Ok(one.subject),
            (several, _) => Err(Error::SubjectAmbiguous {
                candidates: several.iter().map(|candidate| candidate.subject.to_string()).collect(),
            }),
        }
    }

    /// Opens what the living keys open. Whatever stays closed says why.
    async fn open_all(&self, views: Vec<EventView>) -> Result<Vec<Evidence>, Error> {
        let mut holders: HashMap<SubjectId, Option<Arc<Holder>>> = HashMap::new();
        let mut opened = Vec::with_capacity(views.len());
        for view in views {
            opened.push(self.open_one(view, &mut holders).await?);
        }
        Ok(opened)
    }

    async fn open_one(
        &self,
        view: EventView,
        holders: &mut HashMap<SubjectId, Option<Arc<Holder>>>,
    ) -> Result<Evidence, Error> {
        let Some(i) = view.part.map(usize::from) else { return Ok(sealed(view)) };
        let header = Header::parse(&view.record.header)?;
        if header.parts.get(i).is_none_or(|part| part.boxes.is_empty()) {
            return Ok(Evidence { view, opened: None, closed: None });
        }
        let Some(subject) = view.parts.get(i).and_then(|part| part.subject) else {
            // Its index block, which says whose it is, is gone.
            return Ok(Evidence { view, opened: None, closed: Some("purged") });
        };
        if let std::collections::hash_map::Entry::Vacant(free) = holders.entry(subject) {
            free.insert(match self.vault.holder(subject).await {
                Ok(holder) => Some(holder),
                Err(vault::Error::NotFound) => None,
                Err(error) => return Err(error.into()),
            });
        }
        let Some(Some(holder)) = holders.get(&subject) else {
            return Ok(Evidence { view, opened: None, closed: Some("key_destroyed") });
        };
        self.open_part(&header, i, view.clone(), holder)
    }

    /// Opens what the kept keys of an erased person open.
    pub(crate) fn open_kept(&self, view: EventView, holder: &Holder) -> Result<Evidence, Error> {
        let Some(i) = view.part.map(usize::from) else { return Ok(sealed(view)) };
        let header = Header::parse(&view.record.header)?;
        self.open_part(&header, i, view.clone(), holder)
    }

    fn open_part(
        &self,
        header: &Header<'_>,
        i: usize,
        view: EventView,
        holder: &Holder,
    ) -> Result<Evidence, Error> {
        let (boxes, closed) = open_boxes(header, i, &view, holder)?;
        let index = self.index_of(header, i, &view)?;
        let opened = header.body_with(index.as_ref(), &boxes)?;
        Ok(Evidence { opened: Some(opened), closed, view })
    }

    fn index_of(
        &self,
        header: &Header<'_>,
        i: usize,
        view: &EventView,
    ) -> Result<Option<record::IndexBlock>, Error> {
        let Some(Some(piece)) = view.record.pieces.get(header.index_piece(i)) else { return Ok(None) };
        let epoch = Header::index_epoch(piece)?;
        let key = self.keyring.index_key(epoch).map_err(|e| Error::fault("keyring", e))?;
        Ok(Some(header.open_index(i, piece, &record::IndexKey::new(epoch, &key))?))
    }
}

type Opened = (Vec<Zeroizing<Vec<u8>>>, Option<&'static str>);

fn open_boxes(header: &Header<'_>, i: usize, view: &EventView, holder: &Holder) -> Result<Opened, Error> {
    let (mut boxes, mut closed) = (Vec::new(), None);
    for (b, sealed) in header.parts[i].boxes.iter().enumerate() {
        let key = match sealed.class {
            record::Class::Evidence => holder.evidence.as_ref(),
            record::Class::Identity => holder.identity.as_ref(),
            record::Class::Matter | record::Class::Organisation => None,
        };
        match (view.record.pieces.get(header.box_piece(i, b)), key) {
            (Some(Some(piece)), Some(key)) => boxes.push(header.open_box(i, b, piece, key)?),
            (Some(Some(_)), None) => closed = Some("key_destroyed"),
            _ => closed = Some("purged"),
        }
    }
    Ok((boxes, closed))
}

/// What nobody asked to be opened.
fn sealed(view: EventView) -> Evidence {
    let closed = has_box(&view).then_some("not_asked");
    Evidence { view, opened: None, closed }
}

/// Whether the part through which an event was found has something sealed.
pub(crate) fn has_box(view: &EventView) -> bool {
    let part = view.part.map(usize::from);
    Header::parse(&view.record.header)
        .is_ok_and(|header| part.and_then(|i| header.parts.get(i)).is_some_and(|part| !part.boxes.is_empty()))
}

impl Wanted {
    fn matches(&self, view: &EventView) -> bool {
        let at = view.envelope.occurred_at;
        (self.types.is_empty() || self.types.contains(&view.event_type))
            && self.occurred_from.is_none_or(|from| at >= from)
            && self.occurred_to.is_none_or(|to| at < to)
    }
}

//! Makes one bundle, in its turn: checkpoint, disclosures, files, the event that says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::exports::scope::described;
use crate::app::exports::sources::{LedgerProofs, Opener};
use crate::app::own::{Opening, staff};
use crate::domain::event::catalogue::{ContentDisclosed, ExportProduced};
use crate::domain::event::{Body, ExportKind, List, ReadLevel};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::export::shelf::{Finished, Kept, State};
use crate::export::{self, Cover, Disclose, KeepSealed, Produced, Request, archive::Archive};
use crate::limits;
use crate::record::Header;
use crate::vault;
use crate::verify::{Kind, Level, TagKeys};
use crate::views::EventView;
use crate::views::ask::Ask;
use crate::views::list::Filter;
use crate::views::retract::taken_back_between;

/// Events of which one export opens parts, at most.
const MAX_DISCLOSED: usize = 100_000;
/// How long an export waits for the views.
const PATIENCE: Duration = Duration::from_secs(60);

/// Events of which something is opened, by position, and how many boxes of each.
type Disclosed = BTreeMap<u64, (EventId, u64)>;

/// An export that may be made.
pub(super) struct Job {
    pub id: Id,
    pub caller: Caller,
    pub kind: Kind,
    pub plan: Plan,
    pub from: u64,
    pub to: u64,
    pub level: Level,
    /// Whose parts are opened.
    pub people: Vec<SubjectId>,
    pub opening: Option<Opening>,
    pub cover: Cover,
    pub since: Vec<u64>,
}

pub(super) enum Plan {
    Range,
    /// Whether retracted events are left out.
    Selection(Box<Filter>, bool),
    Person(TagKeys),
}

impl Job {
    pub fn entry(&self, now: Timestamp) -> Kept {
        Kept {
            id: self.id.clone(),
            kind: self.kind,
            level: self.level,
            from: self.from,
            to: self.to,
            requester: self.caller.name.clone(),
            created_at: now,
            state: State::Pending,
            progress: None,
        }
    }

    /// Whether an export of this name is this one, asked for again. The end of an open range moves on.
    pub fn is(&self, there: &Kept) -> bool {
        (self.kind, self.level, self.from, &self.caller.name)
            == (there.kind, there.level, there.from, &there.requester)
            && self.to >= there.to
    }

    fn event_kind(&self) -> ExportKind {
        match self.plan {
            Plan::Person(_) => ExportKind::Access,
            Plan::Range | Plan::Selection(..) => ExportKind::Regulator,
        }
    }

    /// The export's name in events: of one person's it is theirs, and goes with them.
    fn names(&self) -> (Option<Id>, Option<Id>) {
        match self.plan {
            Plan::Person(_) => (None, Some(self.id.clone())),
            Plan::Range | Plan::Selection(..) => (Some(self.id.clone()), None),
        }
    }

    fn read_level(&self) -> ReadLevel {
        if self.level == Level::Opened { ReadLevel::Opened } else { ReadLevel::Index }
    }
}

impl App {
    pub(super) async fn make(self: &Arc<Self>, job: &Job) -> Result<Finished, Error> {
        let _turn = self.exports.turn.acquire().await.map_err(|gone| Error::fault("export_turn", gone))?;
        let id = job.id.clone();
        if !self.on_shelf(move |shelf| shelf.set(&id, State::Running)).await? {
            return Err(export::Error::CalledOff.into());
        }
        self.views.wait_for(job.to, PATIENCE).await?;
        self.publish().await?;
        let disclose: Arc<dyn Disclose> = match job.level {
            Level::Opened => Arc::new(self.disclose(job).await?),
            Level::Headers | Level::Sealed => Arc::new(KeepSealed),
        };
        let request = self.request(job).await?;
        let produced = self.write(job, request, disclose).await?;
        let position = self.record_export(job, &produced).await?;
        let shelf = Arc::clone(&self.exports.shelf);
        let bundle = shelf.bundle(&job.id);
        let size_bytes = self.on_shelf(move |_| Ok(Archive::open(&bundle)?.size())).await?;
        let checkpoint = self.checkpoint(Some(produced.tree_size)).await?;
        Ok(Finished {
            size_bytes,
            manifest_sha256: produced.manifest_sha256,
            events: produced.manifest.counts.events,
            opened: produced.manifest.counts.opened,
            position,
            tree_size: produced.tree_size,
            witnessed: checkpoint.witnessed,
            expires_at: self.clock.now().plus_ms(self.exports.keep_ms),
        })
    }

    async fn request(&self, job: &Job) -> Result<Request, Error> {
        let scope = match &job.plan {
            Plan::Range => export::Scope::Range,
            Plan::Person(keys) => export::Scope::Subject { keys: keys.clone() },
            Plan::Selection(filter, without_retracted) => {
                let positions = self.selected(filter, *without_retracted, job.to).await?;
                let (words, filter) = described(filter, *without_retracted);
                export::Scope::Selection { positions, words, filter }
            }
        };
        let (from, to) = (job.from, job.to);
        let retracted = match &scope {
            export::Scope::Selection { positions, .. } => self.retracted_of(positions.clone()).await?,
            _ => self.ask(move |ask| Ok(taken_back_between(ask, from, to)?)).await?,
        };
        Ok(Request {
            export: job.id.clone(),
            scope,
            from,
            to,
            level: job.level,
            retracted,
            created: self.clock.now(),
            cover: self.cover(&job.cover),
            since: job.since.clone(),
        })
    }

    async fn retracted_of(&self, positions: Vec<u64>) -> Result<u64, Error> {
        let count = move |ask: &Ask| {
            let mut count = 0;
            for position in positions {
                count += u64::from(ask.event(position)?.retracted_by.is_some());
            }
            Ok(count)
        };
        self.ask(count).await
    }

    /// What the register knows of the controllers, where the caller has said nothing.
    fn cover(&self, stated: &Cover) -> Cover {
        let (names, representatives) = self.views.registers(|registers| {
            let latest = registers.controllers.values().filter_map(|history| history.last());
            let (mut names, mut representatives) = (Vec::new(), Vec::new());
            for entry in latest {
                names.extend(entry.body.legal_name.as_ref().map(ToString::to_string));
                let organisations = [&entry.body.eu_representative_org, &entry.body.cn_agent_org];
                representatives.extend(organisations.into_iter().flatten().map(ToString::to_string));
            }
            (names.join("; "), representatives.join("; "))
        });
        let or = |stated: &Option<String>, known: String| {
            stated.clone().or(Some(known).filter(|known| crate::verify::manifest::is_text(known)))
        };
        Cover {
            controller: or(&stated.controller, names),
            representative: or(&stated.representative, representatives),
            ..stated.clone()
        }
    }

    /// On a thread of its own: the writer's calls block.
    async fn write(
        self: &Arc<Self>,
        job: &Job,
        request: Request,
        disclose: Arc<dyn Disclose>,
    ) -> Result<Produced, Error> {
        let proofs = LedgerProofs {
            ledger: Arc::clone(&self.ledger),
            keyring: Arc::clone(&self.keyring),
            since: job.since.iter().copied().max().unwrap_or(0),
        };
        let (app, id, runtime) = (Arc::clone(self), job.id.clone(), tokio::runtime::Handle::current());
        let written = tokio::task::spawn_blocking(move || {
            let shelf = &app.exports.shelf;
            let target = shelf.bundle(&id);
            let mut watch = |progress| {
                if app.is_called_off() || app.reserve.is_reached() {
                    return Err(export::Error::CalledOff);
                }
                shelf.step(&id, progress)
            };
            runtime.block_on(export::write(&*app.log, &proofs, &*disclose, &request, &target, &mut watch))
        });
        match written.await.map_err(|died| Error::fault("export_died", died))? {
            Err(export::Error::CalledOff) if self.reserve.is_reached() => {
                Err(crate::app::record::DISK_AT_RESERVE)
            }
            written => Ok(written?),
        }
    }

    async fn record_export(&self, job: &Job, produced: &Produced) -> Result<u64, Error> {
        let (export_id, export_ref) = job.names();
        let counts = &produced.manifest.counts;
        let body = ExportProduced {
            export_id,
            export_ref,
            kind: Some(job.event_kind()),
            level: Some(job.read_level()),
            from_position: Some(job.from),
            to_position: Some(job.to),
            rows: Some(counts.events),
            retracted: Some(counts.retracted),
            manifest_sha256: Some(produced.manifest_sha256),
            ..Default::default()
        };
        let body = Body::ExportProduced(Box::new(body));
        Ok(self.record_own(body, vec![staff(&job.caller)]).await?.position)
    }

    /// Finds what is to be opened, and records that before anything opens.
    async fn disclose(&self, job: &Job) -> Result<Opener, Error> {
        let mut opener = Opener::default();
        let mut events = Disclosed::new();
        for person in &job.people {
            self.find_parts(*person, job, &mut opener, &mut events).await?;
        }
        self.find_holders(&mut opener).await?;
        if let Some(opening) = &job.opening {
            let people = job.people.len() as u64;
            self.record_read(&job.caller, "CreateExport", opening, events.len() as u64, people).await?;
        }
        let events: Vec<(EventId, u64)> = events.into_values().collect();
        for some in events.chunks(limits::RETRACTED) {
            let opened = some.iter().map(|(_, parts)| parts).sum();
            self.record_disclosure(job, opened, some.iter().map(|(id, _)| *id).collect()).await?;
        }
        Ok(opener)
    }

    async fn find_parts(
        &self,
        person: SubjectId,
        job: &Job,
        opener: &mut Opener,
        events: &mut Disclosed,
    ) -> Result<(), Error> {
        let (mut from, to) = (job.from, job.to);
        loop {
            let page = move |ask: &Ask| Ok(ask.subject_events_from(person, from, Some(to), limits::PAGE)?);
            let page = self.ask(page).await?;
            for view in &page {
                note_parts(view, opener, events)?;
                from = view.position + 1;
            }
            if events.len() > MAX_DISCLOSED {
                return Err(Error::Precondition {
                    reason: "export_refused",
                    why: format!(
                        "parts of more than {MAX_DISCLOSED} events would be opened: export less at once"
                    ),
                });
            }
            if page.len() < limits::PAGE {
                return Ok(());
            }
        }
    }

    async fn find_holders(&self, opener: &mut Opener) -> Result<(), Error> {
        let mut holders = HashMap::new();
        for subject in opener.parts.values() {
            if let std::collections::hash_map::Entry::Vacant(free) = holders.entry(*subject) {
                match self.vault.holder(*subject).await {
                    Ok(holder) => drop(free.insert(holder)),
                    Err(vault::Error::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        opener.holders = holders;
        Ok(())
    }

    async fn record_disclosure(&self, job: &Job, opened: u64, event_ids: Vec<EventId>) -> Result<(), Error> {
        let (export_id, export_ref) = job.names();
        let event_ids = List::new(event_ids).ok_or_else(|| Error::internal("disclosure_too_long"))?;
        let body = ContentDisclosed {
            export_id,
            export_ref,
            kind: Some(job.event_kind()),
            level: Some(job.read_level()),
            opened: Some(opened),
            event_ids,
            ..Default::default()
        };
        let body = Body::ContentDisclosed(Box::new(body));
        self.record_own(body, vec![staff(&job.caller)]).await.map(drop)
    }

    /// The tag keys of one person's export, once the log says that they are handed out.
    pub(super) async fn hand_out_tag_keys(&self, job: &Job) -> Result<Option<Zeroizing<String>>, Error> {
        let (Plan::Person(keys), Some(opening)) = (&job.plan, &job.opening) else { return Ok(None) };
        self.record_read(&job.caller, "CreateExport", opening, job.to - job.from, 1).await?;
        Ok(Some(keys.text()))
    }
}

/// The parts of an event that are the person's through whom it was found, if they have anything sealed.
fn note_parts(view: &EventView, opener: &mut Opener, events: &mut Disclosed) -> Result<(), Error> {
    let found = view.part.and_then(|i| view.parts.get(usize::from(i))).and_then(|part| part.subject);
    let Some(subject) = found else { return Ok(()) };
    let header = Header::parse(&view.record.header)?;
    for (i, _) in view.parts.iter().enumerate().filter(|(_, part)| part.subject == Some(subject)) {
        let there = |b: usize| matches!(view.record.pieces.get(header.box_piece(i, b)), Some(Some(_)));
        let boxes = (0..header.parts[i].boxes.len()).filter(|b| there(*b)).count() as u64;
        if boxes > 0 {
            opener.parts.insert((view.position, i as u8), subject);
            events.entry(view.position).or_insert((view.envelope.event_id, 0)).1 += boxes;
        }
    }
    Ok(())
}

//! Reads over one snapshot of one generation: the report, a person's events, their evidence.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;
use crate::limits;
use crate::views::Error;
use crate::views::codec::Malformed;
use crate::views::decode::{Decoded, Decoder};
use crate::views::event_view::EventView;
use crate::views::fold::{self, fold, split_key};
use crate::views::generation::Generation;
use crate::views::group::{Group, NamedPart, Resolver, Span};
use crate::views::lock;
use crate::views::person::{Person, add};
use crate::views::postings;
use crate::views::reach::Reach;
use crate::views::report::{
    ActSection, DataSection, Folded, Line, RecipientSection, Report, ReportOptions, lines,
};
use crate::views::retract::{repeats, taken_back_by};
use crate::views::shape::{self, Shapes};
use crate::views::store::{self, Reading};

/// What a question is answered from.
pub struct Ask {
    pub generation: Arc<Generation>,
    pub reading: Reading,
    pub reach: Reach,
    /// Records below this position are in the rows.
    pub applied: u64,
}

/// What is done with each record and its lines.
type EachRecord<'e> = dyn FnMut(&Decoded, Vec<Line>) -> Result<(), Error> + 'e;

/// Records decoded at once while looking for evidence.
const PAGE: usize = 64;

impl Ask {
    pub fn new(generation: Arc<Generation>, reach: Reach) -> Result<Ask, Error> {
        let reading = generation.store.reading();
        let applied = reading.applied()?;
        Ok(Ask { generation, reading, reach, applied })
    }

    pub(super) fn shapes(&self) -> std::sync::RwLockReadGuard<'_, Shapes> {
        lock::read(&self.generation.shared.shapes)
    }

    /// Parts recorded before a position that name somebody whom nobody knew, by their identifiers.
    pub fn named_before(&self, position: u64) -> Result<u64, Error> {
        crate::views::mark::named_before(&self.reading, position)
    }

    /// Everything that counts as one person, as known before a position.
    pub fn group(&self, subject: SubjectId, known_at: u64) -> Result<Option<Group>, Error> {
        Resolver { reading: &self.reading, shapes: &self.shapes(), known_at }.group(subject)
    }

    pub fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error> {
        Resolver { reading: &self.reading, shapes: &self.shapes(), known_at: u64::MAX }.canonical(subject)
    }

    pub fn report(&self, subject: SubjectId, options: ReportOptions) -> Result<Option<Report>, Error> {
        let known_at = options.known_at.unwrap_or(u64::MAX).min(self.applied);
        let Some(group) = self.group(subject, known_at)? else { return Ok(None) };
        let state = self.state(&group, options.as_of, known_at)?;
        let lines = self.resolved(&state, known_at)?;
        let mut report = Report {
            subject: group.canonical,
            merged: group.members.iter().copied().filter(|member| *member != group.canonical).collect(),
            linked: linked(&group),
            applied: self.applied,
            as_of: options.as_of,
            known_at: options.known_at,
            stale: self.generation.failed(),
            data: Vec::new(),
            purposes: Vec::new(),
            sources: Vec::new(),
            recipients: Vec::new(),
            transfers: Vec::new(),
            consents: Vec::new(),
            permissions: Vec::new(),
            accounts: Vec::new(),
            notices: Vec::new(),
            messages: Vec::new(),
            staff_accesses: Vec::new(),
            decisions: Vec::new(),
            requests: Vec::new(),
            transactions: Vec::new(),
            other_acts: Vec::new(),
            services: BTreeSet::new(),
            events: state.events,
            retracted: state.retracted,
            evidence: Vec::new(),
        };
        let kept = match options.decided_at {
            Some(at) => Some((self.person_by(&group, &lines, known_at)?, at)),
            None => None,
        };
        self.fill(&mut report, lines, known_at);
        if let Some((person, at)) = kept {
            report.data.iter_mut().for_each(|datum| datum.retention = person.told(&datum.key, at));
        }
        if options.evidence > 0 {
            let limit = options.evidence.min(limits::PAGE);
            report.evidence = self.newest(&group, options.as_of, known_at, limit)?;
        }
        Ok(Some(report))
    }

    /// Everything that counts as one person, as known before a position, and what is kept of it.
    pub(super) fn lines_of(
        &self,
        subject: SubjectId,
        as_of: Option<Timestamp>,
        known_at: u64,
    ) -> Result<Option<(Group, Vec<Line>)>, Error> {
        let Some(group) = self.group(subject, known_at)? else { return Ok(None) };
        let state = self.state(&group, as_of, known_at)?;
        let lines = self.resolved(&state, known_at)?;
        Ok(Some((group, lines)))
    }

    /// As `lines_of`, from the rows alone; `None` where they do not say enough.
    pub(super) fn row_lines(&self, group: &Group, known_at: u64) -> Result<Option<Vec<Line>>, Error> {
        if known_at != self.applied {
            return Ok(None);
        }
        self.stored(group)?.map(|state| self.resolved(&state, known_at)).transpose()
    }

    /// A line for every single record of a group, in the order of the log, without what was taken back.
    pub(super) fn single_lines(&self, group: &Group, known_at: u64) -> Result<Vec<Line>, Error> {
        let mut lines = Vec::new();
        self.each_record(group, known_at, &mut |_, mut more| {
            lines.append(&mut more);
            Ok(())
        })?;
        Ok(lines)
    }

    /// The same record by record.
    pub(super) fn each_record(
        &self,
        group: &Group,
        known_at: u64,
        each: &mut EachRecord<'_>,
    ) -> Result<(), Error> {
        self.each_of(group, &self.positions(group, known_at)?, known_at, each)
    }

    /// The same of some records.
    pub(super) fn each_of(
        &self,
        group: &Group,
        positions: &[u64],
        known_at: u64,
        each: &mut EachRecord<'_>,
    ) -> Result<(), Error> {
        self.reach.decode_all(positions, |event| {
            let mut state = State::default();
            self.replay(&mut state, group, &event, known_at)?;
            each(&event, self.resolved(&state, known_at)?)
        })
    }

    fn fill(&self, report: &mut Report, lines: Vec<Line>, known_at: u64) {
        use crate::domain::event::EventType::*;
        let (mut data, mut acts, mut recipients) =
            (DataSection::default(), ActSection::default(), RecipientSection::default());
        for line in lines {
            report.services.extend(line.shape.service.clone());
            data.add(&line);
            acts.add(&line);
            recipients.add(&line);
            match line.shape.event_type {
                NoticeShown => report.notices.push(line),
                MessageSent => report.messages.push(line),
                StaffAccessed => report.staff_accesses.push(line),
                AutomatedDecisionMade => report.decisions.push(line),
                RequestReceived | RequestAcknowledged | IdentityRequested | IdentityChecked
                | RequestExtended | RequestFulfilled | RequestRefused | RequestWithdrawn
                | ErasureAccepted | ErasureRefused | ObjectionUpheld | ObjectionRejected
                | RestrictionApplied | RestrictionLifted => {
                    report.requests.push(line);
                }
                TransactionCompleted | TransactionAborted => report.transactions.push(line),
                DataCollected
                | DataUsed
                | DataShared
                | SdkObserved
                | DataTransferred
                | ConsentGiven
                | ConsentRefused
                | ConsentWithdrawn
                | DevicePermissionChanged
                | AccountRegistered
                | AccountCancelled => {}
                _ => report.other_acts.push(line),
            }
        }
        for list in [
            &mut report.notices,
            &mut report.messages,
            &mut report.staff_accesses,
            &mut report.decisions,
            &mut report.requests,
            &mut report.transactions,
            &mut report.other_acts,
        ] {
            list.sort_by(|a, b| {
                (a.at(), a.shape.event_type, &a.own).cmp(&(b.at(), b.shape.event_type, &b.own))
            });
        }
        let registers = lock::read(&self.generation.shared.registers);
        (report.data, report.purposes, report.sources) = data.finish(&registers, known_at);
        (report.recipients, report.transfers) = recipients.finish(&registers, known_at);
        (report.consents, report.permissions, report.accounts) = acts.finish(report.as_of);
    }

    /// The state of a group: stored rows where they say it, else its records folded again.
    fn state(&self, group: &Group, as_of: Option<Timestamp>, known_at: u64) -> Result<State, Error> {
        if as_of.is_none()
            && known_at == self.applied
            && let Some(state) = self.stored(group)?
        {
            return Ok(state);
        }
        self.replayed(group, as_of, known_at)
    }

    /// `None` where a stored row covers more than its span, or a tally spans a revision.
    fn stored(&self, group: &Group) -> Result<Option<State>, Error> {
        let mut state = State::default();
        let entries = state.folded.entry(None).or_default();
        for source in &group.sources {
            let row = match group.rows.get(&source.subject) {
                Some(row) => Some(Cow::Borrowed(row)),
                None => self
                    .reading
                    .get(&store::person(source.subject))?
                    .map(|row| Person::decode(&row))
                    .transpose()?
                    .map(Cow::Owned),
            };
            let Some(person) = row else { continue };
            let covered = |span: &Span| {
                person.entries.iter().all(|(_, tally)| span.holds(tally.first) && span.holds(tally.last))
            };
            if source.span != Span::ALWAYS && (person.retracted > 0 || !covered(&source.span)) {
                return Ok(None);
            }
            state.events += person.events;
            state.retracted += person.retracted;
            if entries.is_empty() {
                entries.clone_from(&person.entries);
            } else {
                person.entries.iter().for_each(|(key, tally)| add(entries, key.shape, &key.own, *tally));
            }
        }
        if !group.named.is_empty() || group.sources.len() > 1 && self.shared_records(group)? {
            return Ok(None);
        }
        let (shapes, registers) = (self.shapes(), lock::read(&self.generation.shared.registers));
        for (key, tally) in entries.iter() {
            let changes = |shape: &shape::Shape| {
                registers.shape_changes_within(shape, tally.first, tally.last, self.applied)
            };
            let changes = match shapes.get(key.shape) {
                Some(shape) => changes(shape),
                None => split_key(key)?.0.map(shape::decode).transpose()?.as_ref().is_some_and(changes),
            };
            if changes {
                return Ok(None);
            }
        }
        drop((shapes, registers));
        Ok(Some(state))
    }

    /// Whether two sources may stand in one record, which must not count twice.
    fn shared_records(&self, group: &Group) -> Result<bool, Error> {
        let mut seen = BTreeSet::new();
        for source in &group.sources {
            for posting in postings::ascending(&self.reading, source.subject)? {
                if !seen.insert(posting.position) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// All records of a group in their order, each once, folded again.
    fn replayed(&self, group: &Group, as_of: Option<Timestamp>, known_at: u64) -> Result<State, Error> {
        let mut state = State::default();
        self.reach.decode_all(&self.positions(group, known_at)?, |event| {
            if as_of.is_some_and(|as_of| event.at > as_of) {
                return Ok(());
            }
            self.replay(&mut state, group, &event, known_at)
        })?;
        Ok(state)
    }

    /// Where a group's records stand, of those before a position, each once.
    fn positions(&self, group: &Group, known_at: u64) -> Result<Vec<u64>, Error> {
        let mut positions = BTreeSet::new();
        for source in &group.sources {
            positions.extend(
                postings::ascending(&self.reading, source.subject)?.iter().map(|posting| posting.position),
            );
        }
        positions.extend(group.named.iter().map(|named| named.position));
        Ok(positions.into_iter().filter(|position| *position < known_at).collect())
    }

    fn replay(&self, state: &mut State, group: &Group, event: &Decoded, known_at: u64) -> Result<(), Error> {
        let mine = mine(group, event);
        let Some(part) = mine.first() else { return Ok(()) };
        let part = &event.parts[usize::from(*part)];
        let subject = part.role.is_data_subject() && !shape::is_reading(event.event_type);
        state.events += u64::from(subject);
        let taken_back = fold::can_be_retracted(event.event_type)
            && taken_back_by(&self.reading, &event.emitter, event.event_id, &BTreeSet::new())?
                .is_some_and(|by| by < known_at);
        if taken_back {
            state.retracted += u64::from(subject);
            return Ok(());
        }
        let shape = self.shapes().number(&event.shape).unwrap_or(0);
        let decoded;
        let shapes = self.shapes();
        let whole = match shapes.get(shape) {
            Some(shape) => &**shape,
            None => {
                decoded = shape::decode(&event.shape)?;
                &decoded
            }
        };
        let registers = lock::read(&self.generation.shared.registers);
        let revision = registers.resolved(whole, event.at, known_at);
        let revision = revision.map(|revision| revision.entry.position);
        drop(registers);
        let entries = state.folded.entry(revision).or_default();
        let erased: BTreeSet<SubjectId> = if fold::is_link(event.event_type) {
            event
                .data_subjects()
                .filter_map(|other| match self.reading.get(&store::erased(other)) {
                    Ok(None) => None,
                    Ok(Some(_)) => Some(Ok(other)),
                    Err(why) => Some(Err(why)),
                })
                .collect::<Result<_, _>>()?
        } else {
            BTreeSet::new()
        };
        fold(entries, event, part, shape, |other| erased.contains(&other));
        Ok(())
    }

    fn resolved(&self, state: &State, known_at: u64) -> Result<Vec<Line>, Error> {
        let (shapes, registers) = (self.shapes(), lock::read(&self.generation.shared.registers));
        let mut all = Vec::new();
        for entries in state.folded.values() {
            // Within one map the revision is the same at any instant of a tally.
            all.extend(lines(entries, &shapes, &registers, known_at)?);
        }
        Ok(all)
    }

    /// The newest records of a group, taken-back ones included and marked.
    fn newest(
        &self,
        group: &Group,
        as_of: Option<Timestamp>,
        known_at: u64,
        limit: usize,
    ) -> Result<Vec<EventView>, Error> {
        let mut views = Vec::new();
        let mut before = known_at;
        while views.len() < limit {
            let positions = self.positions_before(group, before, PAGE)?;
            let Some(last) = positions.last() else { break };
            before = *last;
            for view in self.views(group, &positions)? {
                if views.len() < limit && as_of.is_none_or(|as_of| view.at() <= as_of) {
                    views.push(view);
                }
            }
        }
        Ok(views)
    }

    /// Positions of a group's candidates before one, newest first.
    fn positions_before(&self, group: &Group, before: u64, limit: usize) -> Result<Vec<u64>, Error> {
        let mut positions = BTreeSet::new();
        for source in &group.sources {
            let newest = postings::newest(&self.reading, source.subject, before, limit)?;
            positions.extend(newest.iter().map(|posting| posting.position));
        }
        positions
            .extend(group.named.iter().map(|named| named.position).filter(|position| *position < before));
        Ok(positions.into_iter().rev().take(limit).collect())
    }

    /// Positions of a group's candidates from one on and below another, oldest first.
    fn positions_from(&self, group: &Group, from: u64, end: u64, limit: usize) -> Result<Vec<u64>, Error> {
        let mut positions = BTreeSet::new();
        for source in &group.sources {
            let oldest = postings::oldest(&self.reading, source.subject, from, limit)?;
            positions.extend(oldest.iter().map(|posting| posting.position));
        }
        positions.extend(group.named.iter().map(|named| named.position).filter(|position| *position >= from));
        Ok(positions.into_iter().filter(|position| *position < end).take(limit).collect())
    }

    /// The records among these positions that count as the group's.
    fn views(&self, group: &Group, positions: &[u64]) -> Result<Vec<EventView>, Error> {
        let mut decoder = Decoder::new(&*self.reach.keys);
        let mut views = Vec::new();
        for record in self.reach.get(positions)? {
            let event = decoder
                .decode(&record)
                .map_err(|source| Error::Record { position: record.position, source })?;
            if let Some(part) = mine(group, &event).first() {
                views.push(EventView::read(&self.reading, &mut decoder, record, |_| Some(*part))?);
            }
        }
        Ok(views)
    }

    /// One page of a person's events before a position, newest first, taken-back ones included.
    /// The next page begins before the last position given; a short page is the last one.
    pub fn subject_events(
        &self,
        subject: SubjectId,
        before: Option<u64>,
        known_at: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EventView>, Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        let Some(group) = self.group(subject, known_at)? else { return Ok(Vec::new()) };
        self.newest(&group, None, before.unwrap_or(u64::MAX).min(known_at), limit.min(limits::PAGE))
    }

    /// One page of a person's events from a position on, oldest first, taken-back ones included.
    /// The next page begins behind the last position given; a short page is the last one.
    pub fn subject_events_from(
        &self,
        subject: SubjectId,
        from: u64,
        known_at: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EventView>, Error> {
        let known_at = known_at.unwrap_or(u64::MAX).min(self.applied);
        let Some(group) = self.group(subject, known_at)? else { return Ok(Vec::new()) };
        let (limit, mut views, mut from) = (limit.min(limits::PAGE), Vec::new(), from);
        while views.len() < limit {
            let positions = self.positions_from(&group, from, known_at, PAGE)?;
            let Some(last) = positions.last() else { break };
            from = last + 1;
            views.extend(self.views(&group, &positions)?);
        }
        views.truncate(limit);
        Ok(views)
    }

    /// The values of a record that is not there are never made up: a position at or beyond what is
    /// applied is an error.
    pub fn event(&self, position: u64) -> Result<EventView, Error> {
        if position >= self.applied {
            return Err(Error::NotYet { wanted: position, applied: self.applied });
        }
        let record = self.reach.get(&[position])?.pop().ok_or(Malformed("log"))?;
        EventView::read(&self.reading, &mut Decoder::new(&*self.reach.keys), record, |_| None)
    }
}

/// A group's entries and how many records they come from.
#[derive(Debug, Default)]
struct State {
    folded: Folded,
    events: u64,
    retracted: u64,
}

/// The parts of a record that count as the group's, data subjects first. A record counts once.
pub(super) fn mine(group: &Group, event: &Decoded) -> Vec<u8> {
    let mut parts: Vec<u8> = event
        .parts
        .iter()
        .filter(|part| match part.subject {
            Some(subject) => {
                let of = group.sources.iter().any(|s| s.subject == subject && s.span.holds(event.at));
                of && !(part.role.is_data_subject() && shape::is_reading(event.event_type))
                    && !repeats(event, part.number)
            }
            None => {
                group.named.contains(&NamedPart { position: event.position, part: part.number, at: event.at })
            }
        })
        .map(|part| part.number)
        .collect();
    parts.sort_by_key(|part| !event.parts[usize::from(*part)].role.is_data_subject());
    parts
}

fn linked(group: &Group) -> Vec<SubjectId> {
    let linked: BTreeSet<SubjectId> = group
        .sources
        .iter()
        .map(|source| source.subject)
        .filter(|subject| !group.members.contains(subject))
        .collect();
    linked.into_iter().collect()
}

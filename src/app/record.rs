//! Recording: check ▸ attribute ▸ seal ▸ append ▸ answer. The one path by which anything is stored.
//!
//! Promises: a receipt means that the event is durable; a retry of the same event gets the same
//! receipt and stores nothing, creates nobody; another event under a used id is a conflict; one
//! bad event of a batch fails only itself. A crash before the append leaves at most pending
//! people in the vault, whom nothing refers to and who are destroyed after an hour.

mod registers;

use std::sync::Arc;

use ::metrics::{counter, histogram};
use chrono_tz::Tz;
use zeroize::Zeroizing;

use crate::app::access::Caller;
use crate::app::error::{Error, FieldViolation};
use crate::app::gate::Keeping;
use crate::app::status::LAG_LIMIT;
use crate::app::{App, matter, rules};
use crate::domain::event::{Body, Event, Person, Role};
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::log::{NewRecord, Outcome, StoredRecord};
use crate::record::{
    self, Fingerprint, Header, IndexKey, IndexMark, Keys, MarkUse, Noted, PartRole, Party, Salt,
    SealedRecord, Sealing,
};
use crate::telemetry::metrics;
use crate::vault::{Act, Conflict, Entry, Holder, HolderKind, Marked, Resolution, Use, Vault};
use crate::views::Views;

/// Ingestion waits for views that are this far behind (DESIGN 9); a second is what they need for
/// some hundred thousand records.
const VIEWS_TOO_FAR_BEHIND: Error = Error::ResourceExhausted {
    reason: "overloaded",
    what: "the views are too far behind",
    retry_after_ms: 1_000,
};

/// What only adds waits for room (DESIGN 17).
pub(crate) const DISK_AT_RESERVE: Error = Error::ResourceExhausted {
    reason: "disk_reserve",
    what: "the disk is at its reserve",
    retry_after_ms: 5_000,
};

/// What an emitter gets for an event that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub event_id: EventId,
    pub position: u64,
    pub leaf_hash: Digest,
    pub recorded_at: Timestamp,
    /// The event was there already, with the same content.
    pub duplicate: bool,
    /// Everybody it names is somebody known; an unattributed part waits for a binding.
    pub attributed: bool,
}

/// An event that passed its checks, with its place in the request.
struct Checked {
    at: usize,
    /// Boxed, because it is handed from step to step.
    event: Box<Event>,
    fingerprint: Fingerprint,
}

/// An event whose people are known, sealed, ready for the log.
struct Ready {
    sealed: SealedRecord,
    sent: Sent,
}

/// What is still needed of an event when its record is with the log.
struct Sent {
    checked: Checked,
    leaf: Digest,
    recorded_at: Timestamp,
    created: Vec<Arc<Holder>>,
    people: Vec<Option<Arc<Holder>>>,
}

/// The registers as the views have them.
pub(crate) struct ViewedRegisters<'a>(pub(crate) &'a Views);

impl rules::Registers for ViewedRegisters<'_> {
    fn zone(&self, service: Option<&Id>, at: Timestamp) -> Tz {
        service.and_then(|service| self.0.service_tz(service, at)).unwrap_or(Tz::UTC)
    }

    fn record_kind(&self, activity: Option<&Id>, at: Timestamp) -> Option<Id> {
        self.0.activity_at(activity?, at)?.1.record_kind.clone()
    }
}

type Answers = Vec<Option<Result<Receipt, Error>>>;

impl App {
    /// Records events and answers for each, in order. The violations of events that could not
    /// be converted come in as they are and go out as refusals.
    pub async fn record(
        &self,
        caller: &Caller,
        events: Vec<Result<Event, Vec<FieldViolation>>>,
    ) -> Vec<Result<Receipt, Error>> {
        if self.views.lag() > LAG_LIMIT {
            return events.iter().map(|_| Err(VIEWS_TOO_FAR_BEHIND)).collect();
        }
        let mut answers: Answers = events.iter().map(|_| None).collect();
        let now = self.clock.now();
        let stated = self.check(caller, events, &mut answers);
        let new = self.answer_known(stated, &mut answers).await;
        let new = self.refuse_at_reserve(caller, new, &mut answers);
        let checked = self.complete(new, now, &mut answers);
        let (checked, _registering) = self.refuse_contradictions(caller, checked, now, &mut answers).await;
        if let Err(error) = self.may_grow() {
            // Nothing new; retries have their receipts.
            let places: Vec<usize> = checked.iter().map(|checked| checked.at).collect();
            fail_all(&mut answers, &places, error);
        } else if !checked.is_empty() {
            self.record_checked(caller, checked, now, &mut answers).await;
        }
        count(&answers);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(Error::internal("no_answer"))))
            .collect()
    }

    /// Records an event of custody's own about people whom no identifier need name, or about nobody. They
    /// stand first in it; whoever stands behind them is named by identifiers.
    pub(crate) async fn record_about(&self, event: Event, about: &[Arc<Holder>]) -> Result<Receipt, Error> {
        let now = self.clock.now();
        let fingerprint = self.fingerprinter.of(&event)?;
        let checked = Checked { at: 0, event: Box::new(event), fingerprint };
        let mut answers: Answers = vec![None];
        for new in self.answer_known(vec![checked], &mut answers).await {
            let (epoch, key) = self.keyring.active_index(now).map_err(|e| Error::fault("keyring", e))?;
            let mut people: Vec<Resolution> = about.iter().map(known).collect();
            let others = entries(&new.event, false, None).into_iter().skip(about.len()).collect::<Vec<_>>();
            if !others.is_empty() {
                people.extend(self.vault.resolve(others).await?);
            }
            let ready =
                self.seal_one(new, people, (now, Salt::random()?), &IndexKey::new(epoch, &key)).await?;
            self.append(vec![ready], &mut answers).await;
        }
        count(&answers);
        answers.pop().flatten().unwrap_or_else(|| Err(Error::internal("no_answer")))
    }

    /// The same of many events, each about one person, in one batch. Their ids are new.
    pub(crate) async fn record_about_each(
        &self,
        events: Vec<(Event, Arc<Holder>)>,
    ) -> Result<Vec<Receipt>, Error> {
        let now = self.clock.now();
        let (epoch, key) = self.keyring.active_index(now).map_err(|e| Error::fault("keyring", e))?;
        let key = IndexKey::new(epoch, &key);
        let _recording = self.recording.read().await;
        let mut answers: Answers = events.iter().map(|_| None).collect();
        let mut ready = Vec::with_capacity(events.len());
        for ((at, (event, holder)), salt) in events.into_iter().enumerate().zip(Salt::many(answers.len())?) {
            let fingerprint = self.fingerprinter.of(&event)?;
            let checked = Checked { at, event: Box::new(event), fingerprint };
            ready.push(self.seal_one(checked, vec![known(&holder)], (now, salt), &key).await?);
        }
        self.append(ready, &mut answers).await;
        count(&answers);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(Error::internal("no_answer"))))
            .collect()
    }

    async fn record_checked(
        &self,
        caller: &Caller,
        checked: Vec<Checked>,
        now: Timestamp,
        answers: &mut Answers,
    ) {
        let _keeping = match self.keeping(&checked).await {
            Ok(keeping) => keeping,
            Err(error) => {
                let places: Vec<usize> = checked.iter().map(|checked| checked.at).collect();
                return fail_all(answers, &places, error);
            }
        };
        let _recording = self.recording.read().await;
        match self.attribute_and_seal(caller, checked, now, answers).await {
            Ok(ready) => self.append(ready, answers).await,
            Err((places, error)) => fail_all(answers, &places, error),
        }
    }

    /// Held while what keeps data is recorded, so that nobody decides meanwhile that they go.
    async fn keeping(&self, checked: &[Checked]) -> Result<Option<Keeping<'_>>, Error> {
        let keeps = |one: &Checked| rules::keeps_data(one.event.body.event_type());
        if checked.iter().any(keeps) { self.keep().await.map(Some) } else { Ok(None) }
    }

    fn check(
        &self,
        caller: &Caller,
        events: Vec<Result<Event, Vec<FieldViolation>>>,
        answers: &mut Answers,
    ) -> Vec<Checked> {
        let mut passed = Vec::with_capacity(events.len());
        for (at, event) in events.into_iter().enumerate() {
            let checked = event.map_err(Error::Invalid).and_then(|event| {
                caller.may_emit(&event)?;
                // The fingerprint covers what was stated, so it comes before what the server adds.
                let fingerprint = self.fingerprinter.of(&event)?;
                Ok(Checked { at, event: Box::new(event), fingerprint })
            });
            match checked {
                Ok(checked) => passed.push(checked),
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        passed
    }

    /// Rules that need the clock or a register. Only for what is new: a retry gets its receipt
    /// however late it comes.
    fn complete(&self, new: Vec<Checked>, now: Timestamp, answers: &mut Answers) -> Vec<Checked> {
        let registers = ViewedRegisters(&self.views);
        let mut passed = Vec::with_capacity(new.len());
        for mut checked in new {
            match rules::complete(&mut checked.event, now, &registers) {
                Ok(()) => passed.push(checked),
                Err(error) => answers[checked.at] = Some(Err(error)),
            }
        }
        passed
    }

    /// At the disk's reserve only what custody itself records goes on, and what ends or holds the
    /// keeping of data: refusing these would keep what has to go.
    fn refuse_at_reserve(&self, caller: &Caller, new: Vec<Checked>, answers: &mut Answers) -> Vec<Checked> {
        if !self.reserve.is_reached() || caller.is_custody() {
            return new;
        }
        let (go_on, refused) = new.into_iter().partition(|checked| rules::goes_on_at_reserve(&checked.event));
        let refused: Vec<Checked> = refused;
        refused.iter().for_each(|checked| answers[checked.at] = Some(Err(DISK_AT_RESERVE)));
        go_on
    }

    /// Answers retries and conflicts before the vault is asked, so that a retry creates nothing.
    async fn answer_known(&self, checked: Vec<Checked>, answers: &mut Answers) -> Vec<Checked> {
        let ids: Vec<(Id, EventId)> =
            checked.iter().map(|c| (c.event.envelope.emitter.clone(), c.event.envelope.event_id)).collect();
        let found = match self.log.find(&ids).await {
            Ok(found) => found,
            Err(error) => {
                let places: Vec<usize> = checked.iter().map(|c| c.at).collect();
                fail_all(answers, &places, error.into());
                return Vec::new();
            }
        };
        let mut new = Vec::with_capacity(checked.len());
        for (checked, position) in checked.into_iter().zip(found) {
            match position {
                None => new.push(checked),
                Some(position) => answers[checked.at] = Some(self.existing(&checked, position).await),
            }
        }
        new
    }

    /// A retry gets its first receipt again, and what its event does to identity is done again,
    /// because the first attempt may have died in between.
    async fn existing(&self, checked: &Checked, position: u64) -> Result<Receipt, Error> {
        let stored = self
            .log
            .get(&[position])
            .await?
            .pop()
            .ok_or_else(|| Error::internal("position_without_record"))?;
        let header = Header::parse(&stored.header)?;
        if let Some(fingerprint) = self.stored_fingerprint(&header, &stored)?
            && fingerprint != checked.fingerprint
        {
            return Err(Error::Conflict { position });
        }
        let resolutions = self.vault.resolve(entries(&checked.event, false, None)).await?;
        let people: Vec<_> = resolutions.into_iter().map(|r| r.holder).collect();
        self.apply_to_vault(&checked.event, &people).await?;
        Ok(Receipt {
            event_id: checked.event.envelope.event_id,
            position,
            leaf_hash: record::leaf_hash(&stored.header),
            recorded_at: header.recorded_at,
            duplicate: true,
            attributed: people.iter().all(Option::is_some),
        })
    }

    /// The fingerprint from whichever index block is still there. Where all were purged or their
    /// epoch's key is gone, the id alone decides and the event counts as a retry.
    fn stored_fingerprint(
        &self,
        header: &Header<'_>,
        stored: &StoredRecord,
    ) -> Result<Option<Fingerprint>, Error> {
        for i in 0..header.parts.len() {
            let Some(Some(piece)) = stored.pieces.get(header.index_piece(i)) else { continue };
            let epoch = Header::index_epoch(piece)?;
            let Ok(key) = self.keyring.index_key(epoch) else { continue };
            return Ok(Some(header.open_index(i, piece, &IndexKey::new(epoch, &key))?.fp));
        }
        Ok(None)
    }

    async fn attribute_and_seal(
        &self,
        caller: &Caller,
        checked: Vec<Checked>,
        now: Timestamp,
        answers: &mut Answers,
    ) -> Result<Vec<Ready>, (Vec<usize>, Error)> {
        let places: Vec<usize> = checked.iter().map(|c| c.at).collect();
        let wanted: Vec<Entry> = checked
            .iter()
            .flat_map(|c| entries(&c.event, c.event.body.event_type().opens(), caller.home_realm()))
            .collect();
        let index_key = match self.keyring.active_index(now) {
            Ok((epoch, key)) => IndexKey::new(epoch, &key),
            Err(error) => return Err((places, Error::fault("keyring", error))),
        };
        let mut resolved = match self.vault.resolve(wanted).await {
            Ok(resolved) => resolved.into_iter(),
            Err(error) => return Err((places, error.into())),
        };
        let salts = match Salt::many(checked.len()) {
            Ok(salts) => salts,
            Err(error) => return Err((places, error.into())),
        };
        let mut ready = Vec::with_capacity(checked.len());
        for (checked, salt) in checked.into_iter().zip(salts) {
            let resolutions: Vec<Resolution> = resolved.by_ref().take(checked.event.people.len()).collect();
            let at = checked.at;
            match self.seal_one(checked, resolutions, (now, salt), &index_key).await {
                Ok(one) => ready.push(one),
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        Ok(ready)
    }

    async fn seal_one(
        &self,
        checked: Checked,
        resolutions: Vec<Resolution>,
        (now, salt): (Timestamp, Salt),
        index_key: &IndexKey,
    ) -> Result<Ready, Error> {
        let event = &checked.event;
        let organisation = self.organisation(&event.envelope.controller).await?;
        let matter = match matter::named_by(event) {
            Some(name) => Some(self.vault.holder_of(HolderKind::Matter, &name).await?),
            None => None,
        };
        let mut parties: Vec<Party<'_>> = event
            .people
            .iter()
            .zip(&resolutions)
            .map(|(person, resolution)| party(&*self.vault, person, resolution))
            .collect();
        if let Some(holder) = &matter {
            parties.push(Party {
                role: PartRole::Matter,
                keys: keys(holder),
                ids: Vec::new(),
                noted: Noted::default(),
            });
        }
        link_marks(&*self.vault, event, &resolutions, &mut parties);
        let how = Sealing {
            recorded_at: now,
            salt,
            fingerprint: checked.fingerprint,
            index_key,
            organisation: organisation
                .identity
                .as_ref()
                .ok_or_else(|| Error::internal("organisation_without_key"))?,
        };
        let sealed = record::seal(event, &parties, &how)?;
        let created = resolutions.iter().filter(|r| r.created).filter_map(|r| r.holder.clone()).collect();
        let people = resolutions.into_iter().map(|r| r.holder).collect();
        let leaf = sealed.leaf;
        Ok(Ready { sealed, sent: Sent { checked, leaf, recorded_at: now, created, people } })
    }

    async fn append(&self, ready: Vec<Ready>, answers: &mut Answers) {
        if ready.is_empty() {
            return;
        }
        let (batch, ready): (Vec<NewRecord>, Vec<Sent>) = ready
            .into_iter()
            .map(|Ready { sealed, sent }| {
                let envelope = &sent.checked.event.envelope;
                let (emitter, event_id) = (envelope.emitter.clone(), envelope.event_id);
                (NewRecord { emitter, event_id, header: sealed.header, pieces: sealed.pieces }, sent)
            })
            .unzip();
        let outcomes = match self.log.append(batch).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let places: Vec<usize> = ready.iter().map(|one| one.checked.at).collect();
                return fail_all(answers, &places, error.into());
            }
        };
        let mut seen = Vec::new();
        histogram!(metrics::RECORD_BATCH).record(ready.len() as f64);
        for (one, outcome) in ready.into_iter().zip(outcomes) {
            let at = one.checked.at;
            answers[at] = Some(match outcome {
                Outcome::Exists(position) => self.existing(&one.checked, position).await,
                Outcome::Appended(position) => {
                    seen.extend(one.created.iter().map(|holder| holder.subject));
                    self.apply_to_vault(&one.checked.event, &one.people)
                        .await
                        .map(|()| receipt(&one, position))
                }
            });
        }
        counter!(metrics::PEOPLE_CREATED).increment(seen.len() as u64);
        if !seen.is_empty()
            && let Err(error) = self.vault.confirm(&seen).await
        {
            // They stay pending; the hourly sweep finds them in the log and confirms them.
            tracing::warn!(people = seen.len(), error = %error, "people not confirmed yet");
        }
    }

    /// What a recorded event does to bindings. Idempotent, because a retry does it again.
    async fn apply_to_vault(&self, event: &Event, people: &[Option<Arc<Holder>>]) -> Result<(), Error> {
        let subject = |n: usize| people.get(n).and_then(|p| p.as_ref()).map(|holder| holder.subject);
        match &event.body {
            Body::IdentifierLinked(link) => {
                let (Some(first), Some(second)) = (subject(0), event.people.get(1)) else { return Ok(()) };
                let from = link.from.unwrap_or(event.envelope.occurred_at);
                for identifier in &second.identifiers {
                    self.vault.link(first, identifier, from, link.to).await?;
                }
            }
            Body::IdentifierUnlinked(link) => {
                let (Some(first), Some(second)) = (subject(0), event.people.get(1)) else { return Ok(()) };
                let to = link.to.unwrap_or(event.envelope.occurred_at);
                for identifier in &second.identifiers {
                    self.vault.unlink(first, identifier, to).await?;
                }
            }
            Body::SubjectsMerged(_) => {
                if let (Some(kept), Some(gone)) = (subject(0), subject(1)) {
                    self.vault.merge(kept, gone).await?;
                }
            }
            Body::SubjectsSplit(_) => {
                if let (Some(kept), Some(gone)) = (subject(0), subject(1)) {
                    self.vault.split(kept, gone).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Somebody who need not be looked up.
fn known(holder: &Arc<Holder>) -> Resolution {
    Resolution {
        holder: Some(Arc::clone(holder)),
        created: false,
        marks: Vec::new(),
        conflicts: Vec::new(),
        late_for_erased: false,
    }
}

fn count(answers: &Answers) {
    let receipts = || answers.iter().filter_map(|answer| answer.as_ref()?.as_ref().ok());
    let duplicates = receipts().filter(|receipt| receipt.duplicate).count();
    counter!(metrics::EVENTS_DUPLICATE).increment(duplicates as u64);
    counter!(metrics::EVENTS_RECORDED).increment((receipts().count() - duplicates) as u64);
}

fn receipt(one: &Sent, position: u64) -> Receipt {
    Receipt {
        event_id: one.checked.event.envelope.event_id,
        position,
        leaf_hash: one.leaf,
        recorded_at: one.recorded_at,
        duplicate: false,
        attributed: one.people.iter().all(Option::is_some),
    }
}

fn fail_all(answers: &mut Answers, places: &[usize], error: Error) {
    for at in places {
        answers[*at] = Some(Err(error.repeated()));
    }
}

/// One vault entry per person of an event. A retry opens nobody.
fn entries(event: &Event, opens: bool, home_realm: Option<&Id>) -> Vec<Entry> {
    let act = match &event.body {
        Body::AccountRegistered(_) if opens => Act::RegisterAccount,
        Body::AccountCancelled(_) => Act::CancelAccount,
        _ => Act::None,
    };
    let entry = |person: &Person| {
        let about = person.role == Role::DataSubject;
        Entry {
            identifiers: person.identifiers.clone(),
            home_realm: home_realm.cloned(),
            occurred_at: event.envelope.occurred_at,
            // Staff, guardians and contacts become people wherever they are first named.
            opens: opens || !about,
            act: if about { act } else { Act::None },
        }
    };
    event.people.iter().map(entry).collect()
}

fn party<'a>(vault: &dyn Vault, person: &Person, resolution: &'a Resolution) -> Party<'a> {
    let mut ids = Vec::new();
    for (identifier, marked) in person.identifiers.iter().zip(&resolution.marks) {
        let usage = match marked.usage {
            Use::Bound => MarkUse::Bind,
            Use::Seen => MarkUse::Seen,
            Use::Unattributed => MarkUse::Named,
            Use::Known => continue,
        };
        ids.extend(every_mark(vault, identifier, marked, usage));
    }
    let keys = resolution.holder.as_deref().and_then(keys);
    Party { role: PartRole::Person(person.role), keys, ids, noted: noted(person, resolution) }
}

/// What only the vault saw of an entry, for the record to tell.
fn noted(person: &Person, resolution: &Resolution) -> Noted {
    let mut kinds = Vec::new();
    for conflict in &resolution.conflicts {
        match conflict {
            Conflict::Strong(won, lost) => kinds.extend([*won, *lost]),
            Conflict::ContactRebound(kind) => kinds.push(*kind),
        }
    }
    let concerned = person.identifiers.iter().filter(|identifier| kinds.contains(&identifier.kind));
    let realms = concerned.filter_map(|identifier| identifier.realm.clone()).collect();
    let mut noted = Noted::default();
    noted.add(&Noted { late: resolution.late_for_erased, kinds, realms });
    noted
}

/// An identifier's mark, and those under the other living look-up keys where it binds or waits to be
/// bound: what waits from before a new key finds its person while both live.
fn every_mark(
    vault: &dyn Vault,
    identifier: &Identifier,
    marked: &Marked,
    usage: MarkUse,
) -> impl Iterator<Item = IndexMark> + use<> {
    let others = if usage == MarkUse::Seen { Vec::new() } else { vault.marks(identifier) };
    let first = marked.mark;
    let others = others.into_iter().filter(move |mark| *mark != first);
    let kind = marked.kind;
    std::iter::once(first).chain(others).map(move |mark| IndexMark { kind, mark, usage })
}

/// Organisations and matters have one key, which then stands for all.
fn keys(holder: &Holder) -> Option<Keys<'_>> {
    let identity: &Zeroizing<[u8; 32]> = holder.identity.as_ref()?;
    Some(Keys {
        subject: holder.subject,
        link: &holder.link,
        year: Some(&holder.year),
        identity,
        evidence: holder.evidence.as_ref().unwrap_or(identity),
    })
}

/// A link binds the identifiers of the second person to the first: the views learn it from the
/// first part, so that what waits unattributed under them finds its person.
fn link_marks(vault: &dyn Vault, event: &Event, resolutions: &[Resolution], parties: &mut [Party<'_>]) {
    let (Body::IdentifierLinked(_), [_, person, ..]) = (&event.body, event.people.as_slice()) else { return };
    if let ([_, second, ..], [first, ..]) = (resolutions, parties) {
        for (identifier, marked) in person.identifiers.iter().zip(&second.marks) {
            first.ids.extend(every_mark(vault, identifier, marked, MarkUse::Bind));
        }
    }
}

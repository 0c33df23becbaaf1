//! Erasing people (DESIGN 7): what was begun is carried through, whatever happens in between.
//!
//! The order: the work is written down; *accepted* stands in the log, with the person's last tag; the
//! tomb lies in the outside copy; look-ups are detached and keys destroyed; pieces are purged; rows of
//! the views and kept exports are removed; *erased* stands in the log; the work file is removed. From
//! *accepted* to the end of the keys nobody records anything, so that none of it slips between. Each step
//! may be done twice, so a crash at any of them is resumed by doing all of them again, before anything is
//! served.
//!
//! What proves consents and cases stays until its clock ends (`domain/erasure.rs`), unless it is to go
//! too; it is shown in a dispute only (`evidence.rs`).
//!
//! Promises: from *accepted* on nobody is told anything else about the person; what is destroyed is in no
//! file of the data directory when *erased* is recorded. Not promised: copies elsewhere. A keyed mark
//! of each identifier stays for 90 days, by which a late event is known for one. While the work goes
//! on, the person's handle and the places of its pieces lie in `erasures/`.

mod certificate;
mod evidence;
mod letter;
mod needless;
mod others;
mod rest;
mod sealed;
mod steps;
mod tallies;
mod tombs;
mod work;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::own::event_id;
use crate::app::subjects::Name;
use crate::domain::erasure::evidence_until;
use crate::domain::event::{FindingTally, IdentityErasureCause, TransferTally};
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::time::Timestamp;
pub use certificate::Certificate;
pub use evidence::KeptEvidence;
pub use steps::Step;
pub use tombs::Tombs;
use work::{Found, Work};

/// What was done to one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub tomb: Digest,
    pub accepted: u64,
    /// Where it stands that the erasure, or the end of the evidence, is done.
    pub erased: u64,
    pub times: Times,
    /// Until when what proves something is kept; `None`: nothing is.
    pub kept_until: Option<Timestamp>,
    /// Sealed parts and index blocks.
    pub pieces: u64,
}

/// When keys were destroyed; when pieces and rows were gone; when the last backup that holds the keys is
/// worthless, at the latest, if keys are replaced at all.
pub type Times = (Timestamp, Timestamp, Option<Timestamp>);

/// How long an erasure waits for the views.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where erasures in the making and the tombs of those that were made lie.
pub struct Erasures {
    work: PathBuf,
    tombs: Tombs,
    /// How long a key-encryption key lives from its first use to its end.
    kek_life_ms: Option<i64>,
    /// One set of people at a time.
    one: tokio::sync::Mutex<()>,
    /// Why the last try to carry one through failed.
    failing: Mutex<Option<String>>,
    /// Every tomb was found in this log, or everything of its person removed from it.
    at_rest: AtomicBool,
}

impl Erasures {
    /// Below the data directory, and in the outside copy.
    pub fn new(work: PathBuf, tombs: Tombs, kek_life_ms: Option<i64>) -> Erasures {
        Erasures {
            work,
            tombs,
            kek_life_ms,
            one: tokio::sync::Mutex::default(),
            failing: Mutex::default(),
            at_rest: AtomicBool::new(false),
        }
    }

    /// When the last backup that holds keys destroyed now is worthless, at the latest.
    fn beyond_backups(&self, shredded_at: Timestamp) -> Option<Timestamp> {
        self.kek_life_ms.map(|life| shredded_at.plus_ms(life))
    }

    /// Nobody is erased, and nothing purged, while the answer is held. Waits for an erasure that is
    /// under way.
    pub(crate) async fn pause(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.one.lock().await
    }

    /// The same, if nobody is at it and no backup is being read.
    pub(crate) fn try_pause(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.one.try_lock().ok()
    }

    /// Why people are not erased to the end, if there are any.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What lies in `erasures/`; `None` while somebody is at it, so that all of it is in the making.
    pub(crate) fn survey(&self) -> io::Result<Option<Vec<Found>>> {
        let Ok(_one) = self.one.try_lock() else { return Ok(None) };
        Work::survey(&self.work).map(Some)
    }

    /// The same, whoever is at it.
    pub(crate) fn begun(&self) -> io::Result<Vec<Found>> {
        Work::survey(&self.work)
    }

    /// What lies in the outside copy's `tombs`.
    pub(crate) fn tombs(&self) -> &Tombs {
        &self.tombs
    }

    fn note(&self, failing: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}

/// Why, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub cause: IdentityErasureCause,
    pub case_id: Option<Id>,
    /// What proves consents and cases goes too.
    pub evidence_too: bool,
}

type Watch = dyn FnMut(Step) -> Result<(), Error> + Send;

impl App {
    /// Erases people with everybody merged into them, and returns when nothing of them is left but what
    /// proves consents and cases. Goes on if nobody waits for it.
    pub async fn erase(
        self: &Arc<Self>,
        caller: &Caller,
        names: &[Name],
        reason: Reason,
    ) -> Result<Vec<Erasure>, Error> {
        self.erase_watched(caller, names, reason, |_| Ok(())).await
    }

    /// `watch` is told each step that is done; where it fails the work stays as a crash would leave it.
    pub(crate) async fn erase_watched(
        self: &Arc<Self>,
        caller: &Caller,
        names: &[Name],
        reason: Reason,
        mut watch: impl FnMut(Step) -> Result<(), Error> + Send + 'static,
    ) -> Result<Vec<Erasure>, Error> {
        self.may_grow()?;
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let works = self.works(caller, names, &reason).await?;
        let app = Arc::clone(self);
        let erasing = tokio::spawn(async move {
            let _one = app.erasures.one.lock().await;
            let done = app.erase_all(works, &mut watch).await;
            app.note_erasing(&done);
            done
        });
        erasing.await.map_err(|died| Error::fault("erasure_died", died))?
    }

    async fn erase_all(&self, works: Vec<Work>, watch: &mut Watch) -> Result<Vec<Erasure>, Error> {
        let (mut people, mut proofs) = (Vec::new(), Vec::new());
        for work in works {
            if work.evidence_only {
                proofs.push(self.write_evidence_down(work).await?);
            } else {
                people.push(self.write_down(work).await?);
            }
        }
        watch(Step::WrittenDown)?;
        let mut done = self.carry_through(people, watch).await?;
        done.extend(self.end_evidence(proofs, watch).await?);
        Ok(done)
    }

    /// Whom the names mean: people with those merged into them, and, where evidence is to go too, those
    /// of whom nothing else is left.
    async fn works(&self, caller: &Caller, names: &[Name], reason: &Reason) -> Result<Vec<Work>, Error> {
        let mut works: BTreeMap<SubjectId, Work> = BTreeMap::new();
        for name in names {
            let (members, kept) = match self.members(name).await {
                Err(Error::SubjectNotFound) if reason.evidence_too => (Vec::new(), self.kept_of(name).await?),
                members => (members?, Vec::new()),
            };
            for (subject, first) in members.iter().zip(std::iter::once(true).chain(std::iter::repeat(false)))
            {
                let mut work = self.work(*subject, &caller.name, reason)?;
                if !reason.evidence_too {
                    work.keep_until = Some(self.evidence_until());
                }
                if first {
                    // Those merged count as one.
                    (work.tallies, work.findings) = self.tallies(*subject, members.clone()).await?;
                }
                works.entry(*subject).or_insert(work);
            }
            for subject in kept {
                works.entry(subject).or_insert(self.work(subject, &caller.name, reason)?.of_evidence());
            }
        }
        Ok(works.into_values().collect())
    }

    /// A person, and those merged into it.
    async fn members(&self, name: &Name) -> Result<Vec<SubjectId>, Error> {
        // The handle of somebody who was erased names nobody.
        let subject = self.vault.holder(self.who(name, None).await?).await?.subject;
        let group = self.ask(move |ask| Ok(ask.group(subject, u64::MAX)?)).await?;
        Ok(group.map_or_else(|| vec![subject], |group| group.members.into_iter().collect()))
    }

    fn work(&self, subject: SubjectId, requester: &Id, reason: &Reason) -> Result<Work, Error> {
        let now = self.clock.now();
        let events = (event_id(now)?, event_id(now)?);
        let mut work = Work::new(subject, requester.clone(), reason.cause, events);
        work.case_id = reason.case_id.clone();
        Ok(work)
    }

    async fn tallies(
        &self,
        canonical: SubjectId,
        members: Vec<SubjectId>,
    ) -> Result<(Vec<TransferTally>, Vec<FindingTally>), Error> {
        self.ask(move |ask| {
            let mut transfers = Vec::new();
            for member in members {
                transfers.extend(ask.transfers_of(member)?);
            }
            let transfers = tallies::of(&transfers);
            let findings = tallies::of_findings(&ask.findings_about(canonical)?, transfers.len());
            Ok((transfers, findings))
        })
        .await
    }

    /// What was recorded last about somebody who is erased now is the erasure.
    fn evidence_until(&self) -> Timestamp {
        evidence_until(self.clock.now(), self.house.home_country)
    }

    /// Carries through what was interrupted, unless somebody is at it. What fails is an alarm, and is
    /// tried again; nobody is kept from being served by it, because from *accepted* on nothing about
    /// the person is.
    pub async fn resume_erasures(&self) {
        let Ok(_one) = self.erasures.one.try_lock() else { return };
        let resumed = async {
            let begun = self.on_erasures(|erasures| Work::all(&erasures.work)).await?;
            if !begun.is_empty() {
                tracing::warn!(people = begun.len(), "erasures that were interrupted are carried through");
                let (proofs, people) = begun.into_iter().partition(|work| work.evidence_only);
                self.carry_through(people, &mut |_| Ok(())).await?;
                self.end_evidence(proofs, &mut |_| Ok(())).await?;
            }
            self.lay_to_rest().await?;
            self.end_evidence_in_time().await
        };
        self.note_erasing(&resumed.await);
    }

    fn note_erasing<T>(&self, done: &Result<T, Error>) {
        if let Err(why) = done {
            let chain = why.chain().unwrap_or_default();
            tracing::error!(reason = why.reason(), error = %why, chain, "an erasure is not carried through");
        }
        self.erasures.note(done.as_ref().err().map(ToString::to_string));
    }

    pub(crate) async fn on_erasures<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Erasures) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let erasures = Arc::clone(&self.erasures);
        let done = tokio::task::spawn_blocking(move || act(&erasures)).await;
        let done = done.map_err(|died| Error::fault("erasures_died", died))?;
        done.map_err(|why| Error::fault("erasure_files", why))
    }
}

//! Erasing people (DESIGN 7): what was begun is carried through, whatever happens in between.
//!
//! The order: the work is written down; *accepted* stands in the log, with the person's last tag; the
//! tomb lies in the outside copy; look-ups are detached and keys destroyed; records in flight are
//! waited for; pieces are purged; rows of the views and kept exports are removed; *erased* stands in
//! the log; the work file is removed. Each step may be done twice, so a crash at any of them is
//! resumed by doing all of them again, before anything is served.
//!
//! Promises: from *accepted* on nobody is told anything about the person; what is destroyed is in no
//! file of the data directory when *erased* is recorded. Not promised: copies elsewhere. A keyed mark
//! of each identifier stays for 90 days, by which a late event is known for one. While the work goes
//! on, the person's handle and the places of its pieces lie in `erasures/`.

mod steps;
mod tombs;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::error::Error;
use crate::app::subjects::Name;
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::{Digest, Id, SubjectId};
use crate::domain::time::Timestamp;
pub use steps::Step;
pub use tombs::Tombs;
use work::Work;

/// What was done to one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub tomb: Digest,
    pub accepted: u64,
    pub erased: u64,
    pub shredded_at: Timestamp,
    pub purged_at: Timestamp,
    /// Sealed parts and index blocks.
    pub pieces: u64,
}

/// How long an erasure waits for the views.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where erasures in the making and the tombs of those that were made lie.
pub struct Erasures {
    work: PathBuf,
    tombs: Tombs,
    /// One set of people at a time.
    one: tokio::sync::Mutex<()>,
    /// Why the last try to carry one through failed.
    failing: Mutex<Option<String>>,
}

impl Erasures {
    /// Below the data directory, and in the outside copy.
    pub fn new(work: PathBuf, tombs: Tombs) -> Erasures {
        Erasures { work, tombs, one: tokio::sync::Mutex::default(), failing: Mutex::default() }
    }

    /// Why people are not erased to the end, if there are any.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
}

impl App {
    /// Erases people with everybody merged into them, and returns when nothing of them is left. Goes
    /// on if nobody waits for it.
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
        let mut subjects: Vec<SubjectId> = Vec::new();
        for name in names {
            let subject = self.who(name, None).await?;
            // The handle of somebody who was erased names nobody.
            let subject = self.vault.holder(subject).await?.subject;
            let group = self.ask(move |ask| Ok(ask.group(subject, u64::MAX)?)).await?;
            subjects.extend(group.map_or_else(|| [subject].into(), |group| group.members));
        }
        subjects.sort_unstable();
        subjects.dedup();
        let (app, requester) = (Arc::clone(self), caller.name.clone());
        let erasing = tokio::spawn(async move {
            let _one = app.erasures.one.lock().await;
            let mut begun = Vec::with_capacity(subjects.len());
            for subject in subjects {
                begun.push(app.write_down(subject, &requester, &reason).await?);
            }
            watch(Step::WrittenDown)?;
            let done = app.carry_through(begun, &mut watch).await;
            app.note_erasing(&done);
            done
        });
        erasing.await.map_err(|died| Error::fault("erasure_died", died))?
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
                self.carry_through(begun, &mut |_| Ok(())).await?;
            }
            Ok(())
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

    /// Destroys again what an older vault brought back. To be called before anything is served.
    pub async fn bury_the_erased(&self) -> Result<(), Error> {
        let tombs = self.on_erasures(|erasures| erasures.tombs.all()).await?;
        let buried = self.vault.bury(&tombs).await?;
        if buried > 0 {
            tracing::warn!(people = buried, "people of an older vault had been erased since: they are again");
        }
        Ok(())
    }

    async fn on_erasures<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Erasures) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let erasures = Arc::clone(&self.erasures);
        let done = tokio::task::spawn_blocking(move || act(&erasures)).await;
        let done = done.map_err(|died| Error::fault("erasures_died", died))?;
        done.map_err(|why| Error::fault("erasure_files", why))
    }
}

//! What proves consents and cases of the erased: shown in a dispute, gone when its time is over.

use crate::app::App;
use crate::app::access::Caller;
use crate::app::erase::steps::Step;
use crate::app::erase::work::Work;
use crate::app::erase::{Erasure, PATIENCE, Reason, Watch};
use crate::app::error::Error;
use crate::app::own::Opening;
use crate::app::subjects::{Evidence, Name};
use crate::domain::event::catalogue::KeyDestroyed;
use crate::domain::event::{Body, IdentityErasureCause, KeyClass};
use crate::domain::id::{Digest, SubjectId};
use crate::domain::time::Timestamp;
use crate::record::tomb;

/// People whose evidence ends in one go.
const AT_ONCE: usize = 100;

/// What is kept of one erased person.
#[derive(Debug)]
pub struct KeptEvidence {
    pub subject: SubjectId,
    pub tomb: Digest,
    pub until: Timestamp,
    /// Oldest first.
    pub events: Vec<Evidence>,
}

impl App {
    /// What proves consents and cases of an erased person, for a dispute. That it is read is recorded
    /// first.
    pub async fn kept_evidence(
        &self,
        caller: &Caller,
        name: &Name,
        opening: &Opening,
    ) -> Result<Vec<KeptEvidence>, Error> {
        caller.may_open()?;
        let mut found = Vec::new();
        for subject in self.kept_of(name).await? {
            let (holder, until) = self.vault.evidence_holder(subject).await?;
            let views = self.ask(move |ask| Ok(ask.evidence_of(subject)?)).await?;
            found.push((subject, until, holder, views));
        }
        let rows = found.iter().map(|(.., views)| views.len() as u64).sum();
        self.record_read(caller, "ListKeptEvidence", opening, rows, found.len() as u64).await?;
        let mut kept = Vec::with_capacity(found.len());
        for (subject, until, holder, views) in found {
            let mut events = Vec::with_capacity(views.len());
            for view in views {
                events.push(self.open_kept(view, &holder)?);
            }
            kept.push(KeptEvidence { subject, tomb: tomb(subject), until, events });
        }
        Ok(kept)
    }

    /// Erased people of whom something is kept.
    pub(super) async fn kept_of(&self, name: &Name) -> Result<Vec<SubjectId>, Error> {
        let kept = match name {
            Name::Subject(subject) => {
                self.vault.evidence_holder(*subject).await?;
                vec![*subject]
            }
            Name::Identifier(identifier) => self.vault.evidence_of(identifier).await?,
        };
        if kept.is_empty() { Err(Error::SubjectNotFound) } else { Ok(kept) }
    }

    pub(super) async fn write_evidence_down(&self, mut work: Work) -> Result<Work, Error> {
        let subject = work.subject;
        let pieces = self.ask(move |ask| Ok(ask.evidence_pieces(subject)?)).await?;
        work.add(&pieces, 0);
        self.on_erasures(move |erasures| work.write(&erasures.work)).await
    }

    /// Destroys evidence whose time is over.
    pub(super) async fn end_evidence_in_time(&self) -> Result<(), Error> {
        if self.views.stale().is_some() || self.may_grow().is_err() {
            // Where it stands is not known yet, or the end of it could not be recorded.
            return Ok(());
        }
        let mut over = self.vault.evidence_over(self.clock.now()).await?;
        if over.is_empty() {
            return Ok(());
        }
        over.truncate(AT_ONCE);
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let reason = Reason { cause: IdentityErasureCause::Retention, case_id: None, evidence_too: true };
        let mut works = Vec::with_capacity(over.len());
        for subject in over {
            let work = self.work(subject, &self.house.group, &reason)?.of_evidence();
            works.push(self.write_evidence_down(work).await?);
        }
        self.end_evidence(works, &mut |_| Ok(())).await.map(drop)
    }

    /// The same steps as for a whole person, as far as there is anything left to do.
    pub(super) async fn end_evidence(
        &self,
        begun: Vec<Work>,
        watch: &mut Watch,
    ) -> Result<Vec<Erasure>, Error> {
        if begun.is_empty() {
            return Ok(Vec::new());
        }
        for work in &begun {
            let (tomb, left) = (work.tomb(), work.left());
            self.on_erasures(move |erasures| erasures.tombs.keep(&tomb, left)).await?;
            watch(Step::Buried)?;
        }
        let subjects: Vec<SubjectId> = begun.iter().map(|work| work.subject).collect();
        self.vault.destroy(&subjects).await?;
        let shredded_at = self.clock.now();
        watch(Step::Shredded)?;
        for work in &begun {
            self.log.purge(&work.pieces()).await?;
            watch(Step::Purged)?;
        }
        self.remove_exports().await?;
        let times = (shredded_at, self.clock.now(), self.erasures.beyond_backups(shredded_at));
        watch(Step::Renewed)?;
        let mut done = Vec::with_capacity(begun.len());
        for work in begun {
            let erased = self.evidence_ended(&work).await?;
            watch(Step::Erased)?;
            self.views.wait_for(erased + 1, PATIENCE).await?;
            let (tomb, pieces) = (work.tomb(), work.pieces().len() as u64);
            let row = self.ask(move |ask| Ok(ask.erased(tomb)?)).await?;
            let accepted = row.and_then(|row| row.accepted).unwrap_or(erased);
            self.on_erasures(move |erasures| work.done(&erasures.work)).await?;
            done.push(Erasure { tomb, accepted, erased, times, kept_until: None, pieces });
        }
        tracing::info!(people = done.len(), "evidence of erased people destroyed");
        Ok(done)
    }

    async fn evidence_ended(&self, work: &Work) -> Result<u64, Error> {
        if let Some(position) = self.recorded(work.erased).await? {
            return Ok(position);
        }
        let reason = work.cause().map(|cause| cause.as_str().parse()).transpose();
        let body = KeyDestroyed {
            class: Some(KeyClass::Evidence),
            reason: reason.map_err(|_| Error::internal("erasure_cause"))?,
            tomb: Some(work.tomb()),
            ..Default::default()
        };
        Ok(self.record_own_about(work.erased, Body::KeyDestroyed(Box::new(body)), None).await?.position)
    }
}

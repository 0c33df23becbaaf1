//! The steps of an erasure, each of which may be done twice.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::app::erase::work::Work;
use crate::app::erase::{Erasure, PATIENCE, Times};
use crate::app::error::Error;
use crate::app::fleet::Turn;
use crate::app::own::EMITTER;
use crate::domain::event::catalogue::{IdentityErased, IdentityErasureAccepted};
use crate::domain::event::{Body, List};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::log::PieceRef;
use crate::record::{Header, IndexKey};
use crate::verify::Level;
use crate::views::Views;
use crate::{vault, views};

/// How soon views are asked again that are being rebuilt.
const BUSY: Duration = Duration::from_secs(1);
/// Records looked at in one go.
const CHUNK: usize = 1_000;
const CHUNK_BYTES: usize = 4 << 20;

/// What is done of an erasure, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    WrittenDown,
    Accepted,
    /// The tomb lies in the outside copy.
    Buried,
    /// Look-ups are detached, keys destroyed.
    Shredded,
    /// Sealed parts and index blocks are zeros.
    Purged,
    /// The views' files are written anew, exports that could hold parts removed.
    Renewed,
    Erased,
}

impl Step {
    pub const ALL: [Step; 7] = [
        Step::WrittenDown,
        Step::Accepted,
        Step::Buried,
        Step::Shredded,
        Step::Purged,
        Step::Renewed,
        Step::Erased,
    ];
}

/// Says nothing of by what.
pub(super) fn held_back() -> Error {
    let why = "something has to be kept for now, so that nobody was erased".to_owned();
    Error::Precondition { reason: "held", why }
}

/// Writes the views' files anew. Where the loss of power brought rows back whose erasure can no longer
/// be read from the log, they are made from the log.
fn renew(views: &Arc<Views>, subjects: &[SubjectId]) -> Result<(), views::Error> {
    for subject in subjects {
        if views.subject_known(*subject)? {
            return views.rebuild(|_| true).map(drop);
        }
    }
    views.scrub()
}

impl App {
    /// Finds everything that is the person's, and writes down what is to be done.
    pub(super) async fn write_down(&self, mut work: Work) -> Result<Work, Error> {
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        self.gather(&mut work).await?;
        self.on_erasures(move |erasures| work.write(&erasures.work)).await
    }

    /// Adds the pieces recorded since the work was last looked at; says how many.
    async fn gather(&self, work: &mut Work) -> Result<usize, Error> {
        let (subject, from, keep) = (work.subject, work.seen_to, work.keep_until.is_some());
        let found = self.ask(move |ask| Ok((ask.pieces_of(subject, from, keep)?, ask.applied))).await?;
        work.add(&found.0, found.1);
        Ok(found.0.len())
    }

    /// Everything from *accepted* to *erased*, for all of them together: the views' files are written
    /// anew once.
    pub(super) async fn carry_through(
        &self,
        mut begun: Vec<Work>,
        watch: &mut (dyn FnMut(Step) -> Result<(), Error> + Send),
    ) -> Result<Vec<Erasure>, Error> {
        if begun.is_empty() {
            return Ok(Vec::new());
        }
        let (accepted, barrier) = self.shred(&mut begun, watch).await?;
        let shredded_at = self.clock.now();
        // They find the person's rows by what is about to be purged.
        self.views.wait_for(barrier, PATIENCE).await?;
        let mut pieces = Vec::with_capacity(begun.len());
        for (work, accepted) in begun.iter().zip(&accepted) {
            pieces.push(self.purge(work, *accepted, barrier).await?);
            watch(Step::Purged)?;
        }
        let subjects: Vec<SubjectId> = begun.iter().map(|work| work.subject).collect();
        self.renew_views(&subjects).await?;
        self.remove_exports().await?;
        let purged_at = self.clock.now();
        watch(Step::Renewed)?;
        let mut done = Vec::with_capacity(begun.len());
        for ((work, accepted), pieces) in begun.into_iter().zip(accepted).zip(pieces) {
            let beyond_backups_at = self.erasures.beyond_backups(shredded_at);
            let erased = self.complete_erasure(&work, (shredded_at, purged_at, beyond_backups_at)).await?;
            watch(Step::Erased)?;
            let (tomb, kept_until) = (work.tomb(), work.keep_until);
            self.on_erasures(move |erasures| work.done(&erasures.work)).await?;
            let times = (shredded_at, purged_at, beyond_backups_at);
            done.push(Erasure { tomb, accepted, erased, times, kept_until, pieces });
        }
        tracing::info!(people = done.len(), "people erased");
        Ok(done)
    }

    /// From *accepted* to the end of the keys, while nobody records anything here: what the views find of the
    /// people then is everything, and nothing is attributed to them afterwards. Says where each *accepted*
    /// stands, and the position below which everything about them lies.
    async fn shred(
        &self,
        begun: &mut Vec<Work>,
        watch: &mut (dyn FnMut(Step) -> Result<(), Error> + Send),
    ) -> Result<(Vec<u64>, u64), Error> {
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let _nobody_keeps = self.fleet.exclude(Turn::Keep).await?;
        let _nobody_records = self.recording.write().await;
        self.views.wait_for(self.log.latest().await?, PATIENCE).await?;
        self.leave_out_held(begun).await?;
        let mut accepted = Vec::with_capacity(begun.len());
        for work in begun.iter_mut() {
            accepted.push(match self.recorded(work.accepted).await? {
                Some(position) => position,
                None => {
                    if self.gather(work).await? > 0 {
                        let work = work.clone();
                        self.on_erasures(move |erasures| work.rewrite(&erasures.work)).await?;
                    }
                    self.accept(work).await?
                }
            });
            watch(Step::Accepted)?;
            let (tomb, left) = (work.tomb(), work.left());
            self.on_erasures(move |erasures| erasures.tombs.keep(&tomb, left)).await?;
            watch(Step::Buried)?;
        }
        let (kept, gone): (Vec<&Work>, Vec<&Work>) = begun.iter().partition(|work| work.keep_until.is_some());
        let gone: Vec<SubjectId> = gone.iter().map(|work| work.subject).collect();
        let kept: Vec<_> = kept.iter().filter_map(|work| Some((work.subject, work.keep_until?))).collect();
        if !gone.is_empty() {
            self.vault.destroy(&gone).await?;
        }
        if !kept.is_empty() {
            self.vault.detach(&kept).await?;
        }
        watch(Step::Shredded)?;
        // Other nodes use what they remember of the people no more; what they were recording is in the log.
        self.vault.forgotten_everywhere().await?;
        Ok((accepted, self.log.latest().await?))
    }

    /// Whoever is under a hold by now is not erased, unless that has begun already (GDPR 17(3)(e), 18(2); PIPL 47).
    async fn leave_out_held(&self, begun: &mut Vec<Work>) -> Result<(), Error> {
        let (now, subjects) = (self.clock.now(), begun.iter().map(|work| work.subject).collect::<Vec<_>>());
        let held = self.ask(move |ask| Ok(ask.held_among(&subjects, now)?)).await?;
        for work in std::mem::take(begun) {
            if held.contains(&work.subject) && self.recorded(work.accepted).await?.is_none() {
                self.on_erasures(move |erasures| work.done(&erasures.work)).await?;
            } else {
                begun.push(work);
            }
        }
        if begun.is_empty() { Err(held_back()) } else { Ok(()) }
    }

    /// The last event with the person's tag.
    async fn accept(&self, work: &Work) -> Result<u64, Error> {
        let holder = match self.vault.holder(work.subject).await {
            Ok(holder) => Some(holder),
            // Destroyed by hand or by a tomb: there is no tag any more, and nothing else to say.
            Err(vault::Error::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let body = IdentityErasureAccepted {
            tomb: Some(work.tomb()),
            cause: work.cause(),
            scope: Some(work.scope()),
            case_id: work.case_id.clone(),
        };
        let body = Body::IdentityErasureAccepted(Box::new(body));
        Ok(self.record_own_about(work.accepted, body, holder).await?.position)
    }

    /// Where an event of custody's own stands, if it was recorded.
    pub(crate) async fn recorded(&self, id: EventId) -> Result<Option<u64>, Error> {
        let emitter: Id = EMITTER.parse().map_err(|_| Error::internal("own_emitter"))?;
        Ok(self.log.find(&[(emitter, id)]).await?.pop().flatten())
    }

    /// Purges what was known to be the person's, and what was recorded since. What follows *accepted* is
    /// nobody's, whatever it says.
    async fn purge(&self, work: &Work, accepted: u64, barrier: u64) -> Result<u64, Error> {
        let mut pieces = work.pieces();
        let mut next = work.seen_to;
        while next < barrier {
            let most = usize::try_from(barrier - next).unwrap_or(CHUNK).min(CHUNK);
            let records = self.log.read(next, most, CHUNK_BYTES).await?;
            let Some(last) = records.last() else { return Err(Error::internal("log_ends_early")) };
            next = last.position + 1;
            for record in &records {
                let keep = work.keep_until.is_some() && record.position <= accepted;
                pieces.extend(self.pieces_about(work.subject, record, keep)?);
            }
        }
        let count = pieces.len() as u64;
        self.log.purge(&pieces).await?;
        Ok(count)
    }

    /// The pieces of a record's parts that are a person's, by its index blocks.
    fn pieces_about(
        &self,
        subject: SubjectId,
        record: &crate::log::StoredRecord,
        keep_evidence: bool,
    ) -> Result<Vec<PieceRef>, Error> {
        let header = Header::parse(&record.header)?;
        let mut pieces = Vec::new();
        for i in 0..header.parts.len() {
            let Some(Some(block)) = record.pieces.get(header.index_piece(i)) else { continue };
            let epoch = Header::index_epoch(block)?;
            let Ok(key) = self.keyring.index_key(epoch) else { continue };
            let block = header.open_index(i, block, &IndexKey::new(epoch, &key))?;
            if block.subject == Some(subject) {
                let (gone, position) = (header.pieces_to_purge(i, keep_evidence), record.position);
                pieces.extend(gone.map(|piece| PieceRef { position, piece }));
            }
        }
        Ok(pieces)
    }

    /// Rows that were removed stay in the views' files until these are written anew.
    pub(super) async fn renew_views(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        let renewing = async {
            loop {
                let (views, subjects) = (Arc::clone(&self.views), subjects.to_vec());
                let renewed = tokio::task::spawn_blocking(move || renew(&views, &subjects)).await;
                match renewed.map_err(|died| Error::fault("scrub_died", died))? {
                    Err(views::Error::Busy) => tokio::time::sleep(BUSY).await,
                    renewed => return Ok::<(), Error>(renewed?),
                }
            }
        };
        tokio::time::timeout(PATIENCE, renewing).await.unwrap_or(Err(views::Error::Busy.into()))
    }

    /// Exports with parts may hold anybody's.
    pub(super) async fn remove_exports(&self) -> Result<(), Error> {
        for export in self.exports().into_iter().filter(|export| export.level != Level::Headers) {
            match self.delete_export(&export.id).await {
                Ok(()) | Err(Error::ExportNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        // One that was being made ends when it sees that it is gone, and leaves nothing.
        self.exports.nothing_is_made().await
    }

    async fn complete_erasure(
        &self,
        work: &Work,
        (shredded_at, purged_at, beyond_backups_at): Times,
    ) -> Result<u64, Error> {
        if let Some(position) = self.recorded(work.erased).await? {
            return Ok(position);
        }
        let body = IdentityErased {
            tomb: Some(work.tomb()),
            scope: Some(work.scope()),
            shredded_at: Some(shredded_at),
            purged_at: Some(purged_at),
            beyond_backups_at,
            transfer_tallies: List::new(work.tallies.clone()).ok_or_else(|| Error::internal("tallies"))?,
            finding_tallies: List::new(work.findings.clone()).ok_or_else(|| Error::internal("tallies"))?,
        };
        Ok(self.record_own_about(work.erased, Body::IdentityErased(Box::new(body)), None).await?.position)
    }
}

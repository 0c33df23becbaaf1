//! The steps of an erasure, each of which may be done twice.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::app::erase::work::Work;
use crate::app::erase::{Erasure, PATIENCE, Reason};
use crate::app::error::Error;
use crate::app::own::{EMITTER, event_id};
use crate::domain::event::catalogue::{IdentityErased, IdentityErasureAccepted};
use crate::domain::event::{Body, IdentityErasureScope};
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::time::Timestamp;
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
    pub(super) async fn write_down(
        &self,
        subject: SubjectId,
        requester: &Id,
        reason: &Reason,
    ) -> Result<Work, Error> {
        self.views.wait_for(self.log.head(), PATIENCE).await?;
        let (pieces, seen_to) = self.ask(move |ask| Ok((ask.pieces_of(subject)?, ask.applied))).await?;
        let now = self.clock.now();
        let events = (event_id(now)?, event_id(now)?);
        let reason = (reason.cause, reason.case_id.clone());
        let work = Work::new(subject, requester.clone(), reason, events, &pieces, seen_to);
        self.on_erasures(move |erasures| work.write(&erasures.work)).await
    }

    /// Everything from *accepted* to *erased*, for all of them together: the views' files are written
    /// anew once.
    pub(super) async fn carry_through(
        &self,
        begun: Vec<Work>,
        watch: &mut (dyn FnMut(Step) -> Result<(), Error> + Send),
    ) -> Result<Vec<Erasure>, Error> {
        let mut accepted = Vec::with_capacity(begun.len());
        for work in &begun {
            accepted.push(self.accept(work).await?);
            watch(Step::Accepted)?;
            let tomb = work.tomb();
            self.on_erasures(move |erasures| erasures.tombs.keep(&tomb)).await?;
            watch(Step::Buried)?;
        }
        let subjects: Vec<SubjectId> = begun.iter().map(|work| work.subject).collect();
        self.vault.destroy(&subjects).await?;
        let shredded_at = self.clock.now();
        watch(Step::Shredded)?;
        // Whoever knew the person's keys before they were destroyed has written with them now.
        drop(self.recording.write().await);
        let barrier = self.log.head();
        // They find the person's rows by what is about to be purged.
        self.views.wait_for(barrier, PATIENCE).await?;
        let mut pieces = Vec::with_capacity(begun.len());
        for work in &begun {
            pieces.push(self.purge(work, barrier).await?);
            watch(Step::Purged)?;
        }
        self.remove_copies(&subjects).await?;
        let purged_at = self.clock.now();
        watch(Step::Renewed)?;
        let mut done = Vec::with_capacity(begun.len());
        for ((work, accepted), pieces) in begun.into_iter().zip(accepted).zip(pieces) {
            let erased = self.complete_erasure(&work, shredded_at, purged_at).await?;
            watch(Step::Erased)?;
            let tomb = work.tomb();
            self.on_erasures(move |erasures| work.done(&erasures.work)).await?;
            done.push(Erasure { tomb, accepted, erased, shredded_at, purged_at, pieces });
        }
        tracing::info!(people = done.len(), "people erased");
        Ok(done)
    }

    /// The last event with the person's tag.
    async fn accept(&self, work: &Work) -> Result<u64, Error> {
        if let Some(position) = self.recorded(work.accepted).await? {
            return Ok(position);
        }
        let holder = match self.vault.holder(work.subject).await {
            Ok(holder) => Some(holder),
            // Destroyed by hand or by a tomb: there is no tag any more, and nothing else to say.
            Err(vault::Error::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let body = IdentityErasureAccepted {
            tomb: Some(work.tomb()),
            cause: work.cause(),
            scope: Some(IdentityErasureScope::IdentityAndEvidence),
            case_id: work.case_id.clone(),
        };
        let body = Body::IdentityErasureAccepted(Box::new(body));
        Ok(self.record_own_about(work.accepted, body, holder).await?.position)
    }

    async fn recorded(&self, id: EventId) -> Result<Option<u64>, Error> {
        let emitter: Id = EMITTER.parse().map_err(|_| Error::internal("own_emitter"))?;
        Ok(self.log.find(&[(emitter, id)]).await?.pop().flatten())
    }

    /// Purges what was known to be the person's, and what was recorded since.
    async fn purge(&self, work: &Work, barrier: u64) -> Result<u64, Error> {
        let mut pieces = work.pieces();
        let mut next = work.seen_to;
        while next < barrier {
            let most = usize::try_from(barrier - next).unwrap_or(CHUNK).min(CHUNK);
            let records = self.log.read(next, most, CHUNK_BYTES).await?;
            let Some(last) = records.last() else { return Err(Error::internal("log_ends_early")) };
            next = last.position + 1;
            for record in &records {
                pieces.extend(self.pieces_about(work.subject, record)?);
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
    ) -> Result<Vec<PieceRef>, Error> {
        let header = Header::parse(&record.header)?;
        let mut pieces = Vec::new();
        for (i, part) in header.parts.iter().enumerate() {
            let first = header.index_piece(i);
            let Some(Some(block)) = record.pieces.get(first) else { continue };
            let epoch = Header::index_epoch(block)?;
            let Ok(key) = self.keyring.index_key(epoch) else { continue };
            let block = header.open_index(i, block, &IndexKey::new(epoch, &key))?;
            if block.subject == Some(subject) {
                let numbers = first..=first + part.boxes.len();
                let position = record.position;
                pieces.extend(numbers.map(|piece| PieceRef { position, piece: piece as u16 }));
            }
        }
        Ok(pieces)
    }

    /// Rows that were removed stay in the views' files until these are written anew; exports may hold
    /// anybody's parts.
    async fn remove_copies(&self, subjects: &[SubjectId]) -> Result<(), Error> {
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
        tokio::time::timeout(PATIENCE, renewing).await.unwrap_or(Err(views::Error::Busy.into()))?;
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
        shredded_at: Timestamp,
        purged_at: Timestamp,
    ) -> Result<u64, Error> {
        if let Some(position) = self.recorded(work.erased).await? {
            return Ok(position);
        }
        let body = IdentityErased {
            tomb: Some(work.tomb()),
            scope: Some(IdentityErasureScope::IdentityAndEvidence),
            shredded_at: Some(shredded_at),
            purged_at: Some(purged_at),
            ..Default::default()
        };
        Ok(self.record_own_about(work.erased, Body::IdentityErased(Box::new(body)), None).await?.position)
    }
}

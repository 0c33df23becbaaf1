//! The port's requests: which are answered from memory, which by a reader, which by the writer, and what
//! of them waits for what an adapter has to do besides.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::cache::Slot;
use super::rows::Db;
use super::txn::Txn;
use super::{LAZY, Shared, admin, change, check, erase, hot, marks, rotate, seal};
use crate::domain::erasure::Left;
use crate::domain::id::{Digest, Mark, SubjectId};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
use crate::vault::check::{Cursor, Step};
use crate::vault::rotation::{Batch, LookupUse, Rotation};
use crate::vault::scrub::Scrub;
use crate::vault::{Barrier, Candidate, Entry, Error, Holder, HolderKind, Marked, Resolution, Status};

/// A database with its connections, and what only the adapter knows to do.
pub trait Store: Send + Sync {
    fn shared(&self) -> &Shared;

    /// Runs `work` in the writer's next transaction and waits for its commit.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// Runs `read` in one transaction, which sees one moment, on a thread that may block.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// What the cache or the database knows may not be everywhere yet where it must be before anybody
    /// records with it.
    fn settled(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// When it returns, wrapped keys that were overwritten before are in no file.
    fn purged(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes everything anew, without gaps in which remains of deleted rows may lie.
    fn rewritten(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Rows came from elsewhere with their numbers: new ones get others.
    fn renumbered(&self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// As the port says.
    fn checked(&self, from: Cursor) -> impl Future<Output = Result<Step, Error>> + Send;

    /// As the port says.
    fn behind(&self, _barrier: Barrier) {}

    /// As the port says.
    fn forgotten(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A holder, also one of whom only the evidence is kept.
async fn anybody(store: &impl Store, subject: SubjectId) -> Result<Arc<Holder>, Error> {
    if let Some(Slot::Holder(holder)) = store.shared().cache.get(&marks::place_of_subject(subject)) {
        return Ok(holder);
    }
    store.read(move |db| db.holder(subject)).await
}

/// Wakes the writer if much waits unsynced.
async fn relieve(store: &impl Store) -> Result<(), Error> {
    if store.shared().lazy().len() > LAZY { store.write(|_| Ok(())).await } else { Ok(()) }
}

/// Nobody without an identity key is one of the people any more.
fn living(holder: Arc<Holder>) -> Result<Arc<Holder>, Error> {
    if holder.identity.is_some() { Ok(holder) } else { Err(Error::NotFound) }
}

#[async_trait]
impl<S: Store> crate::vault::Vault for S {
    async fn resolve(&self, entries: Vec<Entry>) -> Result<Vec<Resolution>, Error> {
        use hot::Step;
        let mut steps = Vec::with_capacity(entries.len());
        for entry in &entries {
            steps.push(hot::from_cache(self.shared(), entry)?);
        }
        let mut entries = entries;
        if steps.iter().any(|step| matches!(step, Step::Read)) {
            (entries, steps) = self
                .read(move |db| {
                    hot::read_all(db, &entries, &mut steps)?;
                    Ok((entries, steps))
                })
                .await?;
        }
        if steps.iter().any(|step| matches!(step, Step::Write)) {
            hot::follow_order(self.shared(), &entries, &mut steps);
            steps = self
                .write(move |txn| {
                    for (entry, step) in entries.iter().zip(&mut steps) {
                        match step {
                            Step::Done(resolution, first) => hot::settle_in(txn, resolution, first)?,
                            _ => *step = Step::Done(change::resolve(txn, entry)?, hot::First::new()),
                        }
                    }
                    Ok(steps)
                })
                .await?;
        }
        self.settled().await?;
        let mut resolutions = Vec::with_capacity(steps.len());
        for step in steps {
            let Step::Done(mut resolution, mut first) = step else {
                return Err(seal::corrupt("an entry was left undecided"));
            };
            hot::settle(self.shared(), &mut resolution, &mut first);
            resolutions.push(resolution);
        }
        relieve(self).await?;
        Ok(resolutions)
    }

    async fn holder_of(&self, kind: HolderKind, name: &str) -> Result<Arc<Holder>, Error> {
        let place = marks::place_of_name(kind, name).ok_or(Error::NotFound)?;
        if let Some(Slot::Holder(holder)) = self.shared().cache.get(&place) {
            self.settled().await?;
            return Ok(holder);
        }
        self.write(move |txn| admin::holder_of(txn, kind, place)).await
    }

    async fn holder(&self, subject: SubjectId) -> Result<Arc<Holder>, Error> {
        living(anybody(self, subject).await?)
    }

    async fn holders(&self, subjects: &[SubjectId]) -> Result<Vec<Option<Arc<Holder>>>, Error> {
        let cached = |subject: &SubjectId| match self.shared().cache.get(&marks::place_of_subject(*subject)) {
            Some(Slot::Holder(holder)) => Some(holder),
            _ => None,
        };
        let mut holders: Vec<Option<Arc<Holder>>> = subjects.iter().map(cached).collect();
        let places = holders.iter().zip(subjects).enumerate();
        let missing: Vec<(usize, SubjectId)> =
            places.filter_map(|(n, (holder, subject))| holder.is_none().then_some((n, *subject))).collect();
        if !missing.is_empty() {
            let find = |db: &mut Db<'_>, (n, subject)| match db.holder(subject) {
                Ok(holder) => Ok((n, Some(holder))),
                Err(Error::NotFound) => Ok((n, None)),
                Err(error) => Err(error),
            };
            let found: Vec<(usize, Option<Arc<Holder>>)> =
                self.read(move |db| missing.into_iter().map(|one| find(db, one)).collect()).await?;
            found.into_iter().for_each(|(n, holder)| holders[n] = holder);
        }
        // Nobody without an identity key is one of the people any more.
        Ok(holders.into_iter().map(|holder| holder.filter(|holder| holder.identity.is_some())).collect())
    }

    async fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error> {
        self.read(move |db| {
            let n = db.canonical_row(db.find_subject(subject)?)?;
            Ok(db.body(n)?.subject)
        })
        .await
    }

    async fn candidates(
        &self,
        identifier: &Identifier,
        at: Option<Timestamp>,
    ) -> Result<Vec<Candidate>, Error> {
        let identifier = identifier.clone();
        self.read(move |db| admin::candidates(db, &identifier, at)).await
    }

    async fn identifiers(&self, subject: SubjectId) -> Result<Vec<(Identifier, Candidate)>, Error> {
        self.read(move |db| admin::identifiers(db, subject)).await
    }

    async fn link(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Marked, Error> {
        let identifier = identifier.clone();
        self.write(move |txn| admin::link(txn, subject, &identifier, from, to)).await
    }

    async fn unlink(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        to: Timestamp,
    ) -> Result<Marked, Error> {
        let identifier = identifier.clone();
        self.write(move |txn| admin::unlink(txn, subject, &identifier, to)).await
    }

    async fn merge(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.write(move |txn| admin::merge(txn, kept, gone)).await
    }

    async fn split(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.write(move |txn| admin::split(txn, kept, gone)).await
    }

    async fn confirm(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        self.shared().lazy().confirmed.extend(subjects);
        relieve(self).await
    }

    async fn pending(&self, before: Timestamp) -> Result<Vec<SubjectId>, Error> {
        // By the writer, which first writes the confirmations that wait.
        self.write(move |txn| admin::pending(txn, before)).await
    }

    async fn destroy(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        let subjects = subjects.to_vec();
        self.write(move |txn| subjects.iter().try_for_each(|subject| erase::destroy(txn, *subject))).await?;
        self.purged().await
    }

    async fn detach(&self, subjects: &[(SubjectId, Timestamp)]) -> Result<(), Error> {
        let subjects = subjects.to_vec();
        let detach = move |txn: &mut Txn<'_>| {
            subjects.iter().try_for_each(|(subject, until)| erase::detach(txn, *subject, *until))
        };
        self.write(detach).await?;
        self.purged().await
    }

    async fn evidence_holder(&self, subject: SubjectId) -> Result<(Arc<Holder>, Timestamp), Error> {
        let until = self.read(move |db| erase::evidence_until(db, subject)).await?;
        Ok((anybody(self, subject).await?, until.ok_or(Error::NotFound)?))
    }

    async fn evidence_of(&self, identifier: &Identifier) -> Result<Vec<SubjectId>, Error> {
        let identifier = identifier.clone();
        self.read(move |db| erase::evidence_of(db, &identifier)).await
    }

    async fn evidence_over(&self, now: Timestamp) -> Result<Vec<SubjectId>, Error> {
        self.read(move |db| erase::evidence_over(db, now)).await
    }

    async fn bury(&self, tombs: &[(Digest, Left)]) -> Result<u64, Error> {
        let tombs: Arc<HashMap<Digest, Left>> = Arc::new(tombs.iter().copied().collect());
        // Nothing is written where there is nothing to do: a start must be able to do without.
        let all = Arc::clone(&tombs);
        if self.read(move |db| erase::knows(db, &all)).await? {
            return Ok(0);
        }
        let buried = self.write(move |txn| erase::bury(txn, &tombs)).await?;
        if buried > 0 {
            self.purged().await?;
        }
        Ok(buried)
    }

    fn marks(&self, identifier: &Identifier) -> Vec<Mark> {
        let marker = self.shared().marker();
        let (active, older) = (marker.mark(identifier), marker.older(identifier));
        std::iter::once(active).chain(older).map(|marking| marking.mark).collect()
    }

    async fn check(&self, from: Cursor) -> Result<Step, Error> {
        // What waits unsynced belongs to the rows.
        if from == Cursor::default() {
            // Where they cannot be written, the disk is full or the store damaged: it is read all the same.
            let _written = self.write(|_| Ok(())).await;
        }
        self.checked(from).await
    }

    async fn absent(&self, subjects: &[SubjectId]) -> Result<Vec<SubjectId>, Error> {
        let subjects = subjects.to_vec();
        self.read(move |db| check::absent(db, &subjects)).await
    }

    async fn status(&self) -> Result<Status, Error> {
        // The writer adds what it has not written yet. Where it cannot write, because the disk is full,
        // what was written answers: an operator asks exactly then.
        match self.write(|txn| admin::status(&txn.db)).await {
            Err(Error::Unavailable { .. }) => self.read(|db| admin::status(db)).await,
            status => status,
        }
    }

    async fn forgotten_everywhere(&self) -> Result<(), Error> {
        self.forgotten().await
    }

    fn forgets_behind(&self, barrier: Barrier) {
        self.behind(barrier);
    }
}

#[async_trait]
impl<S: Store> Rotation for S {
    async fn locked_with(&self) -> Result<Vec<(u32, u64)>, Error> {
        self.read(|db| rotate::locked_with(db)).await
    }

    async fn count_locked_with(&self, kek: u32) -> Result<u64, Error> {
        // Whoever fetched the key when it was still the active one has committed when this returns.
        self.write(|_| Ok(())).await?;
        let (mut after, mut found) = (0, 0u64);
        loop {
            let (count, last) = self.read(move |db| rotate::count_some(db, after, kek)).await?;
            found += count.unsigned_abs();
            after += rotate::COUNTED;
            if after >= last {
                return Ok(found);
            }
        }
    }

    async fn rewrap_some(&self, after: i64) -> Result<Batch, Error> {
        self.write(move |txn| rotate::rewrap(txn, after)).await
    }

    async fn forget_old_wraps(&self) -> Result<(), Error> {
        self.purged().await
    }

    async fn take_lookup_keys(&self) -> Result<(), Error> {
        self.write(rotate::take_lookup_keys).await
    }

    async fn remark_some(&self) -> Result<Option<Batch>, Error> {
        if self.shared().marker().is_single() || self.read(|db| rotate::is_remarked(db)).await? {
            return Ok(None);
        }
        self.write(rotate::remark).await
    }

    async fn lookup_use(&self, lookup: u32) -> Result<LookupUse, Error> {
        self.write(|_| Ok(())).await?;
        self.read(move |db| rotate::lookup_use(db, lookup)).await
    }

    async fn forget_lookup(&self, lookup: u32) -> Result<(), Error> {
        self.write(move |txn| rotate::forget_lookup(txn, lookup)).await
    }

    async fn evidence_kept(&self) -> Result<(u64, Option<Timestamp>), Error> {
        self.read(|db| rotate::evidence_kept(db)).await
    }
}

#[async_trait]
impl<S: Store> Scrub for S {
    async fn scrub(&self) -> Result<(), Error> {
        let now = self.shared().clock.now();
        self.write(move |txn| admin::tidy(txn, now)).await?;
        self.rewritten().await?;
        self.write(move |txn| rotate::set(txn, admin::SCRUBBED, now.ms())).await
    }

    async fn scrubbed_at(&self) -> Result<Option<Timestamp>, Error> {
        let ms = self.read(|db| rotate::number(db, admin::SCRUBBED)).await?;
        ms.map(|ms| Timestamp::from_ms(ms).ok_or_else(|| seal::corrupt("a time is none"))).transpose()
    }
}

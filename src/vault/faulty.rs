//! A vault that fails on purpose: for tests of those who call one.

use std::sync::Arc;

use async_trait::async_trait;

use super::check::{Cursor, Step};
use super::rotation::{Batch, LookupUse, Rotation};
use super::scrub::Scrub;
use super::{Barrier, Candidate, Entry, Error, Holder, HolderKind, Marked, Resolution, Status, Vault};
use crate::domain::erasure::Left;
use crate::domain::id::{Digest, Mark, SubjectId};
use crate::domain::identity::Identifier;
use crate::domain::time::Timestamp;
pub use crate::scripted::Fault;
use crate::scripted::Script;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Resolve,
    /// Whatever else only reads.
    Read,
    /// Links, merges, and the ends of both; confirmations.
    Change,
    /// The end of people, of all or of parts of them.
    Destroy,
    /// Moves to new keys, checks, scrubs.
    Upkeep,
    /// Waits for other nodes.
    Forgotten,
}

/// Hands calls on to another vault, except those that the script says to fail.
pub struct Faulty {
    inner: Arc<dyn Vault>,
    script: Script<Call>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Vault>) -> Faulty {
        Faulty { inner, script: Script::default() }
    }

    /// What happens to the next calls of that kind, in order, after those scripted already.
    pub fn script(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.script.add(call, faults);
    }

    /// Whether every scripted call was made.
    pub fn is_done(&self) -> bool {
        self.script.is_done()
    }

    async fn run<T>(&self, call: Call, effect: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.script.run(call, effect, error).await
    }
}

fn error(fault: Fault) -> Error {
    let reason = if fault == Fault::After { "scripted, after" } else { "scripted, before" };
    Error::Unavailable { reason, source: None }
}

#[async_trait]
impl Vault for Faulty {
    async fn resolve(&self, entries: Vec<Entry>) -> Result<Vec<Resolution>, Error> {
        self.run(Call::Resolve, self.inner.resolve(entries)).await
    }

    async fn holder_of(&self, kind: HolderKind, name: &str) -> Result<Arc<Holder>, Error> {
        self.run(Call::Read, self.inner.holder_of(kind, name)).await
    }

    async fn holder(&self, subject: SubjectId) -> Result<Arc<Holder>, Error> {
        self.run(Call::Read, self.inner.holder(subject)).await
    }

    async fn holders(&self, subjects: &[SubjectId]) -> Result<Vec<Option<Arc<Holder>>>, Error> {
        self.run(Call::Read, self.inner.holders(subjects)).await
    }

    async fn candidates(
        &self,
        identifier: &Identifier,
        at: Option<Timestamp>,
    ) -> Result<Vec<Candidate>, Error> {
        self.run(Call::Read, self.inner.candidates(identifier, at)).await
    }

    async fn identifiers(&self, subject: SubjectId) -> Result<Vec<(Identifier, Candidate)>, Error> {
        self.run(Call::Read, self.inner.identifiers(subject)).await
    }

    async fn link(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<Marked, Error> {
        self.run(Call::Change, self.inner.link(subject, identifier, from, to)).await
    }

    async fn unlink(
        &self,
        subject: SubjectId,
        identifier: &Identifier,
        to: Timestamp,
    ) -> Result<Marked, Error> {
        self.run(Call::Change, self.inner.unlink(subject, identifier, to)).await
    }

    async fn canonical(&self, subject: SubjectId) -> Result<SubjectId, Error> {
        self.run(Call::Read, self.inner.canonical(subject)).await
    }

    async fn merge(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.run(Call::Change, self.inner.merge(kept, gone)).await
    }

    async fn split(&self, kept: SubjectId, gone: SubjectId) -> Result<(), Error> {
        self.run(Call::Change, self.inner.split(kept, gone)).await
    }

    async fn confirm(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        self.run(Call::Change, self.inner.confirm(subjects)).await
    }

    async fn pending(&self, before: Timestamp) -> Result<Vec<SubjectId>, Error> {
        self.run(Call::Read, self.inner.pending(before)).await
    }

    async fn destroy(&self, subjects: &[SubjectId]) -> Result<(), Error> {
        self.run(Call::Destroy, self.inner.destroy(subjects)).await
    }

    async fn detach(&self, subjects: &[(SubjectId, Timestamp)]) -> Result<(), Error> {
        self.run(Call::Destroy, self.inner.detach(subjects)).await
    }

    async fn evidence_holder(&self, subject: SubjectId) -> Result<(Arc<Holder>, Timestamp), Error> {
        self.run(Call::Read, self.inner.evidence_holder(subject)).await
    }

    async fn evidence_of(&self, identifier: &Identifier) -> Result<Vec<SubjectId>, Error> {
        self.run(Call::Read, self.inner.evidence_of(identifier)).await
    }

    async fn evidence_over(&self, now: Timestamp) -> Result<Vec<SubjectId>, Error> {
        self.run(Call::Read, self.inner.evidence_over(now)).await
    }

    async fn bury(&self, tombs: &[(Digest, Left)]) -> Result<u64, Error> {
        self.run(Call::Destroy, self.inner.bury(tombs)).await
    }

    fn marks(&self, identifier: &Identifier) -> Vec<Mark> {
        self.inner.marks(identifier)
    }

    async fn check(&self, from: Cursor) -> Result<Step, Error> {
        self.run(Call::Upkeep, self.inner.check(from)).await
    }

    fn forgets_behind(&self, barrier: Barrier) {
        self.inner.forgets_behind(barrier);
    }

    async fn forgotten_everywhere(&self) -> Result<(), Error> {
        self.run(Call::Forgotten, self.inner.forgotten_everywhere()).await
    }

    async fn absent(&self, subjects: &[SubjectId]) -> Result<Vec<SubjectId>, Error> {
        self.run(Call::Read, self.inner.absent(subjects)).await
    }

    async fn status(&self) -> Result<Status, Error> {
        self.run(Call::Read, self.inner.status()).await
    }
}

#[async_trait]
impl Rotation for Faulty {
    async fn locked_with(&self) -> Result<Vec<(u32, u64)>, Error> {
        self.run(Call::Read, self.inner.locked_with()).await
    }

    async fn count_locked_with(&self, kek: u32) -> Result<u64, Error> {
        self.run(Call::Read, self.inner.count_locked_with(kek)).await
    }

    async fn rewrap_some(&self, after: i64) -> Result<Batch, Error> {
        self.run(Call::Upkeep, self.inner.rewrap_some(after)).await
    }

    async fn forget_old_wraps(&self) -> Result<(), Error> {
        self.run(Call::Upkeep, self.inner.forget_old_wraps()).await
    }

    async fn take_lookup_keys(&self) -> Result<(), Error> {
        self.run(Call::Upkeep, self.inner.take_lookup_keys()).await
    }

    async fn remark_some(&self) -> Result<Option<Batch>, Error> {
        self.run(Call::Upkeep, self.inner.remark_some()).await
    }

    async fn lookup_use(&self, lookup: u32) -> Result<LookupUse, Error> {
        self.run(Call::Read, self.inner.lookup_use(lookup)).await
    }

    async fn forget_lookup(&self, lookup: u32) -> Result<(), Error> {
        self.run(Call::Upkeep, self.inner.forget_lookup(lookup)).await
    }

    async fn evidence_kept(&self) -> Result<(u64, Option<Timestamp>), Error> {
        self.run(Call::Read, self.inner.evidence_kept()).await
    }
}

#[async_trait]
impl Scrub for Faulty {
    async fn scrub(&self) -> Result<(), Error> {
        self.run(Call::Upkeep, self.inner.scrub()).await
    }

    async fn scrubbed_at(&self) -> Result<Option<Timestamp>, Error> {
        self.run(Call::Read, self.inner.scrubbed_at()).await
    }
}

/// What a caller does whose answer was lost: asks again, and gets the same. For the tests of adapters.
#[cfg(test)]
pub(super) async fn asked_again_it_answers_the_same(vault: Arc<dyn Vault>) {
    use super::contract::{at, named, opening};
    use crate::domain::identity::Kind;

    let vault = Faulty::new(vault);
    let entry = opening(&[named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678")], 10);
    vault.script(Call::Resolve, [Fault::Before, Fault::After]);
    assert!(vault.resolve(vec![entry.clone()]).await.is_err_and(|error| error.retryable()));
    assert_eq!(vault.status().await.unwrap().people, 0, "it had no effect");
    assert!(vault.resolve(vec![entry.clone()]).await.is_err_and(|error| error.retryable()));
    assert_eq!(vault.status().await.unwrap().people, 1, "it had");
    let again = vault.resolve(vec![entry.clone()]).await.unwrap().remove(0);
    assert!(!again.created);
    let subject = again.holder.unwrap().subject;
    assert_eq!(vault.status().await.unwrap().people, 1);
    vault.confirm(&[subject]).await.unwrap();
    vault.script(Call::Destroy, [Fault::After, Fault::After]);
    assert!(vault.detach(&[(subject, at(5_000))]).await.is_err());
    vault.detach(&[(subject, at(5_000))]).await.unwrap_err();
    vault.detach(&[(subject, at(5_000))]).await.unwrap();
    assert_eq!(vault.evidence_holder(subject).await.unwrap().1, at(5_000));
    vault.script(Call::Destroy, [Fault::After]);
    assert!(vault.destroy(&[subject]).await.is_err());
    vault.destroy(&[subject]).await.unwrap();
    assert!(matches!(vault.evidence_holder(subject).await, Err(Error::NotFound)));
    assert!(vault.is_done());
}

//! The vault's part of a check: the vault looks at itself, step by step; who is in it is held against
//! the tombs and, later, against the records.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Check, Code, Finding};
use crate::app::error::Error;
use crate::domain::erasure::Left;
use crate::domain::id::{Digest, SubjectId};
use crate::record::tomb;
use crate::vault::HolderKind;
use crate::vault::check::{Cursor, Fault, FaultKind, Present};

/// People whom the views do not know, and whom the log is asked for.
const MOST: usize = 100_000;

/// What the vault's people leave to be asked.
#[derive(Default)]
pub(super) struct People {
    /// Settled, but not known to the views.
    pub unnamed: HashSet<SubjectId>,
    /// The tombs of the outside copy, as of before the vault was read.
    pub tombs: HashMap<Digest, Left>,
}

fn told(fault: Fault) -> Finding {
    let code = match fault.kind {
        FaultKind::File => Code::VaultFile,
        FaultKind::Rows => Code::VaultRows,
        FaultKind::Holder => Code::VaultHolder,
        FaultKind::Identifier => Code::VaultIdentifier,
        FaultKind::Stray => Code::VaultStray,
        FaultKind::Count => Code::VaultCount,
        FaultKind::Keyring => Code::KeyringLacks,
    };
    Finding::new(code, fault.what).of(format!("vault, {}", fault.place))
}

impl Check<'_> {
    pub(super) async fn vault(&mut self) -> Result<People, Error> {
        let mut people = People { tombs: self.tombs().await?, ..People::default() };
        let begun = self.begun().await?;
        let mut next = Some(Cursor::default());
        while let Some(at) = next {
            self.go_on()?;
            let step = self.app.vault.check(at).await?;
            for fault in step.faults {
                self.found(told(fault)).await;
            }
            for present in &step.holders {
                let tomb = tomb(present.subject);
                let agrees = match people.tombs.get(&tomb) {
                    None => !present.evidence_only,
                    Some(left) => present.evidence_only && *left != Left::Nothing,
                };
                if !agrees && !begun.contains(&tomb) {
                    let what = "somebody's keys are not what their tomb says";
                    self.found(Finding::new(Code::ErasedAlive, what).of("vault")).await;
                }
            }
            let unknown = self.unknown_to_views(step.holders).await?;
            let room = MOST.saturating_sub(people.unnamed.len());
            people.unnamed.extend(unknown.into_iter().take(room));
            next = step.next;
        }
        Ok(people)
    }

    /// The settled people among them whom the views do not know. Views that are behind, or are
    /// damaged, know fewer: the log is asked for the rest.
    async fn unknown_to_views(&mut self, holders: Vec<Present>) -> Result<Vec<SubjectId>, Error> {
        let views = Arc::clone(&self.app.views);
        let asked = tokio::task::spawn_blocking(move || {
            let person = |kind| matches!(kind, HolderKind::Person | HolderKind::Device);
            let settled = holders
                .into_iter()
                .filter(|present| person(present.kind) && !present.pending && !present.evidence_only);
            settled
                .map(|present| present.subject)
                .filter(|subject| !views.subject_known(*subject).unwrap_or(false))
                .collect()
        });
        asked.await.map_err(|died| Error::fault("views_died", died))
    }
}

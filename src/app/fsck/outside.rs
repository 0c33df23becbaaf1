//! The outside copy's part of a check: checkpoints, each against its twin in the data directory and
//! against the tree; tombs against the erasures of the log; what witnesses refused with.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;

use super::log::Trail;
use super::{Check, Code, Finding};
use crate::app::error::Error;
use crate::domain::erasure::Left;
use crate::domain::id::Digest;
use crate::ledger::{self, BookFault, BookFaultKind};
use crate::verify::manifest::hex;

/// Checkpoints looked at between two questions whether to go on.
const CHUNK: usize = 500;

fn told(fault: BookFault) -> Finding {
    let code = match fault.kind {
        BookFaultKind::Damaged => Code::CheckpointDamaged,
        BookFaultKind::Missing => Code::CheckpointMissing,
        BookFaultKind::Differs => Code::CheckpointDiffers,
        BookFaultKind::Contradicted => Code::CheckpointContradicted,
    };
    Finding::new(code, fault.what).of(fault.place.display().to_string())
}

impl Check<'_> {
    /// `before` are the tombs that were there when the check began.
    pub(super) async fn outside(
        &mut self,
        trail: &mut Trail,
        before: &HashMap<Digest, Left>,
    ) -> Result<(), Error> {
        self.checkpoints(trail).await?;
        self.evidence().await?;
        let malformed = self.app.on_erasures(|erasures| erasures.tombs().malformed()).await;
        for name in malformed.unwrap_or_default() {
            self.found(Finding::new(Code::TombMalformed, "is no tomb").of(format!("tombs/{name}"))).await;
        }
        // Whoever is being erased has no tomb yet, or has one and no keys.
        let begun = self.begun().await?;
        let now = self.tombs().await?;
        self.follow(trail).await?;
        let lacking: Vec<(Digest, u64)> = trail
            .accepted
            .iter()
            .filter(|(tomb, _)| !now.contains_key(*tomb) && !begun.contains(*tomb))
            .map(|(tomb, position)| (*tomb, *position))
            .collect();
        for (tomb, position) in lacking {
            let what = format!("there is no file {}", hex(&tomb.0));
            self.found(Finding::new(Code::TombMissing, what).at(position).of("tombs")).await;
        }
        if trail.whole {
            let strange = |tomb: &&Digest| !trail.accepted.contains_key(*tomb) && before.contains_key(*tomb);
            for tomb in now.keys().filter(strange) {
                let what = "no erasure in the log has this tomb";
                self.found(Finding::new(Code::TombUnknown, what).of(format!("tombs/{}", hex(&tomb.0)))).await;
            }
        }
        Ok(())
    }

    /// Tombs that lie in the outside copy; none where it cannot be read, which is told.
    pub(super) async fn tombs(&mut self) -> Result<HashMap<Digest, Left>, Error> {
        match self.app.on_erasures(|erasures| erasures.tombs().all()).await {
            Ok(all) => Ok(all.into_iter().collect()),
            Err(why) => {
                let what = why.chain().unwrap_or_else(|| why.to_string());
                self.found(Finding::new(Code::OutsideUnreadable, what).of("tombs")).await;
                Ok(HashMap::new())
            }
        }
    }

    async fn checkpoints(&mut self, trail: &Trail) -> Result<(), Error> {
        for origin in self.on_ledger(ledger::Ledger::kept_origins).await? {
            let ended = trail.ended.iter().find(|(name, _)| *name == origin).map(|(_, from)| *from);
            let until = ended.unwrap_or(u64::MAX);
            // Damaged hashes lead to no root that says anything.
            let sound = trail.hashed;
            let name = origin.clone();
            let sizes = self.on_ledger(move |ledger| ledger.kept_sizes(&name)).await?;
            for chunk in sizes.chunks(CHUNK) {
                self.go_on()?;
                let (name, chunk) = (origin.clone(), chunk.to_vec());
                let faults = self.on_ledger(move |ledger| {
                    let mut faults = Vec::new();
                    for size in chunk {
                        faults.extend(ledger.check_kept(&name, size, until, sound)?);
                    }
                    Ok(faults)
                });
                for fault in faults.await? {
                    self.found(told(fault)).await;
                }
            }
        }
        Ok(())
    }

    async fn on_ledger<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&ledger::Ledger) -> Result<T, ledger::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let ledger = Arc::clone(&self.app.ledger);
        let asked = tokio::task::spawn_blocking(move || ask(&ledger)).await;
        Ok(asked.map_err(|died| Error::fault("ledger_died", died))??)
    }

    /// Files that a court may ask for have to be readable; nothing else can be said of them.
    async fn evidence(&mut self) -> Result<(), Error> {
        let dir = self.app.ledger.outside().join("evidence");
        let looked = tokio::task::spawn_blocking(move || {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(why) if why.kind() == ErrorKind::NotFound => return Vec::new(),
                Err(why) => return vec![(String::new(), why.kind().to_string())],
            };
            let mut unreadable = Vec::new();
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                match std::fs::read_to_string(entry.path()) {
                    Ok(text) if text.starts_with("request:\n") && text.contains("\nanswer ") => {}
                    Ok(_) => unreadable.push((name, "is not an exchange with a witness".to_owned())),
                    Err(why) => unreadable.push((name, why.kind().to_string())),
                }
            }
            unreadable
        });
        for (name, why) in looked.await.map_err(|died| Error::fault("evidence_died", died))? {
            let finding = Finding::new(Code::OutsideUnreadable, why).of(format!("evidence/{name}"));
            self.found(finding).await;
        }
        Ok(())
    }
}

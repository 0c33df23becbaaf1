//! What lies in the data directory for a while: erasures in the making, and finished exports.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Check, Code, Finding};
use crate::app::error::Error;
use crate::domain::id::Digest;

impl Check<'_> {
    /// Tombs of those whose erasure is in the making. While somebody is at it, the files come and go.
    pub(super) async fn begun(&mut self) -> Result<HashSet<Digest>, Error> {
        let all = self.app.on_erasures(|erasures| erasures.begun()).await?;
        Ok(all.into_iter().filter_map(|(_, tomb)| tomb.ok()).collect())
    }

    pub(super) async fn erasures_and_exports(&mut self) -> Result<(), Error> {
        let surveyed = self.app.on_erasures(|erasures| erasures.survey()).await?;
        for (name, tomb) in surveyed.unwrap_or_default() {
            let place = format!("erasures/{name}");
            let finding = match tomb {
                Ok(_) => Finding::new(Code::ErasureUnfinished, "was begun and is not done"),
                Err(why) => Finding::new(Code::ErasureDamaged, why.to_string()),
            };
            self.found(finding.of(place)).await;
        }
        let called_off = Arc::clone(&self.app.called_off);
        let found = self.app.on_shelf(move |shelf| shelf.survey(&|| !called_off.load(Ordering::Relaxed)));
        for (name, why) in found.await? {
            self.found(Finding::new(Code::ExportDamaged, why).of(format!("exports/{name}"))).await;
        }
        Ok(())
    }
}

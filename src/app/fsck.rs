//! Checks what is stored, each store by itself and against the others: the log and its pieces, the
//! index, the tree and what was signed of it, the vault, the outside copy, erasures in the making, kept
//! exports, on request the views.
//!
//! Promises: it changes nothing, and holds up nobody who writes; every finding has a code of `codes.rs`
//! with its way out, and names a place; a healthy directory has none. Not promised: a verdict on what
//! is written while it reads, nor on the free bytes that nobody reads. It keeps nothing, so a crash
//! loses nothing.
//!
//! The order matters. The vault is read before the log, so that whoever is in it and settled is named
//! by a record below the head that is taken then; tombs are read before the log's last records, so that
//! each has its event there.

pub mod codes;
mod log;
mod outside;
mod pieces;
mod vault;
mod work;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use crate::app::App;
use crate::app::error::Error;
use crate::log::Cause;
use crate::views::rebuild;
pub use codes::Code;

/// One thing that does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    /// Of the record, where it is about one.
    pub position: Option<u64>,
    /// File, table or row, where it is about one; may be empty.
    pub place: String,
    pub message: String,
}

impl Finding {
    pub fn new(code: Code, message: impl Into<String>) -> Finding {
        Finding { code, position: None, place: String::new(), message: message.into() }
    }

    pub fn at(self, position: u64) -> Finding {
        Finding { position: Some(position), ..self }
    }

    pub fn of(self, place: impl Into<String>) -> Finding {
        Finding { place: place.into(), ..self }
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub records: u64,
    pub bytes: u64,
    pub findings: u64,
    /// Root of the tree over all headers; `None` where some could not be read.
    pub root: Option<[u8; 32]>,
}

/// Who is told how the check goes.
#[async_trait]
pub trait Watch: Send {
    fn progress(&mut self, done: u64, total: u64);
    /// The check goes on when this returns, so whoever is told slowly slows it.
    async fn finding(&mut self, finding: Finding);
}

/// Findings of one kind that are told one by one; of more, the last says so.
const EACH: u64 = 10_000;

/// A check on its way.
struct Check<'a> {
    app: &'a App,
    watch: &'a mut dyn Watch,
    summary: Summary,
    told: std::collections::BTreeMap<Code, u64>,
}

impl Check<'_> {
    async fn found(&mut self, finding: Finding) {
        self.summary.findings += 1;
        let told = self.told.entry(finding.code).or_default();
        *told += 1;
        if *told == EACH {
            let more = Finding::new(finding.code, "and more, which are counted and not told one by one");
            self.watch.finding(more).await;
        } else if *told < EACH {
            self.watch.finding(finding).await;
        }
    }

    /// Everything that takes long asks now and then whether to go on.
    fn go_on(&self) -> Result<(), Error> {
        if self.app.called_off.load(Ordering::Relaxed) { Err(Error::stopping()) } else { Ok(()) }
    }
}

impl App {
    /// The whole check, of a running service or of one that is not served.
    pub async fn check_storage(&self, compare_views: bool, watch: &mut dyn Watch) -> Result<Summary, Error> {
        let mut check =
            Check { app: self, watch, summary: Summary::default(), told: std::collections::BTreeMap::new() };
        let status = self.log.status();
        if let Some(why) = status.read_only.filter(|_| status.cause != Some(Cause::Index)) {
            check.found(Finding::new(Code::LogReadOnly, why)).await;
        }
        let people = check.vault().await?;
        let mut trail = check.log(people.unnamed).await?;
        if let Some(message) = self.ledger.diverged() {
            check.found(Finding::new(Code::LedgerDiverged, message)).await;
        }
        check.outside(&mut trail, &people.tombs).await?;
        check.vault_against(&trail).await?;
        check.erasures_and_exports().await?;
        check.mirror().await?;
        if compare_views {
            check.views().await?;
        }
        Ok(check.summary)
    }
}

impl Check<'_> {
    /// The second copy, where there is one, byte by byte.
    async fn mirror(&mut self) -> Result<(), Error> {
        let Some(mirror) = self.app.mirror.clone() else { return Ok(()) };
        let standing = mirror.standing();
        let place = standing.directory.display().to_string();
        if let Some(why) = standing.failing {
            self.found(Finding::new(Code::MirrorFailing, why).of(place)).await;
            return Ok(());
        }
        let differences = mirror.compare(Arc::clone(&self.app.called_off)).await?;
        self.go_on()?;
        for what in differences {
            self.found(Finding::new(Code::MirrorDiffers, what).of(place.clone())).await;
        }
        Ok(())
    }

    /// Makes the views anew beside those that answer and compares every row.
    async fn views(&mut self) -> Result<(), Error> {
        let mut compared = compare_views(self.app).await?;
        if matches!(&compared, Ok(comparison) if comparison.different > 0) {
            // Whoever was erased meanwhile is known to one side and not to the other: once more, while nobody is.
            let _nobody_is_erased = self.app.erasures.pause().await;
            compared = compare_views(self.app).await?;
        }
        let comparison = match compared {
            Ok(comparison) => comparison,
            Err(crate::views::Error::Store(_) | crate::views::Error::Damaged(_)) => {
                self.found(Finding::new(Code::ViewsDiffer, "the views' store cannot be read").of("views"))
                    .await;
                return Ok(());
            }
            Err(
                why @ (crate::views::Error::Stopped(_)
                | crate::views::Error::Record { .. }
                | crate::views::Error::Log(crate::log::Error::Corrupt { .. })),
            ) => {
                self.found(Finding::new(Code::ViewsStopped, why.to_string()).of("views")).await;
                return Ok(());
            }
            Err(why) => return Err(why.into()),
        };
        if comparison.different > 0 {
            let message = format!(
                "{} of {} rows differ from what the log says; first: {}",
                comparison.different,
                comparison.rows,
                comparison.samples.join(", ")
            );
            self.found(Finding::new(Code::ViewsDiffer, message).of("views")).await;
        }
        Ok(())
    }
}

async fn compare_views(app: &App) -> Result<Result<rebuild::Comparison, crate::views::Error>, Error> {
    let (views, called_off) = (Arc::clone(&app.views), Arc::clone(&app.called_off));
    let go_on = move |_: rebuild::Progress| !called_off.load(Ordering::Relaxed);
    let compared = tokio::task::spawn_blocking(move || views.compare(go_on)).await;
    compared.map_err(|died| Error::fault("compare_died", died))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `deploy/README.md` has a row for each code, word for word, and none besides.
    #[test]
    fn the_table_of_the_manual_is_this_list() {
        let manual = include_str!("../../deploy/README.md");
        let section = manual.split("## What fsck finds").nth(1).expect("the section");
        let section = section.split("\n## ").next().unwrap();
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("| `{}` | {} | {} |", code.as_str(), code.means(), code.way_out()))
            .collect();
        assert_eq!(rows.join("\n"), wanted.join("\n"), "the manual and the codes have drifted");
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}

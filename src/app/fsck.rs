//! Checks what is stored: every record is read again, parsed, and its pieces compared with the
//! hashes in its header; on request the views are made anew and compared row by row.
//!
//! It changes nothing. It needs no keys of people, so it works on a log whose people are erased.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::app::App;
use crate::app::error::Error;
use crate::domain::id::{EventId, Id};
use crate::ledger::Audit;
use crate::log::{self, Log, StoredRecord};
use crate::record::Header;
use crate::views::{Views, rebuild};

/// One thing that does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub position: Option<u64>,
    /// Stable: `log_damage`, `record_malformed`, `piece_mismatch`, `views_differ`, `index_missing`,
    /// `ledger_hashes_damaged`, `checkpoint_contradicted`, `ledger_diverged`.
    pub code: &'static str,
    pub message: String,
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

/// Records read at once, and their bytes.
const RECORDS: usize = 4_096;
const BYTES: usize = 4 << 20;

impl App {
    /// The whole check of a running service.
    pub async fn check_storage(&self, compare_views: bool, watch: &mut dyn Watch) -> Result<Summary, Error> {
        let called_off = Arc::clone(&self.called_off);
        let audit = Audit::of(&self.ledger);
        let mut summary = check_log(&*self.log, Some(audit), &called_off, watch).await?;
        if let Some(message) = self.ledger.diverged() {
            summary.findings += 1;
            watch.finding(Finding { position: None, code: "ledger_diverged", message }).await;
        }
        if compare_views {
            for finding in compare(Arc::clone(&self.views), called_off).await? {
                summary.findings += 1;
                watch.finding(finding).await;
            }
        }
        Ok(summary)
    }
}

/// Reads every record up to the head. A record that cannot be read is named, and the next one is
/// read all the same.
pub async fn check_log(
    log: &dyn Log,
    mut audit: Option<Audit>,
    called_off: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Summary, Error> {
    let (mut summary, mut at, total) = (Summary::default(), 0, log.head());
    while at < total {
        if called_off.load(Ordering::Relaxed) {
            return Err(Error::stopping());
        }
        let from = at;
        match log.read(at, RECORDS, BYTES).await {
            Ok(records) => {
                let lacking = not_indexed(log, &records).await?;
                for record in records.iter().take_while(|record| record.position < total) {
                    at = record.position + 1;
                    if let Some(audit) = &mut audit {
                        audit.push(&record.header)?;
                    }
                    let mut found = check_record(record);
                    if lacking.contains(&record.position) {
                        found.push(finding(
                            record.position,
                            "index_missing",
                            "the id index does not know this event",
                        ));
                    }
                    summary.add(record, found, watch).await;
                }
                if at == from {
                    return Err(Error::internal("log_read_nothing"));
                }
            }
            Err(log::Error::Corrupt { .. }) => {
                // Behind a header that cannot be read, no tree can be made.
                audit = None;
                at = one_by_one(log, at, total, &mut summary, watch).await?;
            }
            Err(error) => return Err(error.into()),
        }
        watch.progress(at, total);
    }
    if let Some(audit) = audit {
        summary.root = Some(audit.root());
        for found in differences(&audit) {
            summary.findings += 1;
            watch.finding(found).await;
        }
    }
    Ok(summary)
}

/// What the ledger has stored or signed that the headers do not lead to.
fn differences(audit: &Audit) -> Vec<Finding> {
    let damaged = audit.damaged().map(|(count, first)| {
        let message = format!(
            "{count} stored hashes of the ledger differ from the records; stop, remove `ledger/edge`, and start: \
             they are made again"
        );
        finding(first, "ledger_hashes_damaged", &message)
    });
    let contradiction = audit.contradiction().map(|why| Finding {
        position: None,
        code: "checkpoint_contradicted",
        message: why.to_owned(),
    });
    damaged.into_iter().chain(contradiction).collect()
}

/// Goes on record by record until one behind the damage is read, and says where that was.
async fn one_by_one(
    log: &dyn Log,
    from: u64,
    total: u64,
    summary: &mut Summary,
    watch: &mut dyn Watch,
) -> Result<u64, Error> {
    let mut damaged = false;
    for position in from..total {
        match log.get(&[position]).await {
            Ok(records) => {
                for record in &records {
                    summary.add(record, check_record(record), watch).await;
                }
                if damaged {
                    return Ok(position + 1);
                }
            }
            Err(error @ log::Error::Corrupt { .. }) => {
                damaged = true;
                summary.findings += 1;
                watch.finding(finding(position, "log_damage", &error.to_string())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(total)
}

/// Positions of those records whose events the id index does not know. What cannot be parsed is
/// told by `check_record`.
async fn not_indexed(log: &dyn Log, records: &[StoredRecord]) -> Result<BTreeSet<u64>, Error> {
    let named = records.iter().filter_map(|record| {
        let envelope = Header::parse(&record.header).ok()?.envelope;
        Some((record.position, (envelope.emitter, envelope.event_id)))
    });
    let (positions, ids): (Vec<u64>, Vec<(Id, EventId)>) = named.unzip();
    let found = log.find(&ids).await?;
    let lacking = positions.into_iter().zip(found).filter(|(_, found)| found.is_none());
    Ok(lacking.map(|(position, _)| position).collect())
}

fn check_record(record: &StoredRecord) -> Vec<Finding> {
    let header = match Header::parse(&record.header) {
        Ok(header) => header,
        Err(why) => return vec![finding(record.position, "record_malformed", &why.to_string())],
    };
    let mut findings = Vec::new();
    if header.pieces() != record.pieces.len() {
        findings.push(finding(record.position, "record_malformed", "pieces are missing or too many"));
    }
    if let Err(why) = header.body(None) {
        findings.push(finding(record.position, "record_malformed", &why.to_string()));
    }
    for (number, piece) in record.pieces.iter().enumerate() {
        if let Some(Err(why)) = piece.as_ref().map(|piece| header.check_piece(number, piece)) {
            findings.push(finding(record.position, "piece_mismatch", &why.to_string()));
        }
    }
    findings
}

impl Summary {
    async fn add(&mut self, record: &StoredRecord, findings: Vec<Finding>, watch: &mut dyn Watch) {
        self.records += 1;
        self.bytes += record.header.len() as u64;
        self.bytes += record.pieces.iter().flatten().map(|piece| piece.len() as u64).sum::<u64>();
        self.findings += findings.len() as u64;
        for finding in findings {
            watch.finding(finding).await;
        }
    }
}

/// Makes the views anew beside those that answer and compares every row.
pub async fn compare(views: Arc<Views>, called_off: Arc<AtomicBool>) -> Result<Vec<Finding>, Error> {
    let go_on = move |_: rebuild::Progress| !called_off.load(Ordering::Relaxed);
    let compared = tokio::task::spawn_blocking(move || views.compare(go_on)).await;
    let comparison = compared.map_err(|died| Error::fault("compare_died", died))??;
    if comparison.different == 0 {
        return Ok(Vec::new());
    }
    let message = format!(
        "{} of {} rows differ from what the log says; `custody views rebuild` makes them anew; first: {}",
        comparison.different,
        comparison.rows,
        comparison.samples.join(", ")
    );
    Ok(vec![Finding { position: None, code: "views_differ", message }])
}

fn finding(position: u64, code: &'static str, message: &str) -> Finding {
    Finding { position: Some(position), code, message: message.to_string() }
}

//! Every metric's name, in one place, with its unit and meaning.
//!
//! Labels are closed sets (an RPC's name, a status code, a stable reason), never an id. All of
//! them are touched at start, so that a dashboard finds them before anything has happened.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// RPCs answered. Labels: `rpc` (its path), `code` (gRPC status by name).
pub const RPC_CALLS: &str = "custody_rpc_calls_total";
/// Time from a call's first byte to the end of its answer's headers. Label: `rpc`.
pub const RPC_SECONDS: &str = "custody_rpc_duration_seconds";
/// RPCs that are running.
pub const RPC_RUNNING: &str = "custody_rpc_running";
/// Calls refused before they reached a handler. Label: `reason`.
pub const AUTH_REFUSED: &str = "custody_auth_refused_total";
/// Errors returned by use cases. Label: `reason`.
pub const ERRORS: &str = "custody_errors_total";
/// Events durable for the first time.
pub const EVENTS_RECORDED: &str = "custody_events_recorded_total";
/// Events that were recorded before and answered with their first receipt.
pub const EVENTS_DUPLICATE: &str = "custody_events_duplicate_total";
/// Events refused. Label: `reason`.
pub const EVENTS_REFUSED: &str = "custody_events_refused_total";
/// Size of the batches given to the log.
pub const RECORD_BATCH: &str = "custody_record_batch_events";
/// People created by the vault.
pub const PEOPLE_CREATED: &str = "custody_vault_people_created_total";
/// The position that the log's next record will get.
pub const LOG_HEAD: &str = "custody_log_head_position";
/// Bytes of the log's segments, with what is preallocated.
pub const LOG_DISK: &str = "custody_log_disk_bytes";
/// Bytes waiting to be written.
pub const LOG_WAITING: &str = "custody_log_waiting_bytes";
/// Time of one group commit, write and sync.
pub const LOG_COMMIT_SECONDS: &str = "custody_log_commit_duration_seconds";
/// Records of one group commit.
pub const LOG_COMMIT_RECORDS: &str = "custody_log_commit_records";
/// 1 while the log refuses writes.
pub const LOG_READ_ONLY: &str = "custody_log_read_only";
/// Bytes free on the disk of the data directory.
pub const DISK_FREE: &str = "custody_disk_free_bytes";
/// 1 while emitters are refused because the disk is at its reserve.
pub const DISK_AT_RESERVE: &str = "custody_disk_at_reserve";
/// Records that the views have not applied yet.
pub const VIEWS_LAG: &str = "custody_views_lag_records";
/// 1 while a view has stopped.
pub const VIEWS_STOPPED: &str = "custody_views_stopped";
/// Leaves of the ledger's tree.
pub const LEDGER_SIZE: &str = "custody_ledger_tree_size";
/// Size of the newest published checkpoint.
pub const LEDGER_PUBLISHED: &str = "custody_ledger_published_size";
/// 1 while the log is not the one that was published.
pub const LEDGER_DIVERGED: &str = "custody_ledger_diverged";
/// 1 while the newest checkpoint could not be published.
pub const LEDGER_FAILING: &str = "custody_ledger_failing";
/// 1 while the second copy of log and vault lacks something.
pub const MIRROR_FAILING: &str = "custody_mirror_failing";
/// Runs of jobs. Labels: `job`, `outcome`.
pub const JOB_RUNS: &str = "custody_job_runs_total";
/// Time of a job's run. Label: `job`.
pub const JOB_SECONDS: &str = "custody_job_duration_seconds";
/// Jobs whose last run failed.
pub const JOBS_FAILING: &str = "custody_jobs_failing";
/// Answers of witnesses. Label: `outcome`.
pub const WITNESS_ANSWERS: &str = "custody_witness_answers_total";
/// 1 while the service takes new calls.
pub const SERVING: &str = "custody_serving";

enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// All of them: name, kind, unit, meaning.
const ALL: &[(&str, Kind, Unit, &str)] = &[
    (RPC_CALLS, Counter, Unit::Count, "RPCs answered, by rpc and code"),
    (RPC_SECONDS, Histogram, Unit::Seconds, "time until an RPC's answer began, by rpc"),
    (RPC_RUNNING, Gauge, Unit::Count, "RPCs that are running"),
    (AUTH_REFUSED, Counter, Unit::Count, "calls refused before they reached a handler, by reason"),
    (ERRORS, Counter, Unit::Count, "errors returned by use cases, by reason"),
    (EVENTS_RECORDED, Counter, Unit::Count, "events durable for the first time"),
    (EVENTS_DUPLICATE, Counter, Unit::Count, "events answered with an earlier receipt"),
    (EVENTS_REFUSED, Counter, Unit::Count, "events refused, by reason"),
    (RECORD_BATCH, Histogram, Unit::Count, "events of one batch given to the log"),
    (PEOPLE_CREATED, Counter, Unit::Count, "people created by the vault"),
    (LOG_HEAD, Gauge, Unit::Count, "position of the log's next record"),
    (LOG_DISK, Gauge, Unit::Bytes, "bytes of the log's segments, preallocated ones included"),
    (LOG_WAITING, Gauge, Unit::Bytes, "bytes waiting to be written"),
    (LOG_COMMIT_SECONDS, Histogram, Unit::Seconds, "time of one group commit"),
    (LOG_COMMIT_RECORDS, Histogram, Unit::Count, "records of one group commit"),
    (LOG_READ_ONLY, Gauge, Unit::Count, "1 while the log refuses writes"),
    (DISK_FREE, Gauge, Unit::Bytes, "bytes free on the disk of the data directory"),
    (DISK_AT_RESERVE, Gauge, Unit::Count, "1 while emitters are refused because the disk is at its reserve"),
    (VIEWS_LAG, Gauge, Unit::Count, "records that the views have not applied yet"),
    (VIEWS_STOPPED, Gauge, Unit::Count, "1 while a view has stopped"),
    (LEDGER_SIZE, Gauge, Unit::Count, "leaves of the ledger's tree"),
    (LEDGER_PUBLISHED, Gauge, Unit::Count, "size of the newest published checkpoint"),
    (LEDGER_DIVERGED, Gauge, Unit::Count, "1 while the log is not the one that was published"),
    (LEDGER_FAILING, Gauge, Unit::Count, "1 while no checkpoint can be published"),
    (MIRROR_FAILING, Gauge, Unit::Count, "1 while the second copy of log and vault lacks something"),
    (JOB_RUNS, Counter, Unit::Count, "runs of jobs, by job and outcome"),
    (JOB_SECONDS, Histogram, Unit::Seconds, "time of a job's run, by job"),
    (JOBS_FAILING, Gauge, Unit::Count, "jobs whose last run failed"),
    (WITNESS_ANSWERS, Counter, Unit::Count, "answers of witnesses, by outcome"),
    (SERVING, Gauge, Unit::Count, "1 while the service takes new calls"),
];

/// Bounds of duration histograms, in seconds: from a fast sync to a slow disk.
pub const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds of size histograms, in items.
pub const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0];

/// Describes every metric to the recorder of this process and makes it exist.
pub fn touch() {
    for (name, kind, unit, meaning) in ALL {
        match kind {
            Counter => {
                describe_counter!(*name, *unit, *meaning);
                counter!(*name).increment(0);
            }
            Gauge => {
                describe_gauge!(*name, *unit, *meaning);
                gauge!(*name).increment(0.0);
            }
            Histogram => {
                describe_histogram!(*name, *unit, *meaning);
                let _made = histogram!(*name);
            }
        }
    }
}

/// Names of the histograms, with their bounds.
pub fn bounds() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    ALL.iter()
        .filter(|(_, kind, ..)| matches!(kind, Histogram))
        .map(|(name, _, unit, _)| (*name, if matches!(unit, Unit::Seconds) { SECONDS } else { SIZES }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A constant that is missing in the table would be a metric that nobody describes.
    #[test]
    fn every_constant_is_in_the_table_and_says_its_unit() {
        let source = include_str!("metrics.rs");
        let constants: Vec<&str> =
            source.lines().filter_map(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";")).collect();
        let listed: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        assert_eq!(constants, listed);
        for (name, kind, unit, _) in ALL {
            assert!(name.starts_with("custody_"));
            assert_eq!(name.ends_with("_total"), matches!(kind, Counter), "{name}");
            assert_eq!(name.ends_with("_seconds"), matches!(unit, Unit::Seconds), "{name}");
            assert_eq!(name.ends_with("_bytes"), matches!(unit, Unit::Bytes), "{name}");
        }
    }
}

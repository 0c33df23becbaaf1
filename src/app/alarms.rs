//! What needs a person: which alarms stand, since when, and what leads out of each.
//!
//! Alarms are looked for, not raised: each look compares what is wrong now with what was wrong
//! before, and says in the log what has changed. A restart looks anew, and so begins anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::app::App;
use crate::app::status::LAG_LIMIT;
use crate::disk::Seen;
use crate::domain::time::Timestamp;
use crate::ledger;
use crate::log::{self, Cause};

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Stable; `deploy/README.md` has a row for each.
    pub code: &'static str,
    pub message: String,
    pub way_out: &'static str,
    /// When it was first noticed since the service started.
    pub since: Timestamp,
}

/// Since when which alarms stand.
#[derive(Debug, Default)]
pub struct Standing(Mutex<BTreeMap<&'static str, Timestamp>>);

/// What an alarm is judged by.
#[derive(Debug)]
pub struct State<'a> {
    pub log: &'a log::Status,
    pub ledger: &'a ledger::Status,
    pub older_vault: Option<String>,
    pub unfinished_erasure: Option<String>,
    /// Why keys are not replaced, and what has to be done with them by hand.
    pub keys: (Option<String>, Option<String>),
    pub mirror: Option<String>,
    pub failed_jobs: Option<String>,
    pub stale: Option<String>,
    pub lag: u64,
    pub disk: Option<Seen>,
    pub at_reserve: bool,
}

impl App {
    /// Looks for what is wrong. Cheap enough for once a second.
    pub fn look_for_alarms(&self, log: &log::Status, ledger: &ledger::Status) -> Vec<Alarm> {
        let state = State {
            log,
            ledger,
            older_vault: self.vault_mark.older().map(|older| older.to_string()),
            unfinished_erasure: self.erasures.failing().or_else(|| self.scrubbing.failing()),
            keys: (self.keys.failing(), self.keys.by_hand()),
            mirror: self.mirror().and_then(|mirror| mirror.failing),
            failed_jobs: self.failing_jobs.told(),
            stale: self.views.stale(),
            lag: self.views.lag(),
            disk: self.reserve.seen(),
            at_reserve: self.reserve.is_reached(),
        };
        self.alarms.note(state.wrong(self.clock.now()))
    }
}

impl Standing {
    /// Gives each alarm the time at which it was first noticed, and logs what is new or over.
    fn note(&self, mut alarms: Vec<Alarm>) -> Vec<Alarm> {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standing.retain(|code, _| {
            let stands = alarms.iter().any(|alarm| alarm.code == *code);
            if !stands {
                tracing::info!(code, "an alarm is over");
            }
            stands
        });
        for alarm in &mut alarms {
            alarm.since = *standing.entry(alarm.code).or_insert_with(|| {
                let (code, way_out) = (alarm.code, alarm.way_out);
                tracing::warn!(code, message = alarm.message, way_out, "an alarm stands");
                alarm.since
            });
        }
        alarms
    }
}

impl State<'_> {
    fn wrong(&self, now: Timestamp) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let mut raise = |code, message, way_out| alarms.push(Alarm { code, message, way_out, since: now });
        if let Some(why) = &self.log.read_only {
            raise("log_read_only", why.clone(), out_of_read_only(self.log.cause));
        }
        if let Some(why) = &self.log.unreachable {
            raise(
                "cluster_unreachable",
                format!("what other nodes record is not seen, or nothing can be recorded: {why}"),
                "see to KurrentDB and the way to it: it is tried again by itself, without a restart",
            );
        }
        if self.at_reserve {
            let Seen { free, reserve } = self.disk.unwrap_or(Seen { free: 0, reserve: 0 });
            raise(
                "disk_reserve",
                format!("{free} bytes are free on the disk, less than its reserve of {reserve}"),
                "free space or enlarge the disk: emitters are served again by themselves, without a restart",
            );
        }
        if let Some(why) = &self.older_vault {
            raise(
                "vault_older",
                why.clone(),
                "stop, put back the newest copy of the vault's folder, start; log and keyring stay",
            );
        }
        if let Some(why) = &self.unfinished_erasure {
            raise(
                "erasure_unfinished",
                format!("people are not erased to the end: {why}"),
                "see what the message names; it is tried again every minute and at every start",
            );
        }
        if let Some(why) = &self.mirror {
            raise(
                "mirror_failing",
                format!("the second copy lacks something: {why}"),
                "mount or replace its disk; it is brought up to date every minute by itself; for a new, empty place restart with \
                 `custody serve --new-mirror`",
            );
        }
        if let Some(why) = &self.failed_jobs {
            raise(
                "job_failed",
                format!("the last run of a job failed: {why}"),
                "see the service's log for the cause, then `custody jobs run NAME`; over when a run succeeds",
            );
        }
        wrong_with_keys(&self.keys, &mut raise);
        if let Some(why) = &self.stale {
            raise(
                "views_stale",
                why.clone(),
                "wait until they have caught up; if they have stopped, `custody views rebuild`",
            );
        }
        if self.lag > LAG_LIMIT {
            raise(
                "views_lag",
                format!("the views lack {} records", self.lag),
                "ingestion is slowed until they have caught up; give the machine more processor",
            );
        }
        wrong_with_ledger(self.ledger, &mut raise);
        alarms
    }
}

fn wrong_with_keys(
    (failing, by_hand): &(Option<String>, Option<String>),
    raise: &mut dyn FnMut(&'static str, String, &'static str),
) {
    if let Some(why) = failing {
        raise(
            "key_rotation_failing",
            format!("keys are not replaced as they should be: {why}"),
            "see what the message names; it is tried again every minute, and nobody is locked out meanwhile",
        );
    }
    if let Some(what) = by_hand {
        raise(
            "keyring_read_only",
            what.clone(),
            "write the keyring's text to a file of mode 600; stop; `custody keyring --keyring FILE rotate --offline` (or \
             `remove`); put the file's text where the environment takes it from; start",
        );
    }
}

fn wrong_with_ledger(ledger: &ledger::Status, raise: &mut dyn FnMut(&'static str, String, &'static str)) {
    if let Some(why) = &ledger.diverged {
        raise(
            "ledger_diverged",
            format!("the log is not the one that was published, and takes nothing more: {why}"),
            "restore the newest copy of the data directory; if the records are lost for good, stop and run `custody recover`",
        );
    }
    if let Some(why) = &ledger.stopped {
        raise(
            "ledger_stopped",
            format!("nothing is signed, because the log is followed no more: {why}"),
            "run `custody fsck`; when the log checks, restart",
        );
    }
    if let Some(why) = &ledger.failing {
        raise(
            "checkpoint_failing",
            format!("no checkpoint can be published: {why}"),
            "make room and see that the outside copy is mounted and writable; it is tried again by itself",
        );
    }
    for (witness, why) in &ledger.refusals {
        raise(
            "witness_refuses",
            format!("{witness} has not cosigned: {why}"),
            "if it is down, wait; 409 or 422 mean that it has seen another history: look at the outside copy's evidence/",
        );
    }
}

fn out_of_read_only(cause: Option<Cause>) -> &'static str {
    match cause {
        Some(Cause::Unsure) => {
            "restart: recovery decides what is there, and what was not acknowledged is sent again; if it comes \
             back, replace the disk"
        }
        Some(Cause::Index) => "restart: the index is rebuilt from the log",
        Some(Cause::Damage) | None => {
            "keep the directory as it is, run `custody fsck --offline`, restore from a copy what it names"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn log(cause: Option<Cause>) -> log::Status {
        let read_only = cause.map(|_| "why".to_owned());
        log::Status { head: 0, bytes_on_disk: 0, bytes_waiting: 0, read_only, cause, unreachable: None }
    }

    fn state(log: &log::Status, at_reserve: bool) -> State<'_> {
        static LEDGER: LazyLock<ledger::Status> = LazyLock::new(ledger::Status::default);
        State {
            log,
            ledger: &LEDGER,
            older_vault: None,
            unfinished_erasure: None,
            keys: (None, None),
            mirror: None,
            failed_jobs: None,
            stale: None,
            lag: 0,
            disk: Some(Seen { free: 1, reserve: 2 }),
            at_reserve,
        }
    }

    #[test]
    fn each_cause_has_its_own_way_out() {
        let ways = [Cause::Unsure, Cause::Index, Cause::Damage].map(|cause| {
            let log = log(Some(cause));
            state(&log, false).wrong(Timestamp::EPOCH)[0].way_out
        });
        assert!(ways[0].contains("restart") && !ways[0].contains("fsck"), "{}", ways[0]);
        assert!(ways[1].contains("rebuilt"), "{}", ways[1]);
        assert!(ways[2].contains("fsck") && !ways[2].contains("restart:"), "{}", ways[2]);
    }

    #[test]
    fn an_alarm_keeps_its_time_until_it_is_over() {
        let (standing, log) = (Standing::default(), log(None));
        let at = |hour: i64| Timestamp::EPOCH.plus_ms(hour * 3_600_000);
        let since = |hour: i64, at_reserve: bool| {
            let noted = standing.note(state(&log, at_reserve).wrong(at(hour)));
            noted.first().map(|alarm| (alarm.code, alarm.since))
        };
        assert_eq!(since(1, true), Some(("disk_reserve", at(1))));
        assert_eq!(since(2, true), Some(("disk_reserve", at(1))));
        assert_eq!(since(3, false), None);
        assert_eq!(since(4, true), Some(("disk_reserve", at(4))));
    }
}

//! `custody verify` as a stranger runs it: a process of its own, without environment, in an empty
//! directory, with the two keys and nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{log_signer, manifest_signer};

pub struct Stranger {
    directory: tempfile::TempDir,
    keys: [String; 4],
}

/// What it said, and what it cost.
pub struct Judged {
    pub code: i32,
    pub said: Value,
    pub took: Duration,
    /// The most memory that it had at once, in KiB.
    pub peak: u64,
}

impl Stranger {
    /// Somebody who trusts one log.
    pub fn trusting(origin: &str) -> Stranger {
        let of_log = log_signer(origin).verifier().to_string();
        let of_manifests = manifest_signer(origin).verifier().to_string();
        let keys = ["--vkey".to_owned(), of_log, "--manifest-vkey".to_owned(), of_manifests];
        Stranger { directory: tempfile::tempdir().expect("a directory"), keys }
    }

    pub fn verify(&self, bundle: &Path, since: Option<&Path>) -> Judged {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command.env_clear().current_dir(self.directory.path());
        command.args(["--json", "verify"]).args(&self.keys).arg(bundle);
        if let Some(kept) = since {
            command.arg("--since").arg(kept);
        }
        let started = Instant::now();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("custody");
        let (pid, ended) = (child.id(), AtomicBool::new(false));
        let (output, took, peak) = std::thread::scope(|scope| {
            let peak = scope.spawn(|| high_water(pid, &ended));
            let output = child.wait_with_output().expect("an end");
            let took = started.elapsed();
            ended.store(true, Ordering::Relaxed);
            (output, took, peak.join().expect("no panic"))
        });
        let left = std::fs::read_dir(self.directory.path()).expect("the directory").count();
        assert_eq!(left, 0, "it wrote into the directory where it was run");
        let said = serde_json::from_slice(&output.stdout).expect("JSON");
        Judged { code: output.status.code().expect("no signal"), said, took, peak }
    }
}

/// Asked while the process runs: afterwards nobody knows.
fn high_water(pid: u32, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        peak = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

impl Judged {
    /// Which claims did not hold, or why there was nothing to judge.
    pub fn refused(&self) -> String {
        if let Some(error) = self.said["error"].as_str() {
            return error.to_owned();
        }
        let verdicts = self.said["verdicts"].as_object().expect("verdicts");
        let bad = |verdict: &Value| verdict != "proven" && verdict != "not asked";
        let failed = verdicts.iter().find(|(_, found)| found["verdict"] == "failed");
        let found = failed.or_else(|| verdicts.iter().find(|(_, found)| bad(&found["verdict"])));
        found.map_or(String::new(), |(claim, found)| {
            format!("{claim}: {}", found["why"].as_str().unwrap_or_default())
        })
    }
}

//! Export and verify at the size of a real log: rates, beside openssl's over the same file in the same
//! run; memory; and what becomes of a bundle that was tampered with.
//!
//! `cargo bench --bench verify` exports and verifies a million events, five times each;
//! `-- --events 10000000 --rounds 3` says otherwise. `-- --tamper` harms the bundle in every way, and
//! ends with an error if one of them is not refused as it has to be.

mod house;
mod stranger;
mod tamper;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use custody::verify::Level;
use house::{House, ORIGIN};
use stranger::Stranger;
use tokio::runtime::Runtime;

/// The allocator of the server, which makes the bundles.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn number(name: &str, unless: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(unless, |number| number.parse().expect("a number"))
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn bytes(bundle: &Path) -> u64 {
    let files = std::fs::read_dir(bundle).expect("a bundle");
    files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum()
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

/// A line of the table.
fn row(what: &str, mut times: Vec<Duration>, events: u64, bytes: u64) -> Duration {
    times.sort_unstable();
    let (best, median) = (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64());
    println!(
        "{what:<32} {best:8.3} s {median:8.3} s {:10.0}/s {:10.0}/s {:7.0} MB/s",
        events as f64 / best,
        events as f64 / median,
        bytes as f64 / best / 1e6,
    );
    times[0]
}

fn rates(runtime: &Runtime, house: &House, level: Level, rounds: u64, place: &Path) {
    let (target, events) = (place.join("bundle"), house.events());
    let (mut exports, mut copies, mut verifies, mut hashes, mut peak) = (vec![], vec![], vec![], vec![], 0);
    let stranger = Stranger::trusting(ORIGIN);
    let lines = target.join("events.ndjson");
    for _ in 0..rounds {
        if target.exists() {
            std::fs::remove_dir_all(&target).expect("removed");
        }
        exports.push(timed(|| runtime.block_on(house.export(events, level, &target))));
        // What the disk and the page cache alone take for the largest of the files.
        let copy = place.join("copy");
        copies.push(timed(|| assert!(std::fs::copy(&lines, &copy).is_ok())));
        std::fs::remove_file(copy).expect("removed");
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256"]).arg(&lines);
        hashes.push(timed(|| assert!(openssl.output().expect("openssl").status.success())));
        let judged = stranger.verify(&target, None);
        assert_eq!(judged.code, 0, "{}", judged.said);
        verifies.push(judged.took);
        peak = peak.max(judged.peak);
    }
    let (level, whole) = (level.as_str(), bytes(&target));
    let of_lines = lines.metadata().expect("a file").len();
    row(&format!("export, {level}"), exports, events, whole);
    row("  its events.ndjson copied", copies, events, of_lines);
    let verify = row(&format!("verify, {level}"), verifies, events, whole);
    let openssl = row("  openssl dgst -sha256", hashes, events, of_lines);
    println!(
        "  verify takes {:.2} x the time of openssl, and {:.1} MiB at most; load {}",
        verify.as_secs_f64() / openssl.as_secs_f64(),
        peak as f64 / 1024.0,
        load(),
    );
    std::fs::remove_dir_all(&target).expect("removed");
}

fn main() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let runtime = Runtime::new().expect("a runtime");
    println!("load {} before the log is made", load());
    let house = runtime.block_on(House::build(place.path(), ORIGIN, number("--events", 1_000_000)));
    let headers: usize = (1..1_001).map(|n| house::record(ORIGIN, n).header.len()).sum();
    println!("{} events, headers of {} bytes; load {}", house.events(), headers / 1_000, load());
    if std::env::args().any(|argument| argument == "--tamper") {
        tamper::run(&runtime, &house, place.path());
    } else {
        println!("{:32} {:>10} {:>10} {:>12} {:>12} {:>12}", "", "best", "median", "best", "median", "best");
        for level in [Level::Headers, Level::Sealed] {
            rates(&runtime, &house, level, number("--rounds", 5), place.path());
        }
    }
    house.close();
}

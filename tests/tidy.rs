//! House rules that are kept by reading the sources: who may import whom, how long a file may be,
//! what may not stand in the code. A rule that fails says which file breaks it and why it is one.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The code of a file without its unit tests and comments.
fn code(text: &str) -> String {
    let shipped = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn offenders(folder: &str, allowed: &[&str], words: &[&str]) -> Vec<String> {
    sources(folder)
        .into_iter()
        .filter(|(name, _)| !allowed.iter().any(|prefix| name.starts_with(prefix)))
        .flat_map(|(name, text)| {
            let code = code(&text);
            let used: Vec<String> = words
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{name}: {word}"))
                .collect();
            used
        })
        .collect()
}

fn nobody(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

#[test]
fn pure_rules_and_the_record_do_no_io_and_know_no_adapter() {
    let words = [
        "std::fs",
        "std::net",
        "std::thread",
        "tokio",
        "tonic",
        "fjall",
        "rusqlite",
        "crate::log",
        "crate::vault",
        "crate::views",
        "crate::app",
        "crate::api",
        "crate::cli",
        "crate::server",
        "crate::config",
        "crate::clock",
        "async fn",
    ];
    nobody("domain is pure", offenders("src/domain", &[], &words));
    nobody("the record is pure", offenders("src/record", &[], &words));
    nobody("domain does not know the record", offenders("src/domain", &[], &["crate::record"]));
    nobody("proofs and their formats are pure", offenders("src/ledger/tlog", &[], &words));
    let opens_files = ["src/verify/source.rs"];
    nobody("the verifier opens files in one place", offenders("src/verify", &opens_files, &["std::fs"]));
    nobody("and reads what it is given", offenders("src/verify", &[], &words[1..]));
    let more = ["crate::export", "crate::ledger::Ledger", "getrandom", "rand::"];
    nobody("and knows neither writer nor service", offenders("src/verify", &[], &more));
    nobody("tables are bytes in, bytes out", offenders("src/sheet", &["src/sheet/tests.rs"], &words));
    let ours = offenders("src/ledger/tlog", &[], &["crate::", "getrandom", "rand::"]);
    nobody("and need nothing of ours", ours);
}

#[test]
fn libraries_stay_in_their_adapters() {
    nobody(
        "gRPC is named at the edges only, and where KurrentDB is spoken to",
        offenders(
            "src",
            &["src/api", "src/cli", "src/server", "src/pb.rs", "src/log/kurrent"],
            &["tonic::", "use tonic"],
        ),
    );
    nobody(
        "KurrentDB has one adapter",
        offenders("src", &["src/log/kurrent"], &["eventstore::", "use eventstore"]),
    );
    nobody("one place reads cron expressions", offenders("src", &["src/jobs/schedule.rs"], &["cron::"]));
    nobody(
        "PostgreSQL is spoken in its own module and in the adapters that keep something there",
        offenders(
            "src",
            &["src/postgres", "src/vault/postgres", "src/log/sidecars/postgres"],
            &["tokio_postgres", "deadpool"],
        ),
    );
    nobody("SQL lives in the vault's adapter", offenders("src", &["src/vault/sqlite"], &["rusqlite"]));
    nobody(
        "spreadsheets are read and written in one place",
        offenders(
            "src",
            &["src/sheet"],
            &["calamine::", "use calamine", "rust_xlsxwriter", "encoding_rs", "zip::"],
        ),
    );
    nobody(
        "fjall keeps what is derived",
        offenders("src", &["src/log/segments", "src/views"], &["fjall::", "use fjall"]),
    );
}

#[test]
fn data_flows_one_way() {
    let below =
        ["src/log", "src/vault", "src/views", "src/ledger", "src/record", "src/domain", "src/postgres"];
    for folder in below {
        let words = ["crate::app", "crate::api", "crate::cli", "crate::server", "crate::jobs"];
        nobody("what is below does not know who stands above", offenders(folder, &[], &words));
    }
    nobody(
        "the log knows no people",
        offenders("src/log", &[], &["crate::vault", "crate::views", "crate::record"]),
    );
    nobody("the vault builds no records", offenders("src/vault", &[], &["crate::log", "crate::views"]));
    let others = ["crate::vault", "crate::views"];
    nobody("the ledger knows no people and no answers", offenders("src/ledger", &[], &others));
    let others = ["crate::log", "crate::vault", "crate::views", "crate::ledger", "crate::record"];
    nobody("the database knows nothing of what is kept in it", offenders("src/postgres", &[], &others));
    nobody("views hold no keys of people", offenders("src/views", &[], &["crate::vault"]));
    nobody(
        "an export is handed the keys it gives away",
        offenders(
            "src/export",
            &[],
            &["crate::vault", "crate::views", "crate::app", "crate::api", "crate::cli"],
        ),
    );
    nobody(
        "a backup is of files: it is handed its keys, and knows neither log nor vault",
        offenders(
            "src/backup",
            &["src/backup/tests.rs"],
            &[
                "crate::vault",
                "crate::log",
                "crate::ledger",
                "crate::views",
                "crate::app",
                "crate::api",
                "crate::cli",
                "crate::server",
                "crate::config",
                "tokio",
                "tonic",
            ],
        ),
    );
    nobody(
        "use cases know no transport",
        offenders("src/app", &[], &["crate::api", "crate::pb", "crate::cli"]),
    );
    nobody("nor who asks them when", offenders("src/app", &[], &["crate::jobs", "crate::server"]));
    let others = ["crate::api", "crate::pb", "crate::cli", "crate::server", "tonic"];
    let stores = ["crate::log", "crate::vault", "crate::ledger"];
    nobody("jobs are a driver of their own", offenders("src/jobs", &[], &others));
    nobody("and call use cases, not stores", offenders("src/jobs", &[], &stores));
    let jobs = ["src/api/jobs.rs"];
    nobody("one service asks what is due", offenders("src/api", &jobs, &["crate::jobs"]));
    let asks = ["crate::app", "crate::clock", "tokio", "async"];
    nobody("a schedule is pure", offenders("src/jobs/schedule", &[], &asks));
    let schedule: Vec<_> = offenders("src/jobs", &[], &asks);
    nobody(
        "and so is its file",
        schedule.into_iter().filter(|found| found.starts_with("src/jobs/schedule.rs")).collect(),
    );
}

#[test]
fn only_the_clock_asks_what_time_it_is() {
    let allowed = ["src/clock.rs"];
    nobody("time is injected", offenders("src", &allowed, &["SystemTime::now", "Utc::now", "Local::now"]));
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!("];
    nobody("no stubs", offenders("src", &[], &words));
    nobody("no skipped tests", offenders("tests", &["tests/tidy.rs"], &["#[ignore"]));
    nobody("no switched-off tests", offenders("src", &[], &["#[ignore"]));
}

#[test]
fn files_stay_short_and_well_named() {
    let long: Vec<String> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|(_, text)| text.lines().count() > 600)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    nobody("a file holds one idea and stays below 600 lines", long);
    let vague: Vec<String> = sources("src")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            ["utils", "util", "common", "models", "types", "helpers"]
                .iter()
                .any(|word| name.split(['/', '.']).any(|part| part == *word))
        })
        .collect();
    nobody("a module is named for what it holds", vague);
    let unsaid: Vec<String> = sources("src")
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    nobody("a module begins with what it promises", unsaid);
}

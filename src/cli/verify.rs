//! `custody verify`: checks an export bundle. It needs no service, no data directory, no
//! configuration and no network; it writes nothing.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE};
use crate::ledger::tlog::{Policy, SignedCheckpoint, VerifierKey};
use crate::verify::{Error, Options, Report, TagKeys, Trust, Verdict, source, verify};

/// Longest file that the verifier brings.
const MAX_BROUGHT: u64 = 1 << 20;

/// Trust comes only from what you bring; what stands in the bundle is never trusted.
///
/// Exit code 0: all that was asked is proven. 10: something is unproven. 20: the bundle contradicts
/// the checkpoint you kept. 30: it is wrong. 40: it is no bundle.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// A directory, or an archive
    bundle: PathBuf,
    /// Whom to trust: a file in the format tlog-policy
    #[arg(long, value_name = "FILE", conflicts_with = "vkey")]
    policy: Option<PathBuf>,
    /// The log's key, where no witness is asked for
    #[arg(long, value_name = "KEY")]
    vkey: Option<VerifierKey>,
    /// The key of the log's manifests; a policy may list it as a log
    #[arg(long, value_name = "KEY")]
    manifest_vkey: Option<VerifierKey>,
    /// A checkpoint that you kept from earlier
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
    /// One person's tag keys, a year and a key a line: finds that person's events
    #[arg(long, value_name = "FILE")]
    tag_keys: Option<PathBuf>,
    /// How old the witnesses' signatures may be, such as 90m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_age: Option<i64>,
}

/// In milliseconds.
fn duration(text: &str) -> Result<i64, String> {
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).unwrap_or_default();
    let unit = match unit {
        "m" => MS_PER_MINUTE,
        "h" => MS_PER_HOUR,
        "d" => MS_PER_DAY,
        _ => return Err("is not a number with m, h or d".to_owned()),
    };
    let number: i64 = number.parse().map_err(|_| "is not a number with m, h or d".to_owned())?;
    number.checked_mul(unit).filter(|ms| *ms > 0).ok_or_else(|| "is out of range".to_owned())
}

pub fn run(command: Verify, output: Output) -> Outcome {
    let (trust, options) = brought(&command)?;
    judge(&command.bundle, &trust, &options, output)
}

/// Prints what is proven; an error unless it is all that was asked.
pub fn judge(bundle: &Path, trust: &Trust, options: &Options, output: Output) -> Outcome {
    match source::open(bundle).and_then(|source| verify(&*source, trust, options)) {
        Ok(report) => {
            if output.json {
                output.line(&as_json(&report).to_string())?
            } else {
                print(&report, output)?
            }
            end(&report)
        }
        Err(error) => Err(refused(&error, output)?),
    }
}

/// Looks at a bundle that has just come, without anybody's keys: whether its files are those of its
/// manifest, and its proofs lead to its checkpoint. Whom to trust is for the recipient to say.
pub fn look(bundle: &Path) -> Outcome {
    let none = Options { now: SystemClock.now(), ..Options::default() };
    let report = source::open(bundle).and_then(|source| verify(&*source, &Trust::default(), &none));
    let report = report.map_err(|error| Failure::new(Exit::Malformed, error))?;
    let failed = report.verdicts().iter().find(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    match failed {
        None => Ok(()),
        Some((claim, verdict)) => {
            let why = format!("the bundle does not hold: {}: {}", claim.as_str(), verdict.why());
            Err(Failure::new(Exit::Invalid, why))
        }
    }
}

/// Reads what the verifier brings. What is wrong with it is the caller's to mend, not the bundle's fault.
fn brought(command: &Verify) -> Result<(Trust, Options), Failure> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::usage(format_args!("{} cannot be used: {why}", path.display()))
    };
    let policy = match (&command.policy, &command.vkey) {
        (Some(path), _) => Some(Policy::parse(&file(path)?).map_err(|why| wrong(path, &why))?),
        (None, key) => key.clone().map(Policy::of_log),
    };
    let since = match &command.since {
        Some(path) => Some(SignedCheckpoint::parse(&file(path)?).map_err(|why| wrong(path, &why))?),
        None => None,
    };
    let tag_keys = match &command.tag_keys {
        Some(path) => {
            let text = String::from_utf8(file(path)?).map_err(|_| wrong(path, &"it is not text"))?;
            Some(TagKeys::parse(&text).map_err(|why| wrong(path, &why))?)
        }
        None => None,
    };
    let trust = Trust { policy, manifest_key: command.manifest_vkey.clone(), since };
    Ok((trust, Options { tag_keys, max_age: command.max_age, now: SystemClock.now() }))
}

fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |e| Failure::usage(format_args!("{} cannot be read: {e}", path.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).map_err(unreadable)?;
    opened.take(MAX_BROUGHT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BROUGHT {
        return Err(Failure::usage(format_args!("{} is longer than 1 MiB", path.display())));
    }
    Ok(bytes)
}

fn refused(error: &Error, output: Output) -> Result<Failure, Failure> {
    let message = match error {
        Error::Malformed { file, why } => format!("malformed: {} {}", visible(file), visible(why)),
        Error::Io { file, source } => format!("{} cannot be read: {source}", visible(file)),
    };
    let exit = match error {
        Error::Malformed { .. } => Exit::Malformed,
        Error::Io { .. } => Exit::Usage,
    };
    if output.json {
        output.line(&json!({ "exit": exit as u8, "error": message }).to_string())?;
    }
    Ok(Failure::new(exit, message))
}

fn end(report: &Report) -> Outcome {
    let (exit, message) = match report.exit() {
        0 => return Ok(()),
        10 => (Exit::Unproven, "nothing is wrong, but not all that was asked is proven"),
        20 => (Exit::Contradicted, "the bundle contradicts the checkpoint you keep: keep both as evidence"),
        _ => (Exit::Invalid, "the bundle does not hold"),
    };
    Err(Failure::new(exit, message))
}

fn print(report: &Report, output: Output) -> std::io::Result<()> {
    let (manifest, none) = (&report.manifest, String::new);
    output.facts(&[
        ("log", visible(&manifest.origin)),
        ("export", visible(&manifest.export)),
        ("kind", manifest.kind.as_str().to_owned()),
        ("positions", format!("{} to {} (exclusive)", manifest.from, manifest.to)),
        ("filter", manifest.filter_words.as_deref().map_or_else(none, visible)),
        ("level", manifest.level.as_str().to_owned()),
        ("events", manifest.counts.events.to_string()),
        ("created", manifest.created.to_string()),
        ("authority", manifest.authority.as_deref().map_or_else(none, visible)),
        ("law", manifest.law.as_deref().map_or_else(none, visible)),
    ])?;
    output.line("")?;
    let row = |(claim, verdict): &(crate::verify::Claim, Verdict)| {
        vec![claim.as_str().to_owned(), verdict.as_str().to_owned(), visible(verdict.why())]
    };
    let rows: Vec<Vec<String>> = report.verdicts().iter().map(row).collect();
    output.table(&["CLAIM", "VERDICT", "WHY"], &rows)?;
    if !report.attested.is_empty() {
        output.heading("Said by the operator alone, not proven")?;
        report.attested.iter().try_for_each(|said| output.line(said))?;
    }
    for (_, verdict) in report.verdicts() {
        if let Verdict::Contradicts { kept, shown, .. } = verdict {
            output.heading("The checkpoint you keep")?;
            output.line(kept.trim_end())?;
            output.heading("The checkpoint of the bundle")?;
            output.line(shown.trim_end())?;
        }
    }
    Ok(())
}

/// What a stranger wrote, without what would move a terminal's cursor or turn its text around.
fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { '\u{FFFD}' } else { c }).collect()
}

fn as_json(report: &Report) -> Value {
    let mut verdicts = serde_json::Map::new();
    let mut contradiction = Value::Null;
    for (claim, verdict) in report.verdicts() {
        let found = json!({ "verdict": verdict.as_str().to_lowercase(), "why": verdict.why() });
        verdicts.insert(claim.as_str().replace([' ', '-'], "_"), found);
        if let Verdict::Contradicts { kept, shown, .. } = verdict {
            contradiction = json!({ "kept": kept, "shown": shown });
        }
    }
    let (manifest, counts) = (&report.manifest, &report.manifest.counts);
    let bundle = json!({
        "origin": manifest.origin, "export": manifest.export, "kind": manifest.kind.as_str(),
        "from": manifest.from, "to": manifest.to, "level": manifest.level.as_str(),
        "filter": manifest.filter, "created": manifest.created.to_string(),
        "authority": manifest.authority, "law": manifest.law,
        "counts": {
            "events": counts.events, "retractions": counts.retractions, "retracted": counts.retracted,
            "sealed": counts.sealed, "destroyed": counts.destroyed, "withheld": counts.withheld,
            "opened": counts.opened,
        },
    });
    json!({
        "exit": report.exit(), "size": report.size, "bundle": bundle, "verdicts": verdicts,
        "attested": report.attested, "contradiction": contradiction,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::export::tests::house::{House, Persons, YEAR};
    use crate::export::{Proofs, Scope};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        verify: Verify,
    }

    fn exit(arguments: &[&str]) -> Exit {
        let line = Line::try_parse_from(std::iter::once(&"verify").chain(arguments)).unwrap();
        [false, true]
            .map(|json| {
                run(line.verify.clone(), Output::new(json)).map_or_else(|failure| failure.exit, |()| Exit::Ok)
            })
            .into_iter()
            .reduce(|a, b| if a == b { a } else { panic!("{a:?} in words, {b:?} in JSON") })
            .unwrap()
    }

    #[test]
    fn every_end_has_its_code() {
        let house = House::of(9);
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let bundle = place("b.tar");
        house.write(&house.request(Scope::Range, 0, 9), Path::new(&bundle)).unwrap();
        let key = house.trust().policy.unwrap().logs[0].key.to_string();
        let export =
            house.manifest_signer(&house.signed(1).checkpoint.origin).unwrap().verifier().to_string();
        let trusted = [bundle.as_str(), "--vkey", &key, "--manifest-vkey", &export];
        assert_eq!(exit(&trusted), Exit::Ok);
        assert_eq!(exit(&trusted[..3]), Exit::Unproven);
        assert_eq!(exit(&trusted[..1]), Exit::Unproven);
        std::fs::write(place("policy"), format!("log {key}\nlog {export}\nquorum none\n")).unwrap();
        std::fs::write(place("kept"), house.signed(5).to_string()).unwrap();
        std::fs::write(place("tags"), Persons::tag_keys(1).text().as_bytes()).unwrap();
        let by_policy =
            [&bundle, "--policy", &place("policy"), "--since", &place("kept"), "--tag-keys", &place("tags")];
        assert_eq!(exit(&by_policy), Exit::Ok);
        assert_eq!(exit(&[&by_policy[..], &["--max-age", "1d"]].concat()), Exit::Unproven);
        let rewritten = House::named(&house.signed(1).checkpoint.origin, (0..9).map(|n| n + 20));
        std::fs::write(place("kept"), rewritten.signed(5).to_string()).unwrap();
        assert_eq!(exit(&by_policy), Exit::Contradicted);
        let export_as_log = [bundle.as_str(), "--vkey", &export];
        assert_eq!(exit(&export_as_log), Exit::Invalid);
        std::fs::write(place("c.tar"), "no archive").unwrap();
        assert_eq!(exit(&[&place("c.tar")]), Exit::Malformed);
        assert_eq!(exit(&[&place("nowhere")]), Exit::Usage);
        assert_eq!(exit(&[&bundle, "--policy", &place("nowhere")]), Exit::Usage);
        std::fs::write(place("tags"), format!("{YEAR}")).unwrap();
        assert_eq!(exit(&by_policy), Exit::Usage);
    }

    #[test]
    fn times_are_read_and_nonsense_is_not() {
        assert_eq!(duration("7d"), Ok(7 * MS_PER_DAY));
        assert_eq!(duration("90m"), Ok(90 * MS_PER_MINUTE));
        for wrong in ["", "7", "d", "-1d", "0h", "7日", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bundle_cannot_write_on_the_terminal() {
        assert_eq!(visible("a\u{1b}[2J\u{202E}b"), "a\u{FFFD}[2J\u{FFFD}b");
    }
}

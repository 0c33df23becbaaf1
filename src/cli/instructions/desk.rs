//! `custody instructions desk`: for services and recipients that will never call. Who has what open and has to be
//! reminded, the letters that go out to them, and what they answered, entered by hand.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::letter::{self, Item, Letter};
use super::{found, print, words, work};
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::cli::sheets::instructions::instructions as list;
use crate::clock::{Clock, SystemClock};
use crate::domain::time::Timestamp;
use crate::pb;
use crate::sheet::{self, Language};
use crate::verify::manifest::unhex;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Desk {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    worklist: Worklist,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the letter to an addressee, in Chinese and English, with the list of what it is about
    Letter(Writing),
    /// Enter what an addressee answered
    Answer(Answer),
}

#[derive(Debug, Args)]
struct Worklist {
    /// Only of this addressee, with each instruction; without this, of all who are told by letter
    #[arg(long)]
    addressee: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Writing {
    /// The service or recipient
    addressee: String,
    /// Directory for the letters (text) and the list (CSV and XLSX)
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Who writes, as it is to stand in the letter
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// It is the first letter, however long ago the instructions went out; without this, what went out seven days
    /// ago or more is a reminder
    #[arg(long)]
    first: bool,
    /// Also what the addressee has put off
    #[arg(long)]
    put_off_too: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(after_help = "Ends with 1 where any answer was refused.")]
struct Answer {
    /// Who answered
    #[arg(long)]
    addressee: String,
    /// The instruction; may be repeated where the answer is the same
    #[arg(long = "id", value_name = "INSTRUCTION", required = true)]
    ids: Vec<String>,
    /// done, refused, impossible or deferred
    #[arg(long, value_parser = words::outcome_of)]
    outcome: pb::InstructionOutcome,
    /// Why it was not done, as a code; of a deferral `technical`
    #[arg(long, value_name = "CODE", default_value = "")]
    ground: String,
    /// When it was done; now without this
    #[arg(long, value_name = "TIME")]
    executed_at: Option<Timestamp>,
    /// How data were destroyed: delete, overwrite, crypto_shred, aggregate or generalise
    #[arg(long, value_parser = words::method_of)]
    method: Option<pb::ErasureMethod>,
    /// A store from which they are gone; may be repeated
    #[arg(long = "store", value_name = "STORE")]
    stores: Vec<String>,
    /// When the last backup that holds them ends
    #[arg(long, value_name = "TIME")]
    backups_expire_at: Option<Timestamp>,
    /// How that was verified: readback or none
    #[arg(long, value_parser = words::verification_of)]
    verification: Option<pb::Verification>,
    /// The test that failed to re-identify anybody
    #[arg(long, value_name = "REF", default_value = "")]
    reid_test_ref: String,
    /// SHA-256 of a proof that the addressee keeps
    #[arg(long, value_name = "HEX")]
    evidence_sha256: Option<String>,
    /// Of a deferral: when it is looked at again
    #[arg(long, value_name = "TIME")]
    review_at: Option<Timestamp>,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Desk, output: Output) -> Outcome {
    match command.command {
        None => worklist(command.worklist, output).await,
        Some(Command::Letter(command)) => write(command, output).await,
        Some(Command::Answer(command)) => answer(command, output).await,
    }
}

/// What one addressee has open.
#[derive(Debug, Default, PartialEq)]
struct Pile {
    channel: String,
    open: usize,
    overdue: usize,
    kinds: BTreeMap<String, usize>,
    /// Deadlines in seconds.
    first_due: Option<i64>,
    last_due: Option<i64>,
    /// How many have to be reminded for the first, second, third time by now.
    reminders: BTreeMap<u32, usize>,
}

/// What is open, by addressee.
fn piles(open: &[pb::Instruction], now: Timestamp) -> BTreeMap<String, Pile> {
    let mut piles: BTreeMap<String, Pile> = BTreeMap::new();
    for one in open {
        let pile = piles.entry(one.addressee.clone()).or_default();
        let due = one.due.as_ref().map(|due| due.seconds);
        pile.channel = words::channel(one.channel());
        pile.open += 1;
        pile.overdue += usize::from(due.is_some_and(|due| due * 1_000 <= now.ms()));
        *pile.kinds.entry(words::kind(one.kind())).or_default() += 1;
        pile.first_due = pile.first_due.into_iter().chain(due).min();
        pile.last_due = pile.last_due.into_iter().chain(due).max();
        if one.reminders > 0 {
            *pile.reminders.entry(one.reminders).or_default() += 1;
        }
    }
    piles
}

async fn open(remote: &Remote, addressee: &str) -> Result<Vec<pb::Instruction>, Failure> {
    let request = pb::ListInstructionsRequest {
        addressee: addressee.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    Ok(found(&remote.connect().await?, request, usize::MAX).await?)
}

async fn worklist(command: Worklist, output: Output) -> Outcome {
    let mut all = open(&command.remote, command.addressee.as_deref().unwrap_or_default()).await?;
    if command.addressee.is_none() {
        // Who calls is no matter of the desk; whose way is not stated has to be asked.
        all.retain(|one| {
            matches!(one.channel(), pb::RecipientChannel::Desk | pb::RecipientChannel::Unspecified)
        });
    }
    let piles = piles(&all, SystemClock.now());
    let instant = |seconds: Option<i64>| {
        time(seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }).as_ref())
    };
    if output.json {
        for (addressee, pile) in &piles {
            let line = json!({
                "addressee": addressee, "channel": pile.channel, "open": pile.open, "overdue": pile.overdue,
                "kinds": pile.kinds, "first_due": instant(pile.first_due), "last_due": instant(pile.last_due),
                "reminders": pile.reminders,
            });
            output.line(&line.to_string())?;
        }
        return Ok(());
    }
    let counts = |(what, count): (&dyn std::fmt::Display, &usize)| format!("{count} {what}");
    let row = |(addressee, pile): (&String, &Pile)| {
        let kinds: Vec<String> = pile.kinds.iter().map(|(kind, count)| counts((kind, count))).collect();
        let reminders: Vec<String> =
            pile.reminders.iter().map(|(number, count)| counts((&format!("no. {number}"), count))).collect();
        vec![
            addressee.clone(),
            pile.channel.clone(),
            pile.open.to_string(),
            kinds.join(", "),
            instant(pile.first_due),
            instant(pile.last_due),
            pile.overdue.to_string(),
            reminders.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = piles.iter().map(row).collect();
    let headings =
        ["addressee", "channel", "open", "kinds", "first due", "last due", "overdue", "reminders due"];
    output.table(&headings, &rows)?;
    if command.addressee.is_some() {
        output.heading("each")?;
        print(&all, output)?;
    }
    Ok(())
}

async fn write(command: Writing, output: Output) -> Outcome {
    let Writing { addressee, dir, sender, first, put_off_too, remote } = command;
    let mut open = open(&remote, &addressee).await?;
    let all = open.len();
    open.retain(|one| put_off_too || one.state() != pb::InstructionState::Deferred);
    if open.len() < all {
        output.note(&format!(
            "{} that were put off are left out: --put-off-too writes of them",
            all - open.len()
        ));
    }
    if first {
        open.iter_mut().for_each(|one| one.reminders = 0);
    }
    if open.is_empty() {
        output.note(&format!("nothing is open with {addressee}: no letter was written"));
        return Ok(());
    }
    if open.iter().any(|one| one.identifiers.is_empty()) {
        output.note("the service told no identifiers for some: their lines do not say whom they are about");
    }
    let files = files(&open, addressee, sender, SystemClock.now())?;
    std::fs::create_dir_all(&dir)?;
    for (name, bytes) in files {
        let path = dir.join(name);
        keep(&path, &bytes)?;
        output.line(&path.display().to_string())?;
    }
    Ok(())
}

/// The letters and the list, each with the name of its file.
fn files(
    open: &[pb::Instruction],
    addressee: String,
    sender: Option<String>,
    date: Timestamp,
) -> Result<[(String, Vec<u8>); 4], Failure> {
    let names = Names::new(&addressee, date);
    let letters = letter::of(&Letter {
        items: open.iter().map(item).collect(),
        list: [".csv", ".xlsx"].map(|ending| names.of(ending)).to_vec(),
        addressee,
        sender,
        date,
    });
    let sheet = list(open, words::kind, |one| {
        let realm = if one.realm.is_empty() { String::new() } else { format!("@{}", one.realm) };
        format!("{}{realm}:{}", words::identifier_kind(one.kind()), one.value)
    });
    let mut csv = Vec::new();
    // The mark at the beginning without which Excel takes UTF-8 for something else.
    let made = sheet::csv::write(&sheet, &mut csv, Language::Both, true);
    let xlsx = made.and_then(|()| sheet::xlsx::write(&sheet, Language::Both, date));
    let xlsx = xlsx.map_err(|why| Failure::new(Exit::Refused, why))?;
    Ok([
        (names.of(".en.txt"), letters.en.into_bytes()),
        (names.of(".zh.txt"), letters.zh.into_bytes()),
        (names.of(".csv"), csv),
        (names.of(".xlsx"), xlsx),
    ])
}

fn item(one: &pb::Instruction) -> Item {
    let due = one.due.as_ref().and_then(|due| Timestamp::from_ms(due.seconds.checked_mul(1_000)?));
    Item { reference: one.instruction_id.clone(), kind: one.kind(), due, reminders: one.reminders }
}

/// What the files of a letter are called: by addressee and day, so that a reminder does not take the place of what it
/// reminds of.
struct Names(String);

impl Names {
    fn new(addressee: &str, date: Timestamp) -> Names {
        // An id may have signs that are none of a file's name.
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let addressee: String = addressee.chars().map(safe).collect();
        Names(format!("{addressee}-{}", date.local_date(chrono_tz::UTC)))
    }

    fn of(&self, ending: &str) -> String {
        format!("{}{ending}", self.0)
    }
}

/// Readable to its owner alone: a list names people.
fn keep(path: &Path, bytes: &[u8]) -> Outcome {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))
}

async fn answer(command: Answer, output: Output) -> Outcome {
    let evidence = match &command.evidence_sha256 {
        None => Vec::new(),
        Some(text) => unhex(&text.to_ascii_lowercase())
            .ok_or_else(|| Failure::usage("--evidence-sha256 is not of 64 hexadecimal digits"))?
            .to_vec(),
    };
    let each = |id: &String| pb::InstructionAcknowledgement {
        instruction_id: id.clone(),
        outcome: command.outcome.into(),
        ground: command.ground.clone(),
        executed_at: command.executed_at.map(timestamp),
        method: command.method.map_or(0, i32::from),
        stores: command.stores.clone(),
        backups_expire_at: command.backups_expire_at.map(timestamp),
        verification: command.verification.map_or(0, i32::from),
        reid_test_ref: command.reid_test_ref.clone(),
        evidence_sha256: evidence.clone().into(),
        review_at: command.review_at.map(timestamp),
    };
    let answers = command.ids.iter().map(each).collect();
    let client = command.remote.connect().await?;
    let refused = work::answer(&client, &command.addressee, answers, output).await?;
    if refused { Err(Failure::found()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(addressee: &str, kind: pb::InstructionKind, due: i64, reminders: u32) -> pb::Instruction {
        pb::Instruction {
            instruction_id: "i-1".to_owned(),
            addressee: addressee.to_owned(),
            kind: kind.into(),
            channel: pb::RecipientChannel::Desk.into(),
            due: Some(prost_types::Timestamp { seconds: due, nanos: 0 }),
            reminders,
            ..Default::default()
        }
    }

    #[test]
    fn a_pile_tells_deadlines_and_who_has_to_be_reminded() {
        use pb::InstructionKind::{Erase, Notify};
        let all = [
            open("b", Erase, 100, 0),
            open("a", Notify, 300, 2),
            open("a", Erase, 200, 2),
            open("a", Erase, 400, 1),
        ];
        let now = Timestamp::from_ms(300_000).unwrap();
        let piles = piles(&all, now);
        assert_eq!(piles.keys().collect::<Vec<_>>(), ["a", "b"]);
        let a = &piles["a"];
        assert_eq!((a.open, a.overdue, a.first_due, a.last_due), (3, 2, Some(200), Some(400)));
        assert_eq!(a.reminders, BTreeMap::from([(1, 1), (2, 2)]));
        assert_eq!(a.kinds, BTreeMap::from([("erase".to_owned(), 2), ("notify".to_owned(), 1)]));
        assert!(piles["b"].reminders.is_empty() && piles["b"].channel == "desk");
    }

    #[test]
    fn files_are_named_by_addressee_and_day() {
        let names = Names::new("a/b:c", "2026-12-01T23:59:59Z".parse().unwrap());
        assert_eq!(names.of(".zh.txt"), "a_b_c-2026-12-01.zh.txt");
    }

    #[test]
    fn the_list_reads_as_a_table_and_tells_no_reason() {
        let one = pb::Instruction {
            because: vec!["keep.secret".to_owned()],
            ground: "secret".to_owned(),
            case_id: "C-secret".to_owned(),
            identifiers: vec![pb::Identifier {
                kind: pb::IdentifierKind::Account.into(),
                realm: "solar".to_owned(),
                value: "=42".to_owned(),
            }],
            ..open("a", pb::InstructionKind::Erase, 0, 1)
        };
        let sheet = list(&[one], words::kind, |one| one.value.clone());
        let mut csv = Vec::new();
        sheet::csv::write(&sheet, &mut csv, Language::Both, false).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        assert!(csv.contains("编号") && csv.contains("erase") && !csv.contains("secret"), "{csv}");
    }
}

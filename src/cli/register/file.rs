//! `custody register apply`: a TOML file of registers, as one import.
//!
//! A file holds tables such as `[[controller]]`, `[[service]]`, `[[recipient]]`, `[[activity]]`, `[[mechanism]]`,
//! `[[assessment]]`, `[[policy]]`, `[[retention_rule]]`, `[[hold]]`, `[[breach]]`, `[[mapping]]` and `[[law]]`, or
//! named as any other register event is in `proto/custody/v1/event.proto` (`[[breach_assessed]]`), with the fields
//! of its message; names of enums may be given without their prefix, in any case. `people` of a table are those
//! that the event names, `approved_by` the names of staff who approved it. With `applied_at = <time>` at the top, applying the same file again records nothing new
//! and shows the first receipts; without it what says nothing new is not recorded.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Envelope;
use super::show::{changes, state_of};
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::derived_id;
use crate::cli::sheets::registers::{APPROVED_BY, approvers_of};
use crate::clock::{Clock, SystemClock};
use crate::domain::event::EventType;
use crate::domain::register::keeps;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Args)]
pub struct Apply {
    /// TOML file of registers
    file: PathBuf,
    /// Only show what it would change; exit code 1 if it would be refused
    #[arg(long)]
    check: bool,
    /// Name of this import; the same again records nothing new
    #[arg(long, value_name = "ID")]
    import_id: Option<String>,
    /// Why, as a lower-case code
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    envelope: Envelope,
}

/// What is the same for all entries of an import.
pub struct How {
    remote: Remote,
    import_id: String,
    reason: String,
    check: bool,
}

impl How {
    /// An import of its own.
    pub fn of(envelope: &Envelope) -> How {
        How {
            remote: envelope.remote.clone(),
            import_id: format!("cli-{}", new_id()),
            reason: String::new(),
            check: false,
        }
    }

    /// The import of a file: the same for the same file, if it says when it was applied.
    pub fn of_file(envelope: &Envelope, text: &str, applied_at: Option<Timestamp>) -> How {
        let how = How::of(envelope);
        match applied_at {
            None => how,
            Some(_) => {
                let said = format!("{:?} {} {text}", envelope.controller_of, envelope.recorded_by);
                How { import_id: format!("file-{}", derived_id(&said).simple()), ..how }
            }
        }
    }
}

fn new_id() -> Uuid {
    let now = SystemClock.now().ms();
    let seconds = now.div_euclid(1_000).unsigned_abs();
    let nanos = now.rem_euclid(1_000) as u32 * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix_time(seconds, nanos, 0, 0))
}

pub async fn apply(command: Apply, output: Output) -> Outcome {
    let Apply { file, check, import_id, reason, envelope } = command;
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", file.display())))?;
    let (entries, at) = read(&text, &envelope).map_err(|why| named(&file, &why))?;
    let how = How::of_file(&envelope, &text, at);
    let import_id = import_id.unwrap_or(how.import_id);
    record(entries, How { check, reason, import_id, ..how }, output).await
}

/// Records entries, and says nothing of it.
pub async fn record_silently(entries: Vec<Entry>, how: How) -> Outcome {
    let request = request(&entries, &how);
    let answer = how.remote.connect().await?.registers().apply_register_entries(request).await?.into_inner();
    match answer.outcomes.iter().find_map(|outcome| why_refused(outcome).into_iter().next()) {
        Some(why) => Err(Failure::new(Exit::Refused, why)),
        None => Ok(()),
    }
}

fn named(file: &Path, why: &str) -> Failure {
    Failure::new(Exit::Refused, format_args!("{}: {why}", file.display()))
}

/// The registers in the order in which they refer to each other, with their field of the event.
const KINDS: [(&str, &str); 12] = [
    ("law", "law_data_activated"),
    ("controller", "controller_registered"),
    ("service", "service_registered"),
    ("recipient", "recipient_registered"),
    ("activity", "activity_registered"),
    ("policy", "policy_published"),
    ("mechanism", "transfer_mechanism_registered"),
    ("assessment", "assessment_recorded"),
    ("retention_rule", "retention_rule_published"),
    ("hold", "legal_hold_placed"),
    ("breach", "breach_detected"),
    ("mapping", "mapping_added"),
];

/// All tables that a file may hold, by name: the registers, then every other register event.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = EventType::ALL.iter().filter(|event_type| keeps(**event_type)).map(|of| of.field());
    KINDS.into_iter().chain(others.map(|field| (field, field)))
}

fn no_register(name: &str) -> String {
    let known = KINDS.map(|(name, _)| name).join(", ");
    format!("there is no register {name}; there are {known}, and the register events by their names")
}

/// One thing to register.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: &'static str,
    pub event: pb::Event,
}

impl Entry {
    pub fn new(
        kind: &str,
        mut body: Value,
        controller: &str,
        emitter: &str,
        applied_at: Option<Timestamp>,
    ) -> Result<Entry, String> {
        let found = kinds().find(|(name, _)| *name == kind);
        let (kind, field) = found.ok_or_else(|| no_register(kind))?;
        drop_unset(&mut body);
        let id = match applied_at {
            Some(at) => derived_id(&format!("{controller} {emitter} {at} {field} {body}")),
            None => new_id(),
        };
        let mut event = Map::new();
        if let Some(people) = people_of(&mut body).map_err(|why| format!("{kind}: {why}"))? {
            event.insert("people".to_owned(), people);
        }
        event.insert("event_id".to_owned(), json!(id));
        event.insert("controller".to_owned(), json!(controller));
        event.insert("emitter".to_owned(), json!(emitter));
        event.insert("occurred_at".to_owned(), json!(applied_at.unwrap_or_else(|| SystemClock.now())));
        event.insert("backfill".to_owned(), json!(applied_at.is_some()));
        event.insert(field.to_owned(), body);
        let mut event = Value::Object(event);
        // What is no word of its enum is told by its field, before all of it is refused for that.
        if let Some(path) = json::spell_out_all("Event", &mut event) {
            let path = path.strip_prefix(field).map_or(path.as_str(), |rest| rest.trim_start_matches('.'));
            return Err(format!("{kind}: {path} is none of the words that there are"));
        }
        let event = json::parse("Event", &event.to_string()).map_err(|why| format!("{kind}: {why}"))?;
        Ok(Entry { kind, event })
    }
}

/// Whom a table names beside what it says: people in full, and approvers by their names.
fn people_of(body: &mut Value) -> Result<Option<Value>, String> {
    let Some(body) = body.as_object_mut() else { return Ok(None) };
    let (people, names) = (body.remove("people"), body.remove(APPROVED_BY));
    let Some(names) = names else { return Ok(people) };
    let approvers = approvers_of(&names).map_err(|why| format!("{APPROVED_BY} {why}"))?;
    let mut all = people.and_then(|people| people.as_array().cloned()).unwrap_or_default();
    all.extend(approvers.as_array().cloned().unwrap_or_default());
    Ok(Some(Value::Array(all)))
}

/// What a flag or a key did not say is not in the message.
fn drop_unset(body: &mut Value) {
    if let Value::Object(fields) = body {
        fields.retain(|_, value| !value.is_null());
    }
}

/// When a file says that it was applied.
pub fn applied_at(file: &toml::Table) -> Result<Option<Timestamp>, String> {
    let Some(value) = file.get("applied_at") else { return Ok(None) };
    plain(value).as_str().unwrap_or_default().parse().map(Some).map_err(|e| format!("applied_at: {e}"))
}

fn read(text: &str, envelope: &Envelope) -> Result<(Vec<Entry>, Option<Timestamp>), String> {
    let mut file: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    // What a policy says is judged by `custody init`; it is no register.
    file.remove("description");
    file.remove("clause");
    let at = applied_at(&file)?;
    Ok((entries_of(file, envelope)?, at))
}

pub fn entries_of(mut file: toml::Table, envelope: &Envelope) -> Result<Vec<Entry>, String> {
    let own = file.remove("controller_of").and_then(|value| value.as_str().map(str::to_owned));
    let applied_at = applied_at(&file)?;
    file.remove("applied_at");
    if let Some(unknown) = file.keys().find(|key| kinds().all(|(name, _)| name != *key)) {
        return Err(no_register(unknown));
    }
    let mut entries = Vec::new();
    for (kind, _) in kinds() {
        let Some(tables) = file.get(kind) else { continue };
        let tables = tables.as_array().ok_or_else(|| format!("write [[{kind}]], with two brackets"))?;
        for (i, table) in tables.iter().enumerate() {
            let body = plain(table);
            let stated = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
            let controller = match kind {
                "controller" => stated("controller"),
                "service" => stated("owner"),
                _ => None,
            };
            let controller = controller
                .or_else(|| envelope.controller_of.clone())
                .or_else(|| own.clone())
                .ok_or("whose register is it? Set controller_of at the top of the file, or --for")?;
            let entry = Entry::new(kind, body, &controller, &envelope.recorded_by, applied_at);
            entries.push(entry.map_err(|why| format!("entry {} of {why}", i + 1))?);
        }
    }
    Ok(entries)
}

/// TOML's values as JSON's; times as text.
fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(values) => values.iter().map(plain).collect(),
        toml::Value::Table(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
    }
}

/// The import names its events itself, so that a file that was changed is another import.
fn request(entries: &[Entry], how: &How) -> pb::ApplyRegisterEntriesRequest {
    let unnamed = |entry: &Entry| pb::Event { event_id: String::new(), ..entry.event.clone() };
    pb::ApplyRegisterEntriesRequest {
        entries: entries.iter().map(unnamed).collect(),
        import_id: how.import_id.clone(),
        reason: how.reason.clone(),
        check_only: how.check,
        ..Default::default()
    }
}

/// Applies an import, or checks it, and shows what became of each entry.
pub async fn record(entries: Vec<Entry>, how: How, output: Output) -> Outcome {
    let request = request(&entries, &how);
    let tables: Vec<&str> = entries.iter().map(|entry| entry.kind).collect();
    let answer = how.remote.connect().await?.registers().apply_register_entries(request).await?.into_inner();
    if output.json {
        for outcome in &answer.outcomes {
            output.line(&json::text("RegisterOutcome", outcome)?)?;
        }
    } else {
        print(&answer, &tables, output)?;
    }
    let refused = answer.outcomes.iter().filter(|one| one.result() == pb::RegisterResult::Refused).count();
    let import = &how.import_id;
    match (refused, how.check) {
        (0, true) => output.note("nothing is recorded; without --check it is"),
        (0, false) => output.note(&format!("applied as import {import}")),
        (_, true) => return Err(Failure::new(Exit::Found, format_args!("{refused} would be refused"))),
        (_, false) => {
            let why = format!("{refused} refused, so nothing of the import was recorded");
            return Err(Failure::new(Exit::Refused, why));
        }
    }
    Ok(())
}

fn print(answer: &pb::ApplyRegisterEntriesResponse, tables: &[&str], output: Output) -> std::io::Result<()> {
    let mut rows = Vec::new();
    for (outcome, table) in answer.outcomes.iter().zip(tables) {
        let receipt = outcome.receipt.as_ref();
        let what = match outcome.result() {
            pb::RegisterResult::Unchanged => "unchanged",
            pb::RegisterResult::Refused => "refused",
            _ if receipt.is_some_and(|receipt| receipt.duplicate) => "was there",
            pb::RegisterResult::New => "new",
            pb::RegisterResult::Changed => "changed",
            pb::RegisterResult::Unspecified => "",
        };
        let position = receipt.map(|receipt| receipt.position.to_string()).unwrap_or_default();
        let mut told = why_refused(outcome);
        // Of what is new every field would be one.
        if outcome.result() == pb::RegisterResult::Changed {
            told.extend(changes(&outcome.changes));
        }
        let kind = state_of::<pb::RegisterKind>(outcome.kind, table);
        let mut told = told.into_iter();
        rows.push(vec![kind, outcome.id.clone(), what.to_owned(), position, told.next().unwrap_or_default()]);
        rows.extend(told.map(|more| vec![String::new(), String::new(), String::new(), String::new(), more]));
    }
    output.table(&["register", "id", "outcome", "position", "what"], &rows)
}

fn why_refused(outcome: &pb::RegisterOutcome) -> Vec<String> {
    let malformed = outcome.violations.iter().map(|one| format!("{} {}", one.field, one.description));
    let contradicted = outcome.contradictions.iter().map(|one| format!("{} {}", one.field, one.description));
    malformed.chain(contradicted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        controller_of = "kstar"
        applied_at = 2026-03-01T00:00:00Z
        [[activity]]
        activity = "station-photo"
        service = "solar"
        purposes = [{ id = "service_provision", basis = "contract" }]
        cats = ["pd:Picture"]
        source = "subject"
        safeguards = ["encryption"]
        [[controller]]
        controller = "kstar"
        legal_name = "KSTAR"
        country = "CN"
    "#;

    fn envelope() -> Envelope {
        Envelope::of(&Remote::local(String::new()))
    }

    fn entries(text: &str) -> Result<Vec<Entry>, String> {
        read(text, &envelope()).map(|(entries, _)| entries)
    }

    #[test]
    fn a_file_becomes_events_in_the_order_of_reference() {
        let entries = entries(FILE).unwrap();
        assert_eq!(entries.iter().map(|e| e.kind).collect::<Vec<_>>(), ["controller", "activity"]);
        let Some(pb::event::Body::ActivityRegistered(activity)) = &entries[1].event.body else {
            panic!("another body")
        };
        assert_eq!(activity.purposes[0].basis, pb::LegalBasis::Contract as i32);
        assert_eq!(activity.safeguards, [pb::Safeguard::Encryption as i32]);
        assert_eq!(entries[1].event.controller, "kstar");
    }

    #[test]
    fn a_dated_file_is_one_import_and_another_file_another() {
        let import = |text: &str| {
            let (_, at) = read(text, &envelope()).unwrap();
            How::of_file(&envelope(), text, at).import_id
        };
        assert_eq!(import(FILE), import(FILE));
        assert_ne!(import(FILE), import(&FILE.replace("KSTAR", "Kstar")));
        let undated = FILE.replace("applied_at = 2026-03-01T00:00:00Z", "");
        assert_ne!(import(&undated), import(&undated), "each application is one of its own");
    }

    #[test]
    fn every_register_can_be_written_in_a_file() {
        let file = r#"
            controller_of = "kstar"
            [[mechanism]]
            mechanism_id = "scc-1"
            regime = "eu"
            kind = "A46-2-c"
            module = 2
            exporter = "kstar"
            importer = "hq"
            importer_country = "CN"
            signed_at = 2026-01-01T00:00:00Z
            effective_at = { date = "2026-02-01", tz = "Asia/Shanghai" }
            [[assessment]]
            kind = "tia"
            subject_matter = "scc-1"
            result = "ok"
            [[retention_rule]]
            rule = { id = "r-1", kind = "cap", anchor = "collected", period = "P1Y", tz = "UTC" }
            people = [{ role = "staff", identifiers = [{ kind = "account", realm = "custody", value = "w" }] }]
            [[hold]]
            hold_id = "h"
            ground = "court"
            [[breach]]
            breach_id = "b"
            aware_at = 2026-01-01T00:00:00Z
            [[breach_closed]]
            breach_id = "b"
            [[mapping]]
            kind = "purpose"
            term = "stats"
            maps_to = "analytics"
            [[law]]
            name = "custody-law"
            version = "2026-11"
            effective_at = 2026-01-01T00:00:00Z
        "#;
        let read = entries(file).unwrap();
        assert_eq!(read.len(), 8);
        let rule = read.iter().find(|entry| entry.kind == "retention_rule").unwrap();
        assert_eq!(rule.event.people[0].role, pb::Role::Staff as i32);
        let people = file.lines().find(|line| line.trim().starts_with("people")).unwrap();
        let by_name = entries(&file.replace(people, "approved_by = [\"w\"]")).unwrap();
        let by_name = by_name.into_iter().find(|entry| entry.kind == "retention_rule").unwrap();
        assert_eq!(by_name.event.people, rule.event.people, "the same person, by name");
        assert!(matches!(rule.event.body, Some(pb::event::Body::RetentionRulePublished(_))));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (wrong, word) in [
            (FILE.replace("[[activity]]", "[[activities]]"), "activities"),
            (FILE.replace("cats =", "categories ="), "categories"),
            (FILE.replace("\"contract\"", "\"contact\""), "activity: purposes.basis"),
            (FILE.replace("controller_of = \"kstar\"", ""), "--for"),
        ] {
            let error = entries(&wrong).map(|_| ()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}

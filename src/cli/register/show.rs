//! `custody register list`, `show` and `history`: what stands in a register, and how it came to.

use clap::Args;

use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::register::sheet::all;
use crate::cli::report::time;
use crate::cli::when::{Known, When};
use crate::domain::event::RegisterKind;
use crate::pb;

#[derive(Debug, Args)]
pub struct List {
    /// controller, service, activity, recipient, mechanism, assessment, policy, retention_rule, hold, breach,
    /// mapping or law
    kind: String,
    /// Only these entries
    ids: Vec<String>,
    /// Only those in this state, such as in_force
    #[arg(long = "state")]
    states: Vec<String>,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The register, as for `list`
    kind: String,
    id: String,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct History {
    /// The register, as for `list`
    kind: String,
    id: String,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    remote: Remote,
}

/// A register by its name.
pub fn kind(name: &str) -> Result<pb::RegisterKind, Failure> {
    let found = RegisterKind::from_name(name).and_then(|kind| pb::RegisterKind::try_from(kind.number()).ok());
    found.ok_or_else(|| {
        let known: Vec<&str> = RegisterKind::ALL.iter().map(|kind| kind.as_str()).collect();
        Failure::usage(format_args!("there is no register {name}; there are {}", known.join(", ")))
    })
}

pub async fn list(command: List, output: Output) -> Outcome {
    let request = pb::ListRegisterEntriesRequest {
        kind: kind(&command.kind)?.into(),
        ids: command.ids,
        states: command.states.iter().map(|name| state(name)).collect::<Result<_, _>>()?,
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
        page_size: 1_000,
        ..Default::default()
    };
    let (entries, from) = all(&command.remote.connect().await?, request).await?;
    if output.json {
        return entries.iter().try_for_each(|entry| Ok(output.line(&json::text("RegisterEntry", entry)?)?));
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect::<Result<_, _>>()?;
    output.table(&["id", "state", "from", "to", "position", "versions", "what"], &rows)?;
    let as_of = time(from.as_of.as_ref());
    output.note(&format!("{} entries as of {as_of}; below position {}", rows.len(), from.computed_at));
    Ok(())
}

fn state(name: &str) -> Result<i32, Failure> {
    let found = pb::RegisterState::from_str_name(&format!("REGISTER_STATE_{}", name.to_ascii_uppercase()));
    found.map(i32::from).ok_or_else(|| Failure::usage(format_args!("there is no state {name}")))
}

fn row(entry: &pb::RegisterEntry) -> Result<Vec<String>, Failure> {
    let version = entry.version.clone().unwrap_or_default();
    Ok(vec![
        entry.id.clone(),
        state_of::<pb::RegisterState>(entry.state, ""),
        time(version.effective_from.as_ref()),
        time(version.effective_to.as_ref()),
        version.position.to_string(),
        entry.versions.to_string(),
        said(&version)?,
    ])
}

/// The name of a value without its prefix; `other` for one that is not stated.
pub fn state_of<T: Named>(number: i32, other: &str) -> String {
    T::name(number).unwrap_or_else(|| other.to_owned())
}

/// Enums of the registers by the names that files and flags use.
pub trait Named {
    fn name(number: i32) -> Option<String>;
}

impl Named for pb::RegisterState {
    fn name(number: i32) -> Option<String> {
        without_prefix(pb::RegisterState::try_from(number).ok()?.as_str_name(), "REGISTER_STATE_")
    }
}

impl Named for pb::RegisterKind {
    fn name(number: i32) -> Option<String> {
        without_prefix(pb::RegisterKind::try_from(number).ok()?.as_str_name(), "REGISTER_KIND_")
    }
}

fn without_prefix(name: &str, prefix: &str) -> Option<String> {
    let short = name.strip_prefix(prefix)?;
    (short != "UNSPECIFIED").then(|| short.to_ascii_lowercase())
}

/// The fields of a version's body on one line.
fn said(version: &pb::RegisterVersion) -> Result<String, Failure> {
    let facts = facts(version)?;
    let facts = facts.iter().filter(|(name, _)| name != "reason");
    Ok(facts.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
}

/// The fields of a version's body, each as one line.
fn facts(version: &pb::RegisterVersion) -> Result<Vec<(String, String)>, Failure> {
    let event = version.event.clone().unwrap_or_default();
    let body = pb::Event { body: event.body, ..Default::default() };
    let text = json::text("Event", &body)?;
    let event: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let body = event.as_object().and_then(|event| event.values().next()).and_then(|body| body.as_object());
    let line = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(body.into_iter().flatten().map(|(name, value)| (name.clone(), line(value))).collect())
}

pub async fn show(command: Show, output: Output) -> Outcome {
    let request = pb::GetRegisterEntryRequest {
        kind: kind(&command.kind)?.into(),
        id: command.id,
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
    };
    let answer = command.remote.connect().await?.registers().get_register_entry(request).await?;
    let entry = answer.into_inner().entry.unwrap_or_default();
    if output.json {
        return Ok(output.line(&json::text("RegisterEntry", &entry)?)?);
    }
    let version = entry.version.clone().unwrap_or_default();
    let event = version.event.clone().unwrap_or_default();
    let mut told = vec![
        ("register".to_owned(), state_of::<pb::RegisterKind>(entry.kind, "")),
        ("id".to_owned(), entry.id.clone()),
        ("state".to_owned(), state_of::<pb::RegisterState>(entry.state, "")),
    ];
    told.extend(facts(&version)?.into_iter().filter(|(name, _)| name != "reason"));
    let stopped = entry.stopped_by.as_ref();
    told.extend([
        ("from".to_owned(), time(version.effective_from.as_ref())),
        ("to".to_owned(), time(version.effective_to.as_ref())),
        ("recorded".to_owned(), time(version.recorded_at.as_ref())),
        ("position".to_owned(), version.position.to_string()),
        ("by".to_owned(), event.emitter),
        ("why".to_owned(), version.reason),
        ("stopped by".to_owned(), stopped.map(|by| by.position.to_string()).unwrap_or_default()),
        ("versions".to_owned(), entry.versions.to_string()),
    ]);
    let told: Vec<(&str, String)> = told.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    Ok(output.facts(&told)?)
}

pub async fn history(command: History, output: Output) -> Outcome {
    let request = pb::ListRegisterHistoryRequest {
        kind: kind(&command.kind)?.into(),
        id: command.id,
        known_at: command.known.known_at,
        at_least: command.known.at_least,
        page_size: 1_000,
        page_token: String::new(),
    };
    let client = command.remote.connect().await?;
    let (versions, _) =
        pages::all(request, async |page| client.registers().list_register_history(page).await).await?;
    if output.json {
        return versions.iter().try_for_each(|one| Ok(output.line(&json::text("RegisterVersion", one)?)?));
    }
    let rows: Vec<Vec<String>> = versions.iter().flat_map(rows_of).collect();
    Ok(output.table(&["position", "recorded", "from", "to", "by", "why", "counts", "what"], &rows)?)
}

/// One row for a version, and one for each further change.
fn rows_of(version: &pb::RegisterVersion) -> Vec<Vec<String>> {
    let event = version.event.clone().unwrap_or_default();
    let actor = pb::ActorKind::try_from(event.actor).unwrap_or_default().as_str_name().to_ascii_lowercase();
    let actor = actor.strip_prefix("actor_kind_").filter(|kind| *kind != "unspecified").unwrap_or_default();
    let counts = match (version.retracted_by, version.annulled_by) {
        (Some(by), _) => format!("taken back at {by}"),
        (None, Some(by)) => format!("annulled at {by}"),
        (None, None) => "yes".to_owned(),
    };
    let mut told = changes(&version.changes).into_iter();
    let mut rows = vec![vec![
        version.position.to_string(),
        time(version.recorded_at.as_ref()),
        time(version.effective_from.as_ref()),
        time(version.effective_to.as_ref()),
        format!("{} {actor}", event.emitter).trim().to_owned(),
        version.reason.clone(),
        counts,
        told.next().unwrap_or_default(),
    ]];
    rows.extend(told.map(|more| {
        let mut row = vec![String::new(); 7];
        row.push(more);
        row
    }));
    rows
}

/// Changes, one a line: `cats: - pd:Name + pd:UID`.
pub fn changes(changes: &[pb::FieldChange]) -> Vec<String> {
    let line = |change: &pb::FieldChange| {
        let before = change.before.iter().map(|value| format!(" - {value}"));
        let after = change.after.iter().map(|value| format!(" + {value}"));
        format!("{}:{}", change.field, before.chain(after).collect::<String>())
    };
    changes.iter().map(line).collect()
}

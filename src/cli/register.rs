//! `custody activity|service|controller|recipient|policy new` and `custody register apply`: what the
//! company is and does, recorded as events like all others. Flags say the usual; a file says
//! everything.
//!
//! A file holds `[[controller]]`, `[[service]]`, `[[recipient]]`, `[[activity]]`, `[[policy]]` and more
//! tables (`KINDS`) with the fields of their messages in `proto/custody/v1`; names of enums may be given
//! without their prefix, in any case. With `applied_at = "<time>"` at its top, applying the same
//! file again records nothing new; without it every application is a revision of its own.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cli::cases;
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::derived_id;
use crate::clock::{Clock, SystemClock};
use crate::domain::time::Timestamp;
use crate::{limits, pb};

/// What every register event says besides its body.
#[derive(Debug, Clone, Args)]
pub struct Envelope {
    /// Controller whose register it is
    #[arg(long = "for", env = "CUSTODY_CONTROLLER", value_name = "CONTROLLER")]
    controller_of: Option<String>,
    /// Emitter under whose name it is recorded
    #[arg(long, env = "CUSTODY_EMITTER", default_value = "custody-cli")]
    recorded_by: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
pub enum Activity {
    /// Register an activity, or a new revision of it
    New(NewActivity),
}

#[derive(Debug, Args)]
pub struct NewActivity {
    #[arg(long)]
    activity: String,
    #[arg(long)]
    service: String,
    /// A purpose with its legal basis, such as `service_provision:contract`
    #[arg(long = "purpose", value_name = "PURPOSE:BASIS", required = true)]
    purposes: Vec<String>,
    /// A category of data, such as `pd:EmailAddress`
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    #[arg(long)]
    record_kind: Option<String>,
    /// subject, device, third_party or derived
    #[arg(long)]
    source: Option<String>,
    /// encryption, pseudonymisation or anonymisation
    #[arg(long = "safeguard")]
    safeguards: Vec<String>,
    #[arg(long = "recipient")]
    recipients: Vec<String>,
    #[arg(long = "regime")]
    regimes: Vec<String>,
    /// A category without which the service cannot be had
    #[arg(long = "required-category")]
    required: Vec<String>,
    /// The data are sensitive
    #[arg(long)]
    sensitive: bool,
    /// From when on it applies
    #[arg(long, value_name = "TIME")]
    effective_at: Option<Timestamp>,
    /// Controller whose register it is
    #[arg(long, env = "CUSTODY_CONTROLLER")]
    controller: String,
    #[command(flatten)]
    envelope: Envelope,
}

#[derive(Debug, Subcommand)]
pub enum Service {
    /// Register a service
    New(NewService),
}

#[derive(Debug, Args)]
pub struct NewService {
    #[arg(long)]
    service: String,
    /// The controller that answers for it
    #[arg(long)]
    owner: String,
    /// Country in which its data are kept
    #[arg(long)]
    storage_country: Option<String>,
    /// Time zone by IANA name
    #[arg(long)]
    tz: Option<String>,
    /// An emitter that may speak for it
    #[arg(long = "emitter")]
    emitters: Vec<String>,
    #[command(flatten)]
    envelope: Envelope,
}

#[derive(Debug, Subcommand)]
pub enum Controller {
    /// Register a company of the group
    New(NewController),
}

#[derive(Debug, Args)]
pub struct NewController {
    #[arg(long)]
    controller: String,
    #[arg(long)]
    legal_name: String,
    #[arg(long)]
    country: String,
    /// Unified social credit code
    #[arg(long)]
    credit_code: Option<String>,
    #[command(flatten)]
    envelope: Envelope,
}

#[derive(Debug, Subcommand)]
pub enum Recipient {
    /// Register somebody who is given data
    New(NewRecipient),
}

#[derive(Debug, Args)]
pub struct NewRecipient {
    #[arg(long)]
    recipient: String,
    #[arg(long)]
    legal_name: String,
    /// processor, joint_controller, controller, sdk or authority
    #[arg(long)]
    role: String,
    #[arg(long)]
    country: String,
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<String>,
    /// gdpr28, gdpr26, pipl20, pipl21, pipl23 or scc
    #[arg(long)]
    contract_kind: Option<String>,
    #[arg(long)]
    privacy_url: Option<String>,
    #[command(flatten)]
    envelope: Envelope,
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Publish a version of a privacy policy
    New(Box<NewPolicy>),
    /// Try your own cases on the rules, offline; exit code 1 if one differs
    Test(cases::Test),
}

#[derive(Debug, Args)]
pub struct NewPolicy {
    #[arg(long)]
    policy: String,
    #[arg(long = "policy-version", value_name = "VERSION")]
    version: String,
    /// The service it is for; all without this
    #[arg(long)]
    service: Option<String>,
    /// The text in one language, such as `zh=policy.zh.txt`; its hash is recorded
    #[arg(long = "text", value_name = "LOCALE=FILE", required = true)]
    texts: Vec<String>,
    #[arg(long, value_name = "TIME")]
    effective_at: Timestamp,
    #[command(flatten)]
    envelope: Envelope,
}

#[derive(Debug, Subcommand)]
pub enum Register {
    /// Record everything that a file registers
    Apply {
        /// TOML file of registers
        file: PathBuf,
        #[command(flatten)]
        envelope: Envelope,
    },
}

pub async fn activity(command: Activity, output: Output) -> Outcome {
    let Activity::New(new) = command;
    let purposes: Result<Vec<Value>, Failure> = new.purposes.iter().map(|text| purpose(text)).collect();
    let body = json!({
        "activity": new.activity, "service": new.service, "purposes": purposes?, "cats": new.categories,
        "record_kind": new.record_kind, "source": new.source, "safeguards": new.safeguards,
        "recipients": new.recipients, "regimes": new.regimes, "required": new.required,
        "sensitive": new.sensitive.then_some(true), "effective_at": new.effective_at,
    });
    record_one("activity", body, new.controller, &new.envelope, output).await
}

pub async fn service(command: Service, output: Output) -> Outcome {
    let Service::New(new) = command;
    let body = json!({
        "service": new.service, "owner": new.owner, "storage_country": new.storage_country, "tz": new.tz,
        "emitters": new.emitters,
    });
    record_one("service", body, new.owner, &new.envelope, output).await
}

pub async fn controller(command: Controller, output: Output) -> Outcome {
    let Controller::New(new) = command;
    let body = json!({
        "controller": new.controller, "legal_name": new.legal_name, "country": new.country,
        "credit_code": new.credit_code,
    });
    record_one("controller", body, new.controller, &new.envelope, output).await
}

pub async fn recipient(command: Recipient, output: Output) -> Outcome {
    let Recipient::New(new) = command;
    let body = json!({
        "recipient_id": new.recipient, "legal_name": new.legal_name, "role": new.role, "country": new.country,
        "cats": new.categories, "purposes": new.purposes, "contract_kind": new.contract_kind,
        "privacy_url": new.privacy_url,
    });
    let controller = whose(&new.envelope)?;
    record_one("recipient", body, controller, &new.envelope, output).await
}

pub async fn policy(command: Policy, output: Output) -> Outcome {
    let new = match command {
        Policy::New(new) => *new,
        Policy::Test(test) => return cases::run(test, output).await,
    };
    let locales: Result<Vec<Value>, Failure> = new.texts.iter().map(|text| locale(text)).collect();
    let body = json!({
        "policy_id": new.policy, "version": new.version, "service": new.service, "locales": locales?,
        "effective_at": new.effective_at,
    });
    let controller = whose(&new.envelope)?;
    record_one("policy", body, controller, &new.envelope, output).await
}

pub async fn apply(command: Register, output: Output) -> Outcome {
    let Register::Apply { file, envelope } = command;
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", file.display())))?;
    let entries = entries(&text, &envelope).map_err(|why| named(&file, &why))?;
    record(entries, &envelope.remote, output).await
}

impl Envelope {
    /// Of a file that says everything itself.
    pub(super) fn of(remote: &Remote) -> Self {
        Envelope { controller_of: None, recorded_by: "custody-cli".to_owned(), remote: remote.clone() }
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    pub(super) fn recorded_by(&self) -> &str {
        &self.recorded_by
    }

    /// Whose registers they are, where a file says so and the command line does not.
    pub(super) fn controller_of(&self, file: &toml::Table) -> Option<String> {
        let own = || file.get("controller_of").and_then(toml::Value::as_str).map(str::to_owned);
        self.controller_of.clone().or_else(own)
    }
}

/// Records entries, and says nothing of it.
pub(super) async fn record_silently(entries: Vec<Entry>, remote: &Remote) -> Outcome {
    let events = entries.into_iter().map(|entry| entry.event).collect();
    let request = pb::BatchRecordEventsRequest { events };
    let answer = remote.connect().await?.ingest().batch_record_events(request).await?.into_inner();
    for outcome in answer.outcomes {
        if let Some(pb::outcome::Result::Error(error)) = outcome.result {
            return Err(Failure::new(Exit::Refused, error.message));
        }
    }
    Ok(())
}

fn named(file: &Path, why: &str) -> Failure {
    Failure::new(Exit::Refused, format_args!("{}: {why}", file.display()))
}

fn whose(envelope: &Envelope) -> Result<String, Failure> {
    envelope
        .controller_of
        .clone()
        .ok_or_else(|| Failure::usage("--for names the controller whose register it is"))
}

/// `purpose:basis`; a purpose may hold colons of its own.
fn purpose(text: &str) -> Result<Value, Failure> {
    let (id, basis) =
        text.rsplit_once(':').ok_or_else(|| Failure::usage(format_args!("{text} is not PURPOSE:BASIS")))?;
    Ok(json!({ "id": id, "basis": basis }))
}

/// `locale=file`, as the locale and the hash of the text.
fn locale(text: &str) -> Result<Value, Failure> {
    let (locale, path) =
        text.split_once('=').ok_or_else(|| Failure::usage(format_args!("{text} is not LOCALE=FILE")))?;
    let bytes =
        std::fs::read(path).map_err(|e| Failure::new(Exit::Configuration, format_args!("{path}: {e}")))?;
    Ok(json!({ "locale": locale, "sha256": STANDARD.encode(Sha256::digest(&bytes)) }))
}

/// The registers in the order in which they refer to each other, with their field of the event.
const KINDS: [(&str, &str); 10] = [
    ("law", "law_data_activated"),
    ("controller", "controller_registered"),
    ("service", "service_registered"),
    ("recipient", "recipient_registered"),
    ("activity", "activity_registered"),
    ("policy", "policy_published"),
    ("mechanism", "transfer_mechanism_registered"),
    ("assessment", "assessment_recorded"),
    ("retention_rule", "retention_rule_published"),
    ("mapping", "mapping_added"),
];

/// One thing to register.
pub(super) struct Entry {
    pub kind: &'static str,
    pub event: pb::Event,
}

impl Entry {
    pub(super) fn new(
        kind: &str,
        mut body: Value,
        controller: &str,
        emitter: &str,
        applied_at: Option<Timestamp>,
    ) -> Result<Entry, String> {
        let (kind, field) = KINDS.into_iter().find(|(name, _)| *name == kind).ok_or_else(|| {
            format!("there is no register {kind}; there are {}", KINDS.map(|(name, _)| name).join(", "))
        })?;
        drop_unset(&mut body);
        let now = SystemClock.now();
        let id = match applied_at {
            Some(at) => derived_id(&format!("{controller} {emitter} {at} {field} {body}")),
            None => Uuid::new_v7(uuid::Timestamp::from_unix_time(
                now.ms().div_euclid(1_000).unsigned_abs(),
                now.ms().rem_euclid(1_000) as u32 * 1_000_000,
                0,
                0,
            )),
        };
        let mut event = Map::new();
        event.insert("event_id".to_owned(), json!(id));
        event.insert("controller".to_owned(), json!(controller));
        event.insert("emitter".to_owned(), json!(emitter));
        event.insert("occurred_at".to_owned(), json!(applied_at.unwrap_or(now)));
        event.insert("backfill".to_owned(), json!(applied_at.is_some()));
        event.insert(field.to_owned(), body);
        let mut event = Value::Object(event);
        json::spell_out("Event", &mut event);
        let event = json::parse("Event", &event.to_string()).map_err(|why| format!("{kind}: {why}"))?;
        Ok(Entry { kind, event })
    }
}

/// What a flag or a key did not say is not in the message.
fn drop_unset(body: &mut Value) {
    if let Value::Object(fields) = body {
        fields.retain(|_, value| !value.is_null());
    }
}

/// When a file says that it was applied.
pub(super) fn applied_at(file: &toml::Table) -> Result<Option<Timestamp>, String> {
    let Some(value) = file.get("applied_at") else { return Ok(None) };
    plain(value).as_str().unwrap_or_default().parse().map(Some).map_err(|e| format!("applied_at: {e}"))
}

fn entries(text: &str, envelope: &Envelope) -> Result<Vec<Entry>, String> {
    let mut file: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    // What a policy says is judged by `custody init`; it is no register.
    file.remove("description");
    file.remove("clause");
    entries_of(file, envelope)
}

pub(super) fn entries_of(mut file: toml::Table, envelope: &Envelope) -> Result<Vec<Entry>, String> {
    let own = file.remove("controller_of").and_then(|value| value.as_str().map(str::to_owned));
    let applied_at = applied_at(&file)?;
    file.remove("applied_at");
    let unknown: Vec<&String> = file.keys().filter(|key| KINDS.iter().all(|(name, _)| name != key)).collect();
    if !unknown.is_empty() {
        return Err(format!(
            "there is no register {unknown:?}; there are {}",
            KINDS.map(|(name, _)| name).join(", ")
        ));
    }
    let mut entries = Vec::new();
    for (kind, _) in KINDS {
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

async fn record_one(
    kind: &str,
    body: Value,
    controller: String,
    envelope: &Envelope,
    output: Output,
) -> Outcome {
    let entry = Entry::new(kind, body, &controller, &envelope.recorded_by, None).map_err(Failure::usage)?;
    record(vec![entry], &envelope.remote, output).await
}

pub(super) async fn record(entries: Vec<Entry>, remote: &Remote, output: Output) -> Outcome {
    let mut ingest = remote.connect().await?.ingest();
    let (mut rows, mut refused) = (Vec::new(), false);
    for chunk in entries.chunks(limits::BATCH_EVENTS) {
        let events = chunk.iter().map(|entry| entry.event.clone()).collect();
        let answer = ingest.batch_record_events(pb::BatchRecordEventsRequest { events }).await?.into_inner();
        for (entry, outcome) in chunk.iter().zip(&answer.outcomes) {
            if output.json {
                output.line(&json::text("Outcome", outcome)?)?;
            }
            let (what, more) = match &outcome.result {
                Some(pb::outcome::Result::Receipt(receipt)) if receipt.duplicate => {
                    ("was there", receipt.position.to_string())
                }
                Some(pb::outcome::Result::Receipt(receipt)) => ("registered", receipt.position.to_string()),
                Some(pb::outcome::Result::Error(error)) => ("refused", error.message.clone()),
                None => ("refused", "the server gave no outcome".to_owned()),
            };
            refused |= what == "refused";
            rows.push(vec![entry.kind.to_owned(), entry.event.event_id.clone(), what.to_owned(), more]);
        }
    }
    if !output.json {
        output.table(&["register", "event", "outcome", "position"], &rows)?;
    }
    if refused { Err(Failure::new(Exit::Refused, "not everything was registered")) } else { Ok(()) }
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

    #[test]
    fn a_file_becomes_events_in_the_order_of_reference() {
        let entries = entries(FILE, &envelope()).unwrap();
        assert_eq!(entries.iter().map(|e| e.kind).collect::<Vec<_>>(), ["controller", "activity"]);
        let Some(pb::event::Body::ActivityRegistered(activity)) = &entries[1].event.body else {
            panic!("another body")
        };
        assert_eq!(activity.purposes[0].basis, pb::LegalBasis::Contract as i32);
        assert_eq!(activity.safeguards, [pb::Safeguard::Encryption as i32]);
        assert_eq!(entries[1].event.controller, "kstar");
    }

    #[test]
    fn a_dated_file_applied_twice_is_the_same_events() {
        let ids = |text: &str| -> Vec<String> {
            entries(text, &envelope()).unwrap().into_iter().map(|e| e.event.event_id).collect()
        };
        assert_eq!(ids(FILE), ids(FILE));
        assert_ne!(ids(FILE), ids(&FILE.replace("KSTAR", "Kstar")));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (wrong, word) in [
            (FILE.replace("[[activity]]", "[[activities]]"), "activities"),
            (FILE.replace("cats =", "categories ="), "categories"),
            (FILE.replace("\"contract\"", "\"contact\""), "activity"),
            (FILE.replace("controller_of = \"kstar\"", ""), "--for"),
        ] {
            let error = entries(&wrong, &envelope()).map(|_| ()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}

//! `custody activity|service|controller|recipient|policy new` and `custody register`: what the company is and
//! does, recorded as events like all others. Flags say the usual; a file (`file`) says everything.

mod end;
mod file;
pub mod sheet;
mod show;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::cases;
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::domain::time::Timestamp;

pub(super) use file::{Entry, How, applied_at, entries_of, record, record_silently};
pub use show::{changes, kind};

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

impl Envelope {
    /// Of a file that says everything itself.
    pub(super) fn of(remote: &Remote) -> Self {
        Envelope { controller_of: None, recorded_by: "custody-cli".to_owned(), remote: remote.clone() }
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
    /// The entries of one register as they stand
    List(show::List),
    /// One entry
    Show(show::Show),
    /// Every version of one entry: who changed what, when and why
    History(show::History),
    /// Record everything that a file registers, or only show what it would change
    Apply(file::Apply),
    /// Write a register as a file for a spreadsheet
    Export(sheet::Export),
    /// Record everything that a spreadsheet registers, or only show what it would change
    Import(Box<sheet::Import>),
    /// End, suspend, release, close or annul an entry
    End(end::End),
}

pub async fn run(command: Register, output: Output) -> Outcome {
    match command {
        Register::List(list) => show::list(list, output).await,
        Register::Show(one) => show::show(one, output).await,
        Register::History(history) => show::history(history, output).await,
        Register::Apply(apply) => file::apply(apply, output).await,
        Register::Export(export) => sheet::export(export, output).await,
        Register::Import(import) => sheet::import(*import, output).await,
        Register::End(end) => end::run(end, output).await,
    }
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

async fn record_one(
    kind: &str,
    body: Value,
    controller: String,
    envelope: &Envelope,
    output: Output,
) -> Outcome {
    let entry = Entry::new(kind, body, &controller, &envelope.recorded_by, None).map_err(Failure::usage)?;
    record(vec![entry], How::of(envelope), output).await
}

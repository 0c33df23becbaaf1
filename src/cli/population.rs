//! `custody population`: how many people are affected, and who they are.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::Remote;
use crate::cli::events::page_size;
use crate::cli::exit::Outcome;
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::when::When;
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Population {
    /// How many, each once
    Count(Box<Count>),
    /// Their handles; the read is recorded first
    List(Box<List>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Consent {
    InForce,
    Ended,
    Refused,
    None,
}

/// Everybody named by an event in which all of these are so.
#[derive(Debug, Clone, Args)]
pub struct Selector {
    /// Handle: only this person
    #[arg(long, value_name = "HANDLE")]
    subject: Option<String>,
    #[arg(long)]
    service: Option<String>,
    #[arg(long)]
    record_kind: Option<String>,
    /// This one or a narrower one
    #[arg(long)]
    category: Option<String>,
    #[arg(long)]
    slot: Option<String>,
    #[arg(long)]
    purpose: Option<String>,
    #[arg(long)]
    recipient: Option<String>,
    #[arg(long)]
    sdk_version: Option<String>,
    #[arg(long)]
    app_version: Option<String>,
    #[arg(long)]
    policy_version: Option<String>,
    /// Transfers that this mechanism allowed, or fell short for
    #[arg(long)]
    mechanism: Option<String>,
    /// Where data came from or went to
    #[arg(long)]
    country: Option<String>,
    #[arg(long, value_name = "TIME")]
    occurred_from: Option<Timestamp>,
    #[arg(long, value_name = "TIME")]
    occurred_to: Option<Timestamp>,
    /// Only people of whose consent to `--consent-purpose` this is so
    #[arg(long, value_enum, requires = "consent_purpose")]
    consent: Option<Consent>,
    #[arg(long, value_name = "PURPOSE", requires = "consent")]
    consent_purpose: Option<String>,
    /// Key of a finding, as `custody findings list` writes it
    #[arg(long, value_name = "KEY")]
    finding: Option<String>,
}

#[derive(Debug, Args)]
pub struct Count {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    when: When,
    /// Why the list is read, as a code
    #[arg(long)]
    reason: String,
    /// Ticket or case that makes it necessary
    #[arg(long, default_value = "")]
    ticket: String,
    /// Open the people's identifiers too
    #[arg(long)]
    identifiers: bool,
    /// At most so many; all without this
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

impl Selector {
    fn into_wire(self) -> pb::PopulationSelector {
        let consent = self.consent.zip(self.consent_purpose).map(|(standing, purpose)| {
            let standing = match standing {
                Consent::InForce => pb::ConsentStanding::InForce,
                Consent::Ended => pb::ConsentStanding::Ended,
                Consent::Refused => pb::ConsentStanding::Refused,
                Consent::None => pb::ConsentStanding::None,
            };
            pb::ConsentCondition { purpose, standing: standing.into() }
        });
        pb::PopulationSelector {
            subject: self.subject.unwrap_or_default(),
            service: self.service.unwrap_or_default(),
            record_kind: self.record_kind.unwrap_or_default(),
            category: self.category.unwrap_or_default(),
            slot: self.slot.unwrap_or_default(),
            purpose: self.purpose.unwrap_or_default(),
            recipient: self.recipient.unwrap_or_default(),
            sdk_version: self.sdk_version.unwrap_or_default(),
            app_version: self.app_version.unwrap_or_default(),
            policy_version: self.policy_version.unwrap_or_default(),
            mechanism: self.mechanism.unwrap_or_default(),
            country: self.country.unwrap_or_default(),
            occurred_from: self.occurred_from.map(timestamp),
            occurred_to: self.occurred_to.map(timestamp),
            consent,
            finding: self.finding.unwrap_or_default(),
        }
    }
}

pub async fn run(command: Population, output: Output) -> Outcome {
    match command {
        Population::Count(command) => count(*command, output).await,
        Population::List(command) => list(*command, output).await,
    }
}

async fn count(command: Count, output: Output) -> Outcome {
    let request = pb::CountPopulationRequest {
        selector: Some(command.selector.into_wire()),
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
    };
    let answer = command.remote.connect().await?.questions().count_population(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("CountPopulationResponse", &answer)?)?);
    }
    let erased = match &answer.erased {
        Some(erased) if erased.at_least == erased.at_most => erased.at_least.to_string(),
        Some(erased) => format!("{} to {}", erased.at_least, erased.at_most),
        None => "not told by any tally".to_owned(),
    };
    let from = answer.computed_from.unwrap_or_default();
    let unjudged = if from.unjudged > 0 { format!("{} events", from.unjudged) } else { String::new() };
    Ok(output.facts(&[
        ("people", answer.people.to_string()),
        ("erased", erased),
        ("computed at", from.computed_at.to_string()),
        ("law", from.law),
        ("not judged", unjudged),
    ])?)
}

async fn list(command: List, output: Output) -> Outcome {
    let mut request = pb::ListPopulationRequest {
        selector: Some(command.selector.into_wire()),
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
        opening: Some(pb::Opening { reason: command.reason, ticket: command.ticket }),
        identifiers: command.identifiers,
        ..Default::default()
    };
    let mut questions = command.remote.connect().await?.questions();
    let (mut left, mut rows) = (command.limit.unwrap_or(u64::MAX), Vec::new());
    while left > 0 {
        request.page_size = page_size(left);
        let page = questions.list_population(request.clone()).await?.into_inner();
        left = left.saturating_sub(page.members.len() as u64);
        for member in &page.members {
            if output.json {
                output.line(&json::text("PopulationMember", member)?)?;
            } else {
                let identifiers: Vec<&str> =
                    member.identifiers.iter().map(|one| one.value.as_str()).collect();
                rows.push(vec![member.subject.clone(), member.merged.join(" "), identifiers.join(" ")]);
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(output.table(&["subject", "merged with it", "identifiers"], &rows)?)
}

//! `custody subject report|events|find`; what ends a person is in `subject/erasure.rs`: questions about one person. Identifiers come from a file or
//! standard input, because arguments can be read by everybody on the machine.

mod erasure;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::report::{self, Language};
use crate::cli::when::{Known, When};
use crate::cli::{events, json};
use crate::domain::identity::Kind;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Subject {
    /// What is held about a person, why, who got it, where it went
    Report(Report),
    /// The events about a person
    Events(Events),
    /// Who has, or had, an identifier
    Find(Find),
    /// Erase a person: keys, look-ups, sealed parts, rows. Headers and proofs stay. Cannot be undone
    Erase(erasure::Erase),
    /// What was destroyed of an erased person when, what is kept and why, with the proof
    Certificate(erasure::GetCertificate),
    /// What is kept of an erased person because it proves consents and cases. For disputes only
    Evidence(erasure::Evidence),
}

/// Names the person.
#[derive(Debug, Args)]
pub struct Who {
    /// Handle that an earlier answer gave
    #[arg(long, value_name = "HANDLE")]
    subject: Option<String>,
    #[command(flatten)]
    identifier: IdentifierFile,
}

#[derive(Debug, Args)]
struct IdentifierFile {
    /// File that holds the identifier as `KIND[@REALM]:VALUE`, such as `account@solar:42`;
    /// standard input without this
    #[arg(long, value_name = "FILE")]
    identifier_file: Option<PathBuf>,
}

/// What sealed fields are opened for.
#[derive(Debug, Args)]
pub struct Open {
    /// Open sealed fields: why, as a code; the read is recorded first
    #[arg(long, value_name = "REASON", requires = "ticket")]
    open: Option<String>,
    /// Ticket or case that makes it necessary
    #[arg(long, requires = "open")]
    ticket: Option<String>,
}

#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    when: When,
    /// Newest events to show as evidence
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    evidence: u32,
    /// Language of the labels
    #[arg(long, value_enum, default_value_t = Language::Both)]
    language: Language,
    #[command(flatten)]
    open: Open,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    who: Who,
    /// Only events of this type, such as DataCollected
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    #[command(flatten)]
    known: Known,
    /// At most so many; all without this
    #[arg(long)]
    limit: Option<u64>,
    /// Begin with the oldest instead of the newest
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    open: Open,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Find {
    #[command(flatten)]
    identifier: IdentifierFile,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Subject, output: Output) -> Outcome {
    match command {
        Subject::Report(command) => show(command, output).await,
        Subject::Events(command) => list(command, output).await,
        Subject::Find(command) => find(command, output).await,
        Subject::Erase(command) => erasure::erase(command, output).await,
        Subject::Certificate(command) => erasure::certificate(command, output).await,
        Subject::Evidence(command) => erasure::evidence(command, output).await,
    }
}

impl Who {
    pub fn name(self) -> Result<pb::SubjectName, Failure> {
        use pb::subject_name::Name;
        let name = match self.subject {
            Some(handle) => Name::Subject(handle),
            None => Name::Identifier(self.identifier.read()?),
        };
        Ok(pb::SubjectName { name: Some(name) })
    }
}

impl IdentifierFile {
    fn read(self) -> Result<pb::Identifier, Failure> {
        one_identifier(self.identifier_file.as_deref())
    }
}

/// Of a file, or of standard input.
pub fn one_identifier(path: Option<&Path>) -> Result<pb::Identifier, Failure> {
    let mut text = String::new();
    match path {
        None => std::io::stdin().take(4_096).read_to_string(&mut text)?,
        Some(path) => {
            std::fs::File::open(path)
                .and_then(|file| file.take(4_096).read_to_string(&mut text))
                .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))?
        }
    };
    identifier(text.trim())
}

/// `KIND[@REALM]:VALUE`. The message never repeats the text: it may be a telephone number.
pub fn identifier(text: &str) -> Result<pb::Identifier, Failure> {
    let form =
        || Failure::usage("the identifier is not of the form KIND[@REALM]:VALUE, such as account@solar:42");
    let (head, value) = text.split_once(':').ok_or_else(form)?;
    let (kind, realm) = head.split_once('@').unwrap_or((head, ""));
    let kind: Kind = kind.parse().map_err(|_| {
        Failure::usage(format_args!(
            "the identifier's kind is none of {}",
            Kind::ALL.map(Kind::as_str).join(", ")
        ))
    })?;
    let name = format!("IDENTIFIER_KIND_{}", kind.as_str().to_ascii_uppercase());
    let kind = pb::IdentifierKind::from_str_name(&name).ok_or_else(form)?;
    if value.is_empty() {
        return Err(form());
    }
    Ok(pb::Identifier { kind: kind as i32, realm: realm.to_owned(), value: value.to_owned() })
}

impl Open {
    pub fn opening(&self) -> Option<pb::Opening> {
        Some(pb::Opening { reason: self.open.clone()?, ticket: self.ticket.clone()? })
    }
}

async fn show(command: Report, output: Output) -> Outcome {
    let request = pb::GetSubjectReportRequest {
        subject: Some(command.who.name()?),
        as_of: command.when.as_of(),
        known_at: command.when.known.known_at,
        at_least: command.when.known.at_least,
        opening: command.open.opening(),
        evidence_limit: Some(command.evidence),
        ..Default::default()
    };
    let answer = command.remote.connect().await?.subjects().get_subject_report(request).await?.into_inner();
    let report = answer.report.unwrap_or_default();
    if output.json {
        return Ok(output.line(&json::text("SubjectReport", &report)?)?);
    }
    Ok(report::print(&report, command.language, output)?)
}

async fn list(command: Events, output: Output) -> Outcome {
    let mut request = pb::ListSubjectEventsRequest {
        subject: Some(command.who.name()?),
        types: command.types,
        known_at: command.known.known_at,
        at_least: command.known.at_least,
        opening: command.open.opening(),
        oldest_first: command.oldest_first,
        ..Default::default()
    };
    let mut subjects = command.remote.connect().await?.subjects();
    let mut left = command.limit.unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    while left > 0 {
        request.page_size = events::page_size(left);
        let page = subjects.list_subject_events(request.clone()).await?.into_inner();
        left = left.saturating_sub(page.events.len() as u64);
        for event in &page.events {
            if output.json {
                output.line(&json::text("EvidenceEvent", event)?)?;
            } else {
                rows.push(report::evidence_row(event));
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(output.table(&report::EVIDENCE, &rows)?)
}

async fn find(command: Find, output: Output) -> Outcome {
    let request = pb::FindSubjectRequest { identifier: Some(command.identifier.read()?) };
    let answer = command.remote.connect().await?.subjects().find_subject(request).await?.into_inner();
    if output.json {
        for candidate in &answer.candidates {
            output.line(&json::text("SubjectCandidate", candidate)?)?;
        }
        return Ok(());
    }
    let row = |c: &pb::SubjectCandidate| {
        let how = if c.associated_only { "associated only" } else { "resolves" };
        vec![c.subject.clone(), report::time(c.from.as_ref()), report::time(c.to.as_ref()), how.to_owned()]
    };
    let rows: Vec<Vec<String>> = answer.candidates.iter().map(row).collect();
    if rows.is_empty() {
        return Err(Failure::new(Exit::Refused, "nobody has this identifier"));
    }
    Ok(output.table(&["subject", "from", "to", "how"], &rows)?)
}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("both", |value| value.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_with_and_without_a_realm() {
        let account = identifier("account@solar:a:42").unwrap();
        assert_eq!((account.realm.as_str(), account.value.as_str()), ("solar", "a:42"));
        assert_eq!(account.kind, pb::IdentifierKind::Account as i32);
        assert_eq!(identifier("mac:00:11:22:33:44:55").unwrap().value, "00:11:22:33:44:55");
        for kind in Kind::ALL {
            assert!(identifier(&format!("{kind}:x")).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_what_was_typed() {
        for wrong in ["13800138000", "handy:13800138000", "phone:", ""] {
            let failure = identifier(wrong).unwrap_err();
            assert!(failure.exit == Exit::Usage && !failure.message.contains("138"), "{}", failure.message);
        }
    }
}

//! `custody instructions`: what those who hold data are told to do with them. A script takes what there is, asks before it
//! acts, and answers (`work.rs`); for somebody who will never call, a desk writes letters and answers (`desk.rs`).

mod desk;
mod letter;
mod lines;
mod service;
mod words;
mod work;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::cli::subject::{Who, one_identifier};
use crate::domain::time::Timestamp;
use crate::pb;

#[derive(Debug, Subcommand)]
pub enum Instructions {
    /// Open instructions, the oldest of an addressee first; of a person, all
    List(List),
    /// Take what is open and in nobody's hands, and keep it from others for a while
    Take(work::Take),
    /// Ask, right before acting, whether instructions are still to be carried out
    Begin(work::Begin),
    /// Say what became of instructions
    Acknowledge(work::Acknowledge),
    /// Begin all that a service was told to destroy, and name what has to stay
    BeginService(service::Begin),
    /// Say that a service was emptied of what was begun
    AcknowledgeService(service::Acknowledge),
    /// Take what comes, one JSON object a line, until interrupted
    Watch(work::Watch),
    /// Tell those who hold a person's data something else than to erase them
    Issue(Issue),
    /// Recall what its addressee will not carry out, and give it to somebody else
    Reassign(Reassign),
    /// What is open with those who will never call: worklist, letters, answers
    Desk(desk::Desk),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only of this service or recipient
    #[arg(long, default_value = "")]
    addressee: String,
    /// Only of this person, by the handle that an earlier answer gave; also what was answered
    #[arg(long, value_name = "HANDLE", conflicts_with = "identifier_file")]
    subject: Option<String>,
    /// Only of this person: file that holds the identifier as `KIND[@REALM]:VALUE`
    #[arg(long, value_name = "FILE")]
    identifier_file: Option<PathBuf>,
    /// Only with this deadline or an earlier one
    #[arg(long, value_name = "TIME")]
    due_by: Option<Timestamp>,
    /// Only this kind, such as erase or stop_using
    #[arg(long, value_parser = words::kind_of)]
    kind: Option<pb::InstructionKind>,
    /// Only in this state: issued, begun, done, refused, impossible, deferred or recalled
    #[arg(long, value_parser = words::state_of)]
    state: Option<pb::InstructionState>,
    /// At most so many are asked for
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    /// Wait until the views have reached this position, such as a receipt's
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Issue {
    #[command(flatten)]
    who: Who,
    /// restrict, lift, rectify, provide_copy, stop_using, notify or preserve_backups
    #[arg(long, value_parser = words::kind_of)]
    kind: pb::InstructionKind,
    /// Only data of this service
    #[arg(long, default_value = "")]
    service: String,
    /// Only this kind of record
    #[arg(long, default_value = "")]
    record_kind: String,
    /// Only this category
    #[arg(long, default_value = "")]
    category: String,
    /// Only this slot
    #[arg(long, default_value = "")]
    slot: String,
    /// The case it is for
    #[arg(long, default_value = "")]
    case: String,
    /// By when it has to be answered; in 30 days without this
    #[arg(long, value_name = "TIME")]
    due: Option<Timestamp>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Reassign {
    /// The instruction, as `list` names it
    #[arg(value_name = "INSTRUCTION")]
    id: String,
    /// Who has it now
    #[arg(long)]
    from: String,
    /// A registered service or recipient, such as the successor of a service that has ended
    #[arg(long)]
    to: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Instructions, output: Output) -> Outcome {
    match command {
        Instructions::List(command) => list(command, output).await,
        Instructions::Take(command) => work::take(command, output).await,
        Instructions::Begin(command) => work::begin(command, output).await,
        Instructions::Acknowledge(command) => work::acknowledge(command, output).await,
        Instructions::BeginService(command) => service::begin(command, output).await,
        Instructions::AcknowledgeService(command) => service::acknowledge(command, output).await,
        Instructions::Watch(command) => work::watch(command, output).await,
        Instructions::Issue(command) => issue(command, output).await,
        Instructions::Reassign(command) => reassign(command, output).await,
        Instructions::Desk(command) => desk::run(command, output).await,
    }
}

/// The first so many instructions that a question finds.
async fn found(
    client: &Client,
    request: pb::ListInstructionsRequest,
    limit: usize,
) -> Result<Vec<pb::Instruction>, tonic::Status> {
    pages::first(request, limit, async |page| client.instructions().list_instructions(page).await).await
}

impl List {
    fn subject(&self) -> Result<Option<pb::SubjectName>, Failure> {
        use pb::subject_name::Name;
        let name = match (&self.subject, &self.identifier_file) {
            (Some(handle), _) => Name::Subject(handle.clone()),
            (None, Some(path)) => Name::Identifier(one_identifier(Some(path))?),
            (None, None) => return Ok(None),
        };
        Ok(Some(pb::SubjectName { name: Some(name) }))
    }
}

async fn list(command: List, output: Output) -> Outcome {
    let request = pb::ListInstructionsRequest {
        subject: command.subject()?,
        addressee: command.addressee,
        due_by: command.due_by.map(timestamp),
        page_size: 1_000,
        at_least: command.at_least,
        ..Default::default()
    };
    let mut all = found(&command.remote.connect().await?, request, command.limit).await?;
    all.retain(|one| {
        command.kind.is_none_or(|kind| one.kind() == kind)
            && command.state.is_none_or(|state| one.state() == state)
    });
    print(&all, output)
}

/// Instructions as a table, which names nobody, or as one JSON object a line.
fn print(all: &[pb::Instruction], output: Output) -> Outcome {
    if output.json {
        return all.iter().try_for_each(|one| Ok(output.line(&json::text("Instruction", one)?)?));
    }
    let row = |one: &pb::Instruction| {
        vec![
            one.instruction_id.clone(),
            words::kind(one.kind()),
            one.addressee.clone(),
            words::data(one),
            words::state(one.state()),
            time(one.due.as_ref()),
            one.reminders.to_string(),
            time(one.taken_until.as_ref()),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let headings = ["instruction", "kind", "addressee", "data", "state", "due", "reminders", "taken until"];
    Ok(output.table(&headings, &rows)?)
}

async fn issue(command: Issue, output: Output) -> Outcome {
    let request = pb::IssueInstructionsRequest {
        subject: Some(command.who.name()?),
        kind: command.kind.into(),
        service: command.service,
        record_kind: command.record_kind,
        category: command.category,
        slot: command.slot,
        case_id: command.case,
        due: command.due.map(timestamp),
    };
    let answer = command.remote.connect().await?.instructions().issue_instructions(request).await?;
    let issued = answer.into_inner().instructions;
    if issued.is_empty() {
        output.note("nobody holds such data, as far as is known: no instruction went out");
    }
    print(&issued, output)
}

async fn reassign(command: Reassign, output: Output) -> Outcome {
    let Reassign { id: instruction_id, from, to, remote } = command;
    let request = pb::ReassignInstructionRequest { instruction_id, from, to };
    let answer = remote.connect().await?.instructions().reassign_instruction(request).await?;
    print(&answer.into_inner().instruction.into_iter().collect::<Vec<_>>(), output)
}

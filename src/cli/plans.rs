//! `custody plans`: what is to be destroyed, as plans that somebody can read before anything goes: made, listed, told in
//! words, agreed to or refused by somebody else than the planner, and what became of them.

mod words;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::report::time;
use crate::pb;
use crate::verify::manifest::unhex;

#[derive(Debug, Subcommand)]
pub enum Plans {
    /// Plan what is due now and in no plan yet, and have done what needs nobody's approval
    Make(Make),
    /// Plans, the newest first
    List(List),
    /// One plan in words: what, why, how many, who has to agree and why, what became of it
    Show(Show),
    /// What of a plan is still due or kept, person by person
    Items(Items),
    /// Agree to a plan as it was read, as somebody other than the planner; its instructions go out at once
    Approve(Approve),
    /// Refuse a plan as it was read
    Reject(Reject),
}

#[derive(Debug, Args)]
pub struct Make {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Waiting,
    Approved,
    Rejected,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only of this service
    #[arg(long, default_value = "")]
    service: String,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Wait until the views have reached this position, such as a receipt's
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The plan, as `list` names it
    #[arg(value_name = "PLAN")]
    id: String,
    /// Directory for the plan, the header of its event, and the proof that this stands in the log
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Wait until the views have reached this position, such as a receipt's
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Items {
    /// The plan, as `list` names it
    #[arg(value_name = "PLAN")]
    id: String,
    /// At most so many
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// The plan that was read.
#[derive(Debug, Args)]
struct Read {
    /// The plan, as `list` names it
    #[arg(value_name = "PLAN")]
    id: String,
    /// Its digest, as `show` told it: another plan than the one that was read is refused
    #[arg(long, value_name = "HEX")]
    sha256: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 2 where the plan is another one, decided already, or planned by the caller."
)]
pub struct Approve {
    #[command(flatten)]
    read: Read,
    /// Why, as a code; required where the plan has to be confirmed
    #[arg(long, value_name = "CODE", default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Reject {
    #[command(flatten)]
    read: Read,
    /// Why, as a code
    #[arg(long, value_name = "CODE")]
    reason: String,
}

pub async fn run(command: Plans, output: Output) -> Outcome {
    match command {
        Plans::Make(Make { remote }) => make(&remote, output).await,
        Plans::List(command) => list(command, output).await,
        Plans::Show(command) => show(command, output).await,
        Plans::Items(command) => items(command, output).await,
        Plans::Approve(command) => approve(command, output).await,
        Plans::Reject(command) => reject(command, output).await,
    }
}

async fn make(remote: &Remote, output: Output) -> Outcome {
    let made = remote.connect().await?.plans().plan_erasures(pb::PlanErasuresRequest {}).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("PlanErasuresResponse", &made)?)?);
    }
    table(&made.plans, output)?;
    let pb::PlanErasuresResponse { plans, due, instructed, recalled } = &made;
    let waiting = plans.iter().filter(|plan| plan.state() == pb::PlanState::Waiting).count();
    output.facts(&[
        ("new plans", format!("{}, of which {waiting} wait for approval", plans.len())),
        ("due", due.to_string()),
        ("instructions", format!("{instructed} went out, {recalled} were recalled")),
    ])?;
    Ok(())
}

async fn list(command: List, output: Output) -> Outcome {
    let state = match command.state {
        None => pb::PlanState::Unspecified,
        Some(State::Waiting) => pb::PlanState::Waiting,
        Some(State::Approved) => pb::PlanState::Approved,
        Some(State::Rejected) => pb::PlanState::Rejected,
    };
    let request = pb::ListPlansRequest {
        state: state.into(),
        service: command.service,
        page_size: 1_000,
        at_least: command.at_least,
        ..Default::default()
    };
    let client = command.remote.connect().await?;
    let plans =
        pages::first(request, command.limit, async |page| client.plans().list_plans(page).await).await?;
    if output.json {
        return plans.iter().try_for_each(|plan| Ok(output.line(&json::text("Plan", plan)?)?));
    }
    Ok(table(&plans, output)?)
}

fn table(plans: &[pb::Plan], output: Output) -> std::io::Result<()> {
    let row = |plan: &pb::Plan| {
        vec![
            plan.plan_id.clone(),
            words::state(plan.state()).to_owned(),
            plan.service.clone(),
            words::action(plan.action()).to_owned(),
            plan.items.to_string(),
            words::cause(plan.cause()).to_owned(),
            time(plan.planned_at.as_ref()),
            time(plan.decided_at.as_ref()),
            plan.approvals_needed.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = plans.iter().map(row).collect();
    let headings =
        ["plan", "state", "service", "action", "data", "why", "planned", "decided", "approval because"];
    output.table(&headings, &rows)
}

async fn show(command: Show, output: Output) -> Outcome {
    let request = pb::GetPlanRequest { plan_id: command.id, at_least: command.at_least };
    let answer = command.remote.connect().await?.plans().get_plan(request).await?.into_inner();
    let text = json::text("GetPlanResponse", &answer)?;
    let (plan, outcome) = (answer.plan.unwrap_or_default(), answer.outcome.unwrap_or_default());
    if let Some(dir) = &command.out {
        keep(dir, &plan, &outcome, &text)?;
        output.note(&format!("written to {}", dir.display()));
    }
    if output.json {
        return Ok(output.line(&text)?);
    }
    output.facts(&words::told(&plan, &outcome))?;
    if let Some(next) = words::next(&plan) {
        output.note(&next);
    }
    Ok(())
}

/// What proves the plan, in files that programs for c2sp.org/tlog-proof check.
fn keep(dir: &Path, plan: &pb::Plan, outcome: &pb::PlanOutcome, text: &str) -> Outcome {
    let place = |ending: &str| {
        // An id may have signs that are none of a file's name.
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = plan.plan_id.chars().map(safe).collect();
        dir.join(format!("plan-{name}{ending}"))
    };
    let write = |path: PathBuf, bytes: &[u8]| {
        let failed = |e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display()));
        std::fs::write(&path, bytes).map_err(failed)
    };
    std::fs::create_dir_all(dir)?;
    write(place(".json"), text.as_bytes())?;
    write(place(".header"), &outcome.header)?;
    if !outcome.tlog_proof.is_empty() {
        write(place(".tlog-proof"), outcome.tlog_proof.as_bytes())?;
    }
    Ok(())
}

async fn items(command: Items, output: Output) -> Outcome {
    let request = pb::ListPlanItemsRequest { plan_id: command.id, page_size: 1_000, ..Default::default() };
    let client = command.remote.connect().await?;
    let ask = async |page| client.plans().list_plan_items(page).await;
    let items = pages::first(request, command.limit, ask).await?;
    if output.json {
        return items.iter().try_for_each(|item| Ok(output.line(&json::text("PlanItem", item)?)?));
    }
    let row = |item: &pb::PlanItem| {
        vec![
            item.subject.clone(),
            item.record_kind.clone(),
            item.category.clone(),
            item.slot.clone(),
            time(item.due_at.as_ref()),
            words::item(item.state()).to_owned(),
            item.kept_by.join(", "),
            item.recipients.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let headings = ["subject", "record kind", "category", "slot", "due", "state", "kept by", "then told to"];
    output.table(&headings, &rows)?;
    if items.is_empty() {
        output.note(
            "nothing of it is due or kept: what was told to somebody is in `custody instructions list`",
        );
    }
    Ok(())
}

async fn approve(command: Approve, output: Output) -> Outcome {
    let (Read { id, sha256, remote }, reason) = (command.read, command.reason);
    let request = pb::ApprovePlanRequest { plan_id: id, plan_sha256: digest(&sha256)?, reason };
    let answer = remote.connect().await?.plans().approve_plan(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("ApprovePlanResponse", &answer)?)?);
    }
    let plan = answer.plan.unwrap_or_default();
    Ok(output.line(&format!("{} is approved; {} instructions went out", plan.plan_id, answer.instructed))?)
}

async fn reject(command: Reject, output: Output) -> Outcome {
    let (Read { id, sha256, remote }, reason) = (command.read, command.reason);
    let request = pb::RejectPlanRequest { plan_id: id, plan_sha256: digest(&sha256)?, reason };
    let answer = remote.connect().await?.plans().reject_plan(request).await?.into_inner();
    if output.json {
        return Ok(output.line(&json::text("RejectPlanResponse", &answer)?)?);
    }
    let plan = answer.plan.unwrap_or_default();
    Ok(output
        .line(&format!("{} is rejected; its data stay while nothing new is known of them", plan.plan_id))?)
}

fn digest<B: From<Vec<u8>>>(text: &str) -> Result<B, Failure> {
    let digest = unhex(&text.to_ascii_lowercase())
        .ok_or_else(|| Failure::usage("--sha256 is not of 64 hexadecimal digits"))?;
    Ok(digest.to_vec().into())
}

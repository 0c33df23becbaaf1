//! `custody events list|gaps`; what takes events back is in `events/retract.rs`: what is in the log, without a person in mind.

mod retract;

use clap::{Args, Subcommand};

use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::record::timestamp;
use crate::cli::report::time;
use crate::domain::time::Timestamp;
use crate::{limits, pb};

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Events that pass a filter
    List(Box<List>),
    /// Numbers that emitters left out; exit code 1 if there are any
    Gaps(Gaps),
    /// Take wrong events back; the log keeps them, and nothing counts them any more
    Retract(retract::Retract),
}

/// Filters of one kind are alternatives; all kinds must hold.
#[derive(Debug, Clone, Args)]
pub struct Filter {
    /// Type, such as DataCollected
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    #[arg(long = "emitter")]
    emitters: Vec<String>,
    #[arg(long = "service")]
    services: Vec<String>,
    #[arg(long = "activity")]
    activities: Vec<String>,
    #[arg(long = "purpose")]
    purposes: Vec<String>,
    /// A parent finds its children
    #[arg(long = "category")]
    categories: Vec<String>,
    #[arg(long = "recipient")]
    recipients: Vec<String>,
    /// Of collection, storage, or either end of a transfer
    #[arg(long = "country")]
    countries: Vec<String>,
    #[arg(long, value_name = "TIME")]
    occurred_from: Option<Timestamp>,
    #[arg(long, value_name = "TIME")]
    occurred_to: Option<Timestamp>,
    /// Recorded at or after
    #[arg(long, value_name = "TIME")]
    recorded_from: Option<Timestamp>,
    /// Recorded before
    #[arg(long, value_name = "TIME")]
    recorded_to: Option<Timestamp>,
    /// First position
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// The position after the last
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// Leave out what was retracted
    #[arg(long)]
    without_retracted: bool,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    #[arg(long)]
    oldest_first: bool,
    /// Wait until the views have reached this position
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Gaps {
    /// Only this emitter's
    #[arg(long)]
    emitter: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Filter {
    /// Whether it asks for more than a range of places or of recording times.
    pub fn chooses(&self) -> bool {
        let lists = [
            &self.types,
            &self.emitters,
            &self.services,
            &self.activities,
            &self.purposes,
            &self.categories,
            &self.recipients,
            &self.countries,
        ];
        lists.into_iter().any(|list| !list.is_empty())
            || self.occurred_from.is_some()
            || self.occurred_to.is_some()
            || self.without_retracted
    }

    pub fn range(&self) -> pb::ExportRange {
        pb::ExportRange {
            position_from: self.from,
            position_to: self.to,
            recorded_from: self.recorded_from.map(timestamp),
            recorded_to: self.recorded_to.map(timestamp),
        }
    }

    pub fn into_wire(self) -> pb::EventFilter {
        pb::EventFilter {
            types: self.types,
            emitters: self.emitters,
            services: self.services,
            activities: self.activities,
            purposes: self.purposes,
            categories: self.categories,
            recipients: self.recipients,
            countries: self.countries,
            occurred_from: self.occurred_from.map(timestamp),
            occurred_to: self.occurred_to.map(timestamp),
            recorded_from: self.recorded_from.map(timestamp),
            recorded_to: self.recorded_to.map(timestamp),
            position_from: self.from,
            position_to: self.to,
            without_retracted: self.without_retracted,
        }
    }
}

/// The page to ask for while so many are left to show.
pub fn page_size(left: u64) -> u32 {
    left.min(limits::PAGE as u64) as u32
}

pub async fn run(command: Events, output: Output) -> Outcome {
    match command {
        Events::List(command) => list(*command, output).await,
        Events::Gaps(command) => gaps(command, output).await,
        Events::Retract(command) => retract::run(command, output).await,
    }
}

async fn list(command: List, output: Output) -> Outcome {
    let order = if command.oldest_first { pb::Order::OldestFirst } else { pb::Order::NewestFirst };
    let mut request = pb::ListEventsRequest {
        filter: Some(command.filter.into_wire()),
        order: order as i32,
        at_least: command.at_least,
        ..Default::default()
    };
    let mut events = command.remote.connect().await?.events();
    let (mut left, mut rows) = (command.limit, Vec::new());
    while left > 0 {
        request.page_size = page_size(left);
        let page = events.list_events(request.clone()).await?.into_inner();
        left = left.saturating_sub(page.events.len() as u64);
        for record in &page.events {
            if output.json {
                output.line(&json::text("EventRecord", record)?)?;
            } else {
                rows.push(row(record));
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(output.table(&["position", "occurred", "type", "emitter", "service", "activity", "people"], &rows)?)
}

/// The header is the truth of what was recorded, and reads without any of the typed bodies.
fn row(record: &pb::EventRecord) -> Vec<String> {
    let header: serde_json::Value = serde_json::from_slice(&record.header).unwrap_or_default();
    let text = |name: &str| header[name].as_str().unwrap_or_default().to_owned();
    let people = record.parts.iter().filter(|part| part.role() != pb::Role::Unspecified).count();
    let mut kind = text("type");
    if let Some(position) = record.retracted_by {
        kind.push_str(&format!(" (retracted by {position})"));
    }
    let occurred = text("occurred_at").replace(".000Z", "Z");
    vec![
        record.position.to_string(),
        occurred,
        kind,
        text("emitter"),
        text("service"),
        text("activity"),
        people.to_string(),
    ]
}

async fn gaps(command: Gaps, output: Output) -> Outcome {
    let mut request = pb::GetEmitterGapsRequest {
        emitter: command.emitter.unwrap_or_default(),
        page_size: limits::PAGE as u32,
        ..Default::default()
    };
    let mut admin = command.remote.connect().await?.admin();
    let (mut found, mut rows) = (false, Vec::new());
    loop {
        let page = admin.get_emitter_gaps(request.clone()).await?.into_inner();
        found |= !page.gaps.is_empty();
        for gap in &page.gaps {
            if output.json {
                output.line(&json::text("EmitterGap", gap)?)?;
            } else {
                let noticed = time(gap.noticed_at.as_ref());
                let missing = gap.last.saturating_sub(gap.first).saturating_add(1);
                rows.push(vec![
                    gap.emitter.clone(),
                    gap.first.to_string(),
                    gap.last.to_string(),
                    missing.to_string(),
                    noticed,
                ]);
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    output.table(&["emitter", "first missing", "last missing", "count", "noticed"], &rows)?;
    if found { Err(Failure::found()) } else { Ok(()) }
}

//! `custody status`: how the service is doing, and what an operator has to look at.

use clap::Args;

use crate::cli::client::Remote;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::report::time;
use crate::pb;

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    remote: Remote,
}

pub async fn run(command: Status, output: Output) -> Outcome {
    let mut admin = command.remote.connect().await?.admin();
    let status = admin.get_status(pb::GetStatusRequest {}).await?.into_inner();
    if output.json {
        output.line(&json::text("GetStatusResponse", &status)?)?;
    } else {
        print(&status, output)?;
    }
    if status.alarms.is_empty() { Ok(()) } else { Err(Failure::found()) }
}

fn print(status: &pb::GetStatusResponse, output: Output) -> std::io::Result<()> {
    let log = status.log.clone().unwrap_or_default();
    let views = status.views.clone().unwrap_or_default();
    let vault = status.vault.unwrap_or_default();
    let ledger = status.ledger.clone().unwrap_or_default();
    let root: String = ledger.root.iter().map(|byte| format!("{byte:02x}")).collect();
    let behind = log.head.saturating_sub(views.position);
    output.facts(&[
        ("version", status.version.clone()),
        ("origin", status.origin.clone()),
        ("region", status.region.clone()),
        ("started", time(status.started_at.as_ref())),
        ("log head", log.head.to_string()),
        ("log on disk", bytes(log.bytes_on_disk)),
        ("disk free", disk_free(&log)),
        ("log read-only", log.read_only),
        (
            "views at",
            format!("{} ({behind} behind{}, generation {})", views.position, since(&views), views.generation),
        ),
        ("views stopped", views.stopped),
        ("signed as", if ledger.origin == status.origin { String::new() } else { ledger.origin.clone() }),
        ("tree", format!("{} leaves, root {root}", ledger.tree_size)),
        ("checkpoint", checkpoint(&ledger)),
        ("mirror", mirror(status.mirror.as_ref())),
        ("people", format!("{} ({} pending)", vault.people, vault.pending)),
    ])?;
    for alarm in &status.alarms {
        output.heading(&format!("{}: {}", alarm.code, alarm.message))?;
        output.line(&format!("since: {}", time(alarm.since.as_ref())))?;
        output.line(&format!("way out: {}", alarm.way_out))?;
    }
    Ok(())
}

/// For how long the views have been behind.
fn since(views: &pb::ViewsStatus) -> String {
    let seconds = views.lag.as_ref().map_or(0, |lag| lag.seconds);
    if seconds == 0 { String::new() } else { format!(" for {seconds} s") }
}

fn disk_free(log: &pb::LogStatus) -> String {
    let free = log.disk_free_bytes.map_or("unknown".to_owned(), bytes);
    format!("{free} ({} kept as reserve)", bytes(log.disk_reserve_bytes))
}

/// Nothing where there is none: then the line is left out.
fn mirror(mirror: Option<&pb::MirrorStatus>) -> String {
    match mirror {
        None => String::new(),
        Some(mirror) if mirror.failing.is_empty() => format!("{} has everything", mirror.directory),
        Some(mirror) => format!("{} is failing: {}", mirror.directory, mirror.failing),
    }
}

fn checkpoint(ledger: &pb::LedgerStatus) -> String {
    match ledger.published_size {
        None => "none yet".to_owned(),
        Some(size) => {
            let witnessed = if ledger.witnessed { "" } else { ", not enough witnesses" };
            format!("over {size} leaves, {} signatures{witnessed}", ledger.signatures)
        }
    }
}

/// Bytes as a person reads them.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_read_in_the_unit_that_fits() {
        assert_eq!(super::bytes(1_023), "1023 B");
        assert_eq!(super::bytes(1_536), "1.5 KiB");
        assert_eq!(super::bytes(3 << 30), "3.0 GiB");
    }
}

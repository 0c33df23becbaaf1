//! `custody subject erase|certificate|evidence`: the end of what is held about a person, what can be
//! certified of it, and what stays for a while.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Who;
use crate::cli::client::Remote;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::{json, report};
use crate::pb;
use crate::verify::manifest::{hex, unhex};

#[derive(Debug, Args)]
pub struct Erase {
    #[command(flatten)]
    who: Who,
    #[arg(long, value_enum, default_value_t = Cause::Operator)]
    cause: Cause,
    /// The case of the request
    #[arg(long, value_name = "CASE")]
    case: Option<String>,
    /// What proves consents and cases goes with the rest; without this it is kept for its own time
    #[arg(long)]
    evidence_too: bool,
    /// Do it; without this, who is meant is shown and nothing is done
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Why a person is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cause {
    /// The person asked for it
    Case,
    /// A retention rule
    Retention,
    /// The service ended
    ServiceEnd,
    /// The operator decided
    Operator,
}

#[derive(Debug, Args)]
pub struct GetCertificate {
    /// The tomb that the erasure was answered with, in hexadecimal
    #[arg(value_name = "TOMB")]
    tomb: String,
    /// Directory for the letters, the receipt and its proof; printed only without this
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Evidence {
    #[command(flatten)]
    who: Who,
    /// Why it is looked at, as a code; the read is recorded first
    #[arg(long)]
    reason: String,
    /// Ticket or case of the dispute
    #[arg(long)]
    ticket: String,
    #[command(flatten)]
    remote: Remote,
}

pub async fn erase(command: Erase, output: Output) -> Outcome {
    let (subject, client) = (command.who.name()?, command.remote.connect().await?);
    if !command.yes {
        let request = pb::GetSubjectReportRequest {
            subject: Some(subject),
            evidence_limit: Some(0),
            ..Default::default()
        };
        let report =
            client.subjects().get_subject_report(request).await?.into_inner().report.unwrap_or_default();
        output.facts(&[
            ("subject", report.subject),
            ("with", report.merged.join(" ")),
            ("events", report.event_count.to_string()),
        ])?;
        return Err(Failure::new(
            Exit::Found,
            "nothing was done: say --yes to erase, which cannot be undone",
        ));
    }
    let cause = match command.cause {
        Cause::Case => pb::IdentityErasureCause::Case,
        Cause::Retention => pb::IdentityErasureCause::Retention,
        Cause::ServiceEnd => pb::IdentityErasureCause::ServiceEnd,
        Cause::Operator => pb::IdentityErasureCause::Operator,
    };
    let request = pb::EraseSubjectsRequest {
        subjects: vec![subject],
        cause: cause.into(),
        case_id: command.case.unwrap_or_default(),
        evidence_too: command.evidence_too,
    };
    let answer = client.erasures().erase_subjects(request).await?.into_inner();
    answer.erasures.iter().try_for_each(|erasure| show_erasure(erasure, output))
}

fn show_erasure(erasure: &pb::Erasure, output: Output) -> Outcome {
    if output.json {
        return Ok(output.line(&json::text("Erasure", erasure)?)?);
    }
    let or = |at: Option<&prost_types::Timestamp>, none: &str| match at {
        Some(at) => report::time(Some(at)),
        None => none.to_owned(),
    };
    let tomb: String = erasure.tomb.iter().map(|byte| format!("{byte:02x}")).collect();
    output.facts(&[
        ("tomb", tomb.clone()),
        ("shredded", report::time(erasure.shredded_at.as_ref())),
        ("purged", report::time(erasure.purged_at.as_ref())),
        ("beyond backups", or(erasure.beyond_backups_at.as_ref(), "when the key-encryption key is replaced")),
        ("evidence kept until", or(erasure.kept_until.as_ref(), "none is kept")),
        ("pieces purged", erasure.pieces.to_string()),
        ("accepted at", format!("position {}", erasure.accepted_position)),
        ("erased at", format!("position {}", erasure.erased_position)),
    ])?;
    output.note(&format!(
        "certificate, letters and proof, from the next checkpoint on:\n  custody subject certificate {tomb} --out DIR"
    ));
    Ok(())
}

pub async fn certificate(command: GetCertificate, output: Output) -> Outcome {
    let wrong = || Failure::usage("the tomb is not of 64 hexadecimal digits");
    let tomb = unhex(&command.tomb.to_ascii_lowercase()).ok_or_else(wrong)?;
    let request = pb::GetErasureCertificateRequest { tomb: tomb.to_vec().into() };
    let answer = command.remote.connect().await?.erasures().get_erasure_certificate(request).await?;
    let certificate = answer.into_inner().certificate.unwrap_or_default();
    let text = json::text("ErasureCertificate", &certificate)?;
    if let Some(dir) = &command.out {
        let name = |what: &str| dir.join(format!("erasure-{}{what}", &hex(&tomb)[..16]));
        std::fs::create_dir_all(dir)?;
        std::fs::write(name(".json"), &text)?;
        std::fs::write(name(".en.txt"), &certificate.letter_en)?;
        std::fs::write(name(".zh.txt"), &certificate.letter_zh)?;
        std::fs::write(name(".header"), &certificate.header)?;
        if !certificate.tlog_proof.is_empty() {
            std::fs::write(name(".tlog-proof"), &certificate.tlog_proof)?;
        }
        output.note(&format!("written to {}", dir.display()));
    }
    if output.json {
        return Ok(output.line(&text)?);
    }
    output.line(&certificate.letter_en)?;
    output.line(&certificate.letter_zh)?;
    if certificate.tlog_proof.is_empty() {
        output.note("there is no checkpoint over it yet; ask again, or run `custody ledger publish`");
    }
    Ok(())
}

pub async fn evidence(command: Evidence, output: Output) -> Outcome {
    let opening = pb::Opening { reason: command.reason, ticket: command.ticket };
    let request = pb::ListKeptEvidenceRequest { subject: Some(command.who.name()?), opening: Some(opening) };
    let answer = command.remote.connect().await?.erasures().list_kept_evidence(request).await?.into_inner();
    for kept in &answer.kept {
        if output.json {
            output.line(&json::text("KeptEvidence", kept)?)?;
            continue;
        }
        output
            .facts(&[("subject", kept.subject.clone()), ("kept until", report::time(kept.until.as_ref()))])?;
        let rows: Vec<Vec<String>> = kept.events.iter().map(report::evidence_row).collect();
        output.table(&report::EVIDENCE, &rows)?;
    }
    Ok(())
}

//! `custody register export` and `import`: a register as a spreadsheet, and a spreadsheet as one import.
//!
//! Every cell that cannot be is told with its sheet, row and column before anything is sent; then the service
//! says what each row would change, or why not, and records all of it or nothing. What an import leaves out
//! stays as it is registered: a sheet adds and changes, and ends nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Envelope;
use super::show::{changes, kind, state_of};
use crate::cli::client::{Client, Remote};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::json;
use crate::cli::output::Output;
use crate::cli::pages;
use crate::cli::record::derived_id;
use crate::cli::sheets::registers::{APPROVED_BY, BESIDE, Register};
use crate::cli::sheets::{Files, at};
use crate::cli::when::When;
use crate::clock::{Clock, SystemClock};
use crate::sheet::typed::Table;
use crate::sheet::{self, Cell, Fault, RawSheet, Sheet};
use crate::{limits, pb};

#[derive(Debug, Args)]
pub struct Export {
    /// The register, as for `list`
    #[arg(value_enum)]
    register: Register,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub struct Import {
    /// A workbook (XLSX), or CSV in UTF-8 or GB18030
    file: PathBuf,
    /// Which register its rows are of
    #[arg(long, value_enum)]
    kind: Register,
    /// Which sheet, where the workbook has several
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Only show what it would change; exit code 1 if it would be refused
    #[arg(long)]
    check: bool,
    /// Name of this import; the same again records nothing new
    #[arg(long, value_name = "ID")]
    import_id: Option<String>,
    /// Why, as a lower-case code, of rows that say none
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    envelope: Envelope,
}

pub async fn export(command: Export, output: Output) -> Outcome {
    let Export { register, when, files, remote } = command;
    let request = pb::ListRegisterEntriesRequest {
        kind: wire(register)?.into(),
        as_of: when.as_of(),
        known_at: when.known.known_at,
        at_least: when.known.at_least,
        page_size: 1_000,
        ..Default::default()
    };
    let (entries, from) = all(&remote.connect().await?, request).await?;
    if output.json {
        return entries.iter().try_for_each(|entry| Ok(output.line(&json::text("RegisterEntry", entry)?)?));
    }
    let sheet = table(register, &entries, &from)?;
    let shown: Vec<&str> = sheet.columns.iter().take(6).map(|column| column.field).chain(["state"]).collect();
    files.give(&sheet, &shown, output)
}

fn wire(register: Register) -> Result<pb::RegisterKind, Failure> {
    let name = clap::ValueEnum::to_possible_value(&register);
    kind(&name.map(|name| name.get_name().to_owned()).unwrap_or_default())
}

/// All entries of a register.
pub async fn all(
    client: &Client,
    request: pb::ListRegisterEntriesRequest,
) -> Result<(Vec<pb::RegisterEntry>, pb::RegisterBasis), tonic::Status> {
    pages::all(request, async |page| client.registers().list_register_entries(page).await).await
}

/// Entries as a table: what each says, and how it stands.
pub fn table(
    register: Register,
    entries: &[pb::RegisterEntry],
    from: &pb::RegisterBasis,
) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new(register.title(), &[&register.columns()[..], &BESIDE].concat());
    for entry in entries {
        let version = entry.version.clone().unwrap_or_default();
        let event = version.event.unwrap_or_default();
        let mut row = register.cells(&event).map_err(|why| Failure::new(Exit::Internal, why))?;
        row.extend([
            Cell::text(state_of::<pb::RegisterState>(entry.state, "")),
            at(version.effective_from.as_ref()),
            at(version.effective_to.as_ref()),
            Cell::Integer(version.position),
            Cell::Integer(from.computed_at),
        ]);
        sheet.rows.push(row);
    }
    Ok(sheet)
}

pub async fn import(command: Import, output: Output) -> Outcome {
    let Import { file, kind, sheet, check, import_id, reason, envelope } = command;
    let rows = read(&file, kind, sheet.as_deref())?;
    let now = SystemClock.now();
    let import_id = import_id.unwrap_or_else(|| format!("sheet-{}", derived_id(&format!("{now} {file:?}"))));
    let request = pb::ApplyRegisterEntriesRequest {
        controller: envelope.controller_of.clone().unwrap_or_default(),
        emitter: envelope.recorded_by.clone(),
        import_id,
        reason,
        ..Default::default()
    };
    let client = envelope.remote.connect().await?;
    let checked =
        send(&client, &rows, pb::ApplyRegisterEntriesRequest { check_only: true, ..request.clone() });
    let checked = checked.await?;
    if check || refused(&checked) > 0 {
        return tell(&rows, &checked, output);
    }
    let applied = send(&client, &rows, request).await?;
    tell(&rows, &applied, output)
}

/// What a file says: its rows with their events, and where each column stands.
pub struct Rows {
    register: Register,
    sheet: String,
    pub table: Table,
    pub events: Vec<pb::Event>,
}

/// Reads a file, and tells every cell that cannot be.
pub fn read(file: &Path, register: Register, sheet: Option<&str>) -> Result<Rows, Failure> {
    let named =
        |why: &dyn std::fmt::Display| Failure::new(Exit::Refused, format_args!("{}: {why}", file.display()));
    let unread =
        |e: std::io::Error| Failure::new(Exit::Configuration, format_args!("{}: {e}", file.display()));
    let bytes = std::fs::metadata(file).map_err(unread)?.len();
    if bytes > limits::SHEET_BYTES as u64 {
        return Err(named(&sheet::Error::TooLarge));
    }
    let bytes = std::fs::read(file).map_err(unread)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let sheets = sheet::read(&name, &bytes).map_err(|why| named(&why))?;
    let raw = one(&sheets, sheet).map_err(|why| named(&why))?;
    let columns = register.columns();
    let table = sheet::typed(raw, &columns, &BESIDE).map_err(|faults| faulty(&faults))?;
    let (mut events, mut faults) = (Vec::new(), Vec::new());
    for row in &table.rows {
        match register.event(&row.cells) {
            Ok(event) => events.push(owned(register, event, &row.cells)),
            Err((field, why)) => faults.push(table.fault(&raw.name, row.number, &columns, field, why)),
        }
    }
    if !faults.is_empty() {
        return Err(faulty(&faults));
    }
    Ok(Rows { register, sheet: raw.name.clone(), table, events })
}

/// Controllers and services say themselves whose they are.
fn owned(register: Register, event: pb::Event, cells: &[Cell]) -> pb::Event {
    let field = match register {
        Register::Controller => "controller",
        Register::Service => "owner",
        _ => return event,
    };
    let place = register.columns().iter().position(|column| column.field == field);
    match place.and_then(|place| cells.get(place)) {
        Some(Cell::Text(controller)) => pb::Event { controller: controller.trim().to_owned(), ..event },
        _ => event,
    }
}

fn one<'a>(sheets: &'a [RawSheet], wanted: Option<&str>) -> Result<&'a RawSheet, String> {
    let names: Vec<&str> = sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    match (wanted, sheets) {
        (Some(wanted), _) => sheets.iter().find(|sheet| sheet.name == wanted).ok_or_else(|| {
            format!("has no sheet {wanted} with anything in it; there are {}", names.join(", "))
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err("has no sheet with anything in it".to_owned()),
        (None, _) => Err(format!("has several sheets: name one of {} with --sheet", names.join(", "))),
    }
}

fn faulty(faults: &[Fault]) -> Failure {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let more = if faults.len() == limits::SHEET_FAULTS { ", and perhaps more" } else { "" };
    Failure::new(
        Exit::Refused,
        format_args!("{}\n{} cells cannot be{more}; nothing was sent", lines.join("\n"), faults.len()),
    )
}

/// Sends all rows. More than one request holds are several imports, which are whole each for itself; that is why
/// all are checked before any is applied.
pub async fn send(
    client: &Client,
    rows: &Rows,
    request: pb::ApplyRegisterEntriesRequest,
) -> Result<Vec<pb::RegisterOutcome>, Failure> {
    let mut outcomes = Vec::with_capacity(rows.events.len());
    let parts = rows.events.len().div_ceil(limits::BATCH_EVENTS);
    for (n, some) in rows.events.chunks(limits::BATCH_EVENTS).enumerate() {
        let import_id = match parts {
            1 => request.import_id.clone(),
            _ => format!("{}.{}", request.import_id, n + 1),
        };
        let part = pb::ApplyRegisterEntriesRequest { entries: some.to_vec(), import_id, ..request.clone() };
        outcomes.extend(client.registers().apply_register_entries(part).await?.into_inner().outcomes);
    }
    Ok(outcomes)
}

fn refused(outcomes: &[pb::RegisterOutcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.result() == pb::RegisterResult::Refused).count()
}

/// What became of each row; why not, with its place.
fn tell(rows: &Rows, outcomes: &[pb::RegisterOutcome], output: Output) -> Outcome {
    let mut lines = Vec::new();
    for (row, outcome) in rows.table.rows.iter().zip(outcomes) {
        if output.json {
            output.line(&json::text("RegisterOutcome", outcome)?)?;
        }
        if outcome.result() != pb::RegisterResult::Unchanged {
            let result = result(outcome.result()).to_owned();
            let changes = changes(&outcome.changes).join("; ");
            lines.push(vec![row.number.to_string(), outcome.id.clone(), result, changes]);
        }
        for fault in rows.faults(row.number, outcome) {
            output.note(&fault.to_string());
        }
    }
    if !output.json {
        output.table(&["row", "entry", "result", "changes"], &lines)?;
        let unchanged = outcomes.iter().filter(|one| one.result() == pb::RegisterResult::Unchanged).count();
        output.note(&format!("{} rows, {unchanged} of them unchanged", outcomes.len()));
    }
    match refused(outcomes) {
        0 => Ok(()),
        n => Err(Failure::new(Exit::Found, format_args!("{n} rows are refused; nothing was recorded"))),
    }
}

fn result(result: pb::RegisterResult) -> &'static str {
    match result {
        pb::RegisterResult::Unchanged => "unchanged",
        pb::RegisterResult::New => "new",
        pb::RegisterResult::Changed => "changed",
        pb::RegisterResult::Refused => "REFUSED",
        pb::RegisterResult::Unspecified => "",
    }
}

impl Rows {
    /// Everything that the service has against a row.
    pub fn faults(&self, row: usize, outcome: &pb::RegisterOutcome) -> Vec<Fault> {
        let violations = outcome.violations.iter().map(|one| (&one.field, &one.description));
        let contradictions = outcome.contradictions.iter().map(|one| (&one.field, &one.description));
        let columns = self.register.columns();
        let fault = |(path, why): (&String, &String)| {
            // The people of an event stand in one column.
            let path = if path.starts_with("people") { APPROVED_BY } else { path.as_str() };
            let field = columns.iter().map(|column| column.field).filter(|field| is_in(path, field));
            // The longest, so that `contract_from.date` is not taken for another.
            let field = field.max_by_key(|field| field.len()).unwrap_or_default();
            let mut fault = self.table.fault(&self.sheet, row, &columns, field, why.clone());
            if fault.column.is_none() && !path.is_empty() {
                fault.why = format!("{path}: {why}");
            }
            fault
        };
        violations.chain(contradictions).map(fault).collect()
    }
}

/// Whether a path from the entry, such as `activity_registered.purposes[1].basis`, lies in a field.
fn is_in(path: &str, field: &str) -> bool {
    let plain: String = {
        let mut depth = 0;
        let keep = |c: &char| {
            depth += i32::from(*c == '[');
            let keep = depth == 0;
            depth -= i32::from(*c == ']');
            keep
        };
        path.chars().filter(keep).collect()
    };
    let below = plain.split_once('.').map_or(plain.as_str(), |(_, rest)| rest);
    below == field
        || below.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
        || field.strip_prefix(below).is_some_and(|rest| rest.starts_with('.'))
}

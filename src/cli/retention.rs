//! `custody retention`: how long data may be kept and why: for cases in a file, offline, and for what a running
//! service knows (`retention/ask.rs`).

mod ask;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::domain::retention::vector::{Expected, Wrong, read};

#[derive(Debug, Subcommand)]
pub enum Retention {
    /// Decide cases and compare with what they expect; exit code 1 where something differs
    Test(Test),
    /// Decide cases and print each decision as one line of JSON
    Evaluate(Evaluate),
    /// How long everything that is held about a person may be kept, and which rules say so
    Explain(ask::Explain),
    /// What falls due by a day, and what changed rules would change. Nothing is destroyed by asking
    Forecast(ask::Forecast),
}

#[derive(Debug, Args)]
pub struct Test {
    /// Files of cases, JSON: rules, events and an instant in, what is to be decided out
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Evaluate {
    /// File of cases, as for `test`; what they expect is not looked at
    file: PathBuf,
}

pub async fn run(command: Retention, output: Output) -> Outcome {
    match command {
        Retention::Test(command) => test(&command, output),
        Retention::Evaluate(command) => evaluate(&command, output),
        Retention::Explain(command) => ask::explain(command, output).await,
        Retention::Forecast(command) => ask::forecast(command, output).await,
    }
}

/// What a file holds. Everything that is wrong with it is said before anything of it is decided.
fn held<T>(path: &Path, read: impl Fn(&str) -> Result<T, Vec<Wrong>>) -> Result<T, Failure> {
    let cannot = |why: &str| Failure::new(Exit::Configuration, format_args!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| cannot(&e.to_string()))?;
    read(&text).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|wrong| format!("\n  {wrong}")).collect();
        cannot(&lines.concat())
    })
}

fn test(command: &Test, output: Output) -> Outcome {
    let (mut passed, mut failed) = (0, 0);
    for path in &command.files {
        for vector in held(path, read)? {
            let differences = vector.differences();
            if differences.is_empty() {
                passed += 1;
            } else {
                failed += 1;
            }
            if output.json {
                let line = serde_json::json!({
                    "file": path.display().to_string(), "name": vector.name,
                    "passed": differences.is_empty(), "differences": differences,
                });
                output.line(&line.to_string())?;
                continue;
            }
            let word = if differences.is_empty() { "pass" } else { "FAIL" };
            output.line(&format!("{word}  {}: {}", path.display(), vector.name))?;
            for difference in differences {
                let (key, expected, decided) = (difference.key, difference.expected, difference.decided);
                output.line(&format!("      {key}: expected {expected}, decided {decided}"))?;
            }
        }
    }
    if !output.json {
        output.line(&format!("{passed} passed, {failed} failed"))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::found()) }
}

fn evaluate(command: &Evaluate, output: Output) -> Outcome {
    for vector in held(&command.file, read)? {
        let decided = serde_json::to_value(Expected::of(&vector.decide())).map_err(Failure::configuration)?;
        let mut line = serde_json::Map::from_iter([("name".to_owned(), vector.name.into())]);
        line.extend(decided.as_object().cloned().unwrap_or_default());
        output.line(&serde_json::Value::from(line).to_string())?;
    }
    Ok(())
}

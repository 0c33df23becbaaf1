//! `custody policy test`: an officer's own cases against the rules of this program. Offline.

use std::path::PathBuf;

use clap::Args;

use crate::app::cases::Cases;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;

#[derive(Debug, Args)]
pub struct Test {
    /// Files of cases, TOML: events in, findings out; `deploy/examples/cases` has some
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub async fn run(command: Test, output: Output) -> Outcome {
    let mut failed = 0;
    for path in &command.files {
        let unreadable = |e: &dyn std::fmt::Display| {
            Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
        let cases = Cases::read(&text).map_err(|e| unreadable(&e))?;
        let tried = cases.run().await.map_err(|e| Failure::configuration(anyhow::Error::new(e)))?;
        for case in tried {
            let passed = case.differences.is_empty();
            failed += usize::from(!passed);
            if output.json {
                let file = path.display().to_string();
                let line = serde_json::json!({
                    "file": file, "case": case.name, "passed": passed, "differences": case.differences,
                });
                output.line(&line.to_string())?;
                continue;
            }
            output.line(&format!(
                "{}  {}: {}",
                if passed { "pass" } else { "FAIL" },
                path.display(),
                case.name
            ))?;
            for difference in &case.differences {
                output.line(&format!("      {difference}"))?;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::found()) }
}

//! The command line: one file per command. Those that ask a running service are gRPC clients like
//! everybody else's; those that touch files take the data directory's lock.

pub mod backup;
pub mod bench;
pub mod cases;
pub mod check;
pub mod client;
pub mod config;
pub mod demo;
pub mod events;
pub mod exit;
pub mod export;
pub mod findings;
pub mod fsck;
pub mod init;
pub mod instructions;
pub mod jobs;
pub mod json;
pub mod keyring;
pub mod law;
pub mod ledger;
pub mod log;
pub mod output;
pub mod pages;
pub mod plans;
pub mod population;
pub mod record;
pub mod recover;
pub mod register;
pub mod report;
pub mod restore;
pub mod retention;
pub mod ropa;
pub mod sdks;
pub mod serve;
pub mod sheets;
pub mod status;
pub mod subject;
pub mod terms;
pub mod token;
pub mod transfers;
pub mod verify;
pub mod views;
pub mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use exit::{Exit, Failure, Outcome};
use output::Output;

/// Keeps the chain of custody of personal data.
#[derive(Debug, Parser)]
#[command(name = "custody", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Print JSON, one value a line, instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Serve),
    /// Record events from a file or standard input, one JSON object a line
    Record(record::Record),
    /// Register an activity
    #[command(subcommand)]
    Activity(register::Activity),
    /// Register a service
    #[command(subcommand)]
    Service(register::Service),
    /// Register a controller
    #[command(subcommand)]
    Controller(register::Controller),
    /// Register a recipient
    #[command(subcommand)]
    Recipient(register::Recipient),
    /// Publish a policy; try cases on the rules
    #[command(subcommand)]
    Policy(register::Policy),
    /// Set up the registers of a company, and say what is wrong with its privacy policy
    Init(init::Init),
    /// What stands in the registers, with its history; change many entries from one file
    #[command(subcommand)]
    Register(register::Register),
    /// Ask about one person
    #[command(subcommand)]
    Subject(subject::Subject),
    /// Whether an activity may touch a person's data now; exit code 1 if it may not
    Check(check::Check),
    /// Who is affected by a recipient, an SDK version, a mechanism, a finding
    #[command(subcommand)]
    Population(population::Population),
    /// Terms that no vocabulary or register knows
    #[command(subcommand)]
    Terms(terms::Terms),
    /// Look at recorded events
    #[command(subcommand)]
    Events(events::Events),
    /// What breaks the policy or the law
    #[command(subcommand)]
    Findings(findings::Findings),
    /// Where data went across borders, and what allowed it
    #[command(subcommand)]
    Transfers(transfers::Transfers),
    /// The law data: known, adopted, and what another document would change
    #[command(subcommand)]
    Law(law::Law),
    /// How long data may be kept, and why
    #[command(subcommand)]
    Retention(retention::Retention),
    /// What is to be destroyed: planned, read, agreed to, and what became of it
    #[command(subcommand)]
    Plans(plans::Plans),
    /// What those who hold data are told to do with them, and what they answer
    #[command(subcommand)]
    Instructions(instructions::Instructions),
    /// The record of processing activities (GDPR 30)
    Ropa(ropa::Ropa),
    /// SDKs: what was declared against what was seen
    Sdks(sdks::Sdks),
    /// What an app collects and with whom it shares, for its users
    AppLists(sdks::AppLists),
    /// Show how the service is doing
    Status(status::Status),
    /// The work of the clock: when it is due, how it ended, a run at once
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Look after the views
    #[command(subcommand)]
    Views(views::Views),
    /// Checkpoints and proofs that the log is complete and unchanged
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Move the log between one machine and a cluster
    #[command(subcommand)]
    Log(log::Log),
    /// Go on under another name after a loss of published records, while the service is stopped
    Recover(recover::Recover),
    /// Make an encrypted backup of a running service; list and check backups
    Backup(backup::Backup),
    /// Make a data directory from a backup, while the service is stopped
    Restore(restore::Restore),
    /// Re-read and re-hash everything that is stored
    Fsck(fsck::Fsck),
    /// Make a bundle that an authority, an auditor or a data subject can check
    Export(Box<export::Export>),
    /// Check an export bundle, offline, trusting only what you bring
    Verify(verify::Verify),
    /// Look after the keys, of a running service or offline
    Keyring(keyring::Keyring),
    /// Make and revoke tokens
    Token(token::Token),
    /// Print the configuration with every key explained, or check one
    Config(config::Config),
    /// Play a month of a solar app against a service of its own, and show one person's report
    Demo(demo::Demo),
    /// Measure a service
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Explain a command, or `exit-codes`
    Help {
        /// The command, or exit-codes
        topic: Vec<String>,
    },
}

/// Parses and runs one command line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => exit::end(run(cli)),
        Err(error) => usage(&error),
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // Whoever closed the terminal does not miss the text.
    let _printed = error.print();
    let exit = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
        _ => Exit::Usage,
    };
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Outcome {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Token(token) => token::run(token, output),
        Command::Config(config) => config::run(config, output),
        Command::Demo(demo) => demo::run(demo, output),
        Command::Keyring(keyring) => keyring::run(keyring, output),
        Command::Help { topic } => help(&topic, output),
        Command::Fsck(fsck) => fsck::run(fsck, output),
        Command::Verify(verify) => verify::run(verify, output),
        Command::Retention(command) => block_on(retention::run(command, output)),
        Command::Serve(serve) => serve::run(serve, output),
        Command::Restore(restore) => restore::run(restore, output),
        Command::Backup(command) => block_on(backup::run(command, output)),
        Command::Recover(recover) => recover::run(recover, output),
        Command::Ledger(command) => block_on(ledger::run(command, output)),
        Command::Log(command) => log::run(command, output),
        Command::Export(command) => block_on(export::run(*command, output)),
        Command::Record(record) => block_on(record::run(record, output)),
        Command::Activity(command) => block_on(register::activity(command, output)),
        Command::Service(command) => block_on(register::service(command, output)),
        Command::Controller(command) => block_on(register::controller(command, output)),
        Command::Recipient(command) => block_on(register::recipient(command, output)),
        Command::Policy(command) => block_on(register::policy(command, output)),
        Command::Init(init) => block_on(init::run(init, output)),
        Command::Register(command) => block_on(register::run(command, output)),
        Command::Subject(command) => block_on(subject::run(command, output)),
        Command::Events(command) => block_on(events::run(command, output)),
        Command::Findings(command) => block_on(findings::run(command, output)),
        Command::Transfers(command) => block_on(transfers::run(command, output)),
        Command::Check(command) => block_on(check::run(command, output)),
        Command::Population(command) => block_on(population::run(command, output)),
        Command::Terms(command) => block_on(terms::run(command, output)),
        Command::Law(command) => block_on(law::run(command, output)),
        Command::Plans(command) => block_on(plans::run(command, output)),
        Command::Instructions(command) => block_on(instructions::run(command, output)),
        Command::Ropa(command) => block_on(ropa::run(command, output)),
        Command::Sdks(command) => block_on(sdks::run(command, output)),
        Command::AppLists(command) => block_on(sdks::app_lists(command, output)),
        Command::Status(command) => block_on(status::run(command, output)),
        Command::Jobs(command) => block_on(jobs::run(command, output)),
        Command::Views(command) => block_on(views::run(command, output)),
        Command::Bench(command) => block_on(bench::run(command, output)),
    }
}

/// Runs a command that talks to a service, on all cores.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command)
}

fn help(topic: &[String], output: Output) -> Outcome {
    if topic == ["exit-codes"] {
        return Ok(output.line(exit::HELP.trim_end())?);
    }
    let mut command = Cli::command();
    command.build();
    for word in topic {
        let Some(found) = command.find_subcommand(word) else {
            return Err(Failure::usage(format_args!("there is no command {}", topic.join(" "))));
        };
        command = found.clone();
    }
    Ok(output.line(&command.render_long_help().to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_documents_name_can_be_said() {
        for line in [
            "custody serve",
            "custody serve --config c.toml --listen 127.0.0.1:0 --metrics off --set log.filter=debug",
            "custody record - --derive-ids --emitter app --controller kstar",
            "custody activity new --activity a --service s --purpose improvement:consent --controller c",
            "custody register apply registers.toml",
            "custody init --from policy.toml --check --language zh",
            "custody register export retention_rule --format csv --bom --out r.csv",
            "custody register import r.xlsx --kind retention_rule --sheet S --check --import-id i --reason new_rule",
            "custody register apply registers.toml --check --import-id 2026-11 --reason new_contract",
            "custody register list mechanism scc-1 --state in_force --as-of 2026-01-01T00:00:00Z",
            "custody register show assessment tia --known-at 7",
            "custody register history policy privacy",
            "custody register end mechanism scc-1 --suspend --reason audit --for kstar",
            "custody subject report --subject AAAAAAAAAAAAAAAAAAAAAA --json",
            "custody subject find --identifier-file who.txt",
            "custody subject events",
            "custody subject erase --subject h --cause case --case C-1 --evidence-too --yes",
            "custody events list --type DataCollected --limit 5",
            "custody events gaps",
            "custody policy test a.toml b.toml --json",
            "custody check --activity signup --identifier-file who.txt --as-of 2026-01-01T00:00:00Z",
            "custody population count --recipient pay --sdk-version 1.2",
            "custody population list --finding key --reason breach --ticket T-1 --identifiers",
            "custody terms list --kind record-kind",
            "custody terms map category email_adress pd:EmailAddress --emitter app --check",
            "custody events retract --emitter app --reason wrong_subject --approver li --check",
            "custody findings list --code F-CHILD --closed --language zh",
            "custody law list",
            "custody law preview 2026-11 --json",
            "custody law adopt 2026-11 --effective-at 2026-12-01T00:00:00Z --reason new_decision",
            "custody findings close key --reason corrected --note n",
            "custody transfers uncovered --importer aws --occurred-from 2026-01-01T00:00:00Z",
            "custody transfers counters",
            "custody transfers list --format xlsx --out t.xlsx --lang zh",
            "custody retention test vectors.json --json",
            "custody retention evaluate vectors.json",
            "custody retention explain --identifier-file who.txt --as-of 2026-01-01T00:00:00Z --lang zh",
            "custody retention forecast --by 2027-01-01T00:00:00Z --rules rules.json --annul keep.a.v2",
            "custody plans make --json",
            "custody plans list --state waiting --service solar --limit 5",
            "custody plans show p-1 --out d",
            "custody plans items p-1 --limit 10",
            "custody plans approve p-1 --sha256 00 --reason checked",
            "custody plans reject p-1 --sha256 00 --reason wrong_rule",
            "custody instructions list --addressee solar --kind erase --state begun --due-by 2026-12-01T00:00:00Z",
            "custody instructions take --addressee solar --max 50 --lease PT10M --json",
            "custody instructions begin --addressee solar",
            "custody instructions acknowledge --addressee solar --file done.jsonl",
            "custody instructions watch --addressee solar --max 10 --lease PT1H",
            "custody instructions issue --identifier-file who.txt --kind stop_using --service solar --case C-1",
            "custody instructions reassign i-1 --from solar --to heir",
            "custody instructions desk --addressee tencent",
            "custody instructions desk letter tencent --dir letters --sender KSTAR --first --put-off-too",
            "custody instructions desk answer --addressee tencent --id i-1 --id i-2 --outcome refused --ground legal_obligation",
            "custody instructions desk answer --addressee tencent --id i-1 --outcome done --method delete --store crm",
            "custody ropa --cn --count-people --format csv --bom --out r.csv",
            "custody ropa --processor --as-of 2026-01-01T00:00:00Z --known-at 7",
            "custody sdks --format jsonl",
            "custody app-lists --service solar --shared",
            "custody status --server http://127.0.0.1:1 --token-file t",
            "custody jobs list --json",
            "custody jobs run mechanism_watch --as-of 2027-01-01T00:00:00Z",
            "custody jobs history --job detector --limit 5",
            "custody views rebuild",
            "custody fsck --offline --data-dir d --keyring k",
            "custody export --out bundle.tar --from 0 --to 10 --authority A --since 7",
            "custody export --out bundle --type DataShared --level sealed --recorded-from 2026-01-01T00:00:00Z",
            "custody export --out b --person h --tag-keys k --open access_request --ticket T-1 --level opened",
            "custody export list",
            "custody export fetch x --out b.tar",
            "custody verify bundle.tar --policy p --since c --tag-keys t --max-age 7d --json",
            "custody keyring show",
            "custody keyring backup /safe/custody.keyring",
            "custody backup --server http://x --json",
            "custody backup list",
            "custody backup verify custody-data.backups/20261123T042500Z-12345 --keyring k",
            "custody restore --from b --data-dir d --keyring k --declare-outside-lost",
            "custody keyring --server http://x rotate lookup",
            "custody keyring add checkpoint",
            "custody keyring activate checkpoint 2",
            "custody keyring remove kek 1 --yes",
            "custody keyring --data-dir d --keyring k rewrap --offline",
            "custody token new --name a --role emitter",
            "custody config",
            "custody bench ingest --events 10 --batch 5 --connections 2 --in-flight 3 --subjects 9 --new-share 0.01 --seed 7 --server http://x",
            "custody help exit-codes",
        ] {
            parse(line).map_err(|e| e.to_string()).unwrap();
        }
    }

    #[test]
    fn an_identifier_cannot_be_an_argument() {
        assert!(parse("custody subject report 13800138000").is_err());
        assert!(parse("custody subject find --identifier 13800138000").is_err());
    }
}

//! The real binary: what it prints where, and with which exit code it ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A command with nothing of the caller's environment that custody reads.
fn custody(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn run(arguments: &[&str]) -> Output {
    custody(arguments).stdin(Stdio::null()).output().unwrap()
}

fn fed(arguments: &[&str], input: &str) -> Output {
    let mut child = custody(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A serving process, killed if the test ends without stopping it.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(root: &Path) -> Serving {
        let (data, keyring) = places(root);
        let arguments = ["serve", "--data-dir", &data, "--keyring", &keyring, "--listen", "127.0.0.1:0"];
        let no_reserve = ["--set", "disk.reserve_bytes=0", "--set", "disk.reserve_percent=0"];
        let mut child = custody(&arguments)
            .args(no_reserve)
            .args(["--metrics", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
        assert!(!address.is_empty() && line.contains(&data), "{line}");
        Serving { child, address }
    }

    /// SIGTERM: it drains and ends with 0.
    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn places(root: &Path) -> (String, String) {
    (root.join("data").display().to_string(), root.join("keyring").display().to_string())
}

#[test]
fn the_default_configuration_is_printed_and_can_be_used() {
    let printed = run(&["config"]);
    assert_eq!(printed.status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("custody.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let path = path.display().to_string();
    assert_eq!(run(&["config", "--check", &path]).status.code(), Some(0));
    let wrong = custody(&["config", "--check", &path]).env("CUSTODY_SERVER_LISTNE", "x").output().unwrap();
    assert_eq!(wrong.status.code(), Some(78));
    assert!(err(&wrong).contains("CUSTODY_SERVER_LISTNE"), "{}", err(&wrong));
}

#[test]
fn exit_codes_are_those_of_the_help() {
    assert!(out(&run(&["help", "exit-codes"])).contains("78  configuration"));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&["frobnicate"]).status.code(), Some(64));
    assert_eq!(run(&["help", "frobnicate"]).status.code(), Some(64));
    let unreachable = run(&["status", "--server", "http://127.0.0.1:1"]);
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(err(&unreachable).contains("custody serve") && unreachable.stdout.is_empty());
}

#[test]
fn an_open_address_without_a_token_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keyring) = places(folder.path());
    let refused = run(&["serve", "--data-dir", &data, "--keyring", &keyring, "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(err(&refused).contains("custody token new") && err(&refused).contains("tls.certificate"));
    assert!(!Path::new(&data).exists(), "nothing was made");
}

#[test]
fn events_go_in_by_line_and_come_out_in_tables_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path());
    let at = serving.address.as_str();
    let lines = concat!(
        r#"{"occurred_at":"2026-03-01T08:00:00Z","backfill":true,"people":[{"role":"ROLE_DATA_SUBJECT","identifiers":[{"kind":"IDENTIFIER_KIND_ACCOUNT","realm":"solar","value":"u-1"}]}],"account_registered":{}}"#,
        "\n",
        r#"{"occurred_at":"2026-03-01T08:00:01Z","backfill":true,"people":[{"role":"ROLE_DATA_SUBJECT","identifiers":[{"kind":"IDENTIFIER_KIND_ACCOUNT","realm":"solar","value":"u-1"}]}],"data_collected":{"cats":["pd:Picture"]}}"#,
        "\n",
    );
    let command = ["record", "--controller", "kstar", "--emitter", "app", "--derive-ids", "--server", at];
    let recorded = fed(&command, lines);
    assert_eq!(recorded.status.code(), Some(0), "{}", err(&recorded));
    assert!(err(&recorded).contains("2 recorded, 0 recorded before, 0 refused"), "{}", err(&recorded));
    let again = fed(&command, &(lines.to_owned() + "{\"emitter\":13800138000}\n"));
    assert_eq!(again.status.code(), Some(2));
    assert!(err(&again).contains("0 recorded, 2 recorded before, 1 refused"), "{}", err(&again));
    assert!(err(&again).contains("line 3") && !err(&again).contains("13800138000"), "{}", err(&again));

    let report = fed(&["subject", "report", "--at-least", "2", "--server", at], "account@solar:u-1\n");
    assert_eq!(report.status.code(), Some(0), "{}", err(&report));
    assert!(out(&report).contains("Personal data held"), "{}", out(&report));
    let report = fed(&["subject", "report", "--json", "--server", at], "account@solar:u-1\n");
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["event_count"], 2, "{report}");
    let nobody = fed(&["subject", "report", "--server", at], "account@solar:u-2\n");
    assert_eq!(nobody.status.code(), Some(2));

    let listed = run(&["events", "list", "--type", "DataCollected", "--json", "--server", at]);
    assert_eq!(out(&listed).lines().count(), 1, "{} {}", out(&listed), err(&listed));
    assert_eq!(run(&["events", "gaps", "--server", at]).status.code(), Some(0));
    assert_eq!(run(&["status", "--server", at]).status.code(), Some(0));
    assert_eq!(run(&["views", "rebuild", "--server", at]).status.code(), Some(0));
    let checked = run(&["fsck", "--server", at]);
    assert_eq!(checked.status.code(), Some(0), "{} {}", out(&checked), err(&checked));

    let (data, keyring) = places(folder.path());
    let offline = ["fsck", "--offline", "--data-dir", &data, "--keyring", &keyring];
    assert_eq!(run(&offline).status.code(), Some(78), "the directory is in use");
    serving.stop();
    let checked = run(&offline);
    assert_eq!(checked.status.code(), Some(0), "{} {}", out(&checked), err(&checked));
    assert!(out(&checked).contains("findings  0"), "{}", out(&checked));
    let keys = run(&["keyring", "--offline", "--data-dir", &data, "--keyring", &keyring, "show"]);
    assert!(out(&keys).contains("kek"), "{} {}", out(&keys), err(&keys));
    for step in [&["rotate"][..], &["rewrap"], &["remove", "kek", "1", "--yes"]] {
        let mut command = custody(&["keyring", "--offline", "--data-dir", &data, "--keyring", &keyring]);
        let done = command.args(step).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{step:?}: {}", err(&done));
    }
    let serving = Serving::start(folder.path());
    let at = serving.address.as_str();
    let keyring =
        |arguments: &[&str]| custody(&["keyring", "--server", at]).args(arguments).output().unwrap();
    let rotated = keyring(&["rotate"]);
    assert_eq!(rotated.status.code(), Some(0), "{}", err(&rotated));
    let only_said = keyring(&["remove", "kek", "2"]);
    assert_eq!(only_said.status.code(), Some(1), "{} {}", out(&only_said), err(&only_said));
    assert!(out(&only_said).contains("every backup of the vault"), "{}", out(&only_said));
    assert_eq!(keyring(&["remove", "kek", "3", "--yes"]).status.code(), Some(2), "it is in use");
    let removed = keyring(&["remove", "kek", "2", "--yes"]);
    assert_eq!(removed.status.code(), Some(0), "{}", err(&removed));
    let shown = out(&keyring(&["show"]));
    assert!(shown.contains("kek-3") && shown.contains("destroyed"), "{shown}");
    serving.stop();
}

#[test]
fn registers_are_recorded_from_a_file_and_by_flags() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path());
    let file = folder.path().join("registers.toml");
    let text = r#"
        controller_of = "kstar"
        applied_at = 2026-03-01T00:00:00Z
        [[controller]]
        controller = "kstar"
        legal_name = "KSTAR"
        country = "CN"
        [[service]]
        service = "solar"
        owner = "kstar"
        storage_country = "CN"
        tz = "Asia/Shanghai"
    "#;
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let applied = run(&["register", "apply", &file, "--server", &serving.address]);
    assert_eq!(applied.status.code(), Some(0), "{} {}", out(&applied), err(&applied));
    let again = run(&["register", "apply", &file, "--server", &serving.address]);
    assert_eq!(out(&again).matches("was there").count(), 2, "{} {}", out(&again), err(&again));
    let mut new =
        custody(&["activity", "new", "--activity", "photo", "--service", "solar", "--controller", "kstar"]);
    new.args([
        "--purpose",
        "service_provision:contract",
        "--category",
        "pd:Picture",
        "--server",
        &serving.address,
    ]);
    let made = new.output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{} {}", out(&made), err(&made));
    serving.stop();
}

#[test]
fn a_file_of_registers_is_checked_before_it_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path());
    let at = serving.address.as_str();
    let file = folder.path().join("registers.toml");
    let path = file.display().to_string();
    let text = r#"
        controller_of = "kstar"
        [[controller]]
        controller = "kstar"
        legal_name = "KSTAR"
        country = "DE"
        [[recipient]]
        recipient_id = "hq"
        legal_name = "KSTAR HQ"
        role = "processor"
        country = "CN"
        cats = ["pd:Name", "pd:UID"]
        [[mechanism]]
        mechanism_id = "scc-1"
        regime = "eu"
        kind = "A46-2-c"
        module = 2
        exporter = "kstar"
        importer = "hq"
        importer_country = "CN"
        signed_at = 2026-01-01T00:00:00Z
    "#;
    let check = || run(&["register", "apply", &path, "--check", "--server", at]);
    let apply = || run(&["register", "apply", &path, "--reason", "set_up", "--server", at]);
    std::fs::write(&file, text.replace("importer = \"hq\"", "importer = \"stranger\"")).unwrap();
    let refused = check();
    assert_eq!(refused.status.code(), Some(1), "{} {}", out(&refused), err(&refused));
    assert!(out(&refused).contains("names recipient stranger, which is not registered (unknown)"));
    let refused = apply();
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("nothing of the import was recorded"), "{}", err(&refused));

    std::fs::write(&file, text).unwrap();
    let checked = check();
    assert_eq!(
        (checked.status.code(), out(&checked).matches("new").count()),
        (Some(0), 3),
        "{}",
        out(&checked)
    );
    let none = run(&["register", "list", "mechanism", "--json", "--server", at]);
    assert_eq!((none.status.code(), out(&none).as_str()), (Some(0), ""), "a check records nothing");
    let applied = apply();
    assert_eq!(applied.status.code(), Some(0), "{} {}", out(&applied), err(&applied));
    let again = apply();
    assert_eq!(out(&again).matches("unchanged").count(), 3, "{} {}", out(&again), err(&again));

    std::fs::write(&file, text.replace("[\"pd:Name\", \"pd:UID\"]", "[\"pd:Name\", \"x:imei\"]")).unwrap();
    let changed = check();
    assert!(out(&changed).contains("cats: - pd:UID + x:imei"), "{} {}", out(&changed), err(&changed));
    assert_eq!(apply().status.code(), Some(0));
    let ends =
        ["register", "end", "mechanism", "scc-1", "--reason", "moved", "--for", "kstar", "--server", at];
    let ended = run(&ends);
    assert_eq!(ended.status.code(), Some(0), "{} {}", out(&ended), err(&ended));
    assert_eq!(run(&ends).status.code(), Some(0), "unchanged");
    let told = run(&["register", "history", "mechanism", "scc-1", "--server", at]);
    let told = out(&told);
    assert!(told.contains("set_up") && told.contains("state: - in_force + ended"), "{told}");
    let shown = out(&run(&["register", "show", "mechanism", "scc-1", "--server", at]));
    assert!(shown.contains("ended") && shown.contains("A46-2-c"), "{shown}");
    assert_eq!(run(&["register", "show", "mechanism", "scc-2", "--server", at]).status.code(), Some(2));
    let usage = run(&["register", "end", "policy", "privacy", "--for", "kstar", "--server", at]);
    assert_eq!(usage.status.code(), Some(64));
    let laws = out(&run(&["law", "list", "--server", at]));
    assert!(laws.contains("2026-11") && laws.contains("yes"), "{laws}");
    assert_eq!(run(&["law", "adopt", "2026-11", "--reason", "first", "--server", at]).status.code(), Some(0));
    assert_eq!(run(&["law", "adopt", "1999", "--server", at]).status.code(), Some(2));
    let preview = run(&["law", "preview", "2026-11", "--server", at]);
    assert!(err(&preview).contains("0 differences, 0 findings, 0 transfers, 0 tiers"), "{}", err(&preview));
    serving.stop();
}

#[test]
fn jobs_are_listed_run_and_their_history_shown() {
    let root = tempfile::tempdir().unwrap();
    let serving = Serving::start(root.path());
    let ask = |arguments: &[&str]| custody(arguments).args(["--server", &serving.address]).output().unwrap();
    let listed = out(&ask(&["jobs", "list"]));
    assert!(listed.contains("ledger_verify") && listed.contains("*/10 * * * *  UTC"), "{listed}");
    let dry = out(&ask(&["jobs", "run", "mechanism_watch", "--as-of", "2030-01-01T00:00:00Z"]));
    assert!(dry.contains("dry run") && dry.contains("nothing was done"), "{dry}");
    let run = ask(&["jobs", "run", "ledger_verify", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out(&run)).unwrap();
    assert_eq!(told["outcome"], "JOB_OUTCOME_OK", "{told}");
    // What was just recorded is in the views a moment later.
    let ended = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut history = out(&ask(&["jobs", "history", "--job", "ledger_verify"]));
    while history.lines().count() < 2 && std::time::Instant::now() < ended {
        std::thread::sleep(std::time::Duration::from_millis(50));
        history = out(&ask(&["jobs", "history", "--job", "ledger_verify"]));
    }
    assert!(history.lines().count() == 2 && history.contains("ok"), "{history}");
    let unknown = ask(&["jobs", "run", "sweep"]);
    assert!(!unknown.status.success() && err(&unknown).contains("there are detector"), "{}", err(&unknown));
    serving.stop();
    let keyring = root.path().join("keyring");
    let refused = custody(&["serve", "--data-dir", &root.path().join("d").display().to_string()])
        .args(["--keyring", &keyring.display().to_string(), "--set", "jobs.detector.schedule=hourly"])
        .args(["--set", "jobs.sweep.schedule=off"])
        .output()
        .unwrap();
    let why = err(&refused);
    assert!(why.contains("jobs.sweep.schedule"), "{why}");
}

//! The commands that README.txt prints, run as they stand: sh and openssl, nothing of ours. And the
//! registers, made by a script from what `FORMAT.md` says.

use std::path::Path;
use std::process::{Command, Output};

use super::house::{House, selection};
use crate::export::{Level, Proofs, Request, Scope};

/// The lines of README.txt that are indented by four blanks.
fn commands(bundle: &Path) -> String {
    let text = std::fs::read_to_string(bundle.join("README.txt")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect()
}

fn run(house: &House, bundle: &Path) -> Output {
    let openssl = Command::new("openssl").arg("version").output();
    openssl.expect("openssl is needed: it is what README.txt tells strangers to use");
    let key = house.trust().policy.unwrap().logs[0].key.to_string();
    let origin = super::house::ORIGIN;
    let export = house.manifest_signer(origin).unwrap().verifier().to_string();
    Command::new("sh")
        .args(["-c", &commands(bundle)])
        .current_dir(bundle)
        .env("KEY", key)
        .env("EXPORTKEY", export)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_stranger_checks_a_range_with_openssl_alone() {
    let house = House::of(13);
    for (from, level) in [(0, Level::Headers), (5, Level::Opened)] {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("b");
        house.write(&Request { level, ..house.request(Scope::Range, from, 13) }, &bundle).unwrap();
        let output = run(&house, &bundle);
        let text = said(&output);
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches("Signature Verified Successfully").count(), 2, "{text}");
        assert!(text.contains("files: ok") && text.contains("range: ok"), "{text}");
    }
}

#[test]
fn a_stranger_checks_a_selection_with_openssl_alone() {
    let house = House::of(13);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("b");
    house.write(&house.request(selection(&[0, 6, 12]), 0, 13), &bundle).unwrap();
    let output = run(&house, &bundle);
    let text = said(&output);
    assert!(output.status.success() && text.contains("selection: ok"), "{text}");
}

#[test]
fn the_printed_commands_refuse_what_was_altered() {
    let house = House::of(13);
    let dir = tempfile::tempdir().unwrap();
    for (name, file) in [("a", "events.ndjson"), ("b", "checkpoint"), ("c", "edge"), ("d", "cover.txt")] {
        let bundle = dir.path().join(name);
        house.write(&house.request(Scope::Range, 5, 13), &bundle).unwrap();
        let mut bytes = std::fs::read(bundle.join(file)).unwrap();
        bytes[20] ^= 1;
        std::fs::write(bundle.join(file), bytes).unwrap();
        let output = run(&house, &bundle);
        assert!(!output.status.success(), "{file}: {}", said(&output));
    }
    let bundle = dir.path().join("e");
    house.write(&house.request(Scope::Range, 5, 13), &bundle).unwrap();
    std::fs::write(bundle.join("unlisted"), "x").unwrap();
    assert!(!run(&house, &bundle).status.success());
}

#[test]
fn a_stranger_makes_the_registers_from_the_events() {
    let house = House::of(70);
    let dir = tempfile::tempdir().unwrap();
    let python = std::env::var("CUSTODY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for from in [0, 5, 31, 69] {
        let bundle = dir.path().join(from.to_string());
        house.write(&house.request(Scope::Range, from, 70), &bundle).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registers.py");
        let output = Command::new(&python).arg(script).arg(&bundle).output();
        let output = output.unwrap_or_else(|why| panic!("{python}: {why}; run the tests by tests/run"));
        assert!(output.status.success(), "{}", said(&output));
        let ours = std::fs::read_to_string(bundle.join("registers.ndjson")).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), ours);
        assert!(from > 0 || ours.lines().count() > 8, "{ours}");
    }
}

//! `custody verify` as a stranger runs it: the program, a bundle and two keys. There is no environment
//! and no configuration, it is run in an empty directory, and afterwards that is still empty.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use custody::pb;
use custody::pb::event::Body;
use support::events::{collected, connect, receipt, runtime, send_all, workplace};
use support::preload::compiled;
use support::server::Served;

/// A log of 41 events, as a bundle in both forms, and checkpoints of it that were kept.
struct Handed {
    below: tempfile::TempDir,
    forms: [PathBuf; 2],
    keys: Vec<String>,
    kept: PathBuf,
    /// Of another history of the same log, signed with the same key.
    contradicting: PathBuf,
}

fn serve(data: &Path) -> Served {
    Served::spawn(Served::command(data).args(["--set", "ledger.checkpoint_interval_ms=0"]))
}

/// What a command that asks the service prints.
fn ask(served: &Served, arguments: &[&str]) -> String {
    let server = format!("http://{}", served.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    let output = command.args(arguments).args(["--server", &server]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An event with a field that is sealed.
fn sealed(name: &str) -> pb::Event {
    let mut event = collected(name);
    if let Some(Body::DataCollected(body)) = &mut event.body {
        body.locator = format!("station/{name}.jpg");
    }
    event
}

fn grow(served: &Served, name: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|n| sealed(&format!("{name}-{n}"))).collect();
    runtime().block_on(async {
        for outcome in send_all(&connect(served).await, &events).await.unwrap() {
            receipt(&outcome);
        }
    });
}

/// A checkpoint over what is there, in a file.
fn keep(served: &Served, path: PathBuf) -> PathBuf {
    fs::write(&path, ask(served, &["ledger", "publish"])).unwrap();
    path
}

impl Handed {
    fn over() -> Handed {
        let below = workplace();
        let (data, other) = (below.path().join("data"), below.path().join("other"));
        let forms = ["bundle", "bundle.tar"].map(|name| below.path().join(name));
        let served = serve(&data);
        grow(&served, "person", 20);
        let kept = keep(&served, below.path().join("kept"));
        grow(&served, "later", 20);
        for form in &forms {
            ask(&served, &["export", "--level", "sealed", "--out", form.to_str().unwrap()]);
        }
        let keys = ask(&served, &["ledger", "key"]);
        let named = ["--vkey", "--manifest-vkey"].into_iter().zip(keys.lines());
        let keys: Vec<String> = named.flat_map(|(name, key)| [name.to_owned(), key.to_owned()]).collect();
        assert_eq!(keys.len(), 4, "one key of each kind");
        served.stop();

        fs::copy(data.with_extension("keyring"), other.with_extension("keyring")).unwrap();
        let served = serve(&other);
        grow(&served, "rewritten", 20);
        let contradicting = keep(&served, below.path().join("contradicting"));
        served.stop();
        Handed { below, forms, keys, kept, contradicting }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.below.path().join(name)
    }

    fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// The keys, and a checkpoint that was kept.
    fn since<'a>(&'a self, kept: &'a Path) -> Vec<&'a str> {
        [self.keys(), vec!["--since", kept.to_str().unwrap()]].concat()
    }

    /// A copy of the bundle's directory with another file in the place of one.
    fn altered(&self, name: &str, alter: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let copy = self.path(&format!("altered-{name}"));
        assert!(Command::new("cp").arg("-r").arg(&self.forms[0]).arg(&copy).status().unwrap().success());
        let mut bytes = fs::read(copy.join(name)).unwrap();
        alter(&mut bytes);
        fs::write(copy.join(name), bytes).unwrap();
        copy
    }
}

/// Runs it, and sees to it that nothing is left behind and nothing was changed.
fn run(bundle: &Path, arguments: &[&str], preload: Option<&Path>) -> Output {
    let nowhere = tempfile::tempdir().unwrap();
    let before = files(bundle);
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.env_clear().current_dir(nowhere.path()).arg("verify").arg(bundle).args(arguments);
    if let Some(library) = preload {
        command.env("LD_PRELOAD", library);
    }
    let output = command.output().unwrap();
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0, "it left something where it was run");
    assert!(files(bundle) == before, "it changed the bundle");
    output
}

fn files(below: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if below.is_file() {
        return BTreeMap::from([(below.to_owned(), fs::read(below).unwrap())]);
    }
    let Ok(entries) = fs::read_dir(below) else { return BTreeMap::new() };
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

fn ends(bundle: &Path, arguments: &[&str], code: i32) {
    let output = run(bundle, arguments, None);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{} {arguments:?}:\n{said}", bundle.display());
}

#[test]
fn a_stranger_with_two_keys_is_told_by_the_exit_code() {
    let handed = Handed::over();
    for form in &handed.forms {
        ends(form, &handed.keys(), 0);
        ends(form, &handed.since(&handed.kept), 0);
        ends(form, &[], 10);
        ends(form, &handed.keys()[..2], 10);
        ends(form, &handed.since(&handed.contradicting), 20);
        // The two keys in each other's place.
        let [vkey, of_log, mkey, of_manifests] = handed.keys()[..] else { panic!("four words") };
        ends(form, &[vkey, of_manifests, mkey, of_log], 30);
    }

    let flipped = handed.altered("events.ndjson", |lines| {
        let middle = lines.len() / 2;
        lines[middle] ^= 1;
    });
    ends(&flipped, &handed.keys(), 30);
    ends(&flipped, &[], 30);
    let cut = handed.altered("pieces.bin", |pieces| pieces.truncate(pieces.len() / 2));
    ends(&cut, &handed.keys(), 30);
    let nothing = handed.altered("manifest", Vec::clear);
    ends(&nothing, &handed.keys(), 40);

    let archive = fs::read(&handed.forms[1]).unwrap();
    let path = handed.path("altered.tar");
    fs::write(&path, &archive[..archive.len() / 2]).unwrap();
    ends(&path, &handed.keys(), 40);
    let mut flipped = archive;
    let events = flipped.windows(9).position(|word| word == b"solar-app").expect("an event's emitter");
    flipped[events] ^= 1;
    fs::write(&path, flipped).unwrap();
    ends(&path, &handed.keys(), 30);
    fs::write(&path, "no archive").unwrap();
    ends(&path, &handed.keys(), 40);
    ends(&handed.path("nowhere"), &handed.keys(), 64);
}

#[test]
fn it_asks_for_no_network() {
    let offline = compiled("offline", &[("offline.c", include_str!("support/shim/offline.c"))]);
    // Who asks for a socket is ended: the proof is worth something only if that works.
    let mut client = Command::new(env!("CARGO_BIN_EXE_custody"));
    client.args(["status", "--server", "http://127.0.0.1:1"]).env("LD_PRELOAD", &offline);
    assert!(client.output().unwrap().status.signal().is_some(), "a client went on without a socket");
    let handed = Handed::over();
    for form in &handed.forms {
        for (arguments, code) in [(handed.keys(), 0), (handed.since(&handed.contradicting), 20)] {
            let output = run(form, &arguments, Some(&offline));
            assert_eq!(output.status.code(), Some(code), "{:?}", output.status);
        }
    }
}

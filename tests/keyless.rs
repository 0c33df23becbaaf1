//! A data directory whose keyring is lost: every command that needs it says what is lost and what is not,
//! makes no other one, and what was handed out and published verifies as before.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use custody::ledger::tlog::{InclusionFile, Policy, SignedCheckpoint, VerifierKey, leaf_hash};
use custody::pb;
use support::events::{collected, connect, runtime, send, workplace};
use support::server::{Served, offline};

fn online(served: &Served, arguments: &[&str]) -> String {
    let server = format!("http://{}", served.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    let output = command.args(arguments).args(["--server", &server]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A file below a directory that holds these bytes.
fn holder(below: &Path, needle: &[u8]) -> Option<PathBuf> {
    let holds =
        |path: &PathBuf| std::fs::read(path).unwrap().windows(needle.len()).any(|seen| seen == needle);
    files(below).into_iter().find(holds)
}

#[test]
fn what_is_lost_with_the_keyring_is_said_and_what_was_proven_stays_so() {
    let below = workplace();
    let data = below.path().join("data");
    let path = |name: &str| below.path().join(name);
    let [bundle, proof] = ["bundle", "proof"].map(|name| path(name).to_str().unwrap().to_owned());
    let served = Served::spawn(Served::command(&data).args(["--set", "ledger.checkpoint_interval_ms=0"]));
    let header = runtime().block_on(async {
        let client = connect(&served).await;
        let mut last = 0;
        for n in 0..5 {
            last = send(&client, &collected(&format!("person-{n}"))).await.unwrap().position;
        }
        client.ledger().publish_checkpoint(pb::PublishCheckpointRequest {}).await.unwrap();
        let request = pb::GetEventRequest { name: Some(pb::get_event_request::Name::Position(last)) };
        let event = client.events().get_event(request).await.unwrap().into_inner();
        event.event.unwrap().header
    });
    online(&served, &["export", "--level", "sealed", "--out", &bundle]);
    online(&served, &["ledger", "proof", "--position", "5", "--out", &proof]);
    let keys = online(&served, &["ledger", "key"]);
    let (vkey, manifest_key) = keys.trim().split_once('\n').unwrap();
    served.stop();

    let keyring = data.with_extension("keyring");
    std::fs::remove_file(&keyring).unwrap();
    for command in [
        &["serve", "--listen", "127.0.0.1:0", "--metrics", "off"][..],
        &["fsck", "--offline"],
        &["keyring", "show", "--offline"],
        &["keyring", "backup", "nowhere"],
        &["recover"],
    ] {
        let refused = offline(&data, command).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{command:?}: {told}");
        for words in
            ["there is no keyring at", "newest copy", "nothing personal can be opened", "custody verify"]
        {
            assert!(told.contains(words), "{command:?}, {words}: {told}");
        }
        assert!(!keyring.exists(), "{command:?}: a new keyring would hide the loss");
    }

    // The bundle and the proof need nothing of it.
    let trusted = ["--vkey", vkey, "--manifest-vkey", manifest_key];
    let mut verify = Command::new(env!("CARGO_BIN_EXE_custody"));
    let verified = verify.env_clear().arg("verify").arg(&bundle).args(trusted).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let policy = Policy::of_log(vkey.parse::<VerifierKey>().unwrap());
    let file = InclusionFile::parse(&std::fs::read(&proof).unwrap()).unwrap();
    file.check(&leaf_hash(&header)).unwrap();
    assert!(policy.judge(&file.checkpoint).is_ok());
    // Headers stand in the log in clear, and the outside copy has what was published.
    assert!(holder(&data.join("log"), &header).is_some(), "a header is not sealed");
    let checkpoints = files(&path("data.outside").join("checkpoints"));
    assert!(!checkpoints.is_empty());
    for path in checkpoints {
        let kept = SignedCheckpoint::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert!(policy.judge(&kept).is_ok(), "{}", path.display());
    }
    // What names people is nowhere in clear.
    assert_eq!(holder(&data, b"person-3"), None);
}

//! A log moves to a cluster and back: the same records under the same root.

use std::path::Path;
use std::process::{Command, Output};

use custody::pb;

use super::support::events::{account, collected, connect, receipt, runtime, send_all, workplace};
use super::support::fleet::Fleet;
use super::support::server::Served;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `custody --json log copy`.
fn copy(fleet: &Fleet, data: &Path, keyring: &Path, from: &str, to: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["--json", "log", "copy", "--from", from, "--to", to, "--data-dir"]).arg(data);
    command.arg("--keyring").arg(keyring).args(fleet.settings()).output().unwrap()
}

fn copied(output: &Output) -> (u64, u64, String) {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let value: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let number = |name: &str| value[name].as_u64().unwrap();
    (number("before"), number("records"), value["root"].as_str().unwrap().to_owned())
}

#[test]
fn from_one_machine_to_a_cluster_and_back_the_root_stays() {
    let below = workplace();
    let data = below.path().join("one");
    let keyring = data.with_extension("keyring");
    let served = Served::start(&data);
    let root = runtime().block_on(async {
        let client = connect(&served).await;
        let events: Vec<_> = (0..300).map(|n| collected(&format!("person-{}", n % 30))).collect();
        send_all(&client, &events)
            .await
            .unwrap()
            .iter()
            .for_each(|outcome| assert!(!receipt(outcome).duplicate));
        let erased = pb::EraseSubjectsRequest {
            subjects: vec![pb::SubjectName {
                name: Some(pb::subject_name::Name::Identifier(account("person-7"))),
            }],
            cause: pb::IdentityErasureCause::Operator as i32,
            evidence_too: true,
            ..Default::default()
        };
        client.erasures().erase_subjects(erased).await.unwrap();
        let status = super::support::events::status(&client).await.ledger.unwrap();
        (status.tree_size, status.root)
    });
    served.stop();
    let hex: String = root.1.iter().map(|byte| format!("{byte:02x}")).collect();

    let fleet = Fleet::start(3, 0);
    let (before, records, moved) = copied(&copy(&fleet, &data, &keyring, "embedded", "cluster"));
    assert_eq!((before, records), (0, root.0));
    assert_eq!(moved, hex);
    let again = copied(&copy(&fleet, &data, &keyring, "embedded", "cluster"));
    assert_eq!(again, (root.0, 0, hex.clone()), "whoever repeats it changes nothing");

    let back = below.path().join("back");
    std::fs::create_dir(&back).unwrap();
    assert_eq!(copied(&copy(&fleet, &back, &keyring, "cluster", "embedded")), (0, root.0, hex));

    // A log that is not empty, and another, is left as it is.
    let other = below.path().join("other");
    let served = Served::start(&other);
    runtime().block_on(async { send_all(&connect(&served).await, &[collected("x")]).await.unwrap() });
    served.stop();
    let refused = copy(&fleet, &other, &other.with_extension("keyring"), "embedded", "cluster");
    assert!(!refused.status.success() && said(&refused).contains("is not empty"), "{}", said(&refused));
}

#[test]
fn the_demo_plays_on_a_cluster() {
    let fleet = Fleet::start(1, 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cluster.toml");
    command
        .args(["demo", "--people", "20", "--config", config, "--data-dir"])
        .arg(fleet.below().join("demo"));
    for pair in fleet.settings().chunks(2).filter(|pair| pair[1].starts_with("cluster.")) {
        let (key, value) = pair[1].split_once('=').unwrap();
        command.env(format!("CUSTODY_{}", key.replace('.', "_").to_uppercase()), value);
    }
    let played = command.output().unwrap();
    assert!(played.status.success(), "{}", said(&played));
}

//! A log moves to a cluster and back: the same records under the same root.

use std::path::Path;
use std::process::{Command, Output};

use custody::pb;

use super::support::events::{account, collected, connect, head, receipt, runtime, send_all, workplace};
use super::support::fleet::Fleet;
use super::support::server::Served;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `custody --json log copy`.
fn copy(fleet: &Fleet, data: &Path, keyring: &Path, from: &str, to: &str) -> Output {
    copy_with(&[], fleet, data, keyring, from, to)
}

fn copy_with(more: &[&str], fleet: &Fleet, data: &Path, keyring: &Path, from: &str, to: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["--json", "log", "copy", "--from", from, "--to", to, "--data-dir"]).arg(data).args(more);
    command.arg("--keyring").arg(keyring).args(fleet.settings()).output().unwrap()
}

fn copied(output: &Output) -> (u64, u64, String) {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let value: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let number = |name: &str| value[name].as_u64().unwrap();
    (number("before"), number("records"), value["root"].as_str().unwrap().to_owned())
}

fn named(name: &str) -> pb::SubjectName {
    pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(account(name))) }
}

#[test]
fn from_one_machine_to_a_cluster_and_back_the_root_stays() {
    let below = workplace();
    let data = below.path().join("one");
    let keyring = data.with_extension("keyring");
    let served = Served::start(&data);
    let events: Vec<_> = (0..300).map(|n| collected(&format!("person-{}", n % 30))).collect();
    let told = runtime().block_on(async {
        let client = connect(&served).await;
        send_all(&client, &events)
            .await
            .unwrap()
            .iter()
            .for_each(|outcome| assert!(!receipt(outcome).duplicate));
        let erased = pb::EraseSubjectsRequest {
            subjects: vec![named("person-7")],
            cause: pb::IdentityErasureCause::Operator as i32,
            evidence_too: true,
            ..Default::default()
        };
        client.erasures().erase_subjects(erased).await.unwrap();
        head(&client).await
    });
    served.stop();

    let fleet = Fleet::prepare(3, 1);
    let (before, records, root) = copied(&copy(&fleet, &data, &keyring, "embedded", "cluster"));
    assert!(before == 0 && records >= told, "{before} {records} {told}");
    let again = copied(&copy(&fleet, &data, &keyring, "embedded", "cluster"));
    assert_eq!(again, (records, 0, root.clone()), "whoever repeats it changes nothing");

    let back = below.path().join("back");
    std::fs::create_dir(&back).unwrap();
    assert_eq!(copied(&copy(&fleet, &back, &keyring, "cluster", "embedded")), (0, records, root));

    // A node of the cluster knows who was known, what was recorded, and nobody who was erased.
    std::fs::copy(&keyring, fleet.keyring()).unwrap();
    fleet.revive(0);
    runtime().block_on(async {
        let client = fleet.client(0).await.unwrap();
        let known: Vec<_> = events.iter().enumerate().filter(|(n, _)| n % 30 != 7).collect();
        let known: Vec<_> = known.into_iter().map(|(_, event)| event.clone()).collect();
        let again = send_all(&client, &known).await.unwrap();
        again.iter().for_each(|outcome| assert!(receipt(outcome).duplicate));
        let of =
            |name: &str| pb::GetSubjectReportRequest { subject: Some(named(name)), ..Default::default() };
        let known = client.subjects().get_subject_report(of("person-3")).await.unwrap().into_inner();
        assert!(!known.report.unwrap().categories.is_empty());
        let gone = client.subjects().get_subject_report(of("person-7")).await;
        assert_eq!(gone.unwrap_err().code(), tonic::Code::NotFound);
        let new = send_all(&client, &[collected("person-3")]).await.unwrap();
        assert!(receipt(&new[0]).attributed && !receipt(&new[0]).duplicate);
    });
    fleet.stop(0);

    // A log that is not empty, and another, is left as it is.
    let other = below.path().join("other");
    let served = Served::start(&other);
    runtime().block_on(async { send_all(&connect(&served).await, &[collected("x")]).await.unwrap() });
    served.stop();
    let theirs = other.with_extension("keyring");
    let refused = copy(&fleet, &other, &theirs, "embedded", "cluster");
    assert!(!refused.status.success() && said(&refused).contains("belongs to vault"), "{}", said(&refused));
    let refused = copy_with(&["--records-only"], &fleet, &other, &theirs, "embedded", "cluster");
    assert!(!refused.status.success() && said(&refused).contains("is not empty"), "{}", said(&refused));
}

#[test]
fn the_demo_plays_on_a_cluster() {
    let fleet = Fleet::prepare(1, 0);
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

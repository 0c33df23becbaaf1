//! Checkpoints and proofs through the real binary: from a receipt to a file that anybody can check,
//! and what happens to a log that is not what was published.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use custody::cli::client::Client;
use custody::ledger::tlog::{ConsistencyFile, InclusionFile, Policy, VerifierKey};
use custody::pb;
use custody::pb::get_inclusion_proof_request::Event;
use support::events::{assert_kept, collected, connect, runtime, send, status, workplace};
use support::server::Served;
use tonic::Code;
use tonic_types::StatusExt;

fn serve(data: &Path) -> Served {
    let mut command = Served::command(data);
    Served::spawn(command.args(["--set", "ledger.checkpoint_interval_ms=0"]))
}

/// A command that works without a service.
fn offline(arguments: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(arguments).arg("--data-dir").arg(data);
    command.arg("--keyring").arg(data.with_extension("keyring")).output().unwrap()
}

/// What a command that asks the service prints; it has to end well.
fn online(arguments: &[&str], served: &Served) -> String {
    let server = format!("http://{}", served.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    let output = command.args(arguments).args(["--server", &server]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn publish(client: &Client) -> pb::Checkpoint {
    let answer = client.ledger().publish_checkpoint(pb::PublishCheckpointRequest {}).await.unwrap();
    answer.into_inner().checkpoint.unwrap()
}

async fn prove(client: &Client, event: Event) -> Result<pb::GetInclusionProofResponse, tonic::Status> {
    let request = pb::GetInclusionProofRequest { event: Some(event), tree_size: None };
    client.ledger().get_inclusion_proof(request).await.map(tonic::Response::into_inner)
}

fn reason(refusal: &tonic::Status) -> String {
    refusal.get_error_details().error_info().unwrap().reason.clone()
}

#[test]
fn a_receipt_becomes_a_proof_that_anybody_can_check() {
    let below = workplace();
    let served = serve(&below.path().join("data"));
    runtime().block_on(async {
        let client = connect(&served).await;
        let event = collected("person");
        let receipt = send(&client, &event).await.unwrap();
        let early = prove(&client, Event::Receipt(receipt.clone())).await.unwrap_err();
        assert_eq!((early.code(), reason(&early).as_str()), (Code::Unavailable, "CHECKPOINT_PENDING"));
        assert!(early.get_error_details().retry_info().is_some());
        publish(&client).await;
        let answer = prove(&client, Event::Receipt(receipt.clone())).await.unwrap();
        let file = InclusionFile::parse(answer.tlog_proof.as_bytes()).unwrap();
        file.check(&receipt.leaf_hash[..].try_into().unwrap()).unwrap();
        let name = pb::EventName { emitter: event.emitter.clone(), event_id: event.event_id.clone() };
        assert_eq!(prove(&client, Event::EventName(name)).await.unwrap(), answer);
        let mut forged = receipt.clone();
        forged.leaf_hash = vec![7; 32].into();
        let refused = prove(&client, Event::Receipt(forged)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let nowhere = prove(&client, Event::Position(1 << 60)).await.unwrap_err();
        assert_eq!((nowhere.code(), reason(&nowhere).as_str()), (Code::NotFound, "EVENT_NOT_FOUND"));

        let request = pb::GetCheckpointRequest { tree_size: Some(9_999) };
        let missing = client.ledger().get_checkpoint(request).await.unwrap_err();
        assert_eq!(reason(&missing), "CHECKPOINT_NOT_FOUND");
        let request = pb::GetConsistencyProofRequest { old_size: u64::MAX, new_size: Some(u64::MAX) };
        let beyond = client.ledger().get_consistency_proof(request).await.unwrap_err();
        assert_eq!(beyond.code(), Code::InvalidArgument);
    });
    served.stop();
}

#[test]
fn the_command_line_hands_out_what_others_check() {
    let below = workplace();
    let data = below.path().join("data");
    let served = serve(&data);
    let first = online(&["ledger", "publish"], &served);
    runtime().block_on(async {
        let client = connect(&served).await;
        for n in 0..5 {
            send(&client, &collected(&format!("person-{n}"))).await.unwrap();
        }
    });
    let second = online(&["ledger", "publish"], &served);
    assert_eq!(online(&["ledger", "checkpoint"], &served), second);
    assert_eq!(online(&["ledger", "checkpoint", "--size", "1"], &served), first);
    let key: VerifierKey = online(&["ledger", "key"], &served).lines().next().unwrap().parse().unwrap();
    let policy = Policy::of_log(key);

    let path = below.path().join("one.tlog-proof");
    let told = online(&["ledger", "proof", "--position", "3", "--out", path.to_str().unwrap()], &served);
    assert!(told.contains("position 3 among 6"), "{told}");
    let file = InclusionFile::parse(&std::fs::read(&path).unwrap()).unwrap();
    assert!(file.index == 3 && policy.judge(&file.checkpoint).is_ok());
    let grown = online(&["ledger", "consistency", "--old", "1"], &served);
    let grown = ConsistencyFile::parse(grown.as_bytes()).unwrap();
    let old = custody::ledger::tlog::SignedCheckpoint::parse(first.as_bytes()).unwrap();
    grown.check(&old.checkpoint.root).unwrap();

    let listed = online(&["ledger", "list"], &served);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    for command in ["checkpoint", "publish", "key", "list"] {
        let text = online(&["--json", "ledger", command], &served);
        text.lines().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
    }
    let status = online(&["status"], &served);
    assert!(status.contains("6 leaves") && status.contains("over 6 leaves, 1 signatures"), "{status}");
    let checked = online(&["--json", "fsck"], &served);
    let root = custody::ledger::tlog::base64(&file.checkpoint.checkpoint.root);
    assert!(checked.contains(&root), "the re-hash leads to the published root: {checked}");
    served.stop();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_restored_older_copy_takes_nothing_until_it_goes_on_under_another_name() {
    let below = workplace();
    let (data, older) = (below.path().join("data"), below.path().join("older"));
    let runtime = runtime();
    let served = serve(&data);
    let kept = runtime.block_on(async {
        let client = connect(&served).await;
        let event = collected("before");
        let receipt = send(&client, &event).await.unwrap();
        publish(&client).await;
        vec![(event, receipt)]
    });
    served.stop();
    copy(&data, &older);
    let served = serve(&data);
    runtime.block_on(async {
        let client = connect(&served).await;
        send(&client, &collected("lost")).await.unwrap();
        assert_eq!(publish(&client).await.tree_size, 3);
    });
    served.stop();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&older, &data);

    let served = serve(&data);
    runtime.block_on(async {
        let client = connect(&served).await;
        let refused = send(&client, &collected("new")).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LOG_READ_ONLY"));
        assert_kept(&client, &kept).await;
        let refused = client.ledger().publish_checkpoint(pb::PublishCheckpointRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let status = status(&client).await;
        let alarm = status.alarms.iter().find(|alarm| alarm.code == "ledger_diverged").unwrap();
        assert!(
            alarm.message.contains("2 records") && alarm.way_out.contains("custody recover"),
            "{alarm:?}"
        );
        assert_eq!(health(&served).await, tonic_health::pb::health_check_response::ServingStatus::NotServing);
    });
    served.stop();

    let asked = offline(&["recover"], &data);
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert_eq!(asked.status.code(), Some(1), "{told}");
    assert!(told.contains("positions 2 to 2") && told.contains("events-2"), "{told}");
    let done = offline(&["recover", "--yes"], &data);
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && told.contains("custody.local/default/events-2\n3\n"), "{told}");
    assert_eq!(offline(&["recover", "--yes"], &data).status.code(), Some(2), "there is nothing to recover");

    let served = serve(&data);
    runtime.block_on(async {
        let client = connect(&served).await;
        assert_kept(&client, &kept).await;
        send(&client, &collected("new")).await.unwrap();
        let published = publish(&client).await;
        assert_eq!((published.origin.as_str(), published.tree_size), ("custody.local/default/events-2", 4));
        assert!(status(&client).await.alarms.is_empty());
        let event = Event::Position(2);
        assert_eq!(prove(&client, event).await.unwrap().checkpoint.unwrap().origin, published.origin);
    });
    served.stop();
    support::events::assert_checks(&data);
}

async fn health(served: &Served) -> tonic_health::pb::health_check_response::ServingStatus {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address())).unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel.connect().await.unwrap());
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    client.check(request).await.unwrap().into_inner().status()
}

#[test]
fn a_missing_outside_copy_keeps_the_service_from_starting() {
    let below = workplace();
    let data = below.path().join("data");
    let served = serve(&data);
    online(&["ledger", "publish"], &served);
    served.stop();
    let outside = below.path().join("data.outside");
    std::fs::remove_dir_all(&outside).unwrap();
    let refused = offline(&["serve", "--listen", "127.0.0.1:0", "--metrics", "off"], &data);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("--declare-outside-lost") && told.contains("data.outside"), "{told}");
    let served = Served::spawn(Served::command(&data).arg("--declare-outside-lost"));
    served.stop();
    assert!(outside.join("checkpoints").is_dir());
    serve(&data).stop();
}

//! What goes wrong around a service: disks that fail or fill, bytes that flip, keyrings that are not
//! there, clients that stop reading. A clear error each time, and nothing acknowledged is lost.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use custody::cli::client::Client;
use custody::pb;
use support::crash::{Fault, Sandbox};
use support::events::{
    account, assert_checks, assert_kept, collected, connect, receipt, runtime, send, send_all, status,
    workplace,
};
use support::rewind::Loss;
use support::server::Served;
use tonic::Code;
use tonic_types::StatusExt;

type Acknowledged = Vec<(pb::Event, pb::Receipt)>;

async fn record(client: &Client, names: &str, count: usize) -> Acknowledged {
    let events: Vec<_> = (0..count).map(|n| collected(&format!("{names}-{n}"))).collect();
    record_all(client, events).await
}

async fn record_all(client: &Client, events: Vec<pb::Event>) -> Acknowledged {
    let outcomes = send_all(client, &events).await.unwrap();
    let receipts: Vec<_> = outcomes.iter().map(|outcome| receipt(outcome).clone()).collect();
    events.into_iter().zip(receipts).collect()
}

/// An event with a header of several KiB, so that a few fill a segment.
fn bulky(name: &str) -> pb::Event {
    let mut event = collected(name);
    if let Some(pb::event::Body::DataCollected(body)) = &mut event.body {
        body.cats = (0..64).map(|n| format!("our:{n:060}")).collect();
    }
    event
}

fn sandboxed(sandbox: &Sandbox) -> Served {
    let data = sandbox.root().join("data");
    Served::spawn(sandbox.arm(Served::command(&data).args(["--set", "log.filter=off"])))
}

#[test]
fn a_failing_sync_makes_the_log_read_only_and_loses_nothing() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let served = sandboxed(&sandbox);
    let runtime = runtime();
    let (kept, unsure) = runtime.block_on(async {
        let client = connect(&served).await;
        let kept = record(&client, "person", 10).await;
        sandbox.set_faults(&[Fault::FailSyncs { times: 1_000, path: ".seg".to_owned() }]).unwrap();
        let unsure = collected("person-0");
        let refusal = send(&client, &unsure).await.unwrap_err();
        let details = refusal.get_error_details();
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
        assert_eq!(details.error_info().unwrap().reason, "OUTCOME_UNKNOWN");
        assert!(details.retry_info().is_some() && refusal.message().contains("send the same event again"));

        sandbox.set_faults(&[]).unwrap();
        let refusal = send(&client, &collected("person-1")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::FailedPrecondition, "no later sync can be believed: {refusal:?}");
        assert_eq!(refusal.get_error_details().error_info().unwrap().reason, "LOG_READ_ONLY");
        let status = status(&client).await;
        assert!(status.log.unwrap().read_only.contains("could not be synced"));
        let alarm = status.alarms.iter().find(|alarm| alarm.code == "log_read_only").unwrap();
        assert!(alarm.way_out.starts_with("restart") && alarm.since.is_some(), "{alarm:?}");
        assert_kept(&client, &kept).await;
        (kept, unsure)
    });
    // It drains and ends in order, read-only as it is.
    served.stop();
    sandbox.discard_unsynced(Loss::All).unwrap();

    let served = sandboxed(&sandbox);
    runtime.block_on(async {
        let client = connect(&served).await;
        assert_kept(&client, &kept).await;
        let first = send(&client, &unsure).await.unwrap();
        assert_kept(&client, &[(unsure, first)]).await;
    });
    served.stop();
    assert_checks(&sandbox.root().join("data"));
}

#[test]
fn a_full_disk_is_said_and_recording_goes_on_when_there_is_room() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let served = sandboxed(&sandbox);
    runtime().block_on(async {
        let client = connect(&served).await;
        let mut kept = record(&client, "person", 10).await;
        sandbox.set_faults(&[Fault::FullAfter { bytes: 0 }]).unwrap();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for n in 0.. {
            // Known people until the segment is full, and new ones in between.
            let name = if n % 5 == 0 { format!("new-{n}") } else { format!("person-{}", n % 10) };
            let event = bulky(&name);
            match send(&client, &event).await {
                Ok(receipt) => kept.push((event, receipt)),
                Err(refusal) => *reasons.entry(assert_room_is_missing(&refusal)).or_default() += 1,
            }
            if reasons.get("LOG_UNAVAILABLE").is_some_and(|count| *count > 5) {
                break;
            }
            assert!(n < 3_000, "the log never was full: {reasons:?}");
        }
        assert!(sandbox.trace().unwrap().faults().contains(&28), "no ENOSPC: {reasons:?}");
        assert_kept(&client, &kept).await;
        assert_eq!(status(&client).await.log.unwrap().read_only, "", "a full disk is no damage");

        sandbox.set_faults(&[]).unwrap();
        kept.extend(record(&client, "person", 10).await);
        kept.extend(record(&client, "later", 10).await);
        assert_kept(&client, &kept).await;
        let request = pb::GetSubjectReportRequest {
            subject: Some(pb::SubjectName {
                name: Some(pb::subject_name::Name::Identifier(account("later-3"))),
            }),
            at_least: kept.last().map(|(_, receipt)| receipt.position),
            ..Default::default()
        };
        client.subjects().get_subject_report(request).await.unwrap();
        no_alarm_is_left(&client).await;
    });
    served.stop();
    assert_checks(&sandbox.root().join("data"));
}

/// What failed while the disk was full, such as a checkpoint, is tried again within its own time.
async fn no_alarm_is_left(client: &Client) {
    for _ in 0..900 {
        if status(client).await.alarms.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("alarms that do not end: {:?}", status(client).await.alarms);
}

/// Erasing needs room, too, for its events and its tomb: on a full disk it says so, and is carried
/// through when there is room, or by the next start.
#[test]
fn an_erasure_on_a_full_disk_is_carried_through_later() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let served = sandboxed(&sandbox);
    let runtime = runtime();
    let erase = async |client: &Client| {
        let request = pb::EraseSubjectsRequest {
            subjects: vec![pb::SubjectName {
                name: Some(pb::subject_name::Name::Identifier(account("person-3"))),
            }],
            cause: pb::IdentityErasureCause::Operator as i32,
            evidence_too: true,
            ..Default::default()
        };
        client.erasures().erase_subjects(request).await
    };
    let kept = runtime.block_on(async {
        let client = connect(&served).await;
        let kept = record(&client, "person", 10).await;
        sandbox.set_faults(&[Fault::FullAfter { bytes: 0 }]).unwrap();
        let refused = erase(&client).await.unwrap_err();
        assert!(sandbox.trace().unwrap().faults().contains(&28), "no ENOSPC: {refused:?}");
        sandbox.set_faults(&[]).unwrap();
        // What had begun goes on by itself, and then nobody is found any more.
        if let Err(again) = erase(&client).await {
            assert_eq!(again.code(), Code::NotFound, "{again:?}");
        }
        kept
    });
    served.stop();
    let served = sandboxed(&sandbox);
    runtime.block_on(async {
        let client = connect(&served).await;
        assert_eq!(erase(&client).await.unwrap_err().code(), Code::NotFound);
        let others: Acknowledged =
            kept.into_iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, k)| k).collect();
        assert_kept(&client, &others).await;
        no_alarm_is_left(&client).await;
    });
    served.stop();
    assert_checks(&sandbox.root().join("data"));
}

fn assert_room_is_missing(refusal: &tonic::Status) -> String {
    let details = refusal.get_error_details();
    assert!(matches!(refusal.code(), Code::ResourceExhausted | Code::Unavailable), "{refusal:?} {details:?}");
    assert!(details.retry_info().is_some(), "{details:?}");
    details.error_info().unwrap().reason.clone()
}

#[test]
fn a_flipped_byte_in_a_closed_segment_is_named_and_never_served() {
    let below = workplace();
    let data = below.path().join("data");
    let served = Served::start(&data);
    let runtime = runtime();
    let kept = runtime.block_on(async {
        let client = connect(&served).await;
        let mut kept = Acknowledged::new();
        for _ in 0..6 {
            let events = (0..200).map(|n| bulky(&format!("person-{}", n % 10))).collect();
            kept.extend(record_all(&client, events).await);
        }
        kept
    });
    served.stop();
    let path = data.join("log/00000000000000000000.seg");
    assert!(data.join("log").read_dir().unwrap().flatten().any(|file| {
        let name = file.file_name();
        name.to_string_lossy().ends_with(".seg") && name != "00000000000000000000.seg"
    }));
    let damaged = 300;
    flip(&path, kept[damaged].0.event_id.as_bytes());

    let served = Served::start(&data);
    runtime.block_on(async {
        let client = connect(&served).await;
        let refusal = send(&client, &kept[damaged].0).await.unwrap_err();
        let reason = refusal.get_error_details().error_info().unwrap().reason.clone();
        assert_eq!((refusal.code(), reason.as_str()), (Code::DataLoss, "LOG_CORRUPT"), "{refusal:?}");
        let position = kept[damaged].1.position;
        assert!(refusal.message().contains(&format!("position {position}")));
        let mut others = kept.clone();
        others.remove(damaged);
        assert_kept(&client, &others).await;
        let status = status(&client).await;
        let why = status.log.unwrap().read_only;
        assert!(why.contains("00000000000000000000.seg") && why.contains(&position.to_string()), "{why}");
        assert!(status.alarms.iter().any(|alarm| alarm.way_out.contains("fsck")));
        let refusal = send(&client, &collected("person-1")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
    });
    served.stop();
    let checked = run(&["fsck", "--offline", "--skip-views"], &data, &data.with_extension("keyring"));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("position {}", kept[damaged].1.position)), "{said}");
}

/// Flips a bit of the first place that holds `text`.
fn flip(path: &Path, text: &[u8]) {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
}

fn run(arguments: &[&str], data: &Path, keyring: &Path) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .arg("--keyring")
        .arg(keyring)
        .output()
        .unwrap()
}

/// `custody serve` has to end by itself, with 78 and a message.
fn refused(data: &Path, keyring: &Path) -> String {
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--metrics", "off"], data, keyring);
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    assert!(ended.stdout.is_empty(), "it said that it serves: {ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_keyring_that_is_missing_or_foreign_is_refused_with_the_way_out() {
    let below = workplace();
    let [ours, theirs] = ["ours", "theirs"].map(|name| below.path().join(name));
    let runtime = runtime();
    let mut kept = Acknowledged::new();
    for data in [&theirs, &ours] {
        let served = Served::start(data);
        kept = runtime.block_on(async { record(&connect(&served).await, "person", 3).await });
        served.stop();
    }
    let keyring = ours.with_extension("keyring");
    let foreign = refused(&ours, &theirs.with_extension("keyring"));
    assert!(foreign.contains("use the keyring that was made with it"), "{foreign}");
    let aside = below.path().join("aside");
    std::fs::rename(&keyring, &aside).unwrap();
    let missing = refused(&ours, &keyring);
    assert!(
        missing.contains("there is no keyring at") && missing.contains("put the newest copy of"),
        "{missing}"
    );
    assert!(!keyring.exists(), "a new keyring beside a full directory would hide the loss");

    std::fs::rename(&aside, &keyring).unwrap();
    let served = Served::start(&ours);
    runtime.block_on(async { assert_kept(&connect(&served).await, &kept).await });
    served.stop();
}

#[test]
fn a_second_process_on_the_directory_is_refused_and_the_first_goes_on() {
    let below = workplace();
    let data = below.path().join("data");
    let served = Served::start(&data);
    let said = refused(&data, &data.with_extension("keyring"));
    assert!(said.contains("in use by another") && said.contains(&data.display().to_string()), "{said}");
    runtime().block_on(async {
        let client = connect(&served).await;
        let kept = record(&client, "person", 3).await;
        assert_kept(&client, &kept).await;
    });
    served.stop();
}

#[test]
fn a_client_that_stops_reading_stalls_only_itself() {
    let below = workplace();
    let data = below.path().join("data");
    let served = Served::start(&data);
    let kept = runtime().block_on(async {
        let client = connect(&served).await;
        let mut kept = record(&client, "person", 10).await;
        let before = resident_kib(served.id());
        let (offers, offered) = tokio::sync::mpsc::channel(1);
        let mut deaf = deaf_client(&served).await;
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(offered);
        let answers = deaf.stream_events(outgoing).await.unwrap();
        let mut accepted = 0u64;
        // Stalled: no message was taken for a second, though somebody else was served meanwhile.
        loop {
            let events = (0..50).map(|n| collected(&format!("person-{}", n % 10))).collect();
            let offer = offers.send(pb::StreamEventsRequest { sequence: accepted, events });
            let second = std::time::Duration::from_secs(1);
            if tokio::time::timeout(second, offer).await.is_err() {
                break;
            }
            accepted += 1;
            assert!(accepted < 3_000, "the service takes what it cannot answer");
        }
        kept.extend(record(&client, "another", 50).await);
        let grown = resident_kib(served.id()).saturating_sub(before);
        assert!(grown < 96 * 1024, "{grown} KiB more after {accepted} messages");
        drop(answers);
        assert_kept(&client, &kept).await;
        kept
    });
    served.stop();
    assert!(!kept.is_empty());
}

/// A client whose windows are as small as HTTP/2 allows by default.
async fn deaf_client(
    served: &Served,
) -> pb::ingest_service_client::IngestServiceClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address())).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    pb::ingest_service_client::IngestServiceClient::new(endpoint.connect().await.unwrap())
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_stop_while_a_stream_is_open_drains_it() {
    let below = workplace();
    let data = below.path().join("data");
    let served = Served::start(&data);
    let runtime = runtime();
    let kept: Acknowledged = runtime.block_on(async {
        let client = connect(&served).await;
        let (offers, offered) = tokio::sync::mpsc::channel(1);
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(offered);
        let mut answers = client.ingest().stream_events(outgoing).await.unwrap().into_inner();
        let events: Vec<_> = (0..20).map(|n| collected(&format!("person-{n}"))).collect();
        offers.send(pb::StreamEventsRequest { sequence: 7, events: events.clone() }).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.sequence, 7);
        tokio::task::spawn_blocking(|| served.stop()).await.unwrap();
        // The client still holds its half open: the service ended the stream in order.
        assert!(answers.message().await.is_ok_and(|answer| answer.is_none()));
        drop(offers);
        let receipts: Vec<_> = answer.outcomes.iter().map(|outcome| receipt(outcome).clone()).collect();
        events.into_iter().zip(receipts).collect()
    });
    let served = Served::start(&data);
    runtime.block_on(async { assert_kept(&connect(&served).await, &kept).await });
    served.stop();
}

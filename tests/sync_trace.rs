//! No acknowledgement leaves before the sync that covers its record: read from a trace of what the
//! service wrote, synced and sent.

mod support;

use support::crash::Sandbox;
use support::events::{collected, connect, receipt, runtime, send, send_all, workplace};
use support::server::Served;

const SEGMENT: &str = ".seg";

#[test]
fn one_request_at_a_time_is_answered_after_its_sync() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let data = sandbox.root().join("data");
    let served = Served::spawn(sandbox.arm(&mut Served::command(&data)));
    runtime().block_on(async {
        let client = connect(&served).await;
        for n in 0..20 {
            send(&client, &collected(&format!("person-{n}"))).await.unwrap();
        }
        let batch: Vec<_> = (0..50).map(|n| collected(&format!("person-{}", n % 7))).collect();
        send_all(&client, &batch).await.unwrap();
    });
    drop(served);
    let trace = sandbox.trace().unwrap();
    assert!(trace.syncs(SEGMENT) >= 21, "{} syncs", trace.syncs(SEGMENT));
    assert!(trace.answers().count() >= 21);
    assert_eq!(trace.premature(SEGMENT), []);
    // New people are durable before the event that names them is answered.
    assert!(trace.syncs("vault") > 0);
}

#[test]
fn many_requests_at_once_are_answered_each_after_its_sync() {
    let below = workplace();
    let sandbox = Sandbox::new(below.path()).unwrap();
    let data = sandbox.root().join("data");
    let served = Served::spawn(sandbox.arm(&mut Served::command(&data)));
    let receipts = runtime().block_on(async {
        let mut sending = tokio::task::JoinSet::new();
        for connection in 0..4 {
            let client = connect(&served).await;
            for n in 0..8 {
                let (client, event) = (client.clone(), collected(&format!("person-{connection}-{n}")));
                let mate = collected(&format!("person-{n}"));
                sending.spawn(async move {
                    let outcomes = send_all(&client, &[event, mate]).await.unwrap();
                    outcomes.iter().map(|outcome| receipt(outcome).clone()).collect::<Vec<_>>()
                });
            }
        }
        sending.join_all().await.into_iter().flatten().collect::<Vec<_>>()
    });
    drop(served);
    let trace = sandbox.trace().unwrap();
    let segment = std::fs::read(data.join("log/00000000000000000000.seg")).unwrap();
    assert_eq!(receipts.len(), 64);
    for receipt in receipts {
        // The answer carries the id as text and the leaf hash, the frame's header the id's text too.
        let sent = trace.sent(&receipt.leaf_hash).expect("an answer with this leaf hash");
        let record = receipt.event_id.as_bytes();
        let at = segment.windows(record.len()).position(|bytes| bytes == record).expect("its record");
        let range = at as u64..(at + record.len()) as u64;
        assert_eq!(trace.unsynced(SEGMENT, range, sent), None, "position {}", receipt.position);
    }
}

//! What lies sealed with data goes when the data are gone, and not before.

use super::instructions::{hold, release};
use super::questions::{name, register_service, say};
use super::*;

fn photo(cats: &[&str], locator: &str) -> pb::event::Body {
    let purpose =
        pb::PurposeBasis { id: "service_provision".to_owned(), basis: pb::LegalBasis::Contract.into() };
    pb::event::Body::DataCollected(pb::DataCollected {
        cats: cats.iter().map(|cat| (*cat).to_owned()).collect(),
        record_kind: "photo".to_owned(),
        purposes: vec![purpose],
        locator: locator.to_owned(),
        ..Default::default()
    })
}

fn erased(category: &str) -> pb::event::Body {
    pb::event::Body::ErasureExecuted(pb::ErasureExecuted {
        category: category.to_owned(),
        method: pb::ErasureMethod::Delete as i32,
        stores: vec!["photos".to_owned()],
        ..Default::default()
    })
}

async fn sweep(running: &Running) -> u64 {
    let run = running.jobs().run_by_hand("sealed_sweep").await.unwrap();
    run.ran.counts.iter().find(|count| count.name.as_str() == "purged").unwrap().count
}

/// Whether all that was recorded there can still be read.
async fn is_whole(running: &Running, position: u64) -> bool {
    let record = running.app().log.get(&[position]).await.unwrap().pop().unwrap();
    assert!(record.pieces[0].is_some(), "an index block stays");
    record.pieces.iter().all(Option::is_some)
}

async fn locators(running: &Running, who: u8, at_least: u64) -> Vec<String> {
    let request = pb::GetSubjectReportRequest {
        subject: name(who),
        at_least: Some(at_least),
        opening: Some(pb::Opening { reason: "access_request".to_owned(), ticket: "T-1".to_owned() }),
        ..Default::default()
    };
    let report = client(running).await.subjects().get_subject_report(request).await.unwrap().into_inner();
    report.report.unwrap().categories.into_iter().flat_map(|datum| datum.locators).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_goes_with_the_data() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    register_service(&running, &place).await;
    let both = say(&running, &place, (1, 1), photo(&["pd:Picture", "pd:Location"], "p/both.jpg")).await;
    let one = say(&running, &place, (2, 1), photo(&["pd:Picture"], "p/one.jpg")).await;
    let others = say(&running, &place, (3, 2), photo(&["pd:Picture"], "p/other.jpg")).await;
    assert_eq!(locators(&running, 1, others).await.len(), 3, "each datum with what it lies with");
    place.clock.advance_ms(MS_PER_HOUR);
    assert_eq!(sweep(&running).await, 0, "nothing is gone");

    say(&running, &place, (4, 1), erased("pd:Picture")).await;
    place.clock.advance_ms(MS_PER_HOUR);
    let later = say(&running, &place, (5, 1), photo(&["pd:Picture"], "p/later.jpg")).await;
    say(&running, &place, (6, 1), hold("h-1")).await;
    assert_eq!(sweep(&running).await, 0, "a hold keeps all of it");
    say(&running, &place, (7, 1), release("h-1")).await;
    assert_eq!(sweep(&running).await, 1);
    assert!(!is_whole(&running, one).await);
    assert!(is_whole(&running, both).await, "the place is held still");
    assert!(is_whole(&running, later).await, "collected since");
    assert!(is_whole(&running, others).await, "somebody else's");

    place.clock.advance_ms(MS_PER_HOUR);
    let last = say(&running, &place, (8, 1), erased("pd:Location")).await;
    assert_eq!(sweep(&running).await, 1);
    assert!(!is_whole(&running, both).await);
    assert_eq!(sweep(&running).await, 0, "it is done");
    assert_eq!(locators(&running, 1, last).await, ["p/later.jpg"]);

    // A collection from before that erasure comes only now.
    let mut late = pb::Event {
        body: Some(photo(&["pd:Location"], "p/late.jpg")),
        service: "solar".to_owned(),
        ..place.event(1)
    };
    late.event_id = place.event(9).event_id;
    late.occurred_at = Some(crate::cli::record::timestamp(place.clock.now().plus_ms(-2 * MS_PER_HOUR)));
    let request = pb::RecordEventRequest { event: Some(late) };
    client(&running).await.ingest().record_event(request).await.unwrap();
    assert_eq!(sweep(&running).await, 1, "what comes late goes too");
    assert_eq!(findings(&running).await, [], "what is gone is accounted for");
    running.stop().await.unwrap();
}

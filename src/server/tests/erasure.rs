//! Erasing people: nothing of them is left in any file, everything of the others stays, and a crash
//! at any step is carried through.

use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::app::erase::{Erasure, Reason, Step};
use crate::app::subjects::Name;
use crate::app::{Caller, Error};
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;

pub(super) const REASON: Reason =
    Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };

pub(super) async fn record(
    running: &Running,
    place: &Place,
    people: impl IntoIterator<Item = u8>,
    from: u8,
) -> u64 {
    let client = client(running).await;
    let mut last = 0;
    for (n, person) in people.into_iter().enumerate() {
        let mut event = place.event(person);
        event.event_id = format!("018f3a1c-0000-7000-8000-0000000000{:02x}", from + n as u8);
        if let Some(pb::event::Body::DataCollected(body)) = &mut event.body {
            (body.record_kind, body.locator) = ("photo".to_owned(), format!("photos/of-user-{person}.jpg"));
        }
        let request = pb::RecordEventRequest { event: Some(event) };
        last = client.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap().position;
    }
    last
}

pub(super) async fn find(running: &Running, person: u8) -> Option<SubjectId> {
    let wire = Place::new().event(person).people[0].identifiers[0].clone();
    let request = pb::FindSubjectRequest { identifier: Some(wire) };
    let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates.first().map(|candidate| candidate.subject.parse().unwrap())
}

pub(super) async fn report(
    running: &Running,
    subject: SubjectId,
    at_least: u64,
) -> Option<pb::SubjectReport> {
    let request = pb::GetSubjectReportRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Subject(subject.to_string())) }),
        at_least: Some(at_least),
        ..Default::default()
    };
    let answer = client(running).await.subjects().get_subject_report(request).await;
    let mut report = answer.ok()?.into_inner().report.unwrap();
    report.computed_at = 0;
    Some(report)
}

/// Every file below a directory that holds one of the texts.
pub(super) fn holding(dir: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needles));
        } else {
            let bytes = written(&std::fs::read(&path).unwrap());
            // By their first bytes, so that many of them cost no more than one.
            let mut by_begin: HashMap<&[u8], Vec<&Vec<u8>>> = HashMap::new();
            needles.iter().for_each(|needle| by_begin.entry(&needle[..4]).or_default().push(needle));
            let has = |at: usize| {
                let begun = bytes[at..].get(..4).and_then(|begin| by_begin.get(begin));
                begun.is_some_and(|some| some.iter().any(|needle| bytes[at..].starts_with(needle)))
            };
            if (0..bytes.len()).any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Without the zeros in which segments are made.
fn written(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(4_096).filter(|chunk| **chunk != [0; 4_096][..chunk.len()]).flatten().copied().collect()
}

/// What would tell of a person: the handle in every spelling, the identifier, the place of a photo.
pub(super) fn traces(subject: SubjectId, person: u8) -> Vec<Vec<u8>> {
    let hex: String = subject.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let texts = [subject.to_string(), hex, format!("user-{person}"), format!("of-user-{person}.jpg")];
    texts.into_iter().map(String::into_bytes).chain([subject.0.to_vec()]).collect()
}

async fn erase(running: &Running, subject: SubjectId, stop: Option<Step>) -> Result<Vec<Erasure>, Error> {
    let watch = move |step| if Some(step) == stop { Err(Error::stopping()) } else { Ok(()) };
    running.app().erase_watched(&Caller::local(), &[Name::Subject(subject)], REASON, watch).await
}

pub(super) async fn erasure_events(running: &Running) -> Vec<String> {
    let filter = pb::EventFilter {
        types: vec!["IdentityErasureAccepted".to_owned(), "IdentityErased".to_owned()],
        ..Default::default()
    };
    let head = running.app().status().await.unwrap().log.head;
    let request = pb::ListEventsRequest {
        filter: Some(filter),
        order: pb::Order::OldestFirst.into(),
        at_least: Some(head - 1),
        ..Default::default()
    };
    let list = client(running).await.events().list_events(request).await.unwrap().into_inner();
    let name = |event: &pb::EventRecord| {
        let header: serde_json::Value = serde_json::from_slice(&event.header).unwrap();
        header["type"].as_str().unwrap().to_owned()
    };
    list.events.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_erased_nothing_is_left_and_of_the_others_everything() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = record(&running, &place, [1, 2, 3, 1, 2, 1], 0x10).await;
    let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
    let before = report(&running, stays, last).await.unwrap();
    assert!(report(&running, gone, last).await.is_some());

    let done = erase(&running, gone, None).await.unwrap();
    assert_eq!(done.len(), 1);
    assert!(done[0].pieces >= 6 && done[0].accepted < done[0].erased, "{done:?}");
    assert_eq!(find(&running, 1).await, None);
    assert_eq!(report(&running, gone, done[0].erased).await, None);
    assert_eq!(report(&running, stays, done[0].erased).await.as_ref(), Some(&before));
    let again = erase(&running, gone, None).await.unwrap_err();
    assert_eq!(again.reason(), "subject_not_found", "who is erased cannot be found to be erased again");
    assert_eq!(erasure_events(&running).await, ["IdentityErasureAccepted", "IdentityErased"]);

    // A retry of an old event gets its receipt, and brings nobody back.
    assert!(record(&running, &place, [1], 0x10).await < last);
    assert_eq!(find(&running, 1).await, None);
    running.stop().await.unwrap();
    let data = place.root.path().join("data");
    assert_eq!(holding(&data, &traces(gone, 1)), Vec::<String>::new());
    assert!(!holding(&data, &traces(stays, 2)).is_empty(), "the search finds who is there");
    assert_eq!(holding(&place.root.path().join("data.outside"), &traces(gone, 1)), Vec::<String>::new());

    // A rebuild gives the same answers, and whoever comes anew has no past.
    let running = place.start().await.unwrap();
    running.app().rebuild_views(|_, _| {}).await.unwrap();
    assert_eq!(report(&running, stays, done[0].erased).await.as_ref(), Some(&before));
    place.clock.advance_ms(60_000);
    let last = record(&running, &place, [1], 0x60).await;
    let new = find(&running, 1).await.unwrap();
    assert_ne!(new, gone);
    assert_eq!(report(&running, new, last).await.unwrap().event_count, 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_ends_at_any_step_is_carried_through_by_the_next_start() {
    for step in Step::ALL {
        let place = Place::new();
        let running = place.start().await.unwrap();
        let last = record(&running, &place, [1, 2, 1, 2], 0x10).await;
        let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
        let before = report(&running, stays, last).await.unwrap();
        assert!(erase(&running, gone, Some(step)).await.is_err(), "{step:?}");
        running.stop().await.unwrap();

        let running = place.start().await.unwrap();
        assert_eq!(find(&running, 1).await, None, "{step:?}");
        assert_eq!(erasure_events(&running).await, ["IdentityErasureAccepted", "IdentityErased"], "{step:?}");
        let head = running.app().status().await.unwrap().log.head;
        assert_eq!(report(&running, gone, head - 1).await, None, "{step:?}");
        assert_eq!(report(&running, stays, head - 1).await.as_ref(), Some(&before), "{step:?}");
        running.stop().await.unwrap();
        let data = place.root.path().join("data");
        assert_eq!(holding(&data, &traces(gone, 1)), Vec::<String>::new(), "{step:?}");
        assert_eq!(std::fs::read_dir(data.join("erasures")).unwrap().count(), 0, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_vault_does_not_bring_the_erased_back() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2, 1], 0x10).await;
    running.stop().await.unwrap();
    let (vault, older) = (place.root.path().join("data/vault"), place.root.path().join("older"));
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copy(&vault, &older);
    let running = place.start().await.unwrap();
    let gone = find(&running, 1).await.unwrap();
    erase(&running, gone, None).await.unwrap();
    running.stop().await.unwrap();
    std::fs::remove_dir_all(&vault).unwrap();
    copy(&older, &vault);

    let running = place.start().await.unwrap();
    assert_eq!(find(&running, 1).await, None, "the tomb in the outside copy says so");
    assert!(find(&running, 2).await.is_some());
    running.stop().await.unwrap();
    assert_eq!(holding(&vault, &traces(gone, 1)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_in_flight_while_somebody_is_erased_leave_nothing() {
    let place = Place::new();
    let running = Arc::new(place.start().await.unwrap());
    record(&running, &place, [1, 2], 0x10).await;
    let gone = find(&running, 1).await.unwrap();
    // The emitters go on about the same account, before, during and after.
    let emitters: Vec<_> = (0..4u8)
        .map(|emitter| {
            let (running, event) = (Arc::clone(&running), place.event(1));
            tokio::spawn(async move {
                let client = client(&running).await;
                for n in 0..40u8 {
                    let event_id = format!("018f3a1c-0000-7000-8000-000001{emitter:02x}{n:04x}");
                    let request =
                        pb::RecordEventRequest { event: Some(pb::Event { event_id, ..event.clone() }) };
                    client.ingest().record_event(request).await.unwrap();
                }
            })
        })
        .collect();
    erase(&running, gone, None).await.unwrap();
    for emitter in emitters {
        emitter.await.unwrap();
    }
    let running = Arc::into_inner(running).unwrap();
    running.stop().await.unwrap();
    let handle = [gone.0.to_vec(), gone.to_string().into_bytes()];
    assert_eq!(holding(&place.root.path().join("data"), &handle), Vec::<String>::new());
}

//! What proves consents and cases of the erased: kept by default, told to nobody but in a dispute, gone
//! when its time is over; and what is certified of it.

use super::erasure::{find, holding, record, report, traces};
use super::*;
use crate::app::erase::{Erasure, Reason, Step};
use crate::app::subjects::Name;
use crate::app::{Caller, Error};
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;
use crate::ledger::tlog::InclusionFile;

const KEEPING: Reason = Reason { cause: IdentityErasureCause::Case, case_id: None, evidence_too: false };
const THREE_YEARS_MS: i64 = (3 * 365 + 3) * 24 * 3_600_000;
const PROOF: &str = "screenshot-of-user-1";

async fn send(running: &Running, event: pb::Event) -> u64 {
    let request = pb::RecordEventRequest { event: Some(event) };
    let answer = client(running).await.ingest().record_event(request).await.unwrap();
    answer.into_inner().receipt.unwrap().position
}

fn body(place: &Place, person: u8, id: u8, body: pb::event::Body) -> pb::Event {
    let event_id = format!("018f3a1c-0000-7000-8000-0000000001{id:02x}");
    pb::Event { event_id, body: Some(body), ..place.event(person) }
}

/// A consent with its proof, and a transfer of sensitive data abroad.
async fn consent_and_transfer(running: &Running, place: &Place, person: u8) -> u64 {
    let consent = pb::ConsentGiven {
        purpose: "dpv:Marketing".to_owned(),
        kind: pb::ConsentKind::Explicit as i32,
        consent_id: format!("consent-{person}"),
        proof: format!("screenshot-of-user-{person}"),
        ..Default::default()
    };
    send(running, body(place, person, person, pb::event::Body::ConsentGiven(consent))).await;
    let transfer = pb::DataTransferred {
        recipient_id: "aws".to_owned(),
        from_country: "CN".to_owned(),
        to_country: "DE".to_owned(),
        sensitive: Some(true),
        ..Default::default()
    };
    send(running, body(place, person, person + 0x40, pb::event::Body::DataTransferred(transfer))).await
}

async fn erase(
    running: &Running,
    subject: SubjectId,
    reason: Reason,
    stop: Option<Step>,
) -> Result<Vec<Erasure>, Error> {
    let watch = move |step| if Some(step) == stop { Err(Error::stopping()) } else { Ok(()) };
    running.app().erase_watched(&Caller::local(), &[Name::Subject(subject)], reason, watch).await
}

async fn kept(running: &Running, place: &Place) -> Result<pb::KeptEvidence, tonic::Status> {
    let identifier = place.event(1).people[0].identifiers[0].clone();
    let request = pb::ListKeptEvidenceRequest {
        subject: Some(pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(identifier)) }),
        opening: Some(pb::Opening { reason: "dispute".to_owned(), ticket: "court-7".to_owned() }),
    };
    let answer = client(running).await.erasures().list_kept_evidence(request).await?;
    Ok(answer.into_inner().kept.remove(0))
}

async fn certificate(running: &Running, erasure: &Erasure) -> pb::ErasureCertificate {
    let request = pb::GetErasureCertificateRequest { tomb: erasure.tomb.0.to_vec().into() };
    let answer = client(running).await.erasures().get_erasure_certificate(request).await.unwrap();
    answer.into_inner().certificate.unwrap()
}

/// Without the handle, which the vault and the evidence keep.
fn traces_of_identity(subject: SubjectId) -> Vec<Vec<u8>> {
    let handle = traces(subject, 1);
    let all: Vec<Vec<u8>> = handle.into_iter().skip(2).take(2).collect();
    assert!(all.iter().all(|text| String::from_utf8_lossy(text).contains("user-1")));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proves_a_consent_outlives_the_person_and_not_its_time() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2, 1], 0x10).await;
    let last = consent_and_transfer(&running, &place, 1).await;
    consent_and_transfer(&running, &place, 2).await;
    let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
    assert_eq!(kept(&running, &place).await.unwrap_err().code(), tonic::Code::NotFound, "of the living");
    let before = report(&running, stays, last).await.unwrap();

    let done = erase(&running, gone, KEEPING, None).await.unwrap().remove(0);
    let until = done.kept_until.unwrap();
    assert_eq!(until.to_string(), "2029-03-01T16:00:00.000Z");
    assert_eq!(find(&running, 1).await, None);
    assert_eq!(report(&running, gone, done.erased).await, None);
    assert_eq!(report(&running, stays, done.erased).await.as_ref(), Some(&before));
    let listed = client(&running).await.events().list_events(pb::ListEventsRequest::default()).await.unwrap();
    let told = format!("{:?}", listed.into_inner().events);
    assert!(!told.contains(&gone.to_string()) && !told.contains("consent-1"), "lists tell nothing of it");
    assert!(told.contains("consent-2"));

    // The consent, with its proof and what names it; and that the erasure was asked for.
    let shown = kept(&running, &place).await.unwrap();
    assert_eq!((shown.subject.as_str(), shown.events.len()), (gone.to_string().as_str(), 2));
    assert_eq!(shown.events[0].opened.get("proof").map(String::as_str), Some(PROOF));
    assert!(format!("{:?}", shown.events[0].event).contains("consent-1"));
    assert_eq!(shown.events[1].r#type, "IdentityErasureAccepted");
    let reads = pb::EventFilter { types: vec!["RecordsRead".to_owned()], ..Default::default() };
    let head = running.app().status().await.unwrap().log.head;
    let request =
        pb::ListEventsRequest { filter: Some(reads), at_least: Some(head - 1), ..Default::default() };
    let reads = client(&running).await.events().list_events(request).await.unwrap().into_inner().events;
    assert_eq!(reads.len(), 1, "that it was read is recorded");

    running.app().rebuild_views(|_, _| {}).await.unwrap();
    assert_eq!(report(&running, stays, done.erased).await.as_ref(), Some(&before));
    assert_eq!(kept(&running, &place).await.unwrap().events.len(), 2);
    running.stop().await.unwrap();
    let data = place.root.path().join("data");
    assert_eq!(holding(&data, &traces_of_identity(gone)), Vec::<String>::new());
    std::fs::remove_dir_all(data.join("views")).unwrap();

    let running = place.start().await.unwrap();
    let head = running.app().status().await.unwrap().log.head;
    assert_eq!(
        report(&running, stays, head - 1).await.as_ref(),
        Some(&before),
        "also where the views were lost"
    );
    assert_eq!(kept(&running, &place).await.unwrap().events.len(), 2);
    place.clock.advance_ms(THREE_YEARS_MS - 5 * 24 * 3_600_000);
    running.node.tend(place.clock.now()).await.unwrap();
    assert!(kept(&running, &place).await.is_ok(), "its time is not over yet");
    place.clock.advance_ms(5 * 24 * 3_600_000);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_eq!(kept(&running, &place).await.unwrap_err().code(), tonic::Code::NotFound);
    let certified = certificate(&running, &done).await;
    assert!(certified.kept_until.is_none() && certified.evidence_ended_at.is_some(), "{certified:?}");
    running.stop().await.unwrap();
    let mut all = traces(gone, 1);
    all.push(PROOF.as_bytes().to_vec());
    assert_eq!(holding(&data, &all), Vec::<String>::new());
    assert_eq!(holding(&place.root.path().join("data.outside"), &all), Vec::<String>::new());
    let running = place.start().await.unwrap();
    assert_eq!(report(&running, stays, head - 1).await.as_ref(), Some(&before));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_what_went_when_and_proves_it() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2], 0x10).await;
    consent_and_transfer(&running, &place, 1).await;
    let gone = find(&running, 1).await.unwrap();
    place.clock.advance_ms(60_000);
    let done = erase(&running, gone, KEEPING, None).await.unwrap().remove(0);
    let certified = certificate(&running, &done).await;
    assert!(certified.tlog_proof.is_empty() && certified.letter_en.contains("from the next checkpoint on"));
    running.app().publish().await.unwrap();

    let certified = certificate(&running, &done).await;
    let proof = InclusionFile::parse(certified.tlog_proof.as_bytes()).unwrap();
    let leaf = crate::ledger::tlog::leaf_hash(&certified.header);
    proof.check(&leaf).unwrap();
    assert_eq!(proof.index, done.erased);
    let tallies: Vec<String> =
        certified.transfer_tallies.iter().map(|t| format!("{} {} {}", t.line, t.year, t.sensitive)).collect();
    assert_eq!(
        tallies,
        ["all 2026 true", "kstar:CN 2026 true", "kstar:aws:DE 2026 true"],
        "the person goes on counting"
    );
    assert_eq!(certified.cause, pb::IdentityErasureCause::Case as i32);
    for (letter, words) in [
        (
            &certified.letter_en,
            ["CERTIFICATE OF ERASURE", "can be read until 2026-04-05", "is kept until 2029-03-01"],
        ),
        (&certified.letter_zh, ["删除证明", "最迟在 2026-04-05", "保存至 2029-03-01"]),
    ] {
        for word in words {
            assert!(letter.contains(word), "{word}: {letter}");
        }
        assert!(letter.contains(&format!("{}", done.times.0)) && !letter.contains("nonym"));
    }
    let unknown = pb::GetErasureCertificateRequest { tomb: vec![7; 32].into() };
    let answer = client(&running).await.erasures().get_erasure_certificate(unknown).await.unwrap_err();
    assert_eq!(answer.code(), tonic::Code::NotFound);

    // At the operator's word the rest goes too, found by what once named the person.
    let too = Reason { evidence_too: true, ..KEEPING };
    let identifier = place.event(1).people[0].identifiers[0].clone();
    let request = pb::EraseSubjectsRequest {
        subjects: vec![pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(identifier)) }],
        cause: pb::IdentityErasureCause::Operator as i32,
        evidence_too: true,
        ..Default::default()
    };
    let ended =
        client(&running).await.erasures().erase_subjects(request).await.unwrap().into_inner().erasures;
    assert_eq!((ended.len(), ended[0].accepted_position), (1, done.accepted));
    assert_eq!(kept(&running, &place).await.unwrap_err().code(), tonic::Code::NotFound);
    let again = erase(&running, gone, too, None).await.unwrap_err();
    assert_eq!(again.reason(), "subject_not_found");
    let certified = certificate(&running, &done).await;
    assert!(certified.letter_en.contains("was destroyed on"), "{}", certified.letter_en);
    running.stop().await.unwrap();
    assert_eq!(holding(&place.root.path().join("data"), &traces(gone, 1)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_at_any_step_is_carried_through_with_and_without_evidence() {
    for step in Step::ALL {
        let place = Place::new();
        let running = place.start().await.unwrap();
        record(&running, &place, [1, 2, 1], 0x10).await;
        let last = consent_and_transfer(&running, &place, 1).await;
        let (gone, stays) = (find(&running, 1).await.unwrap(), find(&running, 2).await.unwrap());
        let before = report(&running, stays, last).await.unwrap();
        assert!(erase(&running, gone, KEEPING, Some(step)).await.is_err(), "{step:?}");
        running.stop().await.unwrap();

        let running = place.start().await.unwrap();
        assert_eq!(find(&running, 1).await, None, "{step:?}");
        let shown = kept(&running, &place).await.unwrap();
        let proof = shown.events.iter().find_map(|event| event.opened.get("proof"));
        assert_eq!((shown.events.len(), proof.map(String::as_str)), (2, Some(PROOF)), "{step:?}");
        let comparison = running.app().check_storage(true, &mut Nothing).await.unwrap();
        assert_eq!(comparison.findings, 0, "{step:?}: rebuilt = incremental");

        let ended = erase(&running, gone, Reason { evidence_too: true, ..KEEPING }, Some(step)).await;
        // Nothing is accepted anew where only evidence is left.
        assert_eq!(ended.is_err(), step != Step::Accepted, "{step:?}");
        running.stop().await.unwrap();
        let running = place.start().await.unwrap();
        assert_eq!(kept(&running, &place).await.unwrap_err().code(), tonic::Code::NotFound, "{step:?}");
        let head = running.app().status().await.unwrap().log.head;
        assert_eq!(report(&running, stays, head - 1).await.as_ref(), Some(&before), "{step:?}");
        running.stop().await.unwrap();
        let data = place.root.path().join("data");
        assert_eq!(holding(&data, &traces(gone, 1)), Vec::<String>::new(), "{step:?}");
        assert_eq!(std::fs::read_dir(data.join("erasures")).unwrap().count(), 0, "{step:?}");
    }
}

struct Nothing;

#[async_trait::async_trait]
impl crate::app::fsck::Watch for Nothing {
    fn progress(&mut self, _: u64, _: u64) {}
    async fn finding(&mut self, finding: crate::app::fsck::Finding) {
        panic!("{finding:?}");
    }
}

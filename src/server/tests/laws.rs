//! The law data through the API: what another document would change is told before it is adopted, and comes true
//! when it is.

use super::*;

const MINUTE: i64 = 60_000;

async fn transferred(running: &Running, place: &Place, n: u8, from: &str, to: &str) -> u64 {
    let body = pb::DataTransferred {
        recipient_id: "hq".to_owned(),
        from_country: from.to_owned(),
        to_country: to.to_owned(),
        cats: vec!["pd:Name".to_owned()],
        purpose: "support".to_owned(),
        sensitive: Some(false),
        ..Default::default()
    };
    let met = pb::Event { event_id: place.event(n + 100).event_id, ..place.event(n) };
    let event = pb::Event { body: Some(pb::event::Body::DataTransferred(body)), ..place.event(n) };
    let request = pb::BatchRecordEventsRequest { events: vec![met, event] };
    let answer = client(running).await.ingest().batch_record_events(request).await.unwrap().into_inner();
    let Some(pb::outcome::Result::Receipt(receipt)) = &answer.outcomes[1].result else {
        panic!("{answer:?}")
    };
    receipt.position
}

async fn expired(running: &Running) -> Vec<String> {
    let head = running.app().log.head() - 1;
    let request = pb::ListFindingsRequest { at_least: Some(head), page_size: 100, ..Default::default() };
    let (found, _) = crate::cli::findings::all(&client(running).await, request).await.unwrap();
    found.into_iter().filter(|found| found.code == "F-TRANSFER-EXPIRED").map(|found| found.key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_law_would_change_is_told_before_it_is_adopted() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    for n in 1..=3 {
        transferred(&running, &place, n, "CN", "DE").await;
    }
    transferred(&running, &place, 4, "DE", "JP").await;
    transferred(&running, &place, 5, "DE", "FR").await;
    place.clock.advance_ms(11 * MINUTE);
    running.app().tick_detectors().await.unwrap();
    let mut laws = client(&running).await.laws();
    let at_least = Some(running.app().log.head() - 1);
    let preview = |version: &str| pb::PreviewLawRequest { version: version.to_owned(), at_least };
    let same = laws.preview_law(preview("2026-11")).await.unwrap().into_inner();
    assert_eq!((same.differences.len(), same.findings.len()), (0, 0));
    assert_eq!((same.transfers.len(), same.tiers.len()), (0, 0), "{same:?}");
    assert_eq!(laws.preview_law(preview("1999")).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let told = laws.preview_law(preview("2027-01")).await.unwrap().into_inner();
    assert_eq!(told.differences.len(), 2, "{:?}", told.differences);
    let expired_then: Vec<_> =
        told.findings.iter().filter(|found| found.code == "F-TRANSFER-EXPIRED").collect();
    assert_eq!((expired_then.len(), expired_then[0].count_now, expired_then[0].count_then), (1, 0, 1));
    let outcomes = |judged: &[pb::TransferJudgement]| -> Vec<(pb::TransferOutcome, u64)> {
        judged.iter().map(|one| (one.outcome(), one.count)).collect()
    };
    let to_japan = told.transfers.iter().find(|flow| flow.to_country == "JP").unwrap();
    assert_eq!(outcomes(&to_japan.now), [(pb::TransferOutcome::Adequacy, 1)]);
    assert_eq!(outcomes(&to_japan.then), [(pb::TransferOutcome::Expired, 1)]);
    assert!(told.transfers.iter().all(|flow| flow.to_country != "FR"), "nothing is asked there: {told:?}");
    let tiers = &told.tiers[0];
    assert_eq!(
        (tiers.exporter.as_str(), tiers.tier_now.as_str(), tiers.tier_then.as_str()),
        ("kstar", "exempt", "contract")
    );
    assert_eq!(expired(&running).await, Vec::<String>::new(), "a preview changes nothing");

    let adopt = pb::AdoptLawRequest {
        version: "2027-01".to_owned(),
        effective_at: None,
        reason: "new_decision".to_owned(),
    };
    let position = laws.adopt_law(adopt).await.unwrap().into_inner().position;
    let all =
        laws.list_laws(pb::ListLawsRequest { at_least: Some(position) }).await.unwrap().into_inner().laws;
    let in_force: Vec<_> =
        all.iter().map(|law| (law.version.as_str(), law.in_force, law.adoptions.len())).collect();
    assert_eq!(in_force, [("2026-11", false, 0), ("2027-01", true, 1)]);
    let adoption = &all[1].adoptions[0];
    assert_eq!((adoption.position, adoption.reason.as_str()), (position, "new_decision"));
    place.clock.advance_ms(11 * MINUTE);
    running.app().tick_detectors().await.unwrap();
    assert_eq!(expired(&running).await, [expired_then[0].key.clone()], "as was told");

    let got = laws.get_law(pb::GetLawRequest { version: "2026-11".to_owned() }).await.unwrap().into_inner();
    use sha2::Digest;
    let law = got.law.unwrap();
    assert_eq!(sha2::Sha256::digest(got.document.as_bytes())[..], law.sha256[..], "word for word");
    running.stop().await.unwrap();
}

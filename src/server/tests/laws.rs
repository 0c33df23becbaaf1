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
    let adopted = laws.adopt_law(adopt).await.unwrap().into_inner();
    assert!(!adopted.already_adopted);
    let position = adopted.position;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_law_that_counts_already_is_not_adopted_again() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let laws = client(&running).await.laws();
    let at = |minutes: i64| Some(crate::cli::record::timestamp(place.clock.now().plus_ms(minutes * MINUTE)));
    let adopt = async |version: &str, effective_at| {
        let (version, reason) = (version.to_owned(), "review".to_owned());
        let request = pb::AdoptLawRequest { version, effective_at, reason };
        let answer = laws.clone().adopt_law(request).await.unwrap().into_inner();
        (answer.position, answer.already_adopted)
    };
    // The first counts without being adopted, and that it was adopted is worth an event.
    let (first, again) = tokio::join!(adopt("2026-11", None), adopt("2026-11", None));
    assert_eq!(first.0, again.0, "two at once are one");
    assert_ne!(first.1, again.1);
    let head = running.app().log.head();
    place.clock.advance_ms(MINUTE);
    assert_eq!(adopt("2026-11", None).await, (first.0, true));
    assert_eq!(running.app().log.head(), head, "nothing was recorded");

    let next = adopt("2027-01", at(60)).await;
    assert_eq!(next, (head, false));
    assert_eq!(adopt("2027-01", at(90)).await, (head, true), "it will count by then");
    assert_eq!(adopt("2026-11", None).await, (first.0, true), "and does not yet");
    let earlier = adopt("2027-01", at(30)).await;
    assert!(!earlier.1, "half an hour earlier is news: {earlier:?}");
    let back = adopt("2026-11", at(120)).await;
    assert!(!back.1, "to go back is news: {back:?}");
    assert_eq!(running.app().log.head(), back.0 + 1);
    let all = laws
        .clone()
        .list_laws(pb::ListLawsRequest { at_least: Some(back.0) })
        .await
        .unwrap()
        .into_inner()
        .laws;
    assert_eq!(all.iter().map(|law| law.adoptions.len()).collect::<Vec<_>>(), [2, 2]);
    running.stop().await.unwrap();
}

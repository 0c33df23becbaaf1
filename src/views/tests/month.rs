//! Findings and registers of a month: the same in any order, after a rebuild, and what officers do about them.

use super::judged::*;
use super::scene::*;
use super::*;
use crate::views::findings::{State, name};

#[test]
fn an_officer_acknowledges_closes_and_reopens() {
    let mut scene = Scene::default();
    scene.say(day(1), seen("1.0", &[], true), Vec::new());
    scene.tick(day(2));
    let key: crate::domain::finding::Key = "F-PRE-CONSENT-SDK sdk=paysdk app_version=3.1".parse().unwrap();
    let named = name(&key).to_string().parse::<Id>().ok();
    let state = |scene: &Scene| {
        let found = scene.views().1.ask().unwrap().findings(None).unwrap().findings.clone();
        found
            .into_iter()
            .find(|finding| finding.key == key)
            .map(|finding| (finding.state, finding.acts.len()))
    };
    assert_eq!(state(&scene), Some((State::Open, 0)));
    let code = Some(id("F-PRE-CONSENT-SDK"));
    let closed = FindingClosed {
        code: code.clone(),
        key: named.clone(),
        reason: Some(id("fixed")),
        ..Default::default()
    };
    scene.say(day(4), Body::FindingClosed(Box::new(closed)), Vec::new());
    let seen = FindingAcknowledged { code, key: named, ..Default::default() };
    scene.say(day(3), Body::FindingAcknowledged(Box::new(seen)), Vec::new());
    assert_eq!(state(&scene), Some((State::Closed, 2)), "by when it happened, not by when it came");
}

/// What a month may hold, in some order.
fn month() -> Scene {
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-05"), Some("2026-01-10"));
    scene.say(day(3), Body::RecipientRegistered(Box::new(body)), Vec::new());
    scene.say(day(0), registered(clauses(&["pd:Name"], "2026-01-03", Some("2026-01-20"))), Vec::new());
    scene.say(day(2), policy(&["zh", "en"], &["pd:UID"]), Vec::new());
    for n in 0..30u32 {
        let who = vec![subject(n % 7)];
        let body = match n % 6 {
            0 => transferred(transfer("DE", "CN", &["pd:Name"])),
            1 => transferred(transfer("CN", "US", &["pd:EmailAddress"])),
            2 => shared(&["x:imei"], "payment", &[]),
            3 => seen(
                if n < 15 { "1.0" } else { "1.1" },
                if n < 15 { &["x:imei"] } else { &["pd:Name"] },
                n == 9,
            ),
            4 => collected(&["pd:Picture"], &["service_provision"], None),
            _ => collected(&["x:imei"], &["service_provision", "own"], None),
        };
        scene.say(day(i64::from(n)), body, who);
    }
    let back = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: list([event_id(4), event_id(9), event_id(12)]),
        ..EventsRetracted::default()
    };
    scene.say(day(31), Body::EventsRetracted(Box::new(back)), vec![subject(1)]);
    scene.tick(day(40));
    scene
}

#[test]
fn findings_and_registers_are_the_same_in_any_order_and_after_a_rebuild() {
    let straight = month();
    let (_house, views) = straight.views();
    let (told_first, lines_first) = (told(&views), lines(&views));
    assert!(told_first.len() >= 9, "{told_first:?}");
    views.rebuild(|_| true).unwrap();
    assert_eq!((told(&views), lines(&views)), (told_first.clone(), lines_first.clone()));
    let mut seed = 7u64;
    for _ in 0..5 {
        let (_house, views) = straight.shuffled(&mut seed).views();
        assert_eq!((told(&views), lines(&views)), (told_first.clone(), lines_first.clone()));
    }
}

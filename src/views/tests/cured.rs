//! What was missing when it could be seen, and was recorded later with a time of its own that would have done.

use super::judged::*;
use super::persons::{consent, notice, on_consent};
use super::scene::*;
use super::*;
use crate::views::findings::{Cured, Finding, State, name};

const HOUR: i64 = 3_600_000;

/// The finding of a code at the end of a scene, with a tick behind it.
fn one(scene: &Scene, code: &str) -> Option<Finding> {
    let mut scene = scene.clone();
    scene.tick(day(90));
    let (_house, views) = scene.views();
    let found = views.ask().unwrap().findings(None).unwrap();
    let mut mine = found.findings.iter().filter(|found| found.key.code() == code);
    let finding = mine.next().cloned();
    assert!(mine.next().is_none());
    finding
}

fn said(finding: &Finding) -> (u64, State, Option<Cured>) {
    (finding.count, finding.state, finding.cured)
}

#[test]
fn a_consent_that_comes_late_cures_what_it_covers() {
    let mut scene = Scene::default();
    scene.say(day(1), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
    scene.say(day(1), on_consent(&["pd:Name"], "analytics"), vec![subject(2)]);
    let finding = one(&scene, "F-NO-CONSENT").unwrap();
    assert_eq!((said(&finding), finding.people), ((2, State::Open, None), Some(2)));
    scene.say(day(1), consent("analytics"), vec![subject(1)]).recorded_at = Some(day(2));
    let cured = |count, cured_at| Some(Cured { count, raised_at: day(1).plus_ms(600_000), cured_at });
    let finding = one(&scene, "F-NO-CONSENT").unwrap();
    assert_eq!((said(&finding), finding.people), ((1, State::Open, cured(1, day(2))), Some(1)));
    scene.say(day(0), consent("analytics"), vec![subject(2)]).recorded_at = Some(day(3));
    let finding = one(&scene, "F-NO-CONSENT").unwrap();
    assert_eq!(said(&finding), (0, State::Cured, cured(2, day(3))));
    assert_eq!((finding.people, finding.samples.as_slice()), (Some(2), &[0, 1][..]));
}

#[test]
fn what_was_known_in_time_or_happened_too_late_cures_nothing() {
    let case = |at: i64, recorded: i64| {
        let mut scene = Scene::default();
        scene.say(day(1), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
        let made = scene.say(day(1).plus_ms(at), consent("analytics"), vec![subject(1)]);
        made.recorded_at = Some(day(1).plus_ms(recorded));
        one(&scene, "F-NO-CONSENT").map(|finding| said(&finding).1)
    };
    assert_eq!(case(0, 600_000), None, "within ten minutes nobody had looked");
    assert_eq!(case(0, 600_001), Some(State::Cured));
    assert_eq!(case(HOUR, 2 * HOUR), Some(State::Open), "it was given afterwards");
    assert_eq!(case(HOUR, HOUR), Some(State::Open));
}

#[test]
fn a_notice_and_a_consent_that_come_late_cure_what_an_sdk_did() {
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &[], Some("2026-01-01"), None);
    scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
    scene.say(day(0), policy(&["zh", "en"], &["pd:UID"]), Vec::new());
    scene.say(day(1), Body::AccountRegistered(Box::default()), vec![subject(1)]);
    scene.say(day(2), collected(&["x:imei"], &["service_provision"], None), vec![subject(1)]);
    scene.say(day(2), seen("1.0", &["x:imei"], false), vec![subject(1)]);
    let states = |scene: &Scene| {
        ["F-NOTICE-MISSING", "F-PRE-CONSENT-SDK"].map(|code| one(scene, code).map(|finding| finding.state))
    };
    assert_eq!(states(&scene), [Some(State::Open), Some(State::Open)]);
    scene.say(day(1), notice(NoticeLayer::Full), vec![subject(1)]).recorded_at = Some(day(4));
    assert_eq!(states(&scene), [Some(State::Cured), Some(State::Cured)]);
    // A second one that was there all the time leaves nothing to be cured.
    scene.say(day(1), notice(NoticeLayer::Full), vec![subject(1)]);
    assert_eq!(states(&scene), [None, None]);
}

#[test]
fn a_contract_that_is_registered_late_with_its_own_days_cures() {
    let mut scene = Scene::default();
    let share = || shared(&["x:imei"], "payment", &[Safeguard::Encryption]);
    scene.say(day(2), share(), vec![subject(1)]);
    scene.say(day(3), seen("1.0", &["x:imei"], false), Vec::new());
    let ended = recipient(&["pd:UID"], &[], Some("2025-01-01"), Some("2025-12-31"));
    scene.say(day(1), Body::RecipientRegistered(Box::new(ended)), Vec::new());
    scene.say(day(5), share(), vec![subject(1)]);
    let finding = one(&scene, "F-RECIPIENT-NO-CONTRACT").unwrap();
    assert_eq!(said(&finding), (2, State::Open, None));
    // Signed for the time from the fourth on, Chinese days.
    let renewed = recipient(&["pd:UID"], &[], Some("2026-01-05"), None);
    scene.say(day(8), Body::RecipientRegistered(Box::new(renewed)), Vec::new());
    let finding = one(&scene, "F-RECIPIENT-NO-CONTRACT").unwrap();
    let raised_at = day(5).plus_ms(600_000);
    let cured = Some(Cured { count: 1, raised_at, cured_at: day(8) });
    assert_eq!(said(&finding), (1, State::Open, cured), "the first lies before its first day");
    assert!(one(&scene, "F-SDK-UNDECLARED").is_none(), "it was registered in time");
    // Entered afterwards, with the day from which it holds.
    let earlier = recipient(&["pd:UID"], &[], Some("2026-01-01"), None);
    scene.say(day(1), Body::RecipientRegistered(Box::new(earlier)), Vec::new()).recorded_at = Some(day(9));
    let finding = one(&scene, "F-RECIPIENT-NO-CONTRACT").unwrap();
    assert_eq!((finding.count, finding.state), (0, State::Cured));
    assert_eq!(finding.cured.map(|cured| (cured.count, cured.cured_at)), Some((2, day(9))));
}

#[test]
fn an_sdk_that_is_registered_late_with_its_own_day_was_declared() {
    let case = |at: i64, recorded: i64| {
        let mut scene = Scene::default();
        scene.say(day(3), seen("1.0", &["x:imei"], false), Vec::new());
        let body = recipient(&["pd:UID"], &[], Some("2026-01-01"), None);
        let made = scene.say(day(at), Body::RecipientRegistered(Box::new(body)), Vec::new());
        made.recorded_at = Some(day(recorded));
        one(&scene, "F-SDK-UNDECLARED").map(|finding| finding.state)
    };
    assert_eq!([case(2, 2), case(2, 5), case(4, 5)], [None, Some(State::Cured), Some(State::Open)]);
}

#[test]
fn assessments_and_mechanisms_that_are_registered_late_cure_by_their_own_dates() {
    let mut scene = Scene::default();
    scene.say(day(5), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    let states = |scene: &Scene| {
        ["F-TRANSFER-NO-MECHANISM", "F-TRANSFER-NO-ASSESSMENT"]
            .map(|code| one(scene, code).map(|finding| finding.state))
    };
    assert_eq!(states(&scene), [Some(State::Open), None]);
    scene.say(day(8), registered(clauses(&[], "2026-01-02", None)), Vec::new());
    assert_eq!(states(&scene), [Some(State::Cured), Some(State::Open)]);
    let assessed = TransferAssessed {
        kind: Some(AssessmentKind::Tia),
        subject_matter: Some(id("hq")),
        result: Some(AssessmentResult::Ok),
        ..TransferAssessed::default()
    };
    scene.say(day(4), Body::TransferAssessed(Box::new(assessed)), Vec::new()).recorded_at = Some(day(9));
    assert_eq!(states(&scene), [Some(State::Cured), Some(State::Cured)]);
    let mut later = Scene::default();
    later.say(day(5), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    later.say(day(8), registered(clauses(&[], "2026-01-08", None)), Vec::new());
    assert_eq!(states(&later)[0], Some(State::Open), "it begins afterwards");
}

#[test]
fn an_assessment_that_is_entered_late_was_made_in_time() {
    let case = |at: i64, recorded: i64| {
        let mut scene = Scene::default();
        let body = DataCollected { sensitive: Some(true), ..DataCollected::default() };
        let made = scene.say(day(3), Body::DataCollected(Box::new(body)), vec![subject(1)]);
        made.event.envelope.activity = Some(id("track"));
        made.event.envelope.regimes = vec!["CN".parse().unwrap()];
        let assessed = AssessmentRecorded {
            kind: Some(AssessmentKind::Pipia),
            subject_matter: Some(id("track")),
            result: Some(AssessmentResult::Ok),
            ..AssessmentRecorded::default()
        };
        let made = scene.say(day(at), Body::AssessmentRecorded(Box::new(assessed)), Vec::new());
        made.recorded_at = Some(day(recorded));
        one(&scene, "F-NO-ASSESSMENT").map(|finding| finding.state)
    };
    assert_eq!([case(2, 2), case(2, 5), case(4, 5)], [None, Some(State::Cured), Some(State::Open)]);
}

#[test]
fn closing_stands_and_acknowledging_does_not_hide_a_cure() {
    let mut scene = Scene::default();
    scene.say(day(1), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
    let key = one(&scene, "F-NO-CONSENT").unwrap().key;
    let (code, named) = (Some(id("F-NO-CONSENT")), name(&key).to_string().parse::<Id>().ok());
    let seen = FindingAcknowledged { code: code.clone(), key: named.clone(), ..Default::default() };
    scene.say(day(2), Body::FindingAcknowledged(Box::new(seen)), Vec::new());
    assert_eq!(one(&scene, "F-NO-CONSENT").unwrap().state, State::Acknowledged);
    scene.say(day(1), consent("analytics"), vec![subject(1)]).recorded_at = Some(day(3));
    assert_eq!(one(&scene, "F-NO-CONSENT").unwrap().state, State::Cured);
    let closed = FindingClosed { code, key: named, ..Default::default() };
    scene.say(day(4), Body::FindingClosed(Box::new(closed)), Vec::new());
    assert_eq!(one(&scene, "F-NO-CONSENT").unwrap().state, State::Closed);
}

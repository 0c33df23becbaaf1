//! How long data may be kept, through the API: explained with every rule, forecast for everybody, and what changed
//! rules would change before they are published.

use super::questions::{name, register_service, say};
use super::*;
use crate::cli::record::timestamp;

pub(super) fn rule(id: &str, period: &str) -> pb::RetentionRule {
    let matches = pb::RuleMatch { purposes: vec!["service_provision".to_owned()], ..Default::default() };
    pb::RetentionRule {
        id: id.to_owned(),
        kind: pb::RuleKind::Keep as i32,
        matches: Some(matches),
        anchor: pb::Anchor::PurposeEnded as i32,
        period: period.to_owned(),
        tz: "Asia/Shanghai".to_owned(),
        legal: "PIPL 47(1)(2)".to_owned(),
        ..Default::default()
    }
}

pub(super) fn published(rule: pb::RetentionRule) -> pb::event::Body {
    let body = pb::RetentionRulePublished { rule: Some(rule), ..Default::default() };
    pb::event::Body::RetentionRulePublished(Box::new(body))
}

pub(super) fn collected() -> pb::event::Body {
    let purpose =
        pb::PurposeBasis { id: "service_provision".to_owned(), basis: pb::LegalBasis::Contract.into() };
    pb::event::Body::DataCollected(pb::DataCollected {
        cats: vec!["pd:TelephoneNumber".to_owned()],
        record_kind: "profile".to_owned(),
        purposes: vec![purpose],
        ..Default::default()
    })
}

pub(super) fn cancelled() -> pb::event::Body {
    pb::event::Body::AccountCancelled(pb::AccountCancelled::default())
}

pub(super) async fn explain(running: &Running, who: u8, at_least: u64) -> pb::RetainedDatum {
    let request =
        pb::ExplainRetentionRequest { subject: name(who), at_least: Some(at_least), ..Default::default() };
    let answer = client(running).await.retention().explain_retention(request).await.unwrap().into_inner();
    assert_eq!(answer.data.len(), 1, "{answer:?}");
    answer.data.into_iter().next().unwrap()
}

async fn forecast(
    running: &Running,
    by: Timestamp,
    publish: Vec<pb::RetentionRule>,
) -> pb::ForecastRetentionResponse {
    let request = pb::ForecastRetentionRequest { by: Some(timestamp(by)), publish, ..Default::default() };
    client(running).await.retention().forecast_retention(request).await.unwrap().into_inner()
}

/// Two people, of whom the second cancels on the next day.
async fn told(running: &Running, place: &Place) -> u64 {
    register_service(running, place).await;
    say(running, place, (10, 0), published(rule("keep.account", "P15D"))).await;
    say(running, place, (11, 1), collected()).await;
    say(running, place, (12, 2), collected()).await;
    place.clock.advance_ms(MS_PER_DAY);
    say(running, place, (13, 2), cancelled()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_datum_says_when_it_goes_and_why() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = told(&running, &place).await;

    let open = explain(&running, 1, last).await;
    assert_eq!((open.state.as_str(), open.action.as_str(), open.due.as_str()), ("active", "none", ""));
    assert_eq!(open.because[0].code, "open:service_provision");
    assert_eq!(open.usable_for, ["service_provision"]);

    let ended = explain(&running, 2, last).await;
    // Cancelled on 2 March at 16:00 in Shanghai; the fifteenth day after it counts in full.
    assert_eq!(
        (ended.state.as_str(), ended.action.as_str(), ended.due.as_str()),
        ("blocked", "erase", "2026-03-18")
    );
    let because = &ended.because[0];
    assert_eq!((because.code.as_str(), because.legal.as_str()), ("keep.account", "PIPL 47(1)(2)"));
    assert!(because.zh.contains("规则 keep.account"), "{because:?}");
    assert!(ended.candidates.len() == 1 && ended.candidates[0].binds, "{ended:?}");
    assert_eq!(ended.purposes[0].ended_by, "account_cancelled");
    assert_eq!((ended.usable_for.len(), ended.plan.as_str()), (0, "none"));

    place.clock.advance_ms(20 * MS_PER_DAY);
    let due = explain(&running, 2, last).await;
    assert_eq!((due.state.as_str(), due.plan.as_str()), ("due", "execute"));
    assert_eq!(due.findings, ["F-RETENTION-OVERRUN"]);
    let unknown = pb::ExplainRetentionRequest { subject: name(9), ..Default::default() };
    let refused = client(&running).await.retention().explain_retention(unknown).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_rule_is_seen_before_it_is_published() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = told(&running, &place).await;
    explain(&running, 2, last).await;
    let now = place.clock.now();

    let soon = forecast(&running, now.plus_ms(MS_PER_DAY), Vec::new()).await;
    assert_eq!((soon.lines.len(), soon.data, soon.people), (0, 2, 2));
    assert!(soon.change.is_none());
    let later = forecast(&running, now.plus_ms(30 * MS_PER_DAY), Vec::new()).await;
    let line = &later.lines[0];
    assert_eq!((later.lines.len(), line.data, line.people, line.state.as_str()), (1, 1, 1, "due"));
    assert_eq!(line.category, "pd:TelephoneNumber");

    let shorter = pb::RetentionRule {
        from: "2026-03-02".to_owned(),
        replaces: "keep.account".to_owned(),
        ..rule("keep.account.v2", "P0D")
    };
    let changed = forecast(&running, now.plus_ms(MS_PER_DAY), vec![shorter]).await;
    let change = changed.change.unwrap();
    assert_eq!((change.newly_due, change.no_longer_due, change.earlier, change.later), (1, 0, 1, 0));
    assert_eq!(change.newly_due_lines[0].people, 1);
    let request = pb::ForecastRetentionRequest {
        by: Some(timestamp(now.plus_ms(30 * MS_PER_DAY))),
        annul: vec!["keep.account".to_owned()],
        ..Default::default()
    };
    let without = client(&running).await.retention().forecast_retention(request).await.unwrap().into_inner();
    // Without a rule an officer has to decide about both: nothing is destroyed by default.
    let change = without.change.unwrap();
    assert_eq!((change.into_review, change.no_longer_due, change.newly_due), (2, 1, 0));

    let wrong = pb::ForecastRetentionRequest {
        publish: vec![pb::RetentionRule { period: "P1W".to_owned(), ..rule("keep.x", "P1D") }],
        annul: vec!["a b".to_owned()],
        ..Default::default()
    };
    let refused = client(&running).await.retention().forecast_retention(wrong).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let fields: Vec<String> = details
        .bad_request()
        .into_iter()
        .flat_map(|request| request.field_violations.iter().map(|violation| violation.field.clone()))
        .collect();
    assert_eq!(fields, ["publish[0].period", "annul[0]"]);
    running.stop().await.unwrap();
}

async fn report(running: &Running, who: u8) -> pb::SubjectReport {
    let request = pb::GetSubjectReportRequest { subject: name(who), ..Default::default() };
    client(running).await.subjects().get_subject_report(request).await.unwrap().into_inner().report.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_hears_how_long_data_are_kept_and_nothing_of_a_hold() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    let last = told(&running, &place).await;
    explain(&running, 2, last).await;
    let kept = report(&running, 2).await.categories[0].kept.clone().unwrap();
    assert_eq!((kept.state.as_str(), kept.due.as_str()), ("blocked", "2026-03-18"));
    assert_eq!(
        (kept.because[0].code.as_str(), kept.because[0].legal.as_str()),
        ("keep.account", "PIPL 47(1)(2)")
    );

    let hold = pb::LegalHoldPlaced {
        service: "solar".to_owned(),
        hold_id: "matter-7".to_owned(),
        ground: pb::HoldGround::Court as i32,
        confidential: Some(true),
        ..Default::default()
    };
    let placed = say(&running, &place, (20, 0), pb::event::Body::LegalHoldPlaced(hold)).await;
    let held = explain(&running, 2, placed).await;
    assert_eq!((held.because[0].code.as_str(), held.due_at), ("hold:matter-7", None), "to an officer");
    let before = report(&running, 2).await.categories[0].kept.clone().unwrap();
    assert_eq!(before, kept, "nothing is told while it keeps nothing");

    place.clock.advance_ms(30 * MS_PER_DAY);
    let beyond = report(&running, 2).await.categories[0].kept.clone().unwrap();
    assert_eq!((beyond.state.as_str(), beyond.due_at), ("kept", None));
    assert_eq!((beyond.because.len(), beyond.because[0].code.as_str()), (1, "kept"));
    assert!(!format!("{beyond:?}").contains("matter-7"));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_by_a_rule_may_not_be_used() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    register_service(&running, &place).await;
    let short = pb::RetentionRule { anchor: pb::Anchor::Collected as i32, ..rule("keep.month", "P30D") };
    say(&running, &place, (10, 0), published(short)).await;
    let activity = pb::ActivityRegistered {
        activity: "help".to_owned(),
        service: "solar".to_owned(),
        purposes: vec![pb::PurposeBasis {
            id: "service_provision".to_owned(),
            basis: pb::LegalBasis::Contract.into(),
        }],
        cats: vec!["pd:TelephoneNumber".to_owned()],
        record_kind: "profile".to_owned(),
        ..Default::default()
    };
    say(&running, &place, (11, 0), pb::event::Body::ActivityRegistered(Box::new(activity))).await;
    let last = say(&running, &place, (12, 1), collected()).await;
    let ask = || pb::CheckUseRequest {
        subject: name(1),
        activity: "help".to_owned(),
        at_least: Some(last),
        ..Default::default()
    };
    let during = client(&running).await.questions().check_use(ask()).await.unwrap().into_inner();
    assert!(during.allowed && !during.periods_not_judged, "{during:?}");
    place.clock.advance_ms(31 * MS_PER_DAY);
    let after = client(&running).await.questions().check_use(ask()).await.unwrap().into_inner();
    let codes: Vec<&str> = after.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_eq!((after.allowed, codes), (false, vec!["retention_over"]), "{after:?}");
    assert!(after.data[0].usable_for.is_empty() && after.reasons[0].zh.contains("保存期限"));
    running.stop().await.unwrap();
}

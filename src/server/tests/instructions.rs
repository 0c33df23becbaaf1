//! From what is due to the proof that it is gone, through the API: planned, approved by somebody, told, asked for right
//! before acting, answered, recorded; and what stops it on the way.

use super::questions::{name, register_service, say};
use super::retention::{cancelled, collected, explain, published, rule};
use super::*;

/// People besides the first, of whom everything stays: so that one is no large share.
const OTHERS: u8 = 30;

/// Many people, and a rule by which data go at once when an account is cancelled.
pub(super) async fn many(running: &Running, place: &Place) {
    register_service(running, place).await;
    say(running, place, (203, 0), published(rule("keep.account", "P0D"))).await;
    for who in 1..=OTHERS + 1 {
        say(running, place, (who, who), collected()).await;
    }
    place.clock.advance_ms(MS_PER_HOUR);
}

pub(super) async fn plan(running: &Running) -> pb::PlanErasuresResponse {
    let mut plans = client(running).await.plans();
    plans.plan_erasures(pb::PlanErasuresRequest {}).await.unwrap().into_inner()
}

pub(super) async fn approve(running: &Running, plan: &pb::Plan, reason: &str) -> Result<u64, tonic::Status> {
    let request = pb::ApprovePlanRequest {
        plan_id: plan.plan_id.clone(),
        plan_sha256: plan.plan_sha256.clone(),
        reason: reason.to_owned(),
    };
    let answer = client(running).await.plans().approve_plan(request).await?.into_inner();
    assert_eq!(answer.plan.unwrap().state, pb::PlanState::Approved as i32);
    Ok(answer.instructed)
}

/// Finds what is due by the clock, so that any officer may approve it.
pub(super) async fn sweep(running: &Running) -> pb::Plan {
    running.jobs().run_by_hand("retention_sweep").await.unwrap();
    let mut plans = client(running).await.plans();
    let listed = plans.list_plans(pb::ListPlansRequest::default()).await.unwrap().into_inner();
    listed.plans.into_iter().next().unwrap_or_default()
}

pub(super) async fn take(running: &Running, addressee: &str) -> Vec<pb::Instruction> {
    let request = pb::TakeInstructionsRequest { addressee: addressee.to_owned(), ..Default::default() };
    client(running).await.instructions().take_instructions(request).await.unwrap().into_inner().instructions
}

pub(super) async fn begin(running: &Running, id: &str) -> pb::begin_instruction_result::Result {
    let request =
        pb::BeginInstructionRequest { addressee: "solar".to_owned(), instruction_ids: vec![id.to_owned()] };
    let answer = client(running).await.instructions().begin_instruction(request).await.unwrap().into_inner();
    answer.results.into_iter().next().unwrap().result.unwrap()
}

pub(super) fn done(id: &str) -> pb::InstructionAcknowledgement {
    pb::InstructionAcknowledgement {
        instruction_id: id.to_owned(),
        outcome: pb::InstructionOutcome::Done as i32,
        method: pb::ErasureMethod::Delete as i32,
        stores: vec!["accounts-db".to_owned()],
        ..Default::default()
    }
}

pub(super) async fn acknowledge(
    running: &Running,
    addressee: &str,
    answer: pb::InstructionAcknowledgement,
) -> pb::AcknowledgeInstructionResult {
    let request =
        pb::AcknowledgeInstructionRequest { addressee: addressee.to_owned(), acknowledgements: vec![answer] };
    let answer = client(running).await.instructions().acknowledge_instruction(request).await.unwrap();
    answer.into_inner().results.into_iter().next().unwrap()
}

fn refused(result: &pb::AcknowledgeInstructionResult) -> &str {
    match &result.result {
        Some(pb::acknowledge_instruction_result::Result::Refusal(refusal)) => &refusal.reason,
        other => panic!("taken: {other:?}"),
    }
}

async fn told_about(running: &Running, who: u8) -> Vec<pb::Instruction> {
    let request = pb::ListInstructionsRequest { subject: name(who), ..Default::default() };
    client(running).await.instructions().list_instructions(request).await.unwrap().into_inner().instructions
}

pub(super) const GO: pb::begin_instruction_result::Result =
    pb::begin_instruction_result::Result::Answer(pb::InstructionAnswer::Go as i32);
pub(super) const REVOKED: pb::begin_instruction_result::Result =
    pb::begin_instruction_result::Result::Answer(pb::InstructionAnswer::Revoked as i32);

pub(super) fn hold(id: &str) -> pb::event::Body {
    pb::event::Body::LegalHoldPlaced(pb::LegalHoldPlaced {
        ground: pb::HoldGround::LegalClaims as i32,
        hold_ref: id.to_owned(),
        ..Default::default()
    })
}

pub(super) fn release(id: &str) -> pb::event::Body {
    pb::event::Body::LegalHoldReleased(pb::LegalHoldReleased {
        hold_ref: id.to_owned(),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_planned_approved_told_done_and_certified() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    let idle = sweep(&running).await;
    assert_eq!(idle.plan_id, "", "nothing is due");
    say(&running, &place, (100, 1), cancelled()).await;
    let last = running.app().log.head() - 1;
    assert_eq!(explain(&running, 1, last).await.state, "due");

    let planned = sweep(&running).await;
    assert_eq!((planned.items, planned.state), (1, pb::PlanState::Waiting as i32));
    assert_eq!(planned.approvals_needed, ["first_run"]);
    assert_eq!((planned.cause, planned.service.as_str()), (pb::PlanCause::Cancellation as i32, "solar"));
    assert!(take(&running, "solar").await.is_empty(), "nobody approved it");
    assert_eq!(sweep(&running).await, planned, "one plan is enough");
    let other = pb::Plan { plan_sha256: vec![0; 32].into(), ..planned.clone() };
    assert_eq!(approve(&running, &other, "").await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    assert_eq!(approve(&running, &planned, "").await.unwrap(), 1);
    assert_eq!(approve(&running, &planned, "").await.unwrap_err().code(), tonic::Code::FailedPrecondition);

    let taken = take(&running, "solar").await;
    let told = &taken[0];
    assert_eq!((taken.len(), told.kind), (1, pb::InstructionKind::Erase as i32));
    assert_eq!(
        (told.category.as_str(), told.identifiers[0].value.as_str()),
        ("pd:TelephoneNumber", "user-1")
    );
    assert!(take(&running, "solar").await.is_empty(), "somebody has it in hand");
    assert!(take(&running, "other").await.is_empty(), "it is nobody else's");
    place.clock.advance_ms(601_000);
    assert_eq!(take(&running, "solar").await.len(), 1, "whoever had it has not answered");

    assert_eq!(begin(&running, &told.instruction_id).await, GO);
    let foreign = acknowledge(&running, "other", done(&told.instruction_id)).await;
    assert_eq!(refused(&foreign), "INSTRUCTION_NOT_FOUND");
    let how = pb::InstructionAcknowledgement { method: 0, ..done(&told.instruction_id) };
    assert_eq!(refused(&acknowledge(&running, "solar", how).await), "INVALID_REQUEST");
    assert!(!acknowledge(&running, "solar", done(&told.instruction_id)).await.duplicate);
    assert!(acknowledge(&running, "solar", done(&told.instruction_id)).await.duplicate, "twice is once");
    let otherwise = pb::InstructionAcknowledgement {
        outcome: pb::InstructionOutcome::Refused as i32,
        ground: "no".to_owned(),
        ..done(&told.instruction_id)
    };
    assert_eq!(refused(&acknowledge(&running, "solar", otherwise).await), "INSTRUCTION_ENDED");
    assert_eq!(refused(&acknowledge(&running, "solar", done("none")).await), "INSTRUCTION_NOT_FOUND");

    let last = running.app().log.head() - 1;
    assert_eq!(explain(&running, 1, last).await.state, "done");
    assert_eq!(explain(&running, 2, last).await.state, "active");
    let request = pb::GetPlanRequest { plan_id: planned.plan_id.clone(), at_least: Some(last) };
    running.app().publish().await.unwrap();
    let found = client(&running).await.plans().get_plan(request).await.unwrap().into_inner();
    let outcome = found.outcome.unwrap();
    assert_eq!((outcome.instructed, outcome.done, outcome.due, outcome.passed_over), (1, 1, 0, 0));
    assert!(outcome.tlog_proof.starts_with("c2sp.org/tlog-proof"), "{outcome:?}");
    // Nothing asks any more to know who it was.
    let swept = running.jobs().run_by_hand("evidence_sweep").await.unwrap();
    assert!(swept.ran.counts.iter().any(|count| count.name.as_str() == "erased" && count.count == 1));
    let request = pb::ListInstructionsRequest { subject: name(1), ..Default::default() };
    let gone = client(&running).await.instructions().list_instructions(request).await.unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound);
    let request = pb::GetPlanRequest { plan_id: planned.plan_id.clone(), at_least: None };
    let outcome =
        client(&running).await.plans().get_plan(request).await.unwrap().into_inner().outcome.unwrap();
    assert_eq!((outcome.instructed, outcome.done), (1, 1), "a certificate outlives the person");
    assert!(super::findings(&running).await.is_empty(), "every store is whole");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_makes_void_what_was_told_and_its_end_tells_it_again() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (100, 1), cancelled()).await;
    let planned = sweep(&running).await;
    assert_eq!(approve(&running, &planned, "").await.unwrap(), 1);
    let told = take(&running, "solar").await.remove(0);
    say(&running, &place, (101, 1), hold("h-1")).await;
    assert_eq!(begin(&running, &told.instruction_id).await, REVOKED);
    assert_eq!(begin(&running, &told.instruction_id).await, REVOKED, "it stays void");
    let about = told_about(&running, 1).await;
    assert_eq!((about.len(), about[0].state), (1, pb::InstructionState::Recalled as i32));
    assert_eq!(about[0].ground, "hold");
    // Nothing of the person goes, neither by a plan nor by hand.
    assert_eq!(plan(&running).await.due, 0);
    let request = pb::EraseSubjectsRequest {
        subjects: name(1).into_iter().collect(),
        cause: pb::IdentityErasureCause::Operator as i32,
        evidence_too: true,
        ..Default::default()
    };
    let refused = client(&running).await.erasures().erase_subjects(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("kept for now"), "{refused:?}");
    let swept = running.jobs().run_by_hand("evidence_sweep").await.unwrap();
    assert!(swept.ran.counts.iter().all(|count| count.name.as_str() != "erased" || count.count == 0));

    place.clock.advance_ms(MS_PER_DAY);
    say(&running, &place, (102, 1), release("h-1")).await;
    // The rule has run, and one of many is no large share.
    let again = plan(&running).await;
    assert_eq!((again.due, again.instructed, again.plans.len()), (1, 1, 1), "{again:?}");
    let told = take(&running, "solar").await.remove(0);
    assert_eq!(begin(&running, &told.instruction_id).await, GO);

    // What was begun and done under a hold is recorded as what it is.
    say(&running, &place, (103, 1), hold("h-2")).await;
    let answer = acknowledge(&running, "solar", done(&told.instruction_id)).await;
    assert!(answer.result.is_some() && !answer.duplicate);
    let last = running.app().log.head() - 1;
    let datum = explain(&running, 1, last).await;
    assert_eq!(datum.state, "done");
    assert!(datum.findings.contains(&"F-PREMATURE-ERASURE".to_owned()), "{datum:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_planned_it_does_not_approve_it_and_a_refusal_is_kept() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (100, 1), cancelled()).await;
    let planned = plan(&running).await.plans.remove(0);
    let same = approve(&running, &planned, "").await.unwrap_err();
    assert_eq!(same.code(), tonic::Code::FailedPrecondition);
    assert!(same.message().contains("whoever planned it"), "{same:?}");
    let request = pb::RejectPlanRequest {
        plan_id: planned.plan_id.clone(),
        plan_sha256: planned.plan_sha256.clone(),
        reason: "wrong_rule".to_owned(),
    };
    let rejected = client(&running).await.plans().reject_plan(request).await.unwrap().into_inner();
    assert_eq!(rejected.plan.unwrap().state, pb::PlanState::Rejected as i32);
    let again = plan(&running).await;
    assert_eq!((again.due, again.plans.len(), again.instructed), (1, 0, 0), "nothing new is known of it");
    // Something new is: a plan of its own.
    place.clock.advance_ms(MS_PER_HOUR);
    say(&running, &place, (101, 2), cancelled()).await;
    let more = plan(&running).await;
    assert_eq!((more.due, more.plans.len()), (2, 1), "{more:?}");
    assert_eq!(more.plans[0].items, 1);
    running.stop().await.unwrap();
}

/// What was held for years and is entered now, without the consents it was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_without_their_consents_wait_for_an_officer() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    register_service(&running, &place).await;
    let marketing = pb::RetentionRule {
        matches: Some(pb::RuleMatch { purposes: vec!["direct_marketing".to_owned()], ..Default::default() }),
        ..rule("keep.marketing", "P0D")
    };
    say(&running, &place, (203, 0), published(marketing)).await;
    let imported = |n: u8| {
        let purposes = vec![pb::PurposeBasis {
            id: "direct_marketing".to_owned(),
            basis: pb::LegalBasis::Consent.into(),
        }];
        let body = pb::DataCollected {
            cats: vec!["pd:EmailAddress".to_owned()],
            record_kind: "profile".to_owned(),
            purposes,
            ..Default::default()
        };
        pb::Event {
            body: Some(pb::event::Body::DataCollected(body)),
            service: "solar".to_owned(),
            backfill: true,
            occurred_at: Some(crate::cli::record::timestamp("2023-05-01T00:00:00Z".parse().unwrap())),
            ..place.event(n)
        }
    };
    let events = (1..=100).map(imported).collect();
    let request = pb::BatchRecordEventsRequest { events };
    client(&running).await.ingest().batch_record_events(request).await.unwrap();
    place.clock.advance_ms(MS_PER_DAY);

    let planned = sweep(&running).await;
    assert_eq!((planned.items, planned.confirm), (100, true));
    assert_eq!(planned.approvals_needed, ["confirm", "share_of_service"]);
    assert!(take(&running, "solar").await.is_empty(), "absence alone destroys nothing");
    running.app().tick_detectors().await.unwrap();
    let listed = client(&running).await.findings().list_findings(pb::ListFindingsRequest::default()).await;
    let legacy: Vec<_> = listed.unwrap().into_inner().findings;
    let legacy: Vec<_> = legacy.iter().filter(|found| found.code == "F-LEGACY-EVIDENCE").collect();
    assert_eq!((legacy.len(), legacy[0].people), (1, Some(100)), "one finding says all of it");
    let unsaid = approve(&running, &planned, "").await.unwrap_err();
    assert_eq!(unsaid.code(), tonic::Code::InvalidArgument, "to confirm takes a reason");
    let request =
        pb::ListPlanItemsRequest { plan_id: planned.plan_id.clone(), page_size: 30, ..Default::default() };
    let (mut items, mut token) = (0, String::new());
    loop {
        let request = pb::ListPlanItemsRequest { page_token: token, ..request.clone() };
        let page = client(&running).await.plans().list_plan_items(request).await.unwrap().into_inner();
        items += page.items.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(items, 100);
    assert_eq!(approve(&running, &planned, "asked_sales").await.unwrap(), 100);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_is_cut_short_is_carried_on_by_the_next() {
    use crate::app::sweep::Which;
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    for who in 1..=5 {
        say(&running, &place, (100 + who, who), cancelled()).await;
    }
    // Whatever step is the last of it: nobody is told twice, and in the end everybody was told.
    for steps in 0..12 {
        let now = place.clock.now();
        let mut cut = running.app().sweep(Which::All, now, None);
        for _ in 0..steps {
            cut.step().await.unwrap();
        }
        drop(cut);
        place.clock.advance_ms(1_000);
        let plans = client(&running).await.plans().list_plans(pb::ListPlansRequest::default()).await.unwrap();
        for plan in plans.into_inner().plans.iter().filter(|plan| plan.state == pb::PlanState::Waiting as i32)
        {
            approve(&running, plan, "").await.unwrap();
        }
    }
    let open =
        client(&running).await.instructions().list_instructions(pb::ListInstructionsRequest::default()).await;
    let mut told: Vec<String> =
        open.unwrap().into_inner().instructions.into_iter().map(|one| one.subject).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 5);
    let counted = running.app().ask(|ask| Ok(ask.queue_lengths()?)).await.unwrap();
    assert_eq!(counted.values().sum::<u64>(), 5, "each of them once: {counted:?}");
    running.stop().await.unwrap();

    // What is due is known after a restart without deciding anybody anew.
    let running = place.start().await.unwrap();
    let swept = running.app().sweep_all(Which::All, None).await.unwrap();
    assert_eq!((swept.refreshed, swept.instructed, swept.plans.len()), (0, 0, 0));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_off_is_put_off_once_and_comes_again() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (100, 1), cancelled()).await;
    let planned = sweep(&running).await;
    approve(&running, &planned, "").await.unwrap();
    let told = take(&running, "solar").await.remove(0);
    let again_at = place.clock.now().plus_ms(3 * MS_PER_DAY);
    let put_off = pb::InstructionAcknowledgement {
        outcome: pb::InstructionOutcome::Deferred as i32,
        ground: "technical".to_owned(),
        review_at: Some(crate::cli::record::timestamp(again_at)),
        ..done(&told.instruction_id)
    };
    assert!(!acknowledge(&running, "solar", put_off.clone()).await.duplicate);
    assert!(
        acknowledge(&running, "solar", put_off.clone()).await.duplicate,
        "a retry puts nothing off again"
    );
    place.clock.advance_ms(2 * MS_PER_DAY);
    assert!(take(&running, "solar").await.is_empty(), "its time has not come");
    place.clock.advance_ms(MS_PER_DAY);
    assert_eq!(take(&running, "solar").await.len(), 1);
    assert_eq!(begin(&running, &told.instruction_id).await, GO, "what only a deferral keeps may go");
    assert!(!acknowledge(&running, "solar", done(&told.instruction_id)).await.duplicate);
    let last = running.app().log.head() - 1;
    assert_eq!(explain(&running, 1, last).await.state, "done");
    running.stop().await.unwrap();
}

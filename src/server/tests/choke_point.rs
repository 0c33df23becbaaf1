//! A hold is asked for at one place, whichever way somebody tries to destroy something; and whoever places one while
//! somebody else asks whether to go ahead is heard, or came later.

use tonic::Code;

use super::instructions::{GO, REVOKED, approve, begin, hold, many, plan, sweep, take};
use super::questions::{name, say};
use super::retention::{cancelled, explain};
use super::*;
use crate::record::Header;

fn on_many(selector: pb::LegalHoldPlaced) -> pb::event::Body {
    pb::event::Body::LegalHoldPlaced(pb::LegalHoldPlaced {
        ground: pb::HoldGround::Court as i32,
        hold_id: "matter-7".to_owned(),
        confidential: Some(true),
        ..selector
    })
}

/// How many of something a job did.
async fn ran(running: &Running, job: &str, what: &str) -> u64 {
    let run = running.jobs().run_by_hand(job).await.unwrap();
    run.ran.counts.iter().find(|count| count.name.as_str() == what).map_or(0, |count| count.count)
}

async fn begun_as_a_whole(running: &Running) -> u64 {
    use pb::begin_service_response::Item;
    let request = pb::BeginServiceRequest {
        addressee: "solar".to_owned(),
        service: "solar".to_owned(),
        ..Default::default()
    };
    let mut answers = client(running).await.instructions().begin_service(request).await.unwrap().into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        if let Some(Item::Begun(begun)) = answer.item {
            return begun.begun;
        }
    }
    panic!("the list ended early");
}

/// Somebody has gone, and a plan waits for its approval; then a hold is placed.
async fn nothing_goes_by_an_approval(body: pb::event::Body, of_one: bool) {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (100, 1), cancelled()).await;
    let waiting = sweep(&running).await;
    say(&running, &place, (105, u8::from(of_one)), body).await;
    assert_eq!(approve(&running, &waiting, "").await.unwrap(), 0, "by an approval");
    assert!(take(&running, "solar").await.is_empty());
    running.stop().await.unwrap();
}

/// Somebody has gone, and the service was told; then a hold is placed, and everything is tried that could destroy
/// something of that person.
async fn nothing_goes_under(body: pb::event::Body, of_one: bool) {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (100, 1), cancelled()).await;
    let first = sweep(&running).await;
    approve(&running, &first, "").await.unwrap();
    let told = take(&running, "solar").await.remove(0).instruction_id;
    say(&running, &place, (105, u8::from(of_one)), body).await;

    assert_eq!(begin(&running, &told).await, REVOKED, "a go");
    assert_eq!(begun_as_a_whole(&running).await, 0, "a go for the whole service");
    assert_eq!(plan(&running).await.instructed, 0, "by a plan");
    for job in ["retention_sweep", "service_end_sweep"] {
        assert_eq!(ran(&running, job, "instructed").await, 0, "{job}");
    }
    assert_eq!(ran(&running, "evidence_sweep", "erased").await, 0, "as somebody whom nothing asks to know");
    assert_eq!(ran(&running, "sealed_sweep", "purged").await, 0, "what lies sealed");
    for cause in 1..=4 {
        for evidence_too in [false, true] {
            let request = pb::EraseSubjectsRequest {
                subjects: name(1).into_iter().collect(),
                cause,
                evidence_too,
                case_id: "case-1".to_owned(),
            };
            let refused = client(&running).await.erasures().erase_subjects(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "by hand, {cause}: {refused:?}");
        }
    }
    for kind in [pb::InstructionKind::Erase, pb::InstructionKind::Anonymise] {
        let request =
            pb::IssueInstructionsRequest { subject: name(1), kind: kind.into(), ..Default::default() };
        let refused = client(&running).await.instructions().issue_instructions(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "told by hand");
    }
    let request = pb::ReassignInstructionRequest {
        instruction_id: told,
        from: "solar".to_owned(),
        to: "solar".to_owned(),
    };
    let refused = client(&running).await.instructions().reassign_instruction(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "given to somebody else");

    assert!(take(&running, "solar").await.is_empty(), "nothing is told");
    let last = running.app().log.head() - 1;
    assert_eq!(explain(&running, 1, last).await.state, "suspended");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_leads_around_a_hold_on_a_person() {
    nothing_goes_under(hold("h-1"), true).await;
    nothing_goes_by_an_approval(hold("h-1"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_leads_around_a_hold_on_a_service() {
    let of = || on_many(pb::LegalHoldPlaced { service: "solar".to_owned(), ..Default::default() });
    nothing_goes_under(of(), false).await;
    nothing_goes_by_an_approval(of(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_leads_around_a_hold_on_a_category() {
    let of =
        || on_many(pb::LegalHoldPlaced { category: "pd:TelephoneNumber".to_owned(), ..Default::default() });
    nothing_goes_under(of(), false).await;
    nothing_goes_by_an_approval(of(), false).await;
}

/// Where the first event of a type stands at or behind a position.
async fn first_of(running: &Running, from: u64, event_type: &str) -> Option<u64> {
    let records = running.app().log.read(from, 100, 1 << 20).await.unwrap();
    let found = records.iter().find(|record| Header::type_name(&record.header) == Some(event_type));
    found.map(|record| record.position)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_and_a_go_are_never_both_first() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    for who in 1..=20 {
        say(&running, &place, (100 + who, who), cancelled()).await;
        let waiting = sweep(&running).await;
        if waiting.state == pb::PlanState::Waiting as i32 {
            approve(&running, &waiting, "").await.unwrap();
        }
        let mut open = take(&running, "solar").await.into_iter();
        let told = open.find(|one| one.identifiers[0].value == format!("user-{who}")).unwrap().instruction_id;
        let from = running.app().log.head();
        let placing = say(&running, &place, (150 + who, who), hold("h"));
        let (held, answer) = tokio::join!(placing, begin(&running, &told));
        if answer == GO {
            let begun = first_of(&running, from, "InstructionBegun").await.unwrap();
            assert!(begun < held, "told to go ahead at {begun}, held since {held}");
        } else {
            assert_eq!(answer, REVOKED);
        }
        place.clock.advance_ms(MS_PER_HOUR);
    }
    running.stop().await.unwrap();
}

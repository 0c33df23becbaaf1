//! A whole service is emptied by one call: what goes is begun, what stays is named.

use tonic::Code;

use super::instructions::{approve, done, hold, many, release, sweep};
use super::questions::say;
use super::retention::{cancelled, explain};
use super::*;

async fn begin(
    running: &Running,
    addressee: &str,
) -> Result<(Vec<pb::KeptDatum>, pb::BegunService), tonic::Status> {
    use pb::begin_service_response::Item;
    let request = pb::BeginServiceRequest {
        addressee: addressee.to_owned(),
        service: "solar".to_owned(),
        ..Default::default()
    };
    let mut answers = client(running).await.instructions().begin_service(request).await?.into_inner();
    let mut kept = Vec::new();
    while let Some(answer) = answers.message().await? {
        match answer.item.unwrap() {
            Item::Kept(one) => kept.push(one),
            Item::Begun(begun) => return Ok((kept, begun)),
        }
    }
    panic!("the list ended early");
}

async fn acknowledge(
    running: &Running,
    begun: &pb::BegunService,
    except: &[String],
) -> pb::AcknowledgeServiceResponse {
    let request = pb::AcknowledgeServiceRequest {
        addressee: "solar".to_owned(),
        service: "solar".to_owned(),
        begun_by: begun.begun_by,
        acknowledgement: Some(done("")),
        except_instruction_ids: except.to_vec(),
        ..Default::default()
    };
    let mut answers =
        client(running).await.instructions().acknowledge_service(request).await.unwrap().into_inner();
    let mut last = pb::AcknowledgeServiceResponse::default();
    while let Some(answer) = answers.message().await.unwrap() {
        last = answer;
    }
    last
}

fn names(kept: &[pb::KeptDatum]) -> Vec<&str> {
    let mut names: Vec<&str> = kept.iter().map(|one| one.identifiers[0].value.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_emptied_but_for_what_has_to_stay() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    let (kept, begun) = begin(&running, "solar").await.unwrap();
    assert_eq!((kept.len(), begun.begun), (31, 0), "nothing was told");
    for who in 1..=5 {
        say(&running, &place, (100 + who, who), cancelled()).await;
    }
    let planned = sweep(&running).await;
    assert_eq!(approve(&running, &planned, "").await.unwrap(), 5);
    say(&running, &place, (110, 3), hold("h-1")).await;

    assert_eq!(begin(&running, "other").await.unwrap_err().code(), Code::PermissionDenied);
    let (kept, begun) = begin(&running, "solar").await.unwrap();
    assert_eq!((begun.begun, begun.revoked, begun.kept), (4, 1, 27));
    assert!(names(&kept).contains(&"user-3") && !names(&kept).contains(&"user-1"), "{kept:?}");
    let (again, _) = begin(&running, "solar").await.unwrap();
    assert_eq!(names(&again), names(&kept), "asked twice, the same goes");

    let listed = client(&running).await.instructions();
    let open = listed
        .clone()
        .list_instructions(pb::ListInstructionsRequest {
            addressee: "solar".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner()
        .instructions;
    assert_eq!(open.len(), 4);
    let except = [open[0].instruction_id.clone()];
    let told = acknowledge(&running, &begun, &except).await;
    assert_eq!((told.acknowledged, told.after_recall, told.excepted), (3, 0, 1));
    let told = acknowledge(&running, &begun, &[]).await;
    assert_eq!((told.acknowledged, told.excepted), (1, 0), "said again where it was left out");
    assert_eq!(acknowledge(&running, &begun, &[]).await.acknowledged, 0, "nothing is left");
    let last = running.app().log.head() - 1;
    for (who, state) in [(1, "done"), (2, "done"), (3, "suspended"), (4, "done"), (5, "done"), (6, "active")]
    {
        assert_eq!(explain(&running, who, last).await.state, state, "{who}");
    }

    // What is told later is not answered by what was begun before.
    place.clock.advance_ms(MS_PER_HOUR);
    say(&running, &place, (111, 3), release("h-1")).await;
    running.jobs().run_by_hand("retention_sweep").await.unwrap();
    assert_eq!(acknowledge(&running, &begun, &[]).await.acknowledged, 0);
    assert_eq!(explain(&running, 3, running.app().log.head() - 1).await.state, "due");
    running.stop().await.unwrap();
}

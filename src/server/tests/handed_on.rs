//! Whoever got data is told that they are gone, also where their source erased them unasked.

use super::instructions::{acknowledge, done, hold, many, release, take};
use super::questions::say;
use super::*;

fn processor() -> pb::event::Body {
    pb::event::Body::RecipientRegistered(Box::new(pb::RecipientRegistered {
        recipient_id: "mailer".to_owned(),
        legal_name: "Mailer GmbH".to_owned(),
        role: pb::RecipientRole::Processor.into(),
        country: "DE".to_owned(),
        channel: pb::RecipientChannel::Grpc.into(),
        ..Default::default()
    }))
}

fn shared() -> pb::event::Body {
    pb::event::Body::DataShared(pb::DataShared {
        recipient_id: "mailer".to_owned(),
        cats: vec!["pd:TelephoneNumber".to_owned()],
        purpose: "service_provision".to_owned(),
        method: pb::ShareMethod::Api.into(),
        ..Default::default()
    })
}

fn erased() -> pb::event::Body {
    pb::event::Body::ErasureExecuted(pb::ErasureExecuted {
        method: pb::ErasureMethod::Delete as i32,
        stores: vec!["crm".to_owned()],
        ..Default::default()
    })
}

async fn sweep(running: &Running) -> u64 {
    let run = running.jobs().run_by_hand("retention_sweep").await.unwrap();
    run.ran.counts.iter().find(|count| count.name.as_str() == "handed_on").unwrap().count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipients_hear_of_what_was_erased_unasked() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    many(&running, &place).await;
    say(&running, &place, (204, 0), processor()).await;
    for who in 1..=3 {
        say(&running, &place, (100 + who, who), shared()).await;
    }
    assert_eq!(sweep(&running).await, 0, "nothing is gone");
    place.clock.advance_ms(MS_PER_HOUR);
    say(&running, &place, (110, 1), erased()).await;
    say(&running, &place, (111, 2), erased()).await;
    say(&running, &place, (112, 2), hold("h-1")).await;
    // Entered from the past: whoever had it was told then, or is told by hand.
    let mut past = pb::Event { body: Some(erased()), service: "solar".to_owned(), ..place.event(3) };
    past.event_id = place.event(113).event_id;
    past.backfill = true;
    let request = pb::RecordEventRequest { event: Some(past) };
    client(&running).await.ingest().record_event(request).await.unwrap();
    assert_eq!(sweep(&running).await, 1);
    assert_eq!(sweep(&running).await, 0, "once");

    let told = take(&running, "mailer").await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].kind, told[0].category.as_str()), (1, "pd:TelephoneNumber"), "{told:?}");
    assert_eq!(told[0].identifiers[0].value, "user-1");
    assert!(!acknowledge(&running, "mailer", done(&told[0].instruction_id)).await.duplicate);
    assert_eq!(sweep(&running).await, 0, "it was done");

    place.clock.advance_ms(MS_PER_HOUR);
    say(&running, &place, (114, 2), release("h-1")).await;
    assert_eq!(sweep(&running).await, 1, "what a hold kept there goes when it ends");
    assert_eq!(take(&running, "mailer").await[0].identifiers[0].value, "user-2");

    // What is told is void while a hold is on it, and told again.
    say(&running, &place, (115, 2), hold("h-2")).await;
    assert_eq!(sweep(&running).await, 0);
    place.clock.advance_ms(MS_PER_DAY);
    assert!(take(&running, "mailer").await.is_empty(), "recalled");
    say(&running, &place, (116, 2), release("h-2")).await;
    assert_eq!(sweep(&running).await, 1);
    running.stop().await.unwrap();
}

//! Keys are replaced while the service records: by age, by hand, under load; a crash at any step is
//! carried on; a clock that jumps destroys nothing that is needed; and the end of a key says before what
//! it means.

use super::erasure::{find, holding, record, report};
use super::*;
use crate::app::Error;
use crate::app::keys::Step;
use crate::ledger::tlog::VerifierKey;
use crate::log::PieceRef;
use crate::vault::keyring::{Class, Description};
use crate::vault::sqlite::{self, harm::wrapped_in};

const DAY: i64 = MS_PER_DAY;

fn keys_of(running: &Running, class: Class) -> Vec<Description> {
    running.node.keyring.describe().into_iter().filter(|key| key.class == class).collect()
}

fn ids(running: &Running, class: Class) -> Vec<u32> {
    keys_of(running, class).iter().map(|key| key.id).collect()
}

fn active(running: &Running, class: Class) -> u32 {
    keys_of(running, class).iter().find(|key| key.active).unwrap().id
}

async fn tend(running: &Running) {
    running.app().tend_keys_watched(&mut |_| Ok(())).await.unwrap();
}

async fn locked_with(running: &Running) -> Vec<u32> {
    running.app().vault.locked_with().await.unwrap().into_iter().map(|(id, _)| id).collect()
}

/// Kinds of change and names of keys, oldest first.
async fn changes(running: &Running) -> Vec<String> {
    let filter = pb::EventFilter {
        types: vec!["KeyRotated".to_owned(), "KeyDestroyed".to_owned()],
        ..Default::default()
    };
    let head = running.app().log.head();
    let request = pb::ListEventsRequest {
        filter: Some(filter),
        order: pb::Order::OldestFirst.into(),
        at_least: Some(head - 1),
        ..Default::default()
    };
    let list = client(running).await.events().list_events(request).await.unwrap().into_inner();
    let name = |event: &pb::EventRecord| {
        let header: serde_json::Value = serde_json::from_slice(&event.header).unwrap();
        let (kind, body) = (header["type"].as_str().unwrap(), &header["b"]);
        let key = body["new_epoch"].as_str().or(body["old_epoch"].as_str()).unwrap();
        format!("{kind} {key}")
    };
    list.events.iter().map(name).collect()
}

fn keks(changes: Vec<String>) -> Vec<String> {
    changes.into_iter().filter(|change| change.contains("kek")).collect()
}

/// Everybody is found, and what is sealed about them opens.
async fn everybody_opens(running: &Running, people: impl IntoIterator<Item = u8>) {
    let last = running.app().log.head() - 1;
    for person in people {
        let subject = find(running, person).await.unwrap();
        let holder = running.app().vault.holder(subject).await.unwrap();
        assert!(holder.identity.is_some() && holder.evidence.is_some());
        let request = pb::GetSubjectReportRequest {
            subject: Some(pb::SubjectName {
                name: Some(pb::subject_name::Name::Subject(subject.to_string())),
            }),
            opening: Some(pb::Opening { reason: "access_request".to_owned(), ticket: String::new() }),
            at_least: Some(last),
            ..Default::default()
        };
        let answer = client(running).await.subjects().get_subject_report(request).await.unwrap();
        assert!(format!("{:?}", answer.into_inner()).contains(&format!("user-{person}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_encryption_keys_live_as_long_as_is_configured() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2, 3], 0x10).await;
    place.clock.advance_ms(7 * DAY - 1);
    tend(&running).await;
    assert_eq!(ids(&running, Class::Kek), [1]);
    place.clock.advance_ms(1);
    tend(&running).await;
    assert_eq!((ids(&running, Class::Kek), active(&running, Class::Kek)), (vec![1, 2], 2));
    assert_eq!(locked_with(&running).await, [2]);
    tend(&running).await;
    assert_eq!(ids(&running, Class::Kek), [1, 2], "one is enough");
    record(&running, &place, [4], 0x20).await;
    assert_eq!(locked_with(&running).await, [2], "who is new is locked with the one in use");

    // Kept for 28 days, and an hour more, in which the others go on.
    place.clock.advance_ms(28 * DAY - 1);
    tend(&running).await;
    place.clock.advance_ms(DAY / 24);
    tend(&running).await;
    assert_eq!(ids(&running, Class::Kek), [1, 2, 3]);
    place.clock.advance_ms(DAY / 24);
    tend(&running).await;
    assert_eq!(ids(&running, Class::Kek), [2, 3]);
    assert_eq!(
        keks(changes(&running).await),
        ["KeyRotated kek-2", "KeyRotated kek-3", "KeyDestroyed kek-1"],
        "each change stands in the log once"
    );
    everybody_opens(&running, 1..=4).await;
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    everybody_opens(&running, 1..=4).await;
    running.stop().await.unwrap();
}

/// Stops at a step, as a crash would.
fn until(stop: Step) -> impl FnMut(Step) -> Result<(), Error> {
    move |step| if step == stop { Err(Error::stopping()) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_is_carried_on() {
    let steps = [Step::Added, Step::Activated, Step::Rewrapped, Step::Forgotten, Step::Recorded];
    for step in steps {
        let place = Place::new();
        let running = place.start().await.unwrap();
        record(&running, &place, [1, 2, 3], 0x10).await;
        tend(&running).await;
        place.clock.advance_ms(8 * DAY);
        assert!(running.app().tend_keys_watched(&mut until(step)).await.is_err(), "{step:?}");
        running.stop().await.unwrap();
        let running = place.start().await.unwrap();
        tend(&running).await;
        assert_eq!((ids(&running, Class::Kek), active(&running, Class::Kek)), (vec![1, 2], 2), "{step:?}");
        assert_eq!(locked_with(&running).await, [2], "{step:?}");
        assert_eq!(keks(changes(&running).await), ["KeyRotated kek-2"], "{step:?}");
        everybody_opens(&running, 1..=3).await;
        running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_identifiers_move_to_a_new_key_is_carried_on() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2, 3], 0x10).await;
    running.app().add_key(Class::Lookup).await.unwrap();
    running.app().activate_key(Class::Lookup, 2).await.unwrap();
    // The service's own round may have been first, and then there is nothing left to stop at.
    let _stopped = running.app().tend_keys_watched(&mut until(Step::Remarked)).await;
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    tend(&running).await;
    assert_eq!(running.app().vault.lookup_use(1).await.unwrap().rows, 0);
    running.app().destroy_key(Class::Lookup, 1, true, |_, _| {}).await.unwrap();
    everybody_opens(&running, 1..=3).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_the_end_of_a_key_is_carried_on() {
    for step in [Step::Destroyed, Step::Recorded] {
        let place = Place::new();
        let running = place.start().await.unwrap();
        record(&running, &place, [1, 2, 3], 0x10).await;
        place.clock.advance_ms(8 * DAY);
        tend(&running).await;
        place.clock.advance_ms(6 * DAY + 28 * DAY);
        // By hand, so that only the end is left to be done.
        running.app().add_key(Class::Kek).await.unwrap();
        running.app().activate_key(Class::Kek, 3).await.unwrap();
        tend(&running).await;
        place.clock.advance_ms(DAY / 24);
        let mut seen = Vec::new();
        let watch = &mut |now: Step| {
            seen.push(now);
            let ended = seen.contains(&Step::Destroyed);
            if now == step && ended { Err(Error::stopping()) } else { Ok(()) }
        };
        assert!(running.app().tend_keys_watched(watch).await.is_err(), "{step:?}");
        running.stop().await.unwrap();
        let running = place.start().await.unwrap();
        tend(&running).await;
        assert_eq!(ids(&running, Class::Kek), [2, 3], "{step:?}");
        let told = keks(changes(&running).await);
        assert_eq!(told, ["KeyRotated kek-2", "KeyRotated kek-3", "KeyDestroyed kek-1"], "{step:?}");
        everybody_opens(&running, 1..=3).await;
        running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_destroys_nothing_and_makes_few_keys() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1, 2], 0x10).await;
    place.clock.advance_ms(8 * DAY);
    tend(&running).await;
    assert_eq!(ids(&running, Class::Kek), [1, 2]);

    // Ahead by a year for some minutes: backups of yesterday are under the first.
    place.clock.advance_ms(365 * DAY);
    for _ in 0..5 {
        tend(&running).await;
        place.clock.advance_ms(60_000);
    }
    assert_eq!((ids(&running, Class::Kek), active(&running, Class::Kek)), (vec![1, 2, 3], 3));
    // Put right again: what was made in that year counts from now.
    place.clock.advance_ms(-365 * DAY);
    for _ in 0..5 {
        tend(&running).await;
        place.clock.advance_ms(60_000);
    }
    assert_eq!((ids(&running, Class::Kek), active(&running, Class::Kek)), (vec![1, 2, 3, 4], 4));
    // Back by a year, and right again.
    place.clock.advance_ms(-365 * DAY);
    tend(&running).await;
    place.clock.advance_ms(60_000);
    tend(&running).await;
    place.clock.advance_ms(365 * DAY);
    tend(&running).await;
    place.clock.advance_ms(60_000);
    tend(&running).await;
    assert!(ids(&running, Class::Kek).len() <= 6, "{:?}", ids(&running, Class::Kek));
    assert_eq!(ids(&running, Class::Kek)[0], 1, "nothing was destroyed by it");
    let in_use = active(&running, Class::Kek);
    assert_eq!(locked_with(&running).await, [in_use]);
    everybody_opens(&running, 1..=2).await;
    // Neither is a clock that swings for ever a way to fill the keyring.
    for n in 0..200 {
        place.clock.advance_ms(if n % 2 == 0 { 30 * DAY } else { -30 * DAY });
        let _refused_or_done = running.app().tend_keys_watched(&mut |_| Ok(())).await;
    }
    assert!(ids(&running, Class::Kek).len() <= 32);
    everybody_opens(&running, 1..=2).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_recorded_while_every_key_is_replaced() {
    let place = Place::new();
    let running = Arc::new(place.start().await.unwrap());
    record(&running, &place, 1..=20, 0x10).await;
    let before = std::fs::read(place.root.path().join("data/vault/vault.sqlite")).unwrap().len();
    assert!(before > 0);
    let emitters: Vec<_> = (0..4u8)
        .map(|emitter| {
            let (running, event) = (Arc::clone(&running), place.event(1 + emitter));
            tokio::spawn(async move {
                let client = client(&running).await;
                for n in 0..60u8 {
                    let event_id = format!("018f3a1c-0000-7000-8000-000001{emitter:02x}{n:04x}");
                    let mut event = pb::Event { event_id, ..event.clone() };
                    event.people[0].identifiers[0].value = format!("user-{}", u16::from(n) + 1);
                    let request = pb::RecordEventRequest { event: Some(event) };
                    let receipt = client.ingest().record_event(request).await.unwrap().into_inner().receipt;
                    assert!(receipt.unwrap().attributed);
                }
            })
        })
        .collect();
    let mut checkpoints = vec![running.app().publish().await.unwrap().checkpoint];
    let trusted: Vec<VerifierKey> = running.app().verifier_keys().unwrap();
    for class in [Class::Kek, Class::Lookup, Class::Checkpoint, Class::Manifest] {
        running.app().add_key(class).await.unwrap();
        running.app().activate_key(class, 2).await.unwrap();
        running.app().rewrap_keys(|_, _| {}).await.unwrap();
        checkpoints.push(running.app().publish().await.unwrap().checkpoint);
    }
    let both: Vec<VerifierKey> = running.app().verifier_keys().unwrap();
    for emitter in emitters {
        emitter.await.unwrap();
    }
    running.app().rewrap_keys(|_, _| {}).await.unwrap();
    for class in [Class::Kek, Class::Lookup, Class::Checkpoint, Class::Manifest] {
        running.app().destroy_key(class, 1, true, |_, _| {}).await.unwrap();
    }
    let last = running.app().publish().await.unwrap().checkpoint;
    let new: Vec<VerifierKey> = running.app().verifier_keys().unwrap();
    assert_eq!((trusted.len(), both.len(), new.len()), (1, 2, 1));
    // Before, during and after: with the key that was stated at the time, and with both meanwhile.
    assert_eq!(checkpoints[0].note.verify(&trusted).unwrap().len(), 1);
    assert!(checkpoints[0].note.verify(&new).is_err());
    let during = checkpoints.last().unwrap();
    for keys in [&trusted, &both, &new] {
        assert_eq!(during.note.verify(keys).unwrap().len(), keys.len());
    }
    assert!(last.note.verify(&trusted).is_err() && last.note.verify(&new).is_ok());

    everybody_opens(&running, 1..=20).await;
    running.app().views.wait_for(running.app().log.head(), Duration::from_secs(60)).await.unwrap();
    for person in 1..=20 {
        let subject = find(&running, person).await.unwrap();
        let seen = report(&running, subject, 0).await.unwrap().event_count;
        assert_eq!(seen, 5, "user-{person} is one person: one event before, four meanwhile");
    }
    let told = changes(&running).await;
    for name in ["kek", "lookup", "checkpoint", "manifest"] {
        assert!(told.contains(&format!("KeyRotated {name}-2")), "{told:?}");
        assert!(told.contains(&format!("KeyDestroyed {name}-1")), "{told:?}");
    }
    let running = Arc::into_inner(running).unwrap();
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    everybody_opens(&running, 1..=20).await;
    running.stop().await.unwrap();
}

fn used(place: &Place, n: u8, identifier: &pb::Identifier) -> pb::Event {
    let mut event = place.event(0);
    event.event_id = format!("018f3a1c-0000-7000-8000-0000000003{n:02x}");
    event.people[0].identifiers = vec![identifier.clone()];
    event.body = Some(pb::event::Body::DataUsed(pb::DataUsed {
        purpose: "improvement".to_owned(),
        ..Default::default()
    }));
    event
}

async fn send(running: &Running, event: pb::Event) -> pb::Receipt {
    let request = pb::RecordEventRequest { event: Some(event) };
    client(running).await.ingest().record_event(request).await.unwrap().into_inner().receipt.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_person_finds_it_across_a_new_look_up_key() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1], 0x10).await;
    let phone = pb::Identifier {
        kind: pb::IdentifierKind::Phone as i32,
        realm: String::new(),
        value: "+8613912345678".to_owned(),
    };
    assert!(!send(&running, used(&place, 1, &phone)).await.attributed);
    running.app().add_key(Class::Lookup).await.unwrap();
    running.app().activate_key(Class::Lookup, 2).await.unwrap();
    running.app().rewrap_keys(|_, _| {}).await.unwrap();
    assert!(!send(&running, used(&place, 2, &phone)).await.attributed);
    let preview = running.app().preview_destroy_key(Class::Lookup, 1, |_, _| {}).await.unwrap();
    assert!(preview.refused.is_none() && preview.lost[0].contains("at most 1 such parts"), "{preview:?}");

    // Backdated, so that both lie in its time.
    let mut link = place.event(1);
    link.event_id = "018f3a1c-0000-7000-8000-000000000399".to_owned();
    link.people.push(pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![phone.clone()] });
    link.body = Some(pb::event::Body::IdentifierLinked(pb::IdentifierLinked {
        source: pb::LinkSource::Login as i32,
        from: Some(crate::cli::record::timestamp(place.clock.now().plus_ms(-DAY))),
        ..Default::default()
    }));
    let linked = send(&running, link).await;
    let subject = find(&running, 1).await.unwrap();
    let events = report(&running, subject, linked.position).await.unwrap().event_count;
    running.app().destroy_key(Class::Lookup, 1, true, |_, _| {}).await.unwrap();
    let after = report(&running, subject, linked.position).await.unwrap().event_count;
    assert!(events >= 3, "collected and twice used: {events}");
    assert_eq!(events, after, "what has found its person keeps it");
    running.app().rebuild_views(|_, _| {}).await.unwrap();
    assert_eq!(report(&running, subject, linked.position).await.unwrap().event_count, events);
    running.stop().await.unwrap();
}

/// The last message of a preview or an end over the API.
async fn preview(
    client: &crate::cli::client::Client,
    class: pb::KeyringClass,
    id: u32,
) -> pb::KeyConsequences {
    use pb::preview_destroy_key_response::Message;
    let request = pb::PreviewDestroyKeyRequest { class: class as i32, id };
    let mut news = client.keys().preview_destroy_key(request).await.unwrap().into_inner();
    loop {
        let message = news.message().await.unwrap().expect("a last message");
        if let Some(Message::Consequences(consequences)) = message.message {
            return consequences;
        }
    }
}

async fn destroy(
    client: &crate::cli::client::Client,
    class: pb::KeyringClass,
    id: u32,
    confirmed: bool,
) -> Result<(), tonic::Status> {
    let request = pb::DestroyKeyRequest { class: class as i32, id, confirmed };
    let mut news = client.keys().destroy_key(request).await?.into_inner();
    while news.message().await?.is_some() {}
    Ok(())
}

fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt;
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_key_is_told_before_and_done_only_when_confirmed() {
    use pb::KeyringClass as Wire;
    let place = Place::new();
    let mut config = place.config();
    config.keys.kek_days = 0;
    let running = Server::start(config.clone(), Arc::new(place.clock.clone())).await.unwrap();
    record(&running, &place, [1, 2], 0x10).await;
    let client_of = client(&running).await;
    let refused = client_of.keys().add_key(pb::AddKeyRequest { class: 0 }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let index = client_of.keys().add_key(pb::AddKeyRequest { class: Wire::Index as i32 }).await.unwrap_err();
    assert!(reason(&index) == "KEY_REFUSED" && index.message().contains("per quarter"), "{index:?}");
    assert!(preview(&client_of, Wire::Kek, 1).await.refused.contains("is the active one"));

    client_of.keys().add_key(pb::AddKeyRequest { class: Wire::Kek as i32 }).await.unwrap();
    let activate = pb::ActivateKeyRequest { class: Wire::Kek as i32, id: 2 };
    let key = client_of.keys().activate_key(activate).await.unwrap().into_inner().key.unwrap();
    assert!(key.active && key.name == "kek-2");
    let said = preview(&client_of, Wire::Kek, 1).await;
    assert!(said.refused.contains("holders are locked with kek-1") && said.lost.is_empty(), "{said:?}");
    let denied = destroy(&client_of, Wire::Kek, 1, true).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied)), (tonic::Code::FailedPrecondition, "KEY_REFUSED".to_owned()));
    let mut news = client_of.keys().rewrap_keys(pb::RewrapKeysRequest {}).await.unwrap().into_inner();
    let mut finished = false;
    while let Some(message) = news.message().await.unwrap() {
        finished = message.finished;
    }
    assert!(finished);
    let said = preview(&client_of, Wire::Kek, 1).await;
    assert!(said.refused.is_empty() && said.lost[0].contains("every backup of the vault"), "{said:?}");
    let denied = destroy(&client_of, Wire::Kek, 1, false).await.unwrap_err();
    assert_eq!(reason(&denied), "CONFIRMATION_REQUIRED");
    destroy(&client_of, Wire::Kek, 1, true).await.unwrap();
    let gone = destroy(&client_of, Wire::Kek, 1, true).await.unwrap_err();
    assert!(gone.message().contains("was destroyed at"), "{}", gone.message());

    let listed = client_of.keys().list_keys(pb::ListKeysRequest {}).await.unwrap().into_inner();
    assert!(listed.writable);
    let of = |name: &str| listed.keys.iter().find(|key| key.name == name).unwrap();
    assert_eq!(of("kek-2").needed_by, Some(2 + 2), "two people, the controller, custody itself");
    assert!(of("kek-1").destroyed.is_some() && of("kek-1").created.is_none());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_key_goes_when_the_last_block_of_its_quarter_is_purged() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, [1], 0x10).await;
    let (first, app) = (20_261, Arc::clone(running.app()));
    let said = app.preview_destroy_key(Class::Index, first, |_, _| {}).await.unwrap();
    assert!(said.refused.unwrap().contains("2026Q1 are being written"));
    place.clock.advance_ms(92 * DAY);
    running.node.tend(place.clock.now()).await.unwrap();
    tend(&running).await;
    assert!(changes(&running).await.contains(&"KeyRotated 2026Q2".to_owned()));
    let said = app.preview_destroy_key(Class::Index, first, |_, _| {}).await.unwrap();
    let why = said.refused.unwrap();
    assert!(why.contains("records of 2026Q1 still say"), "{why}");
    assert!(app.destroy_key(Class::Index, first, true, |_, _| {}).await.is_err());

    // All blocks of that quarter, as if everybody of it had been erased.
    let mut blocks = Vec::new();
    for record in app.log.read(0, 1_000, 1 << 20).await.unwrap() {
        let header = crate::record::Header::parse(&record.header).unwrap();
        for part in 0..header.parts.len() {
            let piece = header.index_piece(part);
            let bytes = record.pieces[piece].as_ref().unwrap();
            if crate::record::Header::index_epoch(bytes).unwrap() == first {
                blocks.push(PieceRef { position: record.position, piece: piece as u16 });
            }
        }
    }
    app.log.purge(&blocks).await.unwrap();
    let mut told = Vec::new();
    let done = app.destroy_key(Class::Index, first, true, move |done, total| told.push((done, total)));
    assert!(done.await.unwrap().lost[0].contains("2026Q1"));
    assert_eq!(ids(&running, Class::Index), [20_262]);
    drop(app);
    running.stop().await.unwrap();
    let running = place.start().await.unwrap();
    assert!(changes(&running).await.contains(&"KeyDestroyed 2026Q1".to_owned()));
    assert_eq!(ids(&running, Class::Index), [20_262], "and it is not made again");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_locked_with_a_replaced_key_is_left_in_any_file() {
    let place = Place::new();
    let running = place.start().await.unwrap();
    record(&running, &place, 1..=30, 0x10).await;
    running.stop().await.unwrap();
    let vault = place.root.path().join("data/vault");
    let wrapped: Vec<_> = wrapped_in(&vault.join(sqlite::FILE)).iter().map(|key| key.to_vec()).collect();
    assert!(wrapped.len() > 90 && !holding(&vault, &wrapped).is_empty(), "the search finds what is there");
    let running = place.start().await.unwrap();
    place.clock.advance_ms(8 * DAY);
    tend(&running).await;
    assert_eq!(holding(&vault, &wrapped), Vec::<String>::new());
    running.stop().await.unwrap();
}

//! Whose an event is: links, marks, merges, retractions, roles.

use super::*;
use crate::domain::identity::Kind;
use crate::record::MarkUse;

fn plain(n: u64, at: i64, who: Named) -> Made {
    made(n, day(at), collected(&["email"], &[], None), vec![who])
}

fn counted(views: &Views, n: u32) -> u64 {
    report(views, n).map_or(0, |report| report.data.iter().map(|datum| datum.collected.count).sum())
}

fn linked(n: u64, who: u32, device: u32, from: i64, to: Option<i64>) -> Made {
    let body = IdentifierLinked {
        source: Some(LinkSource::Login),
        from: Some(day(from)),
        to: to.map(day),
        ..IdentifierLinked::default()
    };
    made(n, day(from), Body::IdentifierLinked(Box::new(body)), vec![subject(who), subject(device)])
}

#[test]
fn a_device_counts_as_its_user_within_the_session() {
    let house = House::new();
    for (n, at) in [1, 5, 10, 15, 20].into_iter().enumerate() {
        house.record(&plain(n as u64, at, subject(10)));
    }
    house.record(&linked(5, 1, 10, 4, None));
    house.record(&plain(6, 6, subject(1)));
    house.record(&plain(7, 6, subject(2)));
    let views = house.open();
    assert_eq!((counted(&views, 1), counted(&views, 10)), (5, 5));
    assert_eq!(report(&views, 1).unwrap().linked, [person(10)]);
    // The next person's link ends the first.
    house.record(&linked(8, 2, 10, 12, Some(18)));
    caught_up(&views, 9);
    assert_eq!((counted(&views, 1), counted(&views, 2)), (3, 2));
    let unlinked = IdentifierUnlinked {
        source: Some(LinkSource::Login),
        to: Some(day(8)),
        ..IdentifierUnlinked::default()
    };
    let body = Body::IdentifierUnlinked(Box::new(unlinked));
    house.record(&made(9, day(30), body, vec![subject(1), subject(10)]));
    caught_up(&views, 10);
    assert_eq!(counted(&views, 1), 2);
    let evidence: Vec<u64> =
        report(&views, 1).unwrap().evidence.iter().map(|view| view.position).filter(|p| *p < 5).collect();
    assert_eq!(evidence, [1]);
}

#[test]
fn a_phone_that_changes_hands_counts_for_who_had_it() {
    let house = House::new();
    let phone = |who: u32| Named { marks: vec![(Kind::Phone, mark(1), MarkUse::Bind)], ..subject(who) };
    let registered = || Body::AccountRegistered(Box::default());
    for (n, at) in [1, 5, 10, 15].into_iter().enumerate() {
        house.record(&plain(n as u64, at, nobody(&[(Kind::Phone, 1)])));
    }
    let views = house.open();
    assert!(report(&views, 1).is_none());
    house.record(&made(4, day(3), registered(), vec![phone(1)]));
    caught_up(&views, 5);
    assert_eq!(counted(&views, 1), 3);
    house.record(&made(5, day(12), registered(), vec![phone(2)]));
    caught_up(&views, 6);
    assert_eq!((counted(&views, 1), counted(&views, 2)), (2, 1));
    // Between the closing of the account and the new owner the number is nobody's.
    let cancelled = Body::AccountCancelled(Box::default());
    house.record(&made(6, day(7), cancelled, vec![subject(1)]));
    caught_up(&views, 7);
    assert_eq!((counted(&views, 1), counted(&views, 2)), (1, 1));
    let known = ReportOptions { known_at: Some(5), ..ReportOptions::default() };
    let then = views.report(person(1), known).unwrap().unwrap();
    assert_eq!(then.data[0].collected.count, 3);
}

#[test]
fn a_merge_adds_and_a_split_undoes_it() {
    let house = House::new();
    house.record(&plain(0, 1, subject(1)));
    house.record(&plain(1, 2, subject(2)));
    // Names both: counts once.
    house.record(&made(2, day(3), collected(&["email"], &[], None), vec![subject(1), subject(2)]));
    let reason = Some(id("same_person"));
    let merged = Body::SubjectsMerged(Box::new(SubjectsMerged { reason: reason.clone() }));
    house.record(&made(3, day(4), merged, vec![subject(1), subject(2)]));
    let views = house.open();
    assert_eq!((counted(&views, 1), counted(&views, 2)), (3, 3));
    assert_eq!(report(&views, 2).unwrap().subject, person(1));
    let split = Body::SubjectsSplit(Box::new(SubjectsSplit { reason }));
    house.record(&made(4, day(5), split, vec![subject(1), subject(2)]));
    caught_up(&views, 5);
    assert_eq!((counted(&views, 1), counted(&views, 2)), (2, 2));
    assert_eq!(report(&views, 2).unwrap().subject, person(2));
    let known = ReportOptions { known_at: Some(4), ..ReportOptions::default() };
    assert_eq!(views.report(person(2), known).unwrap().unwrap().subject, person(1));
}

#[test]
fn what_was_taken_back_is_shown_and_not_counted() {
    let house = House::new();
    let taking = |n: u64, of: u64| {
        let body = EventsRetracted {
            emitter: Some(id("solar-app")),
            reason: Some(RetractionReason::TestData),
            event_ids: List::new(vec![event_id(of)]).unwrap(),
            ..EventsRetracted::default()
        };
        made(n, day(9), Body::EventsRetracted(Box::new(body)), vec![subject(1)])
    };
    house.record(&plain(0, 1, subject(1)));
    house.record(&plain(1, 2, subject(1)));
    house.record(&taking(2, 0));
    // Before the original.
    house.record(&taking(3, 4));
    house.record(&plain(4, 3, subject(1)));
    let views = house.open();
    let now = report(&views, 1).unwrap();
    assert_eq!((now.data[0].collected.count, now.events, now.retracted), (1, 5, 2));
    let marked: Vec<_> = now.evidence.iter().map(|view| (view.position, view.retracted_by)).collect();
    assert_eq!(marked, [(4, Some(3)), (3, None), (2, None), (1, None), (0, Some(2))]);
    let known = ReportOptions { known_at: Some(2), ..ReportOptions::default() };
    assert_eq!(views.report(person(1), known).unwrap().unwrap().data[0].collected.count, 2);
    let before = ReportOptions { as_of: Some(day(1)), ..ReportOptions::default() };
    assert!(views.report(person(1), before).unwrap().unwrap().data.is_empty());
}

#[test]
fn staff_and_readers_hold_nothing() {
    let house = House::new();
    house.record(&made(
        0,
        day(1),
        collected(&["email"], &[], None),
        vec![subject(1), in_role(2, Role::Staff), in_role(3, Role::Guardian)],
    ));
    let body = RecordsRead { rpc: Some(id("GetSubjectReport")), ..RecordsRead::default() };
    let read = Body::RecordsRead(Box::new(body));
    house.record(&made(1, day(2), read, vec![subject(1), in_role(2, Role::Staff)]));
    let views = house.open();
    assert_eq!(report(&views, 1).unwrap().evidence.len(), 1);
    let staff = report(&views, 2).unwrap();
    assert_eq!((staff.data.len(), staff.events, staff.evidence.len()), (0, 0, 2));
    assert_eq!(staff.evidence[0].role(), Some(Role::Staff));
    assert_eq!(report(&views, 3).unwrap().evidence[0].role(), Some(Role::Guardian));
}

#[test]
fn long_posting_lists_page_and_fold_again() {
    let house = House::new();
    for n in 0..100 {
        house.record(&plain(n, n as i64, subject(1 + (n % 4 == 3) as u32)));
    }
    let body = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: List::new(vec![event_id(0)]).unwrap(),
        ..EventsRetracted::default()
    };
    house.record(&made(100, day(100), Body::EventsRetracted(Box::new(body)), vec![subject(1)]));
    let views = house.open();
    assert_eq!(counted(&views, 1), 74);
    let ask = views.ask().unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = ask.subject_events(person(1), before, None, 7).unwrap();
        seen.extend(page.iter().map(|view| view.position));
        before = page.last().map(|view| view.position);
        if page.len() < 7 {
            break;
        }
    }
    let mut expected: Vec<u64> = (0..=100).rev().filter(|n| n % 4 != 3).collect();
    assert_eq!(seen, expected);
    expected.reverse();
    // From every position on, in pages of every size, so that a page begins inside each block.
    for from in 0..=101 {
        let rest: Vec<u64> = expected.iter().copied().filter(|position| *position >= from).collect();
        for size in [1, 7, 60, 200] {
            let page = ask.subject_events_from(person(1), from, None, size).unwrap();
            let found: Vec<u64> = page.iter().map(|view| view.position).collect();
            assert_eq!(found, rest[..size.min(rest.len())], "from {from}, {size} at once");
        }
    }
    let known = ask.subject_events_from(person(1), 0, Some(50), 200).unwrap();
    assert!(
        known.iter().map(|view| view.position).eq(expected.into_iter().filter(|position| *position < 50))
    );
}

#[test]
fn what_an_erased_person_took_back_counts_again() {
    let house = House::new();
    let body = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: List::new(vec![event_id(1)]).unwrap(),
        ..EventsRetracted::default()
    };
    house.record(&made(0, day(1), Body::EventsRetracted(Box::new(body)), vec![subject(2)]));
    let phone = Named { marks: vec![(Kind::Phone, mark(1), MarkUse::Bind)], ..subject(1) };
    house.record(&made(1, day(1), collected(&["email"], &[], None), vec![phone]));
    house.record(&plain(2, 5, nobody(&[(Kind::Phone, 1)])));
    let views = house.open();
    assert_eq!(counted(&views, 1), 0);
    let tomb = Some(crate::record::tomb(person(2)));
    let body = IdentityErasureAccepted { tomb, ..IdentityErasureAccepted::default() };
    house.record(&made(3, day(9), Body::IdentityErasureAccepted(Box::new(body)), vec![subject(2)]));
    caught_up(&views, 4);
    // The event, and the one that is known by the phone it bound.
    assert_eq!(counted(&views, 1), 2);
    assert_eq!(views.compare(|_| true).unwrap().different, 0);
}

//! What must hold for any log: rebuilt = incremental, and the order of events does not matter.

use proptest::prelude::*;

use super::*;
use crate::domain::identity::Kind;
use crate::record::MarkUse;

/// A made-up act: what, two people, a day. Small numbers, so that acts meet.
type Act = (u8, u8, u8, u8);

fn acts(kinds: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec((kinds, 0u8..5, 0u8..5, 1u8..60), 1..60)
}

/// Kinds from here on erase; below, the order of events does not matter.
const ERASURES: u8 = 18;
/// Keeps what proves something.
const KEEPING: u8 = 19;
/// Ends what was kept.
const EVIDENCE_ENDS: u8 = 20;
const ALL: u8 = 21;

/// Whom an act erases.
fn who((_, a, b, _): Act) -> u32 {
    if b == 0 { 10 + u32::from(a) } else { a.into() }
}

fn boxed<T>(body: T) -> Box<T> {
    Box::new(body)
}

/// Person 0 to 4 are people; 10 to 14 devices.
fn event(n: usize, (kind, a, b, at): Act) -> Made {
    let (a, b, at) = (u32::from(a), u32::from(b), day(i64::from(at)));
    let n = n as u64;
    let bind =
        |who: u32, kind: Kind, m: u32| Named { marks: vec![(kind, mark(m), MarkUse::Bind)], ..subject(who) };
    let mut made = match kind {
        0 => made(n, at, collected(&["email", "name"], &["contract"], None), vec![subject(a), subject(b)]),
        1 => made(n, at, collected(&["location"], &[], Some("2026-01-05")), vec![subject(a)]),
        2 => made(n, at, collected(&[], &[], None), vec![subject(10 + b)]),
        3 => made(
            n,
            at,
            Body::DataShared(boxed(DataShared {
                recipient_id: Some(id("wechat")),
                cats: List::new(vec![id("email")]).unwrap(),
                ..DataShared::default()
            })),
            vec![subject(a), in_role(b, Role::Staff)],
        ),
        4 | 5 => {
            let (purpose, kind) = (Some(id("ads")), Some(ConsentKind::Expressed));
            let body = if kind_is_given(b) {
                Body::ConsentGiven(boxed(ConsentGiven { purpose, kind, ..ConsentGiven::default() }))
            } else {
                Body::ConsentWithdrawn(boxed(ConsentWithdrawn {
                    purpose,
                    kind,
                    ..ConsentWithdrawn::default()
                }))
            };
            made(n, at, body, vec![subject(a)])
        }
        6 => made(
            n,
            at,
            Body::AccountRegistered(boxed(AccountRegistered::default())),
            vec![bind(a, Kind::Phone, b)],
        ),
        7 => made(n, at, Body::AccountCancelled(boxed(AccountCancelled::default())), vec![subject(a)]),
        8 => {
            made(n, at, collected(&["phone"], &[], None), vec![nobody(&[(Kind::Phone, b), (Kind::Email, a)])])
        }
        9 => made(
            n,
            at,
            Body::IdentifierLinked(boxed(IdentifierLinked {
                source: Some(LinkSource::Login),
                from: Some(at),
                to: (a % 2 == 0).then(|| at.plus_ms(86_400_000 * 9)),
                ..IdentifierLinked::default()
            })),
            vec![subject(a), subject(10 + b)],
        ),
        10 => made(
            n,
            at,
            Body::SubjectsMerged(boxed(SubjectsMerged { reason: Some(id("same")) })),
            vec![subject(a), subject(b)],
        ),
        11 => made(
            n,
            at,
            Body::SubjectsSplit(boxed(SubjectsSplit { reason: Some(id("not")) })),
            vec![subject(a), subject(b)],
        ),
        12 | 13 => retraction(n, at, (n + u64::from(a) * 7 + u64::from(b)) % 60, a),
        14 => made(
            n,
            at,
            Body::ActivityRegistered(boxed(ActivityRegistered {
                activity: Some(id("signup")),
                service: Some(id("solar")),
                purposes: List::new(vec![PurposeBasis {
                    id: id(&format!("p{n}")),
                    basis: LegalBasis::Consent,
                }])
                .unwrap(),
                effective_at: Some(at.plus_ms(n as i64)),
                ..ActivityRegistered::default()
            })),
            Vec::new(),
        ),
        15 => made(n, at, recipient(a, b), Vec::new()),
        16 => made(n, at, rule(n, a, b), Vec::new()),
        17 => made(n, at, hold_or_breach(a, b), Vec::new()),
        EVIDENCE_ENDS => {
            let tomb = Some(crate::record::tomb(person(who((kind, a as u8, b as u8, 0)))));
            let body = KeyDestroyed { class: Some(KeyClass::Evidence), tomb, ..KeyDestroyed::default() };
            made(n, at, Body::KeyDestroyed(boxed(body)), Vec::new())
        }
        _ => {
            let who = who((kind, a as u8, b as u8, 0));
            let tomb = Some(crate::record::tomb(person(who)));
            let scope = match kind {
                KEEPING => IdentityErasureScope::Identity,
                _ => IdentityErasureScope::IdentityAndEvidence,
            };
            let body =
                IdentityErasureAccepted { tomb, scope: Some(scope), ..IdentityErasureAccepted::default() };
            made(n, at, Body::IdentityErasureAccepted(boxed(body)), vec![subject(who)])
        }
    };
    // No two acts at one instant: which of two registrations of one instant counts is decided by
    // the log.
    made.event.envelope.occurred_at = made.event.envelope.occurred_at.plus_ms(n as i64);
    made.event.envelope.emitter_seq = Some(n + 1);
    // Some come late, and some are entered afterwards: both is kept.
    let late = 3_600_000 * (n as i64 % 3);
    let recorded_at = made.event.envelope.occurred_at.plus_ms(late);
    made.recorded_at = matches!(kind, 4 | 5).then_some(recorded_at);
    made.event.envelope.backfill = kind == 0 && n.is_multiple_of(2);
    if matches!(kind, 1 | 2) {
        made.event.envelope.activity = Some(id("signup"));
    }
    made
}

/// A recipient is registered, anew, or ended.
fn recipient(a: u32, b: u32) -> Body {
    let recipient_id = Some(id(&format!("r{a}")));
    match b {
        0 => Body::RecipientEnded(boxed(RecipientEnded { recipient_id, reason: None })),
        _ => Body::RecipientRegistered(boxed(RecipientRegistered {
            recipient_id,
            cats: List::new(vec![id(&format!("c{b}"))]).unwrap(),
            ..RecipientRegistered::default()
        })),
    }
}

/// A rule that may take over from an earlier one, or the annulment of one that may not be there.
fn rule(n: u64, a: u32, b: u32) -> Body {
    let other = id(&format!("rule{}", (n + u64::from(a) * 7 + u64::from(b)) % 60));
    if b == 0 {
        let body = RetentionRuleAnnulled { rule: Some(other), version: None, reason: Some(id("wrong")) };
        return Body::RetentionRuleAnnulled(boxed(body));
    }
    let rule = RetentionRule {
        id: id(&format!("rule{n}")),
        kind: RuleKind::Cap,
        matches: None,
        anchor: Anchor::Collected,
        causes: List::default(),
        period: format!("P{b}Y").parse().unwrap(),
        year_end: false,
        tz: chrono_tz::UTC,
        on_expiry: None,
        law_of: None,
        legal: None,
        from: (a > 0).then(|| day(i64::from(a * 9)).local_date(chrono_tz::UTC)),
        to: (b > 3).then(|| day(i64::from(a * 9 + 30)).local_date(chrono_tz::UTC)),
        replaces: (a > 2).then_some(other),
    };
    Body::RetentionRulePublished(boxed(RetentionRulePublished { rule: Some(rule), reason: None }))
}

fn hold_or_breach(a: u32, b: u32) -> Body {
    let (hold_id, breach_id) = (Some(id(&format!("h{a}"))), Some(id(&format!("b{a}"))));
    match b {
        0 => Body::LegalHoldReleased(boxed(LegalHoldReleased { hold_id, ..Default::default() })),
        1 => Body::LegalHoldPlaced(boxed(LegalHoldPlaced { hold_id, ..Default::default() })),
        2 => Body::BreachDetected(boxed(BreachDetected { breach_id, ..Default::default() })),
        3 => Body::BreachAssessed(boxed(BreachAssessed { breach_id, ..Default::default() })),
        _ => Body::BreachClosed(boxed(BreachClosed { breach_id, ..Default::default() })),
    }
}

/// How all entries of all registers stand at several instants, but for positions.
fn registered(views: &Views) -> Vec<String> {
    let ask = views.ask().unwrap();
    let mut told = Vec::new();
    for as_of in [day(5), day(20), day(40), Timestamp::LAST] {
        for kind in RegisterKind::ALL {
            for entry in ask.entries(*kind, as_of, None) {
                let version = entry.version.version.envelope.event_id;
                let stopped = entry.stopped_by.map(|by| by.version.envelope.event_id);
                let to = entry.version.to;
                told.push(format!("{kind} {} {:?} {version:?} {stopped:?} {to:?}", entry.id, entry.state));
            }
        }
    }
    told
}

fn kind_is_given(b: u32) -> bool {
    b.is_multiple_of(2)
}

fn retraction(n: u64, at: Timestamp, of: u64, who: u32) -> Made {
    let body = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: List::new(vec![event_id(of)]).unwrap(),
        ..EventsRetracted::default()
    };
    let named = if who == 4 { Vec::new() } else { vec![subject(who)] };
    made(n, at, Body::EventsRetracted(boxed(body)), named)
}

fn rows(views: &Views) -> Vec<(Vec<u8>, Vec<u8>)> {
    let reading = views.live().store.reading();
    reading.prefix(&[]).map(|row| row.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
}

/// Everything that a report says, but for positions and what depends on them.
fn said(views: &Views, n: u32) -> String {
    let Some(mut report) = super::report(views, n) else { return "nothing".to_owned() };
    let mut evidence: Vec<_> =
        report.evidence.iter().map(|view| (view.envelope.event_id, view.retracted_by.is_some())).collect();
    evidence.sort();
    for consent in &mut report.consents {
        consent.history.iter_mut().for_each(|step| step.position = 0);
    }
    let line = |line: &report::Line| (line.at(), line.body.clone(), line.tally);
    let mut others: Vec<_> = report.other_acts.iter().map(line).collect();
    others.sort_by_key(|(at, ..)| *at);
    let unnumbered = |origin: &report::Origin| matches!(origin, report::Origin::Register { .. });
    let purposes: Vec<_> = report
        .purposes
        .iter()
        .map(|p| (p.purpose.clone(), p.basis, unnumbered(&p.origin), p.collected, p.services.clone()))
        .collect();
    let data: Vec<_> = report
        .data
        .iter()
        .map(|d| (d.key.clone(), d.collected, d.sources.clone(), d.activities.clone(), d.purposes.len()))
        .collect();
    let recipients: Vec<_> = report.recipients.iter().map(|r| (r.recipient_id.clone(), r.shared)).collect();
    format!(
        "{:?}\n{:?}\n{:?}\n{data:?}\n{purposes:?}\n{:?}\n{recipients:?}\n{:?}\n{:?}\n{others:?}\n{evidence:?}\n{:?}",
        report.subject,
        report.merged,
        report.linked,
        report.sources,
        report.consents,
        report.accounts,
        (report.events, report.retracted)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever the chunks, and whatever was purged after an erasure.
    #[test]
    fn rebuilt_is_incremental(acts in acts(0..ALL), chunk in 1usize..20, pause in 1usize..9) {
        let house = House::new();
        let views = house.open_with(Options { chunk_records: chunk, decoders: 1, ..house.options() });
        for (n, act) in acts.iter().enumerate() {
            let made = event(n, *act);
            let mut purge = Vec::new();
            if act.0 >= ERASURES {
                caught_up(&views, house.log.head());
                let (ask, who) = (views.ask().unwrap(), person(who(*act)));
                purge = match act.0 {
                    EVIDENCE_ENDS => ask.evidence_pieces(who).unwrap(),
                    kind => ask.pieces_of(who, 0, kind == KEEPING).unwrap(),
                };
            }
            let position = house.record(&made);
            if n % pause == 0 || !purge.is_empty() {
                caught_up(&views, house.log.head());
            }
            if act.0 >= ERASURES {
                caught_up(&views, house.log.head());
                if act.0 == ERASURES {
                    purge.extend(pieces_of(&stored(&house, position), person(who(*act))));
                }
                purge_now(&house, &purge);
            }
        }
        caught_up(&views, house.log.head());
        let compared = views.compare(|_| true).unwrap();
        prop_assert_eq!(&compared.samples, &Vec::<String>::new());
        prop_assert_eq!(compared.different, 0);
        let (before, all) = (rows(&views), (0..15).map(|n| said(&views, n)).collect::<Vec<_>>());
        let book = views.book(Clone::clone);
        views.rebuild(|_| true).unwrap();
        prop_assert_eq!(rows(&views), before);
        prop_assert_eq!(views.book(Clone::clone), book);
        prop_assert_eq!((0..15).map(|n| said(&views, n)).collect::<Vec<_>>(), all);
    }

    /// The order in which events arrive does not matter, but for erasures, where position decides.
    #[test]
    fn order_does_not_matter(
        (acts, order) in acts(0..ERASURES).prop_flat_map(|acts| {
            let order: Vec<usize> = (0..acts.len()).collect();
            (Just(acts), Just(order).prop_shuffle())
        })
    ) {
        let straight = House::new();
        let shuffled = House::new();
        for n in 0..acts.len() {
            straight.record(&event(n, acts[n]));
            shuffled.record(&event(order[n], acts[order[n]]));
        }
        let (a, b) = (straight.open(), shuffled.open());
        for n in 0..15 {
            prop_assert_eq!(said(&a, n), said(&b, n));
        }
        prop_assert_eq!(registered(&a), registered(&b));
        prop_assert_eq!(
            a.emitter_gaps().unwrap().into_iter().map(|(id, gaps)| (id, gaps.highest)).collect::<Vec<_>>(),
            b.emitter_gaps().unwrap().into_iter().map(|(id, gaps)| (id, gaps.highest)).collect::<Vec<_>>()
        );
    }

    /// Asking for the end of time, or for all positions, folds again and must give what is stored.
    #[test]
    fn folded_again_is_stored(acts in acts(0..ALL)) {
        let house = House::new();
        for (n, act) in acts.iter().enumerate() {
            house.record(&event(n, *act));
        }
        let views = house.open();
        for n in 0..15 {
            let stored = super::report(&views, n);
            let options = ReportOptions { as_of: Some(Timestamp::LAST), ..ReportOptions::default() };
            let again = views.report(person(n), options).unwrap();
            prop_assert_eq!(stored.is_some(), again.is_some());
            if let (Some(stored), Some(again)) = (stored, again) {
                prop_assert_eq!(&stored.data, &again.data);
                prop_assert_eq!(&stored.purposes, &again.purposes);
                prop_assert_eq!(&stored.recipients, &again.recipients);
                prop_assert_eq!((stored.events, stored.retracted), (again.events, again.retracted));
            }
        }
    }

    /// Zone maps pass nothing over that matches.
    #[test]
    fn a_filter_finds_what_brute_force_finds(acts in acts(0..ALL), from in 0i64..60, days in 1i64..60, oldest_first: bool) {
        let house = House::new();
        for (n, act) in acts.iter().enumerate() {
            house.record(&event(n, *act));
        }
        let views = house.open();
        let filter = Filter {
            types: vec![EventType::DataShared, EventType::ConsentGiven, EventType::DataCollected],
            recipients: if days % 2 == 0 { vec![id("wechat")] } else { Vec::new() },
            purposes: if days % 3 == 0 { vec![id("ads"), id("contract")] } else { Vec::new() },
            occurred_from: Some(day(from)),
            occurred_to: Some(day(from + days)),
            oldest_first,
            ..Filter::default()
        };
        let ask = views.ask().unwrap();
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = ask.list(&filter, cursor, 3).unwrap();
            found.extend(page.events.iter().map(|view| view.position));
            cursor = page.next;
            if cursor.is_none() { break }
        }
        let mut expected: Vec<u64> = (0..acts.len() as u64)
            .filter(|position| filter.matches(&ask.event(*position).unwrap()))
            .collect();
        if !oldest_first {
            expected.reverse();
        }
        prop_assert_eq!(found, expected);
    }
}

fn stored(house: &House, position: u64) -> crate::log::StoredRecord {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(house.log.get(&[position])).unwrap().remove(0)
}

fn purge_now(house: &House, pieces: &[crate::log::PieceRef]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(house.log.purge(pieces)).unwrap();
}

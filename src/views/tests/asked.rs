//! Questions: whether data may be used, who is affected, which terms wait. Each in any order of events, after a
//! rebuild, with merges, links, retractions and erasures among them.

use std::collections::BTreeSet;

use super::judged::{recipient, transfer, transferred};
use super::scene::*;
use super::*;
use crate::domain::identity::Kind;
use crate::record::MarkUse;
use crate::views::population::{ErasedPeople, Selector, Standing};
use crate::views::use_check::UseQuestion;

fn now() -> Timestamp {
    day(300)
}

fn activity(purposes: &[(&str, LegalBasis)], recipients: &[&str]) -> ActivityRegistered {
    ActivityRegistered {
        activity: Some(id("signup")),
        service: Some(id("solar")),
        purposes: list(
            purposes.iter().map(|(purpose, basis)| PurposeBasis { id: id(purpose), basis: *basis }),
        ),
        cats: ids(&["pd:EmailAddress"]),
        record_kind: Some(id("profile")),
        recipients: ids(recipients),
        effective_at: Some(day(0)),
        ..ActivityRegistered::default()
    }
}

fn activity_registered(body: ActivityRegistered) -> Body {
    Body::ActivityRegistered(Box::new(body))
}

fn by_activity(scene: &mut Scene, at: Timestamp, who: u32) {
    let made = scene.say(at, Body::DataCollected(Box::default()), vec![subject(who)]);
    made.event.envelope.activity = Some(id("signup"));
}

fn consent(given: bool, purpose: &str) -> Body {
    let (purpose, kind) = (Some(id(purpose)), Some(ConsentKind::Expressed));
    match given {
        true => Body::ConsentGiven(Box::new(ConsentGiven { purpose, kind, ..ConsentGiven::default() })),
        false => Body::ConsentWithdrawn(Box::new(ConsentWithdrawn { purpose, kind, ..Default::default() })),
    }
}

/// Why not, at an instant; nothing if it is allowed.
fn why(views: &Views, who: Option<u32>, at: Timestamp) -> Vec<&'static str> {
    let question =
        UseQuestion { subject: who.map(person), activity: id("signup"), at, as_of: None, known_at: None };
    let answer = views.ask().unwrap().check_use(&question).unwrap();
    let mut codes: Vec<_> = answer.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
    codes.dedup();
    codes
}

/// A life: collected on consent and contract, objected to nothing, withdrawn, taken back.
fn life() -> Scene {
    let mut scene = Scene::default();
    let body = activity(&[("direct_marketing", LegalBasis::Consent), ("support", LegalBasis::Contract)], &[]);
    scene.say(day(1), activity_registered(body), Vec::new());
    scene.say(day(2), consent(true, "direct_marketing"), vec![subject(1)]);
    scene.say(day(2), consent(true, "direct_marketing"), vec![subject(2)]);
    for who in 1..5 {
        by_activity(&mut scene, day(3), who);
    }
    scene.say(day(4), consent(false, "direct_marketing"), vec![subject(1)]);
    scene.say(day(5), Body::AccountCancelled(Box::default()), vec![subject(2)]);
    let restricted = RestrictionApplied { category: Some(id("pd:EmailAddress")), ..Default::default() };
    scene.say(day(6), Body::RestrictionApplied(Box::new(restricted)), vec![subject(4)]);
    scene.say(day(6), consent(true, "direct_marketing"), vec![subject(4)]);
    scene
}

fn said(views: &Views) -> Vec<Vec<&'static str>> {
    (1..6).map(|who| why(views, Some(who), day(30))).chain([why(views, None, day(30))]).collect()
}

#[test]
fn a_use_is_checked_against_everything_that_happened() {
    let scene = life();
    let (_house, views) = scene.views();
    let first = said(&views);
    assert_eq!(
        first,
        [
            vec!["consent_withdrawn"],
            vec!["account_ended"],
            vec!["consent_missing"],
            vec!["consent_missing", "restricted"],
            vec!["consent_missing"],
            vec!["consent_missing"],
        ]
    );
    views.rebuild(|_| true).unwrap();
    assert_eq!(said(&views), first);
    let mut seed = 5;
    for _ in 0..4 {
        assert_eq!(said(&scene.shuffled(&mut seed).views().1), first);
    }
    let before = UseQuestion {
        subject: Some(person(1)),
        activity: id("signup"),
        at: day(3),
        as_of: Some(day(3)),
        known_at: None,
    };
    let ask = views.ask().unwrap();
    assert!(ask.check_use(&before).unwrap().verdict.allowed, "as it was then");
    let known = UseQuestion { known_at: Some(2), ..before.clone() };
    let known = ask.check_use(&known).unwrap();
    assert!(known.verdict.allowed && known.known && !known.verdict.data[0].held, "as known then");
    let unknown = UseQuestion { activity: id("nothing"), ..before };
    assert_eq!(ask.check_use(&unknown).unwrap().verdict.reasons[0].code.as_str(), "activity_unknown");
}

#[test]
fn what_is_taken_back_counts_no_more() {
    let mut scene = life();
    let back = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::WrongSubject),
        event_ids: list([event_id(7)]),
        ..EventsRetracted::default()
    };
    scene.say(day(7), Body::EventsRetracted(Box::new(back)), vec![subject(1)]);
    let (_house, views) = scene.views();
    assert!(why(&views, Some(1), day(30)).is_empty(), "the withdrawal was somebody else's");
    views.rebuild(|_| true).unwrap();
    assert!(why(&views, Some(1), day(30)).is_empty());
}

#[test]
fn an_activity_that_ended_or_sends_abroad_is_told() {
    let mut scene = Scene::default();
    let service = ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id("kstar")),
        storage_country: country("DE"),
        ..ServiceRegistered::default()
    };
    scene.say(day(0), Body::ServiceRegistered(Box::new(service)), Vec::new());
    let body = recipient(&[], &[], None, None);
    scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
    scene.say(
        day(0),
        activity_registered(activity(&[("support", LegalBasis::Contract)], &["pay"])),
        Vec::new(),
    );
    assert_eq!(why(&scene.views().1, Some(1), day(9)), ["transfer_not_allowed"]);
    let clauses = TransferMechanismRegistered {
        importer: Some(id("pay")),
        ..super::judged::clauses(&[], "2026-01-05", None)
    };
    scene.say(day(1), super::judged::registered(clauses), Vec::new());
    let (_house, views) = scene.views();
    assert_eq!(
        (why(&views, Some(1), day(3)), why(&views, Some(1), day(9))),
        (vec!["transfer_not_allowed"], vec![])
    );
    let ended = ActivityEnded { activity: Some(id("signup")), ..ActivityEnded::default() };
    scene.say(day(12), Body::ActivityEnded(Box::new(ended)), Vec::new());
    assert_eq!(why(&scene.views().1, Some(1), day(20)), ["activity_ended"]);
}

#[test]
fn few_exports_from_china_need_no_mechanism_until_many_do() {
    let mut scene = Scene::default();
    let service = ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id("kstar")),
        storage_country: country("CN"),
        ..ServiceRegistered::default()
    };
    scene.say(day(0), Body::ServiceRegistered(Box::new(service)), Vec::new());
    let abroad = RecipientRegistered { country: country("DE"), ..recipient(&[], &[], None, None) };
    scene.say(day(0), Body::RecipientRegistered(Box::new(abroad)), Vec::new());
    scene.say(
        day(0),
        activity_registered(activity(&[("support", LegalBasis::Contract)], &["pay"])),
        Vec::new(),
    );
    assert!(why(&scene.views().1, Some(1), day(9)).is_empty());
    let sensitive = DataTransferred { sensitive: Some(true), ..transfer("CN", "DE", &["pd:Name"]) };
    scene.say(day(5), transferred(sensitive), vec![subject(7)]);
    let (_house, views) = scene.views();
    assert_eq!(why(&views, Some(1), day(9)), ["transfer_not_allowed"], "one sensitive person is enough");
    assert!(why(&views, Some(1), day(4)).is_empty());
}

fn everybody(views: &Views, selector: &Selector) -> Vec<u32> {
    let found = views.ask().unwrap().population(selector, None, None, now()).unwrap();
    (0..40).filter(|n| found.people.contains(&person(*n))).collect()
}

fn to_pay() -> Selector {
    Selector { recipient: Some(id("pay")), ..Selector::default() }
}

fn shared(version: &str) -> Body {
    Body::DataShared(Box::new(DataShared {
        recipient_id: Some(id("pay")),
        cats: ids(&["x:imei"]),
        purpose: Some(id("payment")),
        sdk_version: Some(id(version)),
        ..DataShared::default()
    }))
}

/// People 1 to 6 with shares; 2 is merged into 1, device 10 is linked to 3 for a while, a mark is 4's.
fn crowd() -> Scene {
    let mut scene = Scene::default();
    for n in 1..7 {
        scene.say(day(n), shared(if n < 4 { "1.0" } else { "2.0" }), vec![subject(n as u32)]);
    }
    scene.say(day(7), Body::SubjectsMerged(Box::default()), vec![subject(1), subject(2)]);
    let link = IdentifierLinked {
        source: Some(LinkSource::Login),
        from: Some(day(10)),
        to: Some(day(12)),
        ..IdentifierLinked::default()
    };
    scene.say(day(10), Body::IdentifierLinked(Box::new(link)), vec![subject(3), subject(10)]);
    scene.say(day(11), shared("3.0"), vec![subject(10)]);
    scene.say(day(13), shared("4.0"), vec![subject(10)]);
    scene.say(day(14), shared("5.0"), vec![nobody(&[(Kind::Phone, 8)])]);
    let bound = Named { marks: vec![(Kind::Phone, mark(8), MarkUse::Bind)], ..subject(4) };
    scene.say(day(9), Body::AccountRegistered(Box::default()), vec![bound]);
    scene
}

fn of_version(version: &str) -> Selector {
    Selector { sdk_version: Some(id(version)), ..to_pay() }
}

fn told_of(views: &Views) -> Vec<Vec<u32>> {
    ["1.0", "2.0", "3.0", "4.0", "5.0"].iter().map(|version| everybody(views, &of_version(version))).collect()
}

#[test]
fn everybody_is_counted_once_whoever_they_are_now() {
    let scene = crowd();
    let (_house, views) = scene.views();
    let first = told_of(&views);
    assert_eq!(first, [vec![1, 3], vec![4, 5, 6], vec![3], vec![10], vec![4]]);
    assert_eq!(everybody(&views, &to_pay()), [1, 3, 4, 5, 6, 10]);
    views.rebuild(|_| true).unwrap();
    assert_eq!(told_of(&views), first);
    let mut seed = 11;
    for _ in 0..4 {
        assert_eq!(told_of(&scene.shuffled(&mut seed).views().1), first);
    }
}

#[test]
fn a_window_a_narrower_category_and_another_purpose() {
    let (_house, views) = crowd().views();
    let within = Selector { from: Some(day(3)), to: Some(day(5)), ..to_pay() };
    assert_eq!(everybody(&views, &within), [3, 4]);
    let cat = |cat: &str| Selector { category: Some(id(cat)), ..to_pay() };
    assert_eq!(everybody(&views, &cat("pd:UID")).len(), 6, "the broader finds the narrower");
    assert!(everybody(&views, &cat("pd:Name")).is_empty());
    let other = Selector { purpose: Some(id("direct_marketing")), ..to_pay() };
    assert!(everybody(&views, &other).is_empty());
    let one = Selector { subject: Some(person(2)), ..to_pay() };
    assert_eq!(everybody(&views, &one), [1], "by whoever the handle stands for now");
    let ask = views.ask().unwrap();
    let known = ask.population(&to_pay(), None, Some(3), now()).unwrap();
    assert_eq!(known.people.len(), 3, "nobody knew of the merge");
    let as_of = ask.population(&to_pay(), Some(day(2)), None, now()).unwrap();
    assert_eq!(as_of.people, BTreeSet::from([person(1)]));
}

#[test]
fn those_taken_back_and_erased_are_affected_no_more() {
    let mut scene = crowd();
    let back = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::WrongSubject),
        event_ids: list([event_id(4)]),
        ..EventsRetracted::default()
    };
    scene.say(day(20), Body::EventsRetracted(Box::new(back)), vec![subject(5)]);
    let gone = IdentityErasureAccepted {
        tomb: Some(crate::record::tomb(person(6))),
        cause: Some(IdentityErasureCause::Operator),
        scope: Some(IdentityErasureScope::IdentityAndEvidence),
        ..Default::default()
    };
    scene.say(day(21), Body::IdentityErasureAccepted(Box::new(gone)), vec![subject(6)]);
    let tally = |year, sensitive| TransferTally { line: id("kstar:pay:DE"), year, sensitive };
    let done = IdentityErased {
        tomb: Some(crate::record::tomb(person(6))),
        transfer_tallies: list([tally(2025, false), tally(2026, false)]),
        ..Default::default()
    };
    scene.say(day(21), Body::IdentityErased(Box::new(done)), Vec::new());
    let (_house, views) = scene.views();
    assert_eq!(everybody(&views, &to_pay()), [1, 3, 4, 10]);
    let found = views.ask().unwrap().population(&to_pay(), None, None, now()).unwrap();
    assert_eq!(found.erased, Some(ErasedPeople { at_least: 1, at_most: 2 }), "one person, in two years");
    let versions = views.ask().unwrap().population(&of_version("2.0"), None, None, now()).unwrap();
    assert_eq!(versions.erased, None, "no tally knows of versions");
    views.rebuild(|_| true).unwrap();
    assert_eq!(everybody(&views, &to_pay()), [1, 3, 4, 10]);
}

#[test]
fn by_consent_by_finding_and_by_mechanism() {
    let mut scene = life();
    scene.say(
        day(2),
        super::judged::registered(super::judged::clauses(&["pd:Name"], "2026-01-01", None)),
        Vec::new(),
    );
    scene.say(day(8), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(3)]);
    scene.say(day(9), transferred(transfer("DE", "CN", &["pd:Picture"])), vec![subject(4)]);
    scene.say(day(9), transferred(transfer("DE", "JP", &["pd:Name"])), vec![subject(5)]);
    let (_house, views) = scene.views();
    let stands = |standing| {
        let consent = Some((id("direct_marketing"), standing));
        everybody(&views, &Selector { consent, service: Some(id("solar")), ..Selector::default() })
    };
    assert_eq!(stands(Standing::InForce), [2, 4]);
    assert_eq!(stands(Standing::Ended), [1]);
    assert_eq!(stands(Standing::None), [3, 5]);
    let mechanism = Selector { mechanism: Some(id("scc-1")), ..Selector::default() };
    assert_eq!(everybody(&views, &mechanism), [3, 4], "covered, and fallen short for");
    let key = "F-TRANSFER-SCOPE mechanism=scc-1 exporter=kstar importer=hq country=CN purpose=support";
    let finding = Selector { finding: key.parse().ok(), ..Selector::default() };
    assert!(finding.finding.is_some());
    assert_eq!(everybody(&views, &finding), [4]);
}

#[test]
fn unknown_terms_wait_with_who_says_them() {
    let mut scene = Scene::default();
    let odd = || collected(&["email_adress"], &["newsletters"], None);
    scene.say(day(1), odd(), vec![subject(1)]);
    scene.say(day(3), odd(), vec![subject(2)]).event.envelope.emitter = id("crm");
    scene.say(day(2), collected(&["pd:Name"], &["support"], None), vec![subject(3)]);
    let waiting = |scene: &Scene| {
        let (terms, _) = scene.views().1.ask().unwrap().unmapped_terms(None).unwrap();
        terms
    };
    let terms = waiting(&scene);
    let names: Vec<_> = terms.iter().map(|term| (term.kind, term.term.as_str(), term.count)).collect();
    assert_eq!(names, [(MappingKind::Purpose, "newsletters", 2), (MappingKind::Category, "email_adress", 2)]);
    let email = &terms[1];
    assert_eq!(email.emitters, BTreeSet::from([id("crm"), id("solar-app")]));
    assert_eq!((email.first, email.last, email.samples.as_slice()), (day(1), day(3), &[0, 1][..]));
    assert_eq!(email.suggestions[0], "pd:EmailAddress");
    // What a mapping would change is what it does change.
    let mapping = MappingAdded {
        kind: Some(MappingKind::Category),
        term: Some(id("email_adress")),
        maps_to: Some(id("pd:EmailAddress")),
        ..MappingAdded::default()
    };
    let (_house, views) = scene.views();
    let supposed = views.ask().unwrap().findings_if(mapping.clone(), day(9)).unwrap().findings;
    scene.say(day(9), Body::MappingAdded(Box::new(mapping)), Vec::new());
    let mapped = scene.views().1.ask().unwrap().findings(None).unwrap().findings.clone();
    assert_eq!(supposed, mapped);
    assert_eq!(waiting(&scene).len(), 1);
}

#[test]
fn a_mapped_activity_fills_in_what_it_registers() {
    let mut scene = Scene::default();
    scene.say(day(0), activity_registered(activity(&[("support", LegalBasis::Contract)], &[])), Vec::new());
    let made = scene.say(day(1), Body::DataCollected(Box::default()), vec![subject(1)]);
    made.event.envelope.activity = Some(id("sign-up"));
    assert_eq!(scene.found(), ["F-UNMAPPED kind=activity term=sign-up x1"]);
    let mapping = MappingAdded {
        kind: Some(MappingKind::Activity),
        term: Some(id("sign-up")),
        maps_to: Some(id("signup")),
        ..MappingAdded::default()
    };
    scene.say(day(2), Body::MappingAdded(Box::new(mapping)), Vec::new());
    assert!(scene.found().is_empty());
    let (_house, views) = scene.views();
    let held = report(&views, 1).unwrap().data;
    assert_eq!(held[0].key.category, id("pd:EmailAddress"));
    assert!(why(&views, Some(1), day(9)).is_empty());
}

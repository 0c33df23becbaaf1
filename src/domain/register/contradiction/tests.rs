//! Each contradiction with what raises it and a near miss.

mod shortening;

use super::*;
use crate::domain::event::catalogue::*;
use crate::domain::event::*;
use crate::domain::id::{Digest, EventId, Id};
use crate::domain::identity::{Identifier, Kind};
use crate::domain::law;
use crate::domain::personal::Personal;
use crate::domain::register::Book;
use crate::domain::time::LocalDate;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn some(text: &str) -> Option<Id> {
    Some(id(text))
}

fn day(n: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_ms(n * 86_400_000)
}

fn on(date: &str) -> Option<LocalDate> {
    Some(LocalDate { date: date.parse().unwrap(), tz: chrono_tz::Asia::Shanghai })
}

fn boxed<T>(body: T) -> Box<T> {
    Box::new(body)
}

fn envelope(controller: &str, at: Timestamp) -> Envelope {
    Envelope::new(EventId(uuid::Uuid::from_u128(1)), id(controller), id("desk"), at)
}

/// A house that has registered a little, one event a day.
struct House {
    book: Book,
    next: u64,
}

impl House {
    fn new() -> House {
        let mut house = House { book: Book::default(), next: 0 };
        house.say(controller("kstar", "DE"));
        house.say(service("solar", "kstar"));
        house.say(recipient("hq", "CN"));
        house
    }

    fn say(&mut self, body: Body) -> u64 {
        let at = day(self.next as i64);
        self.book.add(Version::new(self.next, at, envelope("kstar", at), body));
        self.next += 1;
        self.next - 1
    }

    fn asked(&self, controller: &str, at: Timestamp, people: &[Person], body: Body) -> Vec<String> {
        let envelope = envelope(controller, at);
        let new = Proposal { envelope: &envelope, people, body: &body, publisher: "li", now: at };
        let fresh = Book::default();
        let found = contradictions(
            &new,
            &Known { book: &self.book, fresh: &fresh, known_at: u64::MAX },
            law::first(),
        );
        let place = |by: Option<u64>| by.map(|by| format!(" @{by}")).unwrap_or_default();
        let told = found.iter().map(|one| {
            assert!(one.to_string().ends_with(&format!("({})", one.reason)), "{one}");
            let field = one.field.split_once('.').map_or(one.field.as_str(), |(_, field)| field);
            format!("{field}: {} {} {}{}", one.reason, one.kind, one.id, place(one.position))
        });
        told.collect()
    }

    /// What a body contradicts on day 100.
    fn against(&self, body: Body) -> Vec<String> {
        self.asked("kstar", day(100), &[], body)
    }
}

fn controller(name: &str, country: &str) -> Body {
    Body::ControllerRegistered(boxed(ControllerRegistered {
        controller: some(name),
        legal_name: "KSTAR".parse().ok(),
        country: country.parse().ok(),
        ..ControllerRegistered::default()
    }))
}

fn service(name: &str, owner: &str) -> Body {
    Body::ServiceRegistered(boxed(ServiceRegistered {
        service: some(name),
        owner: some(owner),
        ..ServiceRegistered::default()
    }))
}

fn recipient(name: &str, country: &str) -> Body {
    Body::RecipientRegistered(boxed(RecipientRegistered {
        recipient_id: some(name),
        country: country.parse().ok(),
        ..RecipientRegistered::default()
    }))
}

fn recipient_ended(name: &str) -> Body {
    Body::RecipientEnded(boxed(RecipientEnded { recipient_id: some(name), reason: None }))
}

fn activity(name: &str, service: &str, recipients: &[&str]) -> Body {
    Body::ActivityRegistered(boxed(ActivityRegistered {
        activity: some(name),
        service: some(service),
        recipients: List::new(recipients.iter().map(|name| id(name)).collect()).unwrap(),
        ..ActivityRegistered::default()
    }))
}

fn clauses() -> TransferMechanismRegistered {
    TransferMechanismRegistered {
        mechanism_id: some("scc-1"),
        regime: Some(TransferRegime::Eu),
        kind: some("A46-2-c"),
        module: Some(2),
        exporter: some("kstar"),
        importer: some("hq"),
        importer_country: "CN".parse().ok(),
        signed_at: Some(day(0)),
        ..TransferMechanismRegistered::default()
    }
}

fn mechanism(body: TransferMechanismRegistered) -> Body {
    Body::TransferMechanismRegistered(boxed(body))
}

fn mechanism_ended() -> Body {
    Body::TransferMechanismEnded(boxed(TransferMechanismEnded { mechanism_id: some("scc-1"), reason: None }))
}

fn mechanism_suspended() -> Body {
    Body::TransferMechanismSuspended(boxed(TransferMechanismSuspended {
        mechanism_id: some("scc-1"),
        reason: some("audit"),
    }))
}

fn policy(version: &str, text: u8, from: i64) -> Body {
    let locales = vec![LocaleText { locale: id("zh"), sha256: Digest([text; 32]) }];
    Body::PolicyPublished(boxed(PolicyPublished {
        policy_id: some("privacy"),
        version: some(version),
        locales: List::new(locales).unwrap(),
        effective_at: Some(day(from)),
        ..PolicyPublished::default()
    }))
}

fn rule(name: &str, period: &str, from: Option<&str>, replaces: Option<&str>) -> RetentionRule {
    RetentionRule {
        id: id(name),
        kind: RuleKind::Cap,
        matches: None,
        anchor: Anchor::Collected,
        causes: List::default(),
        period: period.parse().unwrap(),
        year_end: false,
        tz: chrono_tz::UTC,
        on_expiry: None,
        law_of: None,
        legal: None,
        from: from.map(|day| day.parse().unwrap()),
        to: None,
        replaces: replaces.map(id),
    }
}

fn published(rule: RetentionRule) -> Body {
    Body::RetentionRulePublished(boxed(RetentionRulePublished { rule: Some(rule), reason: None }))
}

fn annulled(name: &str) -> Body {
    Body::RetentionRuleAnnulled(boxed(RetentionRuleAnnulled {
        rule: some(name),
        version: None,
        reason: some("mistake"),
    }))
}

fn staff(name: &str) -> Person {
    let value = Personal::new(name.to_owned());
    Person {
        role: Role::Staff,
        identifiers: vec![Identifier { kind: Kind::Account, realm: some("custody"), value }],
    }
}

const NONE: Vec<String> = Vec::new();

#[test]
fn what_is_named_has_to_be_registered() {
    let house = House::new();
    assert_eq!(house.against(service("grid", "kstar")), NONE);
    assert_eq!(house.against(service("grid", "other")), ["owner: unknown controller other"]);
    assert_eq!(house.against(activity("photo", "solar", &["hq"])), NONE);
    let told = house.against(activity("photo", "grid", &["hq", "aws"]));
    assert_eq!(told, ["service: unknown service grid", "recipients[1]: unknown recipient aws"]);
    assert_eq!(house.against(mechanism(clauses())), NONE);
    let strange = TransferMechanismRegistered { exporter: some("hq"), importer: some("aws"), ..clauses() };
    let told = house.against(mechanism(strange));
    assert_eq!(told, ["exporter: unknown controller hq", "importer: unknown recipient aws"]);
    let in_group = TransferMechanismRegistered {
        importer: some("kstar"),
        importer_country: "DE".parse().ok(),
        ..clauses()
    };
    assert_eq!(house.against(mechanism(in_group)), NONE, "another company of the group");
    let mut for_nothing = policy("1", 1, 0);
    if let Body::PolicyPublished(body) = &mut for_nothing {
        (body.service, body.overrides) = (some("grid"), some("general"));
    }
    let told = house.against(for_nothing);
    assert_eq!(told, ["service: unknown service grid", "overrides: unknown policy general"]);
}

#[test]
fn what_is_named_may_not_have_ended() {
    let mut house = House::new();
    let ended = house.say(recipient_ended("hq"));
    let told = house.against(activity("photo", "solar", &["hq"]));
    assert_eq!(told, [format!("recipients[0]: ended recipient hq @{ended}")]);
    // Of a time at which it had not.
    assert_eq!(house.asked("kstar", day(2), &[], activity("photo", "solar", &["hq"])), NONE);
    house.say(recipient("hq", "CN"));
    assert_eq!(house.against(activity("photo", "solar", &["hq"])), NONE, "registered again");
}

#[test]
fn only_what_is_there_can_end() {
    let mut house = House::new();
    assert_eq!(house.against(recipient_ended("aws")), ["recipient_id: not_registered recipient aws"]);
    assert_eq!(house.against(recipient_ended("hq")), NONE);
    assert_eq!(house.against(mechanism_ended()), ["mechanism_id: not_registered mechanism scc-1"]);
    assert_eq!(house.against(annulled("r")).first().unwrap(), "rule: not_registered retention_rule r");
    let released = |hold: &str| {
        Body::LegalHoldReleased(boxed(LegalHoldReleased { hold_id: some(hold), ..Default::default() }))
    };
    assert_eq!(house.against(released("h")), ["hold_id: not_registered hold h"]);
    let of_one = LegalHoldReleased { hold_ref: some("h"), ..Default::default() };
    assert_eq!(
        house.against(Body::LegalHoldReleased(boxed(of_one))),
        NONE,
        "a hold on one person is no entry"
    );
    let placed =
        LegalHoldPlaced { hold_id: some("h"), ground: Some(HoldGround::Court), ..Default::default() };
    house.say(Body::LegalHoldPlaced(boxed(placed)));
    assert_eq!(house.against(released("h")), NONE);
    let closed = Body::BreachClosed(boxed(BreachClosed { breach_id: some("b"), ..Default::default() }));
    assert_eq!(house.against(closed.clone()), ["breach_id: not_registered breach b"]);
    house.say(Body::BreachDetected(boxed(BreachDetected { breach_id: some("b"), ..Default::default() })));
    assert_eq!(house.against(closed), NONE);
}

#[test]
fn what_has_ended_is_neither_ended_nor_suspended() {
    let mut house = House::new();
    house.say(mechanism(clauses()));
    assert_eq!(house.against(mechanism_suspended()), NONE);
    house.say(mechanism_suspended());
    assert_eq!((house.against(mechanism_suspended()), house.against(mechanism_ended())), (NONE, NONE));
    let ended = house.say(mechanism_ended());
    let told = [format!("mechanism_id: already_ended mechanism scc-1 @{ended}")];
    assert_eq!(house.against(mechanism_suspended()), told);
    assert_eq!(house.against(mechanism_ended()), told);
    house.say(mechanism(clauses()));
    assert_eq!(house.against(mechanism_suspended()), NONE, "registered again");
}

#[test]
fn an_end_lies_behind_its_beginning() {
    let mut house = House::new();
    let until = |last: &str| {
        let first = on("2026-02-01");
        mechanism(TransferMechanismRegistered { effective_at: first, expires_at: on(last), ..clauses() })
    };
    assert_eq!(house.against(until("2026-02-01")), NONE, "one day");
    assert_eq!(house.against(until("2026-01-31")), ["expires_at: ends_before_start mechanism scc-1"]);
    let assessed = |until: i64| {
        Body::TransferAssessed(boxed(TransferAssessed {
            kind: Some(AssessmentKind::Tia),
            subject_matter: some("scc-1"),
            result: Some(AssessmentResult::Ok),
            valid_until: Some(day(until)),
            ..Default::default()
        }))
    };
    assert_eq!(house.against(assessed(100)), NONE);
    assert_eq!(house.against(assessed(99)), ["valid_until: ends_before_start assessment tia scc-1"]);
    let notified = |end: i64| {
        let (service, notice_at) = (some("solar"), Some(day(90)));
        let body =
            ServiceTerminationNotified { service, notice_at, end_at: Some(day(end)), ..Default::default() };
        Body::ServiceTerminationNotified(boxed(body))
    };
    assert_eq!(house.against(notified(90)), NONE);
    assert_eq!(house.against(notified(89)), ["end_at: ends_before_start service solar"]);
    assert_eq!(
        house.asked("kstar", day(1), &[], recipient_ended("hq")),
        ["occurred_at: ends_before_start recipient hq @2"]
    );
    house.say(activity("photo", "solar", &[]));
    let ended = |at: i64| {
        let (activity, effective_at) = (some("photo"), Some(day(at)));
        Body::ActivityEnded(boxed(ActivityEnded { activity, effective_at, reason: None }))
    };
    assert_eq!(house.against(ended(4)), NONE);
    assert_eq!(house.against(ended(2)), ["effective_at: ends_before_start activity photo @3"]);
}

#[test]
fn a_version_of_a_policy_says_one_thing_and_begins_at_a_time_of_its_own() {
    let mut house = House::new();
    house.say(policy("1", 1, 10));
    assert_eq!(house.against(policy("1", 1, 10)), NONE, "the same again");
    assert_eq!(house.against(policy("1", 2, 10)), ["version: version_repeated policy privacy @3"]);
    assert_eq!(house.against(policy("2", 2, 10)), ["effective_at: versions_overlap policy privacy @3"]);
    assert_eq!(house.against(policy("2", 2, 11)), NONE);
}

#[test]
fn rules_take_over_from_each_other_in_a_row() {
    let mut house = House::new();
    let before = house.say(published(rule("r-1", "P1Y", Some("2026-01-01"), None)));
    assert_eq!(house.against(published(rule("r-1", "P1Y", Some("2026-01-01"), None))), NONE);
    let told = house.against(published(rule("r-1", "P2Y", Some("2026-01-01"), None)));
    assert_eq!(told, [format!("rule.id: version_repeated retention_rule r-1 @{before}")]);
    let told = house.against(published(rule("r-2", "P2Y", None, Some("r-0"))));
    assert_eq!(told, ["rule.replaces: unknown retention_rule r-0"]);
    let told = house.against(published(rule("r-2", "P2Y", Some("2026-01-01"), Some("r-1"))));
    assert_eq!(told, [format!("rule.from: versions_overlap retention_rule r-1 @{before}")]);
    let next = published(rule("r-2", "P2Y", Some("2026-06-01"), Some("r-1")));
    assert_eq!(house.against(next.clone()), NONE);
    let taken = house.say(next);
    let rival = published(rule("r-3", "P3Y", Some("2026-07-01"), Some("r-1")));
    let told = house.against(rival.clone());
    assert_eq!(told, [format!("rule.from: versions_overlap retention_rule r-2 @{taken}")]);
    house.say(annulled("r-2"));
    assert_eq!(house.against(rival), NONE, "what was annulled was never in force");
}

#[test]
fn a_shorter_period_is_approved_by_another_than_its_publisher() {
    let mut house = House::new();
    house.say(published(rule("r-1", "P1Y", None, None)));
    let with = |people: &[Person], body: Body| house.asked("kstar", day(100), people, body);
    let shorter = || published(rule("r-2", "P364D", Some("2026-06-01"), Some("r-1")));
    assert_eq!(with(&[], shorter()), ["people: approver_missing retention_rule r-2"]);
    assert_eq!(with(&[staff("li")], shorter()), ["people: approver_is_publisher retention_rule r-2"]);
    assert_eq!(with(&[staff("li"), staff("wang")], shorter()), NONE);
    assert_eq!(with(&[], published(rule("r-2", "P12M", Some("2026-06-01"), Some("r-1")))), NONE);
    assert_eq!(with(&[staff("li")], annulled("r-1")), ["people: approver_is_publisher retention_rule r-1"]);
    assert_eq!(with(&[staff("wang")], annulled("r-1")), NONE);
}

#[test]
fn an_id_is_of_one_controller() {
    let house = House::new();
    let other = |body: Body| house.asked("other", day(100), &[], body);
    assert_eq!(other(recipient("hq", "CN")), ["recipient_id: other_controller recipient hq @2"]);
    assert_eq!(other(recipient("aws", "US")), NONE);
    let mapping = |to: &str| {
        Body::MappingAdded(boxed(MappingAdded {
            kind: Some(MappingKind::Purpose),
            term: some("stats"),
            maps_to: some(to),
            ..Default::default()
        }))
    };
    assert_eq!(other(mapping("analytics")), NONE);
    assert_eq!(other(mapping("stats")), ["maps_to: maps_to_itself mapping purpose stats"]);
}

#[test]
fn a_mechanism_is_of_a_kind_that_the_law_knows_in_the_country_of_its_importer() {
    let house = House::new();
    let told = |change: TransferMechanismRegistered| house.against(mechanism(change));
    let law = "custody-law 2026-11";
    assert_eq!(
        told(TransferMechanismRegistered { module: None, ..clauses() }),
        [format!("module: module_missing law {law}")]
    );
    let binding = || TransferMechanismRegistered { kind: some("A46-2-b"), module: None, ..clauses() };
    assert_eq!(told(binding()), NONE);
    let with = TransferMechanismRegistered { module: Some(1), ..binding() };
    assert_eq!(told(with), [format!("module: module_given law {law}")]);
    let unknown = TransferMechanismRegistered { kind: some("A46-9"), ..clauses() };
    assert_eq!(told(unknown), [format!("kind: unknown_mechanism_kind law {law}")]);
    let chinese = TransferMechanismRegistered { regime: Some(TransferRegime::Cn), ..clauses() };
    assert_eq!(told(chinese), [format!("regime: other_regime law {law}")]);
    let elsewhere = TransferMechanismRegistered { importer_country: "US".parse().ok(), ..clauses() };
    assert_eq!(told(elsewhere), ["importer_country: other_country recipient hq @2"]);
}

#[test]
fn a_law_is_adopted_by_the_hash_of_a_known_document() {
    let house = House::new();
    let adopted = |version: &str, sha256: Digest| {
        Body::LawDataActivated(boxed(LawDataActivated {
            name: Some(law::first().name().clone()),
            version: some(version),
            sha256: Some(sha256),
            effective_at: Some(day(3)),
            reason: None,
        }))
    };
    let known = law::first().sha256();
    assert_eq!(house.against(adopted("2026-11", known)), NONE);
    let unknown = ["sha256: unknown_law law custody-law"];
    assert_eq!(house.against(adopted("2026-12", known)), unknown);
    assert_eq!(house.against(adopted("2026-11", Digest([1; 32]))), unknown);
}

#[test]
fn what_was_taken_back_counts_for_nothing_and_what_stands_before_in_a_batch_does() {
    let mut house = House::new();
    house.book.retract(2, Some(9));
    assert_eq!(house.against(activity("photo", "solar", &["hq"])), ["recipients[0]: unknown recipient hq"]);
    let mut fresh = Book::default();
    fresh.add(Version::new(
        Version::UNRECORDED,
        day(100),
        envelope("kstar", day(100)),
        recipient("hq", "CN"),
    ));
    let (envelope, body) = (envelope("kstar", day(100)), activity("photo", "solar", &["hq"]));
    let new = Proposal { envelope: &envelope, people: &[], body: &body, publisher: "li", now: day(100) };
    assert_eq!(
        contradictions(&new, &Known { book: &house.book, fresh: &fresh, known_at: u64::MAX }, law::first()),
        []
    );
    let event = Body::DataShared(boxed(DataShared { recipient_id: some("nobody"), ..Default::default() }));
    assert_eq!(house.against(event), NONE, "what emitters tell of people is kept");
}

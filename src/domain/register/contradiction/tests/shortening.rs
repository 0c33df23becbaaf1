//! What counts as a shortening, each with a near miss, and what it then needs: somebody else's approval and 72 hours.

use super::*;

/// Day 100 is 2026-04-11, midnight UTC: three days later is the first on which a shorter period may begin.
const IN_TIME: &str = "2026-04-14";
const TOO_SOON: &str = "2026-04-13";

fn keep(name: &str, period: &str) -> RetentionRule {
    let purposes = List::new(vec![id("support")]).unwrap();
    let matches = Some(RuleMatch { purposes, ..RuleMatch::default() });
    RetentionRule { kind: RuleKind::Keep, matches, ..rule(name, period, None, None) }
}

fn floor(name: &str, period: &str) -> RetentionRule {
    RetentionRule { kind: RuleKind::Floor, ..rule(name, period, None, None) }
}

fn cap(name: &str, period: &str) -> RetentionRule {
    rule(name, period, None, None)
}

/// The next version of a rule, from a day on.
fn next(old: &RetentionRule, from: &str) -> RetentionRule {
    let name = format!("{}-next", old.id.as_str());
    RetentionRule { id: id(&name), from: from.parse().ok(), replaces: Some(old.id.clone()), ..old.clone() }
}

/// What is refused of a version that nobody approved and that begins a day too soon: nothing, or both.
fn shortens(house: &House, new: RetentionRule) -> bool {
    let told = house.asked("kstar", day(100), &[], published(new));
    let reasons: Vec<&str> = told.iter().filter_map(|one| one.split(' ').nth(1)).collect();
    match reasons[..] {
        [] => false,
        ["shortened_too_soon", "approver_missing"] => true,
        _ => panic!("{told:?}"),
    }
}

/// Whether the next version of a rule, changed in something, shortens it.
fn changed(old: &RetentionRule, change: impl Fn(&mut RetentionRule)) -> bool {
    let mut house = House::new();
    house.say(published(old.clone()));
    let mut new = next(old, TOO_SOON);
    change(&mut new);
    shortens(&house, new)
}

#[test]
fn a_shorter_period_is_one_that_ends_earlier_from_some_day() {
    for make in [keep, floor, cap] {
        let to = |old: &str, new: &str| changed(&make("r", old), |rule| rule.period = new.parse().unwrap());
        assert!(to("P1Y", "P364D"));
        assert!(to("P1Y", "P365D"), "a leap year has a day more");
        assert!(!to("P365D", "P1Y"));
        assert!(to("P30D", "P1M"), "February");
        assert!(!to("P28D", "P1M"));
        assert!(!to("P1Y", "P12M"));
        assert!(to("P1D", "P0D"));
        assert!(!to("P9998Y", "P9999Y"));
    }
}

#[test]
fn a_year_end_that_is_dropped_shortens_unless_a_year_comes_instead() {
    let to_year_end = RetentionRule { year_end: true, ..floor("r", "P8Y") };
    let to = |period: &str| {
        changed(&to_year_end, |rule| {
            rule.year_end = false;
            rule.period = period.parse().unwrap();
        })
    };
    assert!(to("P8Y"));
    assert!(!to("P9Y"));
    assert!(!changed(&floor("r", "P8Y"), |rule| rule.year_end = true));
}

#[test]
fn fewer_causes_shorten() {
    use SoftEnd::{AccountCancelled, ServiceTerminated};
    let causes = |of: &[SoftEnd]| List::new(of.to_vec()).unwrap();
    let both = RetentionRule {
        anchor: Anchor::PurposeEnded,
        causes: causes(&[AccountCancelled, ServiceTerminated]),
        ..keep("r", "P30D")
    };
    assert!(changed(&both, |rule| rule.causes = causes(&[AccountCancelled])));
    assert!(!changed(&both, |rule| rule.causes = causes(&[ServiceTerminated, AccountCancelled])));
    assert!(!changed(&both, |rule| rule.causes = List::default()), "no causes are all");
    let all = RetentionRule { causes: List::default(), ..both };
    assert!(changed(&all, |rule| rule.causes = causes(&[AccountCancelled, ServiceTerminated])));
}

#[test]
fn what_is_selected_counts_too() {
    let kinds = |kinds: &[&str]| {
        let record_kinds = List::new(kinds.iter().map(|kind| id(kind)).collect()).unwrap();
        Some(RuleMatch { record_kinds, ..RuleMatch::default() })
    };
    let of = |rule: RetentionRule| RetentionRule { matches: kinds(&["invoice", "photo"]), ..rule };
    let (floor, cap) = (of(floor("r", "P1Y")), of(cap("r", "P1Y")));
    assert!(changed(&floor, |rule| rule.matches = kinds(&["invoice"])));
    assert!(!changed(&floor, |rule| rule.matches = None), "a floor under more");
    assert!(changed(&cap, |rule| rule.matches = None), "a cap over more");
    assert!(!changed(&cap, |rule| rule.matches = kinds(&["invoice"])));
    let keep = keep("r", "P1Y");
    let wider = List::new(vec![id("support"), id("warranty")]).unwrap();
    let wider = Some(RuleMatch { purposes: wider, ..RuleMatch::default() });
    assert!(!changed(&keep, |rule| rule.matches = wider.clone()));
}

#[test]
fn another_anchor_a_floor_s_end_and_another_kind_shorten() {
    let day = |text: &str| text.parse().ok();
    assert!(changed(&keep("r", "P1Y"), |rule| rule.anchor = Anchor::LastActivity));
    assert!(!changed(&keep("r", "P1Y"), |rule| rule.on_expiry = Some(Expiry::Anonymise)));
    assert!(changed(&floor("r", "P1Y"), |rule| rule.to = day("2027-01-01")));
    assert!(!changed(&cap("r", "P1Y"), |rule| rule.to = day("2027-01-01")), "a cap that ends");
    assert!(changed(&floor("r", "P1Y"), |rule| rule.kind = RuleKind::Cap));
    assert!(!changed(&cap("r", "P1Y"), |rule| rule.kind = RuleKind::Floor));
}

#[test]
fn a_new_cap_shortens_what_a_rule_in_force_keeps() {
    let mut house = House::new();
    assert!(!shortens(&house, cap("c", "P1Y")), "nothing is kept yet");
    house.say(published(floor("f", "P3Y")));
    assert!(!shortens(&house, cap("c", "P1Y")), "a floor is stronger than a cap");
    let coming = RetentionRule { from: "2026-06-01".parse().ok(), ..keep("k-1", "P2Y") };
    house.say(published(coming));
    assert!(!shortens(&house, cap("c", "P1Y")), "what is not in force yet keeps nothing");

    let of = |kinds: &[&str]| {
        let record_kinds = List::new(kinds.iter().map(|kind| id(kind)).collect()).unwrap();
        move |rule: RetentionRule| RetentionRule {
            matches: Some(RuleMatch {
                record_kinds: record_kinds.clone(),
                ..rule.matches.unwrap_or_default()
            }),
            ..rule
        }
    };
    house.say(published(of(&["profile"])(keep("k-2", "P2Y"))));
    assert!(shortens(&house, cap("c", "P1Y")));
    assert!(!shortens(&house, of(&["photo"])(cap("c", "P1Y"))), "about other data");
    assert!(shortens(&house, of(&["photo", "profile"])(cap("c", "P1Y"))));
    assert!(!shortens(&house, keep("k-3", "P1D")), "a new period for a purpose is no version of another");
    house.say(annulled("k-2"));
    assert!(!shortens(&house, cap("c", "P1Y")), "what was annulled was never in force");
}

#[test]
fn rules_that_are_published_together_have_promised_nothing() {
    let house = House::new();
    let told = |body: Body, before: RetentionRule, people: &[Person]| {
        let mut fresh = Book::default();
        let version =
            Version::new(Version::UNRECORDED, day(100), envelope("kstar", day(100)), published(before));
        fresh.add(version);
        let known = Known { book: &house.book, fresh: &fresh, known_at: u64::MAX };
        let envelope = envelope("kstar", day(100));
        let new = Proposal { envelope: &envelope, people, body: &body, publisher: "li", now: day(100) };
        contradictions(&new, &known, law::first()).iter().map(|one| one.reason).collect::<Vec<_>>()
    };
    assert_eq!(told(published(cap("c", "P1D")), keep("k", "P1Y"), &[]), []);
    let shorter = || RetentionRule { period: "P1D".parse().unwrap(), ..next(&keep("k", "P1Y"), TOO_SOON) };
    let reasons = told(published(shorter()), keep("k", "P1Y"), &[]);
    assert_eq!(reasons, [Reason::ApproverMissing], "there is nothing to wait for, but two agree");
    assert_eq!(told(published(shorter()), keep("k", "P1Y"), &[staff("wang")]), []);
}

#[test]
fn a_shortening_begins_three_days_after_it_is_recorded() {
    let mut house = House::new();
    let at = house.say(published(keep("k", "P1Y")));
    let told = |at: Timestamp, from: Option<&str>| {
        let new = RetentionRule {
            period: "P30D".parse().unwrap(),
            from: from.map(|day| day.parse().unwrap()),
            ..next(&keep("k", "P1Y"), IN_TIME)
        };
        house.asked("kstar", at, &[staff("wang")], published(new))
    };
    let refused = [format!("rule.from: shortened_too_soon retention_rule k @{at}")];
    assert_eq!(told(day(100), Some(IN_TIME)), NONE);
    assert_eq!(told(day(100).plus_ms(1), Some(IN_TIME)), refused, "72 hours are not quite over");
    assert_eq!(told(day(100), Some(TOO_SOON)), refused);
    let always = told(day(100), None);
    assert!(always.contains(&refused[0]), "a rule without a first day was always in force: {always:?}");
}

#[test]
fn the_day_that_a_publisher_states_is_not_the_day_of_publication() {
    let mut house = House::new();
    house.say(published(keep("k", "P1Y")));
    let new = RetentionRule { period: "P30D".parse().unwrap(), ..next(&keep("k", "P1Y"), IN_TIME) };
    let (stated, body, people) = (envelope("kstar", day(90)), published(new), [staff("wang")]);
    let fresh = Book::default();
    let known = Known { book: &house.book, fresh: &fresh, known_at: u64::MAX };
    let on = |now: Timestamp| {
        let new = Proposal { envelope: &stated, people: &people, body: &body, publisher: "li", now };
        contradictions(&new, &known, law::first()).len()
    };
    assert_eq!((on(day(100)), on(day(101))), (0, 1));
}

#[test]
fn a_version_takes_over_from_the_one_that_stands_and_says_nothing_new_when_it_is_said_again() {
    let mut house = House::new();
    let first = keep("k", "P1Y");
    house.say(published(first.clone()));
    let mistake = RetentionRule { period: "P9Y".parse().unwrap(), ..next(&first, "2026-02-01") };
    house.say(published(mistake.clone()));
    let after = RetentionRule { period: "P2Y".parse().unwrap(), ..next(&mistake, TOO_SOON) };
    assert!(shortens(&house, after.clone()), "nine years were in force");
    house.say(annulled("k-next"));
    assert!(!shortens(&house, after.clone()), "one year is");
    let shorter = RetentionRule { period: "P1M".parse().unwrap(), ..after };
    assert!(shortens(&house, shorter.clone()));
    house.say(published(shorter.clone()));
    assert_eq!(house.against(published(shorter)), NONE, "it stands already");
}

//! Given what is known, when an entry comes, then this is decided: rule by rule of `domain.md` 2.5.

use super::*;
use proptest::prelude::*;

fn t(seconds: i64) -> Timestamp {
    Timestamp::EPOCH.plus_ms(seconds * 1_000)
}

fn id(n: u8) -> SubjectId {
    SubjectId([n; 16])
}

fn app() -> Id {
    "app".parse().unwrap()
}

fn person(n: u8) -> Owner {
    Owner { canonical: id(n), kind: HolderKind::Person, account: true, cancelled_at: None }
}

fn bound(owner: Owner, from: i64, to: Option<i64>) -> Binding {
    Binding { subject: owner.canonical, owner, from: t(from), to: to.map(t), reaches: false }
}

/// One identifier with what is known of it.
struct Given {
    kind: Kind,
    realm: Option<Id>,
    bindings: Vec<Binding>,
    erased: Vec<Erased>,
}

fn given(kind: Kind, bindings: impl Into<Vec<Binding>>) -> Given {
    let realm = kind.needs_realm().then(app);
    Given { kind, realm, bindings: bindings.into(), erased: Vec::new() }
}

struct When {
    at: i64,
    opens: bool,
    act: Act,
}

const OPENS: When = When { at: 50, opens: true, act: Act::None };
const USES: When = When { at: 50, opens: false, act: Act::None };

fn then(given: &[Given], when: When) -> Decision {
    let facts: Vec<_> = given
        .iter()
        .map(|g| Fact { kind: g.kind, realm: g.realm.as_ref(), bindings: &g.bindings, erased: &g.erased })
        .collect();
    let home = app();
    let When { at, opens, act } = when;
    decide(&Question { facts: &facts, home_realm: Some(&home), at: t(at), opens, act })
}

use Kind::*;

#[test]
fn rule_1_a_strong_identifier_resolves_and_binds_the_others_from_then_on() {
    let known = given(Account, [bound(person(1), 0, None)]);
    let decision = then(&[given(Phone, []), known, given(Openid, []), given(Ip, [])], USES);
    assert_eq!(decision.who, Who::Existing(id(1)));
    assert_eq!(decision.uses, [Use::Bound, Use::Known, Use::Bound, Use::Seen]);
    let bind = |identifier, reaches| Change::Bind { identifier, from: t(50), to: None, reaches };
    assert_eq!(decision.changes, [bind(2, true), bind(0, false), Change::Associate { identifier: 3 }]);
}

#[test]
fn rule_1_a_strong_identifier_means_its_person_before_its_first_sight_too() {
    let first_seen = Binding { reaches: true, ..bound(person(1), 80, None) };
    let decision = then(&[given(Account, [first_seen])], USES);
    assert_eq!((decision.who, decision.changes), (Who::Existing(id(1)), vec![]));
    let stated = bound(person(1), 80, None);
    assert_eq!(then(&[given(Account, [stated])], USES).who, Who::Nobody);
}

#[test]
fn rule_1_a_contact_resolves_within_its_interval_only() {
    for (from, to, who) in [
        (0, None, Who::Existing(id(1))),
        (50, Some(51), Who::Existing(id(1))),
        (0, Some(50), Who::Nobody),
        (51, None, Who::Nobody),
    ] {
        let decision = then(&[given(Phone, [bound(person(1), from, to)])], USES);
        assert_eq!(decision.who, who, "[{from}, {to:?})");
    }
}

#[test]
fn rule_1_a_contact_that_two_people_have_names_nobody() {
    let two = [bound(person(1), 0, None), bound(person(2), 0, None)];
    let decision = then(&[given(Phone, two)], OPENS);
    assert_eq!((decision.who, decision.uses), (Who::Nobody, vec![Use::Unattributed]));
    let one_each = [given(Phone, [bound(person(1), 0, None)]), given(Email, [bound(person(2), 0, None)])];
    assert_eq!(then(&one_each, OPENS).who, Who::Nobody);
    let merged = Owner { canonical: id(1), ..person(2) };
    let sides = [Binding { subject: id(2), ..bound(merged, 0, None) }, bound(person(1), 0, None)];
    assert_eq!(then(&[given(Phone, sides)], OPENS).who, Who::Existing(id(1)));
}

#[test]
fn rule_1_a_contact_never_joins_two_accounts() {
    let phone = given(Phone, [bound(person(1), 0, None)]);
    let decision = then(&[given(Account, []), phone], When { act: Act::RegisterAccount, ..OPENS });
    assert_eq!(decision.who, Who::New(HolderKind::Person));
    assert_eq!(decision.conflicts, [Conflict::ContactRebound(Phone)]);
    assert!(decision.changes.contains(&Change::SetTo { identifier: 1, binding: 0, to: Some(t(50)) }));
    assert!(decision.changes.contains(&Change::Account));
}

#[test]
fn rule_1_a_contact_of_a_cancelled_account_changes_hands_without_conflict() {
    let gone = Owner { cancelled_at: Some(t(40)), ..person(1) };
    let phone = given(Phone, [bound(gone, 0, Some(40))]);
    let decision = then(&[given(Account, []), phone], OPENS);
    assert_eq!((decision.who, decision.conflicts), (Who::New(HolderKind::Person), vec![]));
    let later = then(&[given(Account, []), given(Phone, [bound(gone, 45, None)])], OPENS);
    assert_eq!(later.conflicts, [], "re-bound after the cancellation, but no account lives");
}

#[test]
fn rule_1_a_registration_by_contact_alone_is_a_new_person_once() {
    let register = || When { act: Act::RegisterAccount, ..OPENS };
    let known = then(&[given(Phone, [bound(person(1), 0, None)])], register());
    assert_eq!(known.who, Who::New(HolderKind::Person));
    let twice = then(&[given(Phone, [bound(person(1), 50, None)])], register());
    assert_eq!((twice.who, twice.changes), (Who::Existing(id(1)), vec![]));
}

#[test]
fn rule_1_a_late_entry_takes_the_contact_only_up_to_the_next_holder() {
    let account = || given(Account, [bound(person(1), 0, None)]);
    let next = given(Phone, [bound(person(2), 70, None)]);
    let decision = then(&[account(), next], USES);
    let bind = Change::Bind { identifier: 1, from: t(50), to: Some(t(70)), reaches: false };
    assert_eq!((decision.changes, decision.conflicts), (vec![bind], vec![]));
    let own = given(Phone, [bound(person(1), 70, None)]);
    let decision = then(&[account(), own], USES);
    assert_eq!(decision.changes, [Change::SetFrom { identifier: 1, binding: 0, from: t(50) }]);
}

#[test]
fn rule_1_a_form_gives_no_address_to_an_account() {
    let phone = |account| given(Phone, [bound(Owner { account, ..person(1) }, 0, None)]);
    let with_account = then(&[phone(true), given(Email, [])], OPENS);
    assert_eq!((with_account.uses, with_account.changes), (vec![Use::Known, Use::Known], vec![]));
    let alone = then(&[phone(false), given(Email, [])], OPENS);
    assert_eq!(alone.uses, [Use::Known, Use::Bound]);
}

#[test]
fn rule_1_contact_people_are_the_same_in_any_order_of_events() {
    let first_seen = Binding { reaches: true, ..bound(Owner { account: false, ..person(1) }, 80, None) };
    let earlier = then(&[given(Phone, [first_seen])], OPENS);
    assert_eq!(earlier.who, Who::Existing(id(1)));
    assert_eq!(earlier.changes, [Change::SetFrom { identifier: 0, binding: 0, from: t(50) }]);
    assert_eq!(then(&[given(Phone, [first_seen])], USES).who, Who::Nobody, "only opening events reach back");
}

#[test]
fn rule_2_the_strongest_device_identifier_is_a_device_person() {
    let decision = then(&[given(Mac, []), given(Ip, []), given(DeviceSerial, []), given(Imei, [])], OPENS);
    assert_eq!(decision.who, Who::New(HolderKind::Device));
    assert_eq!(decision.uses, [Use::Seen, Use::Seen, Use::Bound, Use::Seen]);
    for alone in [Ip, Station] {
        assert_eq!(then(&[given(alone, [])], OPENS).who, Who::Nobody);
    }
}

#[test]
fn rule_2_a_link_holds_within_its_interval() {
    let device = Owner { kind: HolderKind::Device, account: false, ..person(9) };
    let own = Binding { reaches: true, ..bound(device, 60, None) };
    for (from, to, who) in [(50, Some(51), 1), (0, Some(50), 9), (51, None, 9), (0, None, 1)] {
        let facts = [given(DeviceSerial, [own, bound(person(1), from, to)])];
        assert_eq!(then(&facts, USES).who, Who::Existing(id(who)), "[{from}, {to:?})");
    }
}

#[test]
fn rule_2_the_next_link_ends_the_one_before() {
    let (usage, changes) = link(&[bound(person(1), 0, None)], id(2), t(50), None);
    assert_eq!(usage, Use::Bound);
    let end = Change::SetTo { identifier: 0, binding: 0, to: Some(t(50)) };
    let bind = |to: Option<i64>| Change::Bind { identifier: 0, from: t(50), to: to.map(t), reaches: false };
    assert_eq!(changes, [end, bind(None)]);
    let (_, late) = link(&[bound(person(1), 70, None)], id(2), t(50), None);
    assert_eq!(late, [bind(Some(70))], "a link that is stated late ends with the next");
    let (again, none) = link(&[bound(person(2), 0, None)], id(2), t(50), None);
    assert_eq!((again, none), (Use::Known, vec![]));
    let device = Owner { kind: HolderKind::Device, ..person(9) };
    let (_, beside) = link(&[bound(device, 0, None)], id(2), t(50), Some(t(60)));
    assert_eq!(beside, [bind(Some(60))]);
    let ended = unlink(&[bound(person(1), 0, None), bound(person(2), 0, None)], id(2), t(50));
    assert_eq!(ended, [Change::SetTo { identifier: 0, binding: 1, to: Some(t(50)) }]);
}

#[test]
fn rule_3_the_strongest_of_two_wins_and_the_conflict_is_told() {
    let known = |kind, n| given(kind, [bound(person(n), 0, None)]);
    let elsewhere = Given { realm: "shop".parse().ok(), ..known(Account, 4) };
    let all = [elsewhere, known(Unionid, 3), known(Openid, 2), known(Account, 1)];
    let decision = then(&all, OPENS);
    assert_eq!(decision.who, Who::Existing(id(1)));
    let lost = [Openid, Unionid, Account].map(|kind| Conflict::Strong(Account, kind));
    assert_eq!(decision.conflicts, lost);
    assert_eq!(decision.changes, []);
    assert_eq!(then(&all[..3], OPENS).who, Who::Existing(id(2)));
    assert_eq!(then(&all[..2], OPENS).who, Who::Existing(id(3)));
}

#[test]
fn rule_3_two_sides_of_a_merge_are_no_conflict() {
    let side = Binding { subject: id(2), ..bound(Owner { canonical: id(1), ..person(2) }, 0, None) };
    let decision = then(&[given(Account, [side]), given(Openid, [bound(person(1), 0, None)])], OPENS);
    assert_eq!((decision.who, decision.conflicts), (Who::Existing(id(2)), vec![]), "the side named");
}

#[test]
fn rule_4_only_opening_events_create() {
    for kind in Kind::ALL {
        let unknown = [given(kind, [])];
        let decision = then(&unknown, USES);
        assert_eq!((decision.who, decision.uses), (Who::Nobody, vec![Use::Unattributed]), "{kind}");
        let opened = then(&unknown, OPENS).who;
        let expected = match kind.class() {
            Class::Shared if !kind.is_device() => Who::Nobody,
            Class::Shared => Who::New(HolderKind::Device),
            _ => Who::New(HolderKind::Person),
        };
        assert_eq!(opened, expected, "{kind}");
    }
    assert_eq!(then(&[], OPENS).who, Who::Nobody);
}

#[test]
fn rule_5_an_event_from_before_the_erasure_is_late_and_makes_nobody() {
    for kind in [Account, Phone, DeviceSerial] {
        let erased = |from: Option<i64>, to| Given {
            erased: vec![Erased { from: from.map(t), to: t(to) }],
            ..given(kind, [])
        };
        let late = then(&[erased(None, 51)], OPENS);
        assert!(late.late_for_erased && late.who == Who::Nobody, "{kind}");
        let after = then(&[erased(None, 50)], OPENS);
        assert!(!after.late_for_erased && matches!(after.who, Who::New(_)), "{kind}");
        let before = then(&[erased(Some(51), 60)], OPENS);
        assert!(!before.late_for_erased && matches!(before.who, Who::New(_)), "{kind}: not yet theirs");
        let living = Given { bindings: vec![bound(person(1), 0, None)], ..erased(None, 51) };
        assert_eq!(then(&[living], OPENS).who, Who::Existing(id(1)), "{kind}: somebody else's now");
    }
}

#[test]
fn rule_5_the_new_person_has_no_past() {
    let erased = vec![Erased { from: None, to: t(40) }];
    let decision = then(&[Given { erased: erased.clone(), ..given(Account, []) }], OPENS);
    let bind = |from| Change::Bind { identifier: 0, from, to: None, reaches: false };
    assert_eq!(
        decision.changes,
        [bind(t(40)), Change::Account],
        "but what followed the erasure, in any order"
    );
    let between = given(Account, [bound(person(1), 41, Some(45))]);
    let decision = then(&[Given { erased, ..between }], OPENS);
    assert_eq!(decision.changes, [bind(t(45)), Change::Account], "and nothing of who had it in between");
}

#[test]
fn a_cancellation_ends_contacts_and_binds_none() {
    let entry = || [given(Account, [bound(person(1), 0, None)]), given(Phone, [])];
    let decision = then(&entry(), When { act: Act::CancelAccount, ..USES });
    assert_eq!(decision.changes, [Change::Cancel { at: t(50) }]);
    assert_eq!(decision.uses, [Use::Known, Use::Known]);
    let cancelled = Owner { cancelled_at: Some(t(50)), ..person(1) };
    let again = given(Account, [bound(cancelled, 0, None)]);
    let back = then(&[again], When { act: Act::RegisterAccount, ..OPENS });
    assert_eq!((back.who, back.changes), (Who::Existing(id(1)), vec![Change::Account]));
}

fn bindings() -> impl Strategy<Value = Vec<Binding>> {
    let one = (1u8..4, 0i64..100, prop::option::of(1i64..50), any::<bool>(), any::<bool>());
    let binding = one.prop_map(|(n, from, length, reaches, account)| {
        let owner = Owner { account, ..person(n) };
        Binding { reaches, ..bound(owner, from, length.map(|length| from + length)) }
    });
    prop::collection::vec(binding, 0..4)
}

proptest! {
    /// Nobody is made by what does not open, every change concerns an identifier of the entry, and
    /// whoever is named is known by one of them.
    #[test]
    fn decisions_are_sound(
        entry in prop::collection::vec((prop::sample::select(Kind::ALL.to_vec()), bindings()), 0..5),
        at in 0i64..100, opens in any::<bool>(),
        act in prop::sample::select(vec![Act::None, Act::RegisterAccount, Act::CancelAccount]),
    ) {
        let entry: Vec<_> = entry.into_iter().map(|(kind, bindings)| given(kind, bindings)).collect();
        let decision = then(&entry, When { at, opens, act });
        prop_assert_eq!(decision.uses.len(), entry.len());
        prop_assert!(opens || !matches!(decision.who, Who::New(_)));
        if let Who::Existing(subject) = decision.who {
            prop_assert!(entry.iter().flat_map(|g| &g.bindings).any(|b| b.subject == subject));
        }
        if decision.who == Who::Nobody {
            prop_assert!(decision.changes.is_empty());
            prop_assert!(decision.uses.iter().all(|usage| *usage == Use::Unattributed));
        }
        for change in &decision.changes {
            if let Change::Bind { from, to, .. } = change {
                prop_assert!(to.is_none_or(|to| to > *from), "no empty binding");
                prop_assert_eq!(*from, t(at));
            }
        }
    }

    /// Shared identifiers beside a strong or contact one change nothing about who is meant.
    #[test]
    fn shared_identifiers_never_decide_beside_others(known in bindings(), shared in bindings(), at in 0i64..100) {
        for kind in [Account, Phone] {
            let alone = then(&[given(kind, known.clone())], When { at, ..OPENS });
            let beside = [given(kind, known.clone()), given(DeviceSerial, shared.clone())];
            prop_assert_eq!(then(&beside, When { at, ..OPENS }).who, alone.who);
        }
    }
}

//! Each reason with what gives it and a near miss.

use super::*;
use crate::domain::consent::Step;
use crate::domain::event::ConsentKind;
use crate::domain::law;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn hour(n: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_ms(n * 3_600_000)
}

fn key(category: &str) -> DatumKey {
    DatumKey {
        service: Some(id("solar")),
        record_kind: Some(id("profile")),
        category: id(category),
        slot: None,
    }
}

fn step(at: i64, act: ConsentAct, purpose: &str) -> Step {
    Step {
        at: hour(at),
        recorded_at: hour(at),
        act,
        purpose: Some(id(purpose)),
        recipient: None,
        country: None,
        kind: Some(ConsentKind::Expressed),
        policy_version: None,
        expires_at: None,
        consent_id: None,
        guardian: false,
    }
}

/// What is known, to be asked about at hour 100.
#[derive(Clone, Default)]
struct Facts {
    purposes: Vec<(&'static str, Option<LegalBasis>)>,
    openings: Vec<(i64, &'static str, LegalBasis, bool)>,
    steps: Vec<Step>,
    acts: Vec<(i64, What, Option<&'static str>)>,
    accounts: Vec<(i64, bool)>,
    service_ended: Option<i64>,
    regimes: Vec<Regime>,
    sensitive: bool,
    recipients: Vec<Recipient>,
    age_band: Option<AgeBand>,
    at: Option<Timestamp>,
}

fn facts(purpose: &'static str, basis: LegalBasis) -> Facts {
    Facts {
        purposes: vec![(purpose, Some(basis))],
        openings: vec![(10, purpose, basis, true)],
        ..Facts::default()
    }
}

fn verdict(facts: &Facts) -> Verdict {
    let purposes: Vec<PurposeBasis> = facts
        .purposes
        .iter()
        .map(|(purpose, basis)| PurposeBasis {
            id: id(purpose),
            basis: basis.unwrap_or(LegalBasis::Contract),
        })
        .collect();
    let openings = facts.openings.iter().map(|(at, purpose, basis, collected)| Opening {
        at: hour(*at),
        purpose: id(purpose),
        basis: *basis,
        collected: *collected,
    });
    let acts: Vec<Act> = facts
        .acts
        .iter()
        .map(|(at, what, purpose)| Act {
            at: hour(*at),
            what: *what,
            of: Selector { category: Some(id("pd:EmailAddress")), ..Selector::default() },
            purpose: purpose.map(id),
        })
        .collect();
    let accounts: Vec<AccountAct> = facts
        .accounts
        .iter()
        .map(|(at, opened)| AccountAct { at: hour(*at), opened: *opened, services: Vec::new() })
        .collect();
    decide(&Question {
        at: facts.at.unwrap_or(hour(100)),
        law: law::newest(),
        purposes: &purposes,
        regimes: &facts.regimes,
        sensitive: facts.sensitive,
        recipients: &facts.recipients,
        for_children: false,
        data: &[Datum { key: key("pd:EmailAddress"), openings: openings.collect() }],
        consents: &Timeline::new(facts.steps.clone()),
        acts: &acts,
        accounts: &accounts,
        service_ended: facts.service_ended.map(hour),
        age_band: facts.age_band,
    })
}

fn codes(facts: &Facts) -> Vec<&'static str> {
    let verdict = verdict(facts);
    assert_eq!(verdict.allowed, verdict.reasons.is_empty());
    verdict.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

use ConsentAct::{Given, Refused, Withdrawn};
use LegalBasis::{Consent, Contract, LegalObligation, LegitimateInterest};

#[test]
fn a_contract_runs_from_the_account_to_its_end() {
    let mut facts = facts("service_provision", Contract);
    assert!(codes(&facts).is_empty());
    facts.accounts = vec![(20, false)];
    assert_eq!(codes(&facts), ["account_ended"]);
    facts.accounts.push((30, true));
    assert_eq!(codes(&facts), ["account_ended"], "an account alone opens nothing that had ended");
    facts.openings.push((40, "service_provision", Contract, true));
    assert!(codes(&facts).is_empty());
    facts.accounts.push((50, false));
    facts.openings.push((60, "service_provision", Contract, true));
    assert_eq!(codes(&facts), ["account_ended"], "collected without a contract");
    let kept = Facts { accounts: facts.accounts.clone(), ..self::facts("accounting", LegalObligation) };
    assert!(codes(&kept).is_empty(), "what a law demands does not end with the account");
}

#[test]
fn consent_is_asked_for_given_withdrawn_and_runs_out() {
    let mut facts = facts("direct_marketing", Consent);
    assert_eq!(codes(&facts), ["consent_missing"]);
    facts.steps = vec![step(9, Refused, "direct_marketing")];
    assert_eq!(codes(&facts), ["consent_refused"]);
    facts.steps.push(step(10, Given, "direct_marketing"));
    assert!(codes(&facts).is_empty());
    facts.steps.push(step(20, Withdrawn, "direct_marketing"));
    assert_eq!(codes(&facts), ["consent_withdrawn"]);
    facts.steps.push(step(30, Given, "direct_marketing"));
    assert_eq!(codes(&facts), ["consent_withdrawn"], "what was collected before serves it no more");
    facts.openings.push((31, "direct_marketing", Consent, true));
    assert!(codes(&facts).is_empty());
    let expires_at = Some(hour(50));
    facts.steps.push(Step { expires_at, ..step(40, Given, "direct_marketing") });
    assert_eq!(codes(&facts), ["consent_expired"]);
    facts.steps.push(step(45, Given, "direct_marketing"));
    assert!(codes(&facts).is_empty(), "given again before its end");
}

#[test]
fn what_is_missing_has_five_minutes() {
    let mut facts = facts("direct_marketing", Consent);
    facts.at = Some(hour(10).plus_ms(SETTLE_MS - 1));
    assert_eq!(codes(&facts), ["purpose_settling"]);
    facts.at = Some(hour(10).plus_ms(SETTLE_MS));
    assert_eq!(codes(&facts), ["consent_missing"]);
    let late = |ms| Step { at: hour(10).plus_ms(ms), ..step(10, Given, "direct_marketing") };
    facts.at = None;
    facts.steps = vec![late(SETTLE_MS)];
    assert!(codes(&facts).is_empty());
    facts.steps = vec![late(SETTLE_MS + 1)];
    assert_eq!(codes(&facts).len(), 1, "too late for what was collected");
}

#[test]
fn where_nothing_is_held_an_opening_now_is_judged() {
    let mut facts = facts("direct_marketing", Consent);
    facts.openings.clear();
    assert_eq!(codes(&facts), ["consent_missing"]);
    facts.steps = vec![step(90, Given, "direct_marketing")];
    assert!(codes(&facts).is_empty() && !verdict(&facts).data[0].held);
    facts.steps = vec![Step { at: hour(100).plus_ms(1), ..step(90, Given, "direct_marketing") }];
    assert_eq!(codes(&facts), ["consent_missing"], "nobody waits for what may come");
    facts.purposes = vec![("improvement", Some(LegitimateInterest))];
    assert!(codes(&facts).is_empty());
    facts.acts = vec![(90, What::Objected, Some("improvement"))];
    assert_eq!(codes(&facts), ["objection_upheld"]);
}

#[test]
fn every_purpose_must_be_open_for_every_datum() {
    let mut facts = facts("service_provision", Contract);
    facts.purposes.push(("personalisation", Some(Contract)));
    assert_eq!(codes(&facts), ["purpose_not_opened"]);
    assert_eq!(verdict(&facts).data[0].usable_for, [id("service_provision")]);
    facts.openings.push((50, "personalisation", Contract, false));
    assert!(codes(&facts).is_empty(), "it was added");
    facts.acts = vec![(40, What::Fulfilled, Some("service_provision"))];
    assert_eq!(codes(&facts), ["purpose_fulfilled"]);
    facts.purposes.clear();
    assert_eq!(codes(&facts), ["purpose_missing"]);
}

#[test]
fn demands_restrictions_and_executions() {
    let mut facts = facts("service_provision", Contract);
    facts.acts = vec![(20, What::Restricted, None)];
    assert_eq!(codes(&facts), ["restricted"]);
    facts.acts.push((30, What::RestrictionLifted, None));
    assert!(codes(&facts).is_empty());
    facts.acts = vec![(20, What::Restricted, None), (30, What::ErasureAccepted, None)];
    assert_eq!(codes(&facts), ["erasure_accepted"], "a later erasure lifts a restriction");
    facts.openings.push((40, "service_provision", Contract, false));
    assert_eq!(codes(&facts), ["erasure_accepted"], "what is added after a demand opens nothing");
    facts.openings.push((50, "service_provision", Contract, true));
    assert!(codes(&facts).is_empty(), "collected again");
    facts.acts = vec![(60, What::Unlawful, Some("service_provision"))];
    assert_eq!(codes(&facts), ["unlawful_processing"]);
    facts.acts = vec![(60, What::Executed, None)];
    assert!(codes(&facts).is_empty() && !verdict(&facts).data[0].held, "a new life may begin");
}

#[test]
fn an_ended_service_keeps_what_a_law_demands_only() {
    let ended = |basis| Facts { service_ended: Some(20), ..facts("p", basis) };
    assert_eq!(codes(&ended(Contract)), ["service_ended"]);
    assert!(codes(&ended(LegalObligation)).is_empty());
    let mut new = ended(LegitimateInterest);
    new.openings.clear();
    assert_eq!(codes(&new), ["service_ended"]);
}

#[test]
fn the_law_of_china_asks_separately() {
    let mut facts = facts("payment", Contract);
    facts.sensitive = true;
    assert!(codes(&facts).is_empty());
    facts.regimes = vec![Regime::CN];
    assert_eq!(codes(&facts), ["separate_consent_missing"]);
    let separate = |at| Step { kind: Some(ConsentKind::Separate), ..step(at, Given, "payment") };
    facts.steps = vec![separate(5)];
    assert!(codes(&facts).is_empty());
    let abroad = Abroad { country: "DE".parse().unwrap(), allowed: false };
    facts.recipients = vec![Recipient { id: id("pay"), independent: true, abroad: Some(abroad) }];
    assert_eq!(codes(&facts), ["separate_consent_missing", "transfer_not_allowed"]);
    facts.steps.push(Step { recipient: Some(id("pay")), ..separate(6) });
    facts.recipients[0].abroad = Some(Abroad { allowed: true, ..abroad });
    assert!(codes(&facts).is_empty());
}

#[test]
fn a_guardian_consents_for_a_child() {
    let mut facts = facts("direct_marketing", Consent);
    facts.steps = vec![step(5, Given, "direct_marketing")];
    (facts.age_band, facts.regimes) = (Some(AgeBand::Age13), vec![Regime::EU]);
    assert_eq!(codes(&facts), ["guardian_consent_missing"]);
    facts.steps = vec![Step { guardian: true, ..step(5, Given, "direct_marketing") }];
    assert!(codes(&facts).is_empty());
    let contract = |regime| Facts {
        age_band: Some(AgeBand::Age13),
        regimes: vec![regime],
        ..self::facts("service_provision", Contract)
    };
    assert!(codes(&contract(Regime::EU)).is_empty(), "GDPR 8 is about consent");
    assert_eq!(codes(&contract(Regime::CN)), ["guardian_consent_missing"]);
}

proptest::proptest! {
    /// The order in which facts are given never matters.
    #[test]
    fn any_order(order in proptest::collection::vec(0usize..6, 6), at in 0i64..100) {
        let mut straight = facts("direct_marketing", Consent);
        straight.at = Some(hour(at));
        straight.openings = [10, 35, 60].map(|n| (n, "direct_marketing", Consent, n != 35)).to_vec();
        straight.steps =
            vec![step(9, Given, "direct_marketing"), step(20, Withdrawn, "direct_marketing"), step(59, Given, "direct_marketing")];
        straight.acts = vec![(30, What::ErasureAccepted, None), (40, What::Restricted, None), (70, What::RestrictionLifted, None)];
        straight.accounts = vec![(1, true), (80, false)];
        let mut shuffled = straight.clone();
        for n in order {
            shuffled.openings.rotate_left(n % 3);
            shuffled.steps.rotate_left(n % 2);
            shuffled.acts.reverse();
            shuffled.acts.rotate_left(n % 3);
            shuffled.accounts.reverse();
        }
        proptest::prop_assert_eq!(verdict(&straight), verdict(&shuffled));
    }
}

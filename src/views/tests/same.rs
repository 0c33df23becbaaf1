//! Lives made at random: what is found about people is the same by rows as by records, in any order of events, and
//! after a rebuild.

use proptest::prelude::*;

use super::judged::*;
use super::overdue::{keep, published};
use super::persons::{collection, given, link, message, notice, on_consent, used, withdrawn};
use super::scene::*;
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What, who, on which hour, and how many hours later it is recorded.
type Deed = (u8, u8, u8, u8);

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    proptest::collection::vec((0u8..22, 0u8..3, 0u8..48, 0u8..4), 1..40)
}

fn deed(n: usize, (what, who, at, late): Deed) -> Made {
    let (who, purpose) = (u32::from(who), ["analytics", "direct_marketing"][usize::from(who % 2)]);
    let alone = vec![subject(who)];
    let named = |list: [u32; 2]| list.map(subject).to_vec();
    let (body, named) = match what {
        0 | 1 => (on_consent(&["pd:Name"], purpose), alone),
        2 => (on_consent(&["pd:UID"], purpose), vec![subject(10 + who)]),
        3 => (collection(&["pd:BankAccount"], &[("payment", LegalBasis::Contract)], Some(true)), alone),
        4 | 5 => (Body::ConsentGiven(Box::new(given(purpose))), alone),
        6 => (withdrawn(purpose), alone),
        7 => (notice(NoticeLayer::Full), alone),
        8 => (Body::DataUsed(Box::new(used("improvement"))), alone),
        9 => {
            let body = DataUsed { basis: Some(LegalBasis::Consent), ..used(purpose) };
            (Body::DataUsed(Box::new(body)), alone)
        }
        10 => (message(MessageNature::Marketing, "spring", None), alone),
        11 => (seen("1.0", &["x:imei"], false), vec![subject(10 + who)]),
        12 => (link((late % 2 == 0).then(|| day(3))), named([who, 10 + (who + u32::from(late)) % 3])),
        13 => (Body::SubjectsMerged(Box::default()), named([who, (who + 1) % 3])),
        14 => {
            let kind = Some(if late % 2 == 0 { ConsentKind::Separate } else { ConsentKind::Expressed });
            let age_band = Some(if late > 1 { AgeBand::Age13 } else { AgeBand::Adult });
            (Body::ConsentGiven(Box::new(ConsentGiven { kind, age_band, ..given("payment") })), alone)
        }
        15 => {
            let body = EventsRetracted {
                emitter: Some(id("solar-app")),
                reason: Some(RetractionReason::TestData),
                event_ids: list([event_id(u64::from(at) % 40)]),
                ..EventsRetracted::default()
            };
            (Body::EventsRetracted(Box::new(body)), alone)
        }
        16 => (Body::AccountCancelled(Box::default()), alone),
        17 => (Body::ErasureExecuted(Box::default()), alone),
        18 => (Body::TransactionCompleted(Box::default()), alone),
        19 => (Body::DataUsed(Box::new(used(purpose))), alone),
        20 => (Body::ErasureAccepted(Box::default()), alone),
        _ => (Body::AccountRegistered(Box::default()), alone),
    };
    let mut made = made(n as u64, day(1).plus_ms(i64::from(at) * HOUR + n as i64), body, named);
    made.event.envelope.regimes = vec!["CN".parse().unwrap()];
    made.event.envelope.backfill = what == 1;
    made.recorded_at = Some(made.event.envelope.occurred_at.plus_ms(i64::from(late % 3) * HOUR));
    made
}

/// The registers, the deeds, and a tick that some of it is not ripe for.
fn scene(deeds: &[Deed], order: &[usize]) -> Scene {
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-01"), None);
    let rule = |id, purpose, anchor, kind| {
        let period = Period { count: 1, unit: PeriodUnit::Days };
        published(RetentionRule { anchor, kind, period, ..keep(id, purpose) })
    };
    for body in [
        policy(&["zh", "en"], &["pd:Name"]),
        Body::RecipientRegistered(Box::new(body)),
        rule("keep.analytics", "analytics", Anchor::LastActivity, RuleKind::Keep),
        rule("keep.payment", "payment", Anchor::PurposeEnded, RuleKind::Keep),
        rule("keep.marketing", "direct_marketing", Anchor::PurposeEnded, RuleKind::Keep),
        rule("cap.marketing", "direct_marketing", Anchor::LastActivity, RuleKind::Cap),
        rule("floor.payment", "payment", Anchor::TransactionCompleted, RuleKind::Floor),
    ] {
        let n = 1_000 + scene.0.len() as u64;
        scene.0.push(made(n, day(0), body, Vec::new()));
    }
    scene.0.extend(order.iter().map(|n| deed(*n, deeds[*n])));
    let tick = scene.0.len() as u64 + 2_000;
    scene.tick(day(3));
    scene.0.last_mut().unwrap().event.envelope.event_id = event_id(tick);
    scene
}

fn everything(views: &Views) -> Vec<String> {
    let found = views.ask().unwrap().findings(None).unwrap();
    let one = |f: &crate::views::findings::Finding| {
        format!("{} x{} {:?} {:?} {} {} {:?}", f.key, f.count, f.people, f.state, f.first, f.last, f.cured)
    };
    found.findings.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn lives_are_judged_alike(
        (deeds, order) in deeds().prop_flat_map(|deeds| {
            let order: Vec<usize> = (0..deeds.len()).collect();
            (Just(deeds), Just(order).prop_shuffle())
        })
    ) {
        let straight: Vec<usize> = (0..deeds.len()).collect();
        let (_house, views) = scene(&deeds, &straight).views();
        let first = everything(&views);
        for (rows, records) in views.ask().unwrap().both_ways().unwrap() {
            if let Some(rows) = rows {
                prop_assert_eq!(rows, records);
            }
        }
        let (_other, shuffled) = scene(&deeds, &order).views();
        prop_assert_eq!(&everything(&shuffled), &first);
        views.rebuild(|_| true).unwrap();
        prop_assert_eq!(&everything(&views), &first);
    }
}

/// What was known at a position is what a log that ends there says.
#[test]
fn the_past_is_judged_by_what_was_known() {
    let deeds: Vec<Deed> =
        (0..40u8).map(|n| ((n % 18) * 7 % 18, n % 3, n, n % 4)).filter(|d| d.0 != 15).collect();
    let order: Vec<usize> = (0..deeds.len()).collect();
    let mut scene = scene(&deeds, &order);
    let head = scene.0.len();
    for n in 40..60u8 {
        scene.0.push(deed(usize::from(n), ((n % 15) * 5 % 15, n % 3, n % 48, n % 4)));
    }
    let (_house, views) = scene.views();
    for known_at in [head, head / 2] {
        let then = views.ask().unwrap().findings(Some(known_at as u64)).unwrap();
        let (_house, cut) = Scene(scene.0[..known_at].to_vec()).views();
        let now = cut.ask().unwrap().findings(None).unwrap();
        assert_eq!(then.findings, now.findings);
        assert!(!now.findings.is_empty() && now.tick.is_some() == (known_at == head));
    }
}

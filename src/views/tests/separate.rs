//! Of how many people a separate consent to what went abroad was asked, and how many had given it: by line of the
//! register of transfers, as the findings judge it, in any order of events and after a rebuild.

use super::judged::*;
use super::persons::{given, link, withdrawn};
use super::scene::*;
use super::*;
use crate::views::findings::Separate;
use crate::views::flows::FlowLine;
use crate::views::stretch::Scope;

const MINUTE: i64 = 60_000;

fn activity(basis: LegalBasis, from: i64) -> Body {
    Body::ActivityRegistered(Box::new(ActivityRegistered {
        activity: Some(id("solar.help")),
        service: Some(id("solar")),
        purposes: list([PurposeBasis { id: id("support"), basis }]),
        cats: ids(&["pd:Name"]),
        regimes: list(["CN".parse().unwrap()]),
        effective_at: Some(day(from)),
        ..Default::default()
    }))
}

/// A consent to support by the importer in Germany, asked for separately.
fn separate() -> ConsentGiven {
    ConsentGiven {
        kind: Some(ConsentKind::Separate),
        recipient: Some(id("hq")),
        country: country("DE"),
        ..given("support")
    }
}

fn gave(body: ConsentGiven) -> Body {
    Body::ConsentGiven(Box::new(body))
}

struct Told(Scene);

impl Told {
    fn new() -> Told {
        let mut scene = Scene::default();
        scene.say(day(0), activity(LegalBasis::Consent, 0), Vec::new());
        Told(scene)
    }

    fn said(&mut self, at: Timestamp, body: Body, who: u32) {
        self.0.say(at, body, vec![subject(who)]);
    }

    fn exported(&mut self, at: Timestamp, who: u32) {
        let body = DataTransferred { sensitive: Some(false), ..transfer("CN", "DE", &["pd:Name"]) };
        self.0.say(at, transferred(body), vec![subject(who)]).event.envelope.activity =
            Some(id("solar.help"));
    }
}

fn counted(views: &Views, scope: Scope) -> Vec<(FlowLine, Option<Separate>)> {
    let (ask, registers) = (views.ask().unwrap(), views.registers(Clone::clone));
    let lines = ask.transfers(&registers, scope, Timestamp::LAST).unwrap();
    let consents = ask.separate_consents(&registers, &lines, scope.known_at).unwrap();
    lines.into_iter().zip(consents).collect()
}

fn rates(scene: &Scene, scope: Scope) -> Vec<Option<(u64, u64)>> {
    let (_house, views) = scene.views();
    let counted = counted(&views, scope);
    counted.iter().map(|(_, one)| one.map(|one| (one.asked, one.consented))).collect()
}

const ALL: Scope = Scope { known_at: u64::MAX, from: None, to: None, ripe: None };

#[test]
fn a_consent_has_to_be_separate_to_this_purpose_for_this_importer_and_in_force() {
    let standing = |acts: &[(i64, Body)]| {
        let mut told = Told::new();
        acts.iter().for_each(|(minutes, body)| told.said(day(1).plus_ms(minutes * MINUTE), body.clone(), 1));
        told.exported(day(1), 1);
        rates(&told.0, ALL)
    };
    let (yes, no) = ([Some((1, 1))], [Some((1, 0))]);
    assert_eq!(standing(&[]), no);
    assert_eq!(standing(&[(-9, gave(separate()))]), yes);
    assert_eq!(standing(&[(-9, gave(given("support")))]), no, "not by itself");
    let written = ConsentGiven { kind: Some(ConsentKind::Written), ..separate() };
    assert_eq!(standing(&[(-9, gave(written))]), yes);
    let of_all = ConsentGiven { recipient: None, country: None, ..separate() };
    assert_eq!(standing(&[(-9, gave(of_all))]), yes, "it names nobody, and means this one too");
    for other in [
        ConsentGiven { recipient: Some(id("aws")), ..separate() },
        ConsentGiven { country: country("US"), ..separate() },
        ConsentGiven { purpose: Some(id("analytics")), ..separate() },
        ConsentGiven { expires_at: Some(day(1)), ..separate() },
    ] {
        assert_eq!(standing(&[(-9, gave(other.clone()))]), no, "{other:?}");
    }
    assert_eq!(standing(&[(-9, gave(separate())), (-1, withdrawn("support"))]), no);
    assert_eq!(standing(&[(-9, gave(separate())), (1, withdrawn("support"))]), yes);
    assert_eq!(
        (standing(&[(5, gave(separate()))]), standing(&[(6, gave(separate()))])),
        (yes.to_vec(), no.to_vec())
    );
}

#[test]
fn who_consented_to_some_of_a_line_did_not_consent_and_other_lines_ask_for_nothing() {
    let mut told = Told::new();
    told.said(day(2), gave(separate()), 1);
    for n in [1, 3] {
        told.exported(day(n), 1);
    }
    told.exported(day(3), 2);
    told.said(day(2), gave(separate()), 3);
    told.exported(day(3), 3);
    assert_eq!(rates(&told.0, ALL), [Some((3, 1))], "not at each");
    assert_eq!(
        rates(&told.0, Scope { from: Some(day(2)), ..ALL }),
        [Some((3, 2))],
        "at each of the third day"
    );
    assert_eq!(rates(&told.0, Scope { to: Some(day(2)), ..ALL }), [Some((1, 0))]);
    assert_eq!(rates(&told.0, Scope { known_at: 3, ..ALL }), [Some((1, 0))], "as known then");
    // From the fourth day on it rests on a contract, and nothing is asked.
    told.0.say(day(4), activity(LegalBasis::Contract, 4), Vec::new());
    told.exported(day(5), 4);
    assert_eq!(rates(&told.0, ALL), [Some((3, 1))]);
    assert_eq!(rates(&told.0, Scope { from: Some(day(4)), ..ALL }), [None]);
    let mut european = Scene::default();
    european.say(day(1), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    assert_eq!(rates(&european, ALL), [None]);
}

/// People merged, a device that two used, somebody erased, somebody who is known by nothing else.
fn crowd() -> Told {
    let mut told = Told::new();
    for who in 0..6 {
        told.exported(day(3).plus_ms(i64::from(who)), who);
    }
    told.said(day(1), gave(separate()), 0);
    told.said(day(1), gave(separate()), 2);
    told.0.say(day(6), Body::SubjectsMerged(Box::default()), vec![subject(0), subject(1)]);
    // The device 10 is that of 2 until the fourth day, then that of 3, who had consented to nothing.
    told.0.say(day(2), link(Some(day(4))), vec![subject(2), subject(10)]);
    told.0.say(day(4), link(None), vec![subject(3), subject(10)]);
    told.exported(day(3), 10);
    told.exported(day(5), 10);
    let erasure = IdentityErasureAccepted {
        tomb: Some(crate::record::tomb(person(5))),
        cause: Some(IdentityErasureCause::Operator),
        scope: Some(IdentityErasureScope::IdentityAndEvidence),
        ..Default::default()
    };
    told.0.say(day(7), Body::IdentityErasureAccepted(Box::new(erasure)), vec![subject(5)]);
    told
}

#[test]
fn people_are_counted_as_findings_count_them_in_any_order_and_rebuilt() {
    let Told(mut scene) = crowd();
    scene.tick(day(8));
    let (_house, views) = scene.views();
    let first = counted(&views, ALL);
    let [(_, Some(one))] = &first[..] else { panic!("{first:?}") };
    // 0 with 1, 2, 3 and 4; the device is its users', and of the merged one consented and for both.
    assert_eq!((one.asked, one.consented), (4, 2));
    let found = views.ask().unwrap().findings(None).unwrap();
    let key = "F-NO-SEPARATE-CONSENT service=solar purpose=support recipient=hq";
    let missing = found.findings.iter().find(|found| found.key.to_string() == key).unwrap();
    assert_eq!(missing.people, Some(one.asked - one.consented), "who is missing is who is found");
    views.rebuild(|_| true).unwrap();
    assert_eq!(counted(&views, ALL), first);
    let mut seed = 7;
    for _ in 0..4 {
        let (_house, shuffled) = scene.shuffled(&mut seed).views();
        let [(line, consents)] = &counted(&shuffled, ALL)[..] else { panic!("one line") };
        assert_eq!((&line.key, line.count, *consents), (&first[0].0.key, first[0].0.count, first[0].1));
    }
}

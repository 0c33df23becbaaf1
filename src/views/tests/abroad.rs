//! Findings about where data lie and who looks at them, and about whom events name: what raises each, and a
//! near miss, in any order, rebuilt, retracted, erased.

use super::judged::{transfer, transferred};
use super::scene::*;
use super::*;
use crate::domain::identity::Kind;
use crate::record::Noted;

const HOUR: i64 = 3_600_000;

fn service(owner: &str, stored: &str) -> Body {
    Body::ServiceRegistered(Box::new(ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id(owner)),
        storage_country: country(stored),
        ..ServiceRegistered::default()
    }))
}

fn looked(from: &str) -> Body {
    Body::StaffAccessed(Box::new(StaffAccessed {
        role: Some(id("support")),
        reason: Some(id("ticket")),
        from_country: country(from),
        ..StaffAccessed::default()
    }))
}

fn by_gateway(to: &str) -> Body {
    let mode = Some(TransferMode::RemoteAccess);
    transferred(DataTransferred { mode, ..transfer("DE", to, &["pd:Name"]) })
}

fn of_law(made: &mut Made, regimes: &[&str]) {
    made.event.envelope.regimes = regimes.iter().map(|regime| regime.parse().unwrap()).collect();
}

#[test]
fn a_look_from_abroad_is_a_transfer_and_is_recorded_as_one() {
    let mut scene = Scene::default();
    scene.say(day(0), service("kstar-eu", "DE"), Vec::new());
    for (at, from, regime) in
        [(1, "CN", "EU"), (2, "NO", "EU"), (3, "CN", "CN"), (4, "DE", "CN"), (5, "IN", "DE")]
    {
        of_law(scene.say(day(at), looked(from), vec![subject(1)]), &[regime]);
    }
    let told = scene.found();
    assert_eq!(
        of(&told, "F-REMOTE-ACCESS"),
        [
            "F-REMOTE-ACCESS service=solar from_country=CN x1",
            "F-REMOTE-ACCESS service=solar from_country=DE x1",
            "F-REMOTE-ACCESS service=solar from_country=IN x1",
        ],
        "Norway is of the area, and China looks at its own: {told:?}"
    );
    // The gateway records the transfer, an hour before or after at most, and for that country.
    scene.say(day(1).plus_ms(HOUR), by_gateway("CN"), vec![subject(1)]);
    scene.say(day(5).plus_ms(-HOUR - 1), by_gateway("IN"), vec![subject(1)]);
    scene.say(day(4), by_gateway("FR"), vec![subject(1)]);
    let told = scene.found();
    assert_eq!(
        of(&told, "F-REMOTE-ACCESS"),
        [
            "F-REMOTE-ACCESS service=solar from_country=DE x1",
            "F-REMOTE-ACCESS service=solar from_country=IN x1"
        ]
    );
    // The owner's own staff abroad are no importer.
    scene.say(day(0).plus_ms(1), service("kstar", "DE"), Vec::new());
    assert!(of(&scene.found(), "F-REMOTE-ACCESS").is_empty());
}

#[test]
fn a_look_from_abroad_is_judged_after_an_hour() {
    let mut scene = Scene::default();
    scene.say(day(0), service("kstar-eu", "DE"), Vec::new());
    of_law(scene.say(day(1), looked("CN"), vec![subject(1)]), &["EU"]);
    scene.tick(day(1).plus_ms(HOUR - 1));
    assert!(told(&scene.views().1).is_empty());
    scene.tick(day(1).plus_ms(HOUR));
    assert_eq!(told(&scene.views().1), ["F-REMOTE-ACCESS service=solar from_country=CN x1"]);
}

fn in_china(cats: &[&str], stored: Option<&str>) -> Body {
    let Body::DataCollected(body) = collected(cats, &["service_provision"], None) else { unreachable!() };
    let storage_country = stored.and_then(country);
    Body::DataCollected(Box::new(DataCollected {
        collection_country: country("CN"),
        storage_country,
        ..*body
    }))
}

#[test]
fn what_is_collected_in_china_is_stored_there_or_was_transferred() {
    let mut scene = Scene::default();
    scene.say(day(0), service("kstar", "CN"), Vec::new());
    scene.say(day(1), in_china(&["pd:Name"], None), vec![subject(1)]);
    assert!(scene.found().is_empty(), "the service keeps it in China");
    for n in 1..4 {
        scene.say(day(2), in_china(&["pd:Name", "x:imei"], Some("DE")), vec![subject(n)]);
    }
    let local = |cat: &str, n| format!("F-LOCALISATION service=solar category={cat} country=DE x{n}");
    let found = |scene: &Scene| -> Vec<String> {
        of(&scene.found(), "F-LOCALISATION").into_iter().map(str::to_owned).collect()
    };
    assert_eq!(found(&scene), [local("pd:Name", 3), local("x:imei", 3)]);
    // Of one of them it is on record, whenever it was; elsewhere, or of another category, is not that.
    scene.say(day(9), transferred(transfer("CN", "DE", &["pd:UID"])), vec![subject(1)]);
    scene.say(day(9), transferred(transfer("CN", "US", &["pd:Name"])), vec![subject(2)]);
    assert_eq!(found(&scene), [local("pd:Name", 3), local("x:imei", 2)]);
    // Two who are one person are told of together.
    scene.say(day(10), Body::SubjectsMerged(Box::default()), vec![subject(1), subject(2)]);
    assert_eq!(found(&scene), [local("pd:Name", 3), local("x:imei", 1)]);
    scene.say(day(11), gone(3), vec![subject(3)]);
    assert_eq!(found(&scene), [local("pd:Name", 3)], "of the erased nobody knows what was transferred");
}

fn gone(n: u32) -> Body {
    Body::IdentityErasureAccepted(Box::new(IdentityErasureAccepted {
        tomb: Some(crate::record::tomb(person(n))),
        cause: Some(IdentityErasureCause::Operator),
        scope: Some(IdentityErasureScope::IdentityAndEvidence),
        ..Default::default()
    }))
}

#[test]
fn a_log_holds_people_of_its_region_only() {
    let opened = |region: &str| {
        let mut scene = Scene::default();
        let body = LogOpened { region: Some(id(region)), origin: Some(id("o")), ..LogOpened::default() };
        scene.say(day(0), Body::LogOpened(Box::new(body)), Vec::new());
        for regimes in [&["EU"][..], &["DE", "CN"], &["US"], &[]] {
            of_law(scene.say(day(1), in_china(&["pd:Name"], Some("CN")), vec![subject(1)]), regimes);
        }
        let told = scene.found();
        of(&told, "F-REGION")
            .into_iter()
            .map(|text| text["F-REGION region=".len()..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(opened("EU"), ["EU regime=CN x1", "EU regime=US x1"], "Germany is of the Union");
    assert_eq!(opened("DE"), ["DE regime=CN x1", "DE regime=US x1"]);
    assert_eq!(opened("CN"), ["CN regime=DE x1", "CN regime=EU x1", "CN regime=US x1"]);
}

fn disputed(n: u32, kinds: &[Kind], realms: &[&str]) -> Named {
    let realms = realms.iter().map(|realm| id(realm)).collect();
    Named { noted: Noted { late: false, kinds: kinds.to_vec(), realms }, ..subject(n) }
}

fn late() -> Named {
    Named { noted: Noted { late: true, ..Noted::default() }, ..nobody(&[(Kind::Account, 7)]) }
}

/// Everything of this file in one scene.
fn many() -> Scene {
    let mut scene = Scene::default();
    scene.say(day(0), service("kstar-eu", "DE"), Vec::new());
    let plain = || collected(&["pd:Name"], &["service_provision"], None);
    scene.say(day(1), plain(), vec![disputed(1, &[Kind::Account, Kind::Openid], &["solar", "wx1"])]);
    scene.say(day(2), plain(), vec![disputed(2, &[Kind::Account, Kind::Openid], &["solar", "wx1"])]);
    scene.say(day(2), plain(), vec![disputed(2, &[Kind::Phone], &[])]);
    scene.say(day(3), plain(), vec![late()]);
    scene.say(day(3), plain(), vec![subject(4)]);
    of_law(scene.say(day(4), looked("CN"), vec![subject(1)]), &["EU"]);
    of_law(scene.say(day(5), looked("CN"), vec![subject(2)]), &["EU"]);
    scene.say(day(5), by_gateway("CN"), vec![subject(2)]);
    for n in 1..4 {
        scene.say(day(6), in_china(&["pd:Name"], Some("US")), vec![subject(n)]);
    }
    scene.say(day(7), transferred(transfer("CN", "US", &["pd:Name"])), vec![subject(1)]);
    scene.say(day(8), in_china(&["pd:Picture"], None), vec![subject(4)]);
    let back = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: list([event_id(2), event_id(11)]),
        ..EventsRetracted::default()
    };
    scene.say(day(9), Body::EventsRetracted(Box::new(back)), vec![subject(2)]);
    scene.tick(day(20));
    scene
}

#[test]
fn what_the_vault_saw_is_found_and_the_rest_in_any_order() {
    let straight = many();
    let (_house, views) = straight.views();
    let first = told(&views);
    let ours = |told: &[String]| -> Vec<String> {
        let codes = ["F-IDENTITY", "F-LATE", "F-REMOTE", "F-LOCAL"];
        told.iter().filter(|told| codes.iter().any(|code| told.starts_with(code))).cloned().collect()
    };
    assert_eq!(
        ours(&first),
        [
            "F-IDENTITY-CONFLICT service=solar kinds=account,openid realms=solar,wx1 x1",
            "F-IDENTITY-CONFLICT service=solar kinds=phone realms=- x1",
            "F-LATE-FOR-ERASED emitter=solar-app service=solar x1",
            "F-LOCALISATION service=solar category=pd:Name country=US x1",
            "F-LOCALISATION service=solar category=pd:Picture country=DE x1",
            "F-REMOTE-ACCESS service=solar from_country=CN x1",
        ]
    );
    views.rebuild(|_| true).unwrap();
    assert_eq!(told(&views), first);
    let mut seed = 3u64;
    for _ in 0..5 {
        let shuffled = straight.shuffled(&mut seed);
        assert_eq!(told(&shuffled.views().1), first);
    }
    // Whoever a conflict was about may be erased: it stays one.
    let mut erased = straight.clone();
    erased.say(day(21), gone(1), vec![subject(1)]);
    let (_house, views) = erased.views();
    assert_eq!(ours(&told(&views)), ours(&first));
    views.rebuild(|_| true).unwrap();
    assert_eq!(ours(&told(&views)), ours(&first));
}

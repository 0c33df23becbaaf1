//! Transfers and findings, each detector with what raises it and a near miss. Events go in as they would be
//! recorded, and everything is asked of the views.

use super::scene::*;
use super::*;
use crate::domain::transfer::{By, Verdict};
use crate::views::stretch::Scope;

pub fn transfer(from: &str, to: &str, cats: &[&str]) -> DataTransferred {
    DataTransferred {
        recipient_id: Some(id("hq")),
        from_country: country(from),
        to_country: country(to),
        cats: ids(cats),
        purpose: Some(id("support")),
        ..DataTransferred::default()
    }
}

pub fn transferred(body: DataTransferred) -> Body {
    Body::DataTransferred(Box::new(body))
}

pub fn clauses(cats: &[&str], first: &str, last: Option<&str>) -> TransferMechanismRegistered {
    TransferMechanismRegistered {
        mechanism_id: Some(id("scc-1")),
        regime: Some(TransferRegime::Eu),
        kind: Some(id("A46-2-c")),
        exporter: Some(id("kstar")),
        importer: Some(id("hq")),
        importer_country: country("CN"),
        cats: ids(cats),
        purposes: ids(&["support"]),
        signed_at: Some(day(-30)),
        effective_at: on(first),
        expires_at: last.and_then(on),
        ..TransferMechanismRegistered::default()
    }
}

pub fn registered(body: TransferMechanismRegistered) -> Body {
    Body::TransferMechanismRegistered(Box::new(body))
}

pub fn lines(views: &Views) -> Vec<(Verdict, u64)> {
    let ask = views.ask().unwrap();
    let registers = views.registers(Clone::clone);
    let lines = ask.transfers(&registers, Scope::all(u64::MAX), Timestamp::LAST).unwrap();
    lines.into_iter().map(|line| (line.key.verdict, line.count)).collect()
}

#[test]
fn a_transfer_is_judged_by_what_was_in_force_when_it_happened() {
    let mut scene = Scene::default();
    for n in 0..40 {
        scene.say(day(n), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(n as u32)]);
    }
    // Registered last, in force from day 10 to the end of day 19 in Shanghai.
    let body = clauses(&["pd:Name"], "2026-01-11", Some("2026-01-20"));
    scene.say(day(40), registered(body), Vec::new());
    let (_house, views) = scene.views();
    let covered = Verdict::Allowed(By::Mechanism(id("scc-1")));
    // Days are instants at midnight UTC, eight hours into the Chinese day.
    assert_eq!(
        lines(&views),
        [(covered, 10), (Verdict::Expired(Some(id("scc-1"))), 20), (Verdict::Nothing, 10)]
    );
    let told = scene.found();
    let expired =
        "F-TRANSFER-EXPIRED mechanism=scc-1 exporter=kstar importer=hq country=CN purpose=support x20";
    let none =
        "F-TRANSFER-NO-MECHANISM mechanism=- exporter=kstar importer=hq country=CN purpose=support x10";
    assert_eq!(
        (of(&told, "F-TRANSFER-EXPIRED"), of(&told, "F-TRANSFER-NO-MECHANISM")),
        (vec![expired], vec![none])
    );
    assert_eq!(of(&told, "F-TRANSFER-NO-ASSESSMENT"), ["F-TRANSFER-NO-ASSESSMENT mechanism=scc-1 x10"]);
}

#[test]
fn a_mechanism_covers_narrower_categories_and_nothing_beside_them() {
    let mut scene = Scene::default();
    scene.say(day(0), registered(clauses(&["pd:UID"], "2025-12-01", None)), Vec::new());
    scene.say(day(1), transferred(transfer("DE", "CN", &["x:imei"])), vec![subject(1)]);
    assert_eq!(of(&scene.found(), "F-TRANSFER-SCOPE"), Vec::<&str>::new());
    scene.say(day(2), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    scene.say(day(3), transferred(transfer("DE", "FR", &["pd:Name"])), vec![subject(1)]);
    scene.say(day(3), transferred(transfer("DE", "JP", &["pd:Name"])), vec![subject(1)]);
    let told = scene.found();
    assert_eq!(of(&told, "F-TRANSFER-SCOPE").len(), 1, "{told:?}");
    assert!(of(&told, "F-TRANSFER-NO-MECHANISM").is_empty(), "within the EEA, and to Japan: {told:?}");
}

#[test]
fn a_suspension_ends_what_is_covered_until_it_is_registered_again() {
    let mut scene = Scene::default();
    scene.say(day(0), registered(clauses(&[], "2025-12-01", None)), Vec::new());
    let stop = TransferMechanismSuspended { mechanism_id: Some(id("scc-1")), reason: Some(id("law")) };
    scene.say(day(10), Body::TransferMechanismSuspended(Box::new(stop)), Vec::new());
    scene.say(
        day(20),
        registered(TransferMechanismRegistered {
            signed_at: Some(day(20)),
            ..clauses(&[], "2026-01-01", None)
        }),
        Vec::new(),
    );
    for n in [5, 15, 25] {
        scene.say(day(n), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    }
    let (_house, views) = scene.views();
    let covered = Verdict::Allowed(By::Mechanism(id("scc-1")));
    assert_eq!(lines(&views), [(covered, 2), (Verdict::Expired(Some(id("scc-1"))), 1)]);
}

#[test]
fn numbers_out_of_china_count_people_once_and_erased_ones_on() {
    let mut scene = Scene::default();
    let abroad = |sensitive| {
        transferred(DataTransferred {
            sensitive: Some(sensitive),
            ..transfer("CN", "DE", &["pd:EmailAddress"])
        })
    };
    for n in 0..6 {
        scene.say(day(n), abroad(false), vec![subject(n as u32 % 3)]);
    }
    let (_house, views) = scene.views();
    assert_eq!(lines(&views), [(Verdict::Allowed(By::BelowThreshold), 6)]);
    let count = |views: &Views| {
        let ask = views.ask().unwrap();
        let (transfers, registers) = (ask.transfer_shapes(), views.registers(Clone::clone));
        let judge = ask.judge(&registers, &transfers, Scope::all(u64::MAX), Timestamp::LAST).unwrap();
        let counter = judge.counters.0[&(id("kstar"), 2026)].clone();
        (counter.general.count(), counter.sensitive.count())
    };
    assert_eq!(count(&views), (3, 0));
    let merge = Body::SubjectsMerged(Box::default());
    scene.say(day(6), merge, vec![subject(0), subject(1)]);
    assert_eq!(count(&scene.views().1), (2, 0));
    // One sensitive person is enough for the next tier.
    scene.say(day(7), abroad(true), vec![subject(9)]);
    let told = scene.found();
    assert_eq!(
        of(&told, "F-CN-THRESHOLD"),
        ["F-CN-THRESHOLD exporter=kstar year=2026 tier=contract percent=100 x1"]
    );
    assert_eq!(of(&told, "F-TRANSFER-NO-MECHANISM").len(), 1, "from then on only: {told:?}");
    assert!(of(&told, "F-TRANSFER-NO-MECHANISM")[0].ends_with("x1"));
    let gone = Body::IdentityErasureAccepted(Box::new(IdentityErasureAccepted {
        tomb: Some(crate::record::tomb(person(9))),
        cause: Some(IdentityErasureCause::Operator),
        scope: Some(IdentityErasureScope::IdentityAndEvidence),
        ..Default::default()
    }));
    scene.say(day(8), gone, vec![subject(9)]);
    let tally = |line: &str| TransferTally { line: id(line), year: 2026, sensitive: true };
    let done = Body::IdentityErased(Box::new(IdentityErased {
        tomb: Some(crate::record::tomb(person(9))),
        transfer_tallies: list([tally("all"), tally("kstar:CN")]),
        ..Default::default()
    }));
    scene.say(day(8), done, Vec::new());
    assert_eq!(count(&scene.views().1), (2, 1));
}

pub fn recipient(
    cats: &[&str],
    purposes: &[&str],
    from: Option<&str>,
    to: Option<&str>,
) -> RecipientRegistered {
    RecipientRegistered {
        recipient_id: Some(id("pay")),
        legal_name: "Pay Ltd".parse().ok(),
        role: Some(RecipientRole::Sdk),
        country: country("CN"),
        contract_ref: Some(id("c-7")),
        contract_from: from.and_then(on),
        contract_to: to.and_then(on),
        cats: ids(cats),
        purposes: ids(purposes),
        sdk: Some(SdkInfo { name: id("paysdk"), versions: List::default(), package: None }),
        ..RecipientRegistered::default()
    }
}

pub fn shared(cats: &[&str], purpose: &str, safeguards: &[Safeguard]) -> Body {
    Body::DataShared(Box::new(DataShared {
        recipient_id: Some(id("pay")),
        cats: ids(cats),
        purpose: Some(id(purpose)),
        safeguards: list(safeguards.iter().copied()),
        ..DataShared::default()
    }))
}

#[test]
fn what_is_shared_needs_a_contract_a_safeguard_and_a_registered_purpose() {
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-05"), Some("2026-01-10"));
    scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
    let safe = [Safeguard::Encryption];
    // The fifth begins at 16:00 UTC of the fourth; the tenth ends at 16:00 UTC.
    for hours in [-9, 0, 24 * 6 - 9, 24 * 6 - 8] {
        let at = day(4).plus_ms(hours * 3_600_000);
        scene.say(at, shared(&["x:imei"], "payment", &safe), vec![subject(1)]);
    }
    assert_eq!(scene.found(), ["F-RECIPIENT-NO-CONTRACT recipient=pay contract=c-7 x2"]);
    scene.say(day(5), shared(&["pd:Name"], "direct_marketing", &[]), vec![subject(1)]);
    assert_eq!(
        scene.found(),
        [
            "F-PURPOSE-CREEP service=solar purpose=direct_marketing x1",
            "F-RECIPIENT-NO-CONTRACT recipient=pay contract=c-7 x2",
            "F-SDK-SCOPE sdk=paysdk recipient=pay category=pd:Name x1",
            "F-SHARE-NO-SAFEGUARD recipient=pay activity=- x1",
        ]
    );
}

#[test]
fn absence_is_judged_when_it_had_time_to_be_cured() {
    let mut scene = Scene::default();
    scene.say(day(1), shared(&[], "payment", &[Safeguard::Encryption]), vec![subject(1)]);
    let contract = |scene: &Scene| of(&told(&scene.views().1), "F-RECIPIENT-NO-CONTRACT").len();
    assert_eq!(contract(&scene), 0, "without a tick nothing that rests on absence is found");
    scene.tick(day(1).plus_ms(10 * 60_000 - 1));
    assert_eq!(contract(&scene), 0);
    scene.tick(day(1).plus_ms(10 * 60_000));
    assert_eq!(contract(&scene), 1);
}

pub fn seen(version: &str, cats: &[&str], early: bool) -> Body {
    Body::SdkObserved(Box::new(SdkObserved {
        sdk_name: Some(id("paysdk")),
        sdk_version: Some(id(version)),
        app_version: Some(id("3.1")),
        cats: ids(cats),
        before_consent: Some(early),
        ..SdkObserved::default()
    }))
}

#[test]
fn an_sdk_is_declared_and_reads_what_it_declared() {
    let mut scene = Scene::default();
    scene.say(day(1), seen("1.0", &["x:imei"], false), Vec::new());
    assert_eq!(scene.found(), ["F-SDK-UNDECLARED sdk_name=paysdk x1"]);
    let body = recipient(&["pd:UID"], &[], Some("2026-01-01"), None);
    scene.say(day(2), Body::RecipientRegistered(Box::new(body)), Vec::new());
    scene.say(day(3), seen("1.0", &["x:imei"], false), Vec::new());
    assert_eq!(
        scene.found(),
        ["F-SDK-UNDECLARED sdk_name=paysdk x1"],
        "what was declared later is not cured"
    );
    scene.say(day(4), seen("1.1", &["x:imei", "x:clipboard"], true), Vec::new());
    assert_eq!(
        scene.found(),
        [
            "F-PRE-CONSENT-SDK sdk=paysdk app_version=3.1 x1",
            "F-SDK-CHANGED sdk=paysdk sdk_version=1.1 x1",
            "F-SDK-SCOPE sdk=paysdk recipient=pay category=x:clipboard x1",
            "F-SDK-UNDECLARED sdk_name=paysdk x1",
        ]
    );
}

pub fn policy(locales: &[&str], cats: &[&str]) -> Body {
    let text = |locale: &&str| LocaleText { locale: id(locale), sha256: Digest([1; 32]) };
    Body::PolicyPublished(Box::new(PolicyPublished {
        policy_id: Some(id("p")),
        version: Some(id("v1")),
        locales: list(locales.iter().map(text)),
        declared: list([DeclaredPurpose { purpose: id("service_provision"), cats: ids(cats) }]),
        effective_at: Some(day(1)),
        ..PolicyPublished::default()
    }))
}

#[test]
fn what_is_collected_is_what_the_policy_declares() {
    let mut scene = Scene::default();
    scene.say(day(1), policy(&["zh-CN", "en"], &["pd:UID"]), Vec::new());
    scene.say(day(0), collected(&["pd:Picture"], &["service_provision"], None), vec![subject(1)]);
    scene.say(day(2), collected(&["x:imei"], &["service_provision"], None), vec![subject(1)]);
    assert_eq!(scene.found(), Vec::<String>::new(), "before the policy, and narrower than declared");
    scene.say(day(3), collected(&["pd:Picture"], &["service_provision"], None), vec![subject(1)]);
    scene.say(day(3), collected(&["x:made_up"], &["own_purpose"], None), vec![subject(1)]);
    let own = "F-CATEGORY-UNDECLARED policy_version=v1 purpose=own_purpose category=x:made_up x1";
    let picture = "F-CATEGORY-UNDECLARED policy_version=v1 purpose=service_provision category=pd:Picture x1";
    assert_eq!(of(&scene.found(), "F-CATEGORY-UNDECLARED"), [own, picture]);
    assert_eq!(
        of(&scene.found(), "F-UNMAPPED"),
        ["F-UNMAPPED kind=category term=x:made_up x1", "F-UNMAPPED kind=purpose term=own_purpose x1"]
    );
    // A mapping applies to the past.
    for (kind, term, to) in [
        (MappingKind::Category, "x:made_up", "x:imei"),
        (MappingKind::Purpose, "own_purpose", "service_provision"),
    ] {
        let body = MappingAdded {
            kind: Some(kind),
            term: Some(id(term)),
            maps_to: Some(id(to)),
            ..MappingAdded::default()
        };
        scene.say(day(9), Body::MappingAdded(Box::new(body)), Vec::new());
    }
    assert_eq!(scene.found(), [picture]);
    scene.say(day(10), policy(&["zh"], &[]), Vec::new());
    assert_eq!(of(&scene.found(), "F-BILINGUAL"), ["F-BILINGUAL policy=p version=v1 x1"]);
}

#[test]
fn collections_in_clear_without_basis_or_assessment() {
    let mut scene = Scene::default();
    let activity = ActivityRegistered {
        activity: Some(id("track")),
        service: Some(id("solar")),
        purposes: list([PurposeBasis { id: id("location_service"), basis: LegalBasis::LegitimateInterest }]),
        cats: ids(&["pd:GPSCoordinate"]),
        regimes: list(["CN".parse().unwrap()]),
        sensitive: Some(true),
        effective_at: Some(day(0)),
        ..ActivityRegistered::default()
    };
    scene.say(day(0), Body::ActivityRegistered(Box::new(activity)), Vec::new());
    let collect = |scene: &mut Scene, at, encrypted| {
        let body = DataCollected { encrypted_at_rest: Some(encrypted), ..DataCollected::default() };
        let made = scene.say(at, Body::DataCollected(Box::new(body)), vec![subject(1)]);
        made.event.envelope.activity = Some(id("track"));
    };
    collect(&mut scene, day(1), false);
    assert_eq!(
        scene.found(),
        [
            "F-BASIS-REGIME activity=track service=- purpose=location_service x1",
            "F-CLEARTEXT service=solar category=pd:GPSCoordinate x1",
            "F-NO-ASSESSMENT activity=track recipient=- kind=pipia x1",
            "F-NO-SEPARATE-CONSENT service=solar purpose=location_service recipient=- x1",
        ]
    );
    let assessed = AssessmentRecorded {
        kind: Some(AssessmentKind::Pipia),
        subject_matter: Some(id("track")),
        result: Some(AssessmentResult::Ok),
        ..AssessmentRecorded::default()
    };
    scene.say(day(2), Body::AssessmentRecorded(Box::new(assessed)), Vec::new());
    collect(&mut scene, day(3), true);
    let told = scene.found();
    assert_eq!(of(&told, "F-NO-ASSESSMENT"), ["F-NO-ASSESSMENT activity=track recipient=- kind=pipia x1"]);
    assert_eq!(of(&told, "F-CLEARTEXT"), ["F-CLEARTEXT service=solar category=pd:GPSCoordinate x1"]);
}

#[test]
fn an_assessment_counts_from_when_it_was_made() {
    let mut scene = Scene::default();
    scene.say(day(0), registered(clauses(&[], "2025-12-01", None)), Vec::new());
    for n in 1..5 {
        scene.say(day(n), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    }
    let assessed = |result| TransferAssessed {
        kind: Some(AssessmentKind::Tia),
        subject_matter: Some(id("hq")),
        result: Some(result),
        ..TransferAssessed::default()
    };
    let bad = Body::TransferAssessed(Box::new(assessed(AssessmentResult::NotOk)));
    scene.say(day(2), bad, Vec::new());
    assert_eq!(
        of(&scene.found(), "F-TRANSFER-NO-ASSESSMENT"),
        ["F-TRANSFER-NO-ASSESSMENT mechanism=scc-1 x4"]
    );
    let good = Body::TransferAssessed(Box::new(assessed(AssessmentResult::OkWithMeasures)));
    scene.say(day(3), good, Vec::new());
    assert_eq!(
        of(&scene.found(), "F-TRANSFER-NO-ASSESSMENT"),
        ["F-TRANSFER-NO-ASSESSMENT mechanism=scc-1 x2"]
    );
}

#[test]
fn a_derogation_that_is_used_often_is_no_exception() {
    let mut scene = Scene::default();
    let consent =
        TransferMechanismRegistered { kind: Some(id("A49-1-a")), ..clauses(&[], "2025-12-01", None) };
    scene.say(day(0), registered(consent), Vec::new());
    for n in [1, 200] {
        scene.say(day(n), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    }
    assert!(of(&scene.found(), "F-TRANSFER-SCOPE").is_empty());
    scene.say(day(367), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    assert!(of(&scene.found(), "F-TRANSFER-SCOPE").is_empty(), "three, but not within a year");
    scene.say(day(300), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    assert_eq!(of(&scene.found(), "F-TRANSFER-SCOPE").len(), 1);
}

#[test]
fn the_end_of_a_mechanism_in_use_is_told_before() {
    let mut scene = Scene::default();
    scene.say(day(0), registered(clauses(&[], "2025-12-01", Some("2026-12-31"))), Vec::new());
    scene.say(day(1), transferred(transfer("DE", "CN", &["pd:Name"])), vec![subject(1)]);
    // It ends at 16:00 UTC of 31 December, day 364.
    let end = day(364).plus_ms(16 * 3_600_000);
    let told_at = |days: i64| {
        let mut scene = scene.clone();
        scene.tick(end.plus_ms(-days * 86_400_000));
        let (_house, views) = scene.views();
        let found = views.ask().unwrap().findings(None).unwrap().findings.clone();
        found.into_iter().find(|f| f.key.code() == "F-TRANSFER-EXPIRING").map(|finding| finding.severity)
    };
    use crate::domain::finding::Severity::{High, Medium};
    assert_eq!(
        (told_at(91), told_at(90), told_at(8), told_at(7)),
        (None, Some(Medium), Some(Medium), Some(High))
    );
    let next =
        TransferMechanismRegistered { mechanism_id: Some(id("scc-2")), ..clauses(&[], "2026-12-31", None) };
    scene.say(day(2), registered(next), Vec::new());
    scene.tick(end.plus_ms(-86_400_000));
    assert!(of(&told(&scene.views().1), "F-TRANSFER-EXPIRING").is_empty(), "another takes its place");
}

#[test]
fn a_chinese_contract_is_filed_in_ten_working_days() {
    let contract = |filed: Option<Timestamp>| TransferMechanismRegistered {
        regime: Some(TransferRegime::Cn),
        kind: Some(id("cn_standard_contract")),
        importer_country: country("DE"),
        filing: filed.map(|at| Filing { number: id("no-1"), filed_at: Some(at), accepted_at: None }),
        ..clauses(&[], "2026-01-05", None)
    };
    let found = |body, at| {
        let mut scene = Scene::default();
        scene.say(day(0), registered(body), Vec::new());
        scene.tick(at);
        of(&told(&scene.views().1), "F-CN-FILING-LATE").len()
    };
    // A Monday; the tenth working day after it is Monday the 19th, to its end at 16:00 UTC.
    let due = day(18).plus_ms(16 * 3_600_000);
    assert_eq!((found(contract(None), due.plus_ms(-1)), found(contract(None), due)), (0, 1));
    assert_eq!(found(contract(Some(due.plus_ms(-1))), day(60)), 0);
    assert_eq!(found(contract(Some(due)), day(60)), 1);
}

#[test]
fn decisions_and_analyses_leave_people_their_say() {
    let decided = |human_review, opt_out_offered, effect| {
        let body = AutomatedDecisionMade {
            logic_ref: Some(id("score")),
            effect: Some(effect),
            human_review: Some(human_review),
            opt_out_offered: Some(opt_out_offered),
            ..AutomatedDecisionMade::default()
        };
        Body::AutomatedDecisionMade(Box::new(body))
    };
    let found = |body: Body, regimes: &[&str]| {
        let mut scene = Scene::default();
        let made = scene.say(day(1), body, vec![subject(1)]);
        made.event.envelope.regimes = regimes.iter().map(|regime| regime.parse().unwrap()).collect();
        scene.found()
    };
    let adm = ["F-ADM logic_ref=score x1"];
    assert_eq!(found(decided(false, true, DecisionEffect::Legal), &["EU"]), adm);
    assert_eq!(found(decided(true, false, DecisionEffect::Similar), &["CN"]), adm);
    for regime in ["EU", "CN"] {
        assert!(found(decided(regime == "EU", regime == "CN", DecisionEffect::Legal), &[regime]).is_empty());
        assert!(found(decided(false, false, DecisionEffect::None), &[regime]).is_empty());
    }
    let used = |pseudonymous| {
        let purpose = Some(id("analytics"));
        Body::DataUsed(Box::new(DataUsed {
            purpose,
            pseudonymous: Some(pseudonymous),
            ..DataUsed::default()
        }))
    };
    assert_eq!(found(used(false), &[]), ["F-ANALYTICS-LINKED service=solar x1"]);
    assert!(found(used(true), &[]).is_empty());
}

#[test]
fn authorities_get_what_a_law_names_and_a_domestic_one_approves() {
    let decided = |at_home: bool, legal_ref: Option<&str>, approval_ref: Option<&str>, decision| {
        let body = AuthorityDisclosureDecided {
            authority: Some(id("doj")),
            country: country(if at_home { "CN" } else { "US" }),
            legal_ref: legal_ref.and_then(|text| text.parse().ok()),
            approval_ref: approval_ref.map(id),
            decision: Some(decision),
            ..AuthorityDisclosureDecided::default()
        };
        let mut scene = Scene::default();
        let body = Body::AuthorityDisclosureDecided(Box::new(body));
        scene.say(day(1), body, vec![subject(1)]).event.envelope.regimes = vec!["CN".parse().unwrap()];
        scene.found()
    };
    use DisclosureDecision::{Complied, Refused};
    let foreign = "F-FOREIGN-AUTHORITY authority=doj legal_ref=Act%201 x1";
    assert_eq!(decided(false, Some("Act 1"), None, Complied), [foreign]);
    assert!(decided(false, Some("Act 1"), Some("moj-7"), Complied).is_empty());
    assert!(decided(true, Some("Act 1"), None, Complied).is_empty());
    assert_eq!(decided(true, None, None, Complied), ["F-AUTHORITY-DISCLOSURE authority=doj legal_ref=- x1"]);
    assert!(decided(true, None, None, Refused).is_empty());
}

#[test]
fn an_emitter_that_leaves_numbers_out_or_falls_silent_is_named() {
    let mut scene = Scene::default();
    let service = ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id("kstar")),
        emitters: ids(&["solar-app"]),
        silence_after_minutes: Some(120),
        ..ServiceRegistered::default()
    };
    scene.say(day(0), Body::ServiceRegistered(Box::new(service)), Vec::new());
    for (n, seq) in [(1, 1), (2, 2), (3, 5)] {
        let made = scene.say(day(n), collected(&["pd:UID"], &["service_provision"], None), vec![subject(1)]);
        made.event.envelope.emitter_seq = Some(seq);
    }
    let at = |minutes: i64| {
        let mut scene = scene.clone();
        scene.tick(day(3).plus_ms(minutes * 60_000));
        // The tick is custody's own.
        scene.0.last_mut().unwrap().event.envelope.emitter = id("custody");
        told(&scene.views().1)
    };
    let gap = "F-EMITTER-GAP emitter=solar-app x2";
    assert_eq!(of(&at(9), "F-EMITTER-GAP"), Vec::<&str>::new());
    assert_eq!(of(&at(10), "F-EMITTER-GAP"), [gap]);
    assert_eq!(of(&at(119), "F-EMITTER-SILENT"), Vec::<&str>::new());
    assert_eq!(of(&at(120), "F-EMITTER-SILENT"), ["F-EMITTER-SILENT emitter=solar-app service=solar x1"]);
}

/// Whatever has a detector is raised by one of these tests or their neighbours', and named in it.
#[test]
fn every_detector_has_its_case_here() {
    let text = [
        include_str!("judged.rs"),
        include_str!("abroad.rs"),
        include_str!("cured.rs"),
        include_str!("overdue.rs"),
        include_str!("persons.rs"),
    ]
    .concat();
    for code in findings::JUDGED {
        let raised =
            text.matches(&format!("\"{code} ")).count() + text.matches(&format!("\"{code}\"")).count();
        assert!(raised > 0, "{code}");
    }
}

//! What is wrong about single people, each with what raises it and a near miss.

use super::judged::*;
use super::scene::*;
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub(super) fn on_consent(cats: &[&str], purpose: &str) -> Body {
    collection(cats, &[(purpose, LegalBasis::Consent)], None)
}

pub(super) fn collection(cats: &[&str], purposes: &[(&str, LegalBasis)], sensitive: Option<bool>) -> Body {
    Body::DataCollected(Box::new(DataCollected {
        cats: ids(cats),
        purposes: list(
            purposes.iter().map(|(purpose, basis)| PurposeBasis { id: id(purpose), basis: *basis }),
        ),
        sensitive,
        ..DataCollected::default()
    }))
}

pub(super) fn given(purpose: &str) -> ConsentGiven {
    ConsentGiven { purpose: Some(id(purpose)), kind: Some(ConsentKind::Expressed), ..ConsentGiven::default() }
}

pub(super) fn consent(purpose: &str) -> Body {
    Body::ConsentGiven(Box::new(given(purpose)))
}

pub(super) fn withdrawn(purpose: &str) -> Body {
    Body::ConsentWithdrawn(Box::new(ConsentWithdrawn { purpose: Some(id(purpose)), ..Default::default() }))
}

fn refused(purpose: &str) -> Body {
    Body::ConsentRefused(Box::new(ConsentRefused { purpose: Some(id(purpose)), ..Default::default() }))
}

pub(super) fn notice(layer: NoticeLayer) -> Body {
    Body::NoticeShown(Box::new(NoticeShown { layer: Some(layer), ..NoticeShown::default() }))
}

pub(super) fn used(purpose: &str) -> DataUsed {
    DataUsed { purpose: Some(id(purpose)), ..DataUsed::default() }
}

fn using(body: DataUsed) -> Body {
    Body::DataUsed(Box::new(body))
}

pub(super) fn link(to: Option<Timestamp>) -> Body {
    Body::IdentifierLinked(Box::new(IdentifierLinked {
        source: Some(LinkSource::Login),
        to,
        ..IdentifierLinked::default()
    }))
}

fn chinese(made: &mut Made) {
    made.event.envelope.regimes = vec!["CN".parse().unwrap()];
}

#[test]
fn what_begins_on_consent_needs_one_in_force() {
    let found = |acts: &[(i64, Body)]| {
        let mut scene = Scene::default();
        for (at, body) in acts {
            scene.say(day(1).plus_ms(*at), body.clone(), vec![subject(1)]);
        }
        scene.say(day(1), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
        scene.found()
    };
    let raised = ["F-NO-CONSENT service=solar purpose=analytics x1"];
    assert_eq!(found(&[]), raised);
    assert_eq!(found(&[(5 * MINUTE + 1, consent("analytics"))]), raised);
    assert!(found(&[(5 * MINUTE, consent("analytics"))]).is_empty(), "within the time to settle");
    assert_eq!(found(&[(-HOUR, consent("analytics")), (-MINUTE, withdrawn("analytics"))]), raised);
    assert!(found(&[(-HOUR, consent("analytics")), (-MINUTE, refused("analytics"))]).is_empty());
    assert_eq!(found(&[(-HOUR, consent("improvement"))]), raised, "to another purpose");
    let runs_out = ConsentGiven { expires_at: Some(day(1)), ..given("analytics") };
    assert_eq!(found(&[(-HOUR, Body::ConsentGiven(Box::new(runs_out)))]), raised);
    let otherwise = collection(&["pd:Name"], &[("analytics", LegalBasis::Contract)], None);
    assert!(found(&[(-HOUR, otherwise)]).is_empty(), "an episode keeps the basis on which it was opened");
}

#[test]
fn a_purpose_is_added_with_an_assessment_or_a_new_consent() {
    let found = |compatibility, assessed: bool, consented: bool, basis| {
        let mut scene = Scene::default();
        if consented {
            scene.say(day(1), consent("analytics"), vec![subject(1)]);
        }
        let body = PurposeAdded {
            purpose: Some(PurposeBasis { id: id("analytics"), basis }),
            compatibility,
            assessment_ref: assessed.then(|| id("lia-1")),
            ..PurposeAdded::default()
        };
        scene.say(day(2), Body::PurposeAdded(Box::new(body)), vec![subject(1)]);
        scene.found()
    };
    use Compatibility::{Compatible, NewConsent};
    use LegalBasis::{Consent, LegitimateInterest};
    let creep = "F-PURPOSE-CREEP service=solar purpose=analytics x1";
    assert_eq!(found(Some(Compatible), false, true, LegitimateInterest), [creep]);
    assert!(found(Some(Compatible), true, false, LegitimateInterest).is_empty());
    let none = "F-NO-CONSENT service=solar purpose=analytics x1";
    assert_eq!(found(Some(NewConsent), true, false, Consent), [none, creep]);
    assert!(found(Some(NewConsent), false, true, Consent).is_empty());
    assert_eq!(found(None, false, false, LegitimateInterest), [creep]);
}

#[test]
fn older_data_may_have_their_proof_elsewhere() {
    let service = |scene: &mut Scene| {
        let body = ServiceRegistered {
            service: Some(id("solar")),
            owner: Some(id("kstar")),
            evidence_from: Some(day(10)),
            ..ServiceRegistered::default()
        };
        scene.say(day(12), Body::ServiceRegistered(Box::new(body)), Vec::new());
    };
    let legacy = "F-LEGACY-EVIDENCE service=solar purpose=analytics x1";
    let mut scene = Scene::default();
    service(&mut scene);
    scene.say(day(9), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
    assert_eq!(of(&scene.found(), "F-LEGACY-EVIDENCE"), [legacy]);
    assert!(of(&scene.found(), "F-NO-CONSENT").is_empty());
    scene.say(day(10), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]);
    assert_eq!(of(&scene.found(), "F-NO-CONSENT"), ["F-NO-CONSENT service=solar purpose=analytics x1"]);

    let mut scene = Scene::default();
    service(&mut scene);
    scene.say(day(20), on_consent(&["pd:Name"], "analytics"), vec![subject(1)]).event.envelope.backfill =
        true;
    assert_eq!(of(&scene.found(), "F-LEGACY-EVIDENCE"), [legacy]);
    scene.say(day(19), consent("analytics"), vec![subject(1)]);
    assert!(of(&scene.found(), "F-LEGACY-EVIDENCE").is_empty());

    // A closed account, and data on its contract that were entered afterwards.
    let mut scene = Scene::default();
    let account = |body| (day(20), body, vec![subject(1)]);
    let (at, body, named) = account(Body::AccountCancelled(Box::default()));
    scene.say(at, body, named);
    let body = collection(&["pd:Name"], &[("support", LegalBasis::Contract)], None);
    scene.say(day(25), body.clone(), vec![subject(1)]);
    let ended = "F-USE-AFTER-END service=solar purpose=support cause=account_cancelled x1";
    assert_eq!(scene.found(), [ended]);
    scene.say(day(26), body, vec![subject(1)]).event.envelope.backfill = true;
    assert_eq!(scene.found(), ["F-LEGACY-EVIDENCE service=solar purpose=support x1", ended]);
    scene.say(day(24), Body::AccountRegistered(Box::default()), vec![subject(1)]);
    assert!(scene.found().is_empty());
}

#[test]
fn chinese_law_asks_for_separate_consent() {
    let found = |kind, to: Option<&str>, body: Body, regime: bool| {
        let mut scene = Scene::default();
        let body_of = RecipientRegistered {
            role: Some(RecipientRole::Controller),
            ..recipient(&[], &[], Some("2026-01-01"), None)
        };
        scene.say(day(0), Body::RecipientRegistered(Box::new(body_of)), Vec::new());
        let consent = ConsentGiven { kind: Some(kind), recipient: to.map(id), ..given("payment") };
        scene.say(day(1), Body::ConsentGiven(Box::new(consent)), vec![subject(1)]);
        let made = scene.say(day(2), body, vec![subject(1)]);
        if regime {
            chinese(made);
        }
        of(&scene.found(), "F-NO-SEPARATE-CONSENT").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    use ConsentKind::{Explicit, Separate, Written};
    let sensitive = || collection(&["pd:BankAccount"], &[("payment", LegalBasis::Contract)], Some(true));
    let raised = ["F-NO-SEPARATE-CONSENT service=solar purpose=payment recipient=- x1"];
    assert_eq!(found(Explicit, None, sensitive(), true), raised);
    assert!(found(Explicit, None, sensitive(), false).is_empty(), "under another law");
    assert!(found(Separate, None, sensitive(), true).is_empty());
    let plain = collection(&["pd:Name"], &[("payment", LegalBasis::Contract)], Some(false));
    assert!(found(Explicit, None, plain, true).is_empty());
    let share = || shared(&["pd:UID"], "payment", &[Safeguard::Encryption]);
    let raised = ["F-NO-SEPARATE-CONSENT service=solar purpose=payment recipient=pay x1"];
    assert_eq!(found(Separate, None, share(), true), raised, "it names nobody");
    assert!(found(Written, Some("pay"), share(), true).is_empty());
}

#[test]
fn an_export_on_consent_needs_a_separate_one() {
    let found = |basis, kind, to: &str| {
        let mut scene = Scene::default();
        let activity = ActivityRegistered {
            activity: Some(id("help")),
            service: Some(id("solar")),
            purposes: list([PurposeBasis { id: id("support"), basis }]),
            regimes: list(["CN".parse().unwrap()]),
            effective_at: Some(day(0)),
            ..ActivityRegistered::default()
        };
        scene.say(day(0), Body::ActivityRegistered(Box::new(activity)), Vec::new());
        let consent = ConsentGiven { kind: Some(kind), country: country(to), ..given("support") };
        scene.say(day(1), Body::ConsentGiven(Box::new(consent)), vec![subject(1)]);
        let made = scene.say(day(2), transferred(transfer("CN", "DE", &["pd:Name"])), vec![subject(1)]);
        made.event.envelope.activity = Some(id("help"));
        of(&scene.found(), "F-NO-SEPARATE-CONSENT").len()
    };
    use ConsentKind::{Expressed, Separate};
    assert_eq!(found(LegalBasis::Consent, Expressed, "DE"), 1);
    assert_eq!(found(LegalBasis::Consent, Separate, "US"), 1, "for another country");
    assert_eq!(found(LegalBasis::Consent, Separate, "DE"), 0);
    assert_eq!(found(LegalBasis::Contract, Expressed, "DE"), 0);
}

#[test]
fn data_are_used_for_what_they_were_collected_for() {
    let mut scene = Scene::default();
    scene.say(day(1), using(used("improvement")), vec![subject(1)]);
    assert!(scene.found().is_empty(), "nothing is held that it could be about");
    let held = collection(&["pd:Name"], &[("support", LegalBasis::Contract)], None);
    scene.say(day(2), held, vec![subject(1)]);
    scene.say(day(3), using(used("support")), vec![subject(1)]);
    assert!(scene.found().is_empty());
    scene.say(day(3), using(used("improvement")), vec![subject(1)]);
    let other = DataUsed { category: Some(id("pd:Picture")), ..used("improvement") };
    scene.say(day(3), using(other), vec![subject(1)]);
    let raised = ["F-PURPOSE-CREEP service=solar purpose=improvement x1"];
    assert_eq!(scene.found(), raised, "and no picture is held");
    let later = collection(&["pd:Name"], &[("improvement", LegalBasis::Contract)], None);
    scene.say(day(4), later, vec![subject(1)]);
    scene.say(day(5), using(used("improvement")), vec![subject(1)]);
    assert_eq!(scene.found(), raised);
}

#[test]
fn an_sdk_reads_a_linked_device_only_after_consent_or_the_full_notice() {
    let found = |acts: &[(i64, Body)], linked: bool| {
        let mut scene = Scene::default();
        let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-01"), None);
        scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
        scene.say(day(1), collection(&[], &[("payment", LegalBasis::Contract)], None), vec![subject(1)]);
        if linked {
            scene.say(day(1), link(Some(day(3))), vec![subject(1), subject(11)]);
        }
        for (at, body) in acts {
            scene.say(day(2).plus_ms(*at), body.clone(), vec![subject(1)]);
        }
        scene.say(day(2), seen("1.0", &["x:imei"], false), vec![subject(11)]);
        scene.found()
    };
    let raised = ["F-PRE-CONSENT-SDK sdk=paysdk app_version=3.1 x1"];
    assert_eq!(found(&[], true), raised);
    assert!(found(&[], false).is_empty(), "a device of nobody's");
    assert_eq!(found(&[(MINUTE, consent("payment"))], true), raised);
    assert_eq!(found(&[(-MINUTE, notice(NoticeLayer::JustInTime))], true), raised);
    assert!(found(&[(-MINUTE, notice(NoticeLayer::Full))], true).is_empty());
    assert!(found(&[(-MINUTE, consent("payment"))], true).is_empty());
    let other = ConsentGiven { recipient: Some(id("other")), ..given("payment") };
    assert_eq!(found(&[(-MINUTE, Body::ConsentGiven(Box::new(other)))], true), raised, "about somebody else");
    // What goes through an SDK, of the person itself.
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-01"), None);
    scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
    let through = |method| {
        Body::DataShared(Box::new(DataShared {
            recipient_id: Some(id("pay")),
            method: Some(method),
            safeguards: list([Safeguard::Encryption]),
            ..DataShared::default()
        }))
    };
    scene.say(day(1), Body::AccountRegistered(Box::default()), vec![subject(1)]);
    scene.say(day(1), through(ShareMethod::Api), vec![subject(1)]);
    assert!(scene.found().is_empty());
    scene.say(day(1), through(ShareMethod::Sdk), vec![subject(1)]);
    assert_eq!(scene.found(), ["F-PRE-CONSENT-SDK sdk=paysdk app_version=- x1"]);
}

#[test]
fn a_payment_sdk_is_not_for_those_who_never_pay() {
    let mut scene = Scene::default();
    let body = recipient(&["pd:UID"], &["payment"], Some("2026-01-01"), None);
    scene.say(day(0), Body::RecipientRegistered(Box::new(body)), Vec::new());
    scene.say(day(1), notice(NoticeLayer::Full), vec![subject(1)]);
    scene.say(day(2), seen("1.0", &["x:imei"], false), vec![subject(1)]);
    assert_eq!(scene.found(), ["F-SDK-SCOPE sdk=paysdk recipient=pay category=- x1"]);
    scene.say(day(3), collection(&[], &[("payment", LegalBasis::Contract)], None), vec![subject(1)]);
    assert!(scene.found().is_empty());
}

fn turned_away(feature: &str, cause: &str) -> Body {
    Body::ServiceRefused(Box::new(ServiceRefused { feature: Some(id(feature)), cause: Some(id(cause)) }))
}

#[test]
fn nobody_is_turned_away_for_a_free_choice() {
    let denied = |permission, state| {
        Body::DevicePermissionChanged(Box::new(DevicePermissionChanged {
            permission: Some(permission),
            state: Some(state),
            purpose: Some(id("service_provision")),
        }))
    };
    let found = |no: Body, hours: i64, cause: &str, required: &[&str]| {
        let mut scene = Scene::default();
        let activity = ActivityRegistered {
            activity: Some(id("scan")),
            service: Some(id("solar")),
            purposes: list([PurposeBasis { id: id("service_provision"), basis: LegalBasis::Contract }]),
            required: ids(required),
            effective_at: Some(day(0)),
            ..ActivityRegistered::default()
        };
        scene.say(day(0), Body::ActivityRegistered(Box::new(activity)), Vec::new());
        scene.say(day(1), no, vec![subject(1)]);
        scene.say(day(1).plus_ms(hours * HOUR), turned_away("scan", cause), vec![subject(1)]);
        scene.found()
    };
    use PermissionState::{Denied, Granted, Revoked};
    let camera = ["F-FORCED-PERMISSION service=solar feature=scan cause=camera x1"];
    assert_eq!(found(denied(Permission::Camera, Denied), 24, "camera", &[]), camera);
    assert_eq!(found(denied(Permission::Camera, Revoked), 0, "camera", &["pd:Name"]), camera);
    assert!(found(denied(Permission::Camera, Denied), 25, "camera", &[]).is_empty());
    assert!(found(denied(Permission::Camera, Granted), 1, "camera", &[]).is_empty());
    assert!(found(denied(Permission::Storage, Denied), 1, "camera", &[]).is_empty());
    assert!(found(denied(Permission::Camera, Denied), 1, "camera", &["pd:Picture"]).is_empty(), "needed");
    let consent = ["F-FORCED-PERMISSION service=solar feature=scan cause=consent x1"];
    assert_eq!(found(refused("service_provision"), 1, "consent", &[]), consent);
    assert!(found(refused("service_provision"), 1, "consent", &["pd:Name"]).is_empty(), "needed");
}

#[test]
fn one_screen_asks_for_one_purpose() {
    let found = |purposes: &[&str], cats: &[&str], screens: &[u8]| {
        let mut scene = Scene::default();
        for (n, purpose) in purposes.iter().enumerate() {
            let body = ConsentGiven {
                evidence_sha256: Some(Digest([screens[n % screens.len()]; 32])),
                cats: ids(cats),
                ..given(purpose)
            };
            let made = scene.say(day(n as i64), Body::ConsentGiven(Box::new(body)), vec![subject(1)]);
            made.event.envelope.policy_version = Some(id("v1"));
        }
        scene.found()
    };
    let raised = "F-BUNDLED-CONSENT service=solar policy_version=v1 purposes=";
    assert_eq!(
        found(&["support", "direct_marketing"], &[], &[1]),
        [format!("{raised}direct_marketing,support x2")]
    );
    assert!(found(&["support", "direct_marketing"], &[], &[1, 2]).is_empty(), "two screens");
    assert!(found(&["support", "improvement"], &[], &[1]).is_empty(), "neither stands apart");
    assert_eq!(found(&["support", "improvement"], &["pd:Password"], &[1]).len(), 1, "sensitive data");
    assert!(found(&["direct_marketing", "direct_marketing"], &[], &[1]).is_empty());
}

#[test]
fn for_a_child_a_guardian_consents() {
    let found = |band, regime: &str, guardian: Option<i64>, for_children: bool| {
        let mut scene = Scene::default();
        let service = ServiceRegistered {
            service: Some(id("solar")),
            owner: Some(id("kstar")),
            evidence_from: Some(day(-9)),
            directed_at_children: Some(for_children),
            silence_after_minutes: Some(1 << 30),
            ..ServiceRegistered::default()
        };
        scene.say(day(0), Body::ServiceRegistered(Box::new(service)), Vec::new());
        let account = AccountRegistered { age_band: band, ..AccountRegistered::default() };
        scene.say(day(1), Body::AccountRegistered(Box::new(account)), vec![subject(1)]);
        if let Some(at) = guardian {
            let body = ConsentGiven { guardian_consent: true, ..given("support") };
            scene.say(day(at), Body::ConsentGiven(Box::new(body)), vec![subject(1)]);
        }
        let body = collection(&["pd:Name"], &[("support", LegalBasis::Contract)], None);
        scene.say(day(3), body, vec![subject(1)]).event.envelope.regimes = vec![regime.parse().unwrap()];
        of(&scene.found(), "F-CHILD").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let raised = ["F-CHILD service=solar country=CN x1"];
    assert_eq!(found(Some(AgeBand::Age13), "CN", None, false), raised);
    assert_eq!(found(Some(AgeBand::Age13), "CN", Some(4), false), raised, "too late");
    assert!(found(Some(AgeBand::Age13), "CN", Some(2), false).is_empty());
    assert!(found(Some(AgeBand::Age14), "CN", None, false).is_empty());
    assert_eq!(found(Some(AgeBand::Age14), "DE", None, false).len(), 1);
    assert!(found(None, "CN", None, false).is_empty());
    assert_eq!(found(None, "CN", None, true).len(), 1, "a service for children");
    let mut scene = Scene::default();
    let alone = ConsentGiven { age_band: Some(AgeBand::Under13), ..given("support") };
    chinese(scene.say(day(1), Body::ConsentGiven(Box::new(alone.clone())), vec![subject(1)]));
    assert_eq!(scene.found(), raised);
    let guarded = ConsentGiven { guardian_consent: true, ..alone };
    chinese(scene.say(day(0), Body::ConsentGiven(Box::new(guarded)), vec![subject(1)]));
    assert!(scene.found().is_empty());
}

#[test]
fn people_are_told_before_and_by_a_policy() {
    let found = |shown: Option<i64>, published: Option<i64>| {
        let mut scene = Scene::default();
        if let Some(at) = published {
            let Body::PolicyPublished(mut body) = policy(&["zh", "en"], &["pd:Name"]) else { unreachable!() };
            body.effective_at = Some(day(at));
            scene.say(day(at), Body::PolicyPublished(body), Vec::new());
        }
        scene.say(day(5), collected(&["pd:Name"], &["service_provision"], None), vec![subject(1)]);
        if let Some(at) = shown {
            scene.say(day(at), notice(NoticeLayer::JustInTime), vec![subject(1)]);
        }
        scene.all()
    };
    let raised = ["F-NOTICE-MISSING service=solar x1"];
    assert!(found(Some(5), Some(1)).is_empty());
    assert_eq!(found(Some(6), Some(1)), raised);
    assert_eq!(found(None, Some(1)), raised);
    assert_eq!(found(Some(5), None), raised, "and no policy says what is collected");
    assert_eq!(found(Some(5), Some(6)), raised);
}

#[test]
fn going_on_under_a_changed_policy_is_no_consent() {
    let published = |version: &str, at: i64, change| {
        let Body::PolicyPublished(mut body) = policy(&["zh", "en"], &["pd:Name"]) else { unreachable!() };
        (body.version, body.effective_at, body.change_kind) =
            (Some(id(version)), Some(day(at)), Some(change));
        (day(at), Body::PolicyPublished(body))
    };
    let found = |change, shown: Option<i64>, again: Option<i64>| {
        let mut scene = Scene::default();
        for (at, body) in [published("v1", 0, PolicyChange::Material), published("v2", 10, change)] {
            scene.say(at, body, Vec::new());
        }
        scene.say(day(1), notice(NoticeLayer::Full), vec![subject(1)]);
        scene.say(day(1), consent("service_provision"), vec![subject(1)]);
        scene.say(day(2), on_consent(&["pd:Name"], "service_provision"), vec![subject(1)]);
        for (at, body) in [(shown, notice(NoticeLayer::Full)), (again, consent("service_provision"))] {
            if let Some(at) = at {
                scene.say(day(at), body, vec![subject(1)]);
            }
        }
        for n in [9, 12, 20] {
            let body = DataUsed { basis: Some(LegalBasis::Consent), ..used("service_provision") };
            scene.say(day(n), using(body), vec![subject(1)]);
        }
        scene.all()
    };
    use PolicyChange::{Editorial, Material};
    let raised = |n| vec![format!("F-NOTICE-STALE service=solar policy_version=v2 x{n}")];
    assert_eq!(found(Material, None, None), raised(2));
    assert_eq!(found(Material, Some(11), None), raised(2));
    assert_eq!(found(Material, None, Some(11)), raised(2));
    assert_eq!(found(Material, Some(11), Some(15)), raised(1));
    assert!(found(Material, Some(11), Some(11)).is_empty());
    assert!(found(Editorial, None, None).is_empty());
}

pub(super) fn message(nature: MessageNature, template: &str, consent_id: Option<&str>) -> Body {
    Body::MessageSent(Box::new(MessageSent {
        channel: Some(MessageChannel::Sms),
        nature: Some(nature),
        template: Some(id(template)),
        consent_id: consent_id.map(id),
    }))
}

#[test]
fn marketing_goes_to_those_who_want_it() {
    let found = |acts: &[(i64, Body)], sent: Body| {
        let mut scene = Scene::default();
        for (at, body) in acts {
            scene.say(day(*at), body.clone(), vec![subject(1)]);
        }
        scene.say(day(5), sent, vec![subject(1)]);
        scene.found()
    };
    use MessageNature::{Marketing, Service};
    let raised = ["F-MARKETING-OPTOUT service=solar template=spring channel=sms x1"];
    let yes = || {
        let named = ConsentGiven { consent_id: Some(id("c-1")), ..given("direct_marketing") };
        (1, Body::ConsentGiven(Box::new(named)))
    };
    let spring = |consent_id| message(Marketing, "spring", consent_id);
    assert_eq!(found(&[], spring(None)), raised);
    assert!(found(&[yes()], spring(None)).is_empty() && found(&[yes()], spring(Some("c-1"))).is_empty());
    assert_eq!(found(&[yes()], spring(Some("c-2"))), raised, "another consent is claimed");
    assert_eq!(found(&[yes(), (2, withdrawn("direct_marketing"))], spring(None)), raised);
    assert_eq!(found(&[yes(), (2, refused("direct_marketing"))], spring(None)), raised);
    assert!(found(&[yes(), (6, withdrawn("direct_marketing"))], spring(None)).is_empty());
    let objected = ObjectionUpheld { purpose: Some(id("direct_marketing")), ..ObjectionUpheld::default() };
    assert_eq!(found(&[yes(), (2, Body::ObjectionUpheld(Box::new(objected)))], spring(None)), raised);
    assert!(found(&[], message(Service, "receipt", None)).is_empty());
    assert_eq!(
        found(&[], message(Service, "marketing.spring", None)).len(),
        1,
        "by the name of its template"
    );
}

#[test]
fn people_are_counted_once_and_after_their_end() {
    let mut scene = Scene::default();
    for n in 0..6 {
        scene.say(day(1).plus_ms(n), on_consent(&["pd:Name"], "analytics"), vec![subject(n as u32 % 3)]);
    }
    scene.say(day(2), Body::SubjectsMerged(Box::default()), vec![subject(0), subject(1)]);
    scene.tick(day(3));
    let counted = |scene: &Scene| {
        let (_house, views) = scene.views();
        let found = views.ask().unwrap().findings(None).unwrap();
        let one = found.findings.iter().find(|found| found.key.code() == "F-NO-CONSENT").unwrap();
        (one.count, one.people, one.erased, one.samples.clone())
    };
    assert_eq!(counted(&scene), (6, Some(2), 0, vec![0, 1, 2, 3, 4, 5]));
    let (_house, views) = scene.views();
    let about: Vec<String> = views
        .ask()
        .unwrap()
        .findings_about(person(1))
        .unwrap()
        .iter()
        .map(|(key, count)| format!("{key} {count}"))
        .collect();
    let key = "F-NO-CONSENT service=solar purpose=analytics";
    assert!(about.contains(&format!("{key} 4")), "with whom it was merged: {about:?}");

    let gone = Body::IdentityErasureAccepted(Box::new(IdentityErasureAccepted {
        tomb: Some(crate::record::tomb(person(2))),
        cause: Some(IdentityErasureCause::Operator),
        scope: Some(IdentityErasureScope::IdentityAndEvidence),
        ..Default::default()
    }));
    scene.say(day(4), gone, vec![subject(2)]);
    let brief = key.parse::<crate::domain::finding::Key>().unwrap().brief();
    let done = Body::IdentityErased(Box::new(IdentityErased {
        tomb: Some(crate::record::tomb(person(2))),
        finding_tallies: list([FindingTally { code: id("F-NO-CONSENT"), key: Some(brief), count: 2 }]),
        ..Default::default()
    }));
    scene.say(day(4), done, Vec::new());
    let (count, people, erased, _) = counted(&scene);
    assert_eq!((count, people, erased), (6, Some(2), 1));
    let (_house, views) = scene.views();
    views.rebuild(|_| true).unwrap();
    assert!(told(&views).contains(&format!("{key} x6")), "a rebuild counts them too");
}

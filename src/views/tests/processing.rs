//! Records of processing, SDKs and the lists of an app: what the registers of a moment and the events come to,
//! in any order, after a rebuild, with people who were merged and events that were taken back.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::transfer::{By, Verdict};
use crate::views::ropa::{Moment, Record, processors};
use crate::views::sdks::{AppLists, Sdk};

fn ids<const N: usize>(names: &[&str]) -> List<Id, N> {
    List::new(names.iter().map(|name| id(name)).collect()).unwrap()
}

fn country<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn titled(text: &str) -> Option<Title> {
    text.parse().ok()
}

fn controller() -> Body {
    Body::ControllerRegistered(Box::new(ControllerRegistered {
        controller: Some(id("kstar")),
        legal_name: titled("Shenzhen KSTAR"),
        country: country("CN"),
        eu_representative_org: titled("KSTAR Europe"),
        ..Default::default()
    }))
}

fn service() -> Body {
    Body::ServiceRegistered(Box::new(ServiceRegistered {
        service: Some(id("solar")),
        owner: Some(id("kstar")),
        storage_country: country("CN"),
        ..Default::default()
    }))
}

fn activity(cats: &[&str]) -> ActivityRegistered {
    let purpose = |(purpose, basis)| PurposeBasis { id: id(purpose), basis };
    let purposes = [("payment", LegalBasis::Contract), ("security", LegalBasis::LegalObligation)];
    ActivityRegistered {
        activity: Some(id("pay")),
        service: Some(id("solar")),
        purposes: List::new(purposes.map(purpose).to_vec()).unwrap(),
        cats: ids(cats),
        required: ids(&["pd:EmailAddress"]),
        recipients: ids(&["wechat", "cloud", "nobody"]),
        safeguards: List::new(vec![Safeguard::Encryption]).unwrap(),
        source: Some(Source::Subject),
        ..Default::default()
    }
}

fn registered(body: ActivityRegistered) -> Body {
    Body::ActivityRegistered(Box::new(body))
}

fn recipient(name: &str, role: RecipientRole, land: &str, cats: &[&str]) -> RecipientRegistered {
    RecipientRegistered {
        recipient_id: Some(id(name)),
        legal_name: titled(name),
        role: Some(role),
        country: country(land),
        cats: ids(cats),
        ..Default::default()
    }
}

fn wechat() -> Body {
    let versions = ids(&["6.8"]);
    let sdk = Some(SdkInfo { name: id("WeChat-Pay"), versions, package: Some(id("com.tencent.mm")) });
    let declared = recipient("wechat", RecipientRole::Sdk, "CN", &["x:imei", "x:oaid"]);
    Body::RecipientRegistered(Box::new(RecipientRegistered { sdk, ..declared }))
}

fn cloud() -> Body {
    Body::RecipientRegistered(Box::new(recipient(
        "cloud",
        RecipientRole::Processor,
        "DE",
        &["pd:EmailAddress"],
    )))
}

fn rule(name: &str, purposes: &[&str], replaces: Option<&str>) -> Body {
    let rule = RetentionRule {
        id: id(name),
        kind: RuleKind::Keep,
        matches: Some(RuleMatch { purposes: ids(purposes), ..Default::default() }),
        anchor: Anchor::TransactionCompleted,
        causes: Default::default(),
        period: "P3Y".parse().unwrap(),
        year_end: false,
        tz: chrono_tz::Asia::Shanghai,
        on_expiry: None,
        law_of: None,
        legal: titled("E-Commerce Law 31"),
        from: None,
        to: None,
        replaces: replaces.map(id),
    };
    Body::RetentionRulePublished(Box::new(RetentionRulePublished { rule: Some(rule), reason: None }))
}

fn seen(version: &str, app: &str, cats: &[&str], before_consent: bool) -> Body {
    Body::SdkObserved(Box::new(SdkObserved {
        sdk_name: Some(id("WeChat-Pay")),
        sdk_version: Some(id(version)),
        app_version: Some(id(app)),
        cats: ids(cats),
        before_consent: Some(before_consent),
        ..Default::default()
    }))
}

fn shared(to: &str, cats: &[&str]) -> Body {
    Body::DataShared(Box::new(DataShared {
        recipient_id: Some(id(to)),
        cats: ids(cats),
        purpose: Some(id("payment")),
        method: Some(ShareMethod::Sdk),
        sdk_version: Some(id("6.8")),
        app_version: Some(id("2.0")),
        ..Default::default()
    }))
}

fn paid(n: u64, at: Timestamp, who: u32) -> Made {
    let mut made = made(n, at, collected(&[], &[], None), vec![subject(who)]);
    made.event.envelope.activity = Some(id("pay"));
    made
}

/// What the organisation registered, and what then happened.
fn story() -> Vec<Made> {
    let contact = vec![in_role(50, Role::Contact)];
    let mut all = vec![
        made(1, day(0), controller(), contact),
        made(2, day(0), service(), Vec::new()),
        made(3, day(0), registered(activity(&["pd:EmailAddress", "pd:BankAccount"])), Vec::new()),
        made(4, day(0), wechat(), Vec::new()),
        made(5, day(0), cloud(), Vec::new()),
        made(6, day(0), rule("pay-1", &["payment"], None), Vec::new()),
        made(7, day(5), rule("pay-2", &["payment"], Some("pay-1")), Vec::new()),
        paid(8, day(1), 1),
        paid(9, day(2), 2),
        paid(10, day(3), 1),
        made(11, day(2), seen("6.8", "2.0", &["x:imei"], true), Vec::new()),
        made(12, day(3), seen("6.8", "2.0", &["x:imei"], false), Vec::new()),
        made(13, day(9), seen("6.9", "2.1", &["x:installed_apps"], false), Vec::new()),
        made(14, day(4), shared("wechat", &["pd:EmailAddress"]), vec![subject(1)]),
    ];
    all.iter_mut().for_each(|made| made.event.envelope.backfill = true);
    all
}

fn views_of(story: &[Made]) -> (House, Arc<Views>) {
    let house = House::new();
    story.iter().for_each(|made| {
        house.record(made);
    });
    let views = house.open();
    (house, views)
}

const NOW: Moment = Moment { as_of: Timestamp::LAST, known_at: u64::MAX };

fn asked(views: &Views, moment: Moment) -> (Vec<Record>, Vec<Sdk>, AppLists) {
    let (ask, registers) = (views.ask().unwrap(), views.registers(Clone::clone));
    let records = ask.processing_records(&registers, moment, moment.known_at == u64::MAX).unwrap();
    let sdks = ask.sdks(&registers, moment).unwrap();
    (records, sdks, ask.app_lists(&registers, &id("solar"), moment).unwrap())
}

fn at(n: i64) -> Moment {
    Moment { as_of: day(n), known_at: u64::MAX }
}

#[test]
fn an_activity_is_recorded_with_all_that_article_30_asks() {
    let (_house, views) = views_of(&story());
    let (records, ..) = asked(&views, NOW);
    let [record] = &records[..] else { panic!("{records:?}") };
    let controller = record.controller.as_ref().unwrap();
    assert_eq!((controller.id.as_str(), controller.has_contact), ("kstar", true));
    assert_eq!(controller.registered.as_ref().unwrap().eu_representative_org, titled("KSTAR Europe"));
    let named: Vec<_> =
        record.recipients.iter().map(|one| (one.id.as_str(), one.registered.is_some())).collect();
    assert_eq!(named, [("wechat", true), ("cloud", true), ("nobody", false)], "by name, also who is unknown");
    let limits: Vec<_> = record.limits.iter().map(|limit| limit.rule.id.as_str()).collect();
    assert_eq!((limits, &record.unlimited[..]), (vec!["pay-2"], &[id("security")][..]));
    assert_eq!((record.sensitive, &record.sensitive_cats.len()), (true, &1), "a bank account is (PIPL 28)");
    // Data in China, a processor in Germany, and so few people that nothing is asked for.
    let [abroad] = &record.abroad[..] else { panic!("{:?}", record.abroad) };
    assert_eq!(
        (abroad.importer.as_str(), abroad.regime, abroad.observed),
        ("cloud", TransferRegime::Cn, false)
    );
    assert_eq!(abroad.verdict, Verdict::Allowed(By::BelowThreshold));
    assert_eq!((record.people, record.last_event), (Some(2), Some(day(3))));
    let before = asked(&views, at(4)).0;
    assert_eq!(before[0].limits[0].rule.id, id("pay-1"), "as of before the second rule");
    let earlier = Moment { known_at: 2, ..NOW };
    assert_eq!(asked(&views, earlier).0, [], "as known before the activity");
}

#[test]
fn few_people_with_general_data_need_nothing_and_the_processor_has_its_own_record() {
    let mut story = story();
    story[2] = made(3, day(0), registered(activity(&["pd:EmailAddress"])), Vec::new());
    let (_house, views) = views_of(&story);
    let (records, ..) = asked(&views, NOW);
    assert_eq!(records[0].abroad[0].verdict, Verdict::Allowed(By::BelowThreshold));
    let registers = views.registers(Clone::clone);
    let processing = processors(&registers, &records, NOW);
    let [one] = &processing[..] else { panic!("{processing:?}") };
    assert_eq!((one.processor.as_str(), one.in_group, one.controller.id.as_str()), ("cloud", false, "kstar"));
    assert_eq!(one.cats, BTreeSet::from([id("pd:EmailAddress")]));
    assert_eq!(one.abroad, records[0].abroad);
}

#[test]
fn what_has_ended_is_in_no_record_until_it_is_registered_again() {
    let mut story = story();
    let end = ActivityEnded { activity: Some(id("pay")), reason: None, effective_at: Some(day(20)) };
    story.push(made(20, day(10), Body::ActivityEnded(Box::new(end)), Vec::new()));
    let gone = RecipientEnded { recipient_id: Some(id("wechat")), reason: None };
    story.push(made(21, day(10), Body::RecipientEnded(Box::new(gone)), Vec::new()));
    let (_house, views) = views_of(&story);
    assert_eq!(asked(&views, at(19)).0.len(), 1);
    assert_eq!(asked(&views, at(20)).0.len(), 0);
    let wechat = |moment| asked(&views, moment).1.into_iter().next().unwrap().recipient;
    assert!(wechat(at(9)).is_some() && wechat(at(10)).is_none(), "used and not declared any more");
    story.push(made(22, day(30), registered(activity(&["pd:EmailAddress"])), Vec::new()));
    let (_house, views) = views_of(&story);
    assert_eq!(asked(&views, at(30)).0.len(), 1);
}

#[test]
fn an_sdk_is_held_against_what_was_declared_by_version() {
    let (_house, views) = views_of(&story());
    let (_, sdks, _) = asked(&views, NOW);
    let [sdk] = &sdks[..] else { panic!("{sdks:?}") };
    assert_eq!(sdk.recipient.as_ref().unwrap().0, id("wechat"));
    assert_eq!(sdk.unused, BTreeSet::from([id("x:oaid")]), "declared, never read");
    let told = |n: usize| {
        let one = &sdk.uses[n];
        let names = |cats: &BTreeSet<Id>| cats.iter().map(Id::to_string).collect::<Vec<_>>().join(" ");
        (names(&one.read), names(&one.given), names(&one.undeclared), names(&one.added), names(&one.removed))
    };
    let own = |text: &str| text.to_owned();
    assert_eq!(told(0), (own("x:imei"), own("pd:EmailAddress"), own("pd:EmailAddress"), own(""), own("")));
    let newer =
        (own("x:installed_apps"), own(""), own("x:installed_apps"), own("x:installed_apps"), own("x:imei"));
    assert_eq!(told(1), newer, "changed since the last version");
    assert_eq!((sdk.uses[0].version_declared, sdk.uses[1].version_declared), (Some(true), Some(false)));
    assert_eq!((sdk.uses[0].before_consent, sdk.uses[0].count), (1, 3));
    let before = asked(&views, at(8)).1;
    assert_eq!(before[0].uses.len(), 1, "the newer version was not seen yet");
}

#[test]
fn the_lists_of_an_app_say_what_is_collected_and_with_whom_it_is_shared() {
    let (_house, views) = views_of(&story());
    let (.., lists) = asked(&views, NOW);
    let told: Vec<_> = lists
        .collected
        .iter()
        .map(|one| {
            let purpose = one.purpose.as_ref().map_or("-", Id::as_str);
            let by = one.sdk.as_ref().map_or("app", Id::as_str);
            format!("{} {purpose} {by} {} {}", one.category, one.registered, one.observed)
        })
        .collect();
    let expected = [
        "pd:BankAccount payment app true true",
        "pd:BankAccount security app true true",
        "pd:EmailAddress payment app true true",
        "pd:EmailAddress security app true true",
        "x:imei - WeChat-Pay false true",
        "x:installed_apps - WeChat-Pay false true",
    ];
    assert_eq!(told, expected);
    assert!(lists.collected[2].required && !lists.collected[0].required && lists.collected[0].sensitive);
    let told: Vec<_> = lists.shared.iter().map(|one| (one.recipient.as_str(), one.observed)).collect();
    assert_eq!(told, [("cloud", false), ("nobody", false), ("wechat", true)]);
    let wechat = &lists.shared[2];
    let versions: Vec<_> = wechat.sdk_versions.iter().map(Id::as_str).collect();
    assert_eq!((versions, wechat.methods.contains(&ShareMethod::Sdk)), (vec!["6.8", "6.9"], true));
    assert_eq!(asked(&views, Moment { known_at: 0, ..NOW }).2, AppLists::default());
}

#[test]
fn people_who_were_merged_count_once_and_what_was_taken_back_does_not_count() {
    let mut story = story();
    let merged = Body::SubjectsMerged(Box::default());
    story.push(made(20, day(6), merged, vec![subject(1), subject(2)]));
    let (_house, views) = views_of(&story);
    assert_eq!(asked(&views, NOW).0[0].people, Some(1));
    let taken = EventsRetracted {
        emitter: Some(id("solar-app")),
        reason: Some(RetractionReason::TestData),
        event_ids: List::new(vec![event_id(13), event_id(7)]).unwrap(),
        ..Default::default()
    };
    story.push(made(21, day(7), Body::EventsRetracted(Box::new(taken)), Vec::new()));
    let (_house, views) = views_of(&story);
    let (records, sdks, _) = asked(&views, NOW);
    assert_eq!(records[0].limits[0].rule.id, id("pay-1"), "a rule that was published wrongly");
    assert_eq!(sdks[0].uses.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// In whatever order the events come, and after a rebuild, the answers are the same.
    #[test]
    fn the_order_of_events_does_not_matter(order in Just(story()).prop_shuffle()) {
        let plain = |(records, sdks, lists): (Vec<Record>, Vec<Sdk>, AppLists)| {
            let records: Vec<String> = records
                .into_iter()
                .map(|mut record| {
                    // Where the register event stands is another place, as it should be.
                    record.revision.entry.position = 0;
                    // What was recorded last is another event in another order.
                    record.last_event = None;
                    format!("{record:?}")
                })
                .collect();
            let sdks: Vec<Sdk> = sdks
                .into_iter()
                .map(|mut sdk| {
                    sdk.uses.iter_mut().for_each(|one| one.samples.clear());
                    sdk
                })
                .collect();
            (records, sdks, lists)
        };
        let (_house, views) = views_of(&story());
        let expected = plain(asked(&views, NOW));
        let (house, views) = views_of(&order);
        prop_assert_eq!(&plain(asked(&views, NOW)), &expected);
        drop(views);
        let options = Options { chunk_records: 1, dir: house.dir.path().join("again"), ..house.options() };
        let rebuilt = house.open_with(options);
        prop_assert_eq!(&plain(asked(&rebuilt, NOW)), &expected);
    }
}

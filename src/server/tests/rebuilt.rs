//! The views made anew, with erased people among those they know: every register, finding, transfer, record of
//! processing, SDK, number of exports and population is told word for word as before, through the API.

use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::subjects::Name;
use crate::cli::client::Client;
use crate::cli::demo::{person, story};
use crate::cli::{findings, init, json, pages, register, ropa, sdks, transfers};
use crate::domain::event::{IdentityErasureCause, RegisterKind};
use serde_json::{Value, json};

const TENANT: &str = include_str!("../../../deploy/policy/kstar.toml");
const PEOPLE: u64 = 12;
const MINUTE: i64 = 60_000;

/// What is asked, and what is answered.
type Told = Vec<(String, String)>;

fn account(n: u64) -> pb::Identifier {
    pb::Identifier {
        kind: pb::IdentifierKind::Account as i32,
        realm: "solar".to_owned(),
        value: (person::FIRST_ACCOUNT + n).to_string(),
    }
}

async fn record(running: &Running, events: Vec<pb::Event>) {
    let request = pb::BatchRecordEventsRequest { events };
    let answer = client(running).await.ingest().batch_record_events(request).await.unwrap().into_inner();
    for outcome in answer.outcomes {
        assert!(matches!(outcome.result, Some(pb::outcome::Result::Receipt(_))), "{outcome:?}");
    }
}

/// An event of now, as a file would write its body.
fn event(place: &Place, n: u8, who: Option<u64>, field: &str, body: Value) -> pb::Event {
    let mut event = json!({ field: body });
    json::spell_out("Event", &mut event);
    let event = json::parse("Event", &event.to_string()).unwrap_or_else(|why| panic!("{field}: {why}"));
    let named = |who| pb::Person { role: pb::Role::DataSubject as i32, identifiers: vec![account(who)] };
    pb::Event {
        event_id: place.event(n).event_id,
        controller: "kstar-cn".to_owned(),
        emitter: if who.is_some() { "solar-app-cn" } else { "compliance-desk" }.to_owned(),
        occurred_at: Some(crate::cli::record::timestamp(place.clock.now())),
        people: who.map(named).into_iter().collect(),
        ..event
    }
}

/// A month of the app, in which everything goes wrong that a demo can show; and two whose data go abroad on consent,
/// of whom one was asked for it.
async fn played(place: &Place, running: &Running) {
    for batch in story::month(1, PEOPLE).chunks(200) {
        place.clock.set(batch.last().unwrap().0);
        record(running, batch.iter().map(|(_, event)| event.clone()).collect()).await;
    }
    place.clock.set(story::month_ends());
    let help = json!({ "activity": "solar-cn.help", "service": "solar-cn", "cats": ["pd:Username"],
        "purposes": [{ "id": "support", "basis": "consent" }], "regimes": ["CN"] });
    record(running, vec![event(place, 0x80, None, "activity_registered", help)]).await;
    let consent =
        json!({ "purpose": "support", "kind": "separate", "recipient": "cloud-sg", "country": "SG" });
    let mut events = vec![event(place, 0x90, Some(1), "consent_given", consent)];
    for (who, n) in [(0, 0x91), (1, 0x92), (2, 0x93)] {
        let abroad = json!({ "exporter": "kstar-cn", "recipient_id": "cloud-sg", "from_country": "CN",
            "to_country": "SG", "purpose": "support", "cats": ["pd:Username"] });
        let event = event(place, n, Some(who), "data_transferred", abroad);
        events.push(pb::Event {
            service: "solar-cn".to_owned(),
            activity: "solar-cn.help".to_owned(),
            ..event
        });
    }
    record(running, events).await;
}

/// Of the month and of what goes wrong in it, one with the evidence and one without.
async fn erased(running: &Running) {
    for (who, evidence_too) in [(2, true), (PEOPLE + 2, false), (PEOPLE + 3, true)] {
        let request = pb::FindSubjectRequest { identifier: Some(account(who)) };
        let found = client(running).await.subjects().find_subject(request).await.unwrap().into_inner();
        let subject = Name::Subject(found.candidates[0].subject.parse().unwrap());
        let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too };
        running.app().erase(&Caller::local(), &[subject], reason).await.unwrap();
    }
}

fn say<T: std::fmt::Debug>(told: &mut Told, what: impl ToString, all: &[T]) {
    told.extend(all.iter().map(|one| (what.to_string(), format!("{one:?}"))));
}

async fn registers(client: &Client, told: &mut Told) {
    for kind in RegisterKind::ALL {
        let request =
            pb::ListRegisterEntriesRequest { kind: kind.number(), page_size: 7, ..Default::default() };
        let (entries, _) = register::sheet::all(client, request).await.unwrap();
        say(told, kind, &entries);
        for id in entries.into_iter().map(|entry| entry.id) {
            let what = format!("history of {kind} {id}");
            let request = pb::ListRegisterHistoryRequest { kind: kind.number(), id, ..Default::default() };
            let versions =
                pages::all(request, async |page| client.registers().list_register_history(page).await);
            let (versions, _) = versions.await.unwrap();
            say(told, what, &versions);
        }
    }
    let (terms, _) = pages::all(pb::ListUnmappedTermsRequest::default(), async |page| {
        client.terms().list_unmapped_terms(page).await
    })
    .await
    .unwrap();
    say(told, "unknown terms", &terms);
}

async fn processing(client: &Client, told: &mut Told) {
    let moment = pb::ProcessingMoment::default;
    let (records, from) = ropa::records(client, moment(), true).await.unwrap();
    say(told, "record of processing", &records);
    say(told, "its basis", &[from]);
    let request = pb::ListProcessorRecordsRequest::default();
    let processors = pages::all(request, async |page| client.processing().list_processor_records(page).await);
    say(told, "processors", &processors.await.unwrap().0);
    say(told, "SDK", &sdks::all(client, moment()).await.unwrap().0);
    let request = pb::GetAppListsRequest { service: "solar-cn".to_owned(), moment: Some(moment()) };
    say(told, "lists of the app", &[client.processing().get_app_lists(request).await.unwrap().into_inner()]);
}

async fn flows(client: &Client, told: &mut Told) -> (Vec<pb::TransferLine>, Vec<pb::ExportCounter>) {
    let (lines, _) = transfers::all(client, pb::ListTransfersRequest::default()).await.unwrap();
    say(told, "transfers", &lines);
    let request = pb::ListExportCountersRequest::default();
    let counters = client.transfers().list_export_counters(request).await.unwrap().into_inner().counters;
    say(told, "exports", &counters);
    (lines, counters)
}

async fn populations(client: &Client, found: &[pb::Finding], told: &mut Told) {
    let of = |field: &str, value: &str| {
        let mut selector = pb::PopulationSelector::default();
        let place = match field {
            "recipient" => &mut selector.recipient,
            "country" => &mut selector.country,
            "purpose" => &mut selector.purpose,
            "category" => &mut selector.category,
            "mechanism" => &mut selector.mechanism,
            "policy_version" => &mut selector.policy_version,
            _ => &mut selector.finding,
        };
        value.clone_into(place);
        selector
    };
    let mut asked = vec![
        of("recipient", "tencent-wechat-pay"),
        of("recipient", "cloud-sg"),
        of("country", "CN"),
        of("purpose", "support"),
        of("category", "pd:Username"),
        of("mechanism", "scc-support"),
        of("policy_version", "2025-03"),
    ];
    asked.extend(found.iter().map(|found| of("finding", &found.key)));
    for selector in asked {
        let what = format!("population of {selector:?}");
        let request = pb::CountPopulationRequest { selector: Some(selector), ..Default::default() };
        let answer = client.questions().count_population(request).await;
        let answer = answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned());
        say(told, what, &[answer]);
    }
}

/// Everything that officers ask, of the log as it stands.
async fn everything(
    running: &Running,
) -> (Told, Vec<pb::Finding>, Vec<pb::TransferLine>, Vec<pb::ExportCounter>) {
    let client = client(running).await;
    let mut told = Told::new();
    let at_least = Some(running.app().log.head() - 1);
    let request = pb::ListFindingsRequest { page_size: 11, at_least, ..Default::default() };
    let (found, from) = findings::all(&client, request).await.unwrap();
    // The fields are those of the key, in no order.
    let plain = found.iter().cloned().map(|one| pb::Finding { fields: Default::default(), ..one });
    say(&mut told, "findings", &plain.collect::<Vec<_>>());
    say(&mut told, "their basis", &[from]);
    registers(&client, &mut told).await;
    processing(&client, &mut told).await;
    let (lines, counters) = flows(&client, &mut told).await;
    populations(&client, &found, &mut told).await;
    (told, found, lines, counters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_told_as_before_with_erased_people_among_those_known() {
    let place = Place::new();
    place.clock.set(story::month_begins());
    let running = place.start().await.unwrap();
    let remote = Remote::local(format!("http://{}", running.address));
    init::apply(TENANT, &remote).await.unwrap_or_else(|failure| panic!("{}", failure.message));
    played(&place, &running).await;
    erased(&running).await;
    place.clock.advance_ms(11 * MINUTE);
    running.app().tick_detectors().await.unwrap();
    let (before, found, lines, counters) = everything(&running).await;

    // There is something to be told wrongly.
    let codes: std::collections::BTreeSet<&str> = found.iter().map(|one| one.code.as_str()).collect();
    assert!(codes.len() >= 30, "{codes:?}");
    let of_erased: Vec<&str> =
        found.iter().filter(|one| one.erased_people > 0).map(|one| one.code.as_str()).collect();
    assert!(
        of_erased.len() >= 4 && found.iter().any(|one| one.people > Some(one.erased_people)),
        "{of_erased:?}"
    );
    let consents = lines.iter().filter_map(|line| line.separate_consent.as_ref());
    let consents: Vec<_> = consents.map(|one| (one.asked, one.consented)).collect();
    assert_eq!(consents, [(2, 1)], "of three one is erased");
    let exported: Vec<_> = counters.iter().filter_map(|one| one.general.as_ref()).collect();
    assert_eq!(exported.iter().map(|people| people.erased).sum::<u64>(), 2, "{counters:?}");
    for kind in ["controller", "retention_rule", "law", "history of policy", "SDK", "record of processing"] {
        assert!(before.iter().any(|(what, _)| what.starts_with(kind)), "{kind}");
    }

    let head = running.app().log.head();
    running.app().rebuild_views(|_, _| {}).await.unwrap();
    let (after, ..) = everything(&running).await;
    assert_eq!(running.app().log.head(), head, "nothing was recorded in between");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    running.stop().await.unwrap();
}

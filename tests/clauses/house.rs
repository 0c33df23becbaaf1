//! A service in this process with the tenant's file applied, and a clock moved by hand.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use custody::cli::client::{Client, Remote};
use custody::cli::record::timestamp;
use custody::cli::{findings, init, json};
use custody::clock::{Clock, ManualClock};
use custody::config::Config;
use custody::pb;
use custody::server::{Running, Server};
use serde_json::Value;

use crate::support::events;

const TENANT: &str = include_str!("../../deploy/policy/kstar.toml");

/// Somebody with an account.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    pub account: &'static str,
    china: bool,
}

pub const BO: Who = Who { account: "bo", china: true };
pub const CHEN: Who = Who { account: "chen", china: true };
pub const ANNA: Who = Who { account: "anna", china: false };

pub struct House {
    _place: tempfile::TempDir,
    pub clock: ManualClock,
    running: Running,
    pub client: Client,
    told: Cell<u64>,
    last: Cell<u64>,
}

impl House {
    /// Noon in Shanghai on the first of October 2026, and nobody is there yet.
    pub async fn open() -> House {
        let place = events::workplace();
        let clock = ManualClock::at("2026-10-01T04:00:00Z".parse().unwrap());
        let mut config = Config::default();
        config.data.directory = place.path().join("data");
        config.data.keyring = place.path().join("keyring");
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.metrics = None;
        // Tests run on machines whose disks are nearly full, too.
        (config.disk.reserve_bytes, config.disk.reserve_percent) = (0, 0);
        let running = Server::start(config, Arc::new(clock.clone())).await.unwrap();
        let remote = Remote::local(format!("http://{}", running.address));
        init::apply(TENANT, &remote).await.unwrap_or_else(|failure| panic!("{}", failure.message));
        let client = remote.connect().await.unwrap_or_else(|failure| panic!("{}", failure.message));
        House { _place: place, clock, running, client, told: Cell::new(0), last: Cell::new(0) }
    }

    /// One with people who saw the policy and registered.
    pub async fn with(people: &[Who]) -> House {
        let house = House::open().await;
        for who in people {
            let notice = serde_json::json!({ "locale": "en", "channel": "app", "layer": "full" });
            house.tell(*who, "", "notice_shown", notice).await;
            let account = serde_json::json!({ "account_kind": "app", "age_band": "adult" });
            house.tell(*who, "", "account_registered", account).await;
            house.tell(*who, "register", "data_collected", serde_json::json!({})).await;
        }
        house
    }

    /// Something that happens to somebody a minute later, as their app tells it. Gives its position.
    pub async fn tell(&self, who: Who, activity: &str, field: &str, body: Value) -> u64 {
        self.record(self.event(who, activity, field, body)).await
    }

    /// The same, under a law that the event names itself.
    pub async fn tell_under(&self, law: &str, who: Who, field: &str, body: Value) -> u64 {
        let mut event = self.event(who, "", field, body);
        event.regimes = vec![law.to_owned()];
        self.record(event).await
    }

    /// What the legal desk registers a minute later.
    pub async fn desk(&self, controller: &str, field: &str, body: Value) -> u64 {
        let event = pb::Event {
            controller: controller.to_owned(),
            emitter: "compliance-desk".to_owned(),
            ..written(field, body)
        };
        self.record(event).await
    }

    /// An event without its time and id.
    pub fn event(&self, who: Who, activity: &str, field: &str, body: Value) -> pb::Event {
        let region = if who.china { "cn" } else { "eu" };
        let identifiers = vec![events::account(who.account)];
        pb::Event {
            controller: format!("kstar-{region}"),
            emitter: format!("solar-app-{region}"),
            service: format!("solar-{region}"),
            activity: if activity.is_empty() { String::new() } else { format!("solar-{region}.{activity}") },
            policy_version: "2025-03".to_owned(),
            people: vec![pb::Person { role: pb::Role::DataSubject.into(), identifiers }],
            ..written(field, body)
        }
    }

    pub async fn record(&self, mut event: pb::Event) -> u64 {
        self.clock.advance_ms(60_000);
        self.told.set(self.told.get() + 1);
        event.event_id = format!("0199a3c2-0000-7000-8000-{:012x}", self.told.get());
        event.occurred_at = Some(timestamp(self.clock.now()));
        let receipt = events::send(&self.client, &event).await.unwrap();
        self.last.set(receipt.position);
        receipt.position
    }

    /// Days go by.
    pub fn days(&self, days: i64) {
        self.clock.advance_ms(days * 24 * 60 * 60 * 1_000);
    }

    /// Everything found by a code, once what rests on absence is judged.
    pub async fn findings(&self, code: &str) -> Vec<pb::Finding> {
        self.clock.advance_ms(2 * 60 * 60 * 1_000);
        self.running.app().tick_detectors().await.unwrap();
        let at_least = Some(events::head(&self.client).await - 1);
        let request = pb::ListFindingsRequest {
            codes: vec![code.to_owned()],
            at_least,
            page_size: 1_000,
            ..Default::default()
        };
        findings::all(&self.client, request).await.unwrap().0
    }

    /// Their keys, without the code.
    pub async fn found(&self, code: &str) -> Vec<String> {
        let found = self.findings(code).await;
        found.iter().map(|one| one.key.trim_start_matches(code).trim().to_owned()).collect()
    }

    /// Everything that is known of somebody.
    pub async fn report(&self, who: Who) -> pb::SubjectReport {
        let name = pb::subject_name::Name::Identifier(events::account(who.account));
        let request = pb::GetSubjectReportRequest {
            subject: Some(pb::SubjectName { name: Some(name) }),
            at_least: Some(self.last.get()),
            ..Default::default()
        };
        self.client.subjects().get_subject_report(request).await.unwrap().into_inner().report.unwrap()
    }
}

/// An event of nothing but its body, as a file would write it.
fn written(field: &str, body: Value) -> pb::Event {
    let mut event = serde_json::json!({ field: body });
    json::spell_out("Event", &mut event);
    json::parse("Event", &event.to_string()).unwrap_or_else(|why| panic!("{field}: {why}: {event}"))
}

/// The id of a term.
pub fn id(term: &Option<pb::Term>) -> &str {
    term.as_ref().map(|term| term.id.as_str()).unwrap_or_default()
}

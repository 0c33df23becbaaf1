//! An officer's own cases: events in, findings out, tried on the real views in memory, with no server and no
//! data. Each case is a log of its own; people are named by labels, and nothing of them is kept.
//!
//! A case that does not read is an error that says which of its events is wrong, and in what. A crash leaves a
//! directory for temporary files behind, which holds nothing but cases.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::app::Error;
use crate::domain::event::catalogue::{Fields, JobRan, LawDataActivated};
use crate::domain::event::{Body, Envelope, Event, EventType, JobOutcome, Person, Role};
use crate::domain::finding::{Key, rule};
use crate::domain::id::{EventId, Id, Mark, Regime, SubjectId};
use crate::domain::law;
use crate::domain::time::{MS_PER_HOUR, Timestamp};
use crate::log::memory::MemoryLog;
use crate::log::{Log, NewRecord};
use crate::record::{self, IndexKey, IndexKeys, Keys, Noted, PartRole, Party, Salt, Sealing};
use crate::views::findings::{DETECTOR, Findings};
use crate::views::{Options, Views};

/// Cases of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    case: Vec<Case>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Version of the law data that is adopted before anything else; the first one without this.
    law: Option<Id>,
    /// Who says everything that does not say otherwise.
    #[serde(default)]
    default: Said,
    #[serde(default)]
    event: Vec<Stated>,
    /// When the detectors tick; an hour after the last event without this.
    #[serde(default)]
    ticks: Vec<Timestamp>,
    /// Only findings of these codes are looked at; all if empty.
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    finding: Vec<Expected>,
}

/// What an event says besides its body.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Said {
    controller: Option<Id>,
    emitter: Option<Id>,
    service: Option<Id>,
    activity: Option<Id>,
    regimes: Vec<String>,
    policy_version: Option<Id>,
}

/// One event, in its short form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    at: Timestamp,
    /// When it came in; when it happened without this.
    recorded_at: Option<Timestamp>,
    #[serde(rename = "type")]
    event_type: String,
    /// Data subjects, by any labels.
    #[serde(default)]
    people: Vec<String>,
    #[serde(default)]
    staff: Vec<String>,
    /// Names the event, for a retraction.
    id: Option<EventId>,
    count: Option<u64>,
    #[serde(default)]
    body: toml::Table,
    controller: Option<Id>,
    emitter: Option<Id>,
    service: Option<Id>,
    activity: Option<Id>,
    #[serde(default)]
    regimes: Vec<String>,
    policy_version: Option<Id>,
}

/// A finding that the case must raise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    code: String,
    /// Fields of the key that must be so; those not named may be anything.
    #[serde(default)]
    key: BTreeMap<String, String>,
    /// How many events; any number without this.
    count: Option<u64>,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub name: String,
    /// What differs; nothing if it passed.
    pub differences: Vec<String>,
}

impl Cases {
    /// Reads a file's text. The error says where it is wrong.
    pub fn read(text: &str) -> Result<Cases, String> {
        let cases: Cases = toml::from_str(text).map_err(|error| error.to_string())?;
        if cases.case.is_empty() {
            return Err("has no [[case]]".to_owned());
        }
        Ok(cases)
    }

    /// Tries every case, each in a log of its own.
    pub async fn run(&self) -> Result<Vec<Tried>, Error> {
        let mut tried = Vec::with_capacity(self.case.len());
        for case in &self.case {
            let differences = match case.events() {
                Ok(events) => case.differences(&found(&events).await?),
                Err(wrong) => wrong,
            };
            tried.push(Tried { name: case.name.clone(), differences });
        }
        Ok(tried)
    }
}

/// An event with its time of recording.
type Recorded = (Event, Timestamp);

impl Case {
    /// All events, the law and the ticks among them; or everything that is wrong with them.
    fn events(&self) -> Result<Vec<Recorded>, Vec<String>> {
        let (mut events, mut wrong) = (Vec::new(), Vec::new());
        let first = self.event.iter().map(|event| event.at).min().unwrap_or(Timestamp::EPOCH);
        if let Some(version) = &self.law {
            match law::shipped().iter().find(|law| law.version() == version) {
                Some(law) => {
                    let body = LawDataActivated {
                        name: Some(law.name().clone()),
                        version: Some(version.clone()),
                        sha256: Some(law.sha256()),
                        effective_at: Some(first),
                        ..LawDataActivated::default()
                    };
                    events
                        .push((self.own(Body::LawDataActivated(Box::new(body)), first, events.len()), first));
                }
                None => wrong.push(format!("law {version} is none that this program comes with")),
            }
        }
        for (n, stated) in self.event.iter().enumerate() {
            match self.event(stated, n) {
                Ok(event) => events.push((event, stated.recorded_at.unwrap_or(stated.at))),
                Err(why) => wrong.extend(why.into_iter().map(|why| format!("event {}: {why}", n + 1))),
            }
        }
        let last = events.iter().map(|(event, recorded)| event.envelope.occurred_at.max(*recorded)).max();
        let default = [last.unwrap_or(first).plus_ms(MS_PER_HOUR)];
        let ticks = if self.ticks.is_empty() { &default[..] } else { &self.ticks };
        for tick in ticks {
            let body = JobRan {
                job: DETECTOR.parse().ok(),
                scheduled_for: Some(*tick),
                outcome: Some(JobOutcome::Ok),
                ..JobRan::default()
            };
            let tick_event = self.own(Body::JobRan(Box::new(body)), *tick, events.len());
            events.push((tick_event, *tick));
        }
        for expected in &self.finding {
            wrong.extend(expected.faults());
        }
        wrong.extend(self.codes.iter().filter(|code| rule(code).is_none()).map(|code| no_code(code)));
        if wrong.is_empty() { Ok(events) } else { Err(wrong) }
    }

    fn own(&self, body: Body, at: Timestamp, n: usize) -> Event {
        let controller = self.default.controller.clone().unwrap_or_else(|| id("controller"));
        let envelope = Envelope::new(event_id(1 << 32 | n as u64), controller, id("custody"), at);
        Event { envelope, people: Vec::new(), body }
    }

    fn event(&self, stated: &Stated, n: usize) -> Result<Event, Vec<String>> {
        let Some(event_type) = EventType::from_name(&stated.event_type) else {
            return Err(vec![format!("{} is not an event type", stated.event_type)]);
        };
        let json = serde_json::to_string(&stated.body).map_err(|e| vec![e.to_string()])?;
        let body = Body::from_json(event_type, &json).map_err(|e| vec![format!("body: {e}")])?;
        let mut wrong: Vec<String> = body
            .missing()
            .into_iter()
            .map(|field| format!("{}.{field} is required", event_type.field()))
            .collect();
        let said = |own: &Option<Id>, default: &Option<Id>| own.clone().or_else(|| default.clone());
        let controller = said(&stated.controller, &self.default.controller);
        let emitter = said(&stated.emitter, &self.default.emitter);
        let id_of = stated.id.unwrap_or_else(|| event_id(n as u64));
        let mut envelope = Envelope::new(
            id_of,
            controller.unwrap_or_else(|| id("controller")),
            emitter.unwrap_or_else(|| id("emitter")),
            stated.at,
        );
        envelope.service = said(&stated.service, &self.default.service);
        envelope.activity = said(&stated.activity, &self.default.activity);
        envelope.policy_version = said(&stated.policy_version, &self.default.policy_version);
        envelope.count = stated.count;
        let regimes = if stated.regimes.is_empty() { &self.default.regimes } else { &stated.regimes };
        for regime in regimes {
            match regime.parse::<Regime>() {
                Ok(regime) => envelope.regimes.push(regime),
                Err(why) => wrong.push(format!("regime {regime} {why}")),
            }
        }
        let person = |role| move |label: &String| Person { role, identifiers: vec![labelled(label)] };
        let people = stated.people.iter().map(person(Role::DataSubject));
        let people = people.chain(stated.staff.iter().map(person(Role::Staff))).collect();
        let event = Event { envelope, people, body };
        event.check(&mut |field, why| wrong.push(format!("{field} {why}")));
        if wrong.is_empty() { Ok(event) } else { Err(wrong) }
    }

    fn differences(&self, found: &Findings) -> Vec<String> {
        let looked_at = |code: &str| self.codes.is_empty() || self.codes.iter().any(|one| one == code);
        let mut left: Vec<(&Key, u64)> = found
            .findings
            .iter()
            .filter(|finding| looked_at(finding.key.code()))
            .map(|finding| (&finding.key, finding.count))
            .collect();
        let mut differences = Vec::new();
        for expected in &self.finding {
            let same = left.iter().position(|(key, count)| expected.is(key) && expected.counts(*count));
            let near = || left.iter().find(|(key, _)| expected.is(key));
            match same {
                Some(at) => {
                    left.remove(at);
                }
                None => match near() {
                    Some((key, count)) => differences.push(format!(
                        "{key}: {count} events, expected {}",
                        expected.count.unwrap_or_default()
                    )),
                    None => differences.push(format!("{expected} is not found")),
                },
            }
        }
        let told: Vec<String> = differences.clone();
        let unexpected =
            left.iter().filter(|(key, _)| !told.iter().any(|one| one.starts_with(&format!("{key}:"))));
        differences
            .extend(unexpected.map(|(key, count)| format!("{key} is found {count} times, and not expected")));
        differences
    }
}

impl Expected {
    fn faults(&self) -> Vec<String> {
        let Some(rule) = rule(&self.code) else { return vec![no_code(&self.code)] };
        let unknown = self.key.keys().filter(|field| !rule.key.contains(field));
        unknown.map(|field| format!("{} has no {field} in its key", self.code)).collect()
    }

    fn is(&self, key: &Key) -> bool {
        let fits = |(field, wanted): (&String, &String)| match key.get(field) {
            Some(value) => value.as_str() == wanted || value.items().collect::<Vec<_>>().join(",") == *wanted,
            None => wanted == "-",
        };
        key.code() == self.code && self.key.iter().all(fits)
    }

    fn counts(&self, count: u64) -> bool {
        self.count.is_none_or(|wanted| wanted == count)
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        self.key.iter().try_for_each(|(field, value)| write!(f, " {field}={value}"))
    }
}

fn no_code(code: &str) -> String {
    format!("{code} is no code of a finding")
}

/// One of this file's own names.
fn id(text: &'static str) -> Id {
    text.parse().expect("an id of this file is well formed")
}

fn event_id(n: u64) -> EventId {
    EventId(uuid::Uuid::from_u128(u128::from(n) << 64 | 7))
}

fn labelled(label: &str) -> crate::domain::identity::Identifier {
    crate::domain::identity::Identifier {
        kind: crate::domain::identity::Kind::Account,
        realm: None,
        value: crate::domain::personal::Personal::new(label.to_owned()),
    }
}

/// Keys that protect nothing: cases hold no data.
const KEY: [u8; 32] = [7; 32];

struct CaseKeys;

impl IndexKeys for CaseKeys {
    fn index_key(&self, epoch: u32) -> Option<IndexKey> {
        (epoch == 1).then(|| IndexKey::new(1, &KEY))
    }
}

fn sealed((event, recorded_at): &Recorded) -> Result<NewRecord, Error> {
    let key = Zeroizing::new(KEY);
    let parties: Vec<Party<'_>> = event
        .people
        .iter()
        .map(|person| {
            let label = person.identifiers.first().map(|one| one.value.expose().as_str()).unwrap_or_default();
            let mut handle = [0; 16];
            handle.copy_from_slice(&Sha256::digest(label.as_bytes())[..16]);
            let subject = SubjectId(handle);
            let keys = Some(Keys { subject, link: &key, year: None, identity: &key, evidence: &key });
            Party { role: PartRole::Person(person.role), keys, ids: Vec::new(), noted: Noted::default() }
        })
        .collect();
    let how = Sealing {
        recorded_at: *recorded_at,
        salt: Salt(*event.envelope.event_id.as_bytes()),
        fingerprint: Mark([0; 16]),
        index_key: &IndexKey::new(1, &KEY),
        organisation: &key,
    };
    let record = record::seal(event, &parties, &how)?;
    let (emitter, event_id) = (event.envelope.emitter.clone(), event.envelope.event_id);
    Ok(NewRecord { emitter, event_id, header: record.header, pieces: record.pieces })
}

/// A directory that goes with its case.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("custody-cases-{}-{n}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a temporary directory was left behind");
        }
    }
}

/// What the views find in these events.
async fn found(events: &[Recorded]) -> Result<Findings, Error> {
    let scratch = Scratch::new();
    let log = MemoryLog::new();
    for event in events {
        log.push(&sealed(event)?);
    }
    let (head, dir) = (log.head(), scratch.0.clone());
    let open =
        move || Views::open(Options { cache_bytes: 16 << 20, ..Options::new(dir) }, log, Arc::new(CaseKeys));
    let died = |died| Error::fault("case_died", died);
    let views = tokio::task::spawn_blocking(open).await.map_err(died)??;
    views.wait_for(head, Duration::from_secs(60)).await?;
    let ask = move || -> Result<Findings, Error> {
        let found = views.ask()?.findings(None)?;
        views.close();
        Ok(std::sync::Arc::unwrap_or_clone(found))
    };
    tokio::task::spawn_blocking(ask).await.map_err(died)?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tried(text: &str) -> Vec<Tried> {
        Cases::read(text).unwrap_or_else(|why| panic!("{why}")).run().await.unwrap()
    }

    const SHARE: &str = r#"
        [[case]]
        name = "a share"
        default = { controller = "kstar", emitter = "shop", service = "shop" }
        codes = ["F-SHARE-NO-SAFEGUARD"]
        [[case.event]]
        at = "2026-01-01T00:00:00Z"
        type = "DataShared"
        people = ["anna", "bo"]
        body = { recipient_id = "pay", cats = ["pd:Name"], purpose = "payment" }
    "#;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_case_passes_or_says_what_differs() {
        let expected = |count| {
            format!(
                "{SHARE}\n[[case.finding]]\ncode = \"F-SHARE-NO-SAFEGUARD\"\nkey = {{ recipient = \"pay\" }}\ncount = {count}"
            )
        };
        assert_eq!(tried(&expected(1)).await[0].differences, Vec::<String>::new());
        let key = "F-SHARE-NO-SAFEGUARD recipient=pay activity=-";
        assert_eq!(tried(&expected(2)).await[0].differences, [format!("{key}: 1 events, expected 2")]);
        assert_eq!(tried(SHARE).await[0].differences, [format!("{key} is found 1 times, and not expected")]);
        let other = expected(1).replace("recipient = \"pay\" }", "recipient = \"hq\" }");
        let told = tried(&other).await[0].differences.clone();
        assert_eq!(told[0], "F-SHARE-NO-SAFEGUARD recipient=hq is not found");
        assert_eq!(told.len(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_fault_of_a_case_is_named() {
        let text = SHARE
            .replace("recipient_id = \"pay\", ", "")
            .replace("2026-01-01T00:00:00Z\"", "2026-01-01T00:00:00Z\"\nregimes = [\"XX\"]");
        let text = format!(
            "{text}\n[[case.finding]]\ncode = \"F-NOTHING\"\n[[case.finding]]\ncode = \"F-ADM\"\nkey = {{ who = \"x\" }}"
        );
        let told = tried(&text).await[0].differences.join("\n");
        for said in [
            "data_shared.recipient_id is required",
            "regime XX",
            "F-NOTHING is no code",
            "F-ADM has no who in its key",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        assert!(Cases::read("case = 3").is_err() && Cases::read("").is_err());
    }

    /// The cases that the project comes with hold.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_cases_in_the_examples_pass() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/cases");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            for tried in tried(&std::fs::read_to_string(&path).unwrap()).await {
                assert_eq!(tried.differences, Vec::<String>::new(), "{}: {}", path.display(), tried.name);
                count += 1;
            }
        }
        assert!(count >= 8, "{count}");
    }
}

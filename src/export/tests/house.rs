//! A log in memory with its tree and keys, for the tests of the writer and the verifier.

use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::domain::event::catalogue::*;
use crate::domain::event::*;
use crate::domain::id::{EventId, Id, SubjectId};
use crate::domain::personal::Personal;
use crate::domain::time::LocalDate;
use crate::export::*;
use crate::ledger::tlog::proof::{consistency, edge_at, inclusion};
use crate::ledger::tlog::tree::node_hash;
use crate::ledger::tlog::{Checkpoint, KeyKind, Nodes, Policy, leaf_hash};
use crate::log::{Log, NewRecord, Outcome, PieceRef, Status, StoredRecord};
use crate::record::key::{box_key, tag, tag_key};
use crate::record::{self, Fingerprinter, IndexKey, Keys, Noted, PartRole, Party, Salt, Sealing};
use crate::verify::Trust;

pub const ORIGIN: &str = "custody.example/kstar/events-1";
pub const YEAR: i32 = 2026;

pub fn opening(bytes: [u8; 32]) -> SecretKey {
    Zeroizing::new(bytes)
}

/// People are numbered from 1; their keys follow from the number.
pub struct Persons;

impl Persons {
    fn link(person: u8) -> SecretKey {
        opening([person; 32])
    }

    fn identity(person: u8) -> SecretKey {
        opening([100 + person; 32])
    }

    pub fn tag_keys(person: u8) -> TagKeys {
        TagKeys::new(vec![(YEAR, tag_key(&Self::link(person), YEAR))])
    }
}

/// Who stands in event `n`, in the order of its parts.
fn people(n: u64) -> Vec<u8> {
    match n {
        n if n.is_multiple_of(5) || registered(n).is_some() => vec![],
        n if n.is_multiple_of(7) => vec![2, 1],
        n => vec![(n % 3) as u8 + 1],
    }
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

/// What event `n` registers: some entries have several versions, one is registered ahead of its time.
fn registered(n: u64) -> Option<Body> {
    let at = |text: &str| Some(text.parse().unwrap());
    Some(match n % 30 {
        0 => Body::ServiceRegistered(Box::new(ServiceRegistered {
            service: Some(id("solar")),
            owner: Some(id("kstar-cn")),
            ..Default::default()
        })),
        3 | 8 => Body::ActivityRegistered(Box::new(ActivityRegistered {
            activity: Some(id("metering")),
            service: Some(id("solar")),
            record_kind: Some(id(&format!("photo-{n}"))),
            ..Default::default()
        })),
        5 => Body::PolicyPublished(Box::new(PolicyPublished {
            policy_id: Some(id("privacy")),
            version: Some(id(&format!("v{n}"))),
            effective_at: at(if n < 30 { "2026-06-01T00:00:00.000Z" } else { "2026-02-01T00:00:00.000Z" }),
            ..Default::default()
        })),
        13 => Body::RecipientRegistered(Box::new(RecipientRegistered {
            recipient_id: Some(id("maps")),
            legal_name: Some("地图科技有限公司".parse().unwrap()),
            country: Some("CN".parse().unwrap()),
            role: Some(RecipientRole::ALL[0]),
            ..Default::default()
        })),
        15 => Body::MappingAdded(Box::new(MappingAdded {
            kind: Some(MappingKind::Purpose),
            term: Some(id("stats")),
            emitter: (n > 30).then(|| id("solar-app")),
            maps_to: Some(id("analytics")),
            ..Default::default()
        })),
        18 => Body::TransferMechanismRegistered(Box::new(TransferMechanismRegistered {
            mechanism_id: Some(id("scc-1")),
            exporter: Some(id("kstar-eu")),
            signed_at: at("2026-01-01T00:00:00.000Z"),
            // A day in a zone, which is no instant from which a version counts.
            effective_at: Some(LocalDate {
                date: chrono::NaiveDate::from_ymd_opt(2026, 9, 1).unwrap(),
                tz: chrono_tz::Asia::Shanghai,
            }),
            ..Default::default()
        })),
        23 => Body::TransferMechanismSuspended(Box::new(TransferMechanismSuspended {
            mechanism_id: Some(id("scc-1")),
            reason: Some(id("law-changed")),
        })),
        25 => Body::AssessmentRecorded(Box::new(AssessmentRecorded {
            kind: Some(AssessmentKind::Pipia),
            subject_matter: Some(id("metering")),
            result: Some(AssessmentResult::ALL[0]),
            ..Default::default()
        })),
        27 => Body::RetentionRulePublished(Box::new(RetentionRulePublished {
            rule: Some(RetentionRule {
                id: id("keep-1"),
                kind: RuleKind::Keep,
                matches: None,
                anchor: Anchor::Collected,
                causes: Default::default(),
                period: "P1Y".parse().unwrap(),
                year_end: false,
                tz: chrono_tz::Asia::Shanghai,
                on_expiry: None,
                law_of: None,
                legal: None,
                from: None,
                to: None,
                replaces: None,
            }),
            reason: None,
        })),
        28 => Body::LegalHoldPlaced(Box::new(LegalHoldPlaced {
            // The second is on one person, whom nobody names here, and is no entry.
            hold_id: (n < 30).then(|| id("hold-1")),
            ground: Some(HoldGround::Court),
            ..Default::default()
        })),
        29 => Body::BreachDetected(Box::new(BreachDetected {
            breach_id: Some(id("breach-1")),
            aware_at: at("2026-03-01T08:00:00Z"),
            ..Default::default()
        })),
        _ => return None,
    })
}

fn event(n: u64) -> Event {
    let envelope = Envelope {
        emitter_seq: Some(n),
        service: Some(id("solar")),
        ..Envelope::new(
            format!("019cf0a1-0000-7000-8000-{:012x}", n + 1).parse::<EventId>().unwrap(),
            id("kstar-cn"),
            id("solar-app"),
            "2026-03-01T08:00:00.007Z".parse().unwrap(),
        )
    };
    let body = match n {
        10 => Body::EventsRetracted(Box::new(EventsRetracted {
            emitter: Some(id("solar-app")),
            reason: Some(RetractionReason::ALL[0]),
            ..Default::default()
        })),
        n if registered(n).is_some() => registered(n).unwrap(),
        n if n.is_multiple_of(5) => Body::DataUsed(Box::new(DataUsed {
            purpose: Some(id("analytics")),
            pseudonymous: Some(true),
            ..Default::default()
        })),
        n => Body::DataCollected(Box::new(DataCollected {
            record_kind: Some(id("photo")),
            source: Some(Source::Subject),
            slot: Some(id("station-7")),
            locator: Some(Personal::new(format!("电站/{n}.jpg"))),
            ..Default::default()
        })),
    };
    Event { envelope, people: vec![], body }
}

fn sealed(n: u64) -> record::SealedRecord {
    let keys: Vec<[SecretKey; 2]> =
        people(n).into_iter().map(|p| [Persons::link(p), Persons::identity(p)]).collect();
    let parties: Vec<Party> = keys
        .iter()
        .enumerate()
        .map(|(i, [link, identity])| {
            let staff = i == 0 && keys.len() > 1;
            Party {
                role: PartRole::Person(if staff { Role::Staff } else { Role::DataSubject }),
                keys: Some(Keys {
                    subject: SubjectId([9; 16]),
                    link,
                    year: None,
                    identity,
                    evidence: identity,
                }),
                ids: vec![],
                noted: Noted::default(),
            }
        })
        .collect();
    let event = event(n);
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&n.to_be_bytes());
    let how = Sealing {
        recorded_at: "2026-03-01T08:00:01.000Z".parse().unwrap(),
        salt: Salt(salt),
        fingerprint: Fingerprinter::new(&opening([6; 32])).of(&event).unwrap(),
        index_key: &IndexKey::new(1, &[4; 32]),
        organisation: &opening([5; 32]),
    };
    record::seal(&event, &parties, &how).unwrap()
}

#[derive(Default)]
pub struct MemoryLog(Mutex<Vec<StoredRecord>>);

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, batch: Vec<NewRecord>) -> Result<Vec<Outcome>, log::Error> {
        let mut records = self.0.lock().unwrap();
        let add = |new: NewRecord| {
            let position = records.len() as u64;
            let pieces = new.pieces.into_iter().map(Some).collect();
            records.push(StoredRecord { position, header: new.header, pieces });
            Outcome::Appended(position)
        };
        Ok(batch.into_iter().map(add).collect())
    }

    async fn find(&self, _: &[(Id, EventId)]) -> Result<Vec<Option<u64>>, log::Error> {
        Err(log::Error::Refused("not asked in these tests"))
    }

    async fn read(&self, from: u64, most: usize, _: usize) -> Result<Vec<StoredRecord>, log::Error> {
        // Short answers, so that the writer has to ask again.
        Ok(self.0.lock().unwrap().iter().skip(from as usize).take(most.min(3)).cloned().collect())
    }

    async fn get(&self, positions: &[u64]) -> Result<Vec<StoredRecord>, log::Error> {
        let records = self.0.lock().unwrap();
        Ok(positions.iter().map(|position| records[*position as usize].clone()).collect())
    }

    fn head(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    async fn wait_beyond(&self, _: u64) -> Result<(), log::Error> {
        Err(log::Error::Refused("not asked in these tests"))
    }

    async fn purge(&self, pieces: &[PieceRef]) -> Result<(), log::Error> {
        let mut records = self.0.lock().unwrap();
        for piece in pieces {
            records[piece.position as usize].pieces[piece.piece as usize] = None;
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            head: self.head(),
            bytes_on_disk: 0,
            bytes_waiting: 0,
            read_only: None,
            cause: None,
            unreachable: None,
        }
    }
}

/// A log with its tree and its keys.
pub struct House {
    pub log: MemoryLog,
    leaves: Vec<Hash>,
    origin: String,
    /// What has been published, if not the tree of all events.
    pub published: Option<u64>,
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Nodes for House {
    type Error = Invalid;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Invalid> {
        match level {
            0 => self.leaves.get(index as usize).copied().ok_or(Invalid::Proof("no such leaf")),
            level => Ok(node_hash(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?)),
        }
    }
}

impl House {
    pub fn of(events: u64) -> House {
        House::named(ORIGIN, 0..events)
    }

    /// The events of these numbers, under a name.
    pub fn named(origin: &str, events: impl IntoIterator<Item = u64>) -> House {
        let log = MemoryLog::default();
        let mut leaves = Vec::new();
        for n in events {
            let record = sealed(n);
            leaves.push(leaf_hash(&record.header));
            let event_id = event(n).envelope.event_id;
            let new = NewRecord {
                emitter: id("solar-app"),
                event_id,
                header: record.header,
                pieces: record.pieces,
            };
            block_on(log.append(vec![new])).unwrap();
        }
        House { log, leaves, origin: origin.to_owned(), published: None }
    }

    fn log_signer(&self) -> Signer {
        Signer::from_seed(&self.origin, KeyKind::Text, &[41; 32]).unwrap()
    }

    pub fn signed(&self, size: u64) -> SignedCheckpoint {
        let root = edge_at(size, self).unwrap().root();
        Checkpoint { origin: self.origin.clone(), size, root }.signed([&self.log_signer()]).unwrap()
    }

    pub fn trust(&self) -> Trust {
        Trust {
            policy: Some(Policy::of_log(self.log_signer().verifier().clone())),
            manifest_key: Some(self.manifest_signer(&self.origin).unwrap().verifier().clone()),
            since: None,
        }
    }

    pub fn request(&self, scope: Scope, from: u64, to: u64) -> Request {
        Request {
            export: id("export-1"),
            scope,
            from,
            to,
            level: Level::Headers,
            retracted: 0,
            created: "2026-04-01T00:00:00.000Z".parse().unwrap(),
            cover: Cover { authority: Some("国家网信办".to_owned()), ..Cover::default() },
            since: vec![],
        }
    }

    pub fn write(&self, request: &Request, target: &Path) -> Result<Produced, Error> {
        self.write_with(self, request, target)
    }

    pub fn write_with(
        &self,
        disclose: &dyn Disclose,
        request: &Request,
        target: &Path,
    ) -> Result<Produced, Error> {
        block_on(write(&self.log, self, disclose, request, target, &mut |_| Ok(())))
    }

    pub fn log_head(&self) -> u64 {
        self.log.head()
    }

    pub fn positions_of(&self, person: u8) -> Vec<u64> {
        (0..self.log.head()).filter(|n| people(*n).contains(&person)).collect()
    }

    /// Sealed parts between two positions.
    pub fn boxes(&self, from: u64, to: u64) -> u64 {
        let records = block_on(self.log.get(&(from..to).collect::<Vec<_>>())).unwrap();
        let boxes = |record: &StoredRecord| {
            Header::parse(&record.header)
                .unwrap()
                .parts
                .iter()
                .map(|part| part.boxes.len() as u64)
                .sum::<u64>()
        };
        records.iter().map(boxes).sum()
    }

    /// Purges all pieces of one person; says how many of them were sealed parts.
    pub fn purge_person(&self, person: u8) -> u64 {
        let mut gone = 0;
        for record in block_on(self.log.get(&self.positions_of(person))).unwrap() {
            let header = Header::parse(&record.header).unwrap();
            for (i, part) in header.parts.iter().enumerate() {
                if Persons::tag_keys(person).is_theirs(&header, i) {
                    gone += part.boxes.len() as u64;
                    let first = header.index_piece(i);
                    for number in first..=first + part.boxes.len() {
                        let piece = PieceRef { position: record.position, piece: number as u16 };
                        block_on(self.log.purge(&[piece])).unwrap();
                    }
                }
            }
        }
        gone
    }
}

impl Proofs for House {
    fn checkpoint(&self, covering: u64) -> Result<SignedCheckpoint, Error> {
        let size = self.published.unwrap_or(self.leaves.len() as u64);
        Ok(self.signed(if covering <= size { size } else { size.min(covering) }))
    }

    fn edge(&self, size: u64) -> Result<Edge, Error> {
        Ok(edge_at(size, self)?)
    }

    fn inclusion(&self, position: u64, _: &[u8], size: u64) -> Result<Vec<Hash>, Error> {
        Ok(inclusion(position, size, self)?)
    }

    fn growth(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        Ok(consistency(old, new, self)?)
    }

    fn manifest_signer(&self, origin: &str) -> Result<Signer, Error> {
        Ok(Signer::from_seed(&format!("{origin}/export"), KeyKind::Text, &[42; 32])?)
    }
}

/// Opens whatever belongs to one of the people.
impl Disclose for House {
    fn share(&self, _: u64, header: &Header<'_>, part: usize, sealed: usize) -> Share {
        for person in 1..=3 {
            let key = tag_key(&Persons::link(person), YEAR);
            if tag(&key, header.salt, part as u8) == header.parts[part].tag {
                let class = header.parts[part].boxes[sealed].class;
                return Share::Open(box_key(class, &Persons::identity(person), header.salt, part as u8));
            }
        }
        Share::Sealed
    }
}

pub fn selection(positions: &[u64]) -> Scope {
    Scope::Selection {
        positions: positions.to_vec(),
        words: "those of March".to_owned(),
        filter: "occurred_at>=2026-03-01".to_owned(),
    }
}

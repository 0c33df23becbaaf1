//! The record alone: fingerprint, seal, read back, open. One event about one person with a sealed
//! field, as an app sends it. `cargo bench --bench record`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use custody::domain::event::catalogue::DataCollected;
use custody::domain::event::*;
use custody::domain::id::{Id, SubjectId};
use custody::domain::personal::Personal;
use custody::record::*;
use zeroize::Zeroizing;

const EPOCH: u32 = 20_261;

fn id(text: &str) -> Id {
    text.parse().expect("an id")
}

fn key(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn collected() -> Event {
    let body = DataCollected {
        record_kind: Some(id("photo")),
        cats: List::new(vec![id("pd:Picture")]).expect("one"),
        purposes: List::new(vec![PurposeBasis { id: id("service_provision"), basis: LegalBasis::Contract }])
            .expect("one"),
        source: Some(Source::Subject),
        storage_country: "CN".parse().ok(),
        slot: Some(id("station-7")),
        locator: Some(Personal::new("station/7/photo.jpg".to_owned())),
        ..Default::default()
    };
    let envelope = Envelope {
        emitter_seq: Some(42),
        service: Some(id("solar")),
        activity: Some(id("station.photo")),
        policy_version: Some(id("2025-03")),
        ..Envelope::new(
            "019cf0a1-0000-7000-8000-000000000001".parse().expect("an id"),
            id("kstar-cn"),
            id("solar-app"),
            "2026-03-01T08:00:00.007Z".parse().expect("a time"),
        )
    };
    Event { envelope, people: Vec::new(), body: Body::DataCollected(Box::new(body)) }
}

fn made(event: &Event, fingerprint: Fingerprint, salt: Salt) -> SealedRecord {
    let (link, identity, evidence, organisation) = (key(1), key(2), key(3), key(5));
    let keys = Keys {
        subject: SubjectId([9; 16]),
        link: &link,
        year: None,
        identity: &identity,
        evidence: &evidence,
    };
    let party = Party {
        role: PartRole::Person(Role::DataSubject),
        keys: Some(keys),
        ids: Vec::new(),
        noted: Noted::default(),
    };
    let how = Sealing {
        recorded_at: "2026-03-01T08:00:01.000Z".parse().expect("a time"),
        salt,
        fingerprint,
        index_key: &IndexKey::new(EPOCH, &key(4)),
        organisation: &organisation,
    };
    seal(event, &[party], &how).expect("a record")
}

fn records(criterion: &mut Criterion) {
    let event = collected();
    let fingerprinter = Fingerprinter::new(&key(6));
    let fingerprint = fingerprinter.of(&event).expect("a fingerprint");
    let record = made(&event, fingerprint, Salt([1; 16]));
    let sidecar: usize = record.pieces.iter().map(|piece| piece.len()).sum();
    println!("header {} bytes, sidecar {} bytes", record.header.len(), sidecar);

    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fingerprint", |b| b.iter(|| fingerprinter.of(black_box(&event))));
    group.bench_function("seal", |b| b.iter(|| made(black_box(&event), fingerprint, Salt([1; 16]))));
    group.bench_function("leaf", |b| b.iter(|| leaf_hash(black_box(&record.header))));
    group.bench_function("parse", |b| b.iter(|| Header::parse(black_box(&record.header))));
    let header = Header::parse(&record.header).expect("a header");
    let index_key = IndexKey::new(EPOCH, &key(4));
    group.bench_function("open_index", |b| {
        b.iter(|| header.open_index(0, black_box(&record.pieces[0]), &index_key))
    });
    let (piece, identity) = (&record.pieces[header.box_piece(0, 0)], key(2));
    group.bench_function("open_box", |b| b.iter(|| header.open_box(0, 0, black_box(piece), &identity)));
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);

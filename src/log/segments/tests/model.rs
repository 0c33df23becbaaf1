//! Random calls compared with a model: a list of records and a table of ids.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<(bool, u64)>),
    Find(Vec<u64>),
    Read(u64, usize, usize),
    Purge(u64, u16),
    Reopen,
    ReopenWithoutIndex,
    ReopenWithoutEnds,
}

fn op() -> impl Strategy<Value = Op> {
    let ids = || prop::collection::vec(0u64..150, 1..12);
    prop_oneof![
        8 => prop::collection::vec((any::<bool>(), 0u64..150), 1..12).prop_map(Op::Append),
        2 => ids().prop_map(Op::Find),
        3 => (0u64..200, 1usize..40, 0usize..3_000).prop_map(|(from, n, bytes)| Op::Read(from, n, bytes)),
        2 => (0u64..200, 0u16..2).prop_map(|(position, piece)| Op::Purge(position, piece)),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenWithoutIndex),
        1 => Just(Op::ReopenWithoutEnds),
    ]
}

#[derive(Default)]
struct Model {
    records: Vec<(NewRecord, Vec<bool>)>,
    positions: HashMap<(Id, EventId), u64>,
}

impl Model {
    fn append(&mut self, batch: &[NewRecord]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for record in batch {
            let next = self.records.len() as u64;
            let key = (record.emitter.clone(), record.event_id);
            let position = *self.positions.entry(key).or_insert(next);
            outcomes.push(if position == next { Outcome::Appended(next) } else { Outcome::Exists(position) });
            if position == next {
                self.records.push((record.clone(), vec![false; record.pieces.len()]));
            }
        }
        outcomes
    }

    fn stored(&self, position: u64) -> StoredRecord {
        let (record, purged) = &self.records[position as usize];
        let pieces = record.pieces.iter().zip(purged).map(|(piece, gone)| (!gone).then(|| piece.clone()));
        StoredRecord { position, header: record.header.clone(), pieces: pieces.collect() }
    }
}

fn made((other, n): (bool, u64)) -> NewRecord {
    record(if other { "other" } else { "app" }, n)
}

async fn run(ops: Vec<Op>) {
    let dir = quick_dir();
    let mut log = Some(Segments::open(small(dir.path())).unwrap());
    let mut model = Model::default();
    for op in ops {
        let open = log.as_ref().unwrap();
        match op {
            Op::Append(ids) => {
                let batch: Vec<_> = ids.into_iter().map(made).collect();
                let expected = model.append(&batch);
                assert_eq!(open.append(batch).await.unwrap(), expected);
            }
            Op::Find(ids) => {
                let keys: Vec<_> = ids.iter().map(|n| made((n % 2 == 0, *n))).collect();
                let keys: Vec<_> = keys.into_iter().map(|r| (r.emitter, r.event_id)).collect();
                let expected: Vec<_> = keys.iter().map(|key| model.positions.get(key).copied()).collect();
                assert_eq!(open.find(&keys).await.unwrap(), expected);
            }
            Op::Read(from, records, bytes) => {
                let read = open.read(from, records, bytes).await.unwrap();
                assert_eq!(read.is_empty(), from >= model.records.len() as u64);
                assert!(read.len() <= records);
                for (position, stored) in (from..).zip(read) {
                    assert_eq!(stored, model.stored(position));
                }
            }
            Op::Purge(position, piece) => {
                let there =
                    model.records.get_mut(position as usize).and_then(|r| r.1.get_mut(piece as usize));
                let purged = open.purge(&[PieceRef { position, piece }]).await;
                assert_eq!(purged.is_ok(), there.is_some());
                there.into_iter().for_each(|gone| *gone = true);
            }
            Op::Reopen | Op::ReopenWithoutIndex | Op::ReopenWithoutEnds => {
                drop(log.take());
                let ends = |name: &str| matches!(op, Op::ReopenWithoutEnds) && name.ends_with(".ends");
                for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
                    if ends(&entry.file_name().to_string_lossy()) {
                        std::fs::remove_file(entry.path()).unwrap();
                    }
                }
                if matches!(op, Op::ReopenWithoutIndex) {
                    std::fs::remove_dir_all(dir.path().join("ids")).unwrap();
                }
                log = Some(Segments::open(small(dir.path())).unwrap());
            }
        }
        let open = log.as_ref().unwrap();
        assert_eq!((open.head(), open.status().read_only), (model.records.len() as u64, None));
    }
    let all: Vec<u64> = (0..model.records.len() as u64).collect();
    let expected: Vec<_> = all.iter().map(|position| model.stored(*position)).collect();
    assert_eq!(log.unwrap().get(&all).await.unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(ops));
    }
}

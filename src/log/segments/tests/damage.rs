//! Bytes that are not as they were left.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::log::contract::emitter;

/// Appends batches of these sizes to a new log, one after the other, and returns all records.
async fn fill(log: &Segments, sizes: &[u64]) -> Vec<NewRecord> {
    let mut all = Vec::new();
    for size in sizes {
        let batch: Vec<_> = (all.len() as u64..).take(*size as usize).map(|n| record("app", n)).collect();
        log.append(batch.clone()).await.unwrap();
        all.extend(batch);
    }
    all
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    paths.sort();
    paths
}

/// Copies what a crash leaves at worst: segments and tail mark, neither offsets nor index.
fn copy_segments(from: &Path, to: &Path) {
    for path in segments(from).into_iter().chain([from.join("tail")]) {
        if path.exists() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn is_as_given(stored: &StoredRecord, given: &NewRecord) -> bool {
    stored.header == given.header && stored.pieces.iter().flatten().eq(&given.pieces)
}

/// Reads every record that is there in several ways. Panics at a wrong one; counts the errors.
async fn count_errors(log: &Segments, given: &[NewRecord]) -> usize {
    let mut errors = 0;
    for position in 0..log.head() {
        match log.get(&[position]).await {
            Ok(read) => {
                assert!(is_as_given(&read[0], &given[position as usize]), "record {position} is changed")
            }
            Err(error) => errors += usize::from(matches!(error, Error::Corrupt { .. })),
        }
        match log.read(position, 2, 1 << 20).await {
            Ok(read) => assert!(!read.is_empty() && is_as_given(&read[0], &given[position as usize])),
            Err(error) => errors += usize::from(matches!(error, Error::Corrupt { .. })),
        }
    }
    for (position, record) in (0..log.head()).zip(given) {
        match log.find(&[(record.emitter.clone(), record.event_id)]).await {
            Ok(found) => assert_eq!(found, [Some(position)]),
            Err(error) => assert!(matches!(error, Error::ReadOnly(_)), "{error}"),
        }
    }
    errors
}

/// A log whose last group was cut short at every possible byte loses whole batches of that group.
#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte() {
    let source = quick_dir();
    let log = Segments::open(small(source.path())).unwrap();
    let given = fill(&log, &[1, 2]).await;
    // A last group of two batches, as two callers at once would make it.
    let (segment, _) = log.shared.chain.locate(2).unwrap().unwrap();
    let start = segment.range(2).unwrap().map(|(at, length)| at as usize + length).unwrap();
    let batches = [vec![record("app", 3), record("app", 4)], vec![record("app", 5)]];
    let mut group = Vec::new();
    let mut whole_at = vec![(0, 3)];
    for (first, batch) in [3, 5].into_iter().zip(&batches) {
        let mut encoded = frame::encode(batch.clone()).unwrap();
        let mut from = 0;
        for (index, framed) in encoded.frames.iter().enumerate() {
            let left = (batch.len() - 1 - index) as u16;
            frame::place(&mut encoded.bytes[from..], first + index as u64, 3, left);
            from += framed.total as usize;
        }
        group.extend_from_slice(&encoded.bytes);
        whole_at.push((group.len(), first + batch.len() as u64));
    }
    let mut all = given.clone();
    all.extend(batches.concat());
    let target = quick_dir();
    for cut in 0..=group.len() {
        let torn = target.path().join("torn");
        fs::create_dir(&torn).unwrap();
        copy_segments(source.path(), &torn);
        let path = segments(&torn).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[start..start + cut].copy_from_slice(&group[..cut]);
        fs::write(&path, &bytes).unwrap();

        let log = Segments::open(small(&torn)).unwrap();
        let expected = whole_at.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert_eq!((log.head(), log.status().read_only), (expected.1, None), "cut at {cut}");
        assert_eq!(count_errors(&log, &all).await, 0);
        let next = log.append(vec![record("app", 100)]).await.unwrap();
        assert_eq!(next, [Outcome::Appended(expected.1)]);
        drop(log);
        // What was behind the cut is gone, or it could come back as a later record.
        let rest = fs::read(&path).unwrap().split_off(start + expected.0);
        let used = frame::Head::read(&rest).unwrap().total as usize;
        assert!(frame::is_zero(&rest[used..]), "cut at {cut}");
        fs::remove_dir_all(&torn).unwrap();
    }
}

/// After an orderly end no byte of a record can change without being noticed.
#[tokio::test]
async fn every_flipped_byte_is_loud() {
    let source = quick_dir();
    let log = Segments::open(small(source.path())).unwrap();
    let given = fill(&log, &[1, 3, 2, 1]).await;
    let (segment, _) = log.shared.chain.locate(6).unwrap().unwrap();
    let used = segment.range(6).unwrap().map(|(at, length)| at as usize + length).unwrap();
    drop(log);
    let path = segments(source.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    let target = quick_dir();
    for at in (0..used).filter(|at| !(12..16).contains(at) || *at == 12) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        // With the index as it was left, and without it, when all is read on opening.
        let rebuilt = target.path().join("rebuilt");
        fs::create_dir(&rebuilt).unwrap();
        copy_segments(source.path(), &rebuilt);
        for dir in [source.path(), &rebuilt] {
            fs::write(segments(dir).remove(0), &bad).unwrap();
            let log = Segments::open(small(dir)).unwrap();
            let errors = count_errors(&log, &given).await;
            let checked = log.check(&mut |_| {}).unwrap();
            assert!(log.status().read_only.is_some(), "byte {at} of {}", dir.display());
            assert!(errors > 0 || at < 32 || log.head() < 7, "byte {at}");
            assert!(!checked.damage.is_empty() || log.head() < 7, "byte {at}");
            let refused = log.append(vec![record("app", 100)]).await;
            assert!(matches!(refused, Err(Error::ReadOnly(_))), "byte {at}: {refused:?}");
            drop(log);
        }
        assert_eq!(fs::read(segments(&rebuilt).remove(0)).unwrap(), bad, "damage is left as it was found");
        fs::remove_dir_all(&rebuilt).unwrap();
    }
    fs::write(&path, &bytes).unwrap();
    let log = Segments::open(small(source.path())).unwrap();
    assert_eq!(count_errors(&log, &given).await, 0);
    assert_eq!((log.head(), log.status().read_only), (7, None));
}

#[tokio::test]
async fn lost_files_are_loud_or_rebuilt() {
    type Loss = fn(&Path);
    let cut =
        |path: &Path, keep: u64| fs::File::options().write(true).open(path).unwrap().set_len(keep).unwrap();
    let loud: [Loss; 5] = [
        |dir| fs::remove_file(&segments(dir)[0]).unwrap(),
        |dir| fs::remove_file(&segments(dir)[1]).unwrap(),
        |dir| fs::remove_file(segments(dir).last().unwrap()).unwrap(),
        |dir| segments(dir).iter().for_each(|path| fs::remove_file(path).unwrap()),
        |dir| fs::rename(&segments(dir)[1], dir.join("00000000000000000009.seg")).unwrap(),
    ];
    let rebuilt: [Loss; 5] = [
        |dir| segments(dir).iter().for_each(|path| fs::remove_file(path.with_extension("ends")).unwrap()),
        |dir| segments(dir).iter().for_each(|path| fs::write(path.with_extension("ends"), [9; 77]).unwrap()),
        |dir| fs::remove_dir_all(dir.join("ids")).unwrap(),
        |dir| fs::write(dir.join("ids/0.jnl"), b"garbage").unwrap(),
        |dir| fs::write(dir.join("spare"), b"leftover").unwrap(),
    ];
    for (index, loss) in loud.iter().chain(&rebuilt).enumerate() {
        let dir = quick_dir();
        let log = Segments::open(small(dir.path())).unwrap();
        let given = fill(&log, &[20; 6]).await;
        drop(log);
        assert!(segments(dir.path()).len() > 3);
        loss(dir.path());
        let log = Segments::open(small(dir.path())).unwrap();
        let errors = count_errors(&log, &given).await;
        if index < loud.len() {
            assert!(log.status().read_only.is_some(), "loss {index}");
            assert!(errors > 0 || log.head() < 120, "loss {index}");
        } else {
            assert_eq!((errors, log.head(), log.status().read_only), (0, 120, None), "loss {index}");
            assert_eq!(log.check(&mut |_| {}).unwrap(), Checked { records: 120, purged: 0, damage: vec![] });
            assert_eq!(log.append(vec![record("app", 5)]).await.unwrap(), [Outcome::Exists(5)]);
        }
    }
    // A last segment that was cut short is a loss too, because the tail mark is beyond it.
    let dir = quick_dir();
    let log = Segments::open(small(dir.path())).unwrap();
    fill(&log, &[3]).await;
    drop(log);
    cut(&segments(dir.path())[0], 200);
    let log = Segments::open(small(dir.path())).unwrap();
    assert!(log.status().read_only.is_some());
}

#[tokio::test]
async fn purged_bytes_are_nowhere_and_the_mark_stands_before_them() {
    let dir = quick_dir();
    let log = Segments::open(Options::new(dir.path())).unwrap();
    let secret = b"only-in-this-piece";
    let with = NewRecord { pieces: vec![secret.to_vec().into()], ..record("app", 0) };
    log.append(vec![with.clone()]).await.unwrap();
    assert_eq!(tail::read(dir.path()).unwrap(), Ok(0));
    log.purge(&[PieceRef { position: 0, piece: 0 }]).await.unwrap();
    assert_eq!(tail::read(dir.path()).unwrap(), Ok(1));
    let read = log.read(0, 1, 1).await.unwrap();
    assert_eq!((&read[0].header, &read[0].pieces[..]), (&with.header, &[None][..]));
    assert_eq!(log.check(&mut |_| {}).unwrap(), Checked { records: 1, purged: 1, damage: vec![] });
    let copy = quick_dir();
    copy_segments(dir.path(), copy.path());
    drop(log);
    let mut seen = 0;
    let mut dirs = vec![dir.path().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{}", path.display());
            seen += usize::from(bytes.windows(with.header.len()).any(|w| w == with.header));
        }
    }
    assert_eq!(seen, 1, "the header stays");
    // After a crash the zeros are a purge, not a torn write, although they lie in the last group.
    let log = Segments::open(Options::new(copy.path())).unwrap();
    assert_eq!((log.head(), log.status().read_only), (1, None));
    assert_eq!(log.find(&[(emitter("app"), with.event_id)]).await.unwrap(), [Some(0)]);
}

/// A disk on which power fails in the middle of a purge.
struct Cut;

impl Disk for Cut {
    fn write(&self, file: &fs::File, bytes: &[u8], at: u64) -> io::Result<()> {
        if bytes.len() != 900 || !frame::is_zero(bytes) {
            return disk::Direct.write(file, bytes, at);
        }
        disk::Direct.write(file, &bytes[..bytes.len() / 2], at)?;
        Err(io::ErrorKind::Interrupted.into())
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        disk::Direct.sync(file)
    }
}

#[tokio::test]
async fn a_purge_that_power_cut_short_is_done_again_and_no_damage() {
    let dir = quick_dir();
    let log = Segments::open(Options { disk: Arc::new(Cut), ..Options::new(dir.path()) }).unwrap();
    let with = NewRecord { pieces: vec![vec![7; 900].into()], ..record("app", 0) };
    log.append(vec![with, record("app", 1)]).await.unwrap();
    assert!(log.purge(&[PieceRef { position: 0, piece: 0 }]).await.is_err());
    let segment = segments(dir.path()).remove(0);
    let left = |path: &Path| fs::read(path).unwrap().iter().filter(|byte| **byte == 7).count();
    assert!((400..900).contains(&left(&segment)), "half of it is there");
    // The index of ids, which is not synced, may be lost as well: then recovery reads every frame.
    let copy = quick_dir();
    copy_segments(dir.path(), copy.path());
    fs::copy(dir.path().join("purging"), copy.path().join("purging")).unwrap();
    drop(log);
    let log = Segments::open(Options::new(copy.path())).unwrap();
    assert_eq!((log.head(), log.status().read_only), (2, None));
    assert_eq!(log.check(&mut |_| {}).unwrap(), Checked { records: 2, purged: 1, damage: vec![] });
    assert!(left(&segments(copy.path())[0]) < 400 && !copy.path().join("purging").exists());
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = quick_dir();
    let log = Segments::open(Options::new(dir.path())).unwrap();
    let Err(Error::Unavailable { reason, source: Some(source) }) = Segments::open(Options::new(dir.path()))
    else {
        panic!("opened twice");
    };
    assert!(reason.contains("another process"), "{reason}");
    assert!(source.to_string().contains(&*dir.path().to_string_lossy()), "{source}");
    log.close().unwrap();
    assert!(Segments::open(Options::new(dir.path())).is_ok());
}

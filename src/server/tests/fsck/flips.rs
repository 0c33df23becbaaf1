//! Bytes flipped one at a time over all files of a directory: each is found, or the directory is not
//! opened, or the flip is without any effect: all records, all rows of the vault, the root and every row
//! of the views are what they were. Where the last is allowed is a short list, with why.

use std::collections::BTreeMap;

use super::damage::files;
use super::*;
use crate::vault::sqlite::harm;

/// Flips for each file, spread over what is written in it; fewer in what is made again anyway.
const OF_A_FILE: usize = 6;
const OF_A_DERIVED_FILE: usize = 2;

/// Where a flip may be without effect, and why.
const HARMLESS: &[(&str, &str)] = &[
    ("data/log/00000000000000000000.seg", "zeros behind the last record"),
    ("data/log/00000000000000000000.ends", "offsets: never trusted, made again from the segment"),
    ("data/log/tail", "the tail mark: has a checksum, and is written anew"),
    ("data/log/spare", "zeros that will be a segment"),
    ("data/log/ids", "the index of ids: has checksums, made again from the log"),
    ("data/views", "the views: have checksums, made again from the log"),
    ("data/ledger/edge", "the consistent point: has a checksum, made again from the log"),
    ("data/ledger/hashes", "hashes: compared with the tree's edge at opening, and made again from the log"),
    ("data/vault/vault.sqlite", "gaps between rows, numbers and an index that SQLite keeps for itself"),
    ("data.outside/evidence", "a text of witnesses without a checksum; it has to be readable"),
];

/// What must not change.
async fn essence(place: &Place) -> Result<String, String> {
    let (config, clock) = (place.config(), Arc::new(place.clock.clone()) as Arc<dyn Clock>);
    let opened = tokio::task::spawn_blocking(move || Node::open(&config, &clock, Arc::new(Wide))).await;
    let node = opened.unwrap().map_err(|why| format!("{why:#}"))?;
    let mut told = Told::default();
    let checked = node.app.check_storage(true, &mut told).await.map_err(|why| why.to_string());
    let records = node.app.log.read(0, 10_000, 64 << 20).await.map_err(|why| why.to_string());
    tokio::task::spawn_blocking(move || drop(node.close())).await.unwrap();
    let summary = checked?;
    if !told.0.is_empty() {
        return Err(told.codes().join(" "));
    }
    let rows = harm::rows(&place.config().data.directory.join("vault/vault.sqlite")).ok_or("vault")?;
    Ok(format!("{:?} {:?} {rows:?}", summary.root, records?))
}

/// Where to flip: spread over the file up to its last byte that is not zero, and one behind.
fn places(bytes: &[u8], count: usize) -> Vec<usize> {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let step = used.div_ceil(count).max(1);
    // Not always the first of a run, so that heads of blocks are not all that is met.
    let mut places: Vec<usize> =
        (0..used).step_by(step).enumerate().map(|(n, at)| (at + n * 7 % step).min(used - 1)).collect();
    places.extend((used + 100 < bytes.len()).then_some(used + 100));
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flipped_byte_goes_unnoticed() {
    let place = furnished().await;
    let before = essence(&copy_of(&place)).await.unwrap();
    let root = place.root.path();
    let mut harmless: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut flips, mut unnoticed) = (0, Vec::new());
    for path in files(root) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let derived = ["data/views", "data/log/ids"].iter().any(|dir| name.starts_with(dir));
        for at in places(&bytes, if derived { OF_A_DERIVED_FILE } else { OF_A_FILE }) {
            let harmed = copy_of(&place);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(harmed.root.path().join(&name), changed).unwrap();
            flips += 1;
            match essence(&harmed).await {
                Err(_found_or_refused) => {}
                Ok(after) if after == before => {
                    match HARMLESS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
                        Some((prefix, _)) => *harmless.entry(prefix).or_default() += 1,
                        None => {
                            unnoticed.push(format!("{name} byte {at}: without effect, but not on the list"))
                        }
                    }
                }
                Ok(_) => unnoticed.push(format!("{name} byte {at}: it changed something and nobody said so")),
            }
        }
    }
    println!("{flips} flips; without effect: {harmless:#?}");
    assert!(flips > 150 && unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

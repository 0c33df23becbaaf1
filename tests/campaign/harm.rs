//! Flipped bits, and the search for what should be gone.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::crash::Dice;

/// What became of flipped bits.
#[derive(Debug, Default, Clone)]
pub struct Flips {
    pub found: u64,
    /// In bytes that nobody reads, or that are made again.
    pub without_effect: u64,
}

impl Flips {
    pub fn add(&mut self, other: &Flips) {
        self.found += other.found;
        self.without_effect += other.without_effect;
    }
}

/// Flips one bit in one to three places of the directory and of its outside copy. Says in how many.
pub fn flip(data: &Path, dice: &mut Dice) -> u64 {
    let mut files = Vec::new();
    let mut outside = data.as_os_str().to_owned();
    outside.push(".outside");
    for dir in [data.to_owned(), PathBuf::from(outside)] {
        collect(&dir, &mut files);
    }
    files.sort();
    let count = 1 + dice.below(3);
    for _ in 0..count {
        let path = &files[dice.below(files.len() as u64) as usize];
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        // Segments are made of zeros far beyond their end.
        let length = file.metadata().unwrap().len().min(64 << 10);
        let (at, mut byte) = (dice.below(length), [0]);
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        byte[0] ^= 1 << dice.below(8);
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&byte).unwrap();
    }
    count
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if std::fs::metadata(&path).unwrap().len() > 0 {
            files.push(path);
        }
    }
}

/// A handle as text, in hexadecimal and raw.
pub fn spellings(handle: &str) -> Vec<Vec<u8>> {
    let raw = URL_SAFE_NO_PAD.decode(handle).unwrap();
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![handle.as_bytes().to_vec(), hex.into_bytes(), raw]
}

/// Files below a directory that hold one of the texts.
pub fn holding(dir: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut files = Vec::new();
    collect(dir, &mut files);
    let mut found = Vec::new();
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let written: Vec<u8> = bytes
            .chunks(4_096)
            .filter(|chunk| chunk.iter().any(|byte| *byte != 0))
            .flatten()
            .copied()
            .collect();
        let first: std::collections::HashMap<[u8; 8], Vec<&Vec<u8>>> = needles.iter().fold(
            Default::default(),
            |mut map: std::collections::HashMap<[u8; 8], Vec<&Vec<u8>>>, needle| {
                map.entry(*needle.first_chunk().unwrap()).or_default().push(needle);
                map
            },
        );
        let hit = (0..written.len().saturating_sub(8)).any(|at| {
            let start: [u8; 8] = *written[at..].first_chunk().unwrap();
            first
                .get(&start)
                .is_some_and(|needles| needles.iter().any(|needle| written[at..].starts_with(needle)))
        });
        if hit {
            found.push(path.display().to_string());
        }
    }
    found
}

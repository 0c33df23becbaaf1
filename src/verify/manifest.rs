//! The manifest: what a bundle says of itself, and the hash of every file in it. `FORMAT.md`
//! describes it line by line. A text is read only if writing its content gives the same text again.

use std::fmt::Write as _;

use crate::domain::time::Timestamp;
use crate::ledger::tlog::decimal;

pub const MANIFEST: &str = "manifest";
pub const CHECKPOINT: &str = "checkpoint";
pub const EVENTS: &str = "events.ndjson";
pub const REGISTERS: &str = "registers.ndjson";
pub const EDGE: &str = "edge";
pub const POSITIONS: &str = "positions";
pub const PIECES: &str = "pieces.bin";
pub const OPEN: &str = "open.ndjson";
pub const COVER: &str = "cover.txt";
pub const README: &str = "README.txt";

/// Files of a bundle, at most: a selection of 100,000 events with a proof each.
pub const MAX_FILES: usize = 100_032;
/// Longest manifest that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Longest free text of a line, in bytes.
pub const MAX_TEXT: usize = 4_000;
const VERSION: &str = "custody-bundle-v1";

/// What is in a bundle, and what of it can be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All events of a range: complete, provably.
    Range,
    /// Chosen events, each with a proof: what was not chosen cannot be seen.
    Selection,
    /// All events of a range, and which of them are one person's.
    Subject,
}

/// What of the sealed parts is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Headers,
    /// As ciphertext.
    Sealed,
    /// Some with the keys that open them.
    Opened,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* }) => {
        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            pub fn from_name(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}
words!(Kind { Range = "range", Selection = "selection", Subject = "subject" });
words!(Level { Headers = "headers", Sealed = "sealed", Opened = "opened" });

/// What the bundle holds. All but `retracted` and why a box is missing is counted again by the verifier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    /// Events that retract others.
    pub retractions: u64,
    /// Events here that were retracted, by events here or elsewhere.
    pub retracted: u64,
    /// Sealed parts that are here as ciphertext, opened ones included.
    pub sealed: u64,
    /// Sealed parts that do not exist any more.
    pub destroyed: u64,
    /// Sealed parts that were not handed out.
    pub withheld: u64,
    /// Sealed parts that come with their key.
    pub opened: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub sha256: [u8; 32],
    pub length: u64,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The log's name.
    pub origin: String,
    pub export: String,
    pub kind: Kind,
    /// First position, and the one after the last.
    pub from: u64,
    pub to: u64,
    /// Which events were chosen, in words and for machines.
    pub filter_words: Option<String>,
    pub filter: Option<String>,
    pub level: Level,
    pub counts: Counts,
    pub created: Timestamp,
    /// Who asked, and by which law.
    pub authority: Option<String>,
    pub law: Option<String>,
    /// Ascending by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The name of the key that signs manifests of a log.
    pub fn key_name(origin: &str) -> String {
        format!("{origin}/export")
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}/export\n{VERSION}\n", self.origin);
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let counts = &self.counts;
        for (key, value) in [
            ("export", self.export.clone()),
            ("kind", self.kind.as_str().to_owned()),
            ("range", format!("{} {}", self.from, self.to)),
            ("filter-words", or_none(&self.filter_words)),
            ("filter", or_none(&self.filter)),
            ("level", self.level.as_str().to_owned()),
            ("events", counts.events.to_string()),
            ("retractions", counts.retractions.to_string()),
            ("retracted", counts.retracted.to_string()),
            ("sealed", counts.sealed.to_string()),
            ("destroyed", counts.destroyed.to_string()),
            ("withheld", counts.withheld.to_string()),
            ("opened", counts.opened.to_string()),
            ("created", self.created.to_string()),
            ("authority", or_none(&self.authority)),
            ("law", or_none(&self.law)),
        ] {
            let _ = writeln!(text, "{key} {value}");
        }
        for file in &self.files {
            let _ = writeln!(text, "file {} {} {}", hex(&file.sha256), file.length, file.path);
        }
        text
    }

    /// Strict: every line in its place, the files ascending, one spelling.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        let mut lines = text.strip_suffix('\n').ok_or("does not end with a newline")?.split('\n');
        let origin = lines.next().and_then(|line| line.strip_suffix("/export")).filter(|o| !o.is_empty());
        let origin = origin.ok_or("does not begin with the log's name and /export")?.to_owned();
        if lines.next() != Some(VERSION) {
            return Err(format!("is not of version {VERSION}"));
        }
        let mut value = |key: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.filter(|value| is_text(value)).ok_or(format!("has no valid line {key:?} in its place"))
        };
        let wrong = |key: &str| format!("has no valid line {key:?} in its place");
        let optional = |value: &str| Some(value.to_owned()).filter(|value| value != "-");
        let export = value("export")?.to_owned();
        let kind = Kind::from_name(value("kind")?).ok_or_else(|| wrong("kind"))?;
        let range = value("range")?.split_once(' ').and_then(|(a, b)| Some((decimal(a)?, decimal(b)?)));
        let (from, to) = range.filter(|(from, to)| from <= to).ok_or_else(|| wrong("range"))?;
        let filter_words = optional(value("filter-words")?);
        let filter = optional(value("filter")?);
        let level = Level::from_name(value("level")?).ok_or_else(|| wrong("level"))?;
        let mut number = |key: &str| value(key).and_then(|text| decimal(text).ok_or_else(|| wrong(key)));
        let counts = Counts {
            events: number("events")?,
            retractions: number("retractions")?,
            retracted: number("retracted")?,
            sealed: number("sealed")?,
            destroyed: number("destroyed")?,
            withheld: number("withheld")?,
            opened: number("opened")?,
        };
        let created = Timestamp::read(value("created")?).ok_or_else(|| wrong("created"))?;
        let authority = optional(value("authority")?);
        let law = optional(value("law")?);
        let files = files(lines)?;
        let manifest = Manifest {
            origin,
            export,
            kind,
            from,
            to,
            filter_words,
            filter,
            level,
            counts,
            created,
            authority,
            law,
            files,
        };
        if manifest.text() == text { Ok(manifest) } else { Err("is not in its one spelling".to_owned()) }
    }

    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        let found = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(found)
    }
}

fn files<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Vec<FileEntry>, String> {
    let mut files: Vec<FileEntry> = Vec::new();
    for line in lines {
        let file = file(line).ok_or_else(|| format!("has no valid file in line {:.200?}", line))?;
        if files.last().is_some_and(|last| last.path >= file.path) {
            return Err(format!("lists {} twice or out of order", file.path));
        }
        if files.len() == MAX_FILES {
            return Err(format!("lists more than {MAX_FILES} files"));
        }
        files.push(file);
    }
    Ok(files)
}

fn file(line: &str) -> Option<FileEntry> {
    let mut words = line.strip_prefix("file ")?.split(' ');
    let (sha256, length, path) = (words.next()?, words.next()?, words.next()?);
    let sha256 = unhex(sha256)?;
    let path = Some(path).filter(|path| words.next().is_none() && is_path(path))?.to_owned();
    Some(FileEntry { sha256, length: decimal(length)?, path })
}

/// Whether a file of this name has a place in a bundle. There are no others, so that no name can
/// lead out of the bundle's directory.
pub fn is_path(path: &str) -> bool {
    let numbered = |name: &str| name.split('-').all(|number| decimal(number).is_some());
    match path.split_once('/') {
        Some(("proofs", name)) => name.strip_suffix(".tlog-proof").and_then(decimal).is_some(),
        Some(("consistency", name)) => name.split('-').count() == 2 && numbered(name),
        Some(_) => false,
        None => [CHECKPOINT, EVENTS, REGISTERS, EDGE, POSITIONS, PIECES, OPEN, COVER, README].contains(&path),
    }
}

/// Whether a text may stand in a line of the manifest.
pub fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.trim() == text && !text.chars().any(char::is_control)
}

pub fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

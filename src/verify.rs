//! The export bundle's format and its offline verifier: a bundle and what the verifier brings go in,
//! one verdict per claim comes out. `FORMAT.md` beside these files describes the bytes.
//!
//! Promises: trust comes only from what the verifier brings, never from the bundle; a claim that was
//! asked for and is not proven never counts as passed; a bundle of any size is read once, in a memory
//! that does not grow with its events (a selection's list of files does, up to 16 MiB, and what its
//! events register, up to 64 MiB); hostile bytes are refused with what is wrong and never panic. Pure
//! but for `source.rs`, which opens the files. Not promised: that what emitters told is true, that the
//! operator recorded what happened, that a sealed part which is not here was destroyed and not kept
//! back. Nothing is written, so a crash loses nothing.
//!
//! In the order of reading: `manifest` (what a bundle says), `files` and `source` and `ustar` (where
//! its bytes are), `trust` (whose log, which witnesses, since when), `pass` (the events, one by one),
//! `contents` (what is in them, with `pieces`, `person` and `tags`), `registers` (what follows from
//! them), `report` (verdicts and exit codes). The tests stand with the writer's, in `export/tests`:
//! what it writes, damaged in every way, is what this judges.

mod contents;
pub mod files;
pub mod manifest;
mod pass;
mod person;
pub mod pieces;
pub mod registers;
pub mod report;
pub mod source;
pub mod tags;
mod trust;
pub mod ustar;

use std::io::Read;

pub use manifest::{Counts, Kind, Level, Manifest};
pub use report::{Claim, Report, Verdict};
pub use source::Source;
pub use tags::TagKeys;

use crate::domain::time::Timestamp;
use crate::ledger::tlog::{Note, Policy, SignedCheckpoint, VerifierKey};
use manifest::MANIFEST;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("malformed: {file} {why}")]
    Malformed { file: String, why: String },
    #[error("cannot read {file}")]
    Io {
        file: String,
        #[source]
        source: std::io::Error,
    },
}

pub(crate) fn malformed(file: &str, why: &str) -> Error {
    Error::Malformed { file: file.to_owned(), why: why.to_owned() }
}

pub(crate) fn unreadable(file: &str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { file: file.to_owned(), source }
}

/// What ends a verification early: bytes that are no bundle, or a claim that does not hold.
#[derive(Debug)]
pub enum Stop {
    Error(Error),
    Failed(Claim, String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// What the verifier brings. All of it is trusted, and nothing else.
#[derive(Default)]
pub struct Trust {
    /// The log's keys, the witnesses and how many of them. A log key named `<origin>/export` is the
    /// key of manifests.
    pub policy: Option<Policy>,
    pub manifest_key: Option<VerifierKey>,
    /// A checkpoint that was kept from earlier.
    pub since: Option<SignedCheckpoint>,
}

/// What the verifier asks.
#[derive(Default)]
pub struct Options {
    /// One person's tag keys, to find that person's events.
    pub tag_keys: Option<TagKeys>,
    /// How old the cosignatures may be, in milliseconds.
    pub max_age: Option<i64>,
    pub now: Timestamp,
}

/// Judges a bundle. A bundle that is no bundle is an error; everything else is in the report.
pub fn verify(source: &dyn Source, trust: &Trust, options: &Options) -> Result<Report, Error> {
    let (manifest, note) = read_manifest(source)?;
    let mut report = Report::new(manifest.clone());
    report.set(Claim::Manifest, trust::manifest(&manifest, &note, trust));
    match judge(source, &manifest, trust, options, &mut report) {
        Ok(()) => {}
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Failed(claim, why)) => report.set(claim, Verdict::Failed(why)),
    }
    Ok(report)
}

fn read_manifest(source: &dyn Source) -> Result<(Manifest, Note), Error> {
    if !source.files().iter().any(|(name, _)| *name == MANIFEST) {
        return Err(malformed(MANIFEST, "is missing"));
    }
    let mut bytes = Vec::new();
    let most = manifest::MAX_BYTES as u64 + 1;
    let opened = source.open(MANIFEST).map_err(unreadable(MANIFEST))?;
    opened.take(most).read_to_end(&mut bytes).map_err(unreadable(MANIFEST))?;
    if bytes.len() > manifest::MAX_BYTES {
        return Err(malformed(MANIFEST, "is longer than 16 MiB"));
    }
    let note = Note::parse(&bytes).map_err(|why| malformed(MANIFEST, &why.to_string()))?;
    if note.to_string().as_bytes() != bytes {
        return Err(malformed(MANIFEST, "is not in its one spelling"));
    }
    let manifest = Manifest::parse(&note.text).map_err(|why| malformed(MANIFEST, &why))?;
    Ok((manifest, note))
}

fn judge(
    source: &dyn Source,
    manifest: &Manifest,
    trust: &Trust,
    options: &Options,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut files = files::Files::new(source, manifest)?;
    let checkpoint = trust::checkpoint(&mut files, manifest)?;
    report.size = Some(checkpoint.checkpoint.size);
    trust::signature(&checkpoint, trust, options, report)?;
    if manifest.to > checkpoint.checkpoint.size {
        return Err(Stop::Failed(Claim::Inclusion, "the range goes beyond the checkpoint".to_owned()));
    }
    let since = trust.since.as_ref().filter(|kept| kept.checkpoint.origin == manifest.origin);
    let since = since.map(|kept| kept.checkpoint.size);
    let walked = pass::run(&mut files, &checkpoint, manifest, options, since, report)?;
    let vouched = matches!(report.verdict(Claim::Manifest), Verdict::Proven(_));
    report.set(
        Claim::AppendOnly,
        trust::append_only(&mut files, &checkpoint, trust, walked.root_then, vouched)?,
    );
    let registers = registers::judge(&mut files, manifest, walked.registers, walked.unread)?;
    report.set(Claim::Registers, registers);
    let count = files.rest()?;
    report.set(Claim::Files, Verdict::Proven(format!("{count} files, as the manifest lists them")));
    Ok(())
}

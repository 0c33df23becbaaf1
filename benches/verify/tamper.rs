//! A bundle of a whole log, harmed in every way, and what `custody verify` says to each.
//!
//! What can be harmed in one file is harmed three times: as it lies; in a manifest that lists it as it
//! is, signed by a stranger; and the same signed by the operator, who can sign whatever is wished and
//! cannot make the tree agree.

mod copy;
mod lines;
mod places;

use std::path::{Path, PathBuf};

use custody::export::forge::sign_again;
use custody::ledger::tlog::{KeyKind, Signer};
use custody::verify::{Level, Manifest};
use tokio::runtime::Runtime;

use crate::house::{House, ORIGIN, manifest_signer};
use crate::stranger::Stranger;
use copy::Copy;

/// As it lies, listed by a stranger, listed by the operator.
type Codes = [i32; 3];
const REFUSED: Codes = [30, 30, 30];
/// What the verifier may take, whatever it is given, in KiB: a manifest of 16 MiB is the most that it
/// holds at once, and reads and copies it.
const MEMORY: u64 = 96 << 10;

/// A key of the right name that is not the log's.
fn forger(name: &str) -> Signer {
    Signer::from_seed(name, KeyKind::Text, &[66; 32]).expect("a key")
}

struct Trial<'a> {
    runtime: &'a Runtime,
    house: &'a House,
    stranger: Stranger,
    place: PathBuf,
    /// Whole bundles: header lines alone, so that the tree has to catch what is harmed; with sealed
    /// parts; and the first half of the log, as it was exported then.
    headers: PathBuf,
    sealed: PathBuf,
    old: PathBuf,
    peak: u64,
    tried: u64,
}

pub fn run(runtime: &Runtime, house: &House, place: &Path) {
    let mut trial = Trial {
        runtime,
        house,
        stranger: Stranger::trusting(ORIGIN),
        place: place.to_owned(),
        headers: place.join("headers"),
        sealed: place.join("sealed"),
        old: place.join("old"),
        peak: 0,
        tried: 0,
    };
    let (all, half) = (house.events(), house.events() / 2);
    runtime.block_on(house.export(all, Level::Headers, &trial.headers));
    runtime.block_on(house.export(all, Level::Sealed, &trial.sealed));
    runtime.block_on(house.export(half, Level::Headers, &trial.old));
    println!("{:66} exit codes: as it lies, listed by a stranger, listed by the operator", "");
    for bundle in [trial.headers.clone(), trial.sealed.clone(), trial.old.clone()] {
        trial.once("nothing harmed", &bundle, 0, None);
    }
    lines::events(&mut trial);
    lines::pieces(&mut trial);
    places::checkpoints(&mut trial);
    places::bits(&mut trial);
    places::manifests(&mut trial);
    places::sizes(&mut trial);
    places::histories(&mut trial);
    places::bombs(&mut trial);
    places::archives(&mut trial);
    println!(
        "{} bundles of {all} events tried, all as expected; at most {:.1} MiB for one",
        trial.tried,
        trial.peak as f64 / 1024.0
    );
}

impl Trial<'_> {
    fn copy(&self, bundle: &Path) -> Copy {
        Copy::of(bundle, &self.place.join("harmed"))
    }

    fn judge(&mut self, what: &str, bundle: &Path, expected: i32, since: Option<&Path>) -> String {
        let judged = self.stranger.verify(bundle, since);
        (self.peak, self.tried) = (self.peak.max(judged.peak), self.tried + 1);
        assert_eq!(judged.code, expected, "{what}: {}", judged.said);
        assert!(judged.peak < MEMORY, "{what}: {} KiB", judged.peak);
        judged.refused()
    }

    fn once(&mut self, what: &str, bundle: &Path, expected: i32, since: Option<&Path>) {
        let why = self.judge(what, bundle, expected, since);
        println!("{what:66} {expected:2}        {why:.100}");
    }

    fn thrice(&mut self, what: &str, bundle: &Path, expected: Codes, harm: impl FnOnce(&Copy)) {
        let copy = self.copy(bundle);
        harm(&copy);
        let [as_it_lies, by_a_stranger, by_the_operator] = expected;
        self.judge(what, copy.path(), as_it_lies, None);
        sign_again(copy.path(), &forger(&Manifest::key_name(ORIGIN)), |_| {});
        self.judge(what, copy.path(), by_a_stranger, None);
        sign_again(copy.path(), &manifest_signer(ORIGIN), |_| {});
        let why = self.judge(what, copy.path(), by_the_operator, None);
        println!("{what:66} {as_it_lies:2} {by_a_stranger:2} {by_the_operator:2}  {why:.100}");
    }

    /// Harmed and signed by the operator, who also alters what else the manifest says.
    fn signed(&mut self, what: &str, copy: &Copy, expected: i32, alter: impl FnOnce(&mut Manifest)) {
        sign_again(copy.path(), &manifest_signer(ORIGIN), alter);
        self.once(what, copy.path(), expected, None);
    }
}

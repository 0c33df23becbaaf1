//! The contract on this adapter, and what only this adapter promises: about files, the cache, the
//! keyring.

use super::*;
use crate::clock::ManualClock;
use crate::domain::identity::Kind;
use crate::vault::Vault as _;
use crate::vault::contract::{self, at, named, opening, using};
use crate::vault::keyring::Source;

/// A vault in a directory of its own, with its keyring beside.
struct Place {
    root: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Place { root: tempfile::tempdir().unwrap(), clock: ManualClock::at(at(1_000)) }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    fn keyring(&self) -> Arc<Keyring> {
        let source = Source::File(self.root.path().join("keyring.json"));
        Arc::new(Keyring::open(source, true, self.clock.now()).unwrap())
    }

    fn open_with(&self, options: Options) -> Result<Vault, Error> {
        Vault::open(&self.data(), self.keyring(), Arc::new(self.clock.clone()), options)
    }

    fn open(&self) -> Vault {
        self.open_with(Options::default()).unwrap()
    }
}

fn tiny() -> Options {
    Options { cache_entries: 1, readers: 1 }
}

async fn person(vault: &Vault, entry: Entry) -> SubjectId {
    vault.resolve(vec![entry]).await.unwrap().remove(0).holder.unwrap().subject
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let places = Mutex::new(Vec::new());
    contract::run(async |clock| {
        let place = Place { clock, ..Place::new() };
        let vault: Arc<dyn crate::vault::Vault> = Arc::new(place.open());
        places.lock().unwrap().push(place);
        vault
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_without_a_cache() {
    let places = Mutex::new(Vec::new());
    contract::run(async |clock| {
        let place = Place { clock, ..Place::new() };
        let vault: Arc<dyn crate::vault::Vault> = Arc::new(place.open_with(tiny()).unwrap());
        places.lock().unwrap().push(place);
        vault
    })
    .await;
}

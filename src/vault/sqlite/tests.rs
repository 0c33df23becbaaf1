//! The contract on this adapter, and what only this adapter promises: about files, the cache, the
//! keyring.

use std::collections::HashSet;

use super::*;
use crate::clock::ManualClock;
use crate::domain::identity::Kind;
use crate::vault::Vault as _;
use crate::vault::contract::{self, at, named, opening, using};
use crate::vault::keyring::{Class, Source};

/// A vault in a directory of its own, with its keyring beside.
pub(super) struct Place {
    root: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    pub fn new() -> Self {
        Place { root: tempfile::tempdir().unwrap(), clock: ManualClock::at(at(1_000)) }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    fn keyring(&self) -> Arc<Keyring> {
        let source = Source::File(self.root.path().join("keyring.json"));
        Arc::new(Keyring::open(source, true, self.clock.now()).unwrap())
    }

    pub fn open_with(&self, options: Options) -> Result<Vault, Error> {
        Vault::open(&self.data(), self.keyring(), Arc::new(self.clock.clone()), options)
    }

    fn open(&self) -> Vault {
        self.open_with(Options::default()).unwrap()
    }
}

fn tiny() -> Options {
    Options { cache_entries: 1, readers: 1, patience: Duration::from_millis(20) }
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

#[tokio::test]
async fn knows_everybody_again_after_a_restart() {
    let place = Place::new();
    let all = [named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"), named(Kind::Ip, "192.0.2.1")];
    let vault = place.open();
    let before = vault.resolve(vec![opening(&all, 10)]).await.unwrap().remove(0).holder.unwrap();
    let kstar = vault.holder_of(HolderKind::Organisation, "kstar").await.unwrap();
    vault.confirm(&[before.subject]).await.unwrap();
    let generation = vault.status().await.unwrap().generation;
    drop(vault);
    let vault = place.open();
    let after = vault.resolve(vec![using(&all, 20)]).await.unwrap().remove(0);
    assert!(after.marks.iter().all(|marked| marked.usage == crate::vault::Use::Known));
    let after = after.holder.unwrap();
    assert_eq!(
        (after.subject, &after.link, &after.identity),
        (before.subject, &before.link, &before.identity)
    );
    assert_eq!(vault.holder_of(HolderKind::Organisation, "kstar").await.unwrap().subject, kstar.subject);
    let status = vault.status().await.unwrap();
    assert_eq!((status.people, status.pending, status.generation), (1, 0, generation));
}

#[tokio::test]
async fn a_foreign_or_poorer_keyring_is_refused() {
    let place = Place::new();
    let vault = place.open();
    person(&vault, opening(&[named(Kind::Account, "1")], 10)).await;
    drop(vault);
    let other = Place::new();
    let foreign = Vault::open(&place.data(), other.keyring(), Arc::new(place.clock.clone()), tiny());
    let error = foreign.err().unwrap();
    assert!(matches!(&error, Error::Keyring(why) if why.contains("belongs to vault")), "{error}");
    let keyring = place.keyring();
    let second = keyring.add(Class::Kek, at(0)).unwrap();
    keyring.activate(Class::Kek, second).unwrap();
    keyring.remove(Class::Kek, 1).unwrap();
    let error = place.open_with(tiny()).err().unwrap();
    assert!(matches!(&error, Error::Keyring(why) if why.contains("no kek key 1")), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_vault_is_loud() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::write(place.data().join(FILE), [7u8; 8192]).unwrap();
    assert!(matches!(place.open_with(tiny()), Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn all_holders_move_to_a_new_kek() {
    let place = Place::new();
    let vault = place.open();
    let account = |i: i32| named(Kind::Account, &i.to_string());
    let batch = (0..1_200).map(|i| opening(&[account(i)], 10)).collect();
    let before = vault.resolve(batch).await.unwrap();
    vault.holder_of(HolderKind::Organisation, "kstar").await.unwrap();
    let old = wrapped_keys(&place);
    assert_eq!(vault.epochs_in_use().await.unwrap(), [(1, 1_201)]);
    drop(vault);
    let keyring = place.keyring();
    let second = keyring.add(Class::Kek, at(0)).unwrap();
    keyring.activate(Class::Kek, second).unwrap();
    let vault = place.open();
    assert_eq!(vault.status().await.unwrap().kek_epoch, second);
    let mut seen = Vec::new();
    vault.rewrap(|passed| seen.push(passed)).await.unwrap();
    assert_eq!(seen, [500, 1_000, 1_201]);
    assert_eq!(vault.epochs_in_use().await.unwrap(), [(second, 1_201)]);
    assert_eq!(found(&place, &old), 0, "nothing locked with the old key is left");
    drop(vault);
    place.keyring().remove(Class::Kek, 1).unwrap();
    let vault = place.open();
    let after = vault.resolve((0..1_200).map(|i| using(&[account(i)], 20)).collect()).await.unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.holder.as_ref().unwrap().link, after.holder.as_ref().unwrap().link);
    }
}

/// The first 16 bytes of the ciphertext of every wrapped key in the file.
fn wrapped_keys(place: &Place) -> HashSet<[u8; 16]> {
    let connection = schema::open_reader(&place.data().join(FILE)).unwrap();
    let mut statement = connection.prepare("SELECT body FROM holders").unwrap();
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let living = bodies.filter_map(|body| rows::Body::decode(&body.unwrap()).unwrap());
    living
        .flat_map(|body| [body.link, body.identity, body.evidence])
        .map(|key| std::array::from_fn(|i| key[12 + i]))
        .collect()
}

/// How many of the needles stand anywhere in any file of the vault.
fn found(place: &Place, needles: &HashSet<[u8; 16]>) -> usize {
    let mut hits = HashSet::new();
    for file in std::fs::read_dir(place.data()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        hits.extend(bytes.array_windows::<16>().filter(|window| needles.contains(*window)).copied());
    }
    hits.len()
}

fn head(bytes: &[u8]) -> [u8; 16] {
    *bytes.first_chunk().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_is_in_no_file() {
    let place = Place::new();
    let vault = place.open();
    let people = |from: u64, to: u64| {
        (from..to).map(|i| {
            // Scattered, so that pages split and join everywhere.
            let i = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            opening(
                &[
                    named(Kind::Account, &format!("acc-{i:020}")),
                    named(Kind::Phone, &format!("+86{i:020}")),
                    named(Kind::Ip, &format!("ip-{i:020}")),
                ],
                10,
            )
        })
    };
    let (mut gone, mut needles) = (Vec::new(), HashSet::new());
    for round in 0..12 {
        let answers = vault.resolve(people(round * 500, (round + 1) * 500).collect()).await.unwrap();
        if round == 0 {
            needles.extend(wrapped_keys(&place));
            assert!(found(&place, &needles) > 1_000, "the search finds what is there");
            for answer in &answers {
                let holder = answer.holder.as_ref().unwrap();
                gone.push(holder.subject);
                needles.insert(holder.subject.0);
                for key in [Some(&holder.link), holder.identity.as_ref(), holder.evidence.as_ref()] {
                    needles.insert(head(key.unwrap().as_ref()));
                }
                needles.extend(answer.marks.iter().map(|marked| marked.mark.0));
            }
            vault.confirm(&gone).await.unwrap();
        } else {
            // Deletions between the insertions join pages as well.
            let some: Vec<_> =
                answers.iter().step_by(3).map(|answer| answer.holder.as_ref().unwrap().subject).collect();
            vault.destroy(&some).await.unwrap();
        }
    }
    vault.destroy(&gone).await.unwrap();
    assert_eq!(found(&place, &needles), 0, "keys, wrapped or not, marks and subject ids");
    let clear: HashSet<_> = people(0, 6_000)
        .flat_map(|entry| entry.identifiers)
        .map(|identifier| head(&identifier.value.expose().as_bytes()[3..]))
        .collect();
    assert_eq!(found(&place, &clear), 0, "no identifier stands in clear, of anybody");
    vault.scrub().await.unwrap();
    assert_eq!(
        vault.resolve(people(500, 600).map(|e| Entry { opens: false, ..e }).collect()).await.unwrap().len(),
        100
    );
    assert_eq!(found(&place, &needles) + found(&place, &clear), 0);
}

#[tokio::test]
async fn scrubbing_leaves_no_place_of_the_erased_after_their_time() {
    let place = Place::new();
    let vault = place.open();
    let entries = |from: i32, to: i32| {
        (from..to).map(|i| opening(&[named(Kind::Account, &format!("{i:05}"))], 10)).collect::<Vec<_>>()
    };
    let mut gone = Vec::new();
    for round in 0..6 {
        let answers = vault.resolve(entries(round * 300, (round + 1) * 300)).await.unwrap();
        let subjects = answers.iter().step_by(2).map(|answer| answer.holder.as_ref().unwrap().subject);
        gone.extend(subjects);
    }
    let erased = (0..1_800).step_by(2).map(|i| named(Kind::Account, &format!("{i:05}")));
    let places: HashSet<_> = erased.map(|identifier| vault.shared.marker.mark(&identifier).place).collect();
    vault.confirm(&gone).await.unwrap();
    vault.destroy(&gone).await.unwrap();
    place.clock.advance_ms(90 * crate::domain::time::MS_PER_DAY);
    vault.scrub().await.unwrap();
    assert_eq!(found(&place, &places), 0);
    assert_eq!(vault.status().await.unwrap().people, 900);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let place = Place::new();
    let vault = place.open_with(Options { cache_entries: 640, ..tiny() }).unwrap();
    for batch in 0..10 {
        let person = |i: i32| opening(&[named(Kind::Account, &i.to_string())], 10);
        vault.resolve((batch * 500..batch * 500 + 500).map(person).collect()).await.unwrap();
    }
    let held = vault.shared.cache.len();
    assert!(held > 100 && held <= 640 + 64, "{held}");
}

#[tokio::test]
async fn looks_up_under_an_older_key_until_it_is_removed() {
    let place = Place::new();
    let account = named(Kind::Account, "1");
    let vault = place.open();
    let before = person(&vault, opening(std::slice::from_ref(&account), 10)).await;
    drop(vault);
    let keyring = place.keyring();
    let second = keyring.add(Class::Lookup, at(0)).unwrap();
    keyring.activate(Class::Lookup, second).unwrap();
    let vault = place.open();
    assert_eq!(vault.marks(&account).len(), 2);
    assert_eq!(person(&vault, using(std::slice::from_ref(&account), 20)).await, before);
    assert_eq!(person(&vault, opening(std::slice::from_ref(&account), 20)).await, before);
}

#[tokio::test]
async fn a_reader_in_the_way_makes_a_destruction_fail_loudly() {
    let place = Place::new();
    let vault = place.open_with(tiny()).unwrap();
    let gone = person(&vault, opening(&[named(Kind::Account, "1")], 10)).await;
    let needles = HashSet::from([gone.0]);
    let reader = schema::open_reader(&place.data().join(FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM holders").unwrap();
    let error = vault.destroy(&[gone]).await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("reader"), "{error}");
    drop(reader);
    vault.destroy(&[gone]).await.unwrap();
    assert_eq!(found(&place, &needles), 0);
}

//! The contract on this adapter, and what only this adapter promises: about files, the cache, the
//! keyring.

use std::collections::HashSet;

use super::harm::wrapped_in;
use super::*;
use crate::clock::ManualClock;
use crate::domain::id::SubjectId;
use crate::domain::identity::Kind;
use crate::vault::contract::{self, at, named, opening, using};
use crate::vault::keyring::{Class, Source};
use crate::vault::scrub::Scrub as _;
use crate::vault::{Entry, HolderKind, Vault as _};

/// A vault in a directory of its own, with its keyring beside.
pub(super) struct Place {
    pub root: tempfile::TempDir,
    pub clock: ManualClock,
}

impl Place {
    pub fn new() -> Self {
        Place { root: tempfile::tempdir().unwrap(), clock: ManualClock::at(at(1_000)) }
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    pub fn keyring(&self) -> Arc<Keyring> {
        let source = Source::File(self.root.path().join("keyring.json"));
        Arc::new(Keyring::open(source, true, self.clock.now()).unwrap())
    }

    pub fn open_with(&self, options: Options) -> Result<Vault, Error> {
        Vault::open(&self.data(), self.keyring(), Arc::new(self.clock.clone()), options)
    }

    pub fn open(&self) -> Vault {
        self.open_with(Options::default()).unwrap()
    }
}

pub(super) fn tiny() -> Options {
    Options { cache_entries: 1, readers: 1, patience: Duration::from_millis(20), mirror: None }
}

pub(super) async fn person(vault: &Vault, entry: Entry) -> SubjectId {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again() {
    let place = Place::new();
    crate::vault::faulty::asked_again_it_answers_the_same(Arc::new(place.open())).await;
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
    keyring.activate(Class::Kek, second, at(0)).unwrap();
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
    keyring.activate(Class::Kek, second, at(0)).unwrap();
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

pub(super) fn wrapped_keys(place: &Place) -> HashSet<[u8; 16]> {
    wrapped_in(&place.data().join(FILE))
}

/// How many of the needles stand anywhere in any file of the vault.
pub(super) fn found(place: &Place, needles: &HashSet<[u8; 16]>) -> usize {
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

/// A copy that was made while serving is put in place of the vault; whoever is destroyed then leaves no
/// byte either, in whichever row they stood.
#[tokio::test]
async fn what_is_destroyed_after_a_restore_is_in_no_file() {
    for people in [10, 40, 400, 2_000] {
        let place = Place::new();
        let vault = place.open();
        let entries = (0..people).map(|i| opening(&[named(Kind::Account, &format!("{i:05}"))], 10)).collect();
        let answers = vault.resolve(entries).await.unwrap();
        let subjects: Vec<_> = answers.iter().map(|answer| answer.holder.as_ref().unwrap().subject).collect();
        vault.confirm(&subjects).await.unwrap();
        let copy = place.root.path().join("copy");
        vault.snapshot(&copy).await.unwrap();
        drop(vault);
        std::fs::remove_dir_all(place.data()).unwrap();
        std::fs::create_dir(place.data()).unwrap();
        std::fs::rename(&copy, place.data().join("vault.sqlite")).unwrap();
        let needles: HashSet<_> =
            subjects.iter().map(|subject| subject.0).chain(wrapped_keys(&place)).collect();
        assert!(found(&place, &needles) >= people, "the search finds what is there");
        let vault = place.open();
        vault.destroy(&subjects).await.unwrap();
        assert_eq!(found(&place, &needles), 0, "of {people} people");
    }
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
    let places: HashSet<_> = erased.map(|identifier| vault.shared.marker().mark(&identifier).place).collect();
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
    keyring.activate(Class::Lookup, second, at(0)).unwrap();
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

#[tokio::test]
async fn every_table_has_a_sum_and_every_change_keeps_it() {
    let place = Place::new();
    let vault = place.open();
    let reader = schema::open_reader(&place.data().join(FILE)).unwrap();
    let sql = "SELECT m.name, group_concat(c.name, ' ') FROM sqlite_master m, pragma_table_info(m.name) c
               WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' GROUP BY m.name";
    let mut statement = reader.prepare(sql).unwrap();
    let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut tables: Vec<(String, String)> = tables.map(Result::unwrap).collect();
    tables.sort();
    let mut covered = sums::TABLES.map(|(table, columns)| (table.to_owned(), columns.to_owned()));
    covered.sort();
    assert_eq!(tables, covered, "a table without a sum: rows of it could be changed unnoticed");

    let right = || assert_eq!(sums::wrong(&reader).unwrap(), Vec::<&str>::new());
    let all = [named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"), named(Kind::Ip, "192.0.2.1")];
    let one = person(&vault, opening(&all, 10)).await;
    let other = person(&vault, opening(&[named(Kind::Account, "2")], 10)).await;
    vault.link(one, &named(Kind::Email, "a@b.cn"), at(20), None).await.unwrap();
    vault.link(one, &named(Kind::Email, "a@b.cn"), at(5), None).await.unwrap();
    vault.unlink(one, &named(Kind::Email, "a@b.cn"), at(30)).await.unwrap();
    right();
    vault.merge(one, other).await.unwrap();
    vault.split(one, other).await.unwrap();
    vault.merge(one, other).await.unwrap();
    vault.confirm(&[one]).await.unwrap();
    vault.pending(at(0)).await.unwrap();
    let cancel = Entry { act: crate::vault::Act::CancelAccount, ..using(&all[..1], 40) };
    person(&vault, cancel).await;
    right();
    vault.destroy(&[one]).await.unwrap();
    vault.scrub().await.unwrap();
    right();
    assert_eq!(faults(&vault).await, []);
}

async fn faults(vault: &Vault) -> Vec<crate::vault::check::Fault> {
    let (mut faults, mut next) = (Vec::new(), Some(crate::vault::check::Cursor::default()));
    while let Some(from) = next {
        let step = vault.check(from).await.unwrap();
        faults.extend(step.faults);
        next = step.next;
    }
    faults
}

#[tokio::test]
async fn a_check_of_many_holders_goes_in_steps_and_names_each_of_them_once() {
    let place = Place::new();
    let vault = place.open();
    let batch = (0..1_200).map(|i| opening(&[named(Kind::Account, &i.to_string())], 10)).collect();
    let made = vault.resolve(batch).await.unwrap();
    let made: HashSet<_> = made.iter().map(|r| r.holder.as_ref().unwrap().subject).collect();
    let (mut seen, mut next, mut steps) = (Vec::new(), Some(crate::vault::check::Cursor::default()), 0);
    while let Some(from) = next {
        let step = vault.check(from).await.unwrap();
        assert_eq!(step.faults, []);
        seen.extend(step.holders.iter().map(|present| present.subject));
        (next, steps) = (step.next, steps + 1);
    }
    assert!(steps > 8, "{steps} steps");
    assert_eq!((seen.len(), seen.into_iter().collect::<HashSet<_>>()), (1_200, made));
}

/// Every byte of every seventh run, in turn: found, not opened, or no row is another.
#[tokio::test]
async fn no_flipped_byte_changes_a_row_unnoticed() {
    let place = Place::new();
    let vault = place.open();
    for i in 0..60 {
        let all = [named(Kind::Account, &i.to_string()), named(Kind::Phone, &format!("+861391234{i:04}"))];
        let made = person(&vault, opening(&all, 10)).await;
        person(&vault, using(&[all[0].clone(), named(Kind::Ip, "192.0.2.1")], 20)).await;
        match i % 5 {
            0 => vault.confirm(&[made]).await.unwrap(),
            1 => vault.destroy(&[made]).await.unwrap(),
            _ => {}
        }
    }
    vault.holder_of(HolderKind::Organisation, "kstar").await.unwrap();
    drop(vault);
    let file = place.data().join(FILE);
    let (whole, rows) = (std::fs::read(&file).unwrap(), harm::rows(&file).unwrap());
    let (mut flips, mut harmless) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 1_500).map(|at| at + at / 97 % 13) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        for leftover in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(place.data().join(format!("{FILE}{leftover}")));
        }
        std::fs::write(&file, changed).unwrap();
        flips += 1;
        let Ok(vault) = place.open_with(tiny()) else { continue };
        let faults = faults(&vault).await;
        drop(vault);
        if faults.is_empty() {
            assert_eq!(harm::rows(&file).as_ref(), Some(&rows), "byte {at}");
            harmless += 1;
        }
    }
    println!("{flips} flips, {harmless} of them in gaps of pages");
    assert!(flips > 1_000 && harmless < flips * 3 / 4, "{harmless} of {flips}");
}

/// A destruction is not kept waiting by a check that reads the whole file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_gives_way_to_a_destruction() {
    let place = Place::new();
    let vault = Arc::new(place.open());
    let batch = (0..1_000).map(|i| opening(&[named(Kind::Account, &i.to_string())], 10)).collect();
    let made = vault.resolve(batch).await.unwrap();
    let checking = {
        let vault = Arc::clone(&vault);
        tokio::spawn(async move { faults(&vault).await })
    };
    for one in made.iter().take(20) {
        vault.destroy(&[one.holder.as_ref().unwrap().subject]).await.unwrap();
    }
    assert_eq!(checking.await.unwrap(), []);
}

/// `max_page_count` makes SQLite say what it says on a full disk.
#[tokio::test]
async fn a_full_disk_refuses_new_people_serves_the_known_and_ends_by_itself() {
    let place = Place::new();
    let vault = place.open();
    let known = named(Kind::Account, "known");
    let first = person(&vault, opening(std::slice::from_ref(&known), 10)).await;
    let pages = async |most: &'static str| {
        let set = move |txn: &mut sql::txn::Txn<'_>| {
            let sql = format!("PRAGMA max_page_count = {most}");
            txn.db.sql.number(&sql, &[])
        };
        vault.write(set).await.unwrap()
    };
    pages("1").await;
    let mut made = Vec::new();
    let refused = loop {
        let next = opening(&[named(Kind::Account, &format!("new-{}", made.len()))], 10);
        match vault.resolve(vec![next]).await {
            Ok(mut answers) => made.push(answers.remove(0).holder.unwrap().subject),
            Err(refused) => break refused,
        }
        assert!(made.len() < 5_000);
    };
    assert!(refused.retryable() && format!("{refused:?}").contains("full"), "{refused:?}");
    assert_eq!(person(&vault, using(std::slice::from_ref(&known), 20)).await, first);
    assert!(vault.status().await.unwrap().people > made.len() as u64);
    assert_eq!(faults(&vault).await, []);
    // Destroying needs no room.
    vault.destroy(&[first]).await.unwrap();
    pages("1000000").await;
    let again = opening(&[named(Kind::Account, &format!("new-{}", made.len()))], 10);
    person(&vault, again).await;
    for (n, subject) in made.iter().enumerate() {
        let entry = using(&[named(Kind::Account, &format!("new-{n}"))], 30);
        assert_eq!(person(&vault, entry).await, *subject, "whoever was acknowledged is there");
    }
    assert_eq!(faults(&vault).await, []);
}

//! The contract on this adapter, and what only this adapter promises: several nodes on one database, a database
//! that goes and comes back, keys that are in no file.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::others::LEASE;
use super::*;
use crate::clock::{ManualClock, Stopwatch};
use crate::domain::id::{Digest, SubjectId};
use crate::domain::identity::{Identifier, Kind};
use crate::postgres::throwaway::{self, Server, Setup};
use crate::vault::contract::{self, at, named, opening, using};
use crate::vault::keyring::{Class, Source};
use crate::vault::rotation::Rotation as _;
use crate::vault::scrub::Scrub as _;
use crate::vault::sql::hot;
use crate::vault::{Entry, HolderKind, Resolution, Vault as Port};

/// A schema with the keyring of its vault, for as many nodes as a test wants.
struct Place {
    database: crate::postgres::Options,
    root: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Place::on(throwaway::options("vault"))
    }

    fn on(database: crate::postgres::Options) -> Self {
        Place { database, root: tempfile::tempdir().unwrap(), clock: ManualClock::at(at(1_000)) }
    }

    fn keyring_at(&self, name: &str) -> Arc<Keyring> {
        let source = Source::File(self.root.path().join(name));
        Arc::new(Keyring::open(source, true, self.clock.now()).unwrap())
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.keyring_at("keyring.json")
    }

    async fn open_with(&self, keyring: Arc<Keyring>, options: Options) -> Result<Vault, Error> {
        let database = Database::open(self.database.clone()).await?;
        Vault::open(database, keyring, Arc::new(self.clock.clone()), options).await
    }

    async fn node(&self) -> Vault {
        self.open_with(self.keyring(), Options::default()).await.unwrap()
    }

    async fn sql(&self, text: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
        let database = Database::open(self.database.clone()).await.unwrap();
        let connection = database.get().await.unwrap();
        connection.simple_query(text).await.unwrap()
    }
}

async fn one(vault: &Vault, entry: Entry) -> Resolution {
    vault.resolve(vec![entry]).await.unwrap().remove(0)
}

async fn person(vault: &Vault, entry: Entry) -> SubjectId {
    one(vault, entry).await.holder.unwrap().subject
}

/// Waits for what somebody else does in the background.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds().await {
        assert!(watch.elapsed() < Duration::from_secs(60), "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// Until a node answers for somebody without the database.
async fn remembered(vault: &Vault, entry: &Entry) {
    until("known from the cache", async || {
        vault.resolve(vec![entry.clone()]).await.unwrap();
        matches!(hot::from_cache(&vault.shared, entry), Ok(hot::Step::Done(..)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    contract::run(async |clock| {
        let place = Place { clock, ..Place::new() };
        Arc::new(place.node().await) as Arc<dyn Port>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_without_a_cache() {
    contract::run(async |clock| {
        let place = Place { clock, ..Place::new() };
        let vault = place.open_with(place.keyring(), Options { cache_entries: 1 }).await.unwrap();
        Arc::new(vault) as Arc<dyn Port>
    })
    .await;
}

/// The second half of every request is asked of another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knows_everybody_again_on_another_node_and_after_a_restart() {
    let place = Place::new();
    let all = [named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"), named(Kind::Ip, "192.0.2.1")];
    let (vault, other) = (place.node().await, place.node().await);
    let before = one(&vault, opening(&all, 10)).await.holder.unwrap();
    let kstar = vault.holder_of(HolderKind::Organisation, "kstar").await.unwrap();
    vault.confirm(&[before.subject]).await.unwrap();
    let generation = vault.status().await.unwrap().generation;
    drop(vault);
    for vault in [other, place.node().await] {
        let after = one(&vault, using(&all, 20)).await;
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again() {
    let place = Place::new();
    crate::vault::faulty::asked_again_it_answers_the_same(Arc::new(place.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_meet_new_people_at_once() {
    let place = Place::new();
    let nodes = [Arc::new(place.node().await), Arc::new(place.node().await)];
    let mut tasks = Vec::new();
    for round in 0..20 {
        for (i, node) in nodes.iter().enumerate() {
            let node = Arc::clone(node);
            let ids = [named(Kind::Account, &format!("a{round}")), named(Kind::Openid, &format!("o{round}"))];
            // One knows the account first, the other both.
            let entry = opening(if i == 0 { &ids[..1] } else { &ids[..] }, 10);
            tasks.push(tokio::spawn(async move { (round, person(&node, entry).await) }));
        }
    }
    let mut met: [HashSet<SubjectId>; 20] = std::array::from_fn(|_| HashSet::new());
    for task in tasks {
        let (round, subject) = task.await.unwrap();
        met[round].insert(subject);
    }
    assert!(met.iter().all(|subjects| subjects.len() == 1), "both nodes end with one");
    assert_eq!(nodes[0].status().await.unwrap().people, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_ends_the_others_forget() {
    let place = Place::new();
    let (vault, other) = (place.node().await, place.node().await);
    let phone = named(Kind::Phone, "+8613912345678");
    let ids = [named(Kind::Account, "1"), phone.clone()];
    let subject = person(&vault, opening(&ids, 10)).await;
    vault.confirm(&[subject]).await.unwrap();
    let by_phone = using(std::slice::from_ref(&phone), 20);
    remembered(&other, &by_phone).await;
    // A telephone number changes hands.
    let next = named(Kind::Account, "2");
    let rebound = Entry { act: crate::vault::Act::RegisterAccount, ..opening(&[next, phone.clone()], 15) };
    let next = person(&vault, rebound).await;
    assert_ne!(next, subject);
    let watch = Stopwatch::start();
    vault.forgotten_everywhere().await.unwrap();
    assert_eq!(person(&other, by_phone.clone()).await, next, "at once, and not when the lease is over");
    remembered(&other, &by_phone).await;
    // And goes.
    vault.destroy(&[next, subject]).await.unwrap();
    vault.forgotten_everywhere().await.unwrap();
    assert!(watch.elapsed() < LEASE, "{:?}", watch.elapsed());
    assert!(one(&other, by_phone).await.holder.is_none());
    assert!(matches!(other.holder(next).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_is_waited_for_until_its_lease_is_over() {
    let place = Place::new();
    let vault = place.node().await;
    let account = named(Kind::Account, "1");
    let subject = person(&vault, opening(&[account], 10)).await;
    vault.forgotten_everywhere().await.unwrap();
    place
        .sql("INSERT INTO nodes VALUES (gen_random_uuid(), 0, (extract(epoch FROM now()) * 1000)::bigint)")
        .await;
    let watch = Stopwatch::start();
    vault.destroy(&[subject]).await.unwrap();
    vault.forgotten_everywhere().await.unwrap();
    let waited = watch.elapsed();
    assert!(waited >= LEASE - Duration::from_millis(500) && waited < LEASE * 2, "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_goes_and_comes_back() {
    let server = Server::new(Setup::default());
    let patience = Duration::from_secs(2);
    let place = Place::on(crate::postgres::Options { patience, ..server.options("vault") });
    let vault = place.node().await;
    let (known, new) = (named(Kind::Account, "1"), named(Kind::Account, "2"));
    let known = opening(&[known], 10);
    let subject = person(&vault, known.clone()).await;
    for silent in [false, true] {
        remembered(&vault, &known).await;
        if silent {
            server.pause()
        } else {
            server.stop()
        }
        assert_eq!(person(&vault, known.clone()).await, subject, "whoever is remembered");
        let watch = Stopwatch::start();
        let refused = vault.resolve(vec![opening(std::slice::from_ref(&new), 10)]).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        assert!(watch.elapsed() < patience * 4, "{:?}", watch.elapsed());
        until("the lease is over", async || {
            !matches!(hot::from_cache(&vault.shared, &known), Ok(hot::Step::Done(..)))
        })
        .await;
        let refused = vault.resolve(vec![known.clone()]).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        if silent {
            server.resume()
        } else {
            server.start()
        }
        until("it goes on by itself", async || vault.resolve(vec![known.clone()]).await.is_ok()).await;
        assert_eq!(person(&vault, known.clone()).await, subject);
        until("new people too", async || {
            vault.confirm(&[subject]).await.is_ok() && vault.pending(at(9)).await.is_ok()
        })
        .await;
    }
    server.kill();
    server.start();
    until("after a crash", async || {
        vault.resolve(vec![opening(std::slice::from_ref(&new), 10)]).await.is_ok()
    })
    .await;
    assert_eq!(vault.status().await.unwrap().people, 2);
}

#[tokio::test]
async fn a_keyring_that_does_not_fit_is_refused() {
    let place = Place::new();
    let vault = place.node().await;
    person(&vault, opening(&[named(Kind::Account, "1")], 10)).await;
    drop(vault);
    let refused = async |keyring| {
        let opened = place.open_with(keyring, Options::default()).await;
        match opened.err() {
            Some(Error::Keyring(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let why = refused(place.keyring_at("foreign.json")).await;
    assert!(why.contains("belongs to vault"), "{why}");
    with_fingerprint_of(place.root.path(), "keyring.json", "foreign.json", "fingerprint.json");
    let why = refused(place.keyring_at("fingerprint.json")).await;
    assert!(why.contains("fingerprint"), "{why}");
    let keyring = place.keyring();
    let second = keyring.add(Class::Kek, at(0)).unwrap();
    keyring.activate(Class::Kek, second, at(0)).unwrap();
    keyring.remove(Class::Kek, 1).unwrap();
    let why = refused(keyring).await;
    assert!(why.contains("no kek key 1"), "{why}");
}

/// A copy of a keyring with the fingerprint secret of another one.
fn with_fingerprint_of(folder: &Path, keyring: &str, other: &str, to: &str) {
    let plain = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.split_whitespace().collect::<String>()
    };
    let secret = |text: &str| {
        let from = text.find(r#""class":"fingerprint""#).unwrap();
        let key = from + text[from..].find(r#""key":""#).unwrap() + 7;
        text[key..key + 43].to_owned()
    };
    let (text, other) = (plain(keyring), plain(other));
    let text = text.replace(&secret(&text), &secret(&other));
    let body = text.strip_prefix(r#"{"body":"#).unwrap().split(r#","check":"#).next().unwrap();
    let check = serde_json::to_string(&Digest(Sha256::digest(body).into())).unwrap();
    let path = folder.join(to);
    crate::durable::replace_private(&path, format!(r#"{{"body":{body},"check":{check}}}"#).as_bytes())
        .unwrap();
}

/// How many of the needles stand anywhere in the files of the database, but for the write-ahead log.
fn found(server: &Server, needles: &HashSet<[u8; 16]>) -> usize {
    let mut hits = HashSet::new();
    let mut folders = vec![server.data().join("base")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Of the databases that every server has, nobody has been in these.
                if !path.ends_with("base/1") && !path.ends_with("base/4") {
                    folders.push(path);
                }
                continue;
            }
            // One may be deleted while it is looked at.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            hits.extend(bytes.array_windows::<16>().filter(|window| needles.contains(*window)).copied());
        }
    }
    hits.len()
}

async fn wrapped(place: &Place) -> HashSet<[u8; 16]> {
    let database = Database::open(place.database.clone()).await.unwrap();
    let rows = database.get().await.unwrap().query("SELECT body FROM holders", &[]).await.unwrap();
    let bodies =
        rows.iter().filter_map(|row| crate::vault::sql::rows::Body::decode(row.get::<_, &[u8]>(0)).unwrap());
    bodies
        .flat_map(|body| [body.link, body.identity, body.evidence])
        .map(|key| std::array::from_fn(|i| key[12 + i]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_is_in_no_file() {
    let server = Server::new(Setup::default());
    let place = Place::on(server.options("vault"));
    let vault = place.node().await;
    let people = |from: usize, to: usize| -> Vec<Entry> {
        (from..to)
            .map(|i| {
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
            .collect()
    };
    let gone: Vec<_> = subjects(&vault.resolve(people(0, 300)).await.unwrap());
    let mut needles = wrapped(&place).await;
    vault.confirm(&gone).await.unwrap();
    let stay = subjects(&vault.resolve(people(300, 400)).await.unwrap());
    place.sql("CHECKPOINT").await;
    assert!(found(&server, &needles) >= 900, "the search finds what is there");
    let entry = people(0, 1).remove(0);
    let places: HashSet<_> =
        entry.identifiers.iter().map(|identifier| vault.shared.marker().mark(identifier).place).collect();
    assert!(found(&server, &places) > 0);
    // Keys that were only locked anew, and rows that were only changed, leave copies as well.
    let keyring = vault.shared.keyring.clone();
    let second = keyring.add(Class::Kek, at(5)).unwrap();
    keyring.activate(Class::Kek, second, at(6)).unwrap();
    rewrap_all(&vault).await;
    place.sql("CHECKPOINT").await;
    assert_eq!(found(&server, &needles), 0, "nothing locked with the old key is left");
    needles = wrapped(&place).await;
    let living: HashSet<_> = {
        vault.destroy(&gone[..150]).await.unwrap();
        vault.detach(&gone[150..].iter().map(|s| (*s, at(5_000))).collect::<Vec<_>>()).await.unwrap();
        wrapped(&place).await
    };
    needles.retain(|needle| !living.contains(needle));
    // 150 people with three keys, 150 with one.
    assert_eq!(needles.len(), 600);
    place.sql("CHECKPOINT").await;
    assert_eq!(found(&server, &needles), 0, "keys of the destroyed");
    assert!(found(&server, &places) >= 2, "marks of account and telephone number, for 90 days");
    let clear: HashSet<_> = people(0, 400)
        .into_iter()
        .flat_map(|entry| entry.identifiers)
        .map(|identifier| *identifier.value.expose().as_bytes()[3..].first_chunk().unwrap())
        .collect();
    assert_eq!(found(&server, &clear), 0, "no identifier stands in clear, of anybody");
    place.clock.advance_ms(90 * crate::domain::time::MS_PER_DAY);
    place.sql("UPDATE changes SET at_ms = 0").await;
    vault.scrub().await.unwrap();
    place.sql("CHECKPOINT").await;
    assert_eq!(found(&server, &needles) + found(&server, &places), 0);
    assert_eq!(vault.scrubbed_at().await.unwrap(), Some(place.clock.now()));
    for subject in stay {
        assert!(vault.holder(subject).await.is_ok());
    }
}

fn subjects(resolutions: &[Resolution]) -> Vec<SubjectId> {
    resolutions.iter().map(|resolution| resolution.holder.as_ref().unwrap().subject).collect()
}

async fn rewrap_all(vault: &Vault) {
    let mut after = 0;
    loop {
        let batch = vault.rewrap_some(after).await.unwrap();
        if batch.last {
            return vault.forget_old_wraps().await.unwrap();
        }
        after = batch.after;
    }
}

/// Whoever looks at everything keeps what is destroyed meanwhile in the files; the destruction waits, and
/// fails if that goes on for too long, and the next one makes good for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_long_transaction_is_in_the_way_of_a_destruction() {
    let server = Server::new(Setup::default());
    let patience = Duration::from_millis(400);
    let place = Place::on(crate::postgres::Options { patience, ..server.options("vault") });
    let vault = place.node().await;
    let subject = person(&vault, opening(&[named(Kind::Account, "1")], 10)).await;
    let needles = wrapped(&place).await;
    let database = Database::open(place.database.clone()).await.unwrap();
    let looking = database.get().await.unwrap();
    looking
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pending")
        .await
        .unwrap();
    let refused = vault.destroy(&[subject]).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    looking.batch_execute("COMMIT").await.unwrap();
    vault.destroy(&[subject]).await.unwrap();
    place.sql("CHECKPOINT").await;
    assert_eq!(found(&server, &needles), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rows_move_to_new_keys() {
    let place = Place::new();
    let vault = place.node().await;
    let account = |i: usize| named(Kind::Account, &format!("{i:05}"));
    let ip = |i: usize| named(Kind::Ip, &format!("192.0.2.{i}"));
    let entries = |make: fn(&[Identifier], i64) -> Entry, when| -> Vec<Entry> {
        (0..600).map(|i| make(&[account(i), ip(i)], when)).collect()
    };
    let before = vault.resolve(entries(opening, 10)).await.unwrap();
    let keyring = vault.shared.keyring.clone();
    for class in [Class::Kek, Class::Lookup] {
        let second = keyring.add(class, at(5)).unwrap();
        keyring.activate(class, second, at(6)).unwrap();
    }
    assert_eq!(vault.count_locked_with(1).await.unwrap(), 600);
    rewrap_all(&vault).await;
    assert_eq!(vault.count_locked_with(1).await.unwrap(), 0);
    assert_eq!(vault.locked_with().await.unwrap(), [(2, 600)]);
    vault.take_lookup_keys().await.unwrap();
    assert_eq!(vault.lookup_use(1).await.unwrap().rows, 1_200);
    let mut moved = 0;
    while let Some(batch) = vault.remark_some().await.unwrap() {
        moved += batch.changed;
    }
    assert_eq!((moved, vault.lookup_use(1).await.unwrap().rows), (1_200, 0));
    keyring.destroy(Class::Lookup, 1, at(9)).unwrap();
    keyring.destroy(Class::Kek, 1, at(9)).unwrap();
    vault.forget_lookup(1).await.unwrap();
    drop(vault);
    let vault = place.node().await;
    let after = vault.resolve(entries(using, 20)).await.unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.holder.as_ref().unwrap().link, after.holder.as_ref().unwrap().link);
        assert!(after.marks.iter().all(|marked| marked.usage == crate::vault::Use::Known));
    }
    assert_eq!(faults(&vault).await, Vec::<String>::new());
}

/// Both have the keyring's file, and each its own copy in memory, as on two machines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_new_look_up_key_looks_nobody_up_until_it_has_it() {
    let place = Place::new();
    let ours = place.keyring();
    std::fs::copy(place.root.path().join("keyring.json"), place.root.path().join("other.json")).unwrap();
    let theirs = place.keyring_at("other.json");
    let vault = place.open_with(Arc::clone(&ours), Options::default()).await.unwrap();
    let other = place.open_with(Arc::clone(&theirs), Options::default()).await.unwrap();
    let (one, two) = (opening(&[named(Kind::Account, "1")], 10), opening(&[named(Kind::Account, "2")], 10));
    let first = person(&vault, one.clone()).await;
    remembered(&other, &one).await;
    let second = ours.add(Class::Lookup, at(5)).unwrap();
    ours.activate(Class::Lookup, second, at(6)).unwrap();
    vault.take_lookup_keys().await.unwrap();
    vault.forgotten_everywhere().await.unwrap();
    let new = person(&vault, two.clone()).await;
    for entry in [&one, &two] {
        let refused = other.resolve(vec![entry.clone()]).await;
        assert!(format!("{refused:?}").contains("lookup key 2"), "{refused:?}");
    }
    std::fs::copy(place.root.path().join("keyring.json"), place.root.path().join("newer.json")).unwrap();
    drop(other);
    let other = place.open_with(place.keyring_at("newer.json"), Options::default()).await.unwrap();
    assert_eq!((person(&other, one).await, person(&other, two).await), (first, new));
}

async fn faults(vault: &Vault) -> Vec<String> {
    let (mut from, mut faults) = (Cursor::default(), Vec::new());
    loop {
        let step = vault.check(from).await.unwrap();
        faults.extend(
            step.faults.iter().map(|fault| format!("{:?} {}: {}", fault.kind, fault.place, fault.what)),
        );
        match step.next {
            Some(next) => from = next,
            None => return faults,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_what_does_not_hold() {
    let place = Place::new();
    let vault = place.node().await;
    let ids = [named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"), named(Kind::Ip, "192.0.2.1")];
    let first = person(&vault, opening(&ids, 10)).await;
    let second = person(&vault, opening(&[named(Kind::Account, "2")], 10)).await;
    vault.merge(first, second).await.unwrap();
    assert_eq!(faults(&vault).await, Vec::<String>::new());
    for (harm, told) in [
        ("UPDATE bindings SET sealed = sealed || '\\x00' WHERE kind = 'phone'", "Identifier bindings"),
        ("UPDATE seen SET place = decode(repeat('ab', 16), 'hex')", "Identifier seen"),
        (
            "UPDATE holders SET body = set_byte(body, 60, 255 - get_byte(body, 60)) WHERE n = 2",
            "Holder holders, row 2",
        ),
        ("DELETE FROM handles WHERE n = 1", "Holder holders, row 1: its handle"),
        ("UPDATE merges SET kept = 77", "Stray merges, kept 77"),
        (
            "UPDATE meta SET value = value + 1 WHERE name = 'people'",
            "Count meta: `people` says 3, but there are 2",
        ),
    ] {
        place.sql(harm).await;
        let found = faults(&vault).await;
        assert!(found.iter().any(|fault| fault.contains(told)), "{told}: {found:?}");
    }
}

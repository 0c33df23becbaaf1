//! Moving to new keys: nobody is ever without a key that opens, whatever goes on meanwhile and
//! wherever it ends; and nothing locked with the old key is in any file afterwards.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tests::{Place, found, person, tiny, wrapped_keys};
use super::*;
use crate::domain::identity::{Identifier, Kind};
use crate::vault::contract::{at, named, opening, using};
use crate::vault::keyring::Class;
use crate::vault::rotation::Rotation as _;
use crate::vault::scrub::Scrub as _;
use crate::vault::{Key, Vault as _};

fn account(i: usize) -> Identifier {
    named(Kind::Account, &format!("{i:05}"))
}

/// A new key of a class, in use from now on, in the keyring of a vault that is open.
fn rotate(vault: &Vault, class: Class) -> u32 {
    let id = vault.shared.keyring.add(class, at(5)).unwrap();
    vault.shared.keyring.activate(class, id, at(6)).unwrap();
    id
}

async fn rewrap_all(vault: &Vault) {
    vault.rewrap(|_| {}).await.unwrap();
}

async fn remark_all(vault: &Vault) -> u64 {
    let mut moved = 0;
    while let Some(batch) = vault.remark_some().await.unwrap() {
        moved += batch.changed;
    }
    moved
}

async fn link_keys(vault: &Vault, people: usize) -> Vec<Key> {
    let entries = (0..people).map(|i| using(&[account(i)], 20)).collect();
    let found = vault.resolve(entries).await.unwrap();
    found.into_iter().map(|resolution| resolution.holder.unwrap().link.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_encryption_keys_change_while_people_come_and_go() {
    let place = Place::new();
    let vault = Arc::new(place.open_with(Options { cache_entries: 64, ..Options::default() }).unwrap());
    vault.resolve((0..800).map(|i| opening(&[account(i)], 10)).collect()).await.unwrap();
    let before = link_keys(&vault, 800).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (vault, stop) = (Arc::clone(&vault), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut next = 800;
            while !stop.load(Ordering::SeqCst) || next < 1_000 {
                let entries = (next..next + 20).map(|i| opening(&[account(i)], 10)).collect();
                let made = vault.resolve(entries).await.unwrap();
                vault.destroy(&[made[0].holder.as_ref().unwrap().subject]).await.unwrap();
                next += 20;
            }
        })
    };
    let mut old = HashSet::new();
    for _ in 0..3 {
        old.extend(wrapped_keys(&place));
        let replaced = vault.shared.keyring.active_kek().unwrap().0;
        rotate(&vault, Class::Kek);
        rewrap_all(&vault).await;
        // A holder that was on its way when the key changed is found by the count, and by the next round.
        while vault.count_locked_with(replaced).await.unwrap() > 0 {
            rewrap_all(&vault).await;
        }
        vault.shared.keyring.destroy(Class::Kek, replaced, at(9)).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    vault.forget_old_wraps().await.unwrap();
    let living = wrapped_keys(&place);
    old.retain(|wrapped| !living.contains(wrapped));
    assert!(old.len() >= 800 * 3 && found(&place, &old) == 0, "nothing locked with an old key is left");
    let counted = vault.locked_with().await.unwrap();
    assert_eq!(counted.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4]);
    assert_eq!(vault.count_locked_with(4).await.unwrap(), counted[0].1, "the count is what is there");
    drop(Arc::into_inner(vault).unwrap());
    let vault = place.open();
    assert_eq!(link_keys(&vault, 800).await, before);
}

/// What a crash leaves: all files as they are, the write-ahead log among them, and the keyring.
fn crashed(place: &Place) -> Place {
    let copy = Place { clock: place.clock.clone(), ..Place::new() };
    std::fs::create_dir_all(copy.data()).unwrap();
    for file in std::fs::read_dir(place.data()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.data().join(file.file_name())).unwrap();
    }
    let keyring = "keyring.json";
    std::fs::copy(place.root.path().join(keyring), copy.root.path().join(keyring)).unwrap();
    copy
}

/// Opens what a crash left: everybody's keys are as they were, and the rotation can be ended.
async fn goes_on(place: &Place, before: &[Key], step: &str) {
    let vault = place.open();
    assert_eq!(link_keys(&vault, before.len()).await, before, "{step}");
    let active = vault.shared.keyring.active_kek().unwrap().0;
    rewrap_all(&vault).await;
    assert_eq!(vault.locked_with().await.unwrap(), [(active, before.len() as u64)], "{step}");
    for key in vault.shared.keyring.describe().iter().filter(|key| key.class == Class::Kek && !key.active) {
        assert_eq!(vault.count_locked_with(key.id).await.unwrap(), 0, "{step}");
        vault.shared.keyring.destroy(Class::Kek, key.id, at(9)).unwrap();
    }
    drop(vault);
    assert_eq!(link_keys(&place.open(), before.len()).await, before, "{step}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_a_new_key_encryption_key_locks_nobody_out() {
    let place = Place::new();
    let vault = place.open();
    vault.resolve((0..1_700).map(|i| opening(&[account(i)], 10)).collect()).await.unwrap();
    let before = link_keys(&vault, 1_700).await;
    let mut crashes = Vec::new();
    let second = vault.shared.keyring.add(Class::Kek, at(5)).unwrap();
    crashes.push(("added", crashed(&place)));
    vault.shared.keyring.activate(Class::Kek, second, at(6)).unwrap();
    crashes.push(("activated", crashed(&place)));
    let mut after = 0;
    loop {
        let batch = vault.rewrap_some(after).await.unwrap();
        crashes.push(("a batch", crashed(&place)));
        if batch.last {
            break;
        }
        after = batch.after;
    }
    assert_eq!(crashes.len(), 2 + 4);
    vault.forget_old_wraps().await.unwrap();
    crashes.push(("forgotten", crashed(&place)));
    vault.shared.keyring.destroy(Class::Kek, 1, at(9)).unwrap();
    crashes.push(("destroyed", crashed(&place)));
    for (step, crash) in crashes {
        goes_on(&crash, &before, step).await;
    }
}

#[tokio::test]
async fn identifiers_move_to_a_new_look_up_key_and_lead_to_the_same_people() {
    let place = Place::new();
    let vault = place.open_with(tiny()).unwrap();
    let phone = |i: usize| named(Kind::Phone, &format!("+86139{i:08}"));
    let address = named(Kind::Ip, "192.0.2.1");
    let all = |i: usize| [account(i), phone(i), address.clone()];
    vault.resolve((0..1_100).map(|i| opening(&all(i), 10)).collect()).await.unwrap();
    let before = link_keys(&vault, 1_100).await;
    let held = person(&vault, using(&[account(7)], 20)).await;
    let rows = vault.lookup_use(1).await.unwrap().rows;
    assert_eq!(rows, 1_100 * 3, "account, phone, and seen with the address");

    let second = rotate(&vault, Class::Lookup);
    vault.take_lookup_keys().await.unwrap();
    assert_eq!(link_keys(&vault, 1_100).await, before, "before anything has moved");
    let first = vault.remark_some().await.unwrap().unwrap();
    assert_eq!((first.passed, first.changed, first.last), (500, 1_500, false));
    assert_eq!(link_keys(&vault, 1_100).await, before, "half of them moved");
    drop(vault);
    let vault = place.open_with(tiny()).unwrap();
    assert_eq!(remark_all(&vault).await, rows - 1_500, "a restart goes on where it was");
    assert_eq!(vault.remark_some().await.unwrap(), None);
    assert_eq!(vault.lookup_use(1).await.unwrap().rows, 0);
    assert_eq!(vault.candidates(&address, None).await.unwrap().len(), 1_100);
    assert_eq!(vault.identifiers(held).await.unwrap().len(), 3);

    vault.shared.keyring.destroy(Class::Lookup, 1, at(9)).unwrap();
    vault.take_lookup_keys().await.unwrap();
    vault.forget_lookup(1).await.unwrap();
    assert_eq!(link_keys(&vault, 1_100).await, before);
    drop(vault);
    let vault = place.open();
    assert_eq!(link_keys(&vault, 1_100).await, before);
    assert_eq!(vault.candidates(&phone(7), None).await.unwrap()[0].subject, held);
    assert_eq!(vault.shared.marker().active(), second);
}

#[tokio::test]
async fn who_is_erased_between_two_look_up_keys_is_found_under_neither() {
    let place = Place::new();
    let vault = place.open();
    let (early, late) = (account(1), account(2));
    let (first, second) = (
        person(&vault, opening(std::slice::from_ref(&early), 10)).await,
        person(&vault, opening(std::slice::from_ref(&late), 10)).await,
    );
    vault.confirm(&[first, second]).await.unwrap();
    rotate(&vault, Class::Lookup);
    vault.take_lookup_keys().await.unwrap();
    // Known to the cache under the new key, if it were to be believed.
    assert_eq!(person(&vault, using(std::slice::from_ref(&early), 20)).await, first);
    vault.destroy(&[first]).await.unwrap();
    let nobody = vault.resolve(vec![using(std::slice::from_ref(&early), 20)]).await.unwrap().remove(0);
    assert!(nobody.holder.is_none() && nobody.late_for_erased, "the older key still tells a late event");
    remark_all(&vault).await;
    vault.destroy(&[second]).await.unwrap();
    let nobody = vault.resolve(vec![using(std::slice::from_ref(&late), 20)]).await.unwrap().remove(0);
    assert!(nobody.holder.is_none() && nobody.late_for_erased);

    let use_of = vault.lookup_use(1).await.unwrap();
    let until = place.clock.now().plus_ms(90 * crate::domain::time::MS_PER_DAY);
    assert_eq!((use_of.rows, use_of.erased, use_of.erased_until), (0, 1, Some(until)));
    place.clock.set(until);
    assert_eq!(vault.lookup_use(1).await.unwrap(), crate::vault::rotation::LookupUse::default());
}

/// SQLite gives the numbers of forgotten marks again: they are not taken for marks from before.
#[tokio::test]
async fn marks_that_come_after_a_scrub_are_not_under_the_older_key() {
    let place = Place::new();
    let vault = place.open();
    let erase = async |n: usize| {
        let gone = person(&vault, opening(&[account(n)], 10)).await;
        vault.confirm(&[gone]).await.unwrap();
        vault.destroy(&[gone]).await.unwrap();
    };
    for n in 0..3 {
        erase(n).await;
    }
    rotate(&vault, Class::Lookup);
    vault.take_lookup_keys().await.unwrap();
    remark_all(&vault).await;
    assert_eq!(vault.lookup_use(1).await.unwrap().erased, 3);
    place.clock.advance_ms(90 * crate::domain::time::MS_PER_DAY);
    vault.scrub().await.unwrap();
    erase(4).await;
    assert_eq!(vault.lookup_use(1).await.unwrap().erased, 0, "it is under the new one");
}

#[tokio::test]
async fn a_sighting_that_waited_stands_under_the_new_key() {
    let place = Place::new();
    let vault = place.open();
    let address = named(Kind::Ip, "192.0.2.1");
    person(&vault, opening(&[account(1)], 10)).await;
    let held = person(&vault, using(&[account(1), address.clone()], 20)).await;
    assert_eq!(vault.shared.lazy().len(), 1, "it waits for the next commit");
    rotate(&vault, Class::Lookup);
    // The next commit writes it, in the same breath as the new key is taken, or after.
    vault.take_lookup_keys().await.unwrap();
    remark_all(&vault).await;
    assert_eq!(vault.lookup_use(1).await.unwrap().rows, 0);
    assert_eq!(vault.candidates(&address, None).await.unwrap()[0].subject, held);
}

#[tokio::test]
async fn a_keyring_without_a_look_up_key_that_rows_are_under_is_refused_by_name() {
    let place = Place::new();
    let vault = place.open();
    person(&vault, opening(&[account(1)], 10)).await;
    let older = std::fs::read(place.root.path().join("keyring.json")).unwrap();
    rotate(&vault, Class::Lookup);
    vault.take_lookup_keys().await.unwrap();
    person(&vault, opening(&[account(2)], 10)).await;
    drop(vault);
    let newer = std::fs::read(place.root.path().join("keyring.json")).unwrap();
    std::fs::write(place.root.path().join("keyring.json"), older).unwrap();
    let error = place.open_with(tiny()).err().unwrap();
    assert!(matches!(&error, Error::Keyring(why) if why.contains("no lookup key 2")), "{error}");
    std::fs::write(place.root.path().join("keyring.json"), newer).unwrap();
    let vault = place.open();
    remark_all(&vault).await;
    // Nothing needs it, and a crash comes before the vault notes that it is gone.
    vault.shared.keyring.destroy(Class::Lookup, 1, at(9)).unwrap();
    drop(vault);
    let vault = place.open();
    assert_eq!(vault.candidates(&account(1), None).await.unwrap().len(), 1);
}

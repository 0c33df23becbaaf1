//! The second copy of the vault: what it has when, and what happens while it cannot be written.

use super::harm::wrapped_in;
use super::tests::{Place, person, tiny};
use super::*;
use crate::domain::id::SubjectId;
use crate::domain::identity::Kind;
use crate::mirror::{OnFailure, Options as MirrorOptions, Place as MirrorPlace};
use crate::vault::Vault as _;
use crate::vault::contract::{self, named, opening, using};
use crate::vault::scrub::Scrub as _;

fn mirror(place: &Place) -> PathBuf {
    place.root.path().join("mirror")
}

fn options(place: &Place, on_failure: OnFailure) -> Options {
    std::fs::create_dir_all(place.data()).unwrap();
    let at = MirrorPlace::of(&place.data(), &mirror(place), false).unwrap();
    Options { mirror: Some(MirrorOptions { place: at, on_failure }), ..tiny() }
}

fn open(place: &Place, on_failure: OnFailure) -> Vault {
    place.open_with(options(place, on_failure)).unwrap()
}

fn failing(vault: &Vault) -> Option<String> {
    vault.mirror().unwrap().failing
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// The vault that somebody would have who has the mirror and the keyring, and nothing else.
fn alone(place: &Place, name: &str) -> Vault {
    let apart = place.root.path().join(name);
    copy(&mirror(place).join("vault"), &apart);
    Vault::open(&apart, place.keyring(), Arc::new(place.clock.clone()), tiny()).unwrap()
}

async fn people(vault: &Vault, from: usize, to: usize) -> Vec<SubjectId> {
    let mut subjects = Vec::new();
    for n in from..to {
        subjects.push(person(vault, opening(&[named(Kind::Account, &format!("{n:05}"))], 10)).await);
    }
    vault.confirm(&subjects).await.unwrap();
    subjects
}

async fn find(vault: &Vault, n: usize) -> Option<SubjectId> {
    let answer = vault.resolve(vec![using(&[named(Kind::Account, &format!("{n:05}"))], 10)]).await.unwrap();
    answer[0].holder.as_ref().map(|holder| holder.subject)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_with_a_mirror() {
    let places = Mutex::new(Vec::new());
    contract::run(async |clock| {
        let place = Place { clock, ..Place::new() };
        let vault: Arc<dyn crate::vault::Vault> = Arc::new(open(&place, OnFailure::Stop));
        places.lock().unwrap().push(place);
        vault
    })
    .await;
}

/// Over several lives of the write-ahead log, with readers that keep it from being emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_in_the_copy() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    let mut subjects = Vec::new();
    for round in 0..6 {
        let entries = (round * 2_000..(round + 1) * 2_000)
            .map(|n| opening(&[named(Kind::Account, &format!("{n:05}"))], 10))
            .collect();
        let answers = vault.resolve(entries).await.unwrap();
        subjects.extend(answers.iter().map(|answer| answer.holder.as_ref().unwrap().subject));
        let copy = alone(&place, &format!("apart-{round}"));
        for n in (0..subjects.len()).step_by(97) {
            assert_eq!(find(&copy, n).await, Some(subjects[n]), "in round {round}");
        }
        // A log that SQLite begins anew is another one.
        if round % 2 == 1 {
            vault.truncate().await.unwrap();
        }
    }
    assert_eq!(vault.compare_mirror().await.unwrap(), Vec::<String>::new());
    assert_eq!(failing(&vault), None);
    vault.scrub().await.unwrap();
    assert_eq!(vault.compare_mirror().await.unwrap(), Vec::<String>::new());
    drop(vault);
    let vault = open(&place, OnFailure::Stop);
    assert_eq!((failing(&vault), vault.compare_mirror().await.unwrap()), (None, Vec::new()));
}

/// SQLite begins its log anew by itself when it has grown, as soon as nobody reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_anew_by_itself_is_followed() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    let salts = || {
        let wal = std::fs::read(place.data().join("vault.sqlite-wal")).unwrap_or_default();
        wal.get(16..24).map(<[u8]>::to_vec)
    };
    let (mut lives, mut last, mut n) = (0, None, 0);
    while lives < 3 {
        let entries =
            (n..n + 3_000).map(|n| opening(&[named(Kind::Account, &format!("{n:07}"))], 10)).collect();
        vault.resolve(entries).await.unwrap();
        n += 3_000;
        if salts() != last {
            (lives, last) = (lives + 1, salts());
        }
    }
    let copy = alone(&place, "apart");
    assert_eq!(copy.status().await.unwrap(), vault.status().await.unwrap());
    assert_eq!(vault.compare_mirror().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_is_in_neither() {
    for on_failure in [OnFailure::Stop, OnFailure::GoOn] {
        let place = Place::new();
        let vault = open(&place, on_failure);
        let subjects = people(&vault, 0, 60).await;
        let held = || {
            let dir = mirror(&place).join("vault");
            let mut bytes = Vec::new();
            for entry in std::fs::read_dir(&dir).unwrap() {
                bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
            }
            bytes
        };
        vault.truncate().await.unwrap();
        let keys = wrapped_in(&place.data().join(FILE));
        assert!(keys.len() >= 60);
        // Destroyed while the mirror is away, where that is allowed.
        if on_failure == OnFailure::GoOn {
            let (here, away) = (mirror(&place), place.root.path().join("away"));
            std::fs::rename(&here, &away).unwrap();
            // The open file is still written to; it is missed where its name is needed.
            assert_eq!(vault.truncate().await.is_ok(), on_failure == OnFailure::GoOn);
            vault.destroy(&subjects).await.unwrap();
            assert!(failing(&vault).is_some());
            std::fs::rename(&away, &here).unwrap();
            vault.tend_mirror().await;
        } else {
            vault.destroy(&subjects).await.unwrap();
        }
        assert_eq!((failing(&vault), vault.compare_mirror().await.unwrap()), (None, Vec::new()));
        let bytes = held();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!keys.iter().any(|key| holds(key)), "a key is left");
        assert!(!subjects.iter().any(|subject| holds(&subject.0)), "a handle is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_cannot_be_written_stops_or_does_not_as_was_said() {
    for on_failure in [OnFailure::Stop, OnFailure::GoOn] {
        let place = Place::new();
        let vault = open(&place, on_failure);
        let subjects = people(&vault, 0, 5).await;
        vault.truncate().await.unwrap();
        let (here, away) = (mirror(&place), place.root.path().join("away"));
        std::fs::rename(&here, &away).unwrap();
        assert_eq!(vault.truncate().await.is_ok(), on_failure == OnFailure::GoOn);
        let entry = || opening(&[named(Kind::Account, "new")], 10);
        let answer = vault.resolve(vec![entry()]).await;
        assert_eq!(answer.is_ok(), on_failure == OnFailure::GoOn, "{answer:?}");
        assert!(failing(&vault).is_some());
        assert_eq!(vault.holder(subjects[3]).await.unwrap().subject, subjects[3], "reads go on");
        vault.tend_mirror().await;
        assert!(failing(&vault).is_some(), "it is still away");
        drop(vault);
        let vault = open(&place, on_failure);
        assert!(failing(&vault).is_some(), "nor is that forgotten");
        std::fs::rename(&away, &here).unwrap();
        vault.tend_mirror().await;
        assert_eq!((failing(&vault), vault.compare_mirror().await.unwrap()), (None, Vec::new()));
        let new = person(&vault, entry()).await;
        vault.confirm(&[new]).await.unwrap();
        let copy = alone(&place, "apart");
        assert_eq!(copy.status().await.unwrap().people, 6);
    }
}

fn refusal(place: &Place, on_failure: OnFailure) -> String {
    let refused = place.open_with(options(place, on_failure)).err().unwrap();
    std::error::Error::source(&refused).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_or_another_vaults_mirror_is_left_alone() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 5).await;
    drop(vault);
    let older = place.root.path().join("older");
    copy(&place.data(), &older);
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 5, 9).await;
    drop(vault);
    let theirs = std::fs::read(mirror(&place).join("vault").join(FILE)).unwrap();
    copy(&older, &place.data());
    for on_failure in [OnFailure::Stop, OnFailure::GoOn] {
        let refused = refusal(&place, on_failure);
        assert!(refused.contains("newer than the vault") && refused.contains("restore"), "{refused}");
    }
    // Another vault, with a keyring of its own.
    let other = Place::new();
    drop(other.open());
    std::fs::copy(other.data().join(FILE), mirror(&place).join("vault").join(FILE)).unwrap();
    let refused = refusal(&place, OnFailure::GoOn);
    assert!(refused.contains("another vault"), "{refused}");
    std::fs::write(mirror(&place).join("vault").join(FILE), &theirs).unwrap();
    assert_eq!(alone(&place, "apart").status().await.unwrap().people, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_found_and_made_good_at_the_next_start() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 50).await;
    vault.truncate().await.unwrap();
    let file = mirror(&place).join("vault").join(FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(vault.compare_mirror().await.unwrap().len(), 1);
    drop(vault);
    let vault = open(&place, OnFailure::Stop);
    assert_eq!((failing(&vault), vault.compare_mirror().await.unwrap()), (None, Vec::new()));
}

/// Who heard `Unavailable` and asks again hears the same until the copy has it; so does whoever comes meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_not_answered_while_the_copy_lacks_it() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 5).await;
    let (here, away) = (mirror(&place), place.root.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    // The open file takes it, until SQLite begins its log anew and the copy's name is needed.
    let mut n = 1_000;
    let refused = loop {
        let batch: Vec<_> =
            (n..n + 2_000).map(|n| opening(&[named(Kind::Account, &format!("{n:05}"))], 10)).collect();
        match vault.resolve(batch.clone()).await {
            Ok(_) => n += 2_000,
            Err(_) => break batch,
        }
        assert!(n < 90_000, "it never noticed");
    };
    assert!(vault.resolve(refused.clone()).await.is_err(), "the copy lacks it still");
    std::fs::rename(&away, &here).unwrap();
    vault.tend_mirror().await;
    vault.resolve(refused).await.unwrap();
    assert!(find(&alone(&place, "apart"), n).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_copy_is_noticed_when_it_is_tended() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 5).await;
    vault.tend_mirror().await;
    assert_eq!(failing(&vault), None);
    std::fs::remove_dir_all(mirror(&place).join("vault")).unwrap();
    vault.tend_mirror().await;
    assert_eq!(
        (failing(&vault), vault.compare_mirror().await.unwrap()),
        (None, Vec::new()),
        "it is made anew"
    );
    std::fs::remove_dir_all(mirror(&place)).unwrap();
    vault.tend_mirror().await;
    assert!(failing(&vault).unwrap().contains("does not hold the mirror"), "{:?}", failing(&vault));
}

/// An end between any two steps of copying the whole file anew: there is a whole copy, and nothing of what is
/// destroyed later stays under another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_anew_may_end_at_any_step() {
    let steps: [fn(&Path); 4] = [
        // The new file is written in part.
        |file| {
            std::fs::write(file.with_extension("sqlite.new"), &std::fs::read(file).unwrap()[..9_000]).unwrap()
        },
        // It is whole.
        |file| assert!(std::fs::copy(file, file.with_extension("sqlite.new")).unwrap() > 0),
        // The old one has two names.
        |file| std::fs::hard_link(file, file.with_extension("sqlite.old")).unwrap(),
        // The new one has its name, and the old one is not yet overwritten.
        |file| assert!(std::fs::copy(file, file.with_extension("sqlite.old")).unwrap() > 0),
    ];
    for (n, step) in steps.iter().enumerate() {
        for differs in [false, true] {
            let place = Place::new();
            let vault = open(&place, OnFailure::GoOn);
            let mut subjects = people(&vault, 0, 60).await;
            drop(vault);
            step(&mirror(&place).join("vault").join(FILE));
            if differs {
                let plain = place.open();
                subjects.extend(people(&plain, 60, 70).await);
            }
            assert!(alone(&place, "apart").status().await.unwrap().people >= 60, "step {n}: a whole copy");
            let keys = wrapped_in(&place.data().join(FILE));
            let vault = open(&place, OnFailure::GoOn);
            assert_eq!(failing(&vault), None, "step {n}");
            vault.destroy(&subjects).await.unwrap();
            assert_eq!(
                (failing(&vault), vault.compare_mirror().await.unwrap()),
                (None, Vec::new()),
                "step {n}"
            );
            for entry in std::fs::read_dir(mirror(&place).join("vault")).unwrap() {
                let path = entry.unwrap().path();
                let bytes = std::fs::read(&path).unwrap();
                let held = bytes.array_windows::<16>().any(|window| keys.contains(window));
                assert!(!held, "step {n}: a key in {}", path.display());
            }
        }
    }
}

/// Without its locks another process would take the write-ahead log of a running vault away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_the_file_keeps_the_locks_on_it() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 5).await;
    vault.compare_mirror().await.unwrap();
    people(&vault, 5, 6).await;
    let inode = std::fs::metadata(place.data().join(FILE)).unwrap().ino();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let ours = format!(" {} ", std::process::id());
    let held = locks
        .lines()
        .any(|line| line.contains("POSIX") && line.contains(&ours) && line.contains(&format!(":{inode} ")));
    assert!(held, "no lock on inode {inode}:\n{locks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_sqlite_does_not_read_says_what_to_do() {
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 50).await;
    drop(vault);
    let file = mirror(&place).join("vault").join(FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..64].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let vault = open(&place, OnFailure::Stop);
    assert!(failing(&vault).unwrap().contains("move it away"), "{:?}", failing(&vault));
    std::fs::rename(&file, place.root.path().join("damaged")).unwrap();
    vault.tend_mirror().await;
    assert_eq!((failing(&vault), vault.compare_mirror().await.unwrap()), (None, Vec::new()));
}

/// What a commit that failed left in the log, behind the end that SQLite knows, hides none of those after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remains_of_a_failed_commit_hide_nothing() {
    use std::io::Write;
    let place = Place::new();
    let vault = open(&place, OnFailure::Stop);
    people(&vault, 0, 5).await;
    let path = place.data().join("vault.sqlite-wal");
    let wal = std::fs::read(&path).unwrap();
    let last = &wal[wal.len() - 4_120..];
    assert_ne!(last[4..8], [0; 4], "the mark of a commit");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    for _ in 0..60 {
        file.write_all(last).unwrap();
    }
    people(&vault, 600, 606).await;
    assert_eq!(failing(&vault), None);
    let copy = alone(&place, "apart");
    for n in 600..606 {
        assert!(find(&copy, n).await.is_some(), "{n} was answered and is not in the copy");
    }
}

//! The real program killed at steps all over a backup, a restore and changes of the keyring, with
//! everything it never synced taken away: afterwards there is what was there before, or what was asked
//! for, and never something between.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use custody::cli::client::Client;
use custody::pb;
use custody::pb::create_backup_response::Message;
use support::crash::{Fault, Sandbox};
use support::events::{assert_checks, collected, connect, receipt, runtime, send_all, workplace};
use support::rewind::{Discarded, Loss};
use support::server::Served;
use tokio::runtime::Runtime;

/// A log with some people, in a directory that is watched.
struct House {
    _below: tempfile::TempDir,
    sandbox: Sandbox,
    data: PathBuf,
    runtime: Runtime,
    kept: Vec<(pb::Event, pb::Receipt)>,
    discarded: Discarded,
    killed: usize,
}

impl House {
    fn new() -> House {
        let below = workplace();
        let sandbox = Sandbox::new(below.path()).unwrap();
        let data = sandbox.root().join("data");
        let runtime = runtime();
        let served = Served::start(&data);
        let events: Vec<_> = (0..60).map(|n| collected(&format!("person-{n}"))).collect();
        let kept = runtime.block_on(async {
            let client = connect(&served).await;
            let outcomes = send_all(&client, &events).await.unwrap();
            client.ledger().publish_checkpoint(pb::PublishCheckpointRequest {}).await.unwrap();
            events.into_iter().zip(outcomes.iter().map(|outcome| receipt(outcome).clone())).collect()
        });
        served.stop();
        House { _below: below, sandbox, data, runtime, kept, discarded: Discarded::default(), killed: 0 }
    }

    fn serve(&self) -> Served {
        let mut command = Served::command(&self.data);
        let quiet = ["--set", "ledger.checkpoint_interval_ms=0", "--set", "log.filter=off"];
        Served::spawn(self.sandbox.arm(command.args(quiet)))
    }

    /// A command that works on the files, to its end.
    fn custody(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        support::server::offline(&self.data, arguments)
    }

    fn kill_after(&self, records: u64) {
        self.sandbox.set_faults(&[Fault::KillAfter { records }]).unwrap();
    }

    /// How many records a command makes, done to its end.
    fn records_of(&self, arguments: &[&str]) -> u64 {
        self.sandbox.forget().unwrap();
        let done = self.sandbox.arm(&mut self.command(arguments)).output().unwrap();
        assert_ok(&done);
        let records = self.sandbox.journal().unwrap().len() as u64;
        self.sandbox.forget().unwrap();
        records
    }

    /// Runs a command until it is about to make a change; says whether it came to its end before.
    fn killed_at(&mut self, records: u64, arguments: &[&str]) -> bool {
        self.kill_after(records);
        let done = self.sandbox.arm(&mut self.command(arguments)).output().unwrap();
        self.sandbox.set_faults(&[]).unwrap();
        let killed = done.status.code().is_none();
        self.killed += usize::from(killed);
        assert!(killed || done.status.success(), "{}", said(&done));
        killed
    }

    fn lose_power(&mut self, round: u64) {
        let loss = if round.is_multiple_of(2) { Loss::All } else { Loss::Torn(round) };
        self.discarded.add(&self.sandbox.discard_unsynced(loss).unwrap());
    }

    /// Every event is where it was, and everybody is known. The service may record events of its own
    /// meanwhile.
    async fn assert_whole(&self, client: &Client) {
        let events: Vec<_> = self.kept.iter().map(|(event, _)| event.clone()).collect();
        for ((_, first), outcome) in self.kept.iter().zip(send_all(client, &events).await.unwrap()) {
            let again = receipt(&outcome);
            assert!(again.duplicate && again.attributed, "{again:?}");
            assert_eq!((again.position, &again.leaf_hash), (first.position, &first.leaf_hash));
        }
    }

    fn assert_killed_and_lost(&self, least: usize) {
        eprintln!("{} killed; {:?}", self.killed, self.discarded);
        assert!(self.killed >= least, "only {} kills", self.killed);
        assert!(!self.discarded.nothing(), "nothing was ever lost");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn assert_ok(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// So many numbers below a bound, among them the first.
fn spread(below: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count.min(below)).map(move |n| n * below / count.min(below))
}

async fn back_up(client: &Client) -> Result<PathBuf, tonic::Status> {
    let mut news = client.backups().create_backup(pb::CreateBackupRequest {}).await?.into_inner();
    while let Some(answer) = news.message().await? {
        if let Some(Message::Backup(made)) = answer.message {
            return Ok(made.directory.into());
        }
    }
    Err(tonic::Status::unavailable("it ended early"))
}

fn beside(data: &Path, ending: &str) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn a_killed_restore_has_put_everything_in_place_or_nothing() {
    let mut house = House::new();
    let served = house.serve();
    let backup = house.runtime.block_on(async { back_up(&connect(&served).await).await.unwrap() });
    served.stop();
    let (data, restoring) = (house.data.clone(), beside(&house.data, ".restoring"));
    let restore = ["restore", "--from", backup.to_str().unwrap()];
    std::fs::remove_dir_all(&data).unwrap();
    let records = house.records_of(&restore);
    for (round, at) in (0..).zip(spread(records, 24).chain(records.saturating_sub(8)..records)) {
        std::fs::remove_dir_all(&data).unwrap();
        house.sandbox.forget().unwrap();
        house.killed_at(at, &restore);
        if data.join("log").exists() {
            // It synced the whole file system before, which the shim does not see.
            house.sandbox.forget().unwrap();
            let refused = house.custody(&restore);
            assert!(said(&refused).contains("is not empty"), "killed at {at}: {}", said(&refused));
        } else {
            house.lose_power(round);
            assert!(!data.exists() || entries(&data).iter().all(|path| path.ends_with("lock")), "{at}");
            assert_ok(&house.custody(&restore));
        }
        assert!(!restoring.exists(), "killed at {at}");
        if round % 8 == 0 {
            assert_checks(&data);
        }
    }
    house.sandbox.forget().unwrap();
    let served = house.serve();
    house.runtime.block_on(async { house.assert_whole(&connect(&served).await).await });
    served.stop();
    assert_checks(&data);
    house.assert_killed_and_lost(20);
}

#[test]
fn a_killed_backup_is_whole_or_removed_by_the_next() {
    let mut house = House::new();
    let backups = beside(&house.data, ".backups");
    let snapshot = house.data.join("vault/snapshot.sqlite");
    let mut served = house.serve();
    let records = house.runtime.block_on(async {
        let client = connect(&served).await;
        let before = house.sandbox.journal().unwrap().len();
        back_up(&client).await.unwrap();
        (house.sandbox.journal().unwrap().len() - before) as u64
    });
    for (round, at) in (0..).zip(spread(records, 14)) {
        let made = house.runtime.block_on(async {
            let client = connect(&served).await;
            // Not before: what the service does by itself may be what it is killed at.
            house.kill_after(at);
            back_up(&client).await
        });
        drop(served);
        house.killed += usize::from(made.is_err());
        house.sandbox.set_faults(&[]).unwrap();
        house.lose_power(round);
        if let Ok(made) = made {
            assert!(made.exists(), "killed at {at}: a backup that was answered is gone");
        }
        served = house.serve();
        assert!(!snapshot.exists(), "killed at {at}: a second copy of the vault is left while it serves");
        let whole: Vec<_> = entries(&backups).into_iter().filter(|path| path.extension().is_none()).collect();
        assert_ok(&house.custody(&["backup", "verify", whole.last().unwrap().to_str().unwrap()]));
        let next = house.runtime.block_on(async {
            let client = connect(&served).await;
            house.assert_whole(&client).await;
            back_up(&client).await.unwrap()
        });
        let there = entries(&backups);
        assert!(there.iter().all(|path| path.extension().is_none()), "killed at {at}: {there:?}");
        assert_ok(&house.custody(&["backup", "verify", next.to_str().unwrap()]));
        // Those that the next round does not need.
        there[..there.len() - 1].iter().for_each(|old| std::fs::remove_dir_all(old).unwrap());
    }
    served.stop();
    assert_checks(&house.data);
    house.assert_killed_and_lost(10);
}

/// A new key-encryption key, in use, with everybody under it.
async fn rotate(client: &Client) -> Result<(), tonic::Status> {
    let class = pb::KeyringClass::Kek as i32;
    let key = client.keys().add_key(pb::AddKeyRequest { class }).await?.into_inner().key.unwrap();
    client.keys().activate_key(pb::ActivateKeyRequest { class, id: key.id }).await?;
    rewrap(client).await
}

async fn rewrap(client: &Client) -> Result<(), tonic::Status> {
    let mut news = client.keys().rewrap_keys(pb::RewrapKeysRequest {}).await?.into_inner();
    while news.message().await?.is_some() {}
    Ok(())
}

#[test]
fn a_service_killed_while_it_replaces_a_key_locks_nobody_out() {
    let mut house = House::new();
    let mut served = house.serve();
    let records = house.runtime.block_on(async {
        let client = connect(&served).await;
        let before = house.sandbox.journal().unwrap().len();
        rotate(&client).await.unwrap();
        (house.sandbox.journal().unwrap().len() - before) as u64
    });
    for (round, at) in (0..).zip(spread(records, 14)) {
        let done = house.runtime.block_on(async {
            let client = connect(&served).await;
            // Not before: what the service does by itself may be what it is killed at.
            house.kill_after(at);
            rotate(&client).await
        });
        drop(served);
        house.killed += usize::from(done.is_err());
        house.sandbox.set_faults(&[]).unwrap();
        house.lose_power(round);
        served = house.serve();
        house.runtime.block_on(async {
            let client = connect(&served).await;
            house.assert_whole(&client).await;
            rewrap(&client).await.unwrap();
            let keys = client.keys().list_keys(pb::ListKeysRequest {}).await.unwrap().into_inner().keys;
            let class = pb::KeyringClass::Kek as i32;
            let keks: Vec<_> = keys.iter().filter(|key| key.class == class).collect();
            assert_eq!(keks.iter().filter(|key| key.active).count(), 1, "killed at {at}: {keks:?}");
            let needed = |key: &&&pb::Key| key.needed_by.is_some_and(|holders| holders > 0);
            assert!(keks.iter().filter(needed).all(|key| key.active), "killed at {at}: {keks:?}");
        });
    }
    served.stop();
    assert_checks(&house.data);
    house.assert_killed_and_lost(10);
}

#[test]
fn a_keyring_changed_or_copied_offline_opens_everything_wherever_that_was_killed() {
    let mut house = House::new();
    for class in ["kek", "lookup"] {
        let rotate = ["keyring", "rotate", class, "--offline"];
        let records = house.records_of(&rotate);
        for (round, at) in (0..).zip(spread(records, 10)) {
            house.killed_at(at, &rotate);
            house.lose_power(round);
            assert_ok(&house.custody(&["keyring", "rewrap", "--offline"]));
            // Counts, sums, and whether every key opens.
            if round % 3 == 0 {
                assert_checks(&house.data);
            }
        }
    }
    let copy = house.sandbox.root().join("copy");
    let back_up = ["keyring", "backup", copy.to_str().unwrap()];
    let records = house.records_of(&back_up);
    let whole = std::fs::read(&copy).unwrap();
    for (round, at) in (0..).zip(spread(records, 10)) {
        std::fs::remove_file(&copy).unwrap();
        house.sandbox.forget().unwrap();
        house.killed_at(at, &back_up);
        house.lose_power(round);
        let left = std::fs::read(&copy).unwrap_or_default();
        assert!(left.is_empty() || left == whole, "killed at {at}: {} bytes of a copy", left.len());
        if left.is_empty() {
            assert_ok(&house.custody(&back_up));
        }
        assert!(!beside(&copy, ".new").exists(), "killed at {at}: keys are left beside the copy");
    }
    let served = house.serve();
    house.runtime.block_on(async { house.assert_whole(&connect(&served).await).await });
    served.stop();
    assert_checks(&house.data);
    house.assert_killed_and_lost(20);
}

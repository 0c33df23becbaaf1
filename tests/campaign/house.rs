//! One data directory and what happens to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody::cli::client::{Client, Remote};
use custody::pb;

use super::book::{Book, found, subject_name};
use super::harm;
use crate::support::crash::{Dice, Sandbox, kill};
use crate::support::events::{collected, connect, head, receipt, runtime, send_all, status, workplace};
use crate::support::rewind::{Discarded, Loss};
use crate::support::server::Served;

/// Names of people; few, so that what happens to them meets.
const NAMES: u64 = 12;
/// As often as checkpoints may be published, so that kills meet every step of it.
const PUBLISH: [&str; 4] = ["--set", "ledger.checkpoint_interval_ms=100", "--set", "log.filter=off"];

/// How much of what happened.
#[derive(Debug, Default, Clone)]
pub struct Done {
    pub events: u64,
    pub erasures: u64,
    pub unanswered_erasures: u64,
    pub kills: u64,
    pub copies_put_back: u64,
    pub backups: u64,
    pub backups_restored: u64,
    pub disks_lost: u64,
    pub events_lost_with_alarm: u64,
    pub flips: harm::Flips,
    pub discarded_writes: u64,
}

impl Done {
    pub fn add(&mut self, other: &Done) {
        self.events += other.events;
        self.erasures += other.erasures;
        self.unanswered_erasures += other.unanswered_erasures;
        self.kills += other.kills;
        self.copies_put_back += other.copies_put_back;
        self.backups += other.backups;
        self.backups_restored += other.backups_restored;
        self.disks_lost += other.disks_lost;
        self.events_lost_with_alarm += other.events_lost_with_alarm;
        self.flips.add(&other.flips);
        self.discarded_writes += other.discarded_writes;
    }

    /// A campaign in which nothing happens proves nothing.
    pub fn assert_something_happened(&self) {
        let all = [self.events, self.erasures, self.kills, self.discarded_writes, self.flips.found];
        let put_back = [self.copies_put_back, self.backups, self.backups_restored, self.disks_lost];
        assert!(all.iter().chain(&put_back).all(|count| *count > 0), "{self:?}");
    }
}

pub struct House {
    seed: u64,
    runs: u64,
    dice: Dice,
    /// It has a second copy of log and vault.
    mirrored: bool,
    below: tempfile::TempDir,
    sandbox: Sandbox,
    data: PathBuf,
    runtime: tokio::runtime::Runtime,
    book: Arc<Mutex<Book>>,
    discarded: Discarded,
    done: Done,
}

impl House {
    pub fn new(seed: u64) -> House {
        let below = workplace();
        let sandbox = Sandbox::new(below.path()).unwrap();
        let data = sandbox.root().join("data");
        House {
            seed,
            runs: 0,
            dice: Dice(seed),
            mirrored: seed % 2 == 1,
            below,
            sandbox,
            data,
            runtime: runtime(),
            book: Arc::default(),
            discarded: Discarded::default(),
            done: Done::default(),
        }
    }

    /// Something happens, and then everything is looked at.
    pub fn run(&mut self) {
        self.runs += 1;
        let what = if self.runs > 1 { self.dice.below(8) } else { 7 };
        let told = ["flipped bits", if self.mirrored { "a lost disk" } else { "an older copy" }];
        let told = told.get(what as usize).unwrap_or(&"a kill");
        eprintln!("house {}, run {}: {told}", self.seed, self.runs);
        match what {
            0 => self.flip_bits(),
            1 if self.mirrored => self.lose_the_disk(),
            1 => self.put_an_older_copy_back(),
            _ => self.live_and_die(),
        }
        let served = self.serve();
        let (book, runtime) = (Arc::clone(&self.book), &self.runtime);
        runtime.block_on(check(&served, &book));
        if self.dice.below(2) == 0 {
            served.stop();
        } else {
            drop(served);
        }
        self.lose_power();
        if self.runs.is_multiple_of(4) {
            self.assert_checks();
        }
    }

    /// The last look, with the directory searched. Directories that the views remove whole, the shim does
    /// not follow: what happened there counts as durable.
    pub fn end(mut self) -> Done {
        let served = self.serve();
        self.runtime.block_on(check(&served, &self.book));
        served.stop();
        self.sandbox.discard_unsynced(Loss::All).unwrap();
        self.assert_checks();
        let book = self.book.lock().unwrap();
        let below = self.data.parent().unwrap();
        let needles = book.gone.iter().flat_map(|(handle, _)| harm::spellings(handle)).collect::<Vec<_>>();
        let holding = harm::holding(below, &needles);
        let traces: Vec<&String> = book
            .gone
            .iter()
            .map(|(handle, _)| handle)
            .filter(|one| !harm::holding(below, &harm::spellings(one)).is_empty())
            .collect();
        assert_eq!(holding, Vec::<String>::new(), "house {}: {traces:?} of {:?}", self.seed, book.gone.len());
        self.done.events = book.acknowledged.len() as u64;
        self.done.discarded_writes = self.discarded.writes as u64;
        self.done.clone()
    }

    fn serve(&self) -> Served {
        let mut command = Served::command(&self.data);
        Served::spawn(self.sandbox.arm(command.args(PUBLISH).args(self.settings())))
    }

    fn settings(&self) -> Vec<String> {
        let mirror = format!("mirror.directory={}", beside(&self.data, ".mirror").display());
        if self.mirrored { vec!["--set".to_owned(), mirror] } else { Vec::new() }
    }

    /// Everything that is stored agrees, second copies included.
    fn assert_checks(&self) {
        let checked = self.offline(&["fsck", "--offline"]);
        let told =
            String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "house {}: fsck ended with {}:\n{told}", self.seed, checked.status);
    }

    fn lose_power(&mut self) {
        let loss = if self.dice.below(2) == 0 { Loss::All } else { Loss::Torn(self.dice.below(1 << 32)) };
        self.discarded.add(&self.sandbox.discard_unsynced(loss).unwrap());
    }

    /// Load and erasures, until a kill at some instant.
    fn live_and_die(&mut self) {
        if self.dice.below(6) == 0 {
            let mut command = Served::command(&self.data);
            let mut child = self
                .sandbox
                .arm(command.args(PUBLISH).args(self.settings()))
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(self.dice.below(80)));
            kill(&mut child).unwrap();
            self.lose_power();
        }
        let served = self.serve();
        let (seed, address) = (self.dice.below(1 << 40), served.address().to_owned());
        let (runtime, book) = (&self.runtime, &self.book);
        let instant = Duration::from_millis(20 + self.dice.below(400));
        runtime.block_on(async {
            let client = connect(&served).await;
            let loads: Vec<_> =
                (0..2).map(|n| tokio::spawn(load(address.clone(), Arc::clone(book), seed + n))).collect();
            let officer = tokio::spawn(erase(client.clone(), Arc::clone(book), seed ^ 7));
            let backing_up = (seed % 5 == 0).then(|| {
                let client = client.clone();
                // It is killed with the service, or done before.
                tokio::spawn(async move { back_up(&client).await.is_ok() })
            });
            let watching = tokio::spawn(watch(client, Arc::clone(book)));
            tokio::time::sleep(instant).await;
            drop(served);
            for load in loads {
                load.await.unwrap();
            }
            watching.await.unwrap();
            if let Some(backing_up) = backing_up {
                self.done.backups += u64::from(backing_up.await.unwrap());
            }
            let (erased, unanswered) = officer.await.unwrap();
            self.done.erasures += erased;
            self.done.unanswered_erasures += unanswered;
        });
        self.done.kills += 1;
        self.lose_power();
    }

    /// The directory as it was some time ago comes back, from a copy or from a backup. What is missing is
    /// named, nothing is signed, and after the operator's word the log goes on under the next name.
    fn put_an_older_copy_back(&mut self) {
        let older = match self.dice.below(2) {
            0 => {
                let older = self.data.with_file_name("older");
                copy(&self.data, &older);
                Older::Copy(older)
            }
            _ => Older::Backup(self.back_up()),
        };
        self.live_and_die();
        let served = self.serve();
        let published = self.runtime.block_on(async {
            let client = connect(&served).await;
            settle(&client, &self.book).await;
            let request = pb::PublishCheckpointRequest {};
            let published = client.ledger().publish_checkpoint(request).await.unwrap().into_inner();
            published.checkpoint.unwrap().tree_size
        });
        served.stop();
        std::fs::remove_dir_all(&self.data).unwrap();
        match older {
            Older::Copy(older) => {
                copy(&older, &self.data);
                std::fs::remove_dir_all(&older).unwrap();
                self.done.copies_put_back += 1;
            }
            Older::Backup(directory) => {
                let from = directory.to_string_lossy().into_owned();
                let restored = self.offline(&["restore", "--from", &from]);
                assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
                self.done.backups_restored += 1;
            }
        }
        // Done behind the shim's back: it counts as durable.
        self.sandbox.forget().unwrap();

        let served = self.serve();
        let have = self.runtime.block_on(async {
            let client = connect(&served).await;
            let status = status(&client).await;
            let have = status.log.unwrap().head;
            let alarm = status.alarms.iter().find(|alarm| alarm.code == "ledger_diverged");
            assert_eq!(alarm.is_some(), have < published, "{have} of {published}: {alarm:?}");
            let request = pb::PublishCheckpointRequest {};
            assert_eq!(client.ledger().publish_checkpoint(request).await.is_err(), have < published);
            have
        });
        served.stop();
        if have < published {
            let told = self.offline(&["recover"]);
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            assert!(told.contains(&format!("positions {have} to {}", published - 1)), "{told}");
            let done = self.offline(&["recover", "--yes"]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        self.sandbox.forget().unwrap();
        let lost = self.book.lock().unwrap().cut(have);
        self.done.events_lost_with_alarm += lost.len() as u64;
        // Their emitters send them again, as they do whatever was not answered.
        let again: Vec<pb::Event> = lost;
        if !again.is_empty() {
            let mut book = self.book.lock().unwrap();
            again.chunks(20).for_each(|some| book.open.push(some.to_vec()));
        }
    }

    /// The first disk is lost in the middle of work. The second has everything that anybody was told of.
    fn lose_the_disk(&mut self) {
        self.live_and_die();
        std::fs::remove_dir_all(&self.data).unwrap();
        let mirror = beside(&self.data, ".mirror").to_string_lossy().into_owned();
        let restored = self.offline(&["restore", "--from", &mirror]);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        self.sandbox.forget().unwrap();
        self.done.disks_lost += 1;
        let served = self.serve();
        let status = self.runtime.block_on(async { status(&connect(&served).await).await });
        let named = ["ledger_diverged", "mirror_failing", "log_read_only"];
        let wrong: Vec<_> =
            status.alarms.iter().filter(|alarm| named.contains(&alarm.code.as_str())).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        served.stop();
        self.sandbox.forget().unwrap();
    }

    /// A backup, made while events arrive and people are erased.
    fn back_up(&mut self) -> PathBuf {
        let served = self.serve();
        let (seed, address) = (self.dice.below(1 << 40), served.address().to_owned());
        let (runtime, book) = (&self.runtime, &self.book);
        let made = runtime.block_on(async {
            let client = connect(&served).await;
            settle(&client, book).await;
            let loading = tokio::spawn(load(address, Arc::clone(book), seed));
            let officer = tokio::spawn(erase(client.clone(), Arc::clone(book), seed ^ 7));
            let made = back_up(&client).await.unwrap();
            loading.await.unwrap();
            self.done.erasures += officer.await.unwrap().0;
            made
        });
        served.stop();
        self.sandbox.forget().unwrap();
        self.done.backups += 1;
        beside(&self.data, ".backups").join(made)
    }

    /// A harmed copy is refused, or found out, or answers as before.
    fn flip_bits(&mut self) {
        let copied = self.data.with_file_name("harmed");
        for suffix in ["", ".outside"] {
            copy(&beside(&self.data, suffix), &beside(&copied, suffix));
        }
        std::fs::copy(self.data.with_extension("keyring"), copied.with_extension("keyring")).unwrap();
        let flips = harm::flip(&copied, &mut self.dice);
        let checked = custody(&copied, &["fsck", "--offline"]);
        if checked.status.success() {
            let served = Served::start(&copied);
            self.runtime.block_on(check_reading(&served, &self.book));
            drop(served);
            self.done.flips.without_effect += flips;
        } else {
            let told = String::from_utf8_lossy(&checked.stdout).into_owned()
                + &String::from_utf8_lossy(&checked.stderr);
            let refused = checked.status.code().is_some_and(|code| code != 101);
            assert!(refused && !told.contains("panicked"), "{}: {told}", checked.status);
            self.done.flips.found += flips;
        }
        for suffix in ["", ".outside"] {
            std::fs::remove_dir_all(beside(&copied, suffix)).unwrap();
        }
        std::fs::remove_file(copied.with_extension("keyring")).unwrap();
        self.sandbox.forget().unwrap();
    }

    fn offline(&self, args: &[&str]) -> Output {
        let settings = self.settings();
        let args: Vec<&str> = args.iter().copied().chain(settings.iter().map(String::as_str)).collect();
        custody(&self.data, &args)
    }
}

impl Drop for House {
    /// What failed can be looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.below.disable_cleanup(true);
            eprintln!("house {} is kept in {}", self.seed, self.below.path().display());
        }
    }
}

fn custody(data: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(args)
        .arg("--data-dir")
        .arg(data)
        .arg("--keyring")
        .arg(data.with_extension("keyring"))
        .output()
        .unwrap()
}

fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// What a directory is put back from.
enum Older {
    Copy(PathBuf),
    Backup(PathBuf),
}

/// The name of the backup's directory; an error where the service ends before it is whole.
async fn back_up(client: &Client) -> Result<String, tonic::Status> {
    let mut news = client.backups().create_backup(pb::CreateBackupRequest {}).await?.into_inner();
    while let Some(answer) = news.message().await? {
        if let Some(pb::create_backup_response::Message::Backup(made)) = answer.message {
            return Ok(Path::new(&made.directory).file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    Err(tonic::Status::unavailable("it ended"))
}

/// Offers events about a few people until the service is gone.
async fn load(address: String, book: Arc<Mutex<Book>>, seed: u64) {
    let Ok(client) = Remote::local(format!("http://{address}")).connect().await else { return };
    let mut dice = Dice(seed);
    for _ in 0..40 {
        let batch: Vec<pb::Event> =
            (0..1 + dice.below(4)).map(|_| collected(&format!("person-{}", dice.below(NAMES)))).collect();
        let Ok(outcomes) = send_all(&client, &batch).await else {
            book.lock().unwrap().open.push(batch);
            return;
        };
        let mut book = book.lock().unwrap();
        for (event, outcome) in batch.into_iter().zip(&outcomes) {
            book.took(event, receipt(outcome).clone());
        }
    }
}

/// Erases somebody now and then. Says how many were, and how many answers never came.
async fn erase(client: Client, book: Arc<Mutex<Book>>, seed: u64) -> (u64, u64) {
    let mut dice = Dice(seed);
    let (mut erased, mut unanswered) = (0, 0);
    for _ in 0..dice.below(3) {
        let name = format!("person-{}", dice.below(NAMES));
        let request = pb::FindSubjectRequest { identifier: Some(crate::support::events::account(&name)) };
        let Ok(answer) = client.subjects().find_subject(request).await else { break };
        let Some(candidate) = answer.into_inner().candidates.into_iter().next() else { continue };
        {
            let mut book = book.lock().unwrap();
            let known = book.names.entry(name.clone()).or_default();
            // Others speak of the person meanwhile.
            (known.asked, known.blurred) = (true, true);
        }
        let request = pb::EraseSubjectsRequest {
            subjects: vec![subject_name(&name)],
            cause: pb::IdentityErasureCause::Operator as i32,
            evidence_too: true,
            ..Default::default()
        };
        match client.erasures().erase_subjects(request).await {
            Ok(answer) => {
                erased += 1;
                let mut book = book.lock().unwrap();
                let done = answer.into_inner().erasures.remove(0);
                let handle = candidate.subject.parse().unwrap();
                assert_eq!(custody::record::tomb(handle).0[..], done.tomb[..], "somebody else was erased");
                book.gone.push((candidate.subject, done.tomb.to_vec()));
                book.names.entry(name).or_default().asked = false;
            }
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(_) => {
                unanswered += 1;
                break;
            }
        }
    }
    (erased, unanswered)
}

/// Keeps checkpoints that it is given, until the service is gone.
async fn watch(client: Client, book: Arc<Mutex<Book>>) {
    let mut ledger = client.ledger();
    while let Ok(answer) = ledger.get_checkpoint(pb::GetCheckpointRequest::default()).await {
        let checkpoint = answer.into_inner().checkpoint.unwrap();
        let published = &mut book.lock().unwrap().published;
        if published.last().is_none_or(|last| last.tree_size != checkpoint.tree_size) {
            published.push(checkpoint);
        }
    }
}

async fn settle(client: &Client, book: &Mutex<Book>) {
    let mut taken = std::mem::take(&mut *book.lock().unwrap());
    taken.settle(client).await;
    *book.lock().unwrap() = taken;
}

/// Everything that must hold.
async fn check(served: &Served, book: &Mutex<Book>) {
    let client = connect(served).await;
    let mut taken = std::mem::take(&mut *book.lock().unwrap());
    taken.settle(&client).await;
    let status = status(&client).await;
    // The views' files are not synced: what the loss of power leaves of them may have to be made anew.
    let told: Vec<_> = status.alarms.iter().filter(|alarm| alarm.code != "views_stale").collect();
    assert!(told.is_empty(), "{told:?}");
    let head = head(&client).await;
    taken.check_people(&client, head).await;
    unblur(&client, &mut taken).await;
    taken.check_receipts(&client).await;
    taken.check_published(&client).await;
    *book.lock().unwrap() = taken;
}

/// The same, without sending anything.
async fn check_reading(served: &Served, book: &Mutex<Book>) {
    let client = connect(served).await;
    let mut taken = std::mem::take(&mut *book.lock().unwrap());
    let head = head(&client).await;
    taken.check_people(&client, head).await;
    taken.check_published(&client).await;
    *book.lock().unwrap() = taken;
}

/// Whose events nobody can tell is erased, so that from here on everybody knows.
async fn unblur(client: &Client, book: &mut Book) {
    let blurred: Vec<String> = book
        .names
        .iter()
        .filter(|(_, known)| known.blurred || known.asked)
        .map(|(name, _)| name.clone())
        .collect();
    for name in blurred {
        let handle = found(client, &name).await;
        let request = pb::EraseSubjectsRequest {
            subjects: vec![subject_name(&name)],
            cause: pb::IdentityErasureCause::Operator as i32,
            evidence_too: true,
            ..Default::default()
        };
        let erased = client.erasures().erase_subjects(request).await;
        if let (Ok(erased), Some(handle)) = (&erased, handle) {
            book.gone.push((handle, erased.get_ref().erasures[0].tomb.to_vec()));
        }
        assert!(
            erased.as_ref().err().is_none_or(|status| status.code() == tonic::Code::NotFound),
            "{name}: {erased:?}, {:?}",
            client
                .subjects()
                .find_subject(pb::FindSubjectRequest {
                    identifier: Some(crate::support::events::account(&name))
                })
                .await
        );
        book.erased(&name);
    }
}

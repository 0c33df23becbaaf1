//! The thread that owns the file: as a follower it reads what the leader wrote, as the leader it writes.
//!
//! Promises: an append is answered after it is on the disk; appends that wait share one `fdatasync`; they
//! are taken in the order in which they come. Does not: replicate, all nodes look at one file, and a
//! follower may show what the leader has written and not yet synced. A crash may lose appends that were not
//! answered, each wholly or not at all. An error of the disk ends the process.

use crate::cluster::{Cluster, Leadership};
use crate::decide::{self, Recent, Verdict};
use crate::frame::{self, StoredAppend};
use crate::log::Log;
use crate::wire::{Expected, ProposedMessage, Uuid};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// A follower looks for new frames, and for a free lock, this often.
const TAIL_EVERY: Duration = Duration::from_millis(2);
const LEAD_EVERY: Duration = Duration::from_millis(50);
/// A node that resigned lets others lead for this long.
const REST: Duration = Duration::from_millis(1_200);
/// A group of appends is written when it is this long, though more are waiting.
const GROUP_BYTES: usize = 4 << 20;
/// After so many events the log gets one of the kind that real nodes write for themselves.
const STATS_EVERY: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Starting,
    Follower,
    Leader,
}

pub struct Append {
    pub stream: Bytes,
    pub expected: Expected,
    pub events: Vec<ProposedMessage>,
}

pub enum Command {
    Append(Append, oneshot::Sender<Outcome>),
    /// Answers whether this node led.
    Resign(oneshot::Sender<bool>),
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Stored { last_revision: Option<u64>, position: Option<u64> },
    Wrong { revisions: u64 },
    TooLarge,
    Invalid(String),
    TimedOut,
    NotLeader,
}

pub struct Keeper {
    cluster: Arc<Cluster>,
    log: Arc<Log>,
    role: watch::Sender<Role>,
    commands: Receiver<Command>,
    file: File,
    /// Where the next frame starts.
    end: u64,
    recent: Recent,
    /// No leadership before this.
    rest_until: Instant,
}

/// Appends that are staged in memory and wait for the disk together.
#[derive(Default)]
struct Group {
    buffer: Vec<u8>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

impl Keeper {
    pub fn open(
        cluster: Arc<Cluster>,
        log: Arc<Log>,
        role: watch::Sender<Role>,
        commands: Receiver<Command>,
    ) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(cluster.log_path())?;
        let (recent, rest_until) = (Recent::default(), Instant::now());
        let end = frame::MARK.len() as u64;
        Ok(Self { cluster, log, role, commands, file, end, recent, rest_until })
    }

    /// Runs until the process ends or the disk fails.
    pub fn run(mut self) -> io::Result<()> {
        let cluster = Arc::clone(&self.cluster);
        loop {
            self.catch_up()?;
            if Instant::now() >= self.rest_until
                && let Some(leadership) = cluster.try_lead()?
            {
                let resigned = self.lead(&leadership)?;
                self.rest_until = Instant::now() + REST;
                leadership.renounce()?;
                self.role.send_replace(Role::Follower);
                drop(leadership);
                let _ = resigned.send(true);
            }
            self.role.send_if_modified(|role| std::mem::replace(role, Role::Follower) != Role::Follower);
            let look_again = Instant::now() + LEAD_EVERY;
            while Instant::now() < look_again {
                self.follow()?;
            }
        }
    }

    /// Reads everything that is whole in the file.
    fn catch_up(&mut self) -> io::Result<()> {
        loop {
            let pass = frame::read(&self.file, self.end)?;
            if pass.appends.is_empty() {
                return Ok(());
            }
            let mut log = self.log.write();
            for (offset, append) in &pass.appends {
                log.add(append, *offset);
            }
            drop(log);
            self.end = pass.next;
            self.log.publish();
        }
    }

    fn follow(&mut self) -> io::Result<()> {
        match self.commands.recv_timeout(TAIL_EVERY) {
            Ok(Command::Append(_, answer)) => drop(answer.send(Outcome::NotLeader)),
            Ok(Command::Resign(answer)) => drop(answer.send(false)),
            Err(RecvTimeoutError::Timeout) => self.catch_up()?,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TAIL_EVERY),
        }
        Ok(())
    }

    /// Leads until somebody asks to resign, and returns who asked.
    fn lead(&mut self, leadership: &Leadership<'_>) -> io::Result<oneshot::Sender<bool>> {
        self.catch_up()?;
        self.cut_torn_end()?;
        self.recent = Recent::default();
        let mut group = Group::default();
        self.stage_stats(&mut group);
        self.flush(&mut group)?;
        leadership.announce()?;
        self.role.send_replace(Role::Leader);
        loop {
            // Cannot fail: the node that holds the other end lives as long as the process.
            let mut command = self.commands.recv().map_err(io::Error::other)?;
            loop {
                match command {
                    Command::Append(append, answer) => self.stage(append, answer, &mut group),
                    Command::Resign(answer) => {
                        self.flush(&mut group)?;
                        return Ok(answer);
                    }
                }
                match self.commands.try_recv() {
                    Ok(next) if group.buffer.len() < GROUP_BYTES => command = next,
                    Ok(next) => {
                        self.flush(&mut group)?;
                        command = next;
                    }
                    Err(_) => break,
                }
            }
            self.flush(&mut group)?;
        }
    }

    fn cut_torn_end(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < self.end {
            self.file.write_all_at(frame::MARK, 0)?;
            return self.file.sync_data();
        }
        if length > self.end {
            if !frame::is_torn_end(&self.file, self.end)? {
                return Err(io::Error::other(format!("the log is damaged at {}", self.end)));
            }
            self.file.set_len(self.end)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn stage(&mut self, append: Append, answer: oneshot::Sender<Outcome>, group: &mut Group) {
        let log = self.log.write();
        let verdict = decide::decide(&log, &self.recent, &append.stream, append.expected, &append.events);
        drop(log);
        let outcome = match verdict {
            Verdict::Known { last_revision, position } => Outcome::Stored { last_revision, position },
            Verdict::Wrong { revisions } => Outcome::Wrong { revisions },
            Verdict::Write { first_revision } => {
                self.recent.remember(&append.events, first_revision);
                let last_revision = Some(first_revision + append.events.len() as u64 - 1);
                let position = Some(self.add(append.stream, append.events, first_revision, group));
                Outcome::Stored { last_revision, position }
            }
        };
        group.answers.push((answer, outcome));
    }

    /// Adds a frame to the group and its events to the log, and returns the last one's position.
    fn add(
        &mut self,
        stream: Bytes,
        events: Vec<ProposedMessage>,
        first_revision: u64,
        group: &mut Group,
    ) -> u64 {
        let append = StoredAppend { stream, first_revision, created_ticks: ticks(), events };
        let offset = self.end + group.buffer.len() as u64;
        frame::write(&append, &mut group.buffer);
        let mut log = self.log.write();
        let before = log.len();
        log.add(&append, offset);
        let crossed = before / STATS_EVERY < log.len() / STATS_EVERY;
        drop(log);
        if crossed {
            self.stage_stats(group);
        }
        offset + append.events.len() as u64 - 1
    }

    fn stage_stats(&mut self, group: &mut Group) {
        let stream = Bytes::from(format!("$stats-{}", self.cluster.own()));
        let first_revision = self.log.write().revisions(&stream);
        let metadata = [("type", "$statsCollected"), ("content-type", "application/json")];
        let message = ProposedMessage {
            id: Some(Uuid::text(uuid::Uuid::now_v7())),
            metadata: HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value.to_owned()))),
            custom_metadata: Bytes::new(),
            data: Bytes::from_static(br#"{"proc-cpu":0}"#),
        };
        self.add(stream, vec![message], first_revision, group);
    }

    /// Writes the group, waits for the disk, shows it to readers and answers the writers.
    fn flush(&mut self, group: &mut Group) -> io::Result<()> {
        if !group.buffer.is_empty() {
            self.file.write_all_at(&group.buffer, self.end)?;
            self.file.sync_data()?;
            self.end += group.buffer.len() as u64;
            group.buffer.clear();
            self.log.publish();
        }
        for (answer, outcome) in group.answers.drain(..) {
            // Who asked may be gone.
            let _ = answer.send(outcome);
        }
        Ok(())
    }
}

fn ticks() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 10_000_000 + u64::from(since.subsec_nanos()) / 100
}

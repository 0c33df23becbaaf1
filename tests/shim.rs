//! The crash machinery itself: what was synced survives, what was not is gone, and a program that
//! does not sync is found out. The process under test is this test binary, started again.

mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use fjall::{Database, KeyspaceCreateOptions};
use rusqlite::Connection;
use support::{
    crash::{Dice, Fault, Sandbox, kill},
    rewind::{Discarded, Loss},
};

const ROLE: &str = "SHIM_TEST_ROLE";
const MARK: &str = "> ";

// --- the process under test ---

/// Not a test: the entry of the processes that the tests below start and kill.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let (role, argument) = role.split_once('\n').unwrap_or((&role, ""));
    match role {
        "script" => run_script(argument),
        "sqlite" => write_rows(argument),
        "fjall" => write_pairs(),
        "server" => serve(argument == "sync"),
        other => panic!("no such role: {other}"),
    }
}

fn say(what: impl std::fmt::Display) {
    println!("{MARK}{what}");
}

/// Carries out steps, says `ok` or the errno after each, and waits to be killed.
fn run_script(script: &str) {
    let mut files = BTreeMap::new();
    for line in script.lines() {
        match step(line, &mut files) {
            Ok(()) => say("ok"),
            Err(e) => say(e.raw_os_error().unwrap_or(-1)),
        }
    }
    say("end");
    wait_for_the_end();
}

/// Writes byte after byte until a sync begun meanwhile has returned.
fn write_while_syncing(file: &File) -> io::Result<()> {
    let synced = file.try_clone()?;
    let sync = std::thread::spawn(move || synced.sync_data());
    let mut at = 0;
    while !sync.is_finished() {
        file.write_all_at(b"r", at)?;
        at += 1;
    }
    sync.join().expect("a sync that does not panic")
}

/// Until the parent is gone, unless it kills first.
fn wait_for_the_end() {
    io::stdin().read_to_end(&mut Vec::new()).expect("the parent's end");
}

fn step(line: &str, files: &mut BTreeMap<String, File>) -> io::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut file = |name: &str| -> io::Result<File> {
        if !files.contains_key(name) {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(name)?;
            files.insert(name.to_owned(), file);
        }
        files[name].try_clone()
    };
    match words[..] {
        // write FILE AT LETTER COUNT
        ["write", name, at, letter, count] => {
            let bytes = letter.repeat(count.parse().expect("a count"));
            file(name)?.write_all_at(bytes.as_bytes(), at.parse().expect("an offset"))
        }
        ["append", name, text] => OpenOptions::new().append(true).open(name)?.write_all(text.as_bytes()),
        ["replace", name, text] => fs::write(name, text),
        ["resize", name, size] => file(name)?.set_len(size.parse().expect("a size")),
        ["sync", name] => file(name)?.sync_data(),
        ["syncdir", name] => File::open(name)?.sync_all(),
        ["rename", from, to] => fs::rename(from, to),
        ["remove", name] => fs::remove_file(name),
        ["mkdir", name] => fs::create_dir(name),
        ["rmtree", name] => fs::remove_dir_all(name),
        ["copy", from, to] => fs::copy(from, to).map(drop),
        ["link", from, to] => fs::hard_link(from, to),
        ["race", name] => write_while_syncing(&file(name)?),
        _ => panic!("no such step: {line}"),
    }
}

/// Commits one row after another, from behind the last one on.
fn write_rows(synchronous: &str) {
    let db = Connection::open("rows.db").expect("the database");
    db.pragma_update(None, "synchronous", synchronous).expect("a pragma");
    for row in last_row(&db) + 1..100_000 {
        db.execute("INSERT INTO rows VALUES (?1, randomblob(300))", [row]).expect("a commit");
        say(row);
    }
}

fn last_row(db: &Connection) -> i64 {
    db.query_row("SELECT coalesce(max(n), 0) FROM rows", [], |row| row.get(0)).expect("the last row")
}

/// Commits atomic batches that are never synced: the same numbers under two keyspaces, from behind
/// the last ones on.
fn write_pairs() {
    let (db, left, right) = open_pairs(Path::new("pairs")).expect("the store");
    let start = count_pairs(&left).expect("a scan").min(count_pairs(&right).expect("a scan"));
    for first in (start..1_000_000).step_by(BATCH as usize) {
        let mut batch = db.batch();
        for n in first..first + BATCH {
            batch.insert(&left, n.to_be_bytes(), noise(n));
            batch.insert(&right, n.to_be_bytes(), noise(n));
        }
        batch.commit().expect("a commit");
        say(first + BATCH);
    }
}

const BATCH: u64 = 8;

/// Bytes that no compression shortens, so that a batch spans several pages.
fn noise(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..2000).map(|_| dice.below(256) as u8).collect()
}

type Pairs = (Database, fjall::Keyspace, fjall::Keyspace);

fn open_pairs(path: &Path) -> fjall::Result<Pairs> {
    let db = Database::builder(path).open()?;
    // Small enough for several flushes in each run.
    let options = || KeyspaceCreateOptions::default().max_memtable_size(1024 * 1024);
    let (left, right) = (db.keyspace("left", options)?, db.keyspace("right", options)?);
    Ok((db, left, right))
}

/// How many pairs there are; panics if they are not the first ones, or not as they were written.
fn count_pairs(keyspace: &fjall::Keyspace) -> fjall::Result<u64> {
    let mut count = 0;
    for guard in keyspace.iter() {
        let (key, value) = guard.into_inner()?;
        assert_eq!(u64::from_be_bytes(key[..].try_into().expect("8 bytes of a key")), count, "a hole");
        assert!(value[..] == noise(count), "a wrong value");
        count += 1;
    }
    assert_eq!(count % BATCH, 0, "half a batch in one keyspace");
    Ok(count)
}

/// Answers each byte after having written it, and synced it if told to.
fn serve(syncs: bool) {
    let log = File::create("server.log").expect("the log");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    say(listener.local_addr().expect("an address"));
    let (mut client, _) = listener.accept().expect("a client");
    let mut byte = [0];
    let mut at = 0;
    while client.read_exact(&mut byte).is_ok() {
        log.write_all_at(&byte, at).expect("a write");
        if syncs {
            log.sync_data().expect("a sync");
        }
        client.write_all(b"ack").expect("an answer");
        at += 1;
    }
}

// --- the tests' side ---

struct Running {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(sandbox: &Sandbox, role: &str, argument: &str) -> Running {
        let mut command = Command::new(env::current_exe().expect("this test binary"));
        command
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, format!("{role}\n{argument}"))
            .current_dir(sandbox.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = sandbox.arm(&mut command).spawn().expect("a child");
        let said = BufReader::new(child.stdout.take().expect("a piped output")).lines();
        Running { child, said }
    }

    /// The next thing that the child says; `None` when it has ended.
    fn hear(&mut self) -> Option<String> {
        let mut lines = self.said.by_ref().map(|line| line.expect("a line"));
        lines.find_map(|line| line.split_once(MARK).map(|(_, said)| said.to_owned()))
    }

    /// Kills it; returns what it had said until then and was not heard yet.
    fn kill(mut self) -> Vec<String> {
        kill(&mut self.child).expect("a child to kill");
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = kill(&mut self.child);
    }
}

fn sandbox() -> (tempfile::TempDir, Sandbox) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sandbox = Sandbox::new(dir.path()).expect("a sandbox");
    (dir, sandbox)
}

/// Runs a script to its end, kills the process, discards; returns what the steps said.
fn crash_after(sandbox: &Sandbox, script: &str, loss: Loss) -> (Vec<String>, Discarded) {
    let mut child = Running::start(sandbox, "script", script);
    let said = std::iter::from_fn(|| child.hear().filter(|said| said != "end")).collect::<Vec<_>>();
    assert_eq!(said.len(), script.lines().count(), "the script did not reach its end");
    child.kill();
    (said, sandbox.discard_unsynced(loss).expect("a discard"))
}

/// Every file below the root with its contents.
fn files(sandbox: &Sandbox) -> BTreeMap<String, String> {
    fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                found.insert(format!("{name}/"), String::new());
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name, fs::read_to_string(entry.path()).expect("text"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(sandbox.root(), "", &mut found);
    found
}

/// The state after a script and a crash that loses all it can.
#[track_caller]
fn assert_left(before: &[(&str, &str)], script: &str, after: &[(&str, &str)]) -> Discarded {
    let (_dir, sandbox) = sandbox();
    for (name, text) in before {
        fs::write(sandbox.root().join(name), text).expect("a file");
    }
    let (said, discarded) = crash_after(&sandbox, script, Loss::All);
    assert!(said.iter().all(|said| said == "ok"), "a step failed: {said:?}");
    let after: BTreeMap<_, _> = after.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    assert_eq!(files(&sandbox), after, "{discarded:?}");
    assert_eq!(discarded.unexplained, 0);
    discarded
}

#[test]
fn synced_writes_survive_and_others_are_gone() {
    let script = "write new 0 a 10\nsync new\nwrite new 5 b 10\nwrite old 2 c 2\nwrite old 8 c 4";
    let discarded =
        assert_left(&[("old", "0123456789")], script, &[("new", "aaaaaaaaaa"), ("old", "0123456789")]);
    assert_eq!((discarded.writes, discarded.bytes), (3, 16));
}

#[test]
fn a_sync_covers_its_own_file_only() {
    let script = "write x 0 a 3\nwrite y 0 a 3\nsync x\nsyncdir .\nappend y b\nappend x b";
    assert_left(&[], script, &[("x", "aaa"), ("y", "")]);
}

#[test]
fn sizes_come_back() {
    let before = [("cut", "0123456789"), ("grown", "01"), ("emptied", "full"), ("kept", "0123456789")];
    let script = "resize cut 3\nresize grown 100\nreplace emptied x\nresize kept 4\nsync kept\nresize kept 9";
    let after = [("cut", "0123456789"), ("grown", "01"), ("emptied", "full"), ("kept", "0123")];
    let discarded = assert_left(&before, script, &after);
    assert_eq!(discarded.resizes, 4);
}

#[test]
fn names_wait_for_their_directory() {
    let before = [("a", "A"), ("b", "B"), ("c", "C")];
    assert_left(&before, "rename a b\nremove c", &before);
    assert_left(&before, "rename a b\nsyncdir .\nremove c", &[("b", "A"), ("c", "C")]);
    assert_left(&before, "rename a b\nremove c\nsyncdir .", &[("b", "A")]);
}

#[test]
fn a_new_file_is_durable_with_its_own_sync_but_its_new_name_is_not() {
    let script = "mkdir d\nwrite d/tmp 0 n 4\nsync d/tmp\nrename d/tmp d/final\nmkdir e\nwrite lost 0 x 1";
    assert_left(&[], script, &[("d/", ""), ("d/tmp", "nnnn")]);
    let script = format!("{script}\nsyncdir d");
    assert_left(&[], &script, &[("d/", ""), ("d/final", "nnnn")]);
}

#[test]
fn a_replaced_file_comes_back_with_its_contents() {
    let script = "write f 0 x 3\nremove f\nreplace f new\nremove f\nreplace g g\nrename g f\nlink f h";
    assert_left(&[("f", "0123456789")], script, &[("f", "0123456789")]);
}

#[test]
fn trees_and_copies_are_recorded() {
    let script =
        "mkdir d\nmkdir d/e\nreplace d/e/f text\nsync d/e/f\nsyncdir d/e\nsyncdir d\nrmtree d\ncopy a b";
    let after = [("a", "A"), ("d/", ""), ("d/e/", ""), ("d/e/f", "text")];
    assert_left(&[("a", "A")], script, &after);
}

#[test]
fn a_torn_loss_leaves_mixtures_and_never_touches_what_was_synced() {
    let pages = 64;
    let script = format!("write f 0 a {0}\nsync f\nwrite f 0 b {0}\nwrite f 0 c {0}", pages * 4096);
    let mut mixtures = 0;
    for seed in 0..6 {
        let (_dir, sandbox) = sandbox();
        let (_, discarded) = crash_after(&sandbox, &script, Loss::Torn(seed));
        let bytes = fs::read(sandbox.root().join("f")).expect("the file");
        assert_eq!(bytes.len(), pages * 4096);
        let unit = if seed % 2 == 0 { 4096 } else { 512 };
        assert!(bytes.chunks(unit).all(|piece| piece.iter().all(|b| *b == piece[0])), "a torn piece");
        let letters = b"abc".map(|letter| bytes.contains(&letter));
        mixtures += usize::from(letters == [true, true, true]);
        assert_eq!(discarded.bytes + discarded.kept_bytes, 2 * bytes.len() as u64);
    }
    assert_eq!(mixtures, 6);
}

#[test]
fn a_torn_loss_keeps_names_in_their_order() {
    let mut kept = Vec::new();
    for seed in 0..12 {
        let (_dir, sandbox) = sandbox();
        crash_after(&sandbox, "mkdir a\nmkdir a/b\nmkdir a/b/c\nrename a d", Loss::Torn(seed));
        kept.push(files(&sandbox).into_keys().collect::<Vec<_>>().join(" "));
    }
    let possible = ["", "a/", "a/ a/b/", "a/ a/b/ a/b/c/", "d/ d/b/ d/b/c/"];
    assert!(kept.iter().all(|k| possible.contains(&k.as_str())), "{kept:?}");
    assert!(kept.iter().any(|k| *k != kept[0]), "all the same: {kept:?}");
}

#[test]
fn what_a_failed_sync_should_have_covered_is_lost_for_good() {
    let (_dir, sandbox) = sandbox();
    fs::write(sandbox.root().join("f"), "").expect("a file");
    sandbox.set_faults(&[Fault::FailSyncs { times: 2, path: "f".into() }]).expect("faults");
    let script = "write f 0 a 4096\nsync f\nsync f\nsync f\nwrite f 4096 b 4096\nsync f\nsync other";
    let mut child = Running::start(&sandbox, "script", script);
    let said: Vec<_> = std::iter::from_fn(|| child.hear().filter(|said| said != "end")).collect();
    assert_eq!(said, ["ok", "5", "5", "ok", "ok", "ok", "ok"]);
    child.kill();
    assert_eq!(sandbox.trace().expect("a trace").faults(), [5, 5]);
    let discarded = sandbox.discard_unsynced(Loss::All).expect("a discard");
    let left = fs::read(sandbox.root().join("f")).expect("the file");
    assert!(left[..4096].iter().all(|b| *b == 0) && left[4096..].iter().all(|b| *b == b'b'));
    assert_eq!((left.len(), discarded.bytes), (8192, 4096));
}

#[test]
fn what_is_written_during_a_sync_waits_for_the_next() {
    let (_dir, sandbox) = sandbox();
    sandbox.set_faults(&[Fault::SlowSyncs { ms: 300, path: "f".into() }]).expect("faults");
    let (said, discarded) = crash_after(&sandbox, "race f", Loss::All);
    assert_eq!(said, ["ok"]);
    assert!(discarded.writes > 0, "a sync covered what was written while it ran");
}

#[test]
fn a_full_disk_refuses_growth_until_there_is_room() {
    let (_dir, sandbox) = sandbox();
    fs::write(sandbox.root().join("f"), "0123456789").expect("a file");
    sandbox.set_faults(&[Fault::FullAfter { bytes: 5 }]).expect("faults");
    let script = "write f 5 x 8\nwrite f 0 y 10\nwrite f 10 z 9\nreplace new text\nmkdir d\nresize f 99\nwrite f 0 w 3";
    let (said, _) = crash_after(&sandbox, script, Loss::Torn(4));
    assert_eq!(said, ["ok", "ok", "28", "28", "28", "28", "ok"]);
    assert!(!sandbox.root().join("new").exists());
    sandbox.set_faults(&[]).expect("faults");
    let (said, _) = crash_after(&sandbox, "write f 10 z 9\nreplace new text", Loss::All);
    assert_eq!(said, ["ok", "ok"]);
}

#[test]
fn a_program_is_killed_before_the_change_that_was_chosen() {
    let (_dir, sandbox) = sandbox();
    // A file is made, is born, is written to; then it would be written to again.
    sandbox.set_faults(&[Fault::KillAfter { records: 3 }]).expect("faults");
    let mut child = Running::start(&sandbox, "script", "write f 0 x 3\nwrite f 3 y 3\nwrite f 6 z 3");
    let said: Vec<_> = std::iter::from_fn(|| child.hear()).collect();
    assert_eq!(said, ["ok"]);
    assert_eq!(fs::read_to_string(sandbox.root().join("f")).expect("the file"), "xxx");
}

#[test]
fn a_trace_tells_a_server_that_syncs_from_one_that_does_not() {
    for syncs in [true, false] {
        let (_dir, sandbox) = sandbox();
        let mut child = Running::start(&sandbox, "server", if syncs { "sync" } else { "" });
        let mut server = TcpStream::connect(child.hear().expect("an address")).expect("a connection");
        for byte in 0..20 {
            server.write_all(&[byte]).expect("a request");
            server.read_exact(&mut [0; 3]).expect("an answer");
        }
        child.kill();
        let trace = sandbox.trace().expect("a trace");
        assert_eq!((trace.writes("server.log"), trace.answers().count()), (20, 20));
        assert_eq!(trace.syncs("server.log"), if syncs { 20 } else { 0 });
        assert_eq!(trace.premature("server.log").is_empty(), syncs);
        let first = trace.sent(b"ack").expect("the first answer");
        assert_eq!(trace.unsynced("server.log", 0..1, first).is_none(), syncs);
    }
}

/// Kills SQLite again and again; returns how many acknowledged rows were lost, and what was discarded.
fn crash_sqlite(synchronous: &str, rounds: u64) -> (i64, Discarded) {
    let (_dir, sandbox) = sandbox();
    let path = sandbox.root().join("rows.db");
    let db = Connection::open(&path).expect("a database");
    db.pragma_update(None, "journal_mode", "wal").expect("a pragma");
    db.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY, filler BLOB)", []).expect("a table");
    drop(db);
    let (mut lost, mut all, mut dice) = (0, Discarded::default(), Dice(7));
    for round in 0..rounds {
        let mut child = Running::start(&sandbox, "sqlite", synchronous);
        let mut acknowledged = 0;
        for _ in 0..=dice.below(60) {
            acknowledged = child.hear().expect("a row").parse().expect("a number");
        }
        let rest = child.kill();
        acknowledged = rest.last().map_or(acknowledged, |row| row.parse().expect("a number"));
        let loss = if round % 2 == 0 { Loss::All } else { Loss::Torn(round) };
        all.add(&sandbox.discard_unsynced(loss).expect("a discard"));

        let db = Connection::open(&path).expect("a database");
        if synchronous == "FULL" {
            let check: String =
                db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
            assert_eq!(check, "ok");
        }
        let rows: i64 = db.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).expect("a count");
        assert_eq!(rows, last_row(&db), "a hole among the rows");
        lost += (acknowledged - rows).max(0);
    }
    (lost, all)
}

#[test]
fn sqlite_keeps_its_promise_when_it_syncs() {
    let (lost, discarded) = crash_sqlite("FULL", 20);
    assert_eq!((lost, discarded.unexplained), (0, 0));
    assert!(!discarded.nothing(), "twenty crashes and nothing to throw away");
}

#[test]
fn sqlite_is_found_out_when_it_does_not_sync() {
    let (lost, discarded) = crash_sqlite("OFF", 1);
    assert!(lost > 0 && discarded.writes > 0, "nothing was lost: {discarded:?}");
}

/// Kills fjall again and again and opens it; returns how often it opened, and what was discarded.
///
/// What it holds then must be whole batches from the first on, in each keyspace. The two keyspaces
/// may differ: a flush writes all sealed memtables of one, also one sealed after the journal was
/// synced for that flush.
fn crash_fjall(rounds: u64, loss: impl Fn(u64) -> Loss) -> (u64, Discarded) {
    let (_dir, sandbox) = sandbox();
    let path = sandbox.root().join("pairs");
    let (mut opened, mut all, mut dice) = (0, Discarded::default(), Dice(11));
    for round in 0..rounds {
        let mut child = Running::start(&sandbox, "fjall", "");
        for _ in 0..=dice.below(120) {
            child.hear().expect("a batch");
        }
        child.kill();
        all.add(&sandbox.discard_unsynced(loss(round)).expect("a discard"));
        // With debug assertions on, a torn journal can also end in one of fjall's own.
        match std::panic::catch_unwind(|| open_pairs(&path)) {
            Ok(Ok((_db, left, right))) => {
                opened += 1;
                count_pairs(&left).expect("a scan");
                count_pairs(&right).expect("a scan");
            }
            Ok(Err(fjall::Error::JournalRecovery(_) | fjall::Error::Decompress(_))) | Err(_) => {
                fs::remove_dir_all(&path).expect("a store to throw away");
            }
            Ok(Err(other)) => panic!("an error that a torn journal does not explain: {other:?}"),
        }
    }
    (opened, all)
}

#[test]
fn fjall_unsynced_opens_with_a_prefix_when_the_tail_is_lost() {
    let (opened, discarded) = crash_fjall(6, |_| Loss::All);
    assert_eq!((opened, discarded.unexplained), (6, 0));
    assert!(discarded.writes > 0, "six crashes and nothing to throw away");
}

#[test]
fn fjall_unsynced_refuses_or_serves_a_prefix_when_the_tail_is_torn() {
    let (_opened, discarded) = crash_fjall(8, Loss::Torn);
    assert_eq!(discarded.unexplained, 0);
    assert!(discarded.writes > 0 && discarded.kept_bytes > 0, "nothing was torn: {discarded:?}");
}

//! Programs that others wrote check what we sign: `aics-tlog` and `openssl` our checkpoints and
//! proofs, `aics-witness` our growth; it refuses a rewritten history and an older copy.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use custody::cli::client::Client;
use custody::ledger::tlog::{VerifierKey, base64};
use custody::pb;
use support::events::{collected, connect, receipt, runtime, send_all, status, workplace};
use support::server::{Served, python};

const ORIGIN: &str = "custody.local/default/events-1";

/// A tool that `tests/run` installed beside the interpreter.
fn tool(name: &str) -> Command {
    let python = python();
    let beside = Path::new(&python).with_file_name(name);
    Command::new(if beside.exists() { beside } else { PathBuf::from(name) })
}

/// What it said, if it ended well.
fn said(command: &mut Command) -> Result<String, String> {
    let output =
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; run the tests by tests/run"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text.into_owned()) } else { Err(text.into_owned()) }
}

fn serve(data: &Path, more: &[&str]) -> Served {
    let mut command = Served::command(data);
    command.args(["--set", "ledger.checkpoint_interval_ms=0"]).args(more);
    Served::spawn(&mut command)
}

async fn grow(client: &Client, names: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|n| collected(&format!("{names}-{n}"))).collect();
    for outcome in send_all(client, &events).await.unwrap() {
        receipt(&outcome);
    }
}

async fn publish(client: &Client) -> pb::Checkpoint {
    let answer = client.ledger().publish_checkpoint(pb::PublishCheckpointRequest {}).await.unwrap();
    answer.into_inner().checkpoint.unwrap()
}

async fn vkey(client: &Client) -> String {
    let answer = client.ledger().get_checkpoint(pb::GetCheckpointRequest::default()).await.unwrap();
    answer.into_inner().verifier_keys.remove(0)
}

/// All headers, one a line: what a regulator gets.
async fn headers(client: &Client) -> Vec<u8> {
    let request = pb::ListEventsRequest {
        order: pb::Order::OldestFirst.into(),
        page_size: 1_000,
        at_least: Some(status(client).await.log.unwrap().head - 1),
        ..Default::default()
    };
    let page = client.events().list_events(request).await.unwrap().into_inner();
    assert!(page.next_page_token.is_empty());
    page.events.iter().flat_map(|event| [&event.header[..], b"\n"].concat()).collect()
}

/// A file of the test's folder.
fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn lines(hashes: &[impl AsRef<[u8]>]) -> String {
    hashes.iter().map(|hash| format!("{}\n", base64(hash.as_ref()))).collect()
}

#[test]
fn others_check_our_checkpoints_and_proofs() {
    let below = workplace();
    let served = serve(&below.path().join("data"), &[]);
    runtime().block_on(async {
        let client = connect(&served).await;
        grow(&client, "person", 299).await;
        let old = publish(&client).await;
        grow(&client, "later", 400).await;
        let new = publish(&client).await;
        let (key, folder) = (vkey(&client).await, below.path());
        let note = write(folder, "checkpoint", &new.note);
        let leaves = write(folder, "events.ndjson", headers(&client).await);
        let (size, root) = (new.tree_size.to_string(), base64(&new.root));

        let mut check = tool("aics-tlog");
        check.args(["verify-checkpoint", "--origin", ORIGIN, "--log-key", &key, "--note"]);
        said(check.arg(&note)).unwrap();
        let altered = write(folder, "altered", new.note.replacen(&size, "701", 1));
        let mut check = tool("aics-tlog");
        check.args(["verify-checkpoint", "--origin", ORIGIN, "--log-key", &key, "--note"]);
        said(check.arg(&altered)).unwrap_err();
        openssl(folder, &new.note, &key).unwrap();
        openssl(folder, &new.note.replacen(&size, "701", 1), &key).unwrap_err();

        for position in [0, 255, 256, 511, 698] {
            let event = Some(pb::get_inclusion_proof_request::Event::Position(position));
            let request = pb::GetInclusionProofRequest { event, tree_size: None };
            let proof = client.ledger().get_inclusion_proof(request).await.unwrap().into_inner();
            let file = write(folder, "inclusion", lines(&proof.hashes));
            for (index, right) in [(position, true), (position ^ 1, false)] {
                let mut check = tool("aics-tlog");
                check.args(["verify-inclusion", "--size", &size, "--root", &root, "--leaves-file"]);
                check.arg(&leaves).arg("--proof").arg(&file);
                // Its lines count from 1.
                check.args(["--leaf-line", &(position + 1).to_string(), "--index", &index.to_string()]);
                assert_eq!(said(&mut check).map_err(|why| println!("{why}")).is_ok(), right, "{position}");
            }
        }
        let request = pb::GetConsistencyProofRequest { old_size: old.tree_size, new_size: None };
        let growth = client.ledger().get_consistency_proof(request).await.unwrap().into_inner();
        let file = write(folder, "consistency", lines(&growth.hashes));
        for (old_root, right) in [(base64(&old.root), true), (root.clone(), false)] {
            let mut check = tool("aics-tlog");
            check.args(["verify-consistency", "--old-size", &old.tree_size.to_string(), "--new-size", &size]);
            check.args(["--old-root", &old_root, "--new-root", &root, "--proof"]).arg(&file);
            assert_eq!(said(&mut check).map_err(|why| println!("{why}")).is_ok(), right);
        }
    });
    served.stop();
}

/// The way without any tool of ours: the text of the note, the signature, and the key from the vkey.
fn openssl(folder: &Path, note: &str, key: &str) -> Result<String, String> {
    let (text, line) = note.split_once("\n\n").unwrap();
    let signature = line.trim().rsplit(' ').next().unwrap();
    let signature = custody::ledger::tlog::unbase64(signature).unwrap();
    let key: VerifierKey = key.parse().unwrap();
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let text = write(folder, "text", format!("{text}\n"));
    let signature = write(folder, "signature", &signature[4..]);
    let key = write(folder, "key.der", [&prefix[..], key.key_bytes()].concat());
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey"]).arg(key);
    said(command.arg("-sigfile").arg(signature).arg("-in").arg(text))
}

#[test]
fn tiles_are_served_as_others_read_them() {
    let below = workplace();
    // The line that says where it listens is read by `Served`; the tiles' port is chosen here.
    let port = free_port();
    let tiles = format!("ledger.tiles_listen=127.0.0.1:{port}");
    let served = serve(&below.path().join("data"), &["--set", &tiles]);
    let prefix = format!("http://127.0.0.1:{port}/");
    runtime().block_on(async {
        let client = connect(&served).await;
        assert!(get(port, "/checkpoint").starts_with("HTTP/1.1 404"), "nothing is published yet");
        grow(&client, "person", 620).await;
        let published = publish(&client).await;
        grow(&client, "later", 10).await;
        let key = vkey(&client).await;
        let all = headers(&client).await;
        let mut check = tool("aics-tlog");
        said(check.args(["verify-checkpoint", "--log-key", &key, "--tiles", &prefix])).unwrap();
        for index in [0usize, 256, 620] {
            let leaf = all.split(|b| *b == b'\n').nth(index).unwrap();
            let leaf = write(below.path(), "leaf", leaf);
            let mut check = tool("aics-tlog");
            check.args(["verify-inclusion", "--log-key", &key, "--tiles", &prefix]);
            check.args(["--index", &index.to_string(), "--leaf"]).arg(leaf);
            said(&mut check).unwrap();
        }
        assert_eq!(published.tree_size, 621);
        for (path, status) in [
            ("/tile/entries/000", "200"),
            ("/tile/entries/002.p/109", "200"),
            ("/tile/entries/002.p/110", "404"),
            ("/tile/0/003", "404"),
            ("/tile/1/000.p/2", "200"),
            ("/tile/1/000", "404"),
            ("/tile/63/000.p/1", "404"),
            ("/tile/0/../checkpoint", "404"),
            ("/", "404"),
        ] {
            assert!(get(port, path).starts_with(&format!("HTTP/1.1 {status}")), "{path}");
        }
    });
    served.stop();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// `aics-witness`, serving. It is killed if the test ends without it.
struct Witness {
    child: Child,
    config: PathBuf,
    policy: PathBuf,
}

impl Witness {
    fn start(folder: &Path, log: &str) -> Witness {
        let config = folder.join("witness/w.json");
        std::fs::create_dir_all(folder.join("witness")).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let run = |arguments: &[&str]| {
            let mut command = tool("aics-witness");
            said(command.args(arguments).env("AICS_WITNESS_CONFIG", &config)).unwrap()
        };
        let made = run(&["init", "--name", "witness.example.test/w1", "--listen", &address]);
        let key = made.split_whitespace().find(|word| word.parse::<VerifierKey>().is_ok()).unwrap();
        run(&["add-log", "--origin", ORIGIN, "--vkey", log]);
        let policy = format!("witness W {key} http://{address}\nquorum W\n");
        let policy = write(folder, "policy", policy);
        let mut command = tool("aics-witness");
        command.arg("serve").env("AICS_WITNESS_CONFIG", &config).env("PYTHONUNBUFFERED", "1");
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // It says where it listens before it takes anything.
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        while TcpStream::connect(&address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the witness ended: {said}");
            std::thread::yield_now();
        }
        Witness { child, config, policy }
    }

    fn asked(&self) -> String {
        format!("ledger.witness_policy={}", self.policy.display())
    }

    fn evidence(&self) -> String {
        let mut command = tool("aics-witness");
        said(command.arg("evidence").env("AICS_WITNESS_CONFIG", &self.config)).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// What the service says of its witness, and what it kept of the answer.
async fn refusal(client: &Client, outside: &Path) -> (String, String) {
    let alarms = status(client).await.alarms;
    let alarm = alarms.iter().find(|alarm| alarm.code == "witness_refuses").expect("an alarm");
    let kept = std::fs::read_dir(outside.join("evidence")).unwrap().next().unwrap().unwrap();
    (alarm.message.clone(), std::fs::read_to_string(kept.path()).unwrap())
}

#[test]
fn a_witness_cosigns_growth_and_refuses_another_history_and_an_older_one() {
    let below = workplace();
    let data = below.path().join("data");
    let runtime = runtime();
    let served = serve(&data, &[]);
    let key = runtime.block_on(async {
        let client = connect(&served).await;
        publish(&client).await;
        vkey(&client).await
    });
    served.stop();
    let witness = Witness::start(below.path(), &key);
    let served = serve(&data, &["--set", &witness.asked()]);
    runtime.block_on(async {
        let client = connect(&served).await;
        grow(&client, "person", 50).await;
        assert!(publish(&client).await.witnessed);
    });
    served.stop();
    let older = below.path().join("older");
    copy(&data, &older);
    std::fs::copy(data.with_extension("keyring"), older.with_extension("keyring")).unwrap();
    copy(&below.path().join("data.outside"), &below.path().join("older.outside"));
    let served = serve(&data, &["--set", &witness.asked()]);
    runtime.block_on(async {
        let client = connect(&served).await;
        grow(&client, "later", 50).await;
        let cosigned = publish(&client).await;
        assert!(cosigned.witnessed && cosigned.note.contains("witness.example.test/w1"));
    });
    served.stop();

    // The same key under another history, as long as it hides its own outside copy.
    let other = below.path().join("other");
    std::fs::copy(data.with_extension("keyring"), other.with_extension("keyring")).unwrap();
    let served = serve(&other, &["--set", &witness.asked()]);
    runtime.block_on(async {
        let client = connect(&served).await;
        grow(&client, "rewritten", 150).await;
        assert!(!publish(&client).await.witnessed);
        let (alarm, kept) = refusal(&client, &below.path().join("other.outside")).await;
        assert!(alarm.contains("422") && kept.contains("answer 422"), "{alarm}\n{kept}");
        grow(&client, "on", 5).await;
    });
    served.stop();
    assert!(witness.evidence().contains(ORIGIN), "{}", witness.evidence());

    // An older copy of everything, the outside copy included: only the witness can know.
    let served = serve(&older, &["--set", &witness.asked()]);
    runtime.block_on(async {
        let client = connect(&served).await;
        grow(&client, "again", 5).await;
        assert!(!publish(&client).await.witnessed);
        let (alarm, kept) = refusal(&client, &below.path().join("older.outside")).await;
        assert!(alarm.contains("409") && kept.contains("answer 409"), "{alarm}\n{kept}");
    });
    served.stop();
}

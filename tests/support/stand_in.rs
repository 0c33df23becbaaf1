//! Stand-ins for KurrentDB nodes, each a process of its own that can be killed at any instant.
//!
//! Where `CUSTODY_TEST_KURRENTDB` holds a connection string, the suites that need no faults run against that.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

/// Nodes that share one log.
pub struct Cluster {
    shared: TempDir,
    nodes: Vec<Mutex<Node>>,
    ports: Vec<u16>,
    more: Vec<String>,
}

struct Node {
    running: Option<Process>,
}

struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// So many nodes, each on a port that it keeps.
    pub fn start(nodes: usize) -> Cluster {
        Cluster::start_with(nodes, &[])
    }

    /// The same with more arguments for each of them.
    pub fn start_with(nodes: usize, more: &[&str]) -> Cluster {
        let shared = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let cluster = Cluster {
            shared,
            nodes: (0..nodes).map(|_| Mutex::new(Node { running: None })).collect(),
            ports: (0..nodes).map(|_| free_port()).collect(),
            more: more.iter().map(|text| (*text).to_owned()).collect(),
        };
        (0..nodes).for_each(|node| cluster.revive(node));
        cluster
    }

    /// `esdb://…` with all nodes.
    pub fn connection(&self) -> String {
        self.connection_with("tls=false&gossipTimeout=1000&discoveryInterval=100&maxDiscoverAttempts=5")
    }

    pub fn connection_with(&self, query: &str) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("esdb://{}?{query}", hosts.join(","))
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Starts a node that does not run.
    pub fn revive(&self, node: usize) {
        let mut slot = self.nodes[node].lock().unwrap();
        if slot.running.is_some() {
            return;
        }
        let peers: Vec<String> = (0..self.ports.len())
            .filter(|other| *other != node)
            .map(|other| format!("127.0.0.1:{}", self.ports[other]))
            .collect();
        let mut command = Command::new(program());
        command.arg("--shared").arg(self.shared.path());
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.ports[node]));
        if !peers.is_empty() {
            command.arg("--peers").arg(peers.join(","));
        }
        command.args(&self.more).arg("--stop-with-stdin");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("{} does not start: {why}", program().display()));
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on"), "the stand-in says {line:?}");
        slot.running = Some(Process { child, commands, answers });
    }

    /// SIGKILL.
    pub fn kill(&self, node: usize) {
        if let Some(mut process) = self.nodes[node].lock().unwrap().running.take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    pub fn runs(&self, node: usize) -> bool {
        self.nodes[node].lock().unwrap().running.is_some()
    }

    /// One of the stand-in's commands; its answer without `ok`.
    pub fn tell(&self, node: usize, command: &str) -> Result<String, String> {
        let mut slot = self.nodes[node].lock().unwrap();
        let process = slot.running.as_mut().ok_or("it does not run")?;
        writeln!(process.commands, "{command}").map_err(|why| why.to_string())?;
        let mut line = String::new();
        process.answers.read_line(&mut line).map_err(|why| why.to_string())?;
        match line.trim().strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(line.trim().to_owned()),
        }
    }

    /// Every node that runs; whoever cannot do it says so and is passed over.
    pub fn tell_all(&self, command: &str) {
        (0..self.len()).for_each(|node| drop(self.tell(node, command)));
    }

    /// The node that leads; waits for one.
    pub fn leader(&self) -> usize {
        for _ in 0..400 {
            let leads = |node: &usize| self.tell(*node, "role").is_ok_and(|role| role == "leader");
            if let Some(leader) = (0..self.len()).find(leads) {
                return leader;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("nobody leads");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.len()).for_each(|node| self.kill(node));
    }
}

/// Built by `cargo test` with everything else; by whoever runs one test alone, here.
fn program() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let find = || {
        let tests = std::env::current_exe().unwrap();
        let built = |folder: &Path| folder.join("examples").join("kurrent-stand-in");
        tests.ancestors().map(built).find(|path| path.is_file())
    };
    let build = || {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--example", "kurrent-stand-in"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the stand-in cannot be built");
        find().expect("it was built")
    };
    BUILT.get_or_init(|| find().unwrap_or_else(build)).clone()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

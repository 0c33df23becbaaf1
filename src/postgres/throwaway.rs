//! A PostgreSQL server for tests, which leaves nothing behind.
//!
//! Promises: it is started when first asked for, once per process, on a free port of this machine, as another user
//! where the tests run as root; it ends with the process, however that ends, and takes its directory with it.
//! Loses what it holds with power or the operating system, unless `Setup::fsync` is set: that is quicker.
//! With `CUSTODY_TEST_POSTGRES` set to a URL, that server is used instead, each test in a schema of its own.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Options;
use crate::clock::Stopwatch;

/// How long a server may take to start or stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Options for the server of this process, with a schema that nobody else uses.
pub fn options(schema: &str) -> Options {
    static SHARED: OnceLock<Server> = OnceLock::new();
    let url = match std::env::var("CUSTODY_TEST_POSTGRES") {
        Ok(url) => url,
        Err(_) => SHARED.get_or_init(|| Server::new(Setup::default())).url(),
    };
    options_at(url, schema)
}

fn options_at(url: String, schema: &str) -> Options {
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    // The process number comes round again, so something that does not is needed on a server that stays.
    let salt = uuid::Uuid::now_v7().as_u128() as u32;
    let schema = format!("{schema}_{}_{n}_{salt:08x}", std::process::id());
    Options { schema, connections: 8, ..Options::new(url) }
}

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub fsync: bool,
    /// Further settings. `DIR` in a value stands for the server's directory.
    pub settings: Vec<(String, String)>,
    /// Written into the directory, readable by the server only.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A server of a test's own, which may be stopped, killed and started again.
pub struct Server {
    dir: PathBuf,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    running: std::sync::Mutex<Option<(Child, ChildStdin)>>,
}

impl Server {
    pub fn new(setup: Setup) -> Server {
        let bin = binaries();
        let user = other_user();
        let name = format!("custody-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&dir));
        fs::create_dir(&dir).expect("a directory for PostgreSQL");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("permissions");
        own(&dir, user);
        let port = free_port();
        let mut server = Server { dir, bin, user, port, running: std::sync::Mutex::new(None) };
        server.initialise(&setup);
        // Somebody may take the port between our looking and the server's.
        for _ in 0..5 {
            if server.try_start() {
                return server;
            }
            server.port = free_port();
        }
        panic!("PostgreSQL does not start: {}", server.said());
    }

    pub fn url(&self) -> String {
        format!("postgres://custody@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Options for this server, with a schema that nobody else uses.
    pub fn options(&self, schema: &str) -> Options {
        options_at(self.url(), schema)
    }

    /// Where its files are: for searches of raw bytes.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn start(&self) {
        assert!(self.try_start(), "PostgreSQL does not start: {}", self.said());
    }

    /// Ends connections and writes everything, as an administrator would.
    pub fn stop(&self) {
        self.end("INT");
    }

    /// Ends at once; the next start recovers from the WAL.
    pub fn kill(&self) {
        self.end("QUIT");
    }

    /// Stands still: connections stay open, nothing answers, as behind a network that swallows everything.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn initialise(&self, setup: &Setup) {
        let data = self.data();
        let mut command = self.command(&self.bin.join("initdb"));
        command.args(["--no-sync", "--auth=trust", "--username=custody", "--encoding=UTF8", "--locale=C"]);
        let done = command.arg("-D").arg(&data).output().expect("initdb runs");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let on = if setup.fsync { "on" } else { "off" };
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             shared_buffers = 64MB\nfsync = {on}\nfull_page_writes = {on}\nlogging_collector = off\n\
             autovacuum_naptime = 1h\n",
            self.dir.display()
        );
        for (name, value) in &setup.settings {
            let value = value.replace("DIR", &self.dir.display().to_string());
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        let mut file =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("settings");
        file.write_all(text.as_bytes()).expect("settings");
        for (name, bytes) in &setup.files {
            let path = self.dir.join(name);
            fs::write(&path, bytes).expect("a file of the server");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
            own(&path, self.user);
        }
    }

    /// A shell stands between us and the server. Its input ends when this process does, however that happens, and
    /// then it ends the server and removes the directory. A signal at the parent's death would come when the
    /// *thread* ends that started it, and tests have a thread each.
    fn try_start(&self) -> bool {
        let script = r#"
            "$1" -D "$2/data" -p "$3" >>"$2/log" 2>&1 </dev/null &
            server=$!
            read -r word
            if [ "$word" = left ]; then wait $server; exit; fi
            kill -CONT $server; kill -QUIT $server; wait $server; rm -rf "$2""#;
        let mut command = self.command(Path::new("sh"));
        command.args(["-c", script, "sh"]).arg(self.bin.join("postgres")).arg(&self.dir);
        command.arg(self.port.to_string()).stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.take().expect("it was piped");
        *self.lock() = Some((child, input));
        let watch = Stopwatch::start();
        while watch.elapsed() < PATIENCE {
            let pid = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let mut lines = pid.lines();
            if lines.nth(7).is_some_and(|status| status.trim() == "ready") {
                return true;
            }
            if watch.elapsed() > Duration::from_secs(1) && pid.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.forget();
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Child, ChildStdin)>> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn pid(&self) -> String {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    }

    fn end(&self, signal: &str) {
        let pid = self.pid();
        assert!(!pid.is_empty(), "PostgreSQL does not run");
        send(signal, &[pid]);
        self.forget();
    }

    /// The shell waits for the server and leaves the directory alone.
    fn forget(&self) {
        if let Some((mut child, mut input)) = self.lock().take() {
            drop(input.write_all(b"left\n"));
            drop(input);
            drop(child.wait());
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut all = vec![pid];
        all.extend(children.split_whitespace().map(str::to_owned));
        send(signal, &all);
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.dir).env("LC_ALL", "C").env("TZ", "UTC");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut child, input)) = self.lock().take() {
            drop(input);
            drop(child.wait());
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn send(signal: &str, processes: &[String]) {
    let script = format!("kill -{signal} {}", processes.join(" "));
    // One that ended meanwhile is no matter.
    drop(Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status());
}

fn own(path: &Path, user: Option<(u32, u32)>) {
    if let Some((user, group)) = user {
        chown(path, Some(user), Some(group)).expect("a directory may be given away by root");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// PostgreSQL refuses to run as root.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let users = if root { fs::read_to_string("/etc/passwd").unwrap_or_default() } else { return None };
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

/// The folder of `initdb`, the newest if there are several.
fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = installed.map(|entry| entry.path().join("bin")).collect();
    versions.sort_by_key(|path| path.to_string_lossy().len());
    folders.extend(versions.into_iter().rev());
    // Distributions link single programs; the others lie where the link leads.
    let linked =
        |folder: PathBuf| fs::canonicalize(folder.join("initdb")).ok()?.parent().map(Path::to_path_buf);
    let folder = folders.into_iter().filter_map(linked).find(|folder| folder.join("postgres").exists());
    folder.expect("no initdb: tests/run installs PostgreSQL, or set CUSTODY_TEST_POSTGRES to a server's URL")
}

//! The real binary, serving a directory of the test's own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The interpreter that `tests/run` prepared, or whatever the machine calls python3.
pub fn python() -> String {
    std::env::var("CUSTODY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_string())
}

/// A command on the files of a directory as `Served::command` uses it.
pub fn offline(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    // Those of `custody keyring` stand before what is to be done.
    let first = arguments.len().min(if arguments.first() == Some(&"keyring") { 1 } else { usize::MAX });
    command.args(&arguments[..first]).arg("--data-dir").arg(data);
    command.arg("--keyring").arg(data.with_extension("keyring")).args(&arguments[first..]);
    command
}

/// A serving process. It is killed if the test ends without stopping it.
pub struct Served {
    child: Child,
    address: String,
}

impl Served {
    /// Starts `custody serve` on a free port and waits for the line that says where.
    pub fn start(data: &Path) -> Served {
        Served::spawn(&mut Served::command(data))
    }

    /// The command line of a server for `data`, to be added to.
    pub fn command(data: &Path) -> Command {
        Served::command_with(data, &data.with_extension("keyring"))
    }

    /// The same with a keyring that lies elsewhere.
    pub fn command_with(data: &Path, keyring: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(data)
            .arg("--keyring")
            .arg(keyring)
            .args(["--listen", "127.0.0.1:0", "--metrics", "off"])
            // Tests run on machines whose disks are nearly full, too.
            .args(["--set", "disk.reserve_bytes=0", "--set", "disk.reserve_percent=0"]);
        command
    }

    pub fn spawn(command: &mut Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let Some(address) = address.map(str::to_string) else {
            let _ = child.kill();
            panic!("the server did not say where it listens: {line:?}");
        };
        Served { child, address }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; the server drains and ends with 0.
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "the server ended with {ended}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Whoever works with the command line, at a service of its own.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::events::workplace;
use super::server::Served;

/// A desk with a service of its own.
pub struct Desk {
    pub place: tempfile::TempDir,
    pub served: Served,
}

/// What a command printed, and how it ended.
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Told {
    fn of(output: Output) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Told {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// It ended as it should.
    pub fn ends(self, code: i32) -> Told {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// One JSON value a line.
    pub fn lines(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        self.out.lines().map(read).collect()
    }
}

impl Desk {
    pub fn open() -> Desk {
        let place = workplace();
        let served = Served::start(&place.path().join("data"));
        Desk { place, served }
    }

    /// A command with nothing of the caller's environment but where the service is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command.args(arguments).env_clear();
        command.env("CUSTODY_SERVER", format!("http://{}", self.served.address()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn bare(&self, arguments: &[&str], input: &str) -> Told {
        let mut child = self.command(arguments).spawn().unwrap();
        // Who reads nothing may have ended already.
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        Told::of(child.wait_with_output().unwrap())
    }

    /// A command, fed with a text, that sees everything recorded before.
    pub fn fed(&self, arguments: &[&str], input: &str) -> Told {
        let head = self.bare(&["status", "--json"], "").lines()[0]["log"]["head"].as_u64().unwrap();
        // Whoever asks may wait for a position, and not every question can say so.
        self.bare(&["terms", "list", "--at-least", &(head - 1).to_string()], "").ends(0);
        self.bare(arguments, input)
    }

    pub fn run(&self, arguments: &[&str]) -> Told {
        self.fed(arguments, "")
    }

    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(&[arguments, &["--json"]].concat()).ends(0).lines()
    }

    pub fn file(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }
}

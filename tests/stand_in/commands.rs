//! What a test says on standard input, one line each, and the one line that answers it: `ok`, `ok VALUE` or
//! `error WHY`.
//!
//! ```text
//! delay MS            every append is answered that much later; 0 ends it
//! hang, unhang        calls are accepted and nothing is answered; what came before is stored, the rest waits
//! lose N              the next N appends are stored, and the connection's stream breaks instead of an answer
//! refuse N            the next N appends are not stored, and the stream breaks
//! timeout N           the next N appends are stored and answered with the node's own time limit
//! unready N           the next N calls of any kind find the node not ready
//! end clean           all subscriptions end without an error; `end unavailable`: with one
//! drop                all connections are reset
//! resign              gives leadership up and rests; others may take it
//! duplicate           the newest event that is not the system's, again, in stream PREFIX-copy
//! garbage PREFIX      random bytes as an event in stream PREFIX-garbage
//! count, role         answers how many events there are, or `leader` or `follower`
//! ```
//!
//! Promises: a command has taken effect when it is answered. Does not: end the process with its input
//! unless told so; add up, a second `lose` replaces the first.

use crate::faults::End;
use crate::keeper::{Append, Command, Outcome};
use crate::node::Node;
use crate::wire::{Expected, ProposedMessage, Uuid};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;
use tokio::sync::oneshot;

/// Runs until standard input ends.
pub fn run(node: &Node) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match obey(node, &line) {
            Ok(said) => format!("ok {said}"),
            Err(why) => format!("error {why}"),
        };
        // Nobody may be listening any more.
        let _ = writeln!(io::stdout(), "{}", answer.trim_end());
    }
}

fn obey(node: &Node, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let faults = &node.faults;
    match words[..] {
        ["delay", ms] => faults.set_delay(number(ms)?),
        ["hang"] => faults.hang(true),
        ["unhang"] => faults.hang(false),
        ["lose", calls] => faults.lose(number(calls)?),
        ["refuse", calls] => faults.refuse(number(calls)?),
        ["timeout", calls] => faults.time_out(number(calls)?),
        ["unready", calls] => faults.set_unready(number(calls)?),
        ["end", "clean"] => faults.end_subscriptions(End::Clean),
        ["end", "unavailable"] => faults.end_subscriptions(End::Unavailable),
        ["drop"] => faults.drop_connections(),
        ["resign"] => resign(node)?,
        ["duplicate"] => duplicate(node)?,
        ["garbage", prefix] => garbage(node, prefix)?,
        ["count"] => return Ok(node.log.count().to_string()),
        ["role"] => return Ok(format!("{:?}", *node.role.borrow()).to_lowercase()),
        _ => return Err(format!("unknown command: {line}")),
    }
    Ok(String::new())
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}

fn resign(node: &Node) -> Result<(), String> {
    let (answer, led) = oneshot::channel();
    node.commands.send(Command::Resign(answer)).map_err(|_| "stopping")?;
    match led.blocking_recv() {
        Ok(true) => Ok(()),
        _ => Err("not the leader".to_owned()),
    }
}

/// The newest event of users once more, under another id and in another stream.
fn duplicate(node: &Node) -> Result<(), String> {
    let event = node.log.last_of_users().ok_or("no event")?;
    let mut message = event.proposed().ok_or("the event does not decode")?;
    message.id = Some(Uuid::text(uuid::Uuid::now_v7()));
    let prefix = event
        .stream
        .iter()
        .rposition(|&byte| byte == b'-')
        .map_or(&event.stream[..], |dash| &event.stream[..dash]);
    write(node, Bytes::from([prefix, b"-copy"].concat()), message)
}

/// Bytes that mean nothing to anybody.
fn garbage(node: &Node, prefix: &str) -> Result<(), String> {
    let mut data = vec![0; 200];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut data))
        .map_err(|e| e.to_string())?;
    let metadata = [("type", "garbage"), ("content-type", "application/octet-stream")];
    let message = ProposedMessage {
        id: Some(Uuid::text(uuid::Uuid::now_v7())),
        metadata: HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value.to_owned()))),
        custom_metadata: Bytes::new(),
        data: data.into(),
    };
    write(node, Bytes::from(format!("{prefix}-garbage")), message)
}

fn write(node: &Node, stream: Bytes, message: ProposedMessage) -> Result<(), String> {
    let append = Append { stream, expected: Expected::Any(()), events: vec![message] };
    match node.submit(append).blocking_recv() {
        Ok(Outcome::Stored { .. }) => Ok(()),
        Ok(Outcome::NotLeader) => Err("not the leader".to_owned()),
        other => Err(format!("not written: {other:?}")),
    }
}

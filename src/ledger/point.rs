//! The consistent point: the tree's right edge as of a size up to which the hashes on disk are
//! synced, and the log's names so far. A crash goes back to it and replays the log from there;
//! without it, from the log's beginning.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::tlog::{Edge, base64, decimal, hash_of};
use super::{Error, io_error, keep_file};

const FIRST_LINE: &str = "custody edge 1";

/// A name of the log, and the position of the event that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    pub from: u64,
    pub origin: String,
}

/// What is known of the log up to `edge.size()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point {
    pub edge: Edge,
    /// In order; the last one is the present one.
    pub origins: Vec<Naming>,
}

impl Point {
    /// The point that was stored; `None` where there is none or it does not check.
    pub fn load(path: &Path) -> Result<Option<Point>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
                return Ok(None);
            }
            Err(error) => return Err(io_error(path)(error)),
        };
        Ok(parse(&text))
    }

    pub fn store(&self, path: &Path) -> Result<(), Error> {
        let mut text = format!("{FIRST_LINE}\nsize {}\n", self.edge.size());
        self.edge.hashes().iter().for_each(|hash| text.push_str(&format!("hash {}\n", base64(hash))));
        for Naming { from, origin } in &self.origins {
            text.push_str(&format!("origin {from} {origin}\n"));
        }
        text.push_str(&format!("check {}\n", base64(&Sha256::digest(&text))));
        keep_file(path, text.as_bytes())
    }
}

fn parse(text: &str) -> Option<Point> {
    let (body, check) = text.rsplit_once("check ")?;
    if hash_of(check.strip_suffix('\n')?)?[..] != Sha256::digest(body)[..] {
        return None;
    }
    let (mut size, mut hashes, mut origins) = (None, Vec::new(), Vec::new());
    let mut lines = body.lines();
    lines.next().filter(|line| *line == FIRST_LINE)?;
    for line in lines {
        match line.split_once(' ')? {
            ("size", number) => size = decimal(number),
            ("hash", hash) => hashes.push(hash_of(hash)?),
            ("origin", naming) => {
                let (from, origin) = naming.split_once(' ')?;
                origins.push(Naming { from: decimal(from)?, origin: origin.to_owned() });
            }
            _ => return None,
        }
    }
    Some(Point { edge: Edge::from_parts(size?, hashes).ok()?, origins })
}

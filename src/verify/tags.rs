//! One person's tag keys, by which a stranger finds that person's events and nobody else's.

use zeroize::Zeroizing;

use super::{Error, malformed};
use crate::domain::id::Digest;
use crate::record::header::Header;
use crate::record::key::{SecretKey, tag};

/// Keys of one file, at most: people who were merged have several a year.
const MAX_KEYS: usize = 1_000;

/// A person's tag keys, one or more a year.
#[derive(Default, Clone)]
pub struct TagKeys(Vec<(i32, SecretKey)>);

impl TagKeys {
    pub fn new(keys: Vec<(i32, SecretKey)>) -> TagKeys {
        TagKeys(keys)
    }

    /// Lines of a year and its key in base64url; empty ones and those that begin with # are passed over.
    pub fn parse(text: &str) -> Result<TagKeys, Error> {
        let mut keys = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wrong =
                || malformed("tag keys", "a line is not a year of four digits and a key in base64url");
            let (year, key) = line.split_once(' ').ok_or_else(wrong)?;
            let digits = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit());
            let key: Digest = key.parse().map_err(|_| wrong())?;
            if !digits || keys.len() == MAX_KEYS {
                return Err(wrong());
            }
            keys.push((year.parse().map_err(|_| wrong())?, Zeroizing::new(key.0)));
        }
        Ok(TagKeys(keys))
    }

    /// The text of such a file, as it is handed to an auditor.
    pub fn text(&self) -> Zeroizing<String> {
        let line = |(year, key): &(i32, SecretKey)| format!("{year:04} {}\n", Digest(**key));
        Zeroizing::new(self.0.iter().map(line).collect())
    }

    /// Whether there is a key for the year in which a record was sealed.
    pub fn covers(&self, year: i32) -> bool {
        self.0.iter().any(|(of, _)| *of == year)
    }

    /// Whether part `i` of a record is this person's.
    pub fn is_theirs(&self, header: &Header<'_>, i: usize) -> bool {
        let Some(part) = header.parts.get(i) else { return false };
        let year = header.recorded_at.year();
        self.0.iter().any(|(of, key)| *of == year && tag(key, header.salt, i as u8) == part.tag)
    }
}

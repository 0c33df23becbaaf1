//! The keyring as JSON: read with its checks, replaced as a whole.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Class, Entry, Error, Gone, Keys, digest_of, entry, quarter};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::durable;

const FORMAT: u32 = 1;
/// Some hundred keys; anything larger is not a keyring.
const MAX_BYTES: u64 = 256 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    body: Body,
    /// SHA-256 of the body as written, so that a keyring that lost a character is told from one
    /// that belongs to another vault.
    check: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format: u32,
    vault: String,
    keys: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<Gone>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    class: Class,
    id: u32,
    created: Timestamp,
    active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Timestamp>,
    key: Secret,
}

/// Text of a key; overwritten when dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

pub(super) fn read(path: &Path) -> Result<Keys, Error> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::Missing(path.into())),
        Err(e) => return Err(io(e)),
    };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Permissions { path: path.into(), mode });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(io)?;
    parse(&text)
}

pub(super) fn parse(text: &[u8]) -> Result<Keys, Error> {
    // The parser's own message could quote what it read, so it is not passed on.
    let document: Document =
        serde_json::from_slice(text).map_err(|_| Error::Damaged("it is not the JSON of a keyring"))?;
    if document.body.format != FORMAT {
        return Err(Error::Format(document.body.format));
    }
    if digest_of(&to_json(&document.body)?) != document.check {
        return Err(Error::Damaged("its checksum is wrong"));
    }
    let mut entries = Vec::with_capacity(document.body.keys.len());
    for line in &document.body.keys {
        let key = Zeroizing::new(decode::<32>(&line.key.0)?);
        let Line { class, id, created, active, activated, replaced, .. } = *line;
        entries.push(Entry { class, id, created, active, activated, replaced, key });
    }
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Index) {
        let active = entries.iter().filter(|entry| entry.class == class && entry.active).count();
        if active != 1 && !(active == 0 && class.signs()) {
            return Err(Error::Damaged("a class has not exactly one active key"));
        }
    }
    let vault = decode::<16>(&document.body.vault)?;
    Ok(Keys { vault, entries, gone: document.body.gone, digest: document.check })
}

/// A new keyring for a new vault. Fails if a file has appeared meanwhile.
pub(super) fn create(path: &Path, now: Timestamp) -> Result<Keys, Error> {
    let mut vault = [0u8; 16];
    getrandom::fill(&mut vault).map_err(|_| Error::Randomness)?;
    let mut entries = Vec::new();
    for class in Class::ALL {
        let id = if class == Class::Index { quarter(now) } else { 1 };
        let active = class != Class::Index;
        entries.push(Entry { active, activated: active.then_some(now), ..entry(class, id, now)? });
    }
    let mut keys = Keys { vault, entries, gone: Vec::new(), digest: Digest([0; 32]) };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|source| Error::Io { path: path.into(), source })?;
    }
    if path.exists() {
        return Err(Error::Changed);
    }
    write(path, &mut keys)?;
    Ok(keys)
}

/// The old or the new one is there, whole.
pub(super) fn write(path: &Path, keys: &mut Keys) -> Result<(), Error> {
    let body = body_of(keys);
    let check = digest_of(&to_json(&body)?);
    let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer_pretty(&mut *text, &Document { body, check })
        .map_err(|_| Error::Damaged("it cannot be written as JSON"))?;
    text.push(b'\n');

    durable::replace_private(path, &text).map_err(|source| Error::Io { path: path.into(), source })?;
    keys.digest = check;
    Ok(())
}

fn body_of(keys: &Keys) -> Body {
    let line = |entry: &Entry| Line {
        class: entry.class,
        id: entry.id,
        created: entry.created,
        active: entry.active,
        activated: entry.activated,
        replaced: entry.replaced,
        key: Secret(URL_SAFE_NO_PAD.encode(entry.key.as_ref())),
    };
    Body {
        format: FORMAT,
        vault: URL_SAFE_NO_PAD.encode(keys.vault),
        keys: keys.entries.iter().map(line).collect(),
        gone: keys.gone.clone(),
    }
}

fn to_json(body: &Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer(&mut *text, body).map_err(|_| Error::Damaged("it cannot be written as JSON"))?;
    Ok(text)
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    let mut bytes = [0u8; N];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(Error::Damaged("a key is not of its length")),
    }
}

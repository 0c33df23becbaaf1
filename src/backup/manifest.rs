//! What a backup says of itself: JSON in clear, with a MAC under a key of its epoch. It names nobody.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::seal::Root;
use super::{Error, PACK, io_error};
use crate::domain::time::Timestamp;
use crate::durable;

pub const FILE: &str = "manifest.json";
const FORMAT: &str = "custody-backup/1";
/// A file of a backup takes some 400 bytes here.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// Random; the salt of the MAC's key.
    #[serde(with = "hex")]
    pub id: [u8; 16],
    /// The vault that the keyring was made with.
    #[serde(with = "hex")]
    pub vault: [u8; 16],
    /// The log's name when it was taken.
    pub origin: String,
    /// It holds all records below.
    pub head: u64,
    /// A tree over the first of these records.
    pub tree_size: u64,
    #[serde(with = "hex")]
    pub tree_root: [u8; 32],
    /// The key-encryption key that everything in it is encrypted under.
    pub kek_epoch: u32,
    /// Those that rows of the vault are locked with.
    pub locked_with: Vec<u32>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// In the backup.
    pub name: String,
    /// Below the data directory, or `pack`.
    pub path: String,
    pub plain_bytes: u64,
    /// As sealed.
    pub bytes: u64,
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Tells, under a key of the epoch, whether another plaintext is the same.
    #[serde(with = "hex")]
    pub same: [u8; 32],
    #[serde(with = "hex")]
    pub salt: [u8; 32],
    /// The backup it was sealed for.
    #[serde(with = "hex")]
    pub sealed_for: [u8; 16],
    /// It was not written again, but linked from the backup before.
    pub reused: bool,
}

impl Manifest {
    pub(super) fn new(about: super::About, id: [u8; 16]) -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            id,
            vault: about.vault,
            origin: about.origin,
            head: about.head,
            tree_size: about.tree.0,
            tree_root: about.tree.1,
            kek_epoch: about.kek_epoch,
            locked_with: Vec::new(),
            created_at: about.created_at,
            expires_at: about.expires_at,
            files: Vec::new(),
        }
    }

    /// Bytes of all plaintext, and those that were linked instead of written.
    pub fn sizes(&self) -> (u64, u64) {
        let reused = self.files.iter().filter(|file| file.reused).map(|file| file.plain_bytes).sum();
        (self.files.iter().map(|file| file.plain_bytes).sum(), reused)
    }

    /// Durable when it returns.
    pub(super) fn write(&self, dir: &Path, root: &Root) -> Result<(), Error> {
        let failed = |error: serde_json::Error| io_error(dir)(error.into());
        let text = serde_json::to_string(self).map_err(failed)?;
        let mac = root.manifest_mac(&self.id, text.as_bytes());
        let manifest = RawValue::from_string(text).map_err(failed)?;
        let bytes = serde_json::to_vec(&Lines { manifest, mac }).map_err(failed)?;
        durable::replace(&dir.join(FILE), &bytes).map_err(io_error(dir))
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("it is of format {}, which this version does not know", self.format));
        }
        for file in &self.files {
            if name_of(&file.path).as_deref() != Some(&file.name) {
                return Err("it lists a file that is none of a backup".to_owned());
            }
        }
        let count = |path: &str| self.files.iter().filter(|file| file.path == path).count();
        match (count(PACK), count(VAULT)) {
            (1, 1) => Ok(()),
            _ => Err("it lists no vault or no pack".to_owned()),
        }
    }
}

/// Where the vault lies below the data directory.
pub const VAULT: &str = "vault/vault.sqlite";

/// The name in a backup of what lies there; `None` for what no backup holds.
pub(super) fn name_of(path: &str) -> Option<String> {
    let segment = |path: &str| {
        let digits = path.strip_prefix("log/")?.strip_suffix(".seg")?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    (path == PACK || path == VAULT || segment(path).is_some())
        .then(|| format!("{}.sealed", path.replace('/', "-")))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    manifest: Box<RawValue>,
    #[serde(with = "hex")]
    mac: [u8; 32],
}

/// A manifest as it was read: anybody could have written it until its MAC was checked.
pub struct Document {
    pub stated: Manifest,
    text: Box<RawValue>,
    mac: [u8; 32],
}

impl Document {
    pub fn read(dir: &Path) -> Result<Document, Error> {
        let path = dir.join(FILE);
        let malformed = |why: String| Error::Malformed { place: dir.to_path_buf(), why };
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(malformed(format!("it has no {FILE}")));
            }
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(malformed(format!("{FILE} is too long")));
            }
            _ => std::fs::read(&path).map_err(io_error(&path))?,
        };
        let unread = |error: serde_json::Error| malformed(format!("{FILE}: {error}"));
        let Lines { manifest: text, mac } = serde_json::from_slice(&bytes).map_err(unread)?;
        let stated: Manifest = serde_json::from_str(text.get()).map_err(unread)?;
        stated.check().map_err(malformed)?;
        Ok(Document { stated, text, mac })
    }

    /// What it says, once the key of its epoch has borne it out.
    pub(super) fn checked(self, root: &Root) -> Result<Manifest, Error> {
        let mac = root.manifest_mac(&self.stated.id, self.text.get().as_bytes());
        if mac == self.mac { Ok(self.stated) } else { Err(Error::Foreign) }
    }
}

/// Bytes as lower-case hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| serde::de::Error::custom("is not as many hexadecimal digits as it should be"))
    }
}

//! Whether a node's keyring is the vault's, at the start and while other nodes rotate keys.
//!
//! Promises: a node whose keyring lacks a key that rows are locked with or stand under is not opened; one that does
//! not have a look-up key under which another node begins to write looks nobody up any more until it has it,
//! because it would take people that are there for new ones.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::vault::Error;
use crate::vault::keyring::{self, Keyring};
use crate::vault::sql::{Markers, Shared, Sql, admin, hot, rotate, values};

/// The look-up keys that rows may be under.
pub(super) const NOTED: &str = "SELECT name FROM meta WHERE name LIKE 'lookup:%'";

/// Whether this node looks under all of these.
pub(super) fn has_all(shared: &Shared, noted: impl IntoIterator<Item = impl AsRef<str>>) -> bool {
    let marker = shared.marker();
    noted.into_iter().all(|name| id_of(name.as_ref()).is_some_and(|id| marker.has(id)))
}

fn id_of(noted: &str) -> Option<u32> {
    noted.strip_prefix("lookup:")?.parse().ok()
}

/// Takes look-up keys that another node writes under, if the keyring has them. For the writer, before it decides.
pub(super) fn follow(sql: &dyn Sql, shared: &Shared) -> Result<(), Error> {
    let noted = sql.all(NOTED, &[], |row| Ok(row.text(0)?.to_owned()))?;
    if has_all(shared, &noted) {
        return Ok(());
    }
    let markers = Markers::new(&shared.keyring)?;
    for id in noted.iter().filter_map(|name| id_of(name)) {
        if !markers.lookup.has(id) {
            let why = format!(
                "another node has begun to write under lookup key {id}, which this one's keyring does not have; \
                 add it from the keyring of the other node"
            );
            return Err(Error::Keyring(why));
        }
    }
    rotate::take(sql, shared, markers)
}

/// A new database becomes the keyring's vault; an old one must be it, and every key that its rows need be there.
pub(super) fn check(sql: &dyn Sql, shared: &Shared) -> Result<(), Error> {
    let ours = shared.keyring.vault_id();
    let stored = belongs(sql, "vault", &ours)?;
    if stored != ours {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        return Err(keyring::Error::Foreign { keyring: hex(&ours), vault: hex(&stored) }.into());
    }
    let ours = of_fingerprint(&shared.keyring)?;
    if belongs(sql, "fingerprint", &ours)? != ours {
        let why = "its fingerprint secret is not the one that the other nodes work with, and every retry of an \
                   event would be taken for another event; copy the keyring of another node here";
        return Err(Error::Keyring(why.into()));
    }
    hot::check_keys(shared, &admin::counts(sql)?)?;
    rotate::check_lookups(sql, &shared.keyring)?;
    rotate::note_lookup(sql, shared.marker().active())
}

/// What stands under a name; `ours` from now on, if nothing did.
fn belongs(sql: &dyn Sql, name: &str, ours: &[u8]) -> Result<Vec<u8>, Error> {
    let note = "INSERT INTO belongs (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
    sql.execute(note, values![name, ours])?;
    let find = "SELECT value FROM belongs WHERE name = ?1";
    let found = sql.first(find, values![name], |row| Ok(row.bytes(0)?.to_vec()))?;
    found.ok_or(Error::NotFound)
}

/// By which two fingerprint secrets are told apart, and which says nothing of them.
fn of_fingerprint(keyring: &Keyring) -> Result<[u8; 16], Error> {
    let key = keyring.fingerprint()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref())
        .map_err(|_| Error::Keyring("the fingerprint key has a wrong length".into()))?;
    mac.update(b"custody/v1/vault/fingerprint");
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    Ok(whole.as_chunks::<16>().0[0])
}

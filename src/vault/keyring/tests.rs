//! The keyring as a file: made once, refused if it does not fit, rotated across a fleet.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::vault::contract::at;

fn open(path: &Path, may_create: bool) -> Result<Keyring, Error> {
    Keyring::open(Source::File(path.into()), may_create, at(0))
}

fn new() -> (tempfile::TempDir, PathBuf, Keyring) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keys/keyring.json");
    let keyring = open(&path, true).unwrap();
    (root, path, keyring)
}

#[test]
fn is_made_once_and_read_again() {
    let (_root, path, made) = new();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = open(&path, true).unwrap();
    assert_eq!(made.vault_id(), read.vault_id());
    assert_eq!(made.describe(), read.describe());
    assert_eq!(made.active_kek().unwrap(), read.active_kek().unwrap());
    assert_eq!(made.fingerprint().unwrap(), read.fingerprint().unwrap());
    assert_ne!(made.fingerprint().unwrap(), made.evidence_lookup().unwrap());
}

#[test]
fn is_never_made_beside_data() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keyring.json");
    let error = open(&path, false).unwrap_err();
    assert!(matches!(error, Error::Missing(_)) && error.to_string().contains("put the newest copy"));
    assert!(!path.exists());
}

#[test]
fn is_refused_if_others_can_read_it() {
    let (_root, path, _) = new();
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = open(&path, true).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn any_flipped_byte_is_found() {
    let (_root, path, _) = new();
    let good = std::fs::read(&path).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 0x04;
        std::fs::write(&path, &bad).unwrap();
        if let Ok(read) = open(&path, true) {
            // Between the tokens of JSON one blank is as good as another.
            assert!(good[i].is_ascii_whitespace() && bad[i].is_ascii_whitespace(), "byte {i}: {read:?}");
        }
    }
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(open(&path, true), Err(Error::Damaged(_))), "and it is not made anew");
}

#[test]
fn rotates_across_a_fleet() {
    let (_root, path, keyring) = new();
    let (first, old) = keyring.active_kek().unwrap();
    let second = keyring.add(Class::Kek, at(5)).unwrap();
    assert_eq!(keyring.active_kek().unwrap().0, first, "added, not yet active");
    assert!(matches!(keyring.remove(Class::Kek, first), Err(Error::Active { .. })));
    keyring.activate(Class::Kek, second, at(6)).unwrap();
    assert_eq!(keyring.active_kek().unwrap().0, second);
    assert_eq!(keyring.kek(first).unwrap(), old);
    keyring.remove(Class::Kek, first).unwrap();
    let read = open(&path, false).unwrap();
    assert!(matches!(read.kek(first), Err(Error::NoKey { class: Class::Kek, id: 1 })));
    assert_eq!(read.active_kek().unwrap().0, second);
    assert_eq!(read.add(Class::Lookup, at(6)).unwrap(), 2);
    assert_eq!(read.all(Class::Lookup).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(keyring.add(Class::Kek, at(7)), Err(Error::Changed)), "by the other one meanwhile");
}

#[test]
fn makes_an_index_key_each_quarter() {
    let (_root, path, keyring) = new();
    assert_eq!(keyring.active_index(at(0)).unwrap().0, 19_701);
    let october: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
    assert_eq!(keyring.active_index(october).unwrap().0, 19_701, "until there is a newer one");
    assert!(keyring.ensure_index_epoch(october).unwrap());
    assert!(!keyring.ensure_index_epoch(october.plus_ms(1)).unwrap());
    let (epoch, key) = keyring.active_index(october).unwrap();
    assert_eq!((epoch, key), (20_264, open(&path, false).unwrap().index_key(20_264).unwrap()));
    assert_eq!(keyring.active_index(october.plus_ms(-1)).unwrap().0, 19_701);
    assert!(keyring.describe().iter().any(|key| key.name.as_deref() == Some("2026Q4")));
    assert!(matches!(keyring.add(Class::Index, october), Err(Error::ByCalendar)));
}

#[test]
fn from_the_environment_it_is_read_only() {
    let (_root, path, made) = new();
    let text = Zeroizing::new(std::fs::read_to_string(&path).unwrap());
    let keyring = Keyring::open(Source::Text(text), false, at(0)).unwrap();
    assert_eq!(keyring.vault_id(), made.vault_id());
    assert!(matches!(keyring.add(Class::Kek, at(0)), Err(Error::ReadOnly)));
    let next_year = at(400 * 86_400);
    assert!(!keyring.ensure_index_epoch(next_year).unwrap());
    assert_eq!(keyring.active_index(next_year).unwrap().0, 19_701);
    assert!(Keyring::open(Source::Text(Zeroizing::new("{}".into())), true, at(0)).is_err());
}

#[test]
fn descriptions_and_debug_show_no_key() {
    let (_root, _, keyring) = new();
    let shown = format!("{keyring:?} {}", serde_json::to_string(&keyring.describe()).unwrap());
    for class in Class::ALL {
        for (_, key) in keyring.all(class) {
            use base64::Engine;
            let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.as_ref());
            assert!(!shown.contains(&text[..8]));
        }
    }
}

#[test]
fn signing_keys_overlap_while_they_rotate() {
    let (_root, path, keyring) = new();
    let ids = |keyring: &Keyring| -> Vec<u32> {
        keyring.signing(Class::Checkpoint).iter().map(|(id, _)| *id).collect()
    };
    assert_eq!(ids(&keyring), [1]);
    assert_eq!(keyring.add(Class::Checkpoint, at(1)).unwrap(), 2);
    assert_eq!(ids(&keyring), [1], "added, not yet in use");
    keyring.activate(Class::Checkpoint, 2, at(2)).unwrap();
    assert_eq!(ids(&keyring), [2, 1], "both sign");
    keyring.remove(Class::Checkpoint, 1).unwrap();
    assert_eq!(ids(&open(&path, false).unwrap()), [2]);
    assert_ne!(keyring.signing(Class::Checkpoint)[0].1, keyring.signing(Class::Manifest)[0].1);
}

#[test]
fn knows_when_a_key_was_replaced_and_which_were_destroyed_here() {
    let (_root, path, keyring) = new();
    let second = keyring.add(Class::Kek, at(5)).unwrap();
    keyring.activate(Class::Kek, second, at(6)).unwrap();
    keyring.activate(Class::Kek, second, at(7)).unwrap();
    let of = |id: u32| {
        let keys = open(&path, false).unwrap().describe();
        let key = keys.into_iter().find(|key| key.class == Class::Kek && key.id == id).unwrap();
        (key.activated, key.replaced)
    };
    assert_eq!(of(1), (Some(at(0)), Some(at(6))));
    assert_eq!(of(2), (Some(at(6)), None), "to activate it again says nothing new");
    keyring.replaced_now(Class::Kek, 1, at(3)).unwrap();
    keyring.replaced_now(Class::Kek, 2, at(3)).unwrap();
    assert_eq!((of(1).1, of(2).1), (Some(at(3)), None), "the active one is replaced by nobody");

    keyring.activate(Class::Kek, 1, at(8)).unwrap();
    keyring.destroy(Class::Kek, second, at(9)).unwrap();
    let read = open(&path, false).unwrap();
    assert_eq!(read.gone(), [Gone { class: Class::Kek, id: 2, at: at(9) }]);
    let gone = read.kek(second).unwrap_err();
    assert!(matches!(gone, Error::Destroyed { id: 2, .. }), "{gone}");
    assert!(matches!(read.kek(3).unwrap_err(), Error::NoKey { id: 3, .. }));
    assert_eq!(read.add(Class::Kek, at(10)).unwrap(), 3, "no id is given twice");
    assert!(matches!(read.activate(Class::Fingerprint, 1, at(11)), Err(Error::Lasting(_))));
}

/// A keyring from before the times were kept is read, and written again byte for byte the same but for
/// what is new.
#[test]
fn a_keyring_without_times_is_still_one() {
    let (_root, path, keyring) = new();
    let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for line in document["body"]["keys"].as_array_mut().unwrap() {
        line.as_object_mut().unwrap().remove("activated");
    }
    // The checksum is over the body as it was written, with its keys in their order.
    let keys = document["body"]["keys"].as_array().unwrap().iter().map(|line| {
        format!(
            r#"{{"class":{},"id":{},"created":{},"active":{},"key":{}}}"#,
            line["class"], line["id"], line["created"], line["active"], line["key"]
        )
    });
    let keys = keys.collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"format":1,"vault":{},"keys":[{keys}]}}"#, document["body"]["vault"]);
    let check = serde_json::to_string(&digest_of(body.as_bytes())).unwrap();
    std::fs::write(&path, format!(r#"{{"body":{body},"check":{check}}}"#)).unwrap();
    let read = open(&path, false).unwrap();
    assert_eq!(read.active_kek().unwrap(), keyring.active_kek().unwrap());
    assert!(read.describe().iter().all(|key| key.activated.is_none() && key.replaced.is_none()));
}

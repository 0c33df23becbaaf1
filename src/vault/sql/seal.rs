//! Keys of holders wrapped by a key-encryption key, and identifier values sealed by an identity key.
//! AES-256-GCM with random nonces: far below the 2^32 uses per key that those allow.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::domain::id::SubjectId;
use crate::vault::{Error, Key};

const NONCE: usize = 12;
const TAG: usize = 16;
/// A wrapped key: nonce, ciphertext, tag. All zeros once destroyed.
pub type Wrapped = [u8; NONCE + 32 + TAG];
pub const DESTROYED: Wrapped = [0; NONCE + 32 + TAG];

pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Unavailable {
        reason: "no randomness from the operating system",
        source: Some(anyhow::Error::new(e)),
    })?;
    Ok(bytes)
}

pub fn new_key() -> Result<Key, Error> {
    Ok(Zeroizing::new(random()?))
}

pub fn cipher(key: &Key) -> Aes256Gcm {
    let bytes: &[u8; 32] = key;
    Aes256Gcm::new(bytes.into())
}

pub fn wrap(kek: &Aes256Gcm, subject: SubjectId, class: &str, key: &Key) -> Result<Wrapped, Error> {
    let sealed = seal(kek, &aad(subject, class), key.as_ref())?;
    sealed.as_slice().try_into().map_err(|_| corrupt("a wrapped key has a wrong length"))
}

/// `None` if the key was destroyed.
pub fn unwrap(
    kek: &Aes256Gcm,
    subject: SubjectId,
    class: &str,
    wrapped: &Wrapped,
) -> Result<Option<Key>, Error> {
    if *wrapped == DESTROYED {
        return Ok(None);
    }
    let opened = open(kek, &aad(subject, class), wrapped)?;
    let mut key: Key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&opened);
    Ok(Some(key))
}

pub fn seal_value(identity: &Key, subject: SubjectId, value: &str) -> Result<Vec<u8>, Error> {
    seal(&cipher(identity), &aad(subject, "value"), value.as_bytes())
}

pub fn open_value(identity: &Key, subject: SubjectId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    open(&cipher(identity), &aad(subject, "value"), sealed)
}

fn aad(subject: SubjectId, class: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(16 + class.len());
    aad.extend_from_slice(&subject.0);
    aad.extend_from_slice(class.as_bytes());
    aad
}

fn seal(cipher: &Aes256Gcm, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random::<NONCE>()?;
    let mut out = Vec::with_capacity(NONCE + plain.len() + TAG);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = cipher
        .encrypt_inout_detached((&nonce).into(), aad, (&mut out[NONCE..]).into())
        .map_err(|_| corrupt("a value is too long to seal"))?;
    out.extend_from_slice(&tag);
    Ok(out)
}

fn open(cipher: &Aes256Gcm, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let wrong = || corrupt("a sealed row does not open under its key");
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
    let (text, tag) = rest.split_last_chunk::<TAG>().ok_or_else(wrong)?;
    let mut plain = Zeroizing::new(text.to_vec());
    cipher
        .decrypt_inout_detached(nonce.into(), aad, plain.as_mut_slice().into(), tag.into())
        .map_err(|_| wrong())?;
    Ok(plain)
}

pub fn corrupt(what: &'static str) -> Error {
    Error::Corrupt { what, source: None }
}

//! Which key seals what, and how it is derived. Every derived key seals one thing once, which is
//! why every nonce is zero.

use std::sync::{Mutex, PoisonError};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::id::{Digest, SubjectId};
use crate::record::Error;

/// 16 random bytes of one record; everything derived for the record depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    pub fn random() -> Result<Salt, Error> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Salt(bytes))
    }

    /// As many salts as a batch needs, by one call of the system instead of one each.
    pub fn many(count: usize) -> Result<Vec<Salt>, Error> {
        let mut bytes = vec![0u8; count * 16];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(bytes.as_chunks::<16>().0.iter().map(|salt| Salt(*salt)).collect())
    }
}

/// Whose key, and which of theirs, seals a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A person's identity key.
    Identity,
    /// A person's evidence key.
    Evidence,
    /// A matter's key.
    Matter,
    /// The controller's key: for a part that is attributed to nobody yet.
    Organisation,
}

impl Class {
    pub const ALL: [Class; 4] = [Class::Identity, Class::Evidence, Class::Matter, Class::Organisation];

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Identity => "identity",
            Class::Evidence => "evidence",
            Class::Matter => "matter",
            Class::Organisation => "organisation",
        }
    }

    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

pub type SecretKey = Zeroizing<[u8; 32]>;

/// The index key of one epoch, ready to derive from.
#[derive(Clone)]
pub struct IndexKey {
    pub epoch: u32,
    state: Hmac<Sha256>,
}

impl IndexKey {
    pub fn new(epoch: u32, key: &[u8; 32]) -> Self {
        IndexKey { epoch, state: keyed(key) }
    }

    /// The key of the index block of part `i` of one record.
    pub fn block_key(&self, salt: Salt, i: u8) -> SecretKey {
        let mut mac = self.state.clone();
        mac.update(b"custody/v1/index");
        mac.update(&salt.0);
        mac.update(&[i]);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// Makes what stands in place of a tag where there is nobody.
    pub(crate) fn filler_key(&self) -> SecretKey {
        let mut mac = self.state.clone();
        mac.update(b"custody/v1/filler");
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

/// Where index keys come from: the keyring, for those who read records.
pub trait IndexKeys: Send + Sync {
    /// `None` if the epoch's key was destroyed or never was in this keyring.
    fn index_key(&self, epoch: u32) -> Option<IndexKey>;
}

/// An HMAC-SHA-256 state under a 32-byte key. HMAC itself fills a key up to the block with zeros.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0u8; 64]);
    block[..32].copy_from_slice(key);
    <Hmac<Sha256> as hmac::KeyInit>::new(&(*block).into())
}

/// K_e: seals one box of one part of one record. Disclosing it opens that box and nothing else.
pub fn box_key(class: Class, key: &[u8; 32], salt: Salt, i: u8) -> SecretKey {
    let mut derived = Zeroizing::new([0u8; 32]);
    // 32 bytes are far below HKDF's limit of 8,160, so expansion cannot fail.
    let _ = Hkdf::<Sha256>::new(None, key).expand_multi_info(
        &[b"custody/v1/seal/", class.as_str().as_bytes(), &salt.0, &[i]],
        derived.as_mut(),
    );
    derived
}

/// `kc`: binds the header to the one key that opens the box, because AES-GCM alone does not.
pub fn commitment(box_key: &SecretKey) -> Digest {
    Digest(Sha256::new_with_prefix(b"custody/v1/commit").chain_update(box_key.as_ref()).finalize().into())
}

/// The key of a person's tags in one year (UTC, by `recorded_at`). Who holds it can find all of
/// that person's records of that year, and no others.
pub fn tag_key(link: &[u8; 32], year: i32) -> SecretKey {
    let mut derived = Zeroizing::new([0u8; 32]);
    // As above: too short to fail.
    let _ = Hkdf::<Sha256>::new(None, link)
        .expand(format!("custody/v1/tag/{year:04}").as_bytes(), derived.as_mut());
    derived
}

/// The tag key of the year in which somebody was recorded about last, kept beside the link key that it is
/// derived from: deriving it costs more than the tag.
#[derive(Default)]
pub struct YearKey(Mutex<Option<(i32, SecretKey)>>);

impl YearKey {
    /// The tag key of a year.
    pub fn of(&self, link: &SecretKey, year: i32) -> SecretKey {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, key)) if *of == year => key.clone(),
            _ => known.insert((year, tag_key(link, year))).1.clone(),
        }
    }
}

/// What an erased person is remembered by: SHA-256(label ‖ subject id). It stands in the header of
/// the erasure, so that the handle itself need not be kept to know it again.
pub fn tomb(subject: SubjectId) -> Digest {
    Digest(Sha256::new_with_prefix(b"custody/v1/tomb").chain_update(subject.0).finalize().into())
}

/// The tag of part `i`: HMAC(tag key, salt ‖ i), cut to 16 bytes.
pub fn tag(tag_key: &SecretKey, salt: Salt, i: u8) -> [u8; 16] {
    let mut mac = keyed(tag_key);
    mac.update(&salt.0);
    mac.update(&[i]);
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut cut = [0u8; 16];
    cut.copy_from_slice(&full[..16]);
    cut
}

/// Encrypts in place and appends the 16-byte tag. `from` is where the plaintext begins in `buffer`.
pub(crate) fn encrypt(key: &SecretKey, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), Error> {
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(**key));
    let tag = cipher
        .encrypt_inout_detached(&Nonce::default(), aad, (&mut buffer[from..]).into())
        .map_err(|_| Error::TooLarge { what: "sealed part", limit: crate::limits::SIDECAR_BYTES })?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts `ciphertext ‖ tag`.
pub(crate) fn decrypt(
    key: &SecretKey,
    aad: &[u8],
    sealed: &[u8],
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (ciphertext, tag) = sealed.split_last_chunk::<16>().ok_or(Error::Unopened { what })?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(**key))
        .decrypt_inout_detached(&Nonce::default(), aad, plain.as_mut_slice().into(), &Tag::from(*tag))
        .map_err(|_| Error::Unopened { what })?;
    Ok(plain)
}

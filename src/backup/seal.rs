//! Sealed files: AES-256-GCM in chunks, each bound to its place.
//!
//! A file is chunks of `CHUNK` bytes of plaintext, the last one shorter or empty, each followed by
//! its tag. Its key is HKDF-SHA-256(salt of the file, key-encryption key, label ‖ backup ‖ name), so it
//! seals one file once. The nonce is the chunk's number with a flag on the last chunk, so chunks
//! that were left out, doubled, exchanged or cut off do not open. The associated data name backup
//! and file once more, so that two files exchanged do not open either.

use std::io::{Read, Write};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Plaintext of a chunk.
pub const CHUNK: usize = 1 << 20;
pub const TAG: usize = 16;
const LABEL: &[u8] = b"custody/v1/backup";

/// The key-encryption key, to derive from.
pub struct Root(Zeroizing<[u8; 32]>);

impl Root {
    pub fn new(kek: &[u8; 32]) -> Root {
        Root(Zeroizing::new(*kek))
    }

    fn derive(&self, salt: &[u8], what: &[u8], of: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        // 32 bytes are far below HKDF's limit of 8,160, so expansion cannot fail.
        let _ = Hkdf::<Sha256>::new(Some(salt), self.0.as_ref())
            .expand_multi_info(&[LABEL, what, of], derived.as_mut());
        derived
    }

    /// Tells an altered manifest.
    pub fn manifest_mac(&self, id: &[u8; 16], text: &[u8]) -> [u8; 32] {
        let mut mac = keyed(&self.derive(id, b"/manifest", b""));
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// Tells whether two plaintexts are the same, to nobody else: a plain digest would let whoever
    /// guesses a file see that it was guessed.
    pub fn sameness(&self) -> Hmac<Sha256> {
        keyed(&self.derive(b"", b"/same", b""))
    }

    pub fn cipher(&self, place: &Place<'_>) -> Cipher {
        let data = place.associated_data();
        let key = self.derive(place.salt, b"/file", &data);
        Cipher { aes: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), data, next: 0 }
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0u8; 64]);
    block[..32].copy_from_slice(key);
    <Hmac<Sha256> as hmac::KeyInit>::new(&(*block).into())
}

/// What a sealed file is.
pub struct Place<'a> {
    /// The backup it was sealed for, which is an earlier one if it is used again.
    pub backup: &'a [u8; 16],
    pub name: &'a str,
    pub salt: &'a [u8; 32],
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        [&self.backup[..], self.name.as_bytes()].concat()
    }
}

pub struct Cipher {
    aes: Aes256Gcm,
    data: Vec<u8>,
    next: u64,
}

impl Cipher {
    fn nonce(&mut self, last: bool) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(last);
        self.next += 1;
        Nonce::from(nonce)
    }

    fn seal(&mut self, chunk: &mut Vec<u8>, last: bool) -> std::io::Result<()> {
        let nonce = self.nonce(last);
        let tag = self.aes.encrypt_inout_detached(&nonce, &self.data, chunk.as_mut_slice().into());
        // AES-GCM takes 64 GiB at once; a chunk is 1 MiB.
        chunk.extend_from_slice(&tag.map_err(std::io::Error::other)?);
        Ok(())
    }

    /// The plaintext is what is left in the chunk. `false`: it is not what was sealed.
    fn open(&mut self, chunk: &mut Vec<u8>, last: bool) -> bool {
        let nonce = self.nonce(last);
        let Some((_, tag)) = chunk.split_last_chunk::<TAG>() else { return false };
        let tag = Tag::from(*tag);
        chunk.truncate(chunk.len() - TAG);
        self.aes.decrypt_inout_detached(&nonce, &self.data, chunk.as_mut_slice().into(), &tag).is_ok()
    }
}

/// What was written of a file.
pub struct Written {
    pub plain_bytes: u64,
    pub bytes: u64,
    /// Of the sealed bytes.
    pub sha256: [u8; 32],
    /// Of the plaintext, keyed.
    pub same: [u8; 32],
}

/// Seals what is written to it.
pub struct Sealer<W> {
    out: W,
    cipher: Cipher,
    chunk: Vec<u8>,
    digest: Sha256,
    same: Hmac<Sha256>,
    plain_bytes: u64,
    bytes: u64,
}

impl<W: Write> Sealer<W> {
    pub fn new(out: W, cipher: Cipher, same: Hmac<Sha256>) -> Self {
        let chunk = Vec::with_capacity(CHUNK + TAG);
        Sealer { out, cipher, chunk, digest: Sha256::new(), same, plain_bytes: 0, bytes: 0 }
    }

    pub fn add(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        self.same.update(bytes);
        self.plain_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // Only what follows shows that a full chunk is not the last one.
            if self.chunk.len() == CHUNK {
                self.flush(false)?;
            }
            let take = bytes.len().min(CHUNK - self.chunk.len());
            self.chunk.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
        }
        Ok(())
    }

    fn flush(&mut self, last: bool) -> std::io::Result<()> {
        self.cipher.seal(&mut self.chunk, last)?;
        self.digest.update(&self.chunk);
        self.bytes += self.chunk.len() as u64;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    pub fn finish(mut self) -> std::io::Result<(W, Written)> {
        self.flush(true)?;
        let written = Written {
            plain_bytes: self.plain_bytes,
            bytes: self.bytes,
            sha256: self.digest.finalize().into(),
            same: self.same.finalize().into_bytes().into(),
        };
        Ok((self.out, written))
    }
}

/// Why a sealed file is refused.
pub enum Refused<E> {
    Unreadable(std::io::Error),
    /// In words that follow the file's name.
    Altered(&'static str),
    /// By whoever takes the plaintext.
    Taker(E),
}

/// Opens a file of so many sealed bytes and hands on each chunk that checks.
pub fn open<E>(
    mut file: impl Read,
    bytes: u64,
    mut cipher: Cipher,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<[u8; 32], Refused<E>> {
    let mut digest = Sha256::new();
    let (mut left, mut chunk) = (bytes, Zeroizing::new(Vec::with_capacity(CHUNK + TAG)));
    loop {
        let size = left.min((CHUNK + TAG) as u64);
        chunk.resize(size as usize, 0);
        match file.read_exact(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Refused::Altered("is cut short"));
            }
            read => read.map_err(Refused::Unreadable)?,
        }
        left -= size;
        digest.update(chunk.as_slice());
        if !cipher.open(&mut chunk, left == 0) {
            return Err(Refused::Altered("does not check: it was damaged or altered"));
        }
        take(&chunk).map_err(Refused::Taker)?;
        if left == 0 {
            return Ok(digest.finalize().into());
        }
    }
}

//! Signed notes (`signed-note`): a text with signature lines, and the keys that make and check them.
//!
//! Two kinds of key: those that sign a text as it stands (a log's checkpoint, an export's
//! manifest), and those of witnesses, which sign a checkpoint together with a time
//! (`tlog-cosignature`).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{Invalid, base64, malformed, unbase64};

/// More signatures than this nobody needs to send.
pub const MAX_SIGNATURES: usize = 128;
/// The longest signature of any kind that is passed on, in bytes.
const MAX_SIGNATURE: usize = 8 * 1024;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// Ed25519 over the text.
    Text = 0x01,
    /// Ed25519 over `cosignature/v1`, a time and the text.
    Cosignature = 0x04,
}

/// A key that checks signatures, as `name+id+key` (a *vkey*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, kind: KeyKind, key: VerifyingKey) -> Result<Self, Invalid> {
        check_name(name)?;
        let id = key_id(name, kind, key.as_bytes());
        Ok(VerifierKey { name: name.to_owned(), id, kind, key })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the key.
    pub fn key_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Checks a signature's bytes; a cosignature has a time, in seconds since 1970.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Invalid> {
        let refused = || Invalid::Signature(self.name.clone());
        let (time, signature) = match self.kind {
            KeyKind::Text => (None, signature),
            KeyKind::Cosignature => {
                let (time, rest) = signature.split_first_chunk::<8>().ok_or_else(refused)?;
                let time = u64::from_be_bytes(*time);
                (Some(time).filter(|time| *time <= i64::MAX as u64).map(Some).ok_or_else(refused)?, rest)
            }
        };
        let signature = signature.try_into().map_err(|_| refused())?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        let message = time.map(|time| cosigned(time, text));
        let message = message.as_deref().unwrap_or(text);
        // Strict: no weak key, no second form of the same signature.
        self.key.verify_strict(message.as_bytes(), &signature).map_err(|_| refused())?;
        Ok(time)
    }
}

fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn key_id(name: &str, kind: KeyKind, key: &[u8; 32]) -> u32 {
    let digest = Sha256::new_with_prefix(name).chain_update([b'\n', kind as u8]).chain_update(key).finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Whether a name may stand in a signature line.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if name.is_empty() || name.len() > 512 || !name.chars().all(allowed) {
        return Err(malformed("key name", "empty, too long, or with blanks or a plus"));
    }
    Ok(())
}

impl FromStr for VerifierKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why| malformed("verifier key", why);
        let (name, rest) = text.split_once('+').ok_or(wrong("not NAME+ID+KEY"))?;
        let (id, key) = rest.split_once('+').ok_or(wrong("not NAME+ID+KEY"))?;
        let hex = id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let id =
            u32::from_str_radix(id, 16).ok().filter(|_| hex).ok_or(wrong("the id is not 8 hex digits"))?;
        let key = unbase64(key).filter(|key| key.len() == 33).ok_or(wrong("not 33 bytes in base64"))?;
        let kind = match key[0] {
            0x01 => KeyKind::Text,
            0x04 => KeyKind::Cosignature,
            _ => return Err(wrong("neither Ed25519 (1) nor an Ed25519 cosignature (4)")),
        };
        let bytes = key[1..].try_into().map_err(|_| wrong("not 33 bytes in base64"))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong("not a point of the curve"))?;
        if key.is_weak() {
            return Err(wrong("a weak key, for which anybody can sign"));
        }
        let found = VerifierKey::new(name, kind, key)?;
        if found.id != id { Err(wrong("the id is not that of name and key")) } else { Ok(found) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind as u8];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64(&key))
    }
}

/// A key that signs. It cannot be printed, and is overwritten when dropped.
pub struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.verifier.name).finish()
    }
}

impl Signer {
    /// The signer of a name, from the 32 secret bytes of its key.
    pub fn from_seed(name: &str, kind: KeyKind, seed: &[u8; 32]) -> Result<Signer, Invalid> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, kind, key.verifying_key())?;
        Ok(Signer { key, verifier })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text; a cosigner says at which time (seconds since 1970), which others leave out.
    pub fn sign(&self, text: &str, time: u64) -> Signature {
        let bytes = match self.verifier.kind {
            KeyKind::Text => self.key.sign(text.as_bytes()).to_bytes().to_vec(),
            KeyKind::Cosignature => {
                let signature = self.key.sign(cosigned(time, text).as_bytes());
                [&time.to_be_bytes()[..], &signature.to_bytes()].concat()
            }
        };
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes }
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub id: u32,
    /// Without the key's id.
    pub bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Result<Self, Invalid> {
        let wrong = |why| malformed("signature line", why);
        let rest =
            line.strip_prefix("\u{2014} ").ok_or(wrong("it does not begin with a dash and a blank"))?;
        let (name, bytes) = rest.split_once(' ').ok_or(wrong("a name or a signature is missing"))?;
        check_name(name)?;
        if bytes.len() > MAX_SIGNATURE * 4 / 3 {
            return Err(wrong("too long"));
        }
        let bytes = unbase64(bytes).ok_or(wrong("not base64"))?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or(wrong("too short"))?;
        if bytes.is_empty() {
            return Err(wrong("too short"));
        }
        Ok(Signature { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }

    /// Whether this key is named here.
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id && self.name == key.name
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.to_be_bytes()[..], &self.bytes].concat();
        writeln!(f, "\u{2014} {} {}", self.name, base64(&bytes))
    }
}

/// A signature that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Which of the keys given.
    pub key: usize,
    /// When, for cosignatures: seconds since 1970.
    pub time: Option<u64>,
}

/// A text and who signed it. Parsed is not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// With its last newline.
    pub text: String,
    pub signatures: Vec<Signature>,
}

impl Note {
    /// A text of one's own, not yet signed. It ends with a newline, as the format asks.
    pub fn new(text: String) -> Result<Note, Invalid> {
        check_text(&text)?;
        Ok(Note { text, signatures: Vec::new() })
    }

    /// Adds signatures in the order of the signers.
    pub fn signed<'s>(mut self, signers: impl IntoIterator<Item = &'s Signer>) -> Note {
        let signatures = signers.into_iter().map(|signer| signer.sign(&self.text, 0));
        self.signatures.extend(signatures.collect::<Vec<_>>());
        self
    }

    /// A text, an empty line, and at least one signature line.
    pub fn parse(bytes: &[u8]) -> Result<Note, Invalid> {
        let wrong = |why| malformed("note", why);
        let all = std::str::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))?;
        // The text may hold empty lines; the last one separates.
        let split = all.rfind("\n\n").ok_or(wrong("no empty line before the signatures"))?;
        let (text, lines) = (&all[..=split], &all[split + 2..]);
        check_text(text)?;
        let lines = lines.strip_suffix('\n').ok_or(wrong("it does not end with a newline"))?;
        if lines.bytes().filter(|b| *b == b'\n').count() >= MAX_SIGNATURES {
            return Err(wrong("too many signatures"));
        }
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<_, _>>()?;
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// Checks every signature of a known key; unknown ones say nothing. One that does not verify,
    /// or two of the same key, refuse the whole note; none of a known key does too.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, Invalid> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in &self.signatures {
            for (number, key) in keys.iter().enumerate().filter(|(_, key)| signature.is_of(key)) {
                if verified.iter().any(|seen| seen.key == number) {
                    return Err(Invalid::TwoSignatures(key.name.clone()));
                }
                let time = key.verify(&self.text, &signature.bytes)?;
                verified.push(Verified { key: number, time });
            }
        }
        if verified.is_empty() { Err(Invalid::Unsigned) } else { Ok(verified) }
    }

    /// Takes over signatures of the known keys that this text lacks and that verify, such as those
    /// a witness answered with; says how many.
    pub fn adopt(&mut self, lines: &str, keys: &[VerifierKey]) -> Result<usize, Invalid> {
        let mut adopted = 0;
        for line in lines.lines().take(MAX_SIGNATURES) {
            let signature = Signature::parse(line)?;
            let Some(key) = keys.iter().find(|key| signature.is_of(key)) else { continue };
            key.verify(&self.text, &signature.bytes)?;
            self.signatures.retain(|old| !old.is_of(key));
            self.signatures.push(signature);
            adopted += 1;
        }
        Ok(adopted)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

fn check_text(text: &str) -> Result<(), Invalid> {
    if !text.ends_with('\n') || text.len() < 2 {
        return Err(malformed("note", "its text is empty or does not end with a newline"));
    }
    if text.bytes().any(|b| b < b' ' && b != b'\n') {
        return Err(malformed("note", "control characters"));
    }
    Ok(())
}

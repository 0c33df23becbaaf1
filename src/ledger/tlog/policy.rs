//! Whom to trust (`tlog-policy`): the keys of logs, the keys of witnesses, and which of these have
//! to have cosigned a checkpoint.

use std::collections::BTreeSet;

use super::checkpoint::SignedCheckpoint;
use super::note::{KeyKind, VerifierKey};
use super::{Invalid, decimal, malformed};

/// Lines that define something; the format asks for at least 32 of each kind.
const MAX_DEFINITIONS: usize = 1_024;
/// Longest policy that is read.
const MAX_BYTES: usize = 1 << 20;

/// Who signs checkpoints, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// A witness's name within the policy; empty for a log.
    pub name: Vec<u8>,
    pub key: VerifierKey,
    pub url: Option<String>,
}

/// A witness, or so many of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group { least: usize, members: Vec<usize> },
}

/// A policy that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub logs: Vec<Party>,
    pub witnesses: Vec<Party>,
    /// Witnesses and groups in the order of their definition; a group names only earlier ones.
    members: Vec<Member>,
    /// `None`: no cosignature is asked for.
    quorum: Option<usize>,
}

/// What a policy says of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Which of the policy's logs have signed it.
    pub logs: Vec<usize>,
    /// Which of its witnesses have cosigned it, and when (seconds since 1970).
    pub witnesses: Vec<(usize, u64)>,
    /// Whether those are enough.
    pub quorum: bool,
}

impl Policy {
    /// The policy that trusts one log and asks for no witness.
    pub fn of_log(key: VerifierKey) -> Policy {
        let log = Party { name: Vec::new(), key, url: None };
        Policy { logs: vec![log], witnesses: Vec::new(), members: Vec::new(), quorum: None }
    }

    pub fn parse(bytes: &[u8]) -> Result<Policy, Invalid> {
        if bytes.len() > MAX_BYTES {
            return Err(wrong("longer than 1 MiB"));
        }
        if bytes.iter().any(|b| (*b < b' ' && *b != b'\t' && *b != b'\n') || *b == 0x7f) {
            return Err(wrong("control characters"));
        }
        let mut draft = Draft::default();
        for line in bytes.split(|b| *b == b'\n') {
            let words: Vec<&[u8]> =
                line.split(|b| *b == b' ' || *b == b'\t').filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with(b"#") => {}
                words => draft.define(words)?,
            }
        }
        draft.finish()
    }

    /// Whether a quorum is asked for at all.
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these witnesses are enough.
    pub fn is_quorum(&self, cosigned: &[usize]) -> bool {
        let Some(quorum) = self.quorum else { return true };
        let mut holds: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            holds.push(match member {
                Member::Witness(number) => cosigned.contains(number),
                Member::Group { least, members } => {
                    members.iter().filter(|member| holds.get(**member) == Some(&true)).count() >= *least
                }
            });
        }
        holds.get(quorum) == Some(&true)
    }

    /// Checks the signatures of a checkpoint. One of a known key that does not verify refuses it
    /// whole, and so does a checkpoint that no listed log has signed in its own name.
    pub fn judge(&self, checkpoint: &SignedCheckpoint) -> Result<Judgement, Invalid> {
        let keys: Vec<VerifierKey> =
            self.logs.iter().chain(&self.witnesses).map(|party| party.key.clone()).collect();
        let (mut logs, mut witnesses) = (Vec::new(), Vec::new());
        for verified in checkpoint.note.verify(&keys)? {
            match verified.key.checked_sub(self.logs.len()) {
                None if keys[verified.key].name() == checkpoint.checkpoint.origin => {
                    logs.push(verified.key);
                }
                None => {}
                Some(witness) => witnesses.push((witness, verified.time.unwrap_or_default())),
            }
        }
        if logs.is_empty() {
            return Err(Invalid::Unsigned);
        }
        let cosigned: Vec<usize> = witnesses.iter().map(|(witness, _)| *witness).collect();
        Ok(Judgement { logs, witnesses, quorum: self.is_quorum(&cosigned) })
    }
}

fn wrong(why: &'static str) -> Invalid {
    malformed("policy", why)
}

#[derive(Default)]
struct Draft {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    names: Vec<Vec<u8>>,
    members: Vec<Member>,
    listed: BTreeSet<usize>,
    quorum: Option<Option<usize>>,
}

impl Draft {
    fn define(&mut self, words: &[&[u8]]) -> Result<(), Invalid> {
        if self.logs.len() + self.members.len() >= MAX_DEFINITIONS {
            return Err(wrong("too many definitions"));
        }
        match words {
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, least, members @ ..] if !members.is_empty() => self.group(name, least, members),
            [b"quorum", name] => self.set_quorum(name),
            _ => Err(wrong("a line is neither log, witness, group nor quorum, or lacks something")),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&&[u8]>) -> Result<(), Invalid> {
        let party = party(b"", key, url, KeyKind::Text)?;
        if self.logs.iter().any(|log| log.key.key_bytes() == party.key.key_bytes()) {
            return Err(wrong("a log's key stands there twice"));
        }
        self.logs.push(party);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&&[u8]>) -> Result<(), Invalid> {
        let party = party(name, key, url, KeyKind::Cosignature)?;
        if self.witnesses.iter().any(|witness| witness.key.key_bytes() == party.key.key_bytes()) {
            return Err(wrong("a witness's key stands there twice"));
        }
        self.name(name)?;
        self.members.push(Member::Witness(self.witnesses.len()));
        self.witnesses.push(party);
        Ok(())
    }

    fn group(&mut self, name: &[u8], least: &[u8], named: &[&[u8]]) -> Result<(), Invalid> {
        let mut members = Vec::with_capacity(named.len());
        for member in named {
            let member = self.find(member)?;
            if !self.listed.insert(member) {
                return Err(wrong("a name is a member twice"));
            }
            members.push(member);
        }
        let number = || std::str::from_utf8(least).ok().and_then(decimal);
        let least = match least {
            b"all" => members.len(),
            b"any" => 1,
            _ => number().and_then(|k| usize::try_from(k).ok()).unwrap_or(0),
        };
        if least == 0 || least > members.len() {
            return Err(wrong("a group's threshold is all, any, or 1 to its number of members"));
        }
        self.name(name)?;
        self.members.push(Member::Group { least, members });
        Ok(())
    }

    fn set_quorum(&mut self, name: &[u8]) -> Result<(), Invalid> {
        if self.quorum.is_some() {
            return Err(wrong("more than one quorum"));
        }
        self.quorum = Some(if name == b"none" { None } else { Some(self.find(name)?) });
        Ok(())
    }

    fn name(&mut self, name: &[u8]) -> Result<(), Invalid> {
        if name == b"none" || self.names.iter().any(|known| known == name) {
            return Err(wrong("a name is given twice, or is none"));
        }
        self.names.push(name.to_vec());
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Result<usize, Invalid> {
        let found = self.names.iter().position(|known| known == name);
        found.ok_or(wrong("a name is used before it is defined"))
    }

    fn finish(self) -> Result<Policy, Invalid> {
        let quorum = self.quorum.ok_or(wrong("no quorum line"))?;
        Ok(Policy { logs: self.logs, witnesses: self.witnesses, members: self.members, quorum })
    }
}

fn party(name: &[u8], key: &[u8], url: Option<&&[u8]>, kind: KeyKind) -> Result<Party, Invalid> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| wrong("a key or an address is not UTF-8"));
    let key: VerifierKey = text(key)?.parse()?;
    if key.kind() != kind {
        return Err(wrong("a log's key is of type 1, a witness's of type 4"));
    }
    let url = url.map(|url| text(url).map(str::to_owned)).transpose()?;
    Ok(Party { name: name.to_vec(), key, url })
}

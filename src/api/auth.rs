//! Who is calling: a bearer token becomes a [`Caller`], or the call ends here.
//!
//! Tokens are kept as SHA-256 in a file that `custody token new` writes. The file is looked at
//! again at most every half second and read again when it changed, so a token that was taken out
//! stops working within a second. A file that cannot be read lets nobody in: a slip in an editor
//! must not bring back a token that was revoked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::app::{Caller, Error, Role};
use crate::clock::Clock;
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;

/// How long the file may go unwatched.
const RECHECK_MS: i64 = 500;
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES: usize = 256;

/// One `[[token]]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: Id,
    pub role: Role,
    /// Lower-case hex.
    pub sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Id>,
    /// Emitter names it may use besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emitters: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub realms: Vec<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_country: Option<Country>,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default, rename = "token")]
    pub tokens: Vec<Entry>,
}

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the tokens file {path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the tokens file {path} is malformed: {why}")]
    Malformed { path: PathBuf, why: String },
}

/// The form in which a token is kept.
pub fn hash(token: &str) -> String {
    hex(&digest(token))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

impl File {
    pub fn read(path: &Path) -> Result<File, FileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|e: toml::de::Error| FileError::Malformed {
            path: path.to_owned(),
            why: e.message().to_owned(),
        })
    }

    fn callers(self, path: &Path) -> Result<Callers, FileError> {
        let malformed = |why| FileError::Malformed { path: path.to_owned(), why };
        let mut callers = HashMap::with_capacity(self.tokens.len());
        for entry in self.tokens {
            let key = unhex(&entry.sha256).ok_or_else(|| {
                malformed(format!("sha256 of token {} is not 64 hexadecimal digits", entry.name))
            })?;
            let name = entry.name.clone();
            if callers.insert(key, Arc::new(Caller::from(entry))).is_some() {
                return Err(malformed(format!("token {name} stands there twice")));
            }
        }
        Ok(callers)
    }
}

impl From<Entry> for Caller {
    fn from(entry: Entry) -> Caller {
        let mut emitters = entry.emitters;
        if !emitters.contains(&entry.name) {
            emitters.push(entry.name.clone());
        }
        Caller {
            name: entry.name,
            roles: vec![entry.role],
            controller: entry.controller,
            services: entry.services,
            emitters,
            realms: entry.realms,
            home_country: entry.home_country,
        }
    }
}

type Callers = HashMap<[u8; 32], Arc<Caller>>;

/// Tells callers by their tokens.
pub struct Authenticator {
    clock: Arc<dyn Clock>,
    /// `None`: no tokens are configured, everybody is `local`.
    tokens: Option<Tokens>,
    local: Arc<Caller>,
}

struct Tokens {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    seen: Stamp,
    checked: Timestamp,
    /// `None` while the file cannot be used.
    callers: Option<Arc<Callers>>,
}

/// What tells one version of the file from the next: its change time (which no tool can set back),
/// length and inode.
#[derive(PartialEq)]
struct Stamp(Option<(i64, i64, u64, u64)>);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        Stamp(std::fs::metadata(path).ok().map(|m| (m.ctime(), m.ctime_nsec(), m.len(), m.ino())))
    }
}

impl Authenticator {
    /// Reads the file, if one is configured; it must be usable at start.
    pub fn new(tokens: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        let tokens = match tokens {
            None => None,
            Some(path) => {
                // The stamp first: a change in between is then read again, not missed.
                let seen = Stamp::of(path);
                let callers = File::read(path)?.callers(path)?;
                let state = State { seen, checked: clock.now(), callers: Some(Arc::new(callers)) };
                Some(Tokens { path: path.to_owned(), state: Mutex::new(state) })
            }
        };
        Ok(Authenticator { clock, tokens, local: Arc::new(Caller::local()) })
    }

    /// Who sends this `authorization` value.
    pub fn caller(&self, authorization: Option<&str>) -> Result<Arc<Caller>, Error> {
        let refused = |why| Err(Error::Unauthenticated(why));
        let Some(tokens) = &self.tokens else {
            return Ok(Arc::clone(&self.local));
        };
        let callers = tokens.current(self.clock.now())?;
        let Some(value) = authorization else {
            return refused("a token is needed: authorization: Bearer <token>");
        };
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_BYTES => {
                token
            }
            _ => return refused("authorization is not of the form Bearer <token>"),
        };
        // A look-up by hash takes the same time whatever part of a token is right.
        match callers.get(&digest(token.trim())) {
            Some(caller) => Ok(Arc::clone(caller)),
            None => refused("the token is not valid"),
        }
    }
}

impl Tokens {
    fn current(&self, now: Timestamp) -> Result<Arc<Callers>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep a revoked token alive.
        if now.since(state.checked).unsigned_abs() >= RECHECK_MS.unsigned_abs() {
            state.checked = now;
            let stamp = Stamp::of(&self.path);
            if stamp != state.seen {
                state.seen = stamp;
                state.callers = self.reload();
            }
        }
        state.callers.clone().ok_or(Error::Unavailable {
            reason: "tokens_unavailable",
            what: "tokens cannot be checked now",
            retry_after_ms: 1_000,
            source: None,
        })
    }

    fn reload(&self) -> Option<Arc<Callers>> {
        match File::read(&self.path).and_then(|file| file.callers(&self.path)) {
            Ok(callers) => {
                tracing::info!(tokens = callers.len(), "tokens read again");
                Some(Arc::new(callers))
            }
            Err(error) => {
                tracing::error!(%error, "nobody can call until the tokens file is mended");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    struct Case {
        _directory: tempfile::TempDir,
        path: PathBuf,
        clock: ManualClock,
        authenticator: Authenticator,
    }

    fn entry(name: &str) -> String {
        format!(
            "[[token]]\nname = {name:?}\nrole = \"emitter\"\nsha256 = {:?}\ncontroller = \"kstar\"\n",
            hash(&format!("{name}-secret"))
        )
    }

    fn case(text: &str) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        let clock = ManualClock::at(Timestamp::EPOCH);
        let authenticator = Authenticator::new(Some(&path), Arc::new(clock.clone())).unwrap();
        Case { _directory: directory, path, clock, authenticator }
    }

    fn reason(case: &Case, value: Option<&str>) -> &'static str {
        case.authenticator.caller(value).map_or_else(|e| e.reason(), |_| "ok")
    }

    #[test]
    fn without_tokens_everybody_is_local() {
        let authenticator = Authenticator::new(None, Arc::new(ManualClock::default())).unwrap();
        let caller = authenticator.caller(None).unwrap();
        assert_eq!((caller.name.as_str(), caller.roles.len()), ("local", Role::ALL.len()));
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let case = case(&entry("app"));
        let caller = case.authenticator.caller(Some("Bearer app-secret")).unwrap();
        assert_eq!(caller.name.as_str(), "app");
        assert_eq!(caller.roles, [Role::Emitter]);
        assert_eq!(caller.emitters.len(), 1, "a token speaks for its own name");
        assert_eq!(reason(&case, None), "token_unknown");
        assert_eq!(reason(&case, Some("app-secret")), "token_unknown");
        assert_eq!(reason(&case, Some("Basic app-secret")), "token_unknown");
        assert_eq!(reason(&case, Some("bearer app-secreT")), "token_unknown");
        assert_eq!(reason(&case, Some(&format!("bearer {}", hash("app-secret")))), "token_unknown");
    }

    #[test]
    fn a_revoked_token_stops_within_a_second() {
        let case = case(&(entry("app") + &entry("other")));
        std::fs::write(&case.path, entry("other")).unwrap();
        case.clock.advance_ms(1_000);
        assert_eq!(reason(&case, Some("Bearer app-secret")), "token_unknown");
        assert_eq!(reason(&case, Some("Bearer other-secret")), "ok");
        std::fs::write(&case.path, entry("other") + &entry("app")).unwrap();
        case.clock.advance_ms(-5_000);
        assert_eq!(
            reason(&case, Some("Bearer app-secret")),
            "ok",
            "a clock set back does not stop the watch"
        );
    }

    #[test]
    fn a_broken_file_lets_nobody_in_until_it_is_mended() {
        let case = case(&entry("app"));
        for broken in
            ["[[token]]\nname = \"app\"\n", "[[token", &entry("app").replace("sha256 = \"", "sha256 = \"z")]
        {
            std::fs::write(&case.path, broken).unwrap();
            case.clock.advance_ms(1_000);
            assert_eq!(reason(&case, Some("Bearer app-secret")), "tokens_unavailable", "{broken}");
            assert!(Authenticator::new(Some(&case.path), Arc::new(ManualClock::default())).is_err());
        }
        std::fs::remove_file(&case.path).unwrap();
        case.clock.advance_ms(1_000);
        assert_eq!(reason(&case, Some("Bearer app-secret")), "tokens_unavailable");
        std::fs::write(&case.path, entry("app")).unwrap();
        case.clock.advance_ms(1_000);
        assert_eq!(reason(&case, Some("Bearer app-secret")), "ok");
    }
}

//! The fingerprint of what an emitter stated, by which a retry is told from another event with
//! the same id.

use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::domain::event::catalogue::Fields;
use crate::domain::event::{Event, Place, Sealed, Unset, Visit};
use crate::domain::id::Mark;
use crate::domain::personal::Draft;
use crate::record::{Error, json, key, seal};

/// HMAC(server secret, the event's set fields), cut to 16 bytes.
pub type Fingerprint = Mark;

/// Holds the server's secret.
#[derive(Clone)]
pub struct Fingerprinter {
    state: Hmac<Sha256>,
}

impl Fingerprinter {
    pub fn new(secret: &[u8; 32]) -> Self {
        Fingerprinter { state: key::keyed(secret) }
    }

    /// Covers the envelope, the people with their identifiers, and the whole body. Not what the
    /// server adds: receipt time, salt, device clock offset.
    pub fn of(&self, event: &Event) -> Result<Fingerprint, Error> {
        let mut text = Draft::with_capacity(1024);
        text.push(b'{');
        seal::write_envelope(&mut text, &event.envelope, event.body.event_type(), None)?;
        let mut all = Everything { out: &mut text, failed: None };
        event.body.visit(&mut all);
        if let Some(why) = all.failed {
            return Err(Error::malformed("event", why));
        }
        for person in &event.people {
            json::key(&mut text, person.role.as_str());
            for identifier in &person.identifiers {
                json::plain(&mut text, identifier.kind.as_str());
                json::value(&mut text, &identifier.realm).map_err(|e| Error::malformed("event", e))?;
                json::value(&mut text, identifier.value.expose())
                    .map_err(|e| Error::malformed("event", e))?;
            }
        }
        let mut mac = self.state.clone();
        mac.update(&text);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0u8; 16];
        cut.copy_from_slice(&full[..16]);
        Ok(Mark(cut))
    }
}

/// Writes every field that is set, wherever it is kept.
struct Everything<'a> {
    out: &'a mut Vec<u8>,
    failed: Option<serde_json::Error>,
}

impl Everything<'_> {
    fn write<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        json::key(self.out, name);
        if let Err(why) = json::value(self.out, value) {
            self.failed = Some(why);
        }
    }
}

impl Visit for Everything<'_> {
    fn open<T: Serialize + Unset>(&mut self, _: Place, name: &'static str, value: &T) {
        if !value.is_unset() {
            self.write(name, value);
        }
    }

    fn sealed(&mut self, _: Place, name: &'static str, value: &Sealed) {
        if let Some(value) = value {
            self.write(name, value.expose());
        }
    }
}

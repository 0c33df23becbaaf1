//! What stands in a cluster's log in the place of something that does not count.
//!
//! Every node makes it by itself, and all make the same bytes: nothing of it is random, and it is sealed with no
//! key. It is about nobody and has no pieces.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::domain::event::catalogue::RecordSetAside;
use crate::domain::event::{ActorKind, Body, Envelope, Place};
use crate::domain::id::{EventId, Id};
use crate::domain::time::Timestamp;
use crate::record::key::Salt;
use crate::record::{Error, json, seal};

/// The header line of a record that says what was set aside. `at` is when the log took that.
pub fn header(
    controller: &Id,
    emitter: &Id,
    (id, at): (EventId, Timestamp),
    body: RecordSetAside,
) -> Result<Bytes, Error> {
    let envelope = Envelope {
        actor: Some(ActorKind::System),
        ..Envelope::new(id, controller.clone(), emitter.clone(), at)
    };
    let salt: [u8; 32] = Sha256::new_with_prefix(b"custody/v1/aside/").chain_update(id.0).finalize().into();
    let salt = Salt(std::array::from_fn(|i| salt[i]));
    let body = Body::RecordSetAside(Box::new(body));
    let mut header = Vec::with_capacity(512);
    header.push(b'{');
    seal::write_envelope(&mut header, &envelope, body.event_type(), Some((at, salt)))?;
    json::key(&mut header, "b");
    seal::write_fields(&mut header, &body, &[Place::Header])?;
    header.extend_from_slice(b",\"p\":[]}");
    Ok(header.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{AsideReason, EventType};
    use crate::domain::id::Digest;
    use crate::record::Header;

    #[test]
    fn it_reads_back_without_parts_and_is_always_the_same() {
        let (group, custody) = ("kstar".parse().unwrap(), "custody".parse().unwrap());
        let id = EventId(uuid::Uuid::from_u128(7));
        let body = RecordSetAside {
            reason: Some(AsideReason::Repeats),
            first_position: Some(3),
            leaf: Some(Digest([9; 32])),
        };
        let make = || header(&group, &custody, (id, Timestamp::EPOCH.plus_ms(5)), body.clone()).unwrap();
        let bytes = make();
        assert_eq!(bytes, make());
        let read = Header::parse(&bytes).unwrap();
        assert_eq!((read.event_type, read.pieces()), (EventType::RecordSetAside, 0));
        let stated = Body::from_json(read.event_type, read.body_json).unwrap();
        assert_eq!(stated, Body::RecordSetAside(Box::new(body)));
        // No other type may do without parts.
        let other = String::from_utf8(bytes.to_vec()).unwrap().replace("RecordSetAside", "VaultMarked");
        assert!(Header::parse(other.as_bytes()).is_err());
    }
}

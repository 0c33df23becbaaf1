//! What a state entry keeps because of this one person: it is never shared between people and goes
//! with the person's row.

use crate::domain::id::{EventId, Mark, SubjectId};
use crate::domain::identity::Kind;
use crate::domain::time::Timestamp;
use crate::views::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};

/// The personal half of an entry's key. Most entries have none, or a slot only.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Own {
    /// The event's fields that stood in the index block, as one JSON object.
    pub index: Option<Box<str>>,
    /// The event's header fields, where every single act is an entry of its own.
    pub body: Option<Box<str>>,
    /// When it happened and where it stands in the log, where every act is an entry of its own.
    pub act: Option<(Timestamp, u64)>,
    /// The other side of a link or merge.
    pub other: Option<(Side, SubjectId)>,
    /// An identifier, keyed, that the event bound to the person.
    pub mark: Option<(Kind, Mark)>,
    /// An event that was taken back.
    pub retracts: Option<EventId>,
    /// When something that allows others was recorded, where that was long after it happened.
    pub recorded: Option<Timestamp>,
    /// Whether it was entered afterwards on purpose.
    pub backfill: bool,
}

/// Which part of a link or merge the entry's person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The person kept, or to whom the other's events count.
    First,
    /// The person gone, or the device or contact that was linked.
    Second,
}

const WHAT: &str = "state entry";

impl Own {
    /// Nothing at all is no bytes at all.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let bits = [
            self.index.is_some(),
            self.body.is_some(),
            self.act.is_some(),
            self.other.is_some(),
            self.mark.is_some(),
            self.retracts.is_some(),
            self.recorded.is_some(),
            self.backfill,
        ];
        let bits = bits.iter().enumerate().fold(0u8, |all, (n, set)| all | u8::from(*set) << n);
        if bits == 0 {
            return out;
        }
        out.push(bits);
        for text in [&self.index, &self.body].into_iter().flatten() {
            put_bytes(&mut out, text.as_bytes());
        }
        if let Some((at, position)) = self.act {
            put_i64(&mut out, at.ms());
            put_u64(&mut out, position);
        }
        if let Some((side, other)) = self.other {
            out.push(side as u8);
            out.extend_from_slice(&other.0);
        }
        if let Some((kind, mark)) = self.mark {
            out.push(kind as u8);
            out.extend_from_slice(&mark.0);
        }
        if let Some(event) = self.retracts {
            out.extend_from_slice(event.as_bytes());
        }
        if let Some(recorded) = self.recorded {
            put_i64(&mut out, recorded.ms());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Own, Malformed> {
        let mut own = Own::default();
        if bytes.is_empty() {
            return Ok(own);
        }
        let mut reader = Reader::new(bytes, WHAT);
        let bits = reader.byte()?;
        let has = |n: u32| bits & (1 << n) != 0;
        if has(0) {
            own.index = Some(reader.text()?.into());
        }
        if has(1) {
            own.body = Some(reader.text()?.into());
        }
        if has(2) {
            let at = Timestamp::from_ms(reader.i64()?).ok_or(Malformed(WHAT))?;
            own.act = Some((at, reader.u64()?));
        }
        if has(3) {
            let side = if reader.byte()? == 0 { Side::First } else { Side::Second };
            own.other = Some((side, SubjectId(reader.array()?)));
        }
        if has(4) {
            let kind = kind_from(reader.byte()?)?;
            own.mark = Some((kind, Mark(reader.array()?)));
        }
        if has(5) {
            own.retracts = Some(EventId(uuid::Uuid::from_bytes(reader.array()?)));
        }
        if has(6) {
            own.recorded = Some(Timestamp::from_ms(reader.i64()?).ok_or(Malformed(WHAT))?);
        }
        own.backfill = has(7);
        reader.end()?;
        Ok(own)
    }
}

/// Kinds are numbered in the order of their declaration, which is part of the store's format.
pub fn kind_from(number: u8) -> Result<Kind, Malformed> {
    Kind::ALL.get(usize::from(number)).copied().ok_or(Malformed(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let full = Own {
            index: Some(r#"{"slot":"x"}"#.into()),
            body: Some("{}".into()),
            act: Timestamp::from_ms(-5).map(|at| (at, 1 << 40)),
            other: Some((Side::Second, SubjectId([4; 16]))),
            mark: Some((Kind::Station, Mark([5; 16]))),
            retracts: Some(EventId(uuid::Uuid::from_bytes([6; 16]))),
            recorded: Timestamp::from_ms(1 << 40),
            backfill: true,
        };
        assert_eq!(Own::decode(&full.encode()), Ok(full.clone()));
        assert_eq!(Own::decode(&Own::default().encode()), Ok(Own::default()));
        assert!(Own::decode(&full.encode()[..20]).is_err());
    }
}

//! Zone maps: what occurs at all among 65,536 positions, so that a filter passes over zones that
//! cannot match.

use std::collections::BTreeSet;

use crate::domain::time::Timestamp;
use crate::views::codec::{Malformed, Reader, put_i64, put_u64};
use crate::views::decode::Decoded;

/// Positions of one zone. Small in tests, so that few events make several zones.
pub const ZONE: u64 = if cfg!(test) { 16 } else { 1 << 16 };

/// Different shapes that a zone remembers; beyond them it may hold anything.
const CAP: usize = 4096;

/// What one zone holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// Numbers of shapes. A shape names type, emitter, service, activity and body.
    pub shapes: BTreeSet<u32>,
    /// More shapes than are kept, or such without a number.
    pub anything: bool,
    pub occurred: Option<(Timestamp, Timestamp)>,
    pub recorded: Option<(Timestamp, Timestamp)>,
}

impl Zone {
    pub fn add(&mut self, shape: u32, event: &Decoded) {
        if shape == 0 {
            self.anything = true;
        } else if !self.shapes.contains(&shape) {
            if self.shapes.len() < CAP {
                self.shapes.insert(shape);
            } else {
                self.anything = true;
            }
        }
        widen(&mut self.occurred, event.occurred_at);
        widen(&mut self.recorded, event.recorded_at);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.anything)];
        for span in [self.occurred, self.recorded] {
            let (from, to) = span.unwrap_or_default();
            put_i64(&mut out, from.ms());
            put_i64(&mut out, to.ms());
        }
        put_u64(&mut out, self.shapes.len() as u64);
        let mut before = 0;
        for shape in &self.shapes {
            put_u64(&mut out, u64::from(shape - before));
            before = *shape;
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Zone, Malformed> {
        let mut reader = Reader::new(bytes, "zone");
        let anything = reader.byte()? != 0;
        let mut span = || -> Result<_, Malformed> {
            let from = Timestamp::from_ms(reader.i64()?).ok_or(Malformed("zone"))?;
            let to = Timestamp::from_ms(reader.i64()?).ok_or(Malformed("zone"))?;
            Ok(Some((from, to)))
        };
        let (occurred, recorded) = (span()?, span()?);
        let mut shapes = BTreeSet::new();
        let mut before = 0u32;
        for _ in 0..reader.len()? {
            before = before.checked_add(reader.u64()? as u32).ok_or(Malformed("zone"))?;
            shapes.insert(before);
        }
        reader.end()?;
        Ok(Zone { shapes, anything, occurred, recorded })
    }
}

fn widen(span: &mut Option<(Timestamp, Timestamp)>, at: Timestamp) {
    *span = Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
}

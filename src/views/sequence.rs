//! Gaps in the numbers that an emitter gives its events, so that lost events can be found.

use std::collections::BTreeMap;

use crate::domain::time::Timestamp;
use crate::views::codec::{Malformed, Reader, put_i64, put_u64};

/// Ranges of missing numbers that are remembered per emitter; more are only counted.
pub const GAPS: usize = 256;

/// The rest of a missing range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The last number that is missing.
    pub last: u64,
    /// When the number behind it was recorded.
    pub noticed_at: Timestamp,
}

/// Which of an emitter's own numbers were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sequence {
    /// The highest number seen.
    pub highest: u64,
    /// Missing ranges below it, by their first number.
    pub missing: BTreeMap<u64, Gap>,
    /// Missing numbers that were too scattered to be remembered one by one.
    pub forgotten: u64,
}

impl Sequence {
    /// The first number seen opens the sequence: what lies before it is not missed.
    pub fn first(seq: u64) -> Sequence {
        Sequence { highest: seq, ..Sequence::default() }
    }

    pub fn see(&mut self, seq: u64, recorded_at: Timestamp) {
        if seq > self.highest {
            if seq > self.highest + 1 {
                self.miss(self.highest + 1, Gap { last: seq - 1, noticed_at: recorded_at });
            }
            self.highest = seq;
        } else if let Some((&from, &gap)) = self.missing.range(..=seq).next_back()
            && seq <= gap.last
        {
            self.missing.remove(&from);
            if from < seq {
                self.missing.insert(from, Gap { last: seq - 1, ..gap });
            }
            if seq < gap.last {
                self.miss(seq + 1, gap);
            }
        }
    }

    fn miss(&mut self, from: u64, gap: Gap) {
        if self.missing.len() < GAPS {
            self.missing.insert(from, gap);
        } else {
            self.forgotten = self.forgotten.saturating_add(gap.last - from + 1);
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, self.highest);
        put_u64(&mut out, self.forgotten);
        put_u64(&mut out, self.missing.len() as u64);
        for (from, gap) in &self.missing {
            put_u64(&mut out, *from);
            put_u64(&mut out, gap.last);
            put_i64(&mut out, gap.noticed_at.ms());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Sequence, Malformed> {
        let mut reader = Reader::new(bytes, "emitter");
        let mut sequence =
            Sequence { highest: reader.u64()?, forgotten: reader.u64()?, missing: BTreeMap::new() };
        for _ in 0..reader.len()? {
            let (from, last) = (reader.u64()?, reader.u64()?);
            let noticed_at = Timestamp::from_ms(reader.i64()?).ok_or(Malformed("emitter"))?;
            sequence.missing.insert(from, Gap { last, noticed_at });
        }
        reader.end()?;
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_are_what_was_not_seen(mut seen in proptest::collection::vec(10u64..60, 1..80)) {
            seen.insert(0, 10);
            let mut sequence = Sequence::first(seen[0]);
            seen.iter().zip(0..).for_each(|(seq, n)| sequence.see(*seq, Timestamp::EPOCH.plus_ms(n)));
            let highest = *seen.iter().max().unwrap();
            prop_assert_eq!(sequence.highest, highest);
            let missing: Vec<u64> = sequence.missing.iter().flat_map(|(from, gap)| *from..=gap.last).collect();
            let expected: Vec<u64> = (10..=highest).filter(|seq| !seen.contains(seq)).collect();
            prop_assert_eq!(missing, expected);
            for gap in sequence.missing.values() {
                let noticed = gap.noticed_at.ms() as usize;
                prop_assert!(seen[noticed] > gap.last && seen[..noticed].iter().all(|seq| *seq < gap.last));
            }
            prop_assert_eq!(Sequence::decode(&sequence.encode()), Ok(sequence));
        }
    }
}

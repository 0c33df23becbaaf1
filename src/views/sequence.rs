//! Gaps in the numbers that an emitter gives its events, so that lost events can be found.

use std::collections::BTreeMap;

use crate::views::codec::{Malformed, Reader, put_u64};

/// Ranges of missing numbers that are remembered per emitter; more are only counted.
pub const GAPS: usize = 256;

/// Which of an emitter's own numbers were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sequence {
    /// The highest number seen.
    pub highest: u64,
    /// Missing ranges below it, both ends included, by their first number.
    pub missing: BTreeMap<u64, u64>,
    /// Missing numbers that were too scattered to be remembered one by one.
    pub forgotten: u64,
}

impl Sequence {
    /// The first number seen opens the sequence: what lies before it is not missed.
    pub fn first(seq: u64) -> Sequence {
        Sequence { highest: seq, ..Sequence::default() }
    }

    pub fn see(&mut self, seq: u64) {
        if seq > self.highest {
            if seq > self.highest + 1 {
                self.miss(self.highest + 1, seq - 1);
            }
            self.highest = seq;
        } else if let Some((&from, &to)) = self.missing.range(..=seq).next_back()
            && seq <= to
        {
            self.missing.remove(&from);
            if from < seq {
                self.missing.insert(from, seq - 1);
            }
            if seq < to {
                self.miss(seq + 1, to);
            }
        }
    }

    fn miss(&mut self, from: u64, to: u64) {
        if self.missing.len() < GAPS {
            self.missing.insert(from, to);
        } else {
            self.forgotten = self.forgotten.saturating_add(to - from + 1);
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, self.highest);
        put_u64(&mut out, self.forgotten);
        put_u64(&mut out, self.missing.len() as u64);
        for (from, to) in &self.missing {
            put_u64(&mut out, *from);
            put_u64(&mut out, *to);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Sequence, Malformed> {
        let mut reader = Reader::new(bytes, "emitter");
        let mut sequence =
            Sequence { highest: reader.u64()?, forgotten: reader.u64()?, missing: BTreeMap::new() };
        for _ in 0..reader.len()? {
            sequence.missing.insert(reader.u64()?, reader.u64()?);
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
            seen.iter().for_each(|seq| sequence.see(*seq));
            let highest = *seen.iter().max().unwrap();
            prop_assert_eq!(sequence.highest, highest);
            let missing: Vec<u64> = sequence.missing.iter().flat_map(|(from, to)| *from..=*to).collect();
            let expected: Vec<u64> = (10..=highest).filter(|seq| !seen.contains(seq)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(Sequence::decode(&sequence.encode()), Ok(sequence));
        }
    }
}

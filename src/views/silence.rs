//! Emitters from which nothing was heard for longer than their services allow themselves.

use crate::domain::id::Id;
use crate::domain::time::{MS_PER_MINUTE, Timestamp};
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::occurrences;
use crate::views::registers::Registers;

/// Minutes without an event after which an emitter is silent, where its service says nothing: a day.
const SILENCE: u64 = 1_440;

/// An emitter from which nothing came for longer than its service allows itself.
pub struct Silence {
    pub emitter: Id,
    pub service: Id,
    /// When it had been silent for too long.
    pub since: Timestamp,
}

impl Ask {
    /// All that are silent at an instant, as known before a position.
    pub fn silences(
        &self,
        registers: &Registers,
        known_at: u64,
        at: Timestamp,
    ) -> Result<Vec<Silence>, Error> {
        let mut silent = Vec::new();
        for (service, history) in &registers.services {
            let Some(entry) = history.iter().rfind(|entry| entry.position < known_at && entry.from <= at)
            else {
                continue;
            };
            let minutes = entry.body.silence_after_minutes.unwrap_or(SILENCE);
            let after = i64::try_from(minutes).unwrap_or(i64::MAX / MS_PER_MINUTE) * MS_PER_MINUTE;
            for emitter in entry.body.emitters.iter() {
                let numbers: Vec<u32> = {
                    let shapes = self.shapes();
                    let own = shapes.iter().filter(|(_, shape)| shape.emitter == *emitter);
                    own.map(|(number, _)| number).collect()
                };
                let mut last = entry.from;
                for number in numbers {
                    let newest = occurrences::newest(&self.reading, number, known_at)?;
                    last = newest.into_iter().fold(last, Timestamp::max);
                }
                let since = last.plus_ms(after);
                if since <= at {
                    silent.push(Silence { emitter: emitter.clone(), service: service.clone(), since });
                }
            }
        }
        Ok(silent)
    }
}

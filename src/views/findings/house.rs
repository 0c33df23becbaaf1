//! Findings about what the organisation registered, and about its emitters.

use crate::domain::event::{Body, DisclosureDecision, EventType};
use crate::domain::finding::{Value, rule};
use crate::domain::time::MS_PER_MINUTE;
use crate::views::Error;
use crate::views::findings::{Finder, maybe, value};
use crate::views::sequence::Sequence;
use crate::views::store::{self, tag};
use crate::views::stretch::Stretch;

const GAP: &str = "F-EMITTER-GAP";

impl Finder<'_> {
    pub(super) fn house(&mut self) -> Result<(), Error> {
        self.languages();
        self.gaps()?;
        self.silence()?;
        self.authorities()
    }

    /// A policy must be there in Chinese and in English (PIPL 7, 17; GDPR 12(1)).
    fn languages(&mut self) {
        let mut found = Vec::new();
        for entry in self.registers.policies.values().flatten().filter(|e| e.position < self.known_at()) {
            let has = |language: &str| {
                entry.body.locales.iter().any(|text| text.locale.as_str().split('-').next() == Some(language))
            };
            if !(has("zh") && has("en")) {
                let key = vec![maybe(entry.body.policy_id.as_ref()), maybe(entry.body.version.as_ref())];
                found.push((key, entry.from, entry.position));
            }
        }
        for (key, at, position) in found {
            self.note("F-BILINGUAL", key, at, Some(position));
        }
    }

    /// Numbers of an emitter that are missing (GDPR 5(2)). What comes late closes its gap.
    fn gaps(&mut self) -> Result<(), Error> {
        let Some(wait) = rule(GAP).map(|rule| i64::from(rule.wait_minutes) * MS_PER_MINUTE) else {
            return Ok(());
        };
        let Some(tick) = self.tick else { return Ok(()) };
        for row in self.ask.reading.prefix(&[tag::EMITTER]) {
            let (key, row) = row?;
            let (emitter, sequence) = (store::emitter_of(&key)?, Sequence::decode(&row)?);
            for (from, gap) in &sequence.missing {
                if gap.noticed_at <= tick.plus_ms(-wait) {
                    let (first, last) = (gap.noticed_at, gap.noticed_at);
                    let stretch = Stretch {
                        shape: 0,
                        count: gap.last - from + 1,
                        first,
                        last,
                        samples: Vec::new(),
                        some: None,
                    };
                    self.raise(GAP, vec![value(&emitter)], &stretch);
                }
            }
        }
        Ok(())
    }

    /// An emitter of a registered service from which nothing came for too long. By the tick.
    fn silence(&mut self) -> Result<(), Error> {
        let Some(tick) = self.tick else { return Ok(()) };
        for silence in self.ask.silences(self.registers, self.known_at(), tick)? {
            let key = vec![value(&silence.emitter), value(&silence.service)];
            self.note("F-EMITTER-SILENT", key, silence.since, None);
        }
        Ok(())
    }

    /// What was given to authorities (PIPL 41; GDPR 6(1)(c), 48).
    fn authorities(&mut self) -> Result<(), Error> {
        let positions = self.ask.positions_of(&[EventType::AuthorityDisclosureDecided], self.known_at())?;
        let mut found = Vec::new();
        self.ask.reach.decode_all(&positions, |event| {
            let Ok(Body::AuthorityDisclosureDecided(body)) =
                Body::from_json(event.event_type, &event.body_json)
            else {
                return Ok(());
            };
            let given =
                matches!(body.decision, Some(DisclosureDecision::Complied | DisclosureDecision::Partly));
            let citation = body.legal_ref.as_ref().and_then(|citation| Value::of(citation.as_str()).ok());
            let key = vec![maybe(body.authority.as_ref()), citation];
            if given && body.legal_ref.is_none() {
                found.push(("F-AUTHORITY-DISCLOSURE", key.clone(), event.at, event.position));
            }
            let shape = crate::views::shape::decode(&event.shape)?;
            let chinese = shape.regimes.iter().any(|regime| regime.as_str() == "CN");
            let foreign = body.country.is_some_and(|country| country.as_str() != "CN");
            if given && chinese && foreign && body.approval_ref.is_none() {
                found.push(("F-FOREIGN-AUTHORITY", key, event.at, event.position));
            }
            Ok(())
        })?;
        for (code, key, at, position) in found {
            self.note(code, key, at, Some(position));
        }
        Ok(())
    }
}

//! The retention rules that were published, and which of their versions are in force at an instant
//! (`domain.md` 4.2, step 1): a version ends at its own end or where the version that replaces it begins,
//! whichever is earlier; one that was annulled counts as never in force, and what replaces it takes its place.

use crate::domain::event::{Body, EventType, RetentionRule};
use crate::domain::id::Id;
use crate::domain::retention;
use crate::domain::time::Timestamp;
use crate::views::Error;
use crate::views::ask::Ask;

/// Versions as they were published, in the order of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// With when each was published.
    versions: Vec<(Timestamp, RetentionRule)>,
    /// Which version, and from when on that is so.
    annulled: Vec<(Timestamp, Id)>,
}

impl Rules {
    pub fn publish(&mut self, at: Timestamp, rule: RetentionRule) {
        self.versions.push((at, rule));
    }

    pub fn annul(&mut self, at: Timestamp, version: Id) {
        self.annulled.push((at, version));
    }

    /// The versions in force at an instant, by their ids. Of two that were published under one id the later counts.
    pub fn in_force(&self, at: Timestamp) -> Vec<RetentionRule> {
        let mut known: Vec<RetentionRule> = Vec::new();
        for (_, rule) in self.versions.iter().filter(|(published, _)| *published <= at) {
            known.retain(|other| other.id != rule.id);
            known.push(rule.clone());
        }
        known.sort_by(|a, b| a.id.cmp(&b.id));
        let annulled = self.annulled.iter().filter(|(from, _)| *from <= at);
        let annulled = annulled.map(|(_, version)| version.clone()).collect();
        retention::in_force(&known, &annulled, at).cloned().collect()
    }
}

impl Ask {
    /// Every rule that was published before a position, without what was taken back.
    pub fn rules(&self, known_at: u64) -> Result<Rules, Error> {
        let types = [EventType::RetentionRulePublished, EventType::RetentionRuleAnnulled];
        let mut rules = Rules::default();
        self.reach.decode_all(&self.positions_of(&types, known_at)?, |event| {
            match Body::from_json(event.event_type, &event.body_json) {
                Ok(Body::RetentionRulePublished(body)) => {
                    body.rule.into_iter().for_each(|rule| rules.publish(event.at, rule));
                }
                Ok(Body::RetentionRuleAnnulled(body)) => {
                    body.version.or(body.rule).into_iter().for_each(|version| rules.annul(event.at, version));
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Anchor, Period, PeriodUnit, RuleKind};

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn rule(id: &str, from: &str, replaces: Option<&str>) -> RetentionRule {
        RetentionRule {
            id: id.parse().unwrap(),
            kind: RuleKind::Keep,
            matches: None,
            anchor: Anchor::Collected,
            causes: Default::default(),
            period: Period { count: 1, unit: PeriodUnit::Years },
            year_end: false,
            tz: chrono_tz::UTC,
            on_expiry: None,
            law_of: None,
            legal: None,
            from: from.parse().ok(),
            to: None,
            replaces: replaces.map(|id| id.parse().unwrap()),
        }
    }

    fn told(rules: &Rules, day: &str) -> Vec<String> {
        rules.in_force(at(day)).iter().map(|rule| rule.id.to_string()).collect()
    }

    #[test]
    fn a_version_runs_until_another_begins_or_on_if_that_one_is_annulled() {
        let mut rules = Rules::default();
        rules.publish(at("2026-01-01"), rule("k-1", "2026-01-01", None));
        rules.publish(at("2026-01-01"), rule("k-2", "2026-03-01", Some("k-1")));
        rules.publish(at("2026-01-01"), rule("k-3", "2026-05-01", Some("k-2")));
        assert_eq!(told(&rules, "2025-12-31"), Vec::<String>::new());
        assert_eq!(told(&rules, "2026-02-28"), ["k-1"]);
        assert_eq!(told(&rules, "2026-03-01"), ["k-2"]);
        assert_eq!(told(&rules, "2026-05-01"), ["k-3"]);
        rules.annul(at("2026-04-01"), "k-2".parse().unwrap());
        assert_eq!(told(&rules, "2026-03-15"), ["k-2"], "as was known then");
        assert_eq!(told(&rules, "2026-04-15"), ["k-1"], "it runs on");
        assert_eq!(told(&rules, "2026-05-01"), ["k-3"], "past the annulled one");
        rules.annul(at("2026-06-01"), "k-3".parse().unwrap());
        assert_eq!(told(&rules, "2026-07-01"), ["k-1"]);
    }

    #[test]
    fn rules_that_replace_each_other_in_a_circle_end_the_question() {
        let mut rules = Rules::default();
        rules.publish(at("2026-01-01"), rule("a", "2026-01-01", Some("b")));
        rules.publish(at("2026-01-01"), rule("b", "2026-01-01", Some("a")));
        rules.annul(at("2026-01-02"), "b".parse().unwrap());
        assert_eq!(told(&rules, "2026-02-01").len(), 0);
    }
}

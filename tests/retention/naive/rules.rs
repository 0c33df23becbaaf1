//! Rules applied to the datum.

use super::*;

impl Case {
    /// 4.1: every key of `match` that is there must intersect the datum.
    pub(super) fn matches(
        &self,
        rule: &Rule,
        purposes: &BTreeSet<String>,
        regimes: &BTreeSet<String>,
    ) -> bool {
        let meets =
            |field: &str, own: &BTreeSet<String>| match rule.matches.get(field).and_then(Value::as_array) {
                Some(list) => strings(list).iter().any(|term| own.contains(term)),
                None => true,
            };
        meets("purposes", purposes)
            && meets("categories", &BTreeSet::from([self.key.category.clone()]))
            && meets("record_kinds", &BTreeSet::from([self.key.record_kind.clone()]))
            && meets("regimes", regimes)
    }

    /// Step 9: the state of a purpose's episode at a moment.
    pub(super) fn purpose_state(&self, episode: Episode, before: usize, at: i64) -> PurposeState {
        let hard = self.hard_end(&episode, before);
        let soft = self.soft_end(&episode, before);
        let rules = self.keep_rules(&episode, soft.as_ref(), before, at);
        let in_tail = soft.is_some() && rules.iter().any(|rule| rule.anchor == "purpose_ended");
        let ends: Vec<(i64, Bound)> =
            rules.iter().map(|rule| self.rule_end(rule, &episode, soft.as_ref(), before)).collect();
        let shortest = ends.iter().map(|(end, _)| *end).min();
        let until = match (shortest, &hard) {
            (None, None) => None,
            (Some(shortest), None) => Some(reaching(shortest, &ends)),
            (Some(shortest), Some(hard)) if shortest <= hard.at => Some(reaching(shortest, &ends)),
            (_, Some(hard)) => {
                let id = format!("{}:{}", hard.cause, episode.purpose);
                Some(Until { at: hard.at, bounds: vec![Bound { id, version: None, anonymise: false }] })
            }
        };
        PurposeState { episode, hard, soft, until, in_tail }
    }

    /// Step 9: keep rules in force at any moment from the opening on; those not for the cause drop out.
    pub(super) fn keep_rules(
        &self,
        episode: &Episode,
        soft: Option<&End>,
        before: usize,
        at: i64,
    ) -> Vec<Rule> {
        let purposes = BTreeSet::from([episode.purpose.clone()]);
        let regimes = self.regimes(before);
        let opened_at = self.events[episode.opened].at;
        let fits_cause = |rule: &Rule| match (&rule.causes, soft) {
            (Some(causes), Some(end)) => causes.iter().any(|cause| cause == end.cause),
            _ => true,
        };
        let keeps = self.rules.iter().filter(|rule| rule.kind == "keep");
        keeps
            .filter(|rule| self.matches(rule, &purposes, &regimes))
            .filter(|rule| rule.in_force_between(opened_at, at))
            .filter(|rule| fits_cause(rule))
            .cloned()
            .collect()
    }

    /// Step 9: where one keep rule ends for an episode, and whether the soft end cut it.
    pub(super) fn rule_end(
        &self,
        rule: &Rule,
        episode: &Episode,
        soft: Option<&End>,
        before: usize,
    ) -> (i64, Bound) {
        let natural = rule.until(self.episode_anchor(episode, &rule.anchor, before));
        let cuts = |end: &&End| match rule.anchor.as_str() {
            "purpose_ended" => false,
            "collected" | "last_activity" => end.at < natural,
            _ => end.cause == "fulfilled" && end.at < natural,
        };
        match soft.filter(cuts) {
            Some(end) => {
                let id = format!("{}:{}", end.cause, episode.purpose);
                (end.at, Bound { id, version: None, anonymise: rule.anonymise })
            }
            None => (natural, own_bound(rule)),
        }
    }

    /// Step 10: where the matching caps or floors of now end; transactions for caps are those of this life.
    pub(super) fn datum_rules(&self, kind: &str, before: usize, at: i64) -> Vec<(i64, Rule)> {
        let purposes = self.purposes(before);
        let regimes = self.regimes(before);
        let mut ends = vec![];
        for rule in self.rules.iter().filter(|rule| rule.kind == kind && rule.in_force_at(at)) {
            let lacks_regime =
                kind == "floor" && rule.law_of.as_ref().is_some_and(|regime| !regimes.contains(regime));
            let vanished =
                kind == "floor" && rule.anchor == "transaction_completed" && self.transaction_aborted(before);
            if self.matches(rule, &purposes, &regimes) && !lacks_regime && !vanished {
                ends.push((rule.until(self.datum_anchor(kind, &rule.anchor, before)), rule.clone()));
            }
        }
        ends
    }

    pub(super) fn datum_anchor(&self, kind: &str, anchor: &str, before: usize) -> Option<i64> {
        let life = self.life(before)?;
        let last_collection = self.collections(before).last().map(|&index| self.events[index].at);
        match anchor {
            "collected" => last_collection,
            "logged" | "document_created" => last_collection.filter(|_| self.kind_has_anchor(anchor)),
            "last_activity" => {
                let uses = (life.start..before).filter(|&index| self.lawful[index]);
                uses.map(|index| self.events[index].at).chain(last_collection).max()
            }
            "transaction_completed" if kind == "floor" => self.last_transaction(None, before),
            "transaction_completed" => self.last_transaction(life.previous_end, before),
            "account_cancelled" => self.standing_cancellation(before),
            _ => None, // A cap or floor on purpose_ended never starts.
        }
    }

    /// Step 10: the slot's transaction was aborted and never completed.
    pub(super) fn transaction_aborted(&self, before: usize) -> bool {
        let past = &self.events[..before];
        past.iter().any(|event| event.is("TransactionAborted"))
            && !past.iter().any(|event| event.is("TransactionCompleted"))
    }

    /// Step 10: a floor of a foreign law on a datum that is under EU law.
    pub(super) fn conflict_of_laws(&self, floors: &[(i64, Rule)], before: usize) -> bool {
        let foreign = |rule: &Rule| rule.law_of.as_ref().is_some_and(|law| !EUROPEAN.contains(&law.as_str()));
        self.regimes(before).contains("EU") && floors.iter().any(|(_, rule)| foreign(rule))
    }

    /// Step 11: what blocks at a moment, and when a blocker was last lifted.
    pub(super) fn blockers(&self, before: usize) -> Blockers {
        let mut found = Blockers {
            holds: BTreeSet::new(),
            restrictions: BTreeSet::new(),
            deferred: false,
            last_lifting: None,
        };
        for (index, event) in self.events[..before].iter().enumerate() {
            let lifted = match event.kind.as_str() {
                "LegalHoldPlaced" => {
                    found.holds.insert(event.text("hold").unwrap_or_default().to_owned());
                    false
                }
                "LegalHoldReleased" => found.holds.remove(event.text("hold").unwrap_or_default()),
                "RestrictionApplied" => {
                    found.restrictions.insert(event.text("ground").unwrap_or_default().to_owned());
                    false
                }
                "RestrictionLifted" => match event.text("ground") {
                    Some(ground) => found.restrictions.remove(ground),
                    None => !std::mem::take(&mut found.restrictions).is_empty(),
                },
                // A demand between lives changes nothing.
                "ErasureAccepted" if self.life(index).is_some() => {
                    !std::mem::take(&mut found.restrictions).is_empty()
                }
                _ => false,
            };
            if lifted {
                found.last_lifting = Some(event.at);
            }
        }
        found.deferred = self.deferral(before) && !self.regimes(before).contains("EU");
        found
    }

    /// A technical deferral of the running life.
    pub(super) fn deferral(&self, before: usize) -> bool {
        let Some(life) = self.life(before) else { return false };
        self.events[life.start..before].iter().any(is_technical_deferral)
    }

    /// Step 12 c: the first authority order of the running life.
    pub(super) fn order(&self, before: usize) -> Option<&Event> {
        let life = self.life(before)?;
        self.events[life.start..before].iter().find(|event| event.is("AuthorityDeletionOrdered"))
    }
}

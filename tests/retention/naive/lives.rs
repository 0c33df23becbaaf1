//! What is worked out from the events: lives, episodes, ends, basis, uses.

use super::*;

impl Case {
    pub(super) fn new(vector: &Value) -> Option<Case> {
        let key = key_of_vector(vector)?;
        let now = read_instant(vector["now"].as_str().unwrap_or_default());
        let events = events_that_count(vector, &key, now);
        let rules = versions_that_count(vector, &events);
        let silent =
            strings(vector.get("silent_services").and_then(Value::as_array).map_or(&[][..], |list| list))
                .contains(&key.service);
        let mut case = Case {
            home: home_zone(vector),
            key,
            rules,
            events,
            now,
            silent,
            evidence_assumed: false,
            verdicts: vec![],
            lawful: vec![],
            findings: BTreeSet::new(),
        };
        case.judge();
        Some(case)
    }

    /// The same case judged anew with other events, or with another view of missing evidence.
    pub(super) fn again(&self, events: Vec<Event>, evidence_assumed: bool) -> Case {
        let mut case = Case {
            events,
            evidence_assumed,
            verdicts: vec![],
            lawful: vec![],
            findings: BTreeSet::new(),
            ..self.clone()
        };
        case.judge();
        case
    }

    /// Goes through the events once and gives the verdict on each from what came before it.
    pub(super) fn judge(&mut self) {
        for index in 0..self.events.len() {
            self.verdicts.push(vec![]);
            self.lawful.push(false);
            let event = self.events[index].clone();
            match event.kind.as_str() {
                "DataCollected" => self.judge_openings(index, &event),
                // Between lives an addition changes nothing (step 2).
                "PurposeAdded" if self.life(index).is_some() => self.judge_openings(index, &event),
                "DataUsed" => self.judge_use(index, &event),
                "ServiceTerminated" => self.judge_termination(index),
                _ => {}
            }
        }
    }

    /// Step 3 for each purpose that the event names.
    pub(super) fn judge_openings(&mut self, index: usize, event: &Event) {
        for (purpose, basis) in event.named_purposes() {
            let (outcome, finding) = self.judge_opening(index, &purpose, &basis);
            self.findings.extend(finding);
            self.verdicts[index].push(Verdict { purpose, basis, outcome });
        }
    }

    pub(super) fn judge_opening(
        &self,
        index: usize,
        purpose: &str,
        basis: &str,
    ) -> (Outcome, Option<&'static str>) {
        let event = &self.events[index];
        let added = event.is("PurposeAdded");
        let latest = self.latest_episode(index, purpose);
        if latest.as_ref().is_some_and(|episode| self.open(episode, index, event.at)) {
            return (if added { Outcome::Nothing } else { Outcome::Joined }, None);
        }
        if added && self.demanded_since_collection(index, purpose, basis) {
            return (Outcome::Nothing, Some("F-USE-AFTER-END"));
        }
        match self.basis_in_force(index, purpose, basis) {
            Ok(opening) => (Outcome::Opened(opening), None),
            Err((end, finding)) if latest.is_none() => {
                let opening = Opening { stillborn: Some(end), ..Opening::default() };
                (Outcome::Opened(opening), Some(finding))
            }
            // An ended episode stays the latest.
            Err((_, finding)) => (Outcome::Nothing, Some(finding)),
        }
    }

    /// Step 3: open while without an end, and until is undefined or still ahead.
    pub(super) fn open(&self, episode: &Episode, before: usize, at: i64) -> bool {
        let state = self.purpose_state(episode.clone(), before, at);
        state.hard.is_none() && state.soft.is_none() && state.until_or_infinite() > at
    }

    /// Step 3, demands: after one, PurposeAdded opens nothing until the datum is collected again.
    pub(super) fn demanded_since_collection(&self, index: usize, purpose: &str, basis: &str) -> bool {
        let last_collection = self.collections(index).into_iter().last().unwrap_or(0);
        self.events[last_collection..index].iter().any(|event| {
            (event.is("ErasureAccepted") && basis != "legal_obligation")
                || (event.is("UnlawfulProcessingFound") && event.concerns(purpose))
        })
    }

    /// Step 3: whether a basis is in force at the opening; if not, how the episode ends and what is found.
    pub(super) fn basis_in_force(
        &self,
        index: usize,
        purpose: &str,
        basis: &str,
    ) -> Result<Opening, (End, &'static str)> {
        let at = self.events[index].at;
        let terminated = self.events[..index].iter().any(|event| event.is("ServiceTerminated"));
        let mut opening = Opening::default();
        if self.evidence_missing(index, purpose, basis) {
            opening.settled_by = self.late_evidence(index, purpose, basis).filter(|_| !terminated);
            opening.settling = opening.settled_by.is_none()
                && !terminated
                && !self.evidence_assumed
                && self.now < at + SETTLE_MS;
            opening.vouched = opening.settled_by.is_some() || self.evidence_assumed;
            if !opening.vouched && !opening.settling {
                return Err(self.without_evidence(index, basis));
            }
        }
        if ["legitimate_interest", "public_task"].contains(&basis) {
            let objected = self.events[..index]
                .iter()
                .any(|event| event.is("ObjectionUpheld") && event.concerns(purpose));
            if objected {
                return Err((End { hard: true, cause: "objection_upheld", at }, "F-USE-AFTER-END"));
            }
        }
        if terminated && basis != "legal_obligation" {
            return Err((End { hard: false, cause: "service_terminated", at }, "F-USE-AFTER-END"));
        }
        Ok(opening)
    }

    /// Consent: the last word is not a giving. Contract: cancelled, and not registered since.
    pub(super) fn evidence_missing(&self, index: usize, purpose: &str, basis: &str) -> bool {
        let past = &self.events[..index];
        match basis {
            "consent" => {
                let last_word = past.iter().rev().find(|event| {
                    (event.is("ConsentGiven") || event.is("ConsentWithdrawn"))
                        && event.purpose() == Some(purpose)
                });
                !last_word.is_some_and(|event| event.is("ConsentGiven"))
            }
            "contract" => {
                let last_word = past
                    .iter()
                    .rev()
                    .find(|event| event.is("AccountCancelled") || event.is("AccountRegistered"));
                last_word.is_some_and(|event| event.is("AccountCancelled"))
            }
            _ => false,
        }
    }

    /// Settle time: the missing evidence, if it comes at most five minutes after the opening.
    pub(super) fn late_evidence(&self, index: usize, purpose: &str, basis: &str) -> Option<usize> {
        let at = self.events[index].at;
        (index + 1..self.events.len()).find(|&later| {
            let event = &self.events[later];
            let wanted = match basis {
                "consent" => event.is("ConsentGiven") && event.purpose() == Some(purpose),
                _ => event.is("AccountRegistered"),
            };
            wanted && event.at <= at + SETTLE_MS
        })
    }

    /// Step 3: the end and the finding of an opening whose ConsentGiven or AccountRegistered is missing.
    pub(super) fn without_evidence(&self, index: usize, basis: &str) -> (End, &'static str) {
        let event = &self.events[index];
        let backfilled = event.body["backfill"] == true;
        let legacy = backfilled || self.evidence_from().is_some_and(|from| event.at < from);
        let (hard, cause, code) = match basis {
            "consent" => (true, "unlawful", "F-NO-CONSENT"),
            _ => (false, "account_cancelled", "F-USE-AFTER-END"),
        };
        (End { hard, cause, at: event.at }, if legacy { "F-LEGACY-EVIDENCE" } else { code })
    }

    /// The last evidence_from that a registration of the service states, else the time of the first one.
    pub(super) fn evidence_from(&self) -> Option<i64> {
        let registered: Vec<&Event> =
            self.events.iter().filter(|event| event.is("ServiceRegistered")).collect();
        let stated = registered.iter().rev().find_map(|event| event.text("evidence_from")).map(read_instant);
        stated.or_else(|| registered.first().map(|event| event.at))
    }

    /// Step 7: a use of a purpose usable just before is lawful, any other is a finding.
    pub(super) fn judge_use(&mut self, index: usize, event: &Event) {
        let Some(purpose) = event.purpose() else { return };
        let before = self.decide(index, event.at);
        if before.usable_or_settling.iter().any(|usable| usable == purpose) {
            self.lawful[index] = true;
            return;
        }
        let ever_opened = self.verdicts[..index]
            .iter()
            .flatten()
            .any(|verdict| verdict.purpose == purpose && matches!(verdict.outcome, Outcome::Opened(_)));
        self.findings.insert(if ever_opened { "F-USE-AFTER-END" } else { "F-PURPOSE-CREEP" });
    }

    /// Step 6: a service end needs an earlier notice.
    pub(super) fn judge_termination(&mut self, index: usize) {
        if !self.events[..index].iter().any(|event| event.is("ServiceTerminationNotified")) {
            self.findings.insert("F-TERMINATION-NOTICE");
        }
    }

    /// Step 2: the life that runs before the event `before`, if one does.
    pub(super) fn life(&self, before: usize) -> Option<Life> {
        let mut life: Option<Life> = None;
        let mut previous_end = None;
        let mut last_collection = NEVER_BEGAN;
        for (index, event) in self.events[..before].iter().enumerate() {
            if event.is("DataCollected") {
                last_collection = event.at;
                life = life.or(Some(Life { start: index, previous_end }));
            } else if event.execution() && life.is_some() {
                let only_earlier_copy =
                    event.collected_before().is_some_and(|bound| bound <= last_collection);
                if !only_earlier_copy {
                    life = None;
                    previous_end = Some(index);
                }
            }
        }
        life
    }

    /// The collections of the running life.
    pub(super) fn collections(&self, before: usize) -> Vec<usize> {
        let Some(life) = self.life(before) else { return vec![] };
        (life.start..before).filter(|&index| self.events[index].is("DataCollected")).collect()
    }

    /// Step 10: the regimes of the datum are those of all collections of this life.
    pub(super) fn regimes(&self, before: usize) -> BTreeSet<String> {
        let collections = self.collections(before);
        let lists = collections.iter().map(|&index| &self.events[index].body["datum"]["regimes"]);
        lists.flat_map(|list| strings(list.as_array().map_or(&[][..], |list| list))).collect()
    }

    /// The purposes that ever had an episode in this life.
    pub(super) fn purposes(&self, before: usize) -> BTreeSet<String> {
        let Some(life) = self.life(before) else { return BTreeSet::new() };
        let opened = self.verdicts[life.start..before.min(self.verdicts.len())].iter().flatten();
        opened
            .filter(|verdict| matches!(verdict.outcome, Outcome::Opened(_)))
            .map(|verdict| verdict.purpose.clone())
            .collect()
    }

    /// Step 4: the latest episode of the purpose in the running life.
    pub(super) fn latest_episode(&self, before: usize, purpose: &str) -> Option<Episode> {
        let life = self.life(before)?;
        let mut latest: Option<Episode> = None;
        for index in life.start..before {
            for verdict in self.verdicts[index].iter().filter(|verdict| verdict.purpose == purpose) {
                let collected = self.events[index].is("DataCollected");
                match (&verdict.outcome, &mut latest) {
                    (Outcome::Opened(opening), _) => {
                        latest = Some(Episode {
                            purpose: purpose.to_owned(),
                            basis: verdict.basis.clone(),
                            opened: index,
                            opening: opening.clone(),
                            first_of_life: latest.is_none(),
                            collections: if collected { vec![index] } else { vec![] },
                        });
                    }
                    (Outcome::Joined, Some(episode)) => episode.collections.push(index),
                    _ => {}
                }
            }
        }
        latest
    }

    /// Settle time: a withdrawal or cancellation before the late evidence does not touch the episode,
    /// nor does one while the evidence may still come.
    pub(super) fn untouched_by(&self, episode: &Episode, index: usize) -> bool {
        let event = &self.events[index];
        let between =
            episode.opening.settled_by.map_or(episode.opening.settling, |evidence| index < evidence);
        between && (event.is("ConsentWithdrawn") || event.is("AccountCancelled"))
    }

    /// The events after the opening that may touch the episode.
    pub(super) fn aftermath<'a>(
        &'a self,
        episode: &'a Episode,
        before: usize,
    ) -> impl Iterator<Item = &'a Event> {
        let indexes = (episode.opened + 1..before).filter(move |&index| !self.untouched_by(episode, index));
        indexes.map(move |index| &self.events[index])
    }

    /// Step 5: the first hard end.
    pub(super) fn hard_end(&self, episode: &Episode, before: usize) -> Option<End> {
        if let Some(end) = episode.opening.stillborn.clone().filter(|end| end.hard) {
            return Some(end);
        }
        self.aftermath(episode, before).find_map(|event| {
            let cause = match event.kind.as_str() {
                "ConsentWithdrawn" if episode.basis == "consent" => {
                    (event.purpose() == Some(&episode.purpose)).then_some("consent_withdrawn")
                }
                "ObjectionUpheld" => event.concerns(&episode.purpose).then_some("objection_upheld"),
                "UnlawfulProcessingFound" => event.concerns(&episode.purpose).then_some("unlawful"),
                "ErasureAccepted" => (episode.basis != "legal_obligation").then_some("erasure_accepted"),
                _ => None,
            };
            cause.map(|cause| End { hard: true, cause, at: event.at })
        })
    }

    /// Step 6: the first soft end.
    pub(super) fn soft_end(&self, episode: &Episode, before: usize) -> Option<End> {
        if let Some(end) = episode.opening.stillborn.clone().filter(|end| !end.hard) {
            return Some(end);
        }
        let bound_by_law = episode.basis == "legal_obligation";
        self.aftermath(episode, before).find_map(|event| {
            let cause = match event.kind.as_str() {
                "PurposeFulfilled" => event.concerns(&episode.purpose).then_some("fulfilled"),
                "AccountCancelled" => (!bound_by_law).then_some("account_cancelled"),
                "ServiceTerminated" => (!bound_by_law).then_some("service_terminated"),
                _ => None,
            };
            cause.map(|cause| End { hard: false, cause, at: event.at })
        })
    }

    /// Step 4, anchors of an episode; purpose_ended is its soft end (step 9).
    pub(super) fn episode_anchor(&self, episode: &Episode, anchor: &str, before: usize) -> Option<i64> {
        match anchor {
            "purpose_ended" => self.soft_end(episode, before).map(|end| end.at),
            "collected" => self.last_collection_of(episode),
            "logged" | "document_created" => {
                self.last_collection_of(episode).filter(|_| self.kind_has_anchor(anchor))
            }
            "last_activity" => Some(self.last_activity_of(episode, before)),
            "transaction_completed" => {
                let after = if episode.first_of_life {
                    self.life(before).and_then(|life| life.previous_end)
                } else {
                    Some(episode.opened)
                };
                self.last_transaction(after, before)
            }
            "account_cancelled" => self.cancellation_of(episode, before),
            _ => None,
        }
    }

    /// `logged` is for network logs, `document_created` for documents.
    pub(super) fn kind_has_anchor(&self, anchor: &str) -> bool {
        match anchor {
            "logged" => self.key.record_kind == "network_log",
            _ => ["invoice", "accounting_voucher", "commercial_letter"]
                .contains(&self.key.record_kind.as_str()),
        }
    }

    /// The last DataCollected of the episode, or the datum's last before the addition that opened it.
    pub(super) fn last_collection_of(&self, episode: &Episode) -> Option<i64> {
        let own = episode.collections.last().copied();
        own.or_else(|| self.collections(episode.opened).last().copied()).map(|index| self.events[index].at)
    }

    /// The latest of its opening, its collections and the lawful uses for this purpose.
    pub(super) fn last_activity_of(&self, episode: &Episode, before: usize) -> i64 {
        let uses = (episode.opened + 1..before)
            .filter(|&index| self.lawful[index] && self.events[index].purpose() == Some(&episode.purpose));
        let all = uses.chain(episode.collections.iter().copied()).chain([episode.opened]);
        all.map(|index| self.events[index].at).max().expect("an episode has an opening")
    }

    /// The last TransactionCompleted after the event `after`, which defaults to the beginning of time.
    pub(super) fn last_transaction(&self, after: Option<usize>, before: usize) -> Option<i64> {
        let first = after.map_or(0, |index| index + 1);
        self.events[first..before]
            .iter()
            .rev()
            .find(|event| event.is("TransactionCompleted"))
            .map(|event| event.at)
    }

    /// The first cancellation or service end after the opening. The first episode of a life also takes one
    /// from before the opening that no registration followed.
    pub(super) fn cancellation_of(&self, episode: &Episode, before: usize) -> Option<i64> {
        let registered_late = episode.opening.vouched && episode.basis == "contract";
        let standing = self.standing_cancellation(episode.opened);
        if let Some(standing) = standing.filter(|_| episode.first_of_life && !registered_late) {
            return Some(standing);
        }
        self.aftermath(episode, before).find(|event| event.end_of_account()).map(|event| event.at)
    }

    /// The first cancellation or service end since the last registration.
    pub(super) fn standing_cancellation(&self, before: usize) -> Option<i64> {
        let past = &self.events[..before];
        let since = past.iter().rposition(|event| event.is("AccountRegistered")).map_or(0, |index| index + 1);
        past[since..].iter().find(|event| event.end_of_account()).map(|event| event.at)
    }
}

//! What happens to the datum, and to others.

use super::*;

impl Story {
    /// What comes before the first collection.
    pub(super) fn write_past(&mut self) {
        for (purpose, basis) in self.purposes.clone() {
            if basis == "consent" && self.rng.chance(62) {
                self.consent_given(purpose);
                self.short_step();
            }
            if basis == "contract" && self.rng.chance(35) {
                self.push("AccountRegistered", json!({}));
                self.short_step();
            }
        }
        for (sort, percent) in [
            ("account_cancelled", 5),
            ("service_registered", 9),
            ("hold", 3),
            ("restrict", 2),
            ("completed", 5),
            ("collect_other", 5),
            ("objection", 2),
            ("service_terminated", 2),
            ("erasure", 2),
            ("used", 2),
            ("execute", 1),
            ("purpose_added", 1),
        ] {
            if self.rng.chance(percent) {
                self.write_sort(sort);
                self.step();
            }
        }
    }

    pub(super) fn write_event(&mut self) {
        let weights: Vec<u64> = SORTS
            .iter()
            .map(|(_, weight, theme)| if self.themed(theme) { weight * 6 } else { *weight })
            .collect();
        let mut drawn = self.rng.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if drawn < *weight {
                self.write_sort(SORTS[index].0);
                return;
            }
            drawn -= weight;
        }
    }

    pub(super) fn write_sort(&mut self, sort: &str) {
        let purpose = self.purpose();
        match sort {
            "collect" => self.collect(),
            "collect_other" => self.collect_other(),
            "consent_given" => self.consent_given(purpose),
            "consent_withdrawn" => self.push("ConsentWithdrawn", json!({ "purpose": purpose })),
            "account_registered" => self.account("AccountRegistered"),
            "account_cancelled" => self.account("AccountCancelled"),
            "purpose_added" => self.purpose_added(),
            "purpose_fulfilled" => self.selective("PurposeFulfilled", json!({ "purpose": purpose })),
            "used" => self.used(purpose),
            "objection" => self.selective("ObjectionUpheld", json!({ "purpose": purpose })),
            "erasure" => self.selective("ErasureAccepted", json!({ "case": "c1" })),
            "unlawful" => self.unlawful(purpose),
            "restrict" => self.restrict(),
            "lift" => self.lift(),
            "hold" => self.hold(),
            "release" => self.release(),
            "order" => {
                self.selective("AuthorityDeletionOrdered", json!({ "order": format!("o{}", self.next_id) }))
            }
            "defer" => self.selective("ErasureDeferred", json!({ "reason": "technical" })),
            "execute" => self.execute(),
            "completed" => self.transaction("TransactionCompleted"),
            "aborted" => self.transaction("TransactionAborted"),
            "service_registered" => self.service_registered(),
            "service_notified" => self.service("ServiceTerminationNotified"),
            "service_terminated" => self.service("ServiceTerminated"),
            "retract" => self.retract(),
            _ => self.noise(purpose),
        }
    }

    /// One of the datum's purposes.
    pub(super) fn purpose(&mut self) -> &'static str {
        let index = self.rng.below(self.purposes.len() as u64) as usize;
        self.purposes[index].0
    }

    /// Records an event at the clock; ids and backfill marks come here.
    pub(super) fn push(&mut self, kind: &str, fields: Value) {
        let mut event = fields;
        event["type"] = json!(kind);
        event["at"] = json!(print(self.clock));
        if kind != "EventsRetracted" && self.rng.chance(50) {
            event["id"] = json!(format!("e{}", self.next_id));
        }
        let markable = ["DataCollected", "ConsentGiven", "ConsentWithdrawn", "AccountCancelled", "DataUsed"];
        if markable.contains(&kind) && self.rng.chance(2) {
            event["backfill"] = json!(true);
        }
        self.next_id += 1;
        self.used.insert(self.clock);
        self.events.push(event);
        self.mark_ends();
    }

    /// The same with a selector now and then; most selectors fit the datum.
    pub(super) fn selective(&mut self, kind: &str, fields: Value) {
        let mut fields = fields;
        if self.rng.chance(22) {
            let mut selector = Map::new();
            let wrong = if self.rng.chance(30) { self.rng.below(4) } else { 9 };
            let keys = [
                ("service", SERVICE, OTHER_SERVICE),
                ("record_kind", self.record_kind, "photo"),
                ("category", self.category, "pd:Picture"),
                ("slot", self.slot, "A-1002"),
            ];
            for (index, (key, own, other)) in keys.into_iter().enumerate() {
                let differs = wrong == index as u64;
                if differs || self.rng.chance(40) {
                    selector.insert(key.to_owned(), json!(if differs { other } else { own }));
                }
            }
            fields["selector"] = Value::Object(selector);
        }
        self.push(kind, fields);
    }

    /// Where the rules would end that were anchored here: places to go to later.
    pub(super) fn mark_ends(&mut self) {
        if self.rules.is_empty() {
            return;
        }
        let index = self.rng.below(self.rules.len() as u64) as usize;
        let end = end_of(&self.rules[index], self.clock);
        self.marks.push(end);
    }

    pub(super) fn collect(&mut self) {
        let mut named: Vec<Value> = vec![];
        for (index, (purpose, basis)) in self.purposes.clone().into_iter().enumerate() {
            if self.rng.chance(75) || (named.is_empty() && index + 1 == self.purposes.len()) {
                let basis = if self.rng.chance(4) { self.rng.pick(&BASES) } else { basis };
                named.push(json!({ "id": purpose, "basis": basis }));
            }
        }
        let regimes = if self.rng.chance(8) { self.rng.pick(&REGIMES) } else { self.regimes };
        let datum = self.datum(SERVICE, self.record_kind, self.category, self.slot, regimes, named);
        self.last_collection = self.clock;
        self.push("DataCollected", json!({ "datum": datum }));
        self.follow_up();
    }

    /// Evidence that comes late: about five minutes after the collection, sometimes with a blow between.
    pub(super) fn follow_up(&mut self) {
        let start = self.clock;
        let offsets =
            [SECOND, 2 * MINUTE, 4 * MINUTE, 5 * MINUTE - 1, 5 * MINUTE, 5 * MINUTE, 5 * MINUTE + 1];
        let blow = self.rng.chance(16);
        if blow {
            let wished = start + self.rng.pick(&[500, 30 * SECOND, 90 * SECOND]);
            self.clock = self.fresh(wished);
            let sort = self.rng.pick(&[
                "used",
                "used",
                "consent_withdrawn",
                "account_cancelled",
                "purpose_fulfilled",
                "erasure",
                "execute",
                "service_terminated",
            ]);
            self.write_sort(sort);
        }
        if self.rng.chance(if blow { 55 } else { 16 }) {
            let consent =
                self.purposes.iter().find(|(_, basis)| *basis == "consent").map(|(purpose, _)| *purpose);
            let wished = start + self.rng.pick(&offsets);
            self.clock = self.fresh(wished).max(self.clock);
            match consent {
                Some(purpose) => self.consent_given(purpose),
                None => self.push("AccountRegistered", json!({})),
            }
        }
    }

    pub(super) fn datum(
        &mut self,
        service: &str,
        record_kind: &str,
        category: &str,
        slot: &str,
        regimes: &[&str],
        purposes: Vec<Value>,
    ) -> Value {
        let mut datum = json!({
            "id": "d1", "service": service, "record_kind": record_kind, "category": category,
            "regimes": regimes, "purposes": purposes,
        });
        if !slot.is_empty() || self.rng.chance(10) {
            datum["slot"] = json!(slot);
        }
        datum
    }

    /// Another datum of the same person, which counts for nothing here.
    pub(super) fn collect_other(&mut self) {
        let (purpose, basis) = (self.purpose(), self.rng.pick(&BASES));
        let named = vec![json!({ "id": purpose, "basis": basis })];
        let slot = self.slot;
        let (kind, category) = (self.record_kind, self.category);
        // Only once the datum itself is there may another one share its slot, mostly.
        let datum = match self.rng.below(4) {
            0 if !self.events.is_empty() => {
                self.datum(OTHER_SERVICE, kind, category, slot, &["EU", "CN"], named)
            }
            1 if !self.events.is_empty() => {
                self.datum(SERVICE, "photo", category, slot, &["EU", "CN"], named)
            }
            2 if !self.events.is_empty() => {
                self.datum(SERVICE, kind, "pd:Picture", slot, &["EU", "CN"], named)
            }
            _ => self.datum(SERVICE, kind, category, "A-1002", &["EU", "CN"], named),
        };
        self.push("DataCollected", json!({ "datum": datum }));
    }

    pub(super) fn consent_given(&mut self, purpose: &str) {
        let mut fields = json!({ "purpose": purpose });
        if self.rng.chance(15) {
            let scale = self.rng.pick(&[MINUTE, HOUR, DAY, DAY, 30 * DAY]);
            let expires = self.clock + scale * self.rng.between(1, 6);
            fields["expires_at"] = json!(print(expires));
            self.marks.push(expires);
        }
        self.push("ConsentGiven", fields);
    }

    pub(super) fn account(&mut self, kind: &str) {
        let fields = match self.rng.below(10) {
            0 => json!({ "services": [] }),
            1 => json!({ "services": [SERVICE] }),
            2 => json!({ "services": [OTHER_SERVICE] }),
            3 => json!({ "services": [OTHER_SERVICE, SERVICE] }),
            _ => json!({}),
        };
        self.push(kind, fields);
    }

    pub(super) fn purpose_added(&mut self) {
        let index = self.rng.below(self.purposes.len() as u64) as usize;
        let (own, basis) = self.purposes[index];
        let purpose = if self.rng.chance(85) { own } else { self.rng.pick(&PURPOSES) };
        let basis = if self.rng.chance(60) { basis } else { self.rng.pick(&BASES) };
        self.selective("PurposeAdded", json!({ "purpose": { "id": purpose, "basis": basis } }));
    }

    pub(super) fn used(&mut self, purpose: &str) {
        let purpose = if self.rng.chance(6) { "cross_service" } else { purpose };
        self.selective("DataUsed", json!({ "purpose": purpose }));
    }

    pub(super) fn unlawful(&mut self, purpose: &str) {
        let fields = if self.rng.chance(60) { json!({ "purpose": purpose }) } else { json!({}) };
        self.selective("UnlawfulProcessingFound", fields);
    }

    pub(super) fn restrict(&mut self) {
        let ground = self.rng.pick(&["18-1-a", "18-1-b", "18-1-c", "18-1-d"]);
        self.grounds.push(ground);
        self.selective("RestrictionApplied", json!({ "ground": ground }));
    }

    /// Lifts one ground that was applied, or all, or one that never was.
    pub(super) fn lift(&mut self) {
        let fields = match self.grounds.last().copied() {
            Some(ground) if self.rng.chance(60) => json!({ "ground": ground }),
            Some(_) if self.rng.chance(70) => json!({}),
            _ => json!({ "ground": "18-1-b" }),
        };
        self.push("RestrictionLifted", fields);
    }

    pub(super) fn hold(&mut self) {
        let hold = format!("h{}", 1 + self.rng.below(2));
        self.holds.push(hold.clone());
        self.selective("LegalHoldPlaced", json!({ "hold": hold, "ground": "court" }));
    }

    pub(super) fn release(&mut self) {
        let hold = self.holds.last().cloned().unwrap_or_else(|| "h1".to_owned());
        self.push("LegalHoldReleased", json!({ "hold": hold }));
    }

    /// An execution, by the name of an earlier copy now and then: before, at or after the last collection.
    pub(super) fn execute(&mut self) {
        let kind = if self.rng.chance(75) { "ErasureExecuted" } else { "AnonymisationExecuted" };
        let last = self.last_collection;
        let mut fields = json!({});
        if self.rng.chance(40) {
            let bound = match self.rng.below(4) {
                0 => last - self.rng.between(1, 40) * HOUR,
                1 => last,
                2 => last + 1,
                _ => last - self.rng.pick(&[1, SECOND, MINUTE]),
            };
            fields["collected_before"] = json!(print(bound));
        }
        self.selective(kind, fields);
    }

    pub(super) fn transaction(&mut self, kind: &str) {
        let slot = if self.rng.chance(80) { self.slot } else { self.rng.pick(&["", "A-1001", "A-1002"]) };
        let mut fields = json!({});
        if !slot.is_empty() || self.rng.chance(10) {
            fields["slot"] = json!(slot);
        }
        if self.rng.chance(20) {
            fields["record_kind"] = json!(if self.rng.chance(75) { self.record_kind } else { "photo" });
        }
        self.push(kind, fields);
    }

    pub(super) fn service_registered(&mut self) {
        let mut fields = json!({ "service": if self.rng.chance(85) { SERVICE } else { OTHER_SERVICE } });
        if self.rng.chance(60) {
            let from = match self.rng.below(4) {
                0 => self.last_collection,
                1 => self.last_collection + 1,
                _ => self.clock + self.rng.between(-30, 90) * DAY,
            };
            fields["evidence_from"] = json!(print(from));
        }
        self.push("ServiceRegistered", fields);
    }

    pub(super) fn service(&mut self, kind: &str) {
        let service = if self.rng.chance(80) { SERVICE } else { OTHER_SERVICE };
        self.push(kind, json!({ "service": service }));
    }

    /// Takes back one or two earlier events that have an id; sometimes an id that nobody has.
    pub(super) fn retract(&mut self) {
        let known: Vec<String> =
            self.events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect();
        let mut ids: Vec<String> = vec![];
        for _ in 0..1 + self.rng.below(2) {
            if known.is_empty() || self.rng.chance(5) {
                ids.push("e99".to_owned());
            } else {
                ids.push(known[self.rng.below(known.len() as u64) as usize].clone());
            }
        }
        self.push("EventsRetracted", json!({ "event_ids": ids, "reason": "wrong_subject" }));
    }

    /// Events the procedure does not read.
    pub(super) fn noise(&mut self, purpose: &str) {
        match self.rng.below(5) {
            0 => self.push("ErasureRefused", json!({ "case": "c2", "ground": "still_necessary" })),
            1 => self.push("ObjectionRejected", json!({ "purpose": purpose })),
            2 => self.push("ConsentRefused", json!({ "purpose": purpose })),
            3 => self.push("DataRectified", json!({ "fields": ["email"] })),
            _ => self.push("StaffAccessed", json!({ "reason": "support" })),
        }
    }

    /// Annulments of successors, somewhere on or after the way.
    pub(super) fn write_annulments(&mut self) {
        let rules: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.get("replaces").is_some())
            .filter_map(|rule| rule["id"].as_str().map(str::to_owned))
            .collect();
        let end = self.clock;
        for id in rules {
            if self.rng.chance(35) {
                let wished = end - self.rng.between(-3, 30) * DAY;
                self.clock = self.fresh(wished);
                self.events.truncate(24);
                self.push("RetentionRuleAnnulled", json!({ "rule": id, "reason": "mistake" }));
            }
        }
        self.clock = end;
    }
}

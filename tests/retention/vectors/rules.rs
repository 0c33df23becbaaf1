//! Rules, their versions and what annuls them.

use super::*;

impl Story {
    /// Keep rules for most purposes (a gap makes one undefined), and some floors and caps; at most six.
    pub(super) fn write_rules(&mut self) {
        if self.rng.chance(2) {
            return;
        }
        for (index, (purpose, _)) in self.purposes.clone().into_iter().enumerate() {
            if self.rng.chance(96) {
                self.write_keep(&format!("keep.{purpose}"), purpose);
            }
            if self.rng.chance(if index == 0 { 42 } else { 15 }) {
                self.write_keep(&format!("keep.{purpose}.too"), purpose);
            }
        }
        if self.rng.chance(40) {
            self.write_floor();
        }
        if self.rng.chance(8) {
            self.write_floor();
        }
        if self.rng.chance(28) {
            self.write_cap();
        }
        self.rules.truncate(6);
        if self.rng.chance(15) {
            self.shuffle_rules();
        }
    }

    pub(super) fn shuffle_rules(&mut self) {
        for index in (1..self.rules.len()).rev() {
            let other = self.rng.below(index as u64 + 1) as usize;
            self.rules.swap(index, other);
        }
    }

    pub(super) fn write_keep(&mut self, id: &str, purpose: &str) {
        let anchor = self.keep_anchor();
        let mut matching = Map::new();
        matching.insert("purposes".to_owned(), json!([purpose]));
        self.narrow(&mut matching, 5);
        let mut rule = self.rule(id, "keep", matching, anchor);
        if anchor == "purpose_ended" && self.rng.chance(25) {
            rule["causes"] = self.causes();
        }
        self.write_versions(rule);
    }

    pub(super) fn keep_anchor(&mut self) -> &'static str {
        let document = ["invoice", "accounting_voucher", "commercial_letter"].contains(&self.record_kind);
        match self.rng.below(100) {
            0..=39 => "purpose_ended",
            40..=57 => "collected",
            58..=69 => "last_activity",
            70..=79 => "transaction_completed",
            80..=86 => "account_cancelled",
            _ if document => "document_created",
            _ if self.record_kind == "network_log" => "logged",
            _ => {
                self.rng.pick(&["collected", "purpose_ended", "purpose_ended", "logged", "document_created"])
            }
        }
    }

    pub(super) fn causes(&mut self) -> Value {
        let all = ["account_cancelled", "fulfilled", "service_terminated"];
        let chosen: Vec<&str> = all.into_iter().filter(|_| self.rng.chance(50)).collect();
        if chosen.is_empty() { json!(["account_cancelled"]) } else { json!(chosen) }
    }

    pub(super) fn write_floor(&mut self) {
        let anchor = match self.record_kind {
            "transaction" => "transaction_completed",
            "network_log" => "logged",
            "invoice" | "accounting_voucher" | "commercial_letter" => "document_created",
            _ => self.rng.pick(&[
                "collected",
                "collected",
                "last_activity",
                "transaction_completed",
                "account_cancelled",
                "purpose_ended",
            ]),
        };
        let law = if self.rng.chance(75) {
            self.rng.pick(self.regimes)
        } else {
            self.rng.pick(&["CN", "DE", "EU", "US"])
        };
        let mut matching = Map::new();
        if self.rng.chance(70) {
            matching.insert("record_kinds".to_owned(), json!([self.record_kind]));
        }
        if self.rng.chance(50) {
            matching.insert("regimes".to_owned(), json!([law]));
        }
        self.narrow(&mut matching, 4);
        let id = format!("floor.{}.{}", law.to_lowercase(), self.rules.len());
        let mut rule = self.rule(&id, "floor", matching, anchor);
        if self.rng.chance(85) {
            rule["law_of"] = json!(law);
        }
        rule["legal"] = json!("a statute");
        self.write_versions(rule);
    }

    pub(super) fn write_cap(&mut self) {
        let anchor = self.rng.pick(&[
            "collected",
            "collected",
            "collected",
            "last_activity",
            "last_activity",
            "transaction_completed",
            "account_cancelled",
            "purpose_ended",
        ]);
        let mut matching = Map::new();
        if self.rng.chance(70) {
            matching.insert("categories".to_owned(), json!([self.category]));
        }
        self.narrow(&mut matching, 5);
        let id = format!("cap.{}", self.rules.len());
        let rule = self.rule(&id, "cap", matching, anchor);
        self.write_versions(rule);
    }

    /// Sometimes one more key of `match`, which may or may not fit the datum.
    pub(super) fn narrow(&mut self, matching: &mut Map<String, Value>, percent: u64) {
        if self.rng.chance(percent) {
            let term = self.rng.pick(&[self.category, "pd:Picture"]);
            matching.insert("categories".to_owned(), json!([term]));
        }
        if self.rng.chance(percent) {
            let term = self.rng.pick(&[self.record_kind, "photo"]);
            matching.insert("record_kinds".to_owned(), json!([term, "ticket"]));
        }
        if self.rng.chance(percent) {
            matching.insert("regimes".to_owned(), json!([self.rng.pick(&["CN", "EU", "DE"])]));
        }
        if self.rng.chance(percent) && !matching.contains_key("purposes") {
            let (purpose, _) = self.purposes[self.rng.below(self.purposes.len() as u64) as usize];
            matching.insert("purposes".to_owned(), json!([self.rng.pick(&[purpose, "archive"])]));
        }
    }

    pub(super) fn rule(&mut self, id: &str, kind: &str, matching: Map<String, Value>, anchor: &str) -> Value {
        let zone = self.rng.pick(&ZONES);
        let mut rule = json!({
            "id": id, "kind": kind, "match": matching, "anchor": anchor,
            "period": self.rng.pick(&PERIODS), "tz": zone,
        });
        if self.rng.chance(8) {
            rule["year_end"] = json!(true);
        }
        if self.rng.chance(35) {
            rule["on_expiry"] = json!("anonymise");
        } else if self.rng.chance(50) {
            rule["on_expiry"] = json!("erase");
        }
        rule
    }

    /// The rule alone; or with a validity; or with a chain of versions that take over from each other.
    pub(super) fn write_versions(&mut self, rule: Value) {
        let id = rule["id"].as_str().unwrap_or_default().to_owned();
        let mut version = rule;
        match self.rng.below(100) {
            0..=71 => self.rules.push(version),
            72..=79 => {
                let (from, to) = (self.rule_date(-40, 40), self.rule_date(0, 200));
                if self.rng.chance(50) {
                    version["from"] = json!(from);
                }
                if self.rng.chance(60) {
                    version["to"] = json!(to);
                }
                self.rules.push(version);
            }
            _ => {
                let mut next = version.clone();
                if self.rng.chance(25) {
                    version["to"] = json!(self.rule_date(0, 120));
                }
                self.rules.push(version);
                let mut replaced = id.clone();
                let length = 1 + self.rng.below(2);
                for number in 2..2 + length {
                    next["id"] = json!(format!("{id}.v{number}"));
                    next["period"] = json!(self.rng.pick(&PERIODS));
                    next["from"] = json!(self.rule_date(-20, 60 * number as i64));
                    next["replaces"] = json!(replaced);
                    replaced = format!("{id}.v{number}");
                    self.rules.push(next.clone());
                }
            }
        }
    }

    /// A date some days from the beginning of the story, kept as a mark.
    pub(super) fn rule_date(&mut self, low: i64, high: i64) -> String {
        let at = self.clock + self.rng.between(low, high) * DAY;
        let midnight = at - at.rem_euclid(DAY);
        self.marks.push(midnight);
        print(midnight)[..10].to_owned()
    }
}

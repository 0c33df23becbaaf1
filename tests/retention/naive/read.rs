//! What is read: the vector's rules and events.

use super::*;

impl Event {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field).and_then(Value::as_str)
    }

    /// The purpose is an id, or an object with an id (PurposeAdded).
    pub(super) fn purpose(&self) -> Option<&str> {
        let purpose = self.body.get("purpose")?;
        purpose.as_str().or_else(|| purpose.get("id").and_then(Value::as_str))
    }

    /// An event about purposes that names none is about all of them (2.2, selector).
    pub(super) fn concerns(&self, purpose: &str) -> bool {
        self.purpose().is_none_or(|own| own == purpose)
    }

    pub(super) fn execution(&self) -> bool {
        self.is("ErasureExecuted") || self.is("AnonymisationExecuted")
    }

    /// Demands are about the data held (step 3).
    pub(super) fn demand(&self) -> bool {
        self.is("ErasureAccepted") || self.is("UnlawfulProcessingFound")
    }

    pub(super) fn end_of_account(&self) -> bool {
        self.is("AccountCancelled") || self.is("ServiceTerminated")
    }

    pub(super) fn collected_before(&self) -> Option<i64> {
        self.text("collected_before").map(read_instant)
    }

    /// The purposes with their bases that a DataCollected names or a PurposeAdded adds.
    pub(super) fn named_purposes(&self) -> Vec<(String, String)> {
        let listed = match self.kind.as_str() {
            "DataCollected" => self.body["datum"]["purposes"].as_array().cloned().unwrap_or_default(),
            "PurposeAdded" => vec![self.body["purpose"].clone()],
            _ => vec![],
        };
        let mut named: Vec<(String, String)> = vec![];
        for purpose in &listed {
            let (Some(id), Some(basis)) = (purpose["id"].as_str(), purpose["basis"].as_str()) else {
                continue;
            };
            if !named.iter().any(|(other, _)| other == id) {
                named.push((id.to_owned(), basis.to_owned()));
            }
        }
        named
    }
}

impl Rule {
    pub(super) fn read(value: &Value) -> Rule {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        Rule {
            id: text("id").unwrap_or_default().to_owned(),
            kind: text("kind").unwrap_or_default().to_owned(),
            matches: value.get("match").cloned().unwrap_or(Value::Null),
            anchor: text("anchor").unwrap_or_default().to_owned(),
            causes: value.get("causes").and_then(Value::as_array).map(|causes| strings(causes)),
            period: text("period").unwrap_or("P0D").to_owned(),
            year_end: value.get("year_end").and_then(Value::as_bool).unwrap_or(false),
            tz: text("tz").and_then(|tz| tz.parse().ok()).unwrap_or(Tz::UTC),
            anonymise: text("on_expiry") == Some("anonymise"),
            law_of: text("law_of").map(str::to_owned),
            from: text("from").map_or(NEVER_BEGAN, read_date),
            ends: text("to").map_or(INFINITE, read_date),
            replaces: text("replaces").map(str::to_owned),
        }
    }

    pub(super) fn in_force_at(&self, at: i64) -> bool {
        self.from <= at && at < self.ends
    }

    /// In force at any moment of the closed interval (step 9).
    pub(super) fn in_force_between(&self, first: i64, last: i64) -> bool {
        self.from < self.ends && self.from <= last && first < self.ends
    }

    /// Step 8: until when the rule runs from its anchor; without an anchor for ever.
    pub(super) fn until(&self, anchor: Option<i64>) -> i64 {
        let Some(anchor) = anchor else { return INFINITE };
        if self.period == "P0D" && !self.year_end {
            return anchor;
        }
        let mut day = utc(anchor).with_timezone(&self.tz).date_naive();
        if self.year_end {
            day = NaiveDate::from_ymd_opt(day.year(), 12, 31).expect("every year has a last day");
        }
        let last_day = add_period(day, &self.period);
        first_instant_of(last_day + Days::new(1), self.tz)
    }
}

impl Key {
    pub(super) fn of(datum: &Value) -> Key {
        let text = |field: &str| datum.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Key {
            service: text("service"),
            record_kind: text("record_kind"),
            category: text("category"),
            slot: text("slot"),
        }
    }

    pub(super) fn same(&self, other: &Key) -> bool {
        self.service == other.service
            && self.record_kind == other.record_kind
            && self.category == other.category
            && self.slot == other.slot
    }

    /// Step 1: does an event concern this datum? Each kind of event says it in its own way.
    pub(super) fn matched_by(&self, kind: &str, body: &Value) -> bool {
        if !self.selected_by(body.get("selector")) {
            return false;
        }
        let text = |field: &str| body.get(field).and_then(Value::as_str);
        match kind {
            "DataCollected" => self.same(&Key::of(&body["datum"])),
            "TransactionCompleted" | "TransactionAborted" => {
                text("slot").unwrap_or_default() == self.slot
                    && text("record_kind").is_none_or(|record_kind| record_kind == self.record_kind)
            }
            "AccountRegistered" | "AccountCancelled" => {
                let services = body.get("services").and_then(Value::as_array).map(|list| strings(list));
                services.is_none_or(|list| list.is_empty() || list.contains(&self.service))
            }
            "ServiceRegistered" | "ServiceTerminationNotified" | "ServiceTerminated" => {
                text("service").is_none_or(|service| service == self.service)
            }
            _ => true,
        }
    }

    /// A selector's key that is there must be equal, an absent one means all (2.2).
    pub(super) fn selected_by(&self, selector: Option<&Value>) -> bool {
        let Some(selector) = selector else { return true };
        let agrees = |field: &str, own: &str| {
            selector.get(field).and_then(Value::as_str).is_none_or(|stated| stated == own)
        };
        agrees("service", &self.service)
            && agrees("record_kind", &self.record_kind)
            && agrees("category", &self.category)
            && agrees("slot", &self.slot)
    }
}

/// The key is that of the first DataCollected, in the given order, with the slot asked about.
pub(super) fn key_of_vector(vector: &Value) -> Option<Key> {
    let slot = vector.get("slot").and_then(Value::as_str).unwrap_or_default();
    let events = vector["events"].as_array()?;
    let collected = events.iter().filter(|event| event["type"] == "DataCollected");
    collected.map(|event| Key::of(&event["datum"])).find(|key| key.slot == slot)
}

/// Step 1: the events that count, in the order that counts.
pub(super) fn events_that_count(vector: &Value, key: &Key, now: i64) -> Vec<Event> {
    let all = vector["events"].as_array().cloned().unwrap_or_default();
    let retracted = retracted_ids(&all, now);
    let mut counting = vec![];
    for (number, body) in all.iter().enumerate() {
        let kind = body["type"].as_str().unwrap_or_default().to_owned();
        let at = read_instant(body["at"].as_str().unwrap_or_default());
        let gone = kind != "EventsRetracted"
            && body.get("id").and_then(Value::as_str).is_some_and(|id| retracted.contains(id));
        if at <= now && !gone && key.matched_by(&kind, body) {
            counting.push(Event { at, kind, number, body: body.clone() });
        }
    }
    counting.sort_by_key(|event| event.at); // The sort is stable: ties stay in the given order.
    let expiries = consent_expiries(&counting, now, all.len());
    counting.extend(expiries);
    // An expiry happens before anything else of its instant, and its number is past all given ones.
    counting.sort_by_key(|event| (event.at, event.number < all.len()));
    counting
}

/// Ids that some retraction of `now` or earlier names.
pub(super) fn retracted_ids(all: &[Value], now: i64) -> BTreeSet<String> {
    let retractions = all.iter().filter(|event| {
        event["type"] == "EventsRetracted" && read_instant(event["at"].as_str().unwrap_or_default()) <= now
    });
    retractions.flat_map(|event| strings(event["event_ids"].as_array().map_or(&[][..], |ids| ids))).collect()
}

/// 3.9: an expires_at that passes reads as a ConsentWithdrawn, unless consent was given again before.
pub(super) fn consent_expiries(counting: &[Event], now: i64, first_number: usize) -> Vec<Event> {
    let mut expiries = vec![];
    for (index, given) in counting.iter().enumerate() {
        let Some(expires) = given.text("expires_at").map(read_instant) else { continue };
        if !given.is("ConsentGiven") || expires > now {
            continue;
        }
        let given_again = counting[index + 1..].iter().any(|later| {
            later.is("ConsentGiven") && later.purpose() == given.purpose() && later.at < expires
        });
        if !given_again {
            expiries.push(Event {
                at: expires,
                kind: "ConsentWithdrawn".to_owned(),
                number: first_number + index,
                body: json!({ "purpose": given.purpose() }),
            });
        }
    }
    expiries
}

/// Step 1, second half: leave out annulled versions, and let the others end where their successor begins.
pub(super) fn versions_that_count(vector: &Value, events: &[Event]) -> Vec<Rule> {
    let all: Vec<Rule> =
        vector["rules"].as_array().map_or(&[][..], |list| list).iter().map(Rule::read).collect();
    let annulled: BTreeSet<&str> = events
        .iter()
        .filter(|event| event.is("RetentionRuleAnnulled"))
        .filter_map(|event| event.text("rule"))
        .collect();
    let mut counting = vec![];
    for rule in &all {
        if !annulled.contains(rule.id.as_str()) {
            let ends = rule.ends.min(taken_over_at(&rule.id, &all, &annulled, 0));
            counting.push(Rule { ends, ..rule.clone() });
        }
    }
    counting
}

/// The `from` of the version that replaces `id`, looking through annulled ones; infinite if there is none.
pub(super) fn taken_over_at(id: &str, all: &[Rule], annulled: &BTreeSet<&str>, depth: usize) -> i64 {
    if depth > all.len() {
        return INFINITE; // Versions that replace each other in a ring: malformed, nobody takes over.
    }
    let mut earliest = INFINITE;
    for successor in all.iter().filter(|rule| rule.replaces.as_deref() == Some(id)) {
        let from = if annulled.contains(successor.id.as_str()) {
            taken_over_at(&successor.id, all, annulled, depth + 1)
        } else {
            successor.from
        };
        earliest = earliest.min(from);
    }
    earliest
}

//! The decision, and what comes after it.

use super::*;

impl Case {
    /// Steps 9 to 15 at a moment.
    pub(super) fn decide(&self, before: usize, at: i64) -> Decision {
        if self.life(before).is_none() {
            let lived = self.events[..before].iter().any(|event| event.is("DataCollected"));
            return Decision::nothing(if lived { "done" } else { "absent" });
        }
        let purposes = self.purpose_states(before, at);
        let floors = self.datum_rules("floor", before, at);
        let caps = self.datum_rules("cap", before, at);
        let blockers = self.blockers(before);
        let order = self.order(before);

        let need = purposes.iter().map(PurposeState::until_or_infinite).max().unwrap_or(INFINITE);
        let capped_need = caps.iter().map(|(end, _)| *end).chain([need]).min().unwrap_or(need);
        let floor = floors.iter().map(|(end, _)| *end).max().unwrap_or(NEVER_BEGAN);
        let keep_until = capped_need.max(floor);

        let mut decision = Decision::nothing("blocked");
        decision.ordered = order.is_some();
        if self.conflict_of_laws(&floors, before) {
            decision.findings.insert("F-CONFLICT-OF-LAWS");
        }
        let mut bounds: Vec<Bound> = vec![];
        if order.is_some() && !blockers.holds.is_empty() {
            // (b) An order against a hold.
            decision.state = "review";
            decision.findings.insert("F-ORDER-CONFLICT");
            decision.because = blockers.holds.iter().map(|hold| format!("hold:{hold}")).collect();
            decision.because.extend(order.map(order_id));
        } else if let Some(order) = order {
            // (c) An order: floors and other blockers are ignored.
            decision.state = "due";
            decision.due_at = Some(order.at);
            decision.because = vec![order_id(order)];
        } else if purposes.iter().any(PurposeState::undefined) {
            // (d) Never destroy by default.
            decision.state = "review";
            decision.findings.insert("F-RETENTION-UNDEFINED");
            let undefined = purposes.iter().filter(|state| state.undefined());
            decision.because =
                undefined.map(|state| format!("undefined:{}", state.episode.purpose)).collect();
        } else if blockers.any() {
            // (e) A blocker: no due date.
            decision.state = if keep_until <= at { "suspended" } else { "blocked" };
            decision.because = blockers.ids();
        } else if keep_until == INFINITE {
            // (f) Nothing ends it yet.
            decision.because = reasons_without_end(&purposes, capped_need, &floors);
        } else {
            // (g) A due date.
            let lifted = blockers.last_lifting.filter(|&lifting| lifting > keep_until);
            let due_at = lifted.unwrap_or(keep_until);
            decision.state = if due_at <= at { "due" } else { "blocked" };
            decision.due_at = Some(due_at);
            bounds = bounds_reaching(keep_until, capped_need, &purposes, &caps, &floors);
            decision.because = bounds.iter().map(|bound| bound.id.clone()).collect();
            decision.because.extend(lifted.map(|_| "released".to_owned()));
        }

        // Step 13.
        let locked = !blockers.restrictions.is_empty() || order.is_some() || decision.state == "due";
        for state in purposes.iter().filter(|state| !locked && usable(state, at, capped_need)) {
            decision.usable_or_settling.push(state.episode.purpose.clone());
            if !state.episode.opening.settling {
                decision.usable_for.push(state.episode.purpose.clone());
            }
        }
        if decision.state == "blocked" && !decision.usable_for.is_empty() {
            decision.state = "active";
        }

        // Steps 14, 15 and 17.
        decision.action = self.action(&decision, &purposes, &bounds, before);
        decision.due = decision.due_at.map(|due_at| self.local_date(due_at, &bounds));
        decision.overrun = decision.state == "due" && overrun(decision.due_at, &bounds, at);
        decision.because = decision.because.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        decision
    }

    /// The latest episode of each purpose, in the order of their names.
    pub(super) fn purpose_states(&self, before: usize, at: i64) -> Vec<PurposeState> {
        let purposes = self.purposes(before);
        let episodes = purposes.iter().filter_map(|purpose| self.latest_episode(before, purpose));
        episodes.map(|episode| self.purpose_state(episode, before, at)).collect()
    }

    /// Step 14.
    pub(super) fn action(
        &self,
        decision: &Decision,
        purposes: &[PurposeState],
        bounds: &[Bound],
        before: usize,
    ) -> &'static str {
        if decision.state == "review" {
            return "review";
        }
        if decision.due_at.is_none() {
            return "none";
        }
        let hard = purposes.iter().any(|state| state.hard.is_some());
        if hard || decision.ordered || self.account_cancelled(before) {
            return "erase";
        }
        // Erase beats anonymise.
        if bounds.iter().all(|bound| bound.anonymise) { "anonymise" } else { "erase" }
    }

    /// An account cancellation in this life, or one from before it that still stands.
    pub(super) fn account_cancelled(&self, before: usize) -> bool {
        let Some(life) = self.life(before) else { return false };
        let past = &self.events[..before];
        let since = past.iter().rposition(|event| event.is("AccountRegistered")).map_or(0, |index| index + 1);
        past.iter()
            .enumerate()
            .any(|(index, event)| event.is("AccountCancelled") && (index >= life.start || index >= since))
    }

    /// Step 15: the date in the zone of the first binding rule by id, else of the first keep rule.
    pub(super) fn local_date(&self, instant: i64, bounds: &[Bound]) -> String {
        let mut binding: Vec<&Rule> = bounds.iter().filter_map(|bound| bound.version.as_ref()).collect();
        binding.sort_by(|one, other| one.id.cmp(&other.id));
        let tz = binding.first().map_or(self.home, |rule| rule.tz);
        utc(instant).with_timezone(&tz).date_naive().format("%Y-%m-%d").to_string()
    }

    /// Step 16: what an earlier demand still claims although the datum was collected again.
    pub(super) fn owed(&self, decision: &Decision) -> Option<Decision> {
        if ["due", "review", "absent", "done"].contains(&decision.state) {
            return None;
        }
        let life = self.life(self.events.len())?;
        let demand = (life.start..self.events.len()).rev().find(|&index| self.events[index].demand())?;
        let collected = self.collections(self.events.len()).into_iter().find(|&index| index > demand)?;
        let older = self.again(self.without_copy_from(collected), false);
        let decided = older.decide(older.events.len(), older.now);
        (decided.state == "due").then_some(decided)
    }

    /// The events without the collections, additions and uses from one collection on.
    pub(super) fn without_copy_from(&self, collected: usize) -> Vec<Event> {
        let of_copy =
            |event: &Event| event.is("DataCollected") || event.is("PurposeAdded") || event.is("DataUsed");
        let kept =
            self.events.iter().enumerate().filter(|(index, event)| *index < collected || !of_copy(event));
        kept.map(|(_, event)| event.clone()).collect()
    }

    /// Step 11: a technical deferral in a life that has, or comes to have, the regime EU.
    pub(super) fn refused_deferrals(&self) -> BTreeSet<&'static str> {
        let refused = (0..self.events.len()).any(|index| {
            let Some(life) = self.life(index).filter(|_| is_technical_deferral(&self.events[index])) else {
                return false;
            };
            let same_life =
                |before: &usize| self.life(*before).is_some_and(|other| other.start == life.start);
            (index..=self.events.len()).filter(same_life).any(|before| self.regimes(before).contains("EU"))
        });
        refused.then_some("F-DEFER-NOT-ALLOWED").into_iter().collect()
    }

    /// Step 17, second half: each execution of a life, judged on the copy it names.
    pub(super) fn premature_executions(&self) -> BTreeSet<&'static str> {
        let premature = (0..self.events.len()).any(|index| {
            let event = &self.events[index];
            event.execution() && self.life(index).is_some() && self.premature(index, event)
        });
        premature.then_some("F-PREMATURE-ERASURE").into_iter().collect()
    }

    pub(super) fn premature(&self, index: usize, event: &Event) -> bool {
        let not_named = event.collected_before().and_then(|bound| {
            self.collections(index).into_iter().find(|&collected| self.events[collected].at >= bound)
        });
        let Some(not_named) = not_named else { return self.protected(index, event.at) };
        let copy = self.again(self.without_copy_from(not_named), false);
        let there = copy.events.iter().position(|other| other.number == event.number);
        copy.protected(there.expect("an execution is never left out"), event.at)
    }

    /// A hold was active or, without an order, a restriction or a floor, running or unstarted.
    pub(super) fn protected(&self, before: usize, at: i64) -> bool {
        if self.life(before).is_none() {
            return false;
        }
        let blockers = self.blockers(before);
        if !blockers.holds.is_empty() {
            return true;
        }
        let floor = self.datum_rules("floor", before, at).iter().any(|(end, _)| *end > at);
        self.order(before).is_none() && (!blockers.restrictions.is_empty() || floor)
    }

    /// 4.4.1: whether a due item goes out at once or an officer must confirm it first.
    pub(super) fn plan(&self, decision: &Decision) -> &'static str {
        if decision.state != "due" {
            return "none";
        }
        if decision.ordered {
            return "execute";
        }
        let trusting = self.again(self.events.clone(), true);
        let due_anyway = trusting.decide(trusting.events.len(), trusting.now).state == "due";
        let start = self.life(self.events.len()).map_or(0, |life| life.start);
        let backfilled = self.events[start..].iter().any(|event| event.body["backfill"] == true);
        if !due_anyway || backfilled || self.silent { "confirm" } else { "execute" }
    }
}

pub(super) fn is_technical_deferral(event: &Event) -> bool {
    event.is("ErasureDeferred") && event.text("reason") == Some("technical")
}

pub(super) fn order_id(order: &Event) -> String {
    format!("order:{}", order.text("order").unwrap_or_default())
}

pub(super) fn own_bound(rule: &Rule) -> Bound {
    Bound { id: rule.id.clone(), version: Some(rule.clone()), anonymise: rule.anonymise }
}

/// The instant with everything that ends there.
pub(super) fn reaching(instant: i64, ends: &[(i64, Bound)]) -> Until {
    let bounds = ends.iter().filter(|(end, _)| *end == instant).map(|(_, bound)| bound.clone()).collect();
    Until { at: instant, bounds }
}

/// Step 13 for one purpose; whether it is settling is asked elsewhere.
pub(super) fn usable(state: &PurposeState, at: i64, capped_need: i64) -> bool {
    let undefined_and_ended = state.undefined() && state.soft.is_some();
    state.hard.is_none()
        && at < state.until_or_infinite()
        && at < capped_need
        && !state.in_tail
        && !undefined_and_ended
}

/// Step 15: everything that reaches a keep_until with a date.
pub(super) fn bounds_reaching(
    keep_until: i64,
    capped_need: i64,
    purposes: &[PurposeState],
    caps: &[(i64, Rule)],
    floors: &[(i64, Rule)],
) -> Vec<Bound> {
    let mut bounds = vec![];
    if capped_need == keep_until {
        let untils = purposes.iter().filter_map(|state| state.until.as_ref());
        bounds.extend(untils.filter(|until| until.at == keep_until).flat_map(|until| until.bounds.clone()));
        bounds.extend(caps.iter().filter(|(end, _)| *end == keep_until).map(|(_, rule)| own_bound(rule)));
    }
    bounds.extend(floors.iter().filter(|(end, _)| *end == keep_until).map(|(_, rule)| own_bound(rule)));
    bounds
}

/// Step 15: why there is no end in sight.
pub(super) fn reasons_without_end(
    purposes: &[PurposeState],
    capped_need: i64,
    floors: &[(i64, Rule)],
) -> Vec<String> {
    let mut reasons = vec![];
    if capped_need == INFINITE {
        for state in purposes.iter().filter(|state| state.until_or_infinite() == INFINITE) {
            let word = if state.episode.opening.settling { "settling" } else { "open" };
            reasons.push(format!("{word}:{}", state.episode.purpose));
        }
    }
    let pending = floors.iter().filter(|(end, _)| *end == INFINITE);
    reasons.extend(pending.map(|(_, rule)| format!("pending:{}", rule.id)));
    reasons
}

/// Step 17: a day has passed since the due instant and since the latest binding version took effect.
pub(super) fn overrun(due_at: Option<i64>, bounds: &[Bound], at: i64) -> bool {
    let versions = bounds.iter().filter_map(|bound| bound.version.as_ref()).map(|rule| rule.from);
    let latest = versions.chain(due_at).max();
    latest.is_some_and(|latest| at >= latest.saturating_add(DAY_MS))
}

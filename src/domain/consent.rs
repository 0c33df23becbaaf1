//! What one person consented to, and from when to when each consent was in force (GDPR 4(11), 7; PIPL 13 to
//! 16, 23, 29, 39; `domain.md` 3.9, 3.11, 4.2 step 3).
//!
//! A pure function of the acts, in whatever order they are given. The last giving or withdrawal decides;
//! a consent that runs out reads as withdrawn at that instant, unless it was given again before. A refusal
//! takes back nothing that was given, but what may be stopped by saying no stops at it.

use crate::domain::event::{AgeBand, ConsentKind};
use crate::domain::id::{Country, Id, Regime};
use crate::domain::law::Law;
use crate::domain::time::{MS_PER_MINUTE, Timestamp};

/// What is missing and comes within this time counts as having been there: an app may ask and collect at once,
/// and its two events may come from different clocks.
pub const SETTLE_MS: i64 = 5 * MS_PER_MINUTE;

/// What somebody did. Of acts of one instant the later one here counts last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    Given,
    Refused,
    /// An objection was upheld (GDPR 21).
    Objected,
    Withdrawn,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Timestamp,
    pub recorded_at: Timestamp,
    pub act: Act,
    /// `None`: every purpose.
    pub purpose: Option<Id>,
    /// Whom a separate consent is about. A withdrawal that names nobody is about everybody.
    pub recipient: Option<Id>,
    /// The country to which a consent to export is about.
    pub country: Option<Country>,
    pub kind: Option<ConsentKind>,
    pub policy_version: Option<Id>,
    pub expires_at: Option<Timestamp>,
    pub consent_id: Option<Id>,
    /// Whether a guardian consented.
    pub guardian: bool,
}

/// Whose receiving a consent must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// Nobody's in particular: consent to the purpose is enough, whomever it names.
    Anybody,
    /// This recipient's, by name (PIPL 23).
    Recipient(&'a Id),
    /// This recipient's in this country; a consent that names neither allows it too (PIPL 39).
    Abroad(&'a Id, Country),
}

/// Which consent is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// `None`: to any purpose.
    pub purpose: Option<&'a Id>,
    pub to: To<'a>,
    /// Only one that was asked for separately, or given in writing.
    pub separate: bool,
    /// Only a guardian's.
    pub guardian: bool,
    /// Only the one of this name.
    pub consent_id: Option<&'a Id>,
    /// Whether a refusal or an objection stops it too, as it stops marketing (GDPR 21(3); PIPL 24).
    pub stops: bool,
    /// So long before it was given it counts already.
    pub settle_ms: i64,
}

impl<'a> Wanted<'a> {
    /// Consent to a purpose, of any kind.
    pub fn to_purpose(purpose: &'a Id) -> Wanted<'a> {
        Wanted {
            purpose: Some(purpose),
            to: To::Anybody,
            separate: false,
            guardian: false,
            consent_id: None,
            stops: false,
            settle_ms: SETTLE_MS,
        }
    }

    fn is_met_by(&self, step: &Step) -> bool {
        let purpose = self.purpose.is_none() || step.purpose.as_ref() == self.purpose;
        let to = match self.to {
            To::Anybody => true,
            To::Recipient(id) => step.recipient.as_ref() == Some(id),
            To::Abroad(id, country) => {
                step.recipient.as_ref().is_none_or(|to| to == id)
                    && step.country.is_none_or(|to| to == country)
            }
        };
        let separate = matches!(step.kind, Some(ConsentKind::Separate | ConsentKind::Written));
        step.act == Act::Given
            && purpose
            && to
            && (!self.separate || separate)
            && (!self.guardian || step.guardian)
            && self.consent_id.is_none_or(|id| step.consent_id.as_ref() == Some(id))
    }
}

/// When something was so: disjoint stretches `[from, to)`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(Timestamp, Timestamp)>);

impl Spans {
    fn of(mut spans: Vec<(Timestamp, Timestamp)>) -> Spans {
        spans.retain(|(from, to)| from < to);
        spans.sort_unstable();
        let mut joined: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Spans(joined)
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        self.throughout(at, at) == Some(true)
    }

    /// Whether it was so from one instant to another, both included; `None` where it changed in between.
    pub fn throughout(&self, first: Timestamp, last: Timestamp) -> Option<bool> {
        let next = self.0.partition_point(|(_, to)| *to <= first);
        match self.0.get(next) {
            Some((from, to)) if *from <= first => (last < *to).then_some(true),
            Some((from, _)) if *from <= last => None,
            _ => Some(false),
        }
    }
}

/// Everything that one person did about consent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// In the order in which they count.
    steps: Vec<Step>,
}

impl Timeline {
    pub fn new(mut steps: Vec<Step>) -> Timeline {
        steps.sort_by_key(|step| (step.at, step.act, step.recorded_at));
        Timeline { steps }
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The oldest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// When such a consent was in force. With `learned`, as far as was recorded by then.
    pub fn spans(&self, wanted: &Wanted<'_>, learned: Option<Timestamp>) -> Spans {
        let known = |step: &&Step| learned.is_none_or(|by| step.recorded_at <= by);
        let mut spans = Vec::new();
        for (n, given) in self.steps.iter().enumerate().filter(|(_, step)| wanted.is_met_by(step)) {
            if !known(&given) {
                continue;
            }
            let later = self.steps[n + 1..].iter().filter(known);
            let ended = later.filter(|step| ends(step, given, wanted.stops)).map(|step| step.at).next();
            // A consent with an end may follow one without, and then ends it too.
            let run_out = self.steps.iter().filter(known).filter(|step| same_scope(step, given));
            let run_out =
                run_out.filter_map(|step| self.runs_out(step, learned)).filter(|end| *end >= given.at);
            let to = ended.into_iter().chain(run_out).min().unwrap_or(Timestamp::LAST);
            spans.push((given.at.plus_ms(-wanted.settle_ms), to));
        }
        Spans::of(spans)
    }

    pub fn in_force(&self, wanted: &Wanted<'_>, at: Timestamp) -> bool {
        self.spans(wanted, None).holds(at)
    }

    /// When it became known that such a consent had been in force at an instant, where nobody knew by `by`;
    /// `None` where it was known, and where it was not in force.
    pub fn learned_after(&self, wanted: &Wanted<'_>, at: Timestamp, by: Timestamp) -> Option<Timestamp> {
        if self.spans(wanted, Some(by)).holds(at) || !self.in_force(wanted, at) {
            return None;
        }
        let mut later: Vec<Timestamp> =
            self.steps.iter().map(|step| step.recorded_at).filter(|recorded| *recorded > by).collect();
        later.sort_unstable();
        later.into_iter().find(|recorded| self.spans(wanted, Some(*recorded)).holds(at))
    }

    /// The end of a giving, unless it was given again before.
    fn runs_out(&self, given: &Step, learned: Option<Timestamp>) -> Option<Timestamp> {
        let end = given.expires_at.filter(|_| given.act == Act::Given)?;
        let again = self.steps.iter().any(|step| {
            step.at > given.at
                && step.at < end
                && same_scope(step, given)
                && learned.is_none_or(|by| step.recorded_at <= by)
        });
        (!again).then_some(end.max(given.at))
    }
}

/// Whether a step that comes after a giving ends it.
fn ends(step: &Step, given: &Step, stops: bool) -> bool {
    let may = match step.act {
        Act::Given => false,
        Act::Withdrawn => true,
        Act::Refused | Act::Objected => stops,
    };
    may && (step.purpose.is_none() || step.purpose == given.purpose)
        && (step.recipient.is_none() || step.recipient == given.recipient)
        && (step.country.is_none() || step.country == given.country)
}

/// Whether both are givings of the same.
fn same_scope(step: &Step, given: &Step) -> bool {
    step.act == Act::Given
        && (&step.purpose, &step.recipient, step.country) == (&given.purpose, &given.recipient, given.country)
}

/// The strictest of the laws that apply: below which age somebody's guardian consents (PIPL 28, 31; GDPR 8).
pub fn age_of_consent(law: &Law, regimes: &[Regime]) -> Option<(u32, Regime)> {
    let ages = regimes.iter().filter_map(|regime| Some((law.consent_age(*regime)?, *regime)));
    // Of two that are as strict the first in the alphabet, so that the order of regimes does not matter.
    ages.min_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.as_str().cmp(other.as_str())))
}

/// Whether somebody of an age band is below an age. Who is of unknown age counts as grown up, unless the
/// service is meant for children.
pub fn is_below(band: Option<AgeBand>, age: u32, for_children: bool) -> bool {
    match band {
        Some(AgeBand::Under13) => age >= 13,
        Some(AgeBand::Age13) => age > 13,
        Some(AgeBand::Age14) => age > 14,
        Some(AgeBand::Age15) => age > 15,
        // Somebody of 16 may be meant, and no law asks a guardian of somebody of 17 only.
        Some(AgeBand::Age16To17) => age > 16,
        Some(AgeBand::Adult) => false,
        Some(AgeBand::Unknown) | None => for_children,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::law;
    use proptest::prelude::*;

    fn minute(n: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_ms(n * MS_PER_MINUTE)
    }

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn step(at: i64, act: Act) -> Step {
        Step {
            at: minute(at),
            recorded_at: minute(at),
            act,
            purpose: Some(id("ads")),
            recipient: None,
            country: None,
            kind: Some(ConsentKind::Expressed),
            policy_version: None,
            expires_at: None,
            consent_id: None,
            guardian: false,
        }
    }

    fn until(at: i64, end: i64) -> Step {
        Step { expires_at: Some(minute(end)), ..step(at, Act::Given) }
    }

    fn to(at: i64, act: Act, recipient: &str) -> Step {
        Step { recipient: Some(id(recipient)), kind: Some(ConsentKind::Separate), ..step(at, act) }
    }

    fn in_force(steps: &[Step], wanted: &Wanted<'_>) -> Vec<i64> {
        let line = Timeline::new(steps.to_vec());
        (0..100).filter(|n| line.in_force(wanted, minute(*n))).collect()
    }

    fn asked(steps: &[Step]) -> Vec<i64> {
        let ads = id("ads");
        in_force(steps, &Wanted { settle_ms: 0, ..Wanted::to_purpose(&ads) })
    }

    #[test]
    fn the_last_act_decides_and_a_refusal_takes_nothing_back() {
        use Act::{Given, Refused, Withdrawn};
        let both = [step(10, Given), step(20, Withdrawn), step(15, Refused)];
        assert_eq!(asked(&both), (10..20).collect::<Vec<_>>());
        let again = [step(10, Given), step(20, Withdrawn), step(30, Given)];
        assert_eq!(asked(&again), (10..20).chain(30..100).collect::<Vec<_>>());
        assert!(asked(&[step(10, Refused)]).is_empty() && asked(&[]).is_empty());
        assert!(asked(&[step(10, Withdrawn), step(10, Given)]).is_empty(), "at one instant saying no counts");
        let ads = id("ads");
        let marketing = Wanted { stops: true, settle_ms: 0, ..Wanted::to_purpose(&ads) };
        assert_eq!(in_force(&both, &marketing), (10..15).collect::<Vec<_>>());
        let objected = Step { purpose: None, ..step(12, Act::Objected) };
        assert_eq!(in_force(&[step(10, Given), objected], &marketing), [10, 11]);
    }

    #[test]
    fn a_consent_runs_out_unless_it_was_given_again() {
        assert_eq!(asked(&[until(10, 20)]), (10..20).collect::<Vec<_>>());
        assert_eq!(asked(&[until(10, 20), step(15, Act::Given)]), (10..100).collect::<Vec<_>>());
        assert_eq!(asked(&[until(10, 20), until(15, 30)]), (10..30).collect::<Vec<_>>());
        assert_eq!(asked(&[step(10, Act::Given), until(15, 30)]), (10..30).collect::<Vec<_>>());
        assert_eq!(asked(&[until(10, 20), step(25, Act::Given)]).len(), 10 + 75);
        assert!(asked(&[until(10, 5)]).is_empty(), "it had ended before it was given");
    }

    #[test]
    fn a_recipient_must_be_named_where_one_is_asked_about() {
        use Act::{Given, Withdrawn};
        let (ads, pay, other) = (id("ads"), id("pay"), id("other"));
        let share =
            Wanted { to: To::Recipient(&pay), separate: true, settle_ms: 0, ..Wanted::to_purpose(&ads) };
        let named = [to(10, Given, "pay"), to(20, Withdrawn, "other"), to(30, Withdrawn, "pay")];
        assert_eq!(in_force(&named, &share), (10..30).collect::<Vec<_>>());
        assert!(in_force(&named, &Wanted { to: To::Recipient(&other), ..share }).is_empty());
        let general = [Step { kind: Some(ConsentKind::Separate), ..step(10, Given) }];
        assert!(in_force(&general, &share).is_empty(), "it names nobody");
        let abroad = Wanted { to: To::Abroad(&pay, "DE".parse().unwrap()), ..share };
        assert_eq!(in_force(&general, &abroad).len(), 90);
        let elsewhere = [Step { country: "US".parse().ok(), ..general[0].clone() }];
        assert!(in_force(&elsewhere, &abroad).is_empty());
        assert_eq!(
            in_force(&[to(10, Given, "pay"), step(40, Withdrawn)], &share),
            (10..40).collect::<Vec<_>>()
        );
        let plain = [Step { kind: Some(ConsentKind::Explicit), ..to(10, Given, "pay") }];
        assert!(in_force(&plain, &share).is_empty(), "it was not asked for separately");
    }

    #[test]
    fn what_comes_within_five_minutes_was_there() {
        let ads = id("ads");
        let wanted = Wanted::to_purpose(&ads);
        let steps = [step(3, Act::Withdrawn), step(10, Act::Given)];
        assert_eq!(in_force(&steps, &wanted)[0], 5);
        let line = Timeline::new(steps.to_vec());
        assert!(line.in_force(&wanted, minute(5)) && !line.in_force(&wanted, minute(5).plus_ms(-1)));
    }

    #[test]
    fn what_was_recorded_later_is_learned_then() {
        let ads = id("ads");
        let wanted = Wanted::to_purpose(&ads);
        let late = Step { recorded_at: minute(500), ..step(10, Act::Given) };
        let later = Step { recorded_at: minute(600), ..step(11, Act::Given) };
        let line = Timeline::new(vec![later, late]);
        assert_eq!(line.learned_after(&wanted, minute(20), minute(40)), Some(minute(500)));
        assert_eq!(line.learned_after(&wanted, minute(20), minute(500)), None, "known");
        assert_eq!(line.learned_after(&wanted, minute(1), minute(40)), None, "never in force");
    }

    #[test]
    fn the_strictest_law_says_who_is_a_child() {
        let (cn, eu): (Regime, Regime) = ("CN".parse().unwrap(), "EU".parse().unwrap());
        assert_eq!(age_of_consent(law::newest(), &[cn, eu]), Some((16, eu)));
        assert_eq!(age_of_consent(law::newest(), &[cn]), Some((14, cn)));
        assert_eq!(age_of_consent(law::newest(), &[]), None);
        let child = |band, age| is_below(Some(band), age, false);
        assert!(child(AgeBand::Age13, 14) && !child(AgeBand::Age14, 14) && child(AgeBand::Age15, 16));
        assert!(!child(AgeBand::Age16To17, 16) && child(AgeBand::Under13, 13) && !child(AgeBand::Adult, 16));
        assert!(!child(AgeBand::Unknown, 16) && !is_below(None, 16, false));
        assert!(is_below(None, 14, true) && is_below(Some(AgeBand::Unknown), 14, true));
    }

    fn act() -> impl Strategy<Value = Step> {
        (0i64..90, 0u8..4, prop::option::of(0i64..40), prop::option::of(0u8..2)).prop_map(
            |(at, act, end, who)| {
                let act = [Act::Given, Act::Refused, Act::Objected, Act::Withdrawn][usize::from(act)];
                Step {
                    expires_at: end.filter(|_| act == Act::Given).map(|end| minute(at + end)),
                    recipient: who.map(|who| id(["pay", "other"][usize::from(who)])),
                    ..step(at, act)
                }
            },
        )
    }

    proptest! {
        /// The procedure as it is written: what happened last, of givings, withdrawals and ends.
        #[test]
        fn the_last_giving_or_withdrawal_decides(steps in prop::collection::vec(act(), 0..8), at in 0i64..100) {
            let steps: Vec<Step> = steps.into_iter().map(|step| Step { recipient: None, ..step }).collect();
            let mut acts: Vec<(Timestamp, bool)> = Vec::new();
            for step in &steps {
                match step.act {
                    Act::Given => acts.push((step.at, false)),
                    Act::Withdrawn => acts.push((step.at, true)),
                    _ => {}
                }
                if let Some(end) = step.expires_at {
                    let again = steps.iter().any(|s| s.act == Act::Given && s.at > step.at && s.at < end);
                    if !again {
                        acts.push((end.max(step.at), true));
                    }
                }
            }
            acts.sort_unstable();
            let last = acts.iter().rfind(|(when, _)| *when <= minute(at));
            let ads = id("ads");
            let wanted = Wanted { settle_ms: 0, ..Wanted::to_purpose(&ads) };
            let line = Timeline::new(steps);
            prop_assert_eq!(line.in_force(&wanted, minute(at)), last.is_some_and(|(_, ended)| !ended));
        }

        #[test]
        fn order_does_not_matter_and_a_stretch_says_what_its_instants_say(
            (steps, other) in prop::collection::vec(act(), 0..8)
                .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle())),
            from in 0i64..100,
            more in 0i64..50,
        ) {
            let (ads, pay) = (id("ads"), id("pay"));
            let (line, shuffled) = (Timeline::new(steps), Timeline::new(other));
            for to in [To::Anybody, To::Recipient(&pay)] {
                let wanted = Wanted { to, ..Wanted::to_purpose(&ads) };
                let spans = line.spans(&wanted, None);
                prop_assert_eq!(&spans, &shuffled.spans(&wanted, None));
                let each: Vec<bool> = (from..=from + more).map(|n| spans.holds(minute(n))).collect();
                match spans.throughout(minute(from), minute(from + more)) {
                    Some(so) => prop_assert!(each.iter().all(|one| *one == so)),
                    None => prop_assert!(each.contains(&true)),
                }
                let learned = spans.clone();
                prop_assert_eq!(line.spans(&wanted, Some(Timestamp::LAST)), learned);
            }
        }
    }
}

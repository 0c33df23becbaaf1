//! A plan in words: pure, so that what an officer agrees to can be tested word by word.

use crate::cli::report::time;
use crate::cli::sheets::transfers::hex;
use crate::pb;

pub fn state(state: pb::PlanState) -> &'static str {
    match state {
        pb::PlanState::Waiting => "waiting",
        pb::PlanState::Approved => "approved",
        pb::PlanState::Rejected => "rejected",
        pb::PlanState::Unspecified => "",
    }
}

pub fn action(action: pb::InstructionKind) -> &'static str {
    match action {
        pb::InstructionKind::Erase => "erase",
        pb::InstructionKind::Anonymise => "anonymise",
        _ => "",
    }
}

pub fn cause(cause: pb::PlanCause) -> &'static str {
    match cause {
        pb::PlanCause::Rule => "rule",
        pb::PlanCause::Case => "case",
        pb::PlanCause::ServiceEnd => "service end",
        pb::PlanCause::Order => "order",
        pb::PlanCause::Cancellation => "cancellation",
        pb::PlanCause::Unspecified => "",
    }
}

pub fn item(state: pb::PlanItemState) -> &'static str {
    match state {
        pb::PlanItemState::Due => "due",
        pb::PlanItemState::Kept => "kept",
        pb::PlanItemState::Unspecified => "",
    }
}

/// Why something is to go.
fn why(cause: pb::PlanCause) -> &'static str {
    match cause {
        pb::PlanCause::Rule => "its time by the retention rules is over (GDPR 5(1)(e); PIPL 19)",
        pb::PlanCause::Case => "a request for erasure was accepted (GDPR 17; PIPL 47)",
        pb::PlanCause::ServiceEnd => "the service has ended (PIPL 47(1)(2))",
        pb::PlanCause::Order => "an authority ordered it (GDPR 58(2)(g); PIPL 66)",
        pb::PlanCause::Cancellation => "the account was cancelled (PIPL 47(1)(1))",
        pb::PlanCause::Unspecified => "",
    }
}

/// Why somebody has to agree; a code that is not known here is told as it is.
fn approval(code: &str) -> String {
    match code {
        "anonymisation" => "what is anonymous is kept for ever, so that somebody says it is",
        "first_run" => "a version of a rule is carried out for the first time",
        "many_items" => "it is more at once than goes without a second look",
        "share_of_service" => "it is a large part of what the service holds",
        "confirm" => "it is due only because evidence is missing or was entered afterwards",
        other => other,
    }
    .to_owned()
}

/// Name and value of everything that is to be said of a plan.
pub fn told(plan: &pb::Plan, outcome: &pb::PlanOutcome) -> Vec<(&'static str, String)> {
    let counts: Vec<String> =
        plan.counts.iter().map(|tally| format!("{} {}", tally.count, tally.name)).collect();
    let because = [&[why(plan.cause()).to_owned()], &plan.because[..]].concat();
    vec![
        ("plan", plan.plan_id.clone()),
        ("what", format!("{} {} data of {}", action(plan.action()), plan.items, plan.service)),
        ("of these", counts.join(", ")),
        ("why", because.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")),
        ("as of", format!("{}, as known at position {}", time(plan.as_of.as_ref()), plan.computed_at)),
        ("planned", format!("{}, at position {}", time(plan.planned_at.as_ref()), plan.position)),
        ("to approve", approver(plan)),
        ("because", plan.approvals_needed.iter().map(|code| approval(code)).collect::<Vec<_>>().join("; ")),
        ("state", standing(plan)),
        ("became of it", became(outcome)),
        ("sha256", hex(&plan.plan_sha256)),
        ("proof", proof(plan, outcome)),
    ]
}

fn approver(plan: &pb::Plan) -> String {
    match (plan.approvals_needed.is_empty(), plan.confirm) {
        (true, _) => "nobody has to".to_owned(),
        (false, false) => "an officer other than the planner".to_owned(),
        (false, true) => "an officer other than the planner, who says why".to_owned(),
    }
}

fn standing(plan: &pb::Plan) -> String {
    let mut text = state(plan.state()).to_owned();
    if plan.decided_at.is_some() {
        text.push_str(&format!(" {}", time(plan.decided_at.as_ref())));
    }
    if !plan.reason.is_empty() {
        text.push_str(&format!(", {}", plan.reason));
    }
    text
}

/// Numbers that stay when the people are erased; what is nought is left out.
fn became(outcome: &pb::PlanOutcome) -> String {
    let parts = [
        (outcome.due, "still due"),
        (outcome.kept, "kept beyond their time"),
        (outcome.passed_over, "not due any more"),
        (outcome.instructed, "instructed"),
        (outcome.recalled, "recalled"),
        (outcome.done, "done"),
        (outcome.refused, "refused"),
        (outcome.impossible, "impossible"),
        (outcome.deferred, "put off"),
    ];
    let told = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    told.collect::<Vec<_>>().join(", ")
}

fn proof(plan: &pb::Plan, outcome: &pb::PlanOutcome) -> String {
    let place = format!("position {} of {}", plan.position, outcome.origin);
    match outcome.tlog_proof.is_empty() {
        false => format!("{place}; --out DIR writes it"),
        true => format!("{place}; none before the next checkpoint"),
    }
}

/// What whoever reads a waiting plan may do next.
pub fn next(plan: &pb::Plan) -> Option<String> {
    if plan.state() != pb::PlanState::Waiting {
        return None;
    }
    let sha256 = hex(&plan.plan_sha256);
    let reason = if plan.confirm { " --reason CODE" } else { "" };
    let id = &plan.plan_id;
    Some(format!(
        "to agree, or not:\n  custody plans approve {id} --sha256 {sha256}{reason}\n  \
         custody plans reject {id} --sha256 {sha256} --reason CODE"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> pb::Plan {
        pb::Plan {
            plan_id: "p-1".to_owned(),
            cause: pb::PlanCause::Rule.into(),
            service: "solar".to_owned(),
            action: pb::InstructionKind::Erase.into(),
            because: vec!["keep.account".to_owned()],
            counts: vec![pb::Tally { name: "profile pd:EmailAddress".to_owned(), count: 2 }],
            items: 2,
            plan_sha256: vec![0xAB; 32].into(),
            state: pb::PlanState::Waiting.into(),
            approvals_needed: vec!["first_run".to_owned(), "something_new".to_owned()],
            position: 7,
            ..Default::default()
        }
    }

    fn of(told: &[(&str, String)], name: &str) -> String {
        told.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn a_plan_that_waits_says_what_why_and_who() {
        let told = told(
            &plan(),
            &pb::PlanOutcome { due: 2, origin: "log.example".to_owned(), ..Default::default() },
        );
        assert_eq!(of(&told, "what"), "erase 2 data of solar");
        assert_eq!(of(&told, "of these"), "2 profile pd:EmailAddress");
        assert!(of(&told, "why").ends_with("PIPL 19); keep.account"));
        assert_eq!(of(&told, "to approve"), "an officer other than the planner");
        let because = of(&told, "because");
        assert_eq!(because, "a version of a rule is carried out for the first time; something_new");
        assert_eq!((of(&told, "state"), of(&told, "became of it")), ("waiting".into(), "2 still due".into()));
        assert_eq!(of(&told, "proof"), "position 7 of log.example; none before the next checkpoint");
        let next = next(&plan()).unwrap();
        assert!(next.contains(&format!("approve p-1 --sha256 {}\n", "ab".repeat(32))), "{next}");
    }

    #[test]
    fn a_plan_to_confirm_asks_for_a_reason_and_a_decided_one_for_nothing() {
        let confirm = pb::Plan { confirm: true, ..plan() };
        assert!(next(&confirm).unwrap().contains("--reason CODE\n"));
        assert!(approver(&confirm).ends_with("who says why"));
        let free = pb::Plan {
            approvals_needed: Vec::new(),
            state: pb::PlanState::Approved.into(),
            reason: "checked".to_owned(),
            ..plan()
        };
        assert_eq!((next(&free), approver(&free)), (None, "nobody has to".to_owned()));
        assert_eq!(standing(&free), "approved, checked");
    }
}

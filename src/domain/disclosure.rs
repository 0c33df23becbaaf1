//! What a person is not told (`domain.md` 6.7): nothing may tip anybody off that something is held, or asked for by an
//! authority in confidence. That data stay longer than their time is told to everybody in one sentence
//! (GDPR 17(3)(b), (e), 18(2), 23; PIPL 18(1), 35, 47).

use crate::domain::event::{Body, InstructionAnswer, RecallReason};

/// Whether an event would tell of a hold, of what it made void, or of a confidential demand.
pub fn tips_off(body: &Body) -> bool {
    match body {
        Body::LegalHoldPlaced(_) | Body::LegalHoldReleased(_) => true,
        Body::InstructionRecalled(body) => body.reason == Some(RecallReason::Hold),
        Body::InstructionBegun(body) => body.answer == Some(InstructionAnswer::Revoked),
        Body::AuthorityRequestReceived(body) => body.confidential == Some(true),
        Body::AuthorityDisclosureDecided(body) => body.confidential == Some(true),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::catalogue::{InstructionRecalled, LegalHoldPlaced, RestrictionApplied};

    #[test]
    fn holds_and_what_they_make_void_are_not_told() {
        assert!(tips_off(&Body::LegalHoldPlaced(Box::<LegalHoldPlaced>::default())));
        let recalled = |reason| {
            let body = InstructionRecalled { reason: Some(reason), ..Default::default() };
            Body::InstructionRecalled(Box::new(body))
        };
        assert!(tips_off(&recalled(RecallReason::Hold)));
        assert!(!tips_off(&recalled(RecallReason::Reopened)));
        assert!(!tips_off(&Body::RestrictionApplied(Box::<RestrictionApplied>::default())));
    }
}

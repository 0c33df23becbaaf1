//! Rules, holds, orders and plans: what decides how long data stay.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! retention {
    ($then:ident) => {
        $then! {
            /// One version of a rule; the approver is named as staff, for a shortening somebody else than the
            /// publisher. GDPR 5(1)(e); PIPL 19.
            RetentionRulePublished {
                header {
                    rule: Option<RetentionRule> = required,
                    reason: Option<Id>,
                }
            }
            /// A version of a rule counts as never in force; the approver is named as staff and is never the
            /// publisher. GDPR 5(1)(e); PIPL 19.
            RetentionRuleAnnulled {
                header {
                    rule: Option<Id> = required,
                    version: Option<Id>,
                    reason: Option<Id> = required,
                }
            }
            /// Nothing that is selected may be destroyed. GDPR 17(3)(b), (e).
            LegalHoldPlaced {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    /// Names a hold on many or on things of the organisation.
                    hold_id: Option<Id>,
                    ground: Option<HoldGround> = required,
                    legal_ref: Option<Title>,
                    assessment_ref: Option<Id>,
                    review_at: Option<Timestamp>,
                    /// Whether the person must not be told.
                    confidential: Option<bool>,
                    reason: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    /// Names a hold on one person.
                    hold_ref: Option<Id>,
                }
                matter {
                    file_number,
                    narrative,
                }
            }
            /// The hold has ended. GDPR 17(3).
            LegalHoldReleased {
                header {
                    /// Names a hold on many or on things of the organisation.
                    hold_id: Option<Id>,
                    reason: Option<Id>,
                }
                index {
                    /// Names a hold on one person.
                    hold_ref: Option<Id>,
                }
                matter {
                    narrative,
                }
            }
            /// An authority ordered a deletion. GDPR 58(2)(g); PIPL 66.
            AuthorityDeletionOrdered {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    /// Names an order about many.
                    order_id: Option<Id>,
                    authority: Option<Id> = required,
                    legal_ref: Option<Title>,
                    due: Option<Timestamp> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    /// Names an order about one person.
                    order_ref: Option<Id>,
                }
            }
            /// A plan of what is to be destroyed, as a document. GDPR 5(2), 25.
            ErasurePlanned {
                header {
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                    cause: Option<PlanCause> = required,
                    /// Rule versions that bind.
                    rules: List<Id, { limits::LIST }>,
                    /// Items by action and by execute or confirm.
                    counts: List<Tally, { limits::LIST }>,
                    plan_sha256: Option<Digest> = required,
                    not_before: Option<Timestamp>,
                    /// Why somebody has to approve it.
                    approvals_needed: List<Id, { limits::LIST }>,
                    /// Whose data; of all services if not stated.
                    service: Option<Id>,
                    action: Option<InstructionKind>,
                    /// An officer has to confirm that these are due.
                    confirm: Option<bool>,
                    /// What makes them due: versions of rules, and what ended purposes.
                    because: List<Id, { limits::LIST }>,
                    /// What was due at this instant.
                    as_of: Option<Timestamp>,
                    /// As it was known before this position.
                    computed_at: Option<u64>,
                }
                index {
                    /// Names a plan about one person.
                    plan_ref: Option<Id>,
                }
            }
            /// A plan was approved; the approver is named as staff and is not the planner. GDPR 5(2), 25.
            PlanApproved {
                header {
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                    plan_sha256: Option<Digest> = required,
                    reason: Option<Id>,
                }
                index {
                    /// Names a plan about one person.
                    plan_ref: Option<Id>,
                }
            }
            /// A plan was rejected; the officer is named as staff. GDPR 5(2), 25.
            PlanRejected {
                header {
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                    plan_sha256: Option<Digest> = required,
                    reason: Option<Id> = required,
                }
                index {
                    /// Names a plan about one person.
                    plan_ref: Option<Id>,
                }
            }
        }
    };
}
pub(crate) use retention;

retention!(bodies);

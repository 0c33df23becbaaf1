//! Instructions to those who hold the data, what became of them, and destruction.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! instruction {
    ($then:ident) => {
        $then! {
            /// Somebody who holds data is told what to do with them. GDPR 17-19, 28(3); PIPL 21, 47.
            InstructionIssued {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    kind: Option<InstructionKind> = required,
                    /// Service or recipient.
                    addressee: Option<Id> = required,
                    channel: Option<RecipientChannel>,
                    cause: Option<PlanCause>,
                    due: Option<Timestamp>,
                    /// Versions of rules, and what ended purposes, that make it due.
                    because: List<Id, { limits::LIST }>,
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    instruction_id: Option<Id> = required,
                    plan_ref: Option<Id>,
                    case_id: Option<Id>,
                    /// Only data collected before this instant are meant.
                    collected_before: Option<Timestamp>,
                    /// What is not stated selects only what has none.
                    exact: Option<bool>,
                    /// Since when it is due to be destroyed.
                    due_at: Option<Timestamp>,
                }
            }
            /// The addressee asked whether to act, and was answered. GDPR 28(3); PIPL 21.
            InstructionBegun {
                header {
                    addressee: Option<Id> = required,
                    answer: Option<InstructionAnswer> = required,
                }
                index {
                    instruction_id: Option<Id> = required,
                }
            }
            /// An instruction that has not begun is void. GDPR 17(3), 28(3).
            InstructionRecalled {
                header {
                    addressee: Option<Id> = required,
                    reason: Option<RecallReason> = required,
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                }
                index {
                    instruction_id: Option<Id> = required,
                }
            }
            /// What the addressee says became of it. GDPR 19, 28(3); PIPL 21, 47.
            InstructionAcknowledged {
                header {
                    addressee: Option<Id> = required,
                    outcome: Option<InstructionOutcome> = required,
                    ground: Option<Id>,
                    /// Names a plan about many.
                    plan_id: Option<Id>,
                }
                index {
                    instruction_id: Option<Id> = required,
                    plan_ref: Option<Id>,
                    case_id: Option<Id>,
                    /// SHA-256 of the proof.
                    evidence_sha256: Option<Digest>,
                }
            }
            /// Data were destroyed in the source system. GDPR 17; PIPL 47.
            ErasureExecuted {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    method: Option<ErasureMethod> = required,
                    /// Stores from which they are gone.
                    stores: List<Id, { limits::LIST }>,
                    /// When the last backup that holds them ends.
                    backups_expire_at: Option<Timestamp>,
                    /// Rule versions carried out.
                    rules: List<Id, { limits::LIST }>,
                    verification: Option<Verification>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    instruction_id: Option<Id>,
                    due_at: Option<Timestamp>,
                    /// Only data collected before this instant were destroyed.
                    collected_before: Option<Timestamp>,
                    /// What is not stated selects only what has none.
                    exact: Option<bool>,
                }
            }
            /// Data can be attributed to nobody any more. GDPR recital 26; PIPL 4, 73.
            AnonymisationExecuted {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    method: Option<ErasureMethod> = required,
                    /// Stores in which they are anonymous.
                    stores: List<Id, { limits::LIST }>,
                    /// When the last backup that holds them ends.
                    backups_expire_at: Option<Timestamp>,
                    /// Rule versions carried out.
                    rules: List<Id, { limits::LIST }>,
                    verification: Option<Verification>,
                    /// The test that failed to re-identify anybody.
                    reid_test_ref: Option<Id> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    instruction_id: Option<Id>,
                    due_at: Option<Timestamp>,
                    /// Only data collected before this instant are meant.
                    collected_before: Option<Timestamp>,
                    /// What is not stated selects only what has none.
                    exact: Option<bool>,
                }
            }
            /// Destruction is technically hard; the data are stored and secured only. PIPL 47(2).
            ErasureDeferred {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    /// `technical`.
                    reason: Option<Id> = required,
                    review_at: Option<Timestamp> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    instruction_id: Option<Id>,
                }
            }
            /// The last event with this person's tag: the keys are to be destroyed. GDPR 17; PIPL 47.
            IdentityErasureAccepted {
                header {
                    /// Digest of the person's handle; set by the server.
                    tomb: Option<Digest>,
                    cause: Option<IdentityErasureCause> = required,
                    scope: Option<IdentityErasureScope> = required,
                }
                index {
                    case_id: Option<Id>,
                }
            }
            /// The person's keys are destroyed; about nobody, with coarse tallies that survive a rebuild. GDPR
            /// 17; PIPL 47.
            IdentityErased {
                header {
                    tomb: Option<Digest> = required,
                    scope: Option<IdentityErasureScope>,
                    shredded_at: Option<Timestamp> = required,
                    purged_at: Option<Timestamp>,
                    beyond_backups_at: Option<Timestamp>,
                    transfer_tallies: List<TransferTally, { limits::LIST }>,
                    finding_tallies: List<FindingTally, { limits::LIST }>,
                }
            }
            /// A backup was made. GDPR 17, 32; PIPL 47(2).
            BackupTaken {
                header {
                    /// The service, or `custody`.
                    service: Option<Id> = required,
                    /// Stores it holds.
                    stores: List<Id, { limits::LIST }>,
                    /// Epoch of the key it is encrypted under.
                    key_epoch: Option<Id>,
                    expires_at: Option<Timestamp> = required,
                }
            }
            /// Backups were destroyed. GDPR 17, 32; PIPL 47(2).
            BackupsExpired {
                header {
                    /// The service, or `custody`.
                    service: Option<Id> = required,
                    /// Stores whose backups are gone; all if empty.
                    stores: List<Id, { limits::LIST }>,
                    /// Backups taken at or before this instant are gone.
                    up_to: Option<Timestamp> = required,
                    method: Option<ErasureMethod>,
                }
            }
        }
    };
}
pub(crate) use instruction;

instruction!(bodies);

//! Requests of data subjects, and what was decided.

use chrono_tz::Tz;

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! requests {
    ($then:ident) => {
        $then! {
            /// A person asks for their rights; agent, guardian or heir are named as people. GDPR 12, 15-22; PIPL
            /// 44-50.
            RequestReceived {
                header {
                    right: Option<Right> = required,
                    /// Where it came in, such as `email` or `app`.
                    channel: Option<Id>,
                    regimes: List<Regime, { limits::REGIMES }>,
                    on_behalf: Option<OnBehalf>,
                    /// When it reached the company; `occurred_at` if not stated.
                    received_at: Option<Timestamp>,
                }
                index {
                    case_id: Option<Id> = required,
                    /// The requester's zone, in which the clock runs.
                    tz: Option<Tz>,
                }
                evidence {
                    /// The request as it was made.
                    text,
                }
            }
            /// The person was told that the request arrived. GDPR 12(2).
            RequestAcknowledged {
                header {
                    /// How they were told.
                    channel: Option<Id>,
                }
                index {
                    case_id: Option<Id> = required,
                }
            }
            /// The person was asked to show who they are. GDPR 12(6), 11.
            IdentityRequested {
                header {
                    level: Option<CheckLevel>,
                }
                index {
                    case_id: Option<Id> = required,
                }
            }
            /// The person's identity was checked. GDPR 12(6), 11.
            IdentityChecked {
                header {
                    level: Option<CheckLevel> = required,
                    result: Option<CheckResult> = required,
                }
                index {
                    case_id: Option<Id> = required,
                }
                evidence {
                    /// Keyed digest of the document shown; its number is never kept.
                    document_digest,
                }
            }
            /// The answer takes longer, and the person was told. GDPR 12(3).
            RequestExtended {
                header {
                    new_due: Option<Timestamp> = required,
                    ground: Option<ExtensionGround> = required,
                }
                index {
                    case_id: Option<Id> = required,
                }
            }
            /// The person got what they asked for. GDPR 12(3)-(5), 15, 20; PIPL 45, 50.
            RequestFulfilled {
                header {
                    scope: Option<Extent>,
                    /// Why only in part.
                    ground: Option<Id>,
                    /// Whether complaint and court were named.
                    remedies_told: Option<bool>,
                    /// Fee charged, in the smallest unit of the controller's currency.
                    fee: Option<u64>,
                    format: Option<Id>,
                    delivered_via: Option<Id>,
                }
                index {
                    case_id: Option<Id> = required,
                    report_sha256: Option<Digest>,
                }
                evidence {
                    /// The answer as it was sent.
                    explanation,
                }
            }
            /// The request was refused, with reasons. GDPR 12(4), (5); PIPL 50.
            RequestRefused {
                header {
                    scope: Option<Extent>,
                    /// Why, as a code of the rule data.
                    ground: Option<Id> = required,
                    /// Whether complaint and court were named.
                    remedies_told: Option<bool>,
                    /// Fee charged, in the smallest unit of the controller's currency.
                    fee: Option<u64>,
                    delivered_via: Option<Id>,
                }
                index {
                    case_id: Option<Id> = required,
                }
                evidence {
                    /// The answer as it was sent.
                    explanation,
                }
            }
            /// The person took the request back. GDPR 12.
            RequestWithdrawn {
                header {
                    /// Where it was taken back.
                    channel: Option<Id>,
                }
                index {
                    case_id: Option<Id> = required,
                }
            }
            /// Data are to be erased on request. GDPR 17; PIPL 47.
            ErasureAccepted {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    ground: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Data need not be erased. GDPR 17(3); PIPL 47.
            ErasureRefused {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    ground: Option<Id> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Processing for a purpose stops. GDPR 21; PIPL 44.
            ObjectionUpheld {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    purpose: Option<Id> = required,
                    ground: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Processing for a purpose goes on. GDPR 21; PIPL 44.
            ObjectionRejected {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    purpose: Option<Id> = required,
                    ground: Option<Id> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Data may only be stored. GDPR 18; PIPL 44.
            RestrictionApplied {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    ground: Option<RestrictionGround>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Data may be used again. GDPR 18(3); PIPL 44.
            RestrictionLifted {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    ground: Option<RestrictionGround>,
                    told_before_lift: Option<bool>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Data were processed unlawfully and have to go. GDPR 17(1)(d); PIPL 47(1)(4).
            UnlawfulProcessingFound {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    /// The purpose found unlawful; all if not stated.
                    purpose: Option<Id>,
                    finding_code: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                    finding_key: Option<Id>,
                }
            }
            /// A recipient that takes no instructions was told. GDPR 17(2), 19; SCC 8; PIPL 21, 23.
            RecipientNotified {
                header {
                    recipient_id: Option<Id> = required,
                    action: Option<RecipientAction> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    sent_at: Option<Timestamp>,
                    due: Option<Timestamp>,
                }
                index {
                    case_id: Option<Id>,
                }
            }
            /// What the recipient answered. GDPR 17(2), 19; SCC 8; PIPL 21, 23.
            RecipientAcknowledged {
                header {
                    recipient_id: Option<Id> = required,
                    action: Option<RecipientAction>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    result: Option<RecipientResult> = required,
                    ground: Option<Id>,
                }
                index {
                    case_id: Option<Id>,
                }
            }
            /// A person complained. GDPR 77-79; PIPL 50, 65.
            ComplaintLodged {
                header {
                    to: Option<ComplaintTo> = required,
                    topic: Option<Id>,
                }
                index {
                    complaint_id: Option<Id> = required,
                    case_id: Option<Id>,
                }
                matter {
                    text,
                }
            }
            /// The complaint was answered. GDPR 77-79; PIPL 50, 65.
            ComplaintAnswered {
                header {
                    to: Option<ComplaintTo>,
                    topic: Option<Id>,
                    outcome: Option<Id> = required,
                }
                index {
                    complaint_id: Option<Id> = required,
                    case_id: Option<Id>,
                }
                matter {
                    text,
                }
            }
        }
    };
}
pub(crate) use requests;

requests!(bodies);

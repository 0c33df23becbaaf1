//! Data that leave a country, what allows it, and assessments.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::{LocalDate, Timestamp};
use crate::limits;

macro_rules! transfer {
    ($then:ident) => {
        $then! {
            /// Data crossed a border, by sending or by being read from abroad. GDPR 44, 30(1)(e), 15(2); PIPL 38,
            /// 39.
            DataTransferred {
                header {
                    /// Controller group member that exports; the event's controller if not stated.
                    exporter: Option<Id>,
                    /// The importer.
                    recipient_id: Option<Id> = required,
                    from_country: Option<Country> = required,
                    to_country: Option<Country> = required,
                    mode: Option<TransferMode>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    sensitive: Option<bool>,
                    purpose: Option<Id>,
                    /// How many people a collective transfer is about.
                    subjects: Option<u64>,
                    /// The mechanism the emitter claims.
                    mechanism_id: Option<Id>,
                    /// The exemption the emitter claims.
                    exemption: Option<Id>,
                }
            }
            /// What allows a flow; signatories are named as contacts. It counts from the later of `signed_at` and
            /// `effective_at` and never cures what lies before. GDPR 44-49; SCC 2021/914; PIPL 38-40, 55.
            TransferMechanismRegistered {
                header {
                    mechanism_id: Option<Id> = required,
                    regime: Option<TransferRegime> = required,
                    /// Term of the law data, such as `A46-2-c` or `cn_standard_contract`.
                    kind: Option<Id> = required,
                    /// Module of the standard contractual clauses, 1 to 4.
                    module: Option<u64>,
                    exporter: Option<Id> = required,
                    importer: Option<Id> = required,
                    importer_country: Option<Country> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    sensitive: Option<bool>,
                    purposes: List<Id, { limits::PURPOSES }>,
                    frequency: Option<Frequency>,
                    signed_at: Option<Timestamp> = required,
                    /// First day in force.
                    effective_at: Option<LocalDate>,
                    /// Last day in force.
                    expires_at: Option<LocalDate>,
                    annex_sha256: Option<Digest>,
                    tia_ref: Option<Id>,
                    pipia_ref: Option<Id>,
                    /// Technical and organisational measures, by register id.
                    measures: List<Id, { limits::LIST }>,
                    competent_authority: Option<Id>,
                    filing: Option<Filing>,
                    reason: Option<Id>,
                }
            }
            /// The mechanism allows nothing until it is registered again. SCC Clause 16; PIPL 38.
            TransferMechanismSuspended {
                header {
                    mechanism_id: Option<Id> = required,
                    reason: Option<Id> = required,
                }
            }
            /// The mechanism has ended. GDPR 44; PIPL 38.
            TransferMechanismEnded {
                header {
                    mechanism_id: Option<Id> = required,
                    reason: Option<Id>,
                }
            }
            /// The law and practice of a third country were assessed; the approver is named as staff. SCC Clause
            /// 14; PIPL 55, 56.
            TransferAssessed {
                header {
                    kind: Option<AssessmentKind> = required,
                    /// Register id of what was assessed.
                    subject_matter: Option<Id> = required,
                    result: Option<AssessmentResult> = required,
                    valid_until: Option<Timestamp>,
                    document_sha256: Option<Digest>,
                    reason: Option<Id>,
                }
            }
            /// A risk was assessed; the approver is named as staff. GDPR 35, 36; PIPL 55, 56.
            AssessmentRecorded {
                header {
                    kind: Option<AssessmentKind> = required,
                    /// Register id of what was assessed.
                    subject_matter: Option<Id> = required,
                    result: Option<AssessmentResult> = required,
                    valid_until: Option<Timestamp>,
                    document_sha256: Option<Digest>,
                    reason: Option<Id>,
                }
            }
        }
    };
}
pub(crate) use transfer;

transfer!(bodies);

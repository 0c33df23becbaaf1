//! Collection, use and everything else done with data inside the company.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::limits;

macro_rules! processing {
    ($then:ident) => {
        $then! {
            /// Personal data came into the company's hands. GDPR 5, 6, 9, 13-14; PIPL 5-7, 13, 28.
            DataCollected {
                header {
                    record_kind: Option<Id>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    purposes: List<PurposeBasis, { limits::PURPOSES }>,
                    sensitive: Option<bool>,
                    source: Option<Source>,
                    /// Whether the service cannot be had without these data.
                    required: Option<bool>,
                    /// Where the person was.
                    collection_country: Option<Country>,
                    /// Where the data are kept.
                    storage_country: Option<Country>,
                    encrypted_at_rest: Option<bool>,
                }
                index {
                    slot: Option<Id>,
                }
                identity {
                    /// Where the record is found in the source system.
                    locator,
                }
            }
            /// Personal data were used for a purpose. GDPR 5(1)(b); PIPL 6.
            DataUsed {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    purpose: Option<Id>,
                    basis: Option<LegalBasis>,
                    /// What was done, as a DPV term.
                    operation: Option<Id>,
                    /// Whether the data were used without their link to a name or account.
                    pseudonymous: Option<bool>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                }
            }
            /// Data held already are to serve a further purpose. GDPR 5(1)(e), 6(4), 13(3); PIPL 14(2).
            PurposeAdded {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    purpose: Option<PurposeBasis> = required,
                    compatibility: Option<Compatibility>,
                    assessment_ref: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                }
            }
            /// The purpose is met: the order delivered, the ticket closed. GDPR 5(1)(e); PIPL 47(1)(1).
            PurposeFulfilled {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    purpose: Option<Id> = required,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                }
            }
            /// A decision was made without a human. GDPR 22; PIPL 24.
            AutomatedDecisionMade {
                header {
                    /// Register id of the logic used.
                    logic_ref: Option<Id> = required,
                    effect: Option<DecisionEffect> = required,
                    /// Whether a human review was offered.
                    human_review: Option<bool>,
                    opt_out_offered: Option<bool>,
                }
                identity {
                    /// What was decided.
                    outcome,
                }
            }
            /// Data were corrected or completed. GDPR 16; PIPL 46.
            DataRectified {
                header {
                    /// Selects the data of one service; all if not stated.
                    service: Option<Id>,
                    /// Selects one kind of record; all if not stated.
                    record_kind: Option<Id>,
                    /// Selects one category; all if not stated.
                    category: Option<Id>,
                    /// Names of the fields changed, never their values.
                    fields: List<Id, { limits::LIST }>,
                    reason: Option<Id>,
                }
                index {
                    /// Selects one slot; all if not stated.
                    slot: Option<Id>,
                }
                evidence {
                    /// Keyed digest of the old value.
                    before,
                    /// Keyed digest of the new value.
                    after,
                }
            }
            /// A message was sent to a person. GDPR 21(2); ePrivacy 13; PIPL 24.
            MessageSent {
                header {
                    channel: Option<MessageChannel> = required,
                    nature: Option<MessageNature> = required,
                    template: Option<Id>,
                }
                index {
                    consent_id: Option<Id>,
                }
            }
            /// A member of staff looked at personal data; they are named as staff. GDPR 32; PIPL 51.
            StaffAccessed {
                header {
                    /// The staff member's role, as registered.
                    role: Option<Id>,
                    reason: Option<Id> = required,
                    /// Where the member of staff was.
                    from_country: Option<Country>,
                }
                index {
                    /// The ticket that made the access necessary.
                    ticket: Option<Id>,
                }
            }
            /// An order or payment is complete. E-Commerce Law 31.
            TransactionCompleted {
                header {
                    record_kind: Option<Id>,
                }
                index {
                    /// The transaction's own slot, required if the data have one; only that one is matched.
                    slot: Option<Id>,
                }
                identity {
                    /// The order or payment number.
                    transaction_ref,
                }
            }
            /// An order or payment came to nothing. E-Commerce Law 31.
            TransactionAborted {
                header {
                    record_kind: Option<Id>,
                }
                index {
                    /// The transaction's own slot, required if the data have one; only that one is matched.
                    slot: Option<Id>,
                }
                identity {
                    /// The order or payment number.
                    transaction_ref,
                }
            }
        }
    };
}
pub(crate) use processing;

processing!(bodies);

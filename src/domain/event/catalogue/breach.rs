//! Breaches, and what officers did about findings.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! breach {
    ($then:ident) => {
        $then! {
            /// Personal data leaked, were changed or were lost. GDPR 33, 34; PIPL 57.
            BreachDetected {
                header {
                    breach_id: Option<Id> = required,
                    detected_at: Option<Timestamp>,
                    /// From here the 72 hours run.
                    aware_at: Option<Timestamp> = required,
                    kind: List<BreachKind, { limits::LIST }>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// People concerned, about.
                    subjects: Option<u64>,
                    /// Records concerned, about.
                    records: Option<u64>,
                    reason: Option<Id>,
                }
                matter {
                    narrative,
                }
            }
            /// How bad it is. GDPR 33, 34; PIPL 57.
            BreachAssessed {
                header {
                    breach_id: Option<Id> = required,
                    kind: List<BreachKind, { limits::LIST }>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// People concerned, about.
                    subjects: Option<u64>,
                    /// Records concerned, about.
                    records: Option<u64>,
                    risk: Option<BreachRisk> = required,
                    cn_grade: Option<CnGrade>,
                    /// Measures taken, by code.
                    measures: List<Id, { limits::LIST }>,
                    reason: Option<Id>,
                }
                matter {
                    narrative,
                }
            }
            /// An authority or the people concerned were told. GDPR 33, 34; PIPL 57.
            BreachNotified {
                header {
                    breach_id: Option<Id> = required,
                    notified: Option<NotifiedParty> = required,
                    /// The authority that was told.
                    authority: Option<Id>,
                    notified_at: Option<Timestamp> = required,
                    /// People told.
                    subjects: Option<u64>,
                    delay_reason: Option<Id>,
                    /// Measures named, by code.
                    measures: List<Id, { limits::LIST }>,
                }
                matter {
                    narrative,
                }
            }
            /// The breach is dealt with. GDPR 33(5); PIPL 57.
            BreachClosed {
                header {
                    breach_id: Option<Id> = required,
                    /// Measures taken, by code.
                    measures: List<Id, { limits::LIST }>,
                    reason: Option<Id>,
                }
                matter {
                    narrative,
                }
            }
            /// An officer has seen a finding. GDPR 5(2), 24; PIPL 54.
            FindingAcknowledged {
                header {
                    code: Option<Id> = required,
                    /// The finding's key where it names no person.
                    key: Option<Id>,
                    reason: Option<Id>,
                }
                index {
                    /// The finding's key where it holds a person's reference.
                    finding_key: Option<Id>,
                }
                matter {
                    note,
                }
            }
            /// An officer closed a finding. GDPR 5(2), 24; PIPL 54.
            FindingClosed {
                header {
                    code: Option<Id> = required,
                    /// The finding's key where it names no person.
                    key: Option<Id>,
                    reason: Option<Id> = required,
                }
                index {
                    /// The finding's key where it holds a person's reference.
                    finding_key: Option<Id>,
                }
                matter {
                    note,
                }
            }
            /// An officer reopened a finding. GDPR 5(2), 24; PIPL 54.
            FindingReopened {
                header {
                    code: Option<Id> = required,
                    /// The finding's key where it names no person.
                    key: Option<Id>,
                    reason: Option<Id> = required,
                }
                index {
                    /// The finding's key where it holds a person's reference.
                    finding_key: Option<Id>,
                }
                matter {
                    note,
                }
            }
        }
    };
}
pub(crate) use breach;

breach!(bodies);

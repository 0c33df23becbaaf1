//! Collection and use.

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
                    required: Option<bool>,
                    collection_country: Option<Country>,
                    storage_country: Option<Country>,
                    encrypted_at_rest: Option<bool>,
                }
                index { slot: Option<Id>, }
                identity { locator, }
            }
            /// Personal data were used for a purpose. GDPR 5(1)(b); PIPL 6.
            DataUsed {
                header {
                    record_kind: Option<Id>,
                    category: Option<Id>,
                    purpose: Option<Id>,
                    basis: Option<LegalBasis>,
                    operation: Option<Id>,
                    pseudonymous: Option<bool>,
                }
                index { slot: Option<Id>, }
            }
        }
    };
}
pub(crate) use processing;

processing!(bodies);

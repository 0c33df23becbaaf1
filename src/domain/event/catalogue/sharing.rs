//! Recipients, and what was given to them.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::LocalDate;
use crate::limits;

macro_rules! sharing {
    ($then:ident) => {
        $then! {
            /// Somebody outside who may get data; business contacts are named as people. GDPR 26, 28, 30; PIPL
            /// 20-23.
            RecipientRegistered {
                header {
                    recipient_id: Option<Id> = required,
                    legal_name: Option<Title> = required,
                    role: Option<RecipientRole> = required,
                    country: Option<Country> = required,
                    contract_kind: Option<ContractKind>,
                    /// Number of the contract.
                    contract_ref: Option<Id>,
                    /// First day of the contract, in force from 00:00.
                    contract_from: Option<LocalDate>,
                    /// Last day of the contract, in force to 24:00.
                    contract_to: Option<LocalDate>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    purposes: List<Id, { limits::PURPOSES }>,
                    sdk: Option<SdkInfo>,
                    privacy_url: Option<Url>,
                    channel: Option<RecipientChannel>,
                    reason: Option<Id>,
                }
            }
            /// The recipient gets nothing any more. GDPR 28(3)(g); PIPL 21.
            RecipientEnded {
                header {
                    recipient_id: Option<Id> = required,
                    reason: Option<Id>,
                }
            }
            /// An SDK was seen reading data, in a test or at run time. PIPL 5-7, 17.
            SdkObserved {
                header {
                    /// The registered recipient behind it, if known.
                    recipient_id: Option<Id>,
                    sdk_name: Option<Id> = required,
                    sdk_version: Option<Id>,
                    app_version: Option<Id>,
                    /// Categories it read, at most 64.
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// Whether it read before any consent.
                    before_consent: Option<bool>,
                    /// Whether the app was in the foreground.
                    foreground: Option<bool>,
                }
            }
            /// Data were given to a recipient. GDPR 6, 13(1)(e), 15(1)(c); PIPL 23.
            DataShared {
                header {
                    recipient_id: Option<Id> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    purpose: Option<Id>,
                    basis: Option<LegalBasis>,
                    method: Option<ShareMethod>,
                    sdk_version: Option<Id>,
                    app_version: Option<Id>,
                    safeguards: List<Safeguard, { limits::LIST }>,
                    assessment_ref: Option<Id>,
                }
                index {
                    consent_id: Option<Id>,
                    slot: Option<Id>,
                }
            }
            /// An authority or court demands data. GDPR 6(1)(c), 48; PIPL 41; SCC Clause 15.
            AuthorityRequestReceived {
                header {
                    /// Register id of the authority.
                    authority: Option<Id> = required,
                    country: Option<Country> = required,
                    /// The law and article the demand rests on.
                    legal_ref: Option<Title>,
                    /// Categories demanded, at most 64.
                    scope: List<Id, { limits::CATEGORIES }>,
                    /// Whether the person must not be told.
                    confidential: Option<bool>,
                }
                index {
                    document_sha256: Option<Digest>,
                }
                matter {
                    file_number,
                    narrative,
                }
            }
            /// What was decided about an authority's demand. GDPR 6(1)(c), 48; PIPL 41; SCC Clause 15.
            AuthorityDisclosureDecided {
                header {
                    /// Register id of the authority.
                    authority: Option<Id> = required,
                    country: Option<Country> = required,
                    /// The law and article the disclosure rests on.
                    legal_ref: Option<Title>,
                    /// Categories disclosed, at most 64.
                    scope: List<Id, { limits::CATEGORIES }>,
                    decision: Option<DisclosureDecision> = required,
                    subject_told: Option<bool>,
                    /// The approval of the competent authority at home.
                    approval_ref: Option<Id>,
                    /// Whether the person must not be told.
                    confidential: Option<bool>,
                }
                index {
                    document_sha256: Option<Digest>,
                }
                matter {
                    file_number,
                    narrative,
                }
            }
        }
    };
}
pub(crate) use sharing;

sharing!(bodies);

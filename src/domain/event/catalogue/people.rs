//! Accounts, notices, consents: how a person comes in, is told and agrees.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! people {
    ($then:ident) => {
        $then! {
            /// A person opened an account. The handle is an identifier and goes to the vault.
            /// PIPL 47; E-Commerce Law 24.
            AccountRegistered {
                header {
                    account_kind: Option<Id>,
                    /// Services whose contracts hang on the account; the emitter's own if empty.
                    services: List<Id, { limits::LIST }>,
                }
                index { age_band: Option<AgeBand>, }
            }
            /// A person closed the account. PIPL 47.
            AccountCancelled {
                header { channel: Option<Id>, services: List<Id, { limits::LIST }>, }
            }
            /// A privacy notice was shown. GDPR 13, 14; PIPL 17, 30, 39.
            NoticeShown {
                header { locale: Option<Id>, channel: Option<Id>, layer: Option<Id>, }
            }
            /// Consent to one purpose. GDPR 4(11), 6(1)(a), 7; PIPL 13-16.
            ConsentGiven {
                header {
                    purpose: Option<Id> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    recipient: Option<Id>,
                    country: Option<Country>,
                    kind: Option<ConsentKind> = required,
                    method: Option<ConsentMethod>,
                    expires_at: Option<Timestamp>,
                }
                index {
                    consent_id: Option<Id>,
                    evidence_sha256: Option<Digest>,
                    age_band: Option<AgeBand>,
                    guardian_consent: bool,
                }
                evidence { ip, proof, }
            }
        }
    };
}
pub(crate) use people;

people!(bodies);

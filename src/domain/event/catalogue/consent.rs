//! Consent, permission and refusal.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! consent {
    ($then:ident) => {
        $then! {
            /// Consent to one purpose. The guardian, where there is one, is named as a person. GDPR 4(11),
            /// 6(1)(a), 7, 8, 9(2)(a), 49(1)(a); PIPL 13-16, 23, 25, 26, 29, 31, 39.
            ConsentGiven {
                header {
                    /// The one purpose consented to.
                    purpose: Option<Id> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// Recipient whom a separate consent is about.
                    recipient: Option<Id>,
                    /// Country to which a consent to export is about.
                    country: Option<Country>,
                    kind: Option<ConsentKind> = required,
                    method: Option<ConsentMethod>,
                    /// A consent that passes this instant reads as withdrawn.
                    expires_at: Option<Timestamp>,
                }
                index {
                    consent_id: Option<Id>,
                    /// SHA-256 of the screen or document that was shown.
                    evidence_sha256: Option<Digest>,
                    age_band: Option<AgeBand>,
                    /// Whether a guardian consented.
                    guardian_consent: bool,
                }
                evidence {
                    /// Address from which consent was given.
                    ip,
                    /// What a court would want to see.
                    proof,
                }
            }
            /// Consent to one purpose was asked for and refused. GDPR 7; PIPL 15, 16.
            ConsentRefused {
                header {
                    /// The one purpose refused.
                    purpose: Option<Id> = required,
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// Recipient whom the question was about.
                    recipient: Option<Id>,
                    /// Country to which an export was asked about.
                    country: Option<Country>,
                    kind: Option<ConsentKind>,
                    method: Option<ConsentMethod>,
                }
                index {
                    consent_id: Option<Id>,
                    /// SHA-256 of the screen or document that was shown.
                    evidence_sha256: Option<Digest>,
                    age_band: Option<AgeBand>,
                }
                evidence {
                    /// Address from which it was refused.
                    ip,
                    /// What a court would want to see.
                    proof,
                }
            }
            /// Consent to one purpose was withdrawn. GDPR 7(3); PIPL 15.
            ConsentWithdrawn {
                header {
                    /// The one purpose withdrawn.
                    purpose: Option<Id> = required,
                    /// Categories withdrawn, at most 64; all if empty.
                    cats: List<Id, { limits::CATEGORIES }>,
                    /// Recipient whom the consent was about.
                    recipient: Option<Id>,
                    /// Country to which the consent was about.
                    country: Option<Country>,
                    kind: Option<ConsentKind>,
                    method: Option<ConsentMethod>,
                }
                index {
                    consent_id: Option<Id>,
                    /// SHA-256 of the screen or document.
                    evidence_sha256: Option<Digest>,
                }
                evidence {
                    /// Address from which it was withdrawn.
                    ip,
                    /// What a court would want to see.
                    proof,
                }
            }
            /// A permission of the operating system was granted, denied or revoked. ePrivacy 5(3); PIPL 16.
            DevicePermissionChanged {
                header {
                    permission: Option<Permission> = required,
                    state: Option<PermissionState> = required,
                    /// What the permission was asked for.
                    purpose: Option<Id>,
                }
            }
            /// A feature was refused because the person did not consent or did not grant a permission. PIPL 16;
            /// GDPR 7(4).
            ServiceRefused {
                header {
                    /// The feature that was refused.
                    feature: Option<Id> = required,
                    /// `consent`, or the name of the permission.
                    cause: Option<Id> = required,
                }
            }
        }
    };
}
pub(crate) use consent;

consent!(bodies);

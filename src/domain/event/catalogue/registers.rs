//! Who we are, which services and activities there are, and what we published.

use chrono_tz::Tz;

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! registers {
    ($then:ident) => {
        $then! {
            /// A company of the group; its data protection officer is named as a contact. GDPR 27, 30, 37; PIPL
            /// 52, 53.
            ControllerRegistered {
                header {
                    controller: Option<Id> = required,
                    legal_name: Option<Title> = required,
                    country: Option<Country> = required,
                    /// Unified social credit code.
                    credit_code: Option<Id>,
                    /// Countries in which it is established, at most 64.
                    establishments: List<Country, { limits::LIST }>,
                    eu_representative_org: Option<Title>,
                    cn_agent_org: Option<Title>,
                    lead_authority: Option<Id>,
                    reason: Option<Id>,
                }
            }
            /// A service of the company. GDPR 30; PIPL 38-40.
            ServiceRegistered {
                header {
                    service: Option<Id> = required,
                    /// The controller that answers for it.
                    owner: Option<Id> = required,
                    storage_country: Option<Country>,
                    tz: Option<Tz>,
                    /// Emitters that may speak for it.
                    emitters: List<Id, { limits::LIST }>,
                    /// From when on its events are complete; this registration if not stated.
                    evidence_from: Option<Timestamp>,
                    /// After so many minutes without an event the emitter counts as silent; a day if not stated.
                    silence_after_minutes: Option<u64>,
                    /// Services whose contracts hang on its accounts.
                    account_services: List<Id, { limits::LIST }>,
                    directed_at_children: Option<bool>,
                    successor_custodian: Option<Id>,
                    reason: Option<Id>,
                }
            }
            /// What emitters name instead of repeating it: purposes, categories, safeguards. The revision is the
            /// server's count. GDPR 30(1); PIPL 17, 55.
            ActivityRegistered {
                header {
                    activity: Option<Id> = required,
                    service: Option<Id> = required,
                    purposes: List<PurposeBasis, { limits::PURPOSES }>,
                    cats: List<Id, { limits::CATEGORIES }>,
                    record_kind: Option<Id>,
                    /// Staff roles that may see the data.
                    roles: List<Id, { limits::LIST }>,
                    /// Categories without which the service cannot be had.
                    required: List<Id, { limits::CATEGORIES }>,
                    source: Option<Source>,
                    regimes: List<Regime, { limits::REGIMES }>,
                    sensitive: Option<bool>,
                    safeguards: List<Safeguard, { limits::LIST }>,
                    recipients: List<Id, { limits::RECIPIENTS }>,
                    assessment_ref: Option<Id>,
                    /// From when on it applies; `occurred_at` if not stated.
                    effective_at: Option<Timestamp>,
                    reason: Option<Id>,
                }
            }
            /// The activity is not performed any more. GDPR 30(1).
            ActivityEnded {
                header {
                    activity: Option<Id> = required,
                    reason: Option<Id>,
                    /// From when on; `occurred_at` if not stated.
                    effective_at: Option<Timestamp>,
                }
            }
            /// A privacy policy, with what it declares. GDPR 12-14; PIPL 7, 17.
            PolicyPublished {
                header {
                    policy_id: Option<Id> = required,
                    version: Option<Id> = required,
                    /// The service it is for; all services if not stated.
                    service: Option<Id>,
                    /// The general policy over which it prevails.
                    overrides: Option<Id>,
                    locales: List<LocaleText, { limits::LIST }>,
                    declared: List<DeclaredPurpose, { limits::LIST }>,
                    effective_at: Option<Timestamp> = required,
                    change_kind: Option<PolicyChange>,
                    reason: Option<Id>,
                }
            }
            /// A version of the law data was adopted. GDPR 24.
            LawDataActivated {
                header {
                    name: Option<Id> = required,
                    version: Option<Id> = required,
                    sha256: Option<Digest> = required,
                    effective_at: Option<Timestamp> = required,
                    reason: Option<Id>,
                }
            }
            /// What an unknown term means; it applies to the past too. GDPR 30.
            MappingAdded {
                header {
                    kind: Option<MappingKind> = required,
                    term: Option<Id> = required,
                    /// The emitter whose term it is; everybody's if not stated.
                    emitter: Option<Id>,
                    maps_to: Option<Id> = required,
                    reason: Option<Id>,
                }
            }
            /// Users were told that a service ends. PIPL 47(1)(2).
            ServiceTerminationNotified {
                header {
                    service: Option<Id> = required,
                    /// How they were told.
                    channels: List<Id, { limits::LIST }>,
                    notice_at: Option<Timestamp>,
                    end_at: Option<Timestamp> = required,
                    /// How many people were told.
                    told: Option<u64>,
                    successor_custodian: Option<Id>,
                    reason: Option<Id>,
                }
            }
            /// A service has ended. PIPL 47(1)(2).
            ServiceTerminated {
                header {
                    service: Option<Id> = required,
                    /// When it ended; `occurred_at` if not stated.
                    end_at: Option<Timestamp>,
                    successor_custodian: Option<Id>,
                    reason: Option<Id>,
                }
            }
        }
    };
}
pub(crate) use registers;

registers!(bodies);

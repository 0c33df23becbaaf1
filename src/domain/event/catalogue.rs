//! The catalogue of event types: `list!` names them, one file per family says their fields.
//!
//! Each family is a macro that hands its list to another macro (`$then`), so that the struct, the
//! stored form, the API conversion and the tests all come from one text.

pub mod breach;
pub mod consent;
pub mod custody;
pub mod instruction;
pub mod people;
pub mod processing;
pub mod registers;
pub mod requests;
pub mod retention;
pub mod sharing;
pub mod transfer;

pub use breach::*;
pub use consent::*;
pub use custody::*;
pub use instruction::*;
pub use people::*;
pub use processing::*;
pub use registers::*;
pub use requests::*;
pub use retention::*;
pub use sharing::*;
pub use transfer::*;

use crate::domain::event::{Sealed, Unset, Visit};

/// Whom an event type is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// At least one data subject.
    Person,
    /// A person or, as a collective event, nobody.
    Anybody,
    /// Things of the organisation: no data subject (staff and contacts may be named).
    Nobody,
}

/// Makes the structs of one family.
macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $(header { $($(#[$hdoc:meta])* $hfield:ident : $htype:ty $(= $hrule:ident)?,)* })?
            $(index { $($(#[$idoc:meta])* $ifield:ident : $itype:ty $(= $irule:ident)?,)* })?
            $(identity { $($(#[$sdoc:meta])* $sfield:ident,)* })?
            $(evidence { $($(#[$edoc:meta])* $efield:ident,)* })?
            $(matter { $($(#[$mdoc:meta])* $mfield:ident,)* })?
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($($(#[$hdoc])* pub $hfield: $htype,)*)?
            $($($(#[$idoc])* pub $ifield: $itype,)*)?
            $($($(#[$sdoc])* pub $sfield: $crate::domain::event::Sealed,)*)?
            $($($(#[$edoc])* pub $efield: $crate::domain::event::Sealed,)*)?
            $($($(#[$mdoc])* pub $mfield: $crate::domain::event::Sealed,)*)?
        }

        impl $crate::domain::event::catalogue::Fields for $name {
            fn visit<V: $crate::domain::event::Visit>(&self, visitor: &mut V) {
                let _ = &visitor;
                $($(visitor.open($crate::domain::event::Place::Header, stringify!($hfield), &self.$hfield);)*)?
                $($(visitor.open($crate::domain::event::Place::Index, stringify!($ifield), &self.$ifield);)*)?
                $($(visitor.sealed($crate::domain::event::Place::Identity, stringify!($sfield), &self.$sfield);)*)?
                $($(visitor.sealed($crate::domain::event::Place::Evidence, stringify!($efield), &self.$efield);)*)?
                $($(visitor.sealed($crate::domain::event::Place::Matter, stringify!($mfield), &self.$mfield);)*)?
            }

            fn missing(&self) -> Vec<&'static str> {
                #[allow(unused_mut)]
                let mut missing = Vec::new();
                $($($(let _ = stringify!($hrule); if $crate::domain::event::Unset::is_unset(&self.$hfield) { missing.push(stringify!($hfield)); })?)*)?
                $($($(let _ = stringify!($irule); if $crate::domain::event::Unset::is_unset(&self.$ifield) { missing.push(stringify!($ifield)); })?)*)?
                missing
            }
        }
    )*};
}
pub(crate) use bodies;

/// What every body can do.
pub trait Fields {
    /// All fields in catalogue order, set or not.
    fn visit<V: Visit>(&self, visitor: &mut V);
    /// Required fields that are not set.
    fn missing(&self) -> Vec<&'static str>;
}

/// Every event type: its number in the API's `oneof`, its name, whom it is about, and whether it
/// may create a person (`opens`: `domain.md` 2.5, rule 4) or is written by custody only (`own`).
macro_rules! list {
    ($then:ident) => {
        $then! {
            30 AccountRegistered account_registered Person opens,
            31 AccountCancelled account_cancelled Person,
            32 IdentifierLinked identifier_linked Person,
            33 IdentifierUnlinked identifier_unlinked Person,
            34 SubjectsMerged subjects_merged Person,
            35 SubjectsSplit subjects_split Person,
            36 NoticeShown notice_shown Person opens,
            40 ConsentGiven consent_given Person opens,
            41 ConsentRefused consent_refused Person opens,
            42 ConsentWithdrawn consent_withdrawn Person,
            43 DevicePermissionChanged device_permission_changed Person opens,
            44 ServiceRefused service_refused Person,
            50 DataCollected data_collected Anybody opens,
            51 DataUsed data_used Anybody,
            52 PurposeAdded purpose_added Person,
            53 PurposeFulfilled purpose_fulfilled Person,
            54 AutomatedDecisionMade automated_decision_made Person,
            55 DataRectified data_rectified Person,
            56 MessageSent message_sent Anybody,
            57 StaffAccessed staff_accessed Anybody,
            58 TransactionCompleted transaction_completed Person,
            59 TransactionAborted transaction_aborted Person,
            70 RecipientRegistered recipient_registered Nobody,
            71 RecipientEnded recipient_ended Nobody,
            72 SdkObserved sdk_observed Anybody opens,
            73 DataShared data_shared Anybody,
            74 AuthorityRequestReceived authority_request_received Anybody,
            75 AuthorityDisclosureDecided authority_disclosure_decided Anybody,
            90 DataTransferred data_transferred Anybody,
            91 TransferMechanismRegistered transfer_mechanism_registered Nobody,
            92 TransferMechanismSuspended transfer_mechanism_suspended Nobody,
            93 TransferMechanismEnded transfer_mechanism_ended Nobody,
            94 TransferAssessed transfer_assessed Nobody,
            95 AssessmentRecorded assessment_recorded Nobody,
            110 ControllerRegistered controller_registered Nobody,
            111 ServiceRegistered service_registered Nobody,
            112 ActivityRegistered activity_registered Nobody,
            113 ActivityEnded activity_ended Nobody,
            114 PolicyPublished policy_published Nobody,
            115 LawDataActivated law_data_activated Nobody,
            116 MappingAdded mapping_added Nobody,
            117 ServiceTerminationNotified service_termination_notified Nobody,
            118 ServiceTerminated service_terminated Nobody,
            130 RequestReceived request_received Person opens,
            131 RequestAcknowledged request_acknowledged Person,
            132 IdentityRequested identity_requested Person,
            133 IdentityChecked identity_checked Person,
            134 RequestExtended request_extended Person,
            135 RequestFulfilled request_fulfilled Person,
            136 RequestRefused request_refused Person,
            137 RequestWithdrawn request_withdrawn Person,
            138 ErasureAccepted erasure_accepted Person,
            139 ErasureRefused erasure_refused Person,
            140 ObjectionUpheld objection_upheld Person,
            141 ObjectionRejected objection_rejected Person,
            142 RestrictionApplied restriction_applied Person,
            143 RestrictionLifted restriction_lifted Person,
            144 UnlawfulProcessingFound unlawful_processing_found Person,
            145 RecipientNotified recipient_notified Person,
            146 RecipientAcknowledged recipient_acknowledged Person,
            147 ComplaintLodged complaint_lodged Person,
            148 ComplaintAnswered complaint_answered Person,
            160 RetentionRulePublished retention_rule_published Nobody,
            161 RetentionRuleAnnulled retention_rule_annulled Nobody,
            162 LegalHoldPlaced legal_hold_placed Anybody,
            163 LegalHoldReleased legal_hold_released Anybody,
            164 AuthorityDeletionOrdered authority_deletion_ordered Anybody,
            165 ErasurePlanned erasure_planned Anybody,
            166 PlanApproved plan_approved Anybody,
            167 PlanRejected plan_rejected Anybody,
            180 InstructionIssued instruction_issued Anybody,
            181 InstructionBegun instruction_begun Anybody,
            182 InstructionRecalled instruction_recalled Anybody,
            183 InstructionAcknowledged instruction_acknowledged Anybody,
            184 ErasureExecuted erasure_executed Anybody,
            185 AnonymisationExecuted anonymisation_executed Anybody,
            186 ErasureDeferred erasure_deferred Anybody,
            187 IdentityErasureAccepted identity_erasure_accepted Person own,
            188 IdentityErased identity_erased Nobody own,
            189 BackupTaken backup_taken Nobody,
            190 BackupsExpired backups_expired Nobody,
            200 BreachDetected breach_detected Anybody,
            201 BreachAssessed breach_assessed Nobody,
            202 BreachNotified breach_notified Anybody,
            203 BreachClosed breach_closed Nobody,
            204 FindingAcknowledged finding_acknowledged Anybody,
            205 FindingClosed finding_closed Anybody,
            206 FindingReopened finding_reopened Anybody,
            220 LogOpened log_opened Nobody own,
            221 LogContinued log_continued Nobody own,
            222 FormatRaised format_raised Nobody own,
            223 JobRan job_ran Nobody own,
            224 VaultMarked vault_marked Nobody own,
            225 KeyRotated key_rotated Nobody own,
            226 KeyDestroyed key_destroyed Nobody own,
            227 ExportProduced export_produced Anybody own,
            228 ContentDisclosed content_disclosed Anybody own,
            229 RecordsRead records_read Anybody own,
            230 EventsRetracted events_retracted Anybody,
            231 RecordSetAside record_set_aside Nobody own,
        }
    };
}
pub(crate) use list;

macro_rules! body {
    ($($number:literal $name:ident $snake:ident $about:ident $($flag:ident)?,)*) => {
        /// A typed body.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body { $($name(Box<$name>),)* }

        /// The name of a body's type, as it stands in the header.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($name = $number,)* }

        impl EventType {
            pub const ALL: &'static [EventType] = &[$(EventType::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(EventType::$name => stringify!($name),)* }
            }

            /// The field of the API's `oneof`.
            pub fn field(self) -> &'static str {
                match self { $(EventType::$name => stringify!($snake),)* }
            }

            pub fn number(self) -> u32 {
                self as u32
            }

            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(EventType::$name),)* _ => None }
            }

            pub fn about(self) -> About {
                match self { $(EventType::$name => About::$about,)* }
            }

            /// Whether an unknown identifier creates a person.
            pub fn opens(self) -> bool {
                match self { $(EventType::$name => false $(|| stringify!($flag) == "opens")?,)* }
            }

            /// Whether only custody itself writes events of this type; refused from emitters.
            pub fn is_own(self) -> bool {
                match self { $(EventType::$name => false $(|| stringify!($flag) == "own")?,)* }
            }
        }

        impl Body {
            pub fn event_type(&self) -> EventType {
                match self { $(Body::$name(_) => EventType::$name,)* }
            }

            /// Reads a body from one JSON object that holds all its known fields. Unknown and
            /// duplicate keys are errors.
            pub fn from_json(event_type: EventType, json: &str) -> Result<Body, serde_json::Error> {
                match event_type { $(EventType::$name => serde_json::from_str(json).map(Body::$name),)* }
            }
        }

        impl Fields for Body {
            fn visit<V: Visit>(&self, visitor: &mut V) {
                match self { $(Body::$name(body) => body.visit(visitor),)* }
            }

            fn missing(&self) -> Vec<&'static str> {
                match self { $(Body::$name(body) => body.missing(),)* }
            }
        }
    };
}
list!(body);

/// The shape of an event type: every field with its place, for tests and documentation.
pub fn fields_of(body: &Body) -> Vec<(crate::domain::event::Place, &'static str)> {
    struct Names(Vec<(crate::domain::event::Place, &'static str)>);
    impl Visit for Names {
        fn open<T: serde::Serialize + Unset>(
            &mut self,
            place: crate::domain::event::Place,
            name: &'static str,
            _: &T,
        ) {
            self.0.push((place, name));
        }
        fn sealed(&mut self, place: crate::domain::event::Place, name: &'static str, _: &Sealed) {
            self.0.push((place, name));
        }
    }
    let mut names = Names(Vec::new());
    body.visit(&mut names);
    names.0
}

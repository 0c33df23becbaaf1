//! Closed vocabularies: an unknown value is malformed input. Numbers are those of the API.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enum whose stored text and API number stand beside each variant.
macro_rules! closed {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant = $number,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// From the stored text.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }

            /// The API's number.
            pub fn number(self) -> i32 {
                self as i32
            }

            pub fn from_number(number: i32) -> Option<Self> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::domain::event::value::Closed for $name {
            const NAME: &'static str = stringify!($name);
            fn number(self) -> i32 { self as i32 }
            fn from_number(number: i32) -> Option<Self> { $name::from_number(number) }
        }
    )*

        /// Every closed vocabulary with its names and numbers, for the test that compares them
        /// with the API's.
        pub const CLOSED: &[(&str, &[(&str, i32)])] = &[
            $((stringify!($name), &[$(($text, $number),)*]),)*
        ];
    };
}

closed! {
    /// Which clock stated `occurred_at`.
    TimeSource { Server = 1 "server", Device = 2 "device", }
    /// What kind of party acted.
    ActorKind {
        Subject = 1 "subject",
        Staff = 2 "staff",
        System = 3 "system",
        Recipient = 4 "recipient",
        Authority = 5 "authority",
    }
    /// In which capacity an event names somebody. Retention and detectors look at data subjects only.
    Role {
        DataSubject = 1 "data_subject",
        Guardian = 2 "guardian",
        Agent = 3 "agent",
        Staff = 4 "staff",
        Contact = 5 "contact",
    }
    /// The legal ground of a use (`domain.md` 3.1).
    LegalBasis {
        /// GDPR 6(1)(a); PIPL 13(1)(1).
        Consent = 1 "consent",
        /// GDPR 6(1)(b); PIPL 13(1)(2).
        Contract = 2 "contract",
        /// GDPR 6(1)(c); PIPL 13(1)(3).
        LegalObligation = 3 "legal_obligation",
        /// GDPR 6(1)(d); PIPL 13(1)(4).
        VitalInterest = 4 "vital_interest",
        /// GDPR 6(1)(e); PIPL 13(1)(5).
        PublicTask = 5 "public_task",
        /// PIPL 13(1)(6); no twin in the GDPR.
        Published = 6 "published",
        /// GDPR 6(1)(f); none in the PIPL.
        LegitimateInterest = 7 "legitimate_interest",
        /// PIPL 13(1)(7).
        OtherLaw = 8 "other_law",
    }
    /// How a consent was given.
    ConsentKind {
        Expressed = 1 "expressed",
        Explicit = 2 "explicit",
        Separate = 3 "separate",
        Written = 4 "written",
    }
    /// The affirmative act.
    ConsentMethod {
        Dialog = 1 "dialog",
        Tick = 2 "tick",
        OsPermission = 3 "os_permission",
        Email = 4 "email",
        Paper = 5 "paper",
    }
    /// From whom data came.
    Source {
        Subject = 1 "subject",
        Device = 2 "device",
        ThirdParty = 3 "third_party",
        Derived = 4 "derived",
    }
    /// Coarse age (`domain.md` 3.11).
    AgeBand {
        Under13 = 1 "lt13",
        Age13 = 2 "13",
        Age14 = 3 "14",
        Age15 = 4 "15",
        Age16To17 = 5 "16_17",
        Adult = 6 "adult",
        Unknown = 7 "unknown",
    }
    /// How a link between identifiers became known.
    LinkSource { Login = 1 "login", Verified = 2 "verified", Officer = 3 "officer", }
    /// Where a notice was shown.
    NoticeChannel { App = 1 "app", Web = 2 "web", Paper = 3 "paper", }
    /// How much of the notice was shown.
    NoticeLayer { Full = 1 "full", JustInTime = 2 "just_in_time", }
    /// How far a new policy differs from the last.
    PolicyChange { Material = 1 "material", Editorial = 2 "editorial", }
    /// A permission of the operating system.
    Permission {
        LocationPrecise = 1 "location_precise",
        LocationCoarse = 2 "location_coarse",
        Camera = 3 "camera",
        Storage = 4 "storage",
        Notifications = 5 "notifications",
    }
    /// What became of a permission.
    PermissionState { Granted = 1 "granted", Denied = 2 "denied", Revoked = 3 "revoked", }
    /// Why a further purpose is allowed (GDPR 6(4)).
    Compatibility { Same = 1 "same", Compatible = 2 "compatible", NewConsent = 3 "new_consent", }
    /// What an automated decision does to a person (GDPR 22).
    DecisionEffect { Legal = 1 "legal", Similar = 2 "similar", None = 3 "none", }
    /// How a message was sent.
    MessageChannel { Email = 1 "email", Sms = 2 "sms", Push = 3 "push", InApp = 4 "in_app", }
    /// What a message is for.
    MessageNature { Service = 1 "service", Marketing = 2 "marketing", }
    /// In which capacity a recipient gets data.
    RecipientRole {
        Processor = 1 "processor",
        JointController = 2 "joint_controller",
        Controller = 3 "controller",
        Sdk = 4 "sdk",
        Authority = 5 "authority",
    }
    /// Under which article a contract with a recipient stands.
    ContractKind {
        Gdpr28 = 1 "gdpr28",
        Gdpr26 = 2 "gdpr26",
        Pipl20 = 3 "pipl20",
        Pipl21 = 4 "pipl21",
        Pipl23 = 5 "pipl23",
        Scc = 6 "scc",
    }
    /// How an addressee takes instructions.
    RecipientChannel { Grpc = 1 "grpc", Script = 2 "script", Desk = 3 "desk", }
    /// How data were given.
    ShareMethod { Api = 1 "api", Sdk = 2 "sdk", File = 3 "file", Manual = 4 "manual", }
    /// What protects data that are given.
    Safeguard {
        Encryption = 1 "encryption",
        Pseudonymisation = 2 "pseudonymisation",
        Anonymisation = 3 "anonymisation",
    }
    /// How data reach another country.
    TransferMode { Transmission = 1 "transmission", RemoteAccess = 2 "remote_access", Onward = 3 "onward", }
    /// Whose law a transfer mechanism satisfies.
    TransferRegime { Eu = 1 "EU", Cn = 2 "CN", }
    /// How often a flow happens.
    Frequency { OneOff = 1 "one_off", Continuous = 2 "continuous", }
    /// What kind of assessment.
    AssessmentKind {
        Tia = 1 "tia",
        Pipia = 2 "pipia",
        Dpia = 3 "dpia",
        Lia = 4 "lia",
        Sdk = 5 "sdk",
        SelfAssessment = 6 "self_assessment",
    }
    /// What an assessment came to.
    AssessmentResult { Ok = 1 "ok", OkWithMeasures = 2 "ok_with_measures", NotOk = 3 "not_ok", }
    /// What was decided about an authority's demand.
    DisclosureDecision { Complied = 1 "complied", Partly = 2 "partly", Refused = 3 "refused", }
    /// The right a person asks for.
    Right {
        Access = 1 "access",
        Rectification = 2 "rectification",
        Erasure = 3 "erasure",
        Restriction = 4 "restriction",
        Portability = 5 "portability",
        Objection = 6 "objection",
        HumanReview = 7 "human_review",
        Withdraw = 8 "withdraw",
        Explain = 9 "explain",
        Cancel = 10 "cancel",
    }
    /// Who asks.
    OnBehalf { Themselves = 1 "self", Guardian = 2 "guardian", Agent = 3 "agent", Heir = 4 "heir", }
    /// How an identity is checked.
    CheckLevel { Session = 1 "session", TwoFactor = 2 "two_factor", Document = 3 "document", }
    /// What an identity check came to.
    CheckResult { Verified = 1 "verified", Failed = 2 "failed", }
    /// Why an answer takes longer (GDPR 12(3)).
    ExtensionGround { Complexity = 1 "complexity", Number = 2 "number", }
    /// How far a request was granted or refused.
    Extent { Full = 1 "full", Part = 2 "part", }
    /// Ground of a restriction (GDPR 18(1)).
    RestrictionGround {
        /// The person contests that the data are accurate.
        Inaccurate = 1 "18-1-a",
        /// Processing is unlawful and the person prefers restriction.
        Unlawful = 2 "18-1-b",
        /// The person needs the data for legal claims.
        LegalClaims = 3 "18-1-c",
        /// An objection is being weighed.
        ObjectionPending = 4 "18-1-d",
    }
    /// What a recipient is asked to do.
    RecipientAction { Rectify = 1 "rectify", Erase = 2 "erase", Restrict = 3 "restrict", }
    /// What a recipient did.
    RecipientResult { Done = 1 "done", Refused = 2 "refused", Impossible = 3 "impossible", }
    /// To whom a complaint went.
    ComplaintTo { Controller = 1 "controller", Authority = 2 "authority", Court = 3 "court", }
    /// What a retention rule says: how long one purpose justifies keeping, what a statute demands at
    /// least, or a limit whatever the purpose.
    RuleKind { Keep = 1 "keep", Floor = 2 "floor", Cap = 3 "cap", }
    /// From where a retention period runs.
    Anchor {
        PurposeEnded = 1 "purpose_ended",
        Collected = 2 "collected",
        LastActivity = 3 "last_activity",
        Logged = 4 "logged",
        DocumentCreated = 5 "document_created",
        TransactionCompleted = 6 "transaction_completed",
        AccountCancelled = 7 "account_cancelled",
    }
    /// How a purpose ended, where a tail may follow.
    SoftEnd {
        Fulfilled = 1 "fulfilled",
        AccountCancelled = 2 "account_cancelled",
        ServiceTerminated = 3 "service_terminated",
    }
    /// What happens when a rule's period is over.
    Expiry { Erase = 1 "erase", Anonymise = 2 "anonymise", }
    /// Why data may not be destroyed.
    HoldGround {
        Court = 1 "court",
        Authority = 2 "authority",
        LegalClaims = 3 "legal_claims",
        Investigation = 4 "investigation",
    }
    /// Why something is to be destroyed.
    PlanCause {
        Rule = 1 "rule",
        Case = 2 "case",
        ServiceEnd = 3 "service_end",
        Order = 4 "order",
        Cancellation = 5 "cancellation",
    }
    /// What an addressee is told to do.
    InstructionKind {
        Erase = 1 "erase",
        Anonymise = 2 "anonymise",
        Restrict = 3 "restrict",
        Lift = 4 "lift",
        Rectify = 5 "rectify",
        ProvideCopy = 6 "provide_copy",
        StopUsing = 7 "stop_using",
        Notify = 8 "notify",
        PreserveBackups = 9 "preserve_backups",
    }
    /// Whether an addressee that asks may act.
    InstructionAnswer { Go = 1 "go", Revoked = 2 "revoked", }
    /// Why an instruction is void.
    RecallReason {
        Hold = 1 "hold",
        Annulled = 2 "annulled",
        Reopened = 3 "reopened",
        Retracted = 4 "retracted",
        /// Somebody else got it instead.
        Reassigned = 5 "reassigned",
        /// It was done already, as another event tells.
        Executed = 6 "executed",
    }
    /// What became of an instruction.
    InstructionOutcome {
        Done = 1 "done",
        Refused = 2 "refused",
        Impossible = 3 "impossible",
        Deferred = 4 "deferred",
    }
    /// How data were destroyed or made anonymous.
    ErasureMethod {
        Delete = 1 "delete",
        Overwrite = 2 "overwrite",
        CryptoShred = 3 "crypto_shred",
        Aggregate = 4 "aggregate",
        Generalise = 5 "generalise",
    }
    /// How a destruction was verified.
    Verification { Readback = 1 "readback", None = 2 "none", }
    /// Why a person is erased.
    IdentityErasureCause {
        Retention = 1 "retention",
        Case = 2 "case",
        Operator = 3 "operator",
        ServiceEnd = 4 "service_end",
    }
    /// Which keys are destroyed.
    IdentityErasureScope { Identity = 1 "identity", IdentityAndEvidence = 2 "identity_and_evidence", }
    /// What was broken.
    BreachKind {
        Confidentiality = 1 "confidentiality",
        Integrity = 2 "integrity",
        Availability = 3 "availability",
    }
    /// Risk to the people concerned (GDPR 33, 34).
    BreachRisk { None = 1 "none", Risk = 2 "risk", High = 3 "high", }
    /// Grade of an incident (CAC reporting measures).
    CnGrade { General = 1 "general", Larger = 2 "larger", Major = 3 "major", Extreme = 4 "extreme", }
    /// Who was told of a breach.
    NotifiedParty { Authority = 1 "authority", Subjects = 2 "subjects", }
    /// How a job's run ended.
    JobOutcome { Ok = 1 "ok", Partial = 2 "partial", Failed = 3 "failed", Skipped = 4 "skipped", }
    /// Why a log goes on under a new origin.
    LossReason { LostTail = 1 "lost_tail", Migration = 2 "migration", }
    /// Why what a cluster's log holds at a position does not count.
    AsideReason { Repeats = 1 "repeats", Unreadable = 2 "unreadable", }
    /// What a key is for.
    KeyClass {
        Kek = 1 "kek",
        Index = 2 "index",
        Lookup = 3 "lookup",
        Signing = 4 "signing",
        Evidence = 5 "evidence",
        Matter = 6 "matter",
    }
    /// What kind of term is mapped.
    MappingKind {
        Purpose = 1 "purpose",
        Category = 2 "category",
        Activity = 3 "activity",
        Recipient = 4 "recipient",
        RecordKind = 5 "record_kind",
    }
    /// What an export is for.
    ExportKind {
        Regulator = 1 "regulator",
        Access = 2 "access",
        Ropa = 3 "ropa",
        Transfer = 4 "transfer",
        Certificate = 5 "certificate",
    }
    /// Whether sealed fields were opened.
    ReadLevel { Index = 1 "index", Opened = 2 "opened", }
    /// Why events are retracted.
    RetractionReason {
        WrongSubject = 1 "wrong_subject",
        TestData = 2 "test_data",
        WrongRecipient = 3 "wrong_recipient",
        Duplicate = 4 "duplicate",
        Untrusted = 5 "untrusted",
    }
    /// A register.
    RegisterKind {
        Controller = 1 "controller",
        Service = 2 "service",
        Activity = 3 "activity",
        Recipient = 4 "recipient",
        Mechanism = 5 "mechanism",
        Assessment = 6 "assessment",
        Policy = 7 "policy",
        RetentionRule = 8 "retention_rule",
        Hold = 9 "hold",
        Breach = 10 "breach",
        Mapping = 11 "mapping",
        Law = 12 "law",
    }
    /// How an entry of a register stands at an instant.
    RegisterState {
        /// Registered, and not in force yet.
        Announced = 1 "announced",
        InForce = 2 "in_force",
        /// Allows nothing until it is registered again.
        Suspended = 3 "suspended",
        /// Ended, released or closed by an event.
        Ended = 4 "ended",
        /// Its last day has passed.
        Expired = 5 "expired",
        /// Another version of the rule took over from it.
        Replaced = 6 "replaced",
        /// Counts as never in force.
        Annulled = 7 "annulled",
    }
    /// Why a change of a register is refused.
    ContradictionReason {
        /// It names something that is not registered.
        Unknown = 1 "unknown",
        /// It names something that has ended.
        Ended = 2 "ended",
        /// It changes or ends what is not registered.
        NotRegistered = 3 "not_registered",
        /// It ends or suspends what has ended, or was annulled, already.
        AlreadyEnded = 4 "already_ended",
        /// An end before the beginning.
        EndsBeforeStart = 5 "ends_before_start",
        /// A version that is there already says something else.
        VersionRepeated = 6 "version_repeated",
        /// Two versions are in force at once.
        VersionsOverlap = 7 "versions_overlap",
        /// The id is registered under another controller.
        OtherController = 8 "other_controller",
        /// The country is not that of the importer's registration.
        OtherCountry = 9 "other_country",
        /// The law data know no such kind of mechanism.
        UnknownMechanismKind = 10 "unknown_mechanism_kind",
        /// The kind of mechanism belongs to another law.
        OtherRegime = 11 "other_regime",
        /// Standard contractual clauses without their module.
        ModuleMissing = 12 "module_missing",
        /// A module of what has none.
        ModuleGiven = 13 "module_given",
        /// No law document of this hash, name and version is known.
        UnknownLaw = 14 "unknown_law",
        /// Somebody has to approve it.
        ApproverMissing = 15 "approver_missing",
        /// Whoever publishes it may not approve it.
        ApproverIsPublisher = 16 "approver_is_publisher",
        /// A term is mapped to itself.
        MapsToItself = 17 "maps_to_itself",
        /// A rule that keeps data for less long begins less than 72 hours after it is published.
        ShortenedTooSoon = 18 "shortened_too_soon",
    }
}

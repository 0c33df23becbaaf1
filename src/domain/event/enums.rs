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
    ActorKind { Subject = 1 "subject", Staff = 2 "staff", System = 3 "system", Recipient = 4 "recipient", Authority = 5 "authority", }
    /// In which capacity an event names somebody. Retention and detectors look at data subjects only.
    Role { DataSubject = 1 "data_subject", Guardian = 2 "guardian", Agent = 3 "agent", Staff = 4 "staff", Contact = 5 "contact", }
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
    /// How an account or consent came about.
    ConsentKind { Expressed = 1 "expressed", Explicit = 2 "explicit", Separate = 3 "separate", Written = 4 "written", }
    /// The affirmative act.
    ConsentMethod { Dialog = 1 "dialog", Tick = 2 "tick", OsPermission = 3 "os_permission", Email = 4 "email", Paper = 5 "paper", }
    /// From whom data came.
    Source { Subject = 1 "subject", Device = 2 "device", ThirdParty = 3 "third_party", Derived = 4 "derived", }
    /// Coarse age (`domain.md` 3.11).
    AgeBand { Under13 = 1 "lt13", Age13 = 2 "13", Age14 = 3 "14", Age15 = 4 "15", Age16To17 = 5 "16_17", Adult = 6 "adult", Unknown = 7 "unknown", }
}

//! Why data may not be used: stable codes, each with the articles it rests on and what it says in both languages.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::vocabulary::Locale;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $text:literal,)*) => {
        /// One reason. Clients may branch on it: a code that is no longer used is never given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $code),* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$code),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text),* }
            }
        }
    };
}

codes! {
    ActivityUnknown = "activity_unknown",
    ActivityEnded = "activity_ended",
    ServiceEnded = "service_ended",
    /// The activity is registered without a purpose.
    PurposeMissing = "purpose_missing",
    PurposeNotOpened = "purpose_not_opened",
    PurposeSettling = "purpose_settling",
    PurposeFulfilled = "purpose_fulfilled",
    ConsentMissing = "consent_missing",
    ConsentRefused = "consent_refused",
    ConsentWithdrawn = "consent_withdrawn",
    ConsentExpired = "consent_expired",
    SeparateConsentMissing = "separate_consent_missing",
    GuardianConsentMissing = "guardian_consent_missing",
    ObjectionUpheld = "objection_upheld",
    ErasureAccepted = "erasure_accepted",
    UnlawfulProcessing = "unlawful_processing",
    Restricted = "restricted",
    AccountEnded = "account_ended",
    /// Its time is over, or it has to go.
    RetentionOver = "retention_over",
    TransferNotAllowed = "transfer_not_allowed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of one code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub code: String,
    /// Provisions of law, one each.
    pub legal: Vec<String>,
    pub en: String,
    pub zh: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    reason: Vec<Text>,
}

static TEXTS: LazyLock<HashMap<String, Text>> = LazyLock::new(|| {
    // The file is part of the program and a test reads it.
    let file: File =
        toml::from_str(include_str!("reasons.toml")).expect("the embedded reasons are well formed");
    file.reason.into_iter().map(|text| (text.code.clone(), text)).collect()
});

impl Code {
    pub fn text(self) -> &'static Text {
        // A test holds that every code has its text.
        TEXTS.get(self.as_str()).expect("every code has its text")
    }

    pub fn says(self, locale: Locale) -> &'static str {
        match locale {
            Locale::En => &self.text().en,
            Locale::Zh => &self.text().zh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_text_and_rests_on_a_law() {
        assert_eq!(TEXTS.len(), Code::ALL.len());
        for code in Code::ALL {
            let text = code.text();
            let known = |provision: &String| ["GDPR ", "PIPL "].iter().any(|law| provision.starts_with(law));
            assert!(!text.legal.is_empty() && text.legal.iter().all(known), "{code}");
            assert!(text.en.is_ascii() && text.en.ends_with('.'), "{code}");
            assert!(!text.zh.is_ascii() && text.zh.ends_with('。'), "{code}");
        }
    }
}

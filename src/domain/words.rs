//! Closed lists of words that the program itself says, each word beside its variant. Those that events state are in
//! `event/enums.rs`, with the API's numbers.

/// An enum with the word that stands for each variant, read and written as that word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $wrong:literal, { $($(#[$what:meta])* $word:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$what])* $word),* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$word),*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$word => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::domain::id::Malformed;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let wrong = crate::domain::id::Malformed($wrong);
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or(wrong)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

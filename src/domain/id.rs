//! Names and numbers that identify things: bounded, checked when made, cheap to copy about.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// The name of a thing of the organisation: a service, an activity, a recipient, a policy, a term
/// of an open vocabulary. 1 to 64 ASCII letters, digits and `. _ : / - + # = ~`, beginning with a
/// letter or digit. Neither blank nor `@` is allowed, so that running text and e-mail addresses
/// cannot stand where an id belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(CompactString);

impl Id {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed("is empty"));
        }
        if text.len() > limits::ID_BYTES {
            return Err(Malformed("is longer than 64 characters"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/-+#=~".contains(&b);
        if !text.as_bytes()[0].is_ascii_alphanumeric() || !text.bytes().all(allowed) {
            return Err(Malformed(
                "is not an id: letters, digits and . _ : / - + # = ~ are allowed, the first a letter or digit",
            ));
        }
        Ok(Id(CompactString::new(text)))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// ISO 3166-1 alpha-2, upper case, one of the codes assigned when this version was built.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// The officially assigned codes, in order, for a binary search.
const COUNTRIES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW";

impl Country {
    pub fn as_str(&self) -> &str {
        // Only upper-case ASCII letters pass the constructor.
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for Country {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = Malformed("is not a country of ISO 3166-1 alpha-2");
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| wrong.clone())?;
        let (codes, _) = COUNTRIES.as_bytes().as_chunks::<2>();
        codes.binary_search(&code).map(|_| Country(code)).map_err(|_| wrong)
    }
}

/// A body of law that applies: `EU`, or a country.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regime([u8; 2]);

impl Regime {
    pub const EU: Regime = Regime(*b"EU");
    pub const CN: Regime = Regime(*b"CN");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for Regime {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "EU" {
            return Ok(Regime::EU);
        }
        text.parse::<Country>()
            .map(|country| Regime(country.0))
            .map_err(|_| Malformed("is neither EU nor a country of ISO 3166-1 alpha-2"))
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Country Regime);

/// The emitter's id of an event. Unique together with the emitter, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = Malformed;

    /// Only the hyphenated lower-case form, so that one id has one spelling.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = Malformed("is not a UUID in lower-case hyphenated form");
        let id = Uuid::try_parse(text).map_err(|_| wrong.clone())?;
        if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong);
        }
        if id.is_nil() { Err(Malformed("is the nil UUID")) } else { Ok(EventId(id)) }
    }
}

/// Bytes that read as unpadded base64url in stored JSON and on the command line.
macro_rules! opaque_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; $len * 4 / 3 + 3];
                let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let wrong = Malformed(concat!("is not ", stringify!($len), " bytes in unpadded base64url"));
                let mut bytes = [0u8; $len];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok($len) => Ok($name(bytes)),
                    _ => Err(wrong),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

opaque_bytes!(
    /// The random handle of a person, an organisation or a matter in the vault. Never in a header.
    SubjectId, 16
);
opaque_bytes!(
    /// A SHA-256 of a document, a text or a leaf.
    Digest, 32
);
opaque_bytes!(
    /// A keyed look-up mark of an identifier, cut to 16 bytes. Stands only in encrypted index blocks.
    Mark, 16
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_not_a_sentence_or_an_address() {
        assert!("solar-app/1.2_b:c".parse::<Id>().is_ok());
        for wrong in ["", "a b", "me@kstar.com.cn", "-x", "姓名", &"x".repeat(65)] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn countries_are_sorted_and_checked() {
        let codes = COUNTRIES.as_bytes().as_chunks::<2>().0;
        assert!(codes.is_sorted() && codes.len() == 249);
        assert!("CN".parse::<Country>().is_ok() && "EU".parse::<Country>().is_err());
        assert!("EU".parse::<Regime>().is_ok() && "XX".parse::<Regime>().is_err());
    }

    #[test]
    fn opaque_bytes_read_back() {
        let subject = SubjectId([7; 16]);
        assert_eq!(subject.to_string().parse(), Ok(subject));
        assert!("AAAA".parse::<SubjectId>().is_err());
    }
}

//! The kinds of value that fields of an event have. Each has one stored form, which serde writes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::id::Malformed;
use crate::domain::personal::Personal;
use crate::limits;

/// A field that was not stated is not stored.
pub trait Unset {
    fn is_unset(&self) -> bool;
}

impl<T> Unset for Option<T> {
    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

impl Unset for bool {
    fn is_unset(&self) -> bool {
        !*self
    }
}

/// A closed vocabulary, by its API number.
pub trait Closed: Copy {
    const NAME: &'static str;
    fn number(self) -> i32;
    fn from_number(number: i32) -> Option<Self>;
}

/// A list of at most `MAX` values; empty means not stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// `None` if there are too many.
    pub fn new(values: Vec<T>) -> Option<Self> {
        (values.len() <= MAX).then_some(List(values))
    }

    pub const MAX: usize = MAX;
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T, const MAX: usize> Unset for List<T, MAX> {
    fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        List::new(values).ok_or_else(|| serde::de::Error::custom(format_args!("more than {MAX} values")))
    }
}

/// Sealed free text or a sealed digest; at most `limits::TEXT_CHARS` characters.
pub type Sealed = Option<Personal<String>>;

/// A name or citation that is no term: the legal name of an organisation, a law and its article.
/// 1 to 200 characters on one line, no outer blanks, no `@`. Never the name of a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Title(String);

impl Title {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Title {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed("is empty"));
        }
        if text.chars().nth(limits::TITLE_CHARS).is_some() {
            return Err(Malformed("is longer than 200 characters"));
        }
        if text.trim() != text || text.chars().any(|c| c.is_control() || c == '@') {
            return Err(Malformed("is not a title: one line without outer blanks and without @"));
        }
        Ok(Title(text.to_owned()))
    }
}

impl TryFrom<String> for Title {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

/// A web address: `https://` or `http://`, then 1 to 504 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Url(String);

impl Url {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Url {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let visible =
            |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'@');
        if text.len() > limits::URL_BYTES || !rest.is_some_and(visible) {
            return Err(Malformed("is not a web address of at most 512 characters"));
        }
        Ok(Url(text.to_owned()))
    }
}

impl TryFrom<String> for Url {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_one_line_and_no_address() {
        assert!("深圳市腾讯计算机系统有限公司".parse::<Title>().is_ok());
        for wrong in ["", " x", "a\nb", "me@kstar.com.cn", &"x".repeat(201)] {
            assert!(wrong.parse::<Title>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn web_addresses_name_no_account() {
        assert!("https://open.weixin.qq.com/cgi-bin/readtemplate?lang=zh_CN".parse::<Url>().is_ok());
        for wrong in [
            "",
            "https://",
            "ftp://x",
            "https://a b",
            "https://me@x",
            &format!("https://{}", "x".repeat(505)),
        ] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }
}

//! Normaliser version 1 (`domain.md` 2.5): two spellings of one thing become one text.

use core::net::{IpAddr, Ipv6Addr};
use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::{Identifier, Kind, phone};
use crate::domain::id::{Country, Id, Malformed};
use crate::domain::personal::Personal;
use crate::limits;

/// The version that `normalise` implements; stored with every binding.
pub const NORMALISER: u8 = 1;

/// Normaliser version 1. `Ok(None)` for a placeholder that identifies nothing and is dropped.
/// `home` is the country whose national form a telephone number without a prefix has.
///
/// # Errors
/// A realm that is missing or has no place, a value that is empty, longer than
/// `limits::IDENTIFIER_BYTES`, holds control characters, or is not what its kind says.
pub fn normalise(
    kind: Kind,
    realm: Option<Id>,
    value: &str,
    home: Option<Country>,
) -> Result<Option<Identifier>, Malformed> {
    match (kind.needs_realm(), realm.is_some()) {
        (true, false) => return Err(Malformed("needs a realm")),
        (false, true) => return Err(Malformed("is of a kind that has no realm")),
        _ => {}
    }
    if value.len() > limits::IDENTIFIER_BYTES {
        return Err(Malformed("is longer than 320 bytes"));
    }
    if value.trim().is_empty() {
        return Err(Malformed("is empty"));
    }
    if value.trim().chars().any(char::is_control) {
        return Err(Malformed("holds control characters"));
    }
    if is_placeholder(value) {
        return Ok(None);
    }
    let value = match kind {
        Kind::Account => composed(value).trim().to_owned(),
        Kind::Openid | Kind::Unionid | Kind::Station => value.to_owned(),
        Kind::Phone => phone::normalise(value, home)?,
        Kind::Email => email(value)?,
        Kind::DeviceSerial => device_serial(value)?,
        Kind::Imei => imei(value)?,
        Kind::Oaid => oaid(value)?,
        Kind::AndroidId => android_id(value)?,
        Kind::Mac => mac(value)?,
        Kind::Ip => ip(value)?,
    };
    if value.len() > limits::IDENTIFIER_BYTES {
        return Err(Malformed("is longer than 320 bytes in its normal form"));
    }
    // Once more: only the normal form shows that `02-00-00-00-00-00` or `::` is one.
    if is_placeholder(&value) || kind == Kind::Mac && value == "02:00:00:00:00:00" {
        return Ok(None);
    }
    Ok(Some(Identifier { kind, realm, value: Personal::new(value) }))
}

/// Normal form C, which ASCII has already.
fn composed(value: &str) -> Cow<'_, str> {
    if value.is_ascii() { Cow::Borrowed(value) } else { Cow::Owned(value.nfc().collect()) }
}

/// What systems write where they know nothing: zeros, with whatever separates them, or a word.
fn is_placeholder(value: &str) -> bool {
    let plain = value.trim();
    let says_nothing = |c: char| c == '0' || c.is_whitespace() || "-:.".contains(c);
    let zeros = match plain.is_ascii() {
        true => plain.contains('0') && plain.chars().all(says_nothing),
        false => plain.contains('0') && plain.chars().nfkc().all(says_nothing),
    };
    zeros || plain == "::" || plain.eq_ignore_ascii_case("unknown")
}

fn email(value: &str) -> Result<String, Malformed> {
    let wrong = Malformed("is not an e-mail address");
    let text = composed(value);
    let (local, domain) = text.trim().rsplit_once('@').ok_or(wrong.clone())?;
    if local.is_empty() || local.chars().any(|c| c.is_whitespace() || c == '@') {
        return Err(wrong);
    }
    let domain = idna::domain_to_ascii_strict(domain).map_err(|_| wrong.clone())?;
    let labels = domain.split('.').count();
    if labels < 2 || domain.split('.').any(str::is_empty) {
        return Err(wrong);
    }
    // Lower case can leave NFC (a capital with a combining dot), so it is composed again.
    let local: String = local.to_lowercase().nfc().collect();
    Ok(format!("{local}@{domain}"))
}

fn device_serial(value: &str) -> Result<String, Malformed> {
    let kept = value.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let serial: String = kept.flat_map(char::to_uppercase).collect();
    if serial.is_empty() { Err(Malformed("is not a serial number")) } else { Ok(serial) }
}

/// The last digit of 15 is a check digit and the last two of 16 a software version, so the first
/// 14 name the device.
fn imei(value: &str) -> Result<String, Malformed> {
    let wrong = Malformed("is not an IMEI of 14 to 16 digits");
    let mut digits: String = value.nfkc().filter(|c| !c.is_whitespace() && !"-/.".contains(*c)).collect();
    if !(14..=16).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong);
    }
    digits.truncate(14);
    Ok(digits)
}

/// Makers use different lengths; only the alphabet is common.
fn oaid(value: &str) -> Result<String, Malformed> {
    let text = value.trim().to_ascii_lowercase();
    let plausible = (8..=128).contains(&text.len());
    if !plausible || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Malformed("is not an OAID"));
    }
    Ok(text)
}

/// Settings that print the number in hex without leading zeros exist, hence up to 16 digits.
fn android_id(value: &str) -> Result<String, Malformed> {
    let text = value.trim().to_ascii_lowercase();
    let hex = (12..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { Ok(format!("{text:0>16}")) } else { Err(Malformed("is not an Android id of 16 hex digits")) }
}

fn mac(value: &str) -> Result<String, Malformed> {
    let kept = value.trim().bytes().filter(|b| !b":-. ".contains(b));
    let hex: Vec<u8> = kept.map(|b| b.to_ascii_lowercase()).collect();
    if hex.len() != 12 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed("is not a MAC address of 12 hex digits"));
    }
    let mut text = String::with_capacity(17);
    for (i, digit) in hex.iter().enumerate() {
        if i > 0 && i % 2 == 0 {
            text.push(':');
        }
        text.push(char::from(*digit));
    }
    Ok(text)
}

/// RFC 5952. The standard library prints v6 so, but for v4-mapped ones, which become v4. A zone
/// (`%eth0`) means something on one machine only and is cut.
fn ip(value: &str) -> Result<String, Malformed> {
    let wrong = Malformed("is not an IP address");
    let text = value.trim();
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    match text.parse::<IpAddr>().map_err(|_| wrong)? {
        IpAddr::V6(v6) => Ok(v6_text(v6)),
        IpAddr::V4(v4) => Ok(v4.to_string()),
    }
}

fn v6_text(v6: Ipv6Addr) -> String {
    v6.to_ipv4_mapped().map_or_else(|| v6.to_string(), |v4| v4.to_string())
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;

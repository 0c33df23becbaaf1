//! Identifiers: kinds, realms and normalisers (`domain.md` 2.5). Pure text work; who is meant is
//! the vault's to say.

use std::fmt;
use std::str::FromStr;

use crate::domain::id::{Country, Id, Malformed};
use crate::domain::personal::Personal;

/// How far an identifier of a kind may decide who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Resolves.
    Strong,
    /// Resolves within its interval, and only without a strong one.
    Contact,
    /// Only associates.
    Shared,
}

/// What an identifier is, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Account,
    Openid,
    Unionid,
    Phone,
    Email,
    DeviceSerial,
    Imei,
    Oaid,
    AndroidId,
    Mac,
    Ip,
    Station,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::Account,
        Kind::Openid,
        Kind::Unionid,
        Kind::Phone,
        Kind::Email,
        Kind::DeviceSerial,
        Kind::Imei,
        Kind::Oaid,
        Kind::AndroidId,
        Kind::Mac,
        Kind::Ip,
        Kind::Station,
    ];

    pub fn class(self) -> Class {
        match self {
            Kind::Account | Kind::Openid | Kind::Unionid => Class::Strong,
            Kind::Phone | Kind::Email => Class::Contact,
            _ => Class::Shared,
        }
    }

    /// A device person of its own, where it is all that an entry names.
    pub fn is_device(self) -> bool {
        matches!(self, Kind::DeviceSerial | Kind::Imei | Kind::Oaid | Kind::AndroidId | Kind::Mac)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::Openid => "openid",
            Kind::Unionid => "unionid",
            Kind::Phone => "phone",
            Kind::Email => "email",
            Kind::DeviceSerial => "device_serial",
            Kind::Imei => "imei",
            Kind::Oaid => "oaid",
            Kind::AndroidId => "android_id",
            Kind::Mac => "mac",
            Kind::Ip => "ip",
            Kind::Station => "station",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(Malformed("is not a kind of identifier"))
    }
}

/// An identifier in its normal form: two spellings of one thing are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    pub kind: Kind,
    /// The account system, app or maker within which the value is unique; for kinds that have one.
    pub realm: Option<Id>,
    pub value: Personal<String>,
}

/// Normaliser version 1. `Ok(None)` for a placeholder that identifies nothing and is dropped.
/// `home` is the country whose national form a telephone number without a prefix has.
pub fn normalise(
    kind: Kind,
    realm: Option<Id>,
    value: &str,
    home: Option<Country>,
) -> Result<Option<Identifier>, Malformed> {
    let _ = (kind, realm, value, home);
    unimplemented!("written with the vault")
}

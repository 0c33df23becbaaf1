//! Identifiers: kinds, realms, normalisers, and the rules by which they name a person
//! (`domain.md` 2.5). All of it pure; what is known is the vault's to say.

mod normalise;
mod phone;
pub mod resolve;

use std::fmt;
use std::str::FromStr;

pub use normalise::{NORMALISER, normalise};

use crate::domain::id::{Id, Malformed};
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

    /// Whether a value identifies only within a realm.
    pub fn needs_realm(self) -> bool {
        matches!(self, Kind::Account | Kind::Openid | Kind::Unionid | Kind::DeviceSerial | Kind::Station)
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

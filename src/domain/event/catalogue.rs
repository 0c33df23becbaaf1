//! The catalogue of event types: `list!` names them, one file per family says their fields.
//!
//! Each family is a macro that hands its list to another macro (`$then`), so that the struct, the
//! stored form, the API conversion and the tests all come from one text.

pub mod people;
pub mod processing;

pub use people::*;
pub use processing::*;

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
/// may create a person (`domain.md` 2.5, rule 4).
macro_rules! list {
    ($then:ident) => {
        $then! {
            20 AccountRegistered account_registered Person opens,
            21 AccountCancelled account_cancelled Person,
            22 NoticeShown notice_shown Person opens,
            23 ConsentGiven consent_given Person opens,
            30 DataCollected data_collected Anybody opens,
            31 DataUsed data_used Anybody,
        }
    };
}
pub(crate) use list;

macro_rules! body {
    ($($number:literal $name:ident $snake:ident $about:ident $($opens:ident)?,)*) => {
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
                match self { $(EventType::$name => false $(|| stringify!($opens) == "opens")?,)* }
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

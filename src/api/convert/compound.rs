//! Values made of several: the fields in the first brackets have to be stated, the others may be.

use super::value::{Field, Value};
use super::violation::{Path, Violations};
use crate::domain::event::{
    DeclaredPurpose, Filing, FindingTally, LawData, LocaleText, PurposeBasis, RetentionRule, RuleMatch,
    SdkInfo, Tally, TransferTally, Window,
};
use crate::domain::time::LocalDate;
use crate::pb;

/// Both messages are taken apart whole, so that a field which only one of them has does not compile.
macro_rules! compound {
    ($($name:ident [$($must:ident)*] [$($may:ident)*])*) => {$(
        impl Value<pb::$name> for $name {
            fn read(wire: pb::$name, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
                let pb::$name { $($must,)* $($may,)* } = wire;
                $(let $must = required($must, &at.field(stringify!($must)), violations);)*
                $(let $may = Field::read($may, &at.field(stringify!($may)), violations);)*
                Some($name { $($must: $must?,)* $($may,)* })
            }

            fn write(&self) -> pb::$name {
                let $name { $($must,)* $($may,)* } = self;
                pb::$name {
                    $($must: stated($must),)*
                    $($may: Field::write($may),)*
                }
            }
        }
    )*};
}

compound! {
    PurposeBasis [id basis] []
    Window [from to] []
    LocalDate [date tz] []
    LocaleText [locale sha256] []
    DeclaredPurpose [purpose] [cats]
    SdkInfo [name] [versions package]
    Filing [number] [filed_at accepted_at]
    Tally [name] [count]
    TransferTally [line] [year sensitive]
    FindingTally [code] [key count]
    LawData [name version sha256] []
    RuleMatch [] [purposes categories record_kinds regimes]
    RetentionRule [id kind anchor period tz] [matches causes year_end on_expiry law_of legal from to replaces]
}

fn required<W, T>(wire: W, at: &Path<'_>, violations: &mut Violations) -> Option<T>
where
    Option<T>: Field<W>,
{
    let before = violations.len();
    let value = <Option<T> as Field<W>>::read(wire, at, violations);
    if value.is_none() && violations.len() == before {
        violations.add(at, "is required");
    }
    value
}

fn stated<W, T: Clone>(value: &T) -> W
where
    Option<T>: Field<W>,
{
    Some(value.clone()).write()
}

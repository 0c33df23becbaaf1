//! Well-formed values of every kind, from a seed: for tests that must meet every event type.

use chrono::NaiveDate;
use chrono_tz::Tz;

use crate::domain::event::catalogue::{self, list};
use crate::domain::event::*;
use crate::domain::id::{Country, Digest, EventId, Id, Regime};
use crate::domain::personal::Personal;
use crate::domain::time::{LocalDate, Timestamp};
use crate::limits;

/// SplitMix64: small, and the same everywhere.
pub struct Seed(pub u64);

impl Seed {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

pub trait Sample {
    fn sample(seed: &mut Seed) -> Self;
}

impl<T: Sample> Sample for Option<T> {
    fn sample(seed: &mut Seed) -> Self {
        (seed.below(3) > 0).then(|| T::sample(seed))
    }
}

impl<T: Sample, const MAX: usize> Sample for List<T, MAX> {
    fn sample(seed: &mut Seed) -> Self {
        // Full now and then, mostly short.
        let length = if seed.below(20) == 0 { MAX.min(70) as u64 } else { seed.below(4) };
        List::new((0..length).map(|_| T::sample(seed)).collect()).unwrap()
    }
}

impl<T: Closed> Sample for T {
    fn sample(seed: &mut Seed) -> Self {
        let count = (1..).take_while(|number| T::from_number(*number).is_some()).count() as u64;
        T::from_number(1 + seed.below(count) as i32).unwrap()
    }
}

macro_rules! parsed {
    ($($name:ident $($text:literal)*;)*) => {$(
        impl Sample for $name {
            fn sample(seed: &mut Seed) -> Self {
                seed.one_of(&[$($text),*]).parse().unwrap()
            }
        }
    )*};
}
parsed! {
    Country "CN" "DE" "AX" "ZW";
    Regime "EU" "CN" "CH";
    Title "深圳市腾讯计算机系统有限公司" "GDPR Art. 6(1)(c)" "x";
    Url "https://open.weixin.qq.com/" "http://a";
    Tz "Asia/Shanghai" "Europe/Berlin" "UTC";
    NaiveDate "2026-03-01" "0001-01-01" "9999-12-31";
    Period "P0D" "P6M" "P9999Y";
}

impl Sample for Id {
    fn sample(seed: &mut Seed) -> Self {
        let long = "x".repeat(limits::ID_BYTES);
        match seed.below(4) {
            0 => long.parse().unwrap(),
            1 => "pd:GPSCoordinate".parse().unwrap(),
            _ => format!("id-{:x}", seed.next()).parse().unwrap(),
        }
    }
}

impl Sample for EventId {
    fn sample(seed: &mut Seed) -> Self {
        EventId(uuid::Uuid::from_u64_pair(seed.next() | 1, seed.next()))
    }
}

impl Sample for Digest {
    fn sample(seed: &mut Seed) -> Self {
        Digest(std::array::from_fn(|_| seed.next() as u8))
    }
}

impl Sample for Timestamp {
    fn sample(seed: &mut Seed) -> Self {
        let years = 253_402_300_799_999 + 62_135_596_800_000;
        Timestamp::from_ms(-62_135_596_800_000 + seed.below(years) as i64).unwrap()
    }
}

impl Sample for u64 {
    fn sample(seed: &mut Seed) -> Self {
        let large = seed.below(limits::NUMBER) + 1;
        seed.one_of(&[0, 1, large, limits::NUMBER])
    }
}

impl Sample for bool {
    fn sample(seed: &mut Seed) -> Self {
        seed.below(2) == 1
    }
}

impl Sample for Personal<String> {
    fn sample(seed: &mut Seed) -> Self {
        let long = "科".repeat(limits::TEXT_CHARS);
        Personal::new(seed.one_of(&["x", "ein \"Text\"\n\u{0}", "文本 😀", &long]).to_owned())
    }
}

macro_rules! compound {
    ($($name:ident $($field:ident)*;)*) => {$(
        impl Sample for $name {
            fn sample(seed: &mut Seed) -> Self {
                $name { $($field: Sample::sample(seed),)* }
            }
        }
    )*};
}
compound! {
    PurposeBasis id basis;
    Window from to;
    LocalDate date tz;
    LocaleText locale sha256;
    DeclaredPurpose purpose cats;
    SdkInfo name versions package;
    Filing number filed_at accepted_at;
    Tally name count;
    TransferTally line year sensitive;
    FindingTally code key count;
    LawData name version sha256;
    RuleMatch purposes categories record_kinds regimes;
    RetentionRule id kind matches anchor causes period year_end tz on_expiry law_of legal from to replaces;
}

macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $($place:ident { $($(#[$fdoc:meta])* $field:ident $(: $type:ty)? $(= $rule:ident)?,)* })*
        }
    )*) => {$(
        impl Sample for catalogue::$name {
            #[allow(unused_mut, unused_variables)] // some bodies have no fields
            fn sample(seed: &mut Seed) -> Self {
                let mut body = catalogue::$name { $($($field: Sample::sample(seed),)*)* };
                $($($(
                    const _: &str = stringify!($rule);
                    while Unset::is_unset(&body.$field) {
                        body.$field = Sample::sample(seed);
                    }
                )?)*)*
                body
            }
        }
    )*};
}
catalogue::breach::breach!(bodies);
catalogue::consent::consent!(bodies);
catalogue::custody::custody!(bodies);
catalogue::instruction::instruction!(bodies);
catalogue::people::people!(bodies);
catalogue::processing::processing!(bodies);
catalogue::registers::registers!(bodies);
catalogue::requests::requests!(bodies);
catalogue::retention::retention!(bodies);
catalogue::sharing::sharing!(bodies);
catalogue::transfer::transfer!(bodies);

macro_rules! body {
    ($($number:literal $name:ident $snake:ident $about:ident $($flag:ident)?,)*) => {
        /// A body of the type, with its required fields set.
        pub fn body(event_type: EventType, seed: &mut Seed) -> Body {
            match event_type {
                $(EventType::$name => Body::$name(Box::new(Sample::sample(seed))),)*
            }
        }
    };
}
list!(body);

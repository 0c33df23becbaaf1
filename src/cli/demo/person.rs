//! The people of the story. None of them exists.

use crate::cli::demo::story::Dice;

/// Account of the person whom the demo reports on.
pub const FIRST_ACCOUNT: u64 = 20_015;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    China,
    Europe,
}

/// Somebody with an account, a telephone and an inverter.
#[derive(Debug, Clone)]
pub struct Persona {
    pub number: u64,
    pub region: Region,
    pub account: String,
    pub phone: String,
    pub email: String,
    pub imei: String,
    pub serial: String,
}

impl Persona {
    /// The first person is the one the demo reports on.
    pub fn new(number: u64, dice: &mut Dice) -> Self {
        let region = if number > 0 && dice.chance(30) { Region::Europe } else { Region::China };
        let phone = match region {
            // 1700000xxxx and +49 151 0000xxxx: ranges nobody is called on.
            Region::China => format!("170 0000 {:04}", number % 10_000),
            Region::Europe => format!("0151 0000{:04}", number % 10_000),
        };
        Persona {
            number,
            region,
            account: (FIRST_ACCOUNT + number).to_string(),
            phone,
            email: format!("person{number}@example.com"),
            imei: format!("86{:012}", 7_000_000 + number),
            serial: format!("KSE-{:08}", 31_000 + number),
        }
    }

    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    pub fn in_china(mut self) -> Self {
        self.region = Region::China;
        self.phone = format!("170 0000 {:04}", self.number % 10_000);
        self
    }

    pub fn in_europe(mut self) -> Self {
        self.region = Region::Europe;
        self.phone = format!("0151 0000{:04}", self.number % 10_000);
        self
    }

    pub fn with_number_of(mut self, other: &Persona) -> Self {
        self.phone.clone_from(&other.phone);
        self
    }

    pub fn controller(&self) -> &'static str {
        match self.region {
            Region::China => "kstar-cn",
            Region::Europe => "kstar-eu",
        }
    }

    pub fn service(&self) -> &'static str {
        match self.region {
            Region::China => "solar-cn",
            Region::Europe => "solar-eu",
        }
    }

    pub fn emitter(&self) -> &'static str {
        match self.region {
            Region::China => "solar-app-cn",
            Region::Europe => "solar-app-eu",
        }
    }
}

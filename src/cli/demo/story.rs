//! A month in the life of the solar app: who did what, when, in the order in which it happened.
//!
//! The same seed tells the same story to the last id, so a second run against the same directory
//! is nothing but retries.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::cli::demo::person::{Persona, Region};
use crate::cli::demo::scene::Scene;
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, Timestamp};
use crate::pb;

/// 2026-10-01T00:00:00Z, in milliseconds.
const MONTH_BEGINS_MS: i64 = 1_790_812_800_000;
const DAYS: i64 = 30;

/// Small, fast and the same everywhere (splitmix64); nothing secret depends on it.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The first instant of the month that is played.
pub fn month_begins() -> Timestamp {
    Timestamp::EPOCH.plus_ms(MONTH_BEGINS_MS)
}

/// The instant after the last event.
pub fn month_ends() -> Timestamp {
    month_begins().plus_ms(DAYS * MS_PER_DAY)
}

/// All events of the people, ordered by time. The person whom the demo reports on is the first.
pub fn month(seed: u64, people: u64) -> Vec<(Timestamp, pb::Event)> {
    let mut told = Told { dice: Dice::new(seed), events: BTreeMap::new(), told: 0 };
    for n in 0..people {
        let persona = Persona::new(n, &mut told.dice);
        told.life(&persona);
    }
    told.number_changes_hands(people);
    told.park_telemetry();
    told.breaches(people);
    told.events.into_iter().map(|((at, _), event)| (at, event)).collect()
}

/// A few hundred installations whose readings concern nobody in particular.
const PARK_READINGS_PER_DAY: i64 = 24;

/// What was told so far.
pub struct Told {
    dice: Dice,
    events: BTreeMap<(Timestamp, u64), pb::Event>,
    told: u64,
}

impl Told {
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub fn tell(&mut self, at: Timestamp, scene: Scene) {
        self.told += 1;
        let id = event_id(at, self.told, &mut self.dice);
        self.events.insert((at, self.told), scene.event(at, id));
    }

    fn life(&mut self, who: &Persona) {
        let start = month_begins().plus_ms(self.dice.below(10 * MS_PER_DAY as u64) as i64);
        let minute = |n: i64| start.plus_ms(n * MS_PER_MINUTE);
        // The app is opened before anybody has logged in: only the device is known.
        self.tell(minute(0), Scene::notice(who));
        self.tell(minute(1), Scene::device_before_login(who));
        self.tell(minute(3), Scene::account_registered(who));
        self.tell(minute(3).plus_ms(200), Scene::registration_data(who));
        self.tell(minute(4), Scene::device_linked(who, minute(0), None));
        self.permissions(who, start);
        self.consents(who, start);
        self.tell(minute(20), Scene::serial_scanned(who));
        self.days(who, start);
        if self.dice.chance(if who.is_first() { 0 } else { 6 }) {
            let end = month_ends().plus_ms(-(self.dice.below(5 * MS_PER_DAY as u64) as i64));
            self.tell(end, Scene::account_cancelled(who));
        }
    }

    fn permissions(&mut self, who: &Persona, start: Timestamp) {
        let minute = |n: i64| start.plus_ms(n * MS_PER_MINUTE);
        let location = self.likely(who, 70);
        self.tell(minute(5), Scene::permission(who, pb::Permission::LocationPrecise, location));
        let camera = self.likely(who, 80);
        self.tell(minute(6), Scene::permission(who, pb::Permission::Camera, camera));
        let storage = self.likely(who, 60);
        self.tell(minute(7), Scene::permission(who, pb::Permission::Storage, storage));
        if location {
            self.tell(minute(5).plus_ms(10), Scene::consent(who, "location_service", true));
            self.tell(minute(8), Scene::position(who));
        }
        if storage {
            self.tell(minute(15), Scene::station_photo(who));
        }
    }

    fn consents(&mut self, who: &Persona, start: Timestamp) {
        let at = |n: i64| start.plus_ms(9 * MS_PER_MINUTE + n * 1_000);
        let marketing = self.likely(who, 35);
        self.tell(at(0), Scene::consent(who, "direct_marketing", marketing));
        let analytics = self.likely(who, 60);
        self.tell(at(1), Scene::consent(who, "analytics", analytics));
        if who.region == Region::China {
            self.tell(at(2), Scene::consent_to_wechat(who));
        }
        // Everybody helps to find faults; what was asked for once holds for all readings.
        self.tell(at(3), Scene::consent(who, "improvement", true));
        if marketing && (who.is_first() || self.dice.chance(25)) {
            self.tell(start.plus_ms(12 * MS_PER_DAY), Scene::consent_withdrawn(who, "direct_marketing"));
        }
    }

    /// The first person says yes to everything, so that their report has something of all.
    fn likely(&mut self, who: &Persona, percent: u64) -> bool {
        self.dice.chance(percent) || who.is_first()
    }

    /// What happens again and again: the inverter reports, the data are used, somebody pays.
    fn days(&mut self, who: &Persona, start: Timestamp) {
        let mut day = 0;
        loop {
            let noon = start.plus_ms(day * MS_PER_DAY + 6 * MS_PER_HOUR);
            if noon >= month_ends() {
                return;
            }
            self.tell(noon, Scene::day_of_telemetry(who));
            match self.dice.below(6) {
                0 => self.tell(noon.plus_ms(MS_PER_HOUR), Scene::used(who, "service_provision", "x:display")),
                1 => self.tell(noon.plus_ms(MS_PER_HOUR), Scene::used(who, "personalisation", "x:language")),
                2 => self.tell(noon.plus_ms(MS_PER_HOUR), Scene::used(who, "security", "x:authenticate")),
                3 => {
                    self.tell(noon.plus_ms(MS_PER_HOUR), Scene::used(who, "improvement", "x:fault_analysis"))
                }
                4 => self.tell(noon.plus_ms(MS_PER_HOUR), Scene::message(who)),
                _ => {
                    self.tell(noon.plus_ms(MS_PER_HOUR), Scene::used(who, "software_management", "x:update"))
                }
            }
            if who.region == Region::China && (day == 9 || self.dice.chance(5)) {
                self.payment(who, noon.plus_ms(2 * MS_PER_HOUR), day);
            }
            if who.region == Region::Europe && (day % 7 == 3) {
                self.tell(noon.plus_ms(3 * MS_PER_HOUR), Scene::looked_at_from("CN", who));
                self.tell(noon.plus_ms(3 * MS_PER_HOUR + 500), Scene::transferred_to_china(who));
            }
            day += 1;
        }
    }

    /// Section 9 of the policy lists what the WeChat Pay SDK takes; one version in ten takes more.
    fn payment(&mut self, who: &Persona, at: Timestamp, day: i64) {
        self.tell(at.plus_ms(-1_000), Scene::order_placed(who, day));
        self.tell(at, Scene::wechat_observed(who));
        self.tell(at.plus_ms(300), Scene::shared_with_wechat(who, day));
        self.tell(at.plus_ms(5_000), Scene::paid(who, day));
    }

    /// Somebody cancels, and the operator gives the number to somebody else: two people.
    fn number_changes_hands(&mut self, people: u64) {
        let before = Persona::new(people, &mut self.dice).in_china();
        let after = Persona::new(people + 1, &mut self.dice).in_china().with_number_of(&before);
        let day = |n: i64| month_begins().plus_ms(n * MS_PER_DAY + MS_PER_HOUR);
        for (who, first) in [(&before, 2), (&after, 18)] {
            self.tell(day(first), Scene::notice(who));
            self.tell(day(first).plus_ms(MS_PER_MINUTE), Scene::account_registered(who));
            self.tell(day(first).plus_ms(MS_PER_MINUTE + 100), Scene::device_linked(who, day(first), None));
            self.tell(day(first).plus_ms(2 * MS_PER_MINUTE), Scene::registration_data(who));
        }
        self.tell(day(16), Scene::account_cancelled(&before));
        self.tell(day(20), Scene::called_back(&after));
    }

    fn park_telemetry(&mut self) {
        for hour in 0..DAYS * PARK_READINGS_PER_DAY {
            let from = month_begins().plus_ms(hour * MS_PER_HOUR);
            // On the twelfth day the gateway was offline, and three of its messages never came.
            let number = hour + 1 + if hour < 12 * PARK_READINGS_PER_DAY { 0 } else { 3 };
            self.tell(from.plus_ms(MS_PER_HOUR), Scene::park(from, number.unsigned_abs()));
        }
    }
}

/// A UUIDv7 of the event's own time; the random bits come from the dice.
fn event_id(at: Timestamp, n: u64, dice: &mut Dice) -> Uuid {
    let mut random = [0u8; 10];
    random[..8].copy_from_slice(&dice.roll().to_be_bytes());
    random[8..].copy_from_slice(&(n as u16).to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(at.ms() as u64, &random).into_uuid()
}

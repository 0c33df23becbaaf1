//! A long, random life: load, erasures, checkpoints, backups and restores, older copies put back, kills
//! with everything unsynced taken away, flipped bits. After each run everything that was promised is looked
//! at.
//!
//! Never: an erased person readable, a key alive again, an acknowledged event missing without an alarm
//! that names it, two roots under one name. `CUSTODY_CAMPAIGN_SEED` and `CUSTODY_CAMPAIGN_RUNS` start
//! another, longer one; the seed of a failure is in its message.

#[path = "../support/mod.rs"]
mod support;

mod book;
mod harm;
mod house;

use house::House;

/// Runs of each of the campaigns in the test command; they go on side by side.
const RUNS: u64 = 102;
/// Runs after which a campaign moves to a new, empty house.
const LIFE: u64 = 17;

/// The seed and the number of runs.
fn wanted(seed: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    (
        number("CUSTODY_CAMPAIGN_SEED").map_or(seed, |more| more.wrapping_add(seed)),
        number("CUSTODY_CAMPAIGN_RUNS").unwrap_or(RUNS),
    )
}

fn campaign(seed: u64) {
    let (seed, runs) = wanted(seed);
    let mut done = house::Done::default();
    let mut at = 0;
    while at < runs {
        let mut house = House::new(seed.wrapping_mul(1_000).wrapping_add(at));
        for _ in 0..LIFE.min(runs - at) {
            house.run();
            at += 1;
        }
        done.add(&house.end());
    }
    eprintln!("seed {seed}, {runs} runs: {done:?}");
    // What other seeds choose, and what a shorter one comes to, is theirs.
    if std::env::var_os("CUSTODY_CAMPAIGN_SEED").is_none() && runs >= RUNS {
        done.assert_something_happened();
    }
}

#[test]
fn what_is_promised_holds_through_a_random_life() {
    campaign(1);
}

#[test]
fn and_through_another() {
    campaign(2);
}

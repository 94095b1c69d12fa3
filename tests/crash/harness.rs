//! How much, in which order, with which dice.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each test while it runs.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `quick`, or what the variable says, or `full` in the full form (`LARDER_CRASH=full`).
pub fn amount(variable: &str, quick: u64, full: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number, not `{text}`")),
        Err(_) if is_full() => full,
        Err(_) => quick,
    }
}

pub fn is_full() -> bool {
    std::env::var("LARDER_CRASH").is_ok_and(|form| form == "full")
}

/// Says that this machine cannot run `test`; in CI, which installs what is needed, that is a failure.
pub fn cannot_run(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {why}");
    println!("{test}: skipped: {why}");
}

/// A reproducible sequence (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// Seeded by `LARDER_CRASH_SEED` or else anew, and says so.
    pub fn new(test: &str) -> Dice {
        let seed = match std::env::var("LARDER_CRASH_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => uuid::Uuid::now_v7().as_u128() as u64,
        };
        println!("{test}: LARDER_CRASH_SEED={seed}");
        Dice(seed ^ xxhash_rust::xxh3::xxh3_64(test.as_bytes()))
    }

    /// 0 to `below`, exclusive.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

//! How fast a client must be.

use std::time::Duration;

use crate::config::{LimitsConfig, ServerConfig};

/// How many times faster clients must be while others wait for the room that they hold.
const SHORT_FACTOR: u32 = 8;
/// Over how long their speed is measured then.
const SHORT_WINDOW: Duration = Duration::from_secs(3);

/// What is expected of each client.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Bytes a second.
    pub rate: u32,
    /// Over how long.
    pub window: Duration,
}

impl Pace {
    pub fn new(server: &ServerConfig, limits: &LimitsConfig) -> Pace {
        let rate = u32::try_from(limits.min_rate_bytes.bytes()).unwrap_or(u32::MAX);
        Pace { rate, window: server.stall_timeout.std() }
    }

    /// What is expected while others wait.
    fn hurried(self) -> Pace {
        let window = self.window.min(SHORT_WINDOW);
        Pace { rate: self.rate.saturating_mul(SHORT_FACTOR), window }
    }
}

/// A client's speed. Only the time counts that it was waited for: what the node itself takes is not the client's fault.
#[derive(Debug, Default)]
pub struct Speed {
    waited: Duration,
    bytes: usize,
}

impl Speed {
    /// Adds what came (or went) after a wait; true where the client is too slow. `short` where others wait for room.
    pub fn is_too_slow(&mut self, waited: Duration, bytes: usize, pace: Pace, short: bool) -> bool {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        let pace = if short { pace.hurried() } else { pace };
        if self.waited < pace.window {
            return false;
        }
        let expected = f64::from(pace.rate) * self.waited.as_secs_f64();
        let slow = (self.bytes as f64) < expected;
        *self = Speed::default();
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 1000, window: Duration::from_secs(10) };
    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds a client is too slow that sends so many bytes in each.
    fn ends(bytes: usize, short: bool) -> Option<usize> {
        let mut speed = Speed::default();
        (1..100).find(|_| speed.is_too_slow(SECOND, bytes, PACE, short))
    }

    #[test]
    fn the_average_counts_and_not_before_the_window_is_over() {
        assert_eq!((ends(0, false), ends(999, false), ends(1000, false)), (Some(10), Some(10), None));
        assert_eq!((ends(7999, true), ends(8000, true)), (Some(3), None));
        let mut speed = Speed::default();
        let mut bursts = (1..100).map(|second| if second % 10 == 0 { 10_000 } else { 0 });
        assert!(!bursts.any(|bytes| speed.is_too_slow(SECOND, bytes, PACE, false)));
    }

    #[test]
    fn a_fast_beginning_is_forgotten_after_its_window() {
        let mut speed = Speed::default();
        assert!(!speed.is_too_slow(10 * SECOND, 1 << 30, PACE, false));
        assert!(speed.is_too_slow(10 * SECOND, 10, PACE, false));
    }
}

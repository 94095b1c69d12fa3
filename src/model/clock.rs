//! Where "now" comes from: the machine's clock, or a hand in tests.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::Timestamp;

/// A source of the current time. Cheap to clone; clones of a manual clock move together.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn system() -> Clock {
        Clock(Kind::System)
    }

    /// Stands still until [`Clock::set`].
    pub fn manual(now: Timestamp) -> Clock {
        Clock(Kind::Manual(Arc::new(AtomicI64::new(now.micros()))))
    }

    #[expect(clippy::disallowed_methods, reason = "this is where everyone else's time comes from")]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(match &self.0 {
            Kind::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
            },
            Kind::Manual(micros) => micros.load(Ordering::SeqCst),
        })
    }

    /// Moves a manual clock; the system's clock cannot be set.
    pub fn set(&self, now: Timestamp) {
        if let Kind::Manual(micros) = &self.0 {
            micros.store(now.micros(), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::System => "Clock(system)",
            Kind::Manual(_) => "Clock(manual)",
        })
    }
}

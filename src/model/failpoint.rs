//! Named places where the crash suite ends the process. Without the feature `failpoints` there is nothing here.

/// Where the process ends, when [`arm`] found this name.
#[inline]
pub fn reach(name: &str) {
    #[cfg(feature = "failpoints")]
    armed::reach(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

#[cfg(feature = "failpoints")]
pub use armed::arm;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    /// The place, at which passage of it the process ends, and how often it was passed.
    static ARMED: OnceLock<(String, u64, AtomicU64)> = OnceLock::new();

    /// Reads `LARDER_FAILPOINT=name:count`: the process aborts when it comes to that place for the count-th time.
    pub fn arm() -> Result<(), String> {
        let Ok(point) = std::env::var("LARDER_FAILPOINT") else { return Ok(()) };
        let (name, count) = point
            .split_once(':')
            .ok_or_else(|| format!("LARDER_FAILPOINT is `name:count`, not `{point}`"))?;
        let count =
            count.parse().map_err(|_| format!("LARDER_FAILPOINT: `{count}` is not a number of times"))?;
        ARMED.get_or_init(|| (name.to_owned(), count, AtomicU64::new(0)));
        Ok(())
    }

    pub fn reach(name: &str) {
        if let Some((armed, count, passed)) = ARMED.get()
            && armed == name
            && passed.fetch_add(1, Ordering::SeqCst) + 1 == *count
        {
            std::process::abort();
        }
    }
}

//! Named places where the crash suite ends the process. Without the feature `failpoints` there is nothing here.

/// Where the process ends, when [`arm`] found this name.
#[inline]
pub fn reach(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Reads `LARDER_FAILPOINT=name:count`: the process aborts when it comes to that place for the count-th time.
#[cfg(feature = "failpoints")]
pub fn arm() -> Result<(), String> {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let Ok(point) = std::env::var("LARDER_FAILPOINT") else { return Ok(()) };
    let (name, count) =
        point.split_once(':').ok_or_else(|| format!("LARDER_FAILPOINT is `name:count`, not `{point}`"))?;
    let count: usize =
        count.parse().map_err(|_| format!("LARDER_FAILPOINT: `{count}` is not a number of times"))?;
    let passed = AtomicUsize::new(0);
    fail::cfg_callback(name, move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == count {
            std::process::abort();
        }
    })
}

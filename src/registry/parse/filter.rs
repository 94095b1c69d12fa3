//! Filters of aggregations.

/// Bytes; far more than a condition needs.
const MAX_FILTER: usize = 4_096;

/// Whether `filter` may be kept as the condition that an event has to meet.
pub(super) fn check_filter(filter: &str) -> Result<(), String> {
    if filter.trim().is_empty() {
        return Err("`filter` is empty; leave it out to take all events".to_owned());
    }
    if filter.len() > MAX_FILTER {
        return Err(format!("`filter` has {} bytes; the most are {MAX_FILTER}", filter.len()));
    }
    Ok(())
}

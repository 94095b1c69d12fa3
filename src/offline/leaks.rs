//! Answers that rest on versions which nobody had yet at the time of the row that asks.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use crate::{
    compute::as_of::{Place, Spine},
    model::ACCEPTED_AT,
    offline::{
        AsOf, OfflineError,
        join::{choose, fetch},
    },
};

/// For how many rows of the spine the version chosen, a tombstone or one beyond its ttl included, was accepted after the
/// row's own time. To be asked with `by_then` false: otherwise there is none.
pub fn accepted_later(request: &AsOf<'_>) -> Result<u64, OfflineError> {
    let history = request.history;
    let wanted = history.layout.project(&history.schema, &[ACCEPTED_AT])?;
    let spine = Spine::new(request.keys.bytes, request.keys.offsets, request.times, request.lag);
    let chosen: Vec<Option<Place>> =
        choose(request, &spine)?.into_iter().map(|version| version.map(|version| version.place)).collect();
    let accepted = fetch(history, &wanted, &chosen)?;
    let accepted = accepted.column(0).as_primitive::<TimestampMicrosecondType>();
    let later = accepted.iter().zip(request.times).filter(|(at, t)| at.is_some_and(|at| at > **t));
    Ok(later.count() as u64)
}

//! Which versions answers rest on, and whether anyone had them yet at the time of the row that asks.

use arrow::{array::AsArray, datatypes::TimestampMicrosecondType};

use crate::{
    compute::as_of::{Place, Spine, Version},
    model::ACCEPTED_AT,
    offline::{
        AsOf, OfflineError,
        join::{choose, fetch},
    },
};

/// A version that answers a row of a spine, and when it was accepted (microseconds).
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    pub version: Version,
    pub accepted_at: i64,
}

/// For each row of the spine the version chosen, a tombstone or one beyond its ttl included.
pub fn chosen(request: &AsOf<'_>) -> Result<Vec<Option<Chosen>>, OfflineError> {
    let history = request.history;
    let wanted = history.layout.project(&history.schema, &[ACCEPTED_AT])?;
    let spine = Spine::new(request.keys.bytes, request.keys.offsets, request.times, request.lag);
    let versions = choose(request, &spine)?;
    let places: Vec<Option<Place>> = versions.iter().map(|version| version.map(|it| it.place)).collect();
    let accepted = fetch(history, &wanted, &places)?;
    let accepted = accepted.column(0).as_primitive::<TimestampMicrosecondType>();
    let chosen = versions.into_iter().zip(accepted);
    Ok(chosen.map(|(version, at)| Some(Chosen { version: version?, accepted_at: at? })).collect())
}

/// For how many rows of the spine the version chosen was accepted after the row's own time. To be asked with `by_then`
/// false: otherwise there is none.
pub fn accepted_later(request: &AsOf<'_>) -> Result<u64, OfflineError> {
    let chosen = chosen(request)?;
    let later = chosen.iter().zip(request.times).filter(|(it, t)| it.is_some_and(|it| it.accepted_at > **t));
    Ok(later.count() as u64)
}

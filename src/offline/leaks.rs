//! Which versions answers rest on, and whether anyone had them yet at the time of the row that asks.

use arrow::{
    array::{Array, AsArray},
    datatypes::TimestampMicrosecondType,
};

use crate::{
    compute::as_of::Version,
    model::ACCEPTED_AT,
    offline::{AsOf, ByteBudget, OfflineError, choose::choose, fetch::Places, join::sweeps},
};

/// A version that answers a row of a spine, and when it was accepted (microseconds).
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    pub version: Version,
    pub accepted_at: i64,
}

/// For each row of the spine the version chosen, a tombstone or one beyond its ttl included.
pub fn chosen(request: &AsOf<'_>) -> Result<Vec<Option<Chosen>>, OfflineError> {
    let mut of_rows = vec![None; request.spine.rows()];
    for ((row, _), chosen) in request.spine.questions().zip(by_question(request)?) {
        of_rows[row] = chosen;
    }
    Ok(of_rows)
}

/// For how many rows of the spine the version chosen was accepted after the row's own time. To be asked with `by_then`
/// false: otherwise there is none.
pub fn accepted_later(request: &AsOf<'_>) -> Result<u64, OfflineError> {
    let chosen = by_question(request)?;
    let later = (request.spine.questions().zip(&chosen))
        .filter(|((_, time), chosen)| chosen.is_some_and(|chosen| chosen.accepted_at > *time));
    Ok(later.count() as u64)
}

fn by_question(request: &AsOf<'_>) -> Result<Vec<Option<Chosen>>, OfflineError> {
    let (history, spine) = (request.history, request.spine);
    let wanted = history.layout.project(&history.schema, &[ACCEPTED_AT])?;
    let versions = choose(request, sweeps(request))?;
    let places = Places::of(history, spine, versions.iter().map(|version| version.map(|it| it.place)))?;
    let accepted = places.fetch(&wanted, ByteBudget::unlimited())?;
    let accepted = accepted.column(0).as_primitive::<TimestampMicrosecondType>();
    let chosen = spine.questions().zip(versions).map(|((row, _), version)| {
        let accepted_at = accepted.is_valid(row).then(|| accepted.value(row))?;
        Some(Chosen { version: version?, accepted_at })
    });
    Ok(chosen.collect())
}

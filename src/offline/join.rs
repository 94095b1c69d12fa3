//! The point-in-time join of a table's history to a spine.
//!
//! Two passes: the first chooses a version for each row of the spine, the second reads the wanted columns of the versions
//! chosen. Memory follows the spine, not the history.

use arrow::{
    array::{Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::SchemaRef,
};

use crate::{
    compute::as_of::{Outcome, Spine, Version, judge},
    offline::{ByteBudget, History, OfflineError, choose::choose, fetch::Places, parallel::map_in_parallel},
};

/// Questions that all sweeps of a request together hold (32 bytes each), beyond those of one.
const MOST_SLOTS: usize = 1 << 24;

/// Encoded entity keys, one for each spine row, as `model::encode_keys` gives them: row `i` is
/// `bytes[offsets[i]..offsets[i + 1]]`; an empty one has no value.
#[derive(Clone, Copy)]
pub struct SpineKeys<'a> {
    pub bytes: &'a [u8],
    pub offsets: &'a [u32],
}

/// A point-in-time question for every row of a spine.
#[derive(Clone, Copy)]
pub struct AsOf<'a> {
    pub history: &'a History,
    pub spine: &'a Spine,
    /// Versions older than this (microseconds) at a row's time are not used.
    pub ttl: Option<i64>,
    /// Versions accepted later (microseconds) are not seen.
    pub known_at: Option<i64>,
    /// Nor those accepted after the time of the row that asks.
    pub by_then: bool,
    /// Wanted columns of the table.
    pub columns: &'a [&'a str],
    /// Bytes that the wanted strings, lists and vectors may come to for all rows of the spine; several joins may share it.
    pub budget: &'a ByteBudget,
}

impl AsOf<'_> {
    fn wanted(&self) -> Result<SchemaRef, OfflineError> {
        self.history.layout.project(&self.history.schema, self.columns)
    }

    /// The outcome of each question, of which `newest` are the versions.
    fn outcomes<'n>(
        &self,
        newest: &'n [Option<Version>],
    ) -> impl Iterator<Item = Outcome> + Clone + use<'_, 'n> {
        let questions = self.spine.questions().zip(newest);
        questions.map(|((_, time), version)| judge(version.as_ref(), time, self.ttl))
    }

    /// The values of the versions that are within the ttl and no tombstones.
    fn features(&self, newest: Vec<Option<Version>>) -> Result<RecordBatch, OfflineError> {
        let present = newest.iter().zip(self.outcomes(&newest)).map(|(version, outcome)| {
            version.filter(|_| outcome == Outcome::Present).map(|version| version.place)
        });
        let places = Places::of(self.history, self.spine, present)?;
        drop(newest);
        places.fetch(&self.wanted()?, self.budget)
    }
}

/// The questions of each of `keys` at `times`, put in order.
pub fn spines(keys: &[SpineKeys<'_>], times: &[i64]) -> Result<Vec<Spine>, OfflineError> {
    map_in_parallel(keys, usize::MAX, |keys| Ok(Spine::new(keys.bytes, keys.offsets, times, 0)))
}

/// One answer for each spine row, in the spine's order.
pub struct AsOfResult {
    /// The wanted columns; null where the outcome is not [`Outcome::Present`].
    pub features: RecordBatch,
    /// The event time of the version, also of a tombstone; null where there is none.
    pub event_times: TimestampMicrosecondArray,
    pub outcomes: Vec<Outcome>,
}

/// For each spine row the values of the newest version at its time.
pub fn as_of_join(request: &AsOf<'_>) -> Result<AsOfResult, OfflineError> {
    request.wanted()?;
    let newest = choose(request, sweeps(request))?;
    let rows = request.spine.rows();
    let (mut outcomes, mut event_times) = (vec![Outcome::NotFound; rows], vec![None; rows]);
    let answers = newest.iter().zip(request.outcomes(&newest));
    for ((row, _), (version, outcome)) in request.spine.questions().zip(answers) {
        outcomes[row] = outcome;
        event_times[row] = version.map(|version| version.event_time);
    }
    let event_times = Int64Array::from(event_times).reinterpret_cast().with_timezone("UTC");
    Ok(AsOfResult { features: request.features(newest)?, event_times, outcomes })
}

/// The features of [`as_of_join`] for each of `requests`, which are joined side by side.
pub fn as_of_joins(requests: &[AsOf<'_>]) -> Result<Vec<RecordBatch>, OfflineError> {
    let sweeps = requests.iter().map(sweeps).min().unwrap_or(1);
    let at_a_time = sweeps.min(requests.len()).max(1);
    map_in_parallel(requests, at_a_time, |request| {
        request.wanted()?;
        request.features(choose(request, sweeps / at_a_time)?)
    })
}

/// How many sweeps there may be at a time.
pub(super) fn sweeps(request: &AsOf<'_>) -> usize {
    MOST_SLOTS / request.spine.rows().max(1) + 1
}

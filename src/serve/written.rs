//! Features of views whose rows are written, at the times of a spine, from their histories.

use arrow::array::ArrayRef;

use crate::{
    compute::as_of::Spine,
    model::{Duration, Timestamp},
    offline::{AsOf, ByteBudget, History, SpineKeys, accepted_later, as_of_joins, spines},
    registry::{Feature, Group},
    serve::{
        Reads, ServeError, TrainingRequest, guard::Leaks, spine_columns::spine_keys, training::finished,
    },
};

/// What is asked of one view.
pub(super) struct Asked<'a> {
    pub group: &'a Group,
    /// The group's place among those of the request.
    pub number: usize,
    /// Features of the view.
    pub features: Vec<usize>,
}

impl Asked<'_> {
    fn definitions(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().map(|feature| &self.group.view.features[*feature])
    }
}

/// For each of `asked` a column for each of its features, as long as the spine.
pub(super) fn join(
    reads: &Reads,
    asked: &[Asked<'_>],
    times: &[i64],
    request: &TrainingRequest,
    budget: &ByteBudget,
    leaks: &Leaks,
) -> Result<Vec<Vec<ArrayRef>>, ServeError> {
    let (spines, spine_of) = questions(asked, times, request)?;
    let (mut histories, mut names): (Vec<History>, Vec<Vec<&str>>) = (Vec::new(), Vec::new());
    for one in asked {
        histories.push(reads.table_history(&one.group.view.schema, request.until.as_deref())?);
        names.push(one.definitions().map(|definition| definition.name.as_str()).collect());
    }
    let mut joins = Vec::with_capacity(asked.len());
    for (at, one) in asked.iter().enumerate() {
        let join = AsOf {
            history: &histories[at],
            spine: &spines[spine_of[at]],
            ttl: one.group.view.ttl.map(Duration::micros),
            known_at: request.known_at.map(Timestamp::micros),
            by_then: request.guard.excludes(),
            columns: &names[at],
            budget,
        };
        if !request.guard.is_off() {
            let later = match request.guard.counts_acceptance() {
                true => accepted_later(&AsOf { by_then: false, ..join })?,
                false => 0,
            };
            // What is written directly has no lag.
            one.features.iter().for_each(|feature| leaks.add(one.number, *feature, 0, later));
        }
        joins.push(join);
    }
    let joined = as_of_joins(&joins)?;
    let columns = asked.iter().zip(joined).map(|(one, features)| {
        let columns = one.definitions().zip(features.columns());
        columns.map(|(definition, column)| finished(column, definition, budget)).collect()
    });
    columns.collect()
}

/// The spine's questions, put in order once for all views that are keyed by the same columns (a column has the same type for
/// all of them); and for each of `asked` which of them it asks.
fn questions(
    asked: &[Asked<'_>],
    times: &[i64],
    request: &TrainingRequest,
) -> Result<(Vec<Spine>, Vec<usize>), ServeError> {
    let (mut entities, mut keys, mut spine_of) = (Vec::<&[String]>::new(), Vec::new(), Vec::new());
    for Asked { group, .. } in asked {
        if !group.view.offline {
            return Err(ServeError::Invalid(format!(
                "the view `{}` keeps no history (offline = false), so it cannot be part of a training set",
                group.view.name
            )));
        }
        let known = entities.iter().position(|columns| *columns == group.key_columns);
        spine_of.push(known.unwrap_or(entities.len()));
        if known.is_none() {
            keys.push(spine_keys(group, &request.spine)?);
            entities.push(&group.key_columns);
        }
    }
    let keys: Vec<SpineKeys<'_>> = keys.iter().map(|(bytes, offsets)| SpineKeys { bytes, offsets }).collect();
    Ok((spines(&keys, times)?, spine_of))
}

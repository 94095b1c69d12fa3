//! Retention: events go by their time; of a feature view's versions those go that no read from the horizon on can see
//! ([`crate::compute::retention`]), so that a training set never forgets what the online store still serves.
//!
//! A version is found to be superseded when it is merged with the next one of its entity. Segments whose rows are all older
//! than the horizon, and only those, are merged with one another for it: each once on its own, then in tiers, so that a row
//! is rewritten a logarithmic number of times and what is superseded is a fraction of what is kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use crate::{
    compute::retention::Horizon,
    model::TableKind,
    offline::{
        OfflineError, Table,
        compact::{GROWTH, MAX_INPUTS},
        segment::Segment,
        segment_write::Staged,
    },
};

impl Table {
    /// Drops what the horizon forgets: whole segments at once, and rows as segments are merged, some of them now. To be called
    /// from time to time. Returns how many rows went.
    pub fn expire(&self, horizon: Horizon) -> Result<u64, OfflineError> {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let horizon = horizon.later(maintenance.horizon);
        maintenance.horizon = Some(horizon);
        let is_gone = |segment: &&Arc<Segment>| {
            segment.event_time.is_some_and(|(_, latest)| match self.kind {
                TableKind::Source => latest < horizon.time,
                _ => horizon.expires(latest),
            })
        };
        let gone: Vec<_> = self.snapshot().segments.iter().filter(is_gone).cloned().collect();
        let mut dropped = gone.iter().map(|segment| segment.rows).sum();
        if !gone.is_empty() {
            self.replace("DELETE", &gone, Staged::default(), Vec::new(), true)?;
            maintenance.retire(gone);
        }
        if self.kind != TableKind::Source {
            let before = self.snapshot();
            let inputs = choose(&before.segments, horizon.time);
            if !inputs.is_empty() {
                dropped += self.merge(&mut maintenance, &before, inputs)?.dropped;
            }
        }
        Ok(dropped)
    }
}

/// Segments that were written without what one horizon forgets: merged with one another they come to the same. One that was
/// not is by itself.
struct Tier {
    rows: u64,
    is_settled: bool,
    segments: Vec<Arc<Segment>>,
}

/// The segments to merge, of those whose versions are all older than `horizon`; none where it would bring little.
fn choose(segments: &[Arc<Segment>], horizon: i64) -> Vec<Arc<Segment>> {
    let (mut settled, mut tiers) = (BTreeMap::<i64, Vec<Arc<Segment>>>::new(), Vec::new());
    for segment in segments {
        let Some((_, latest)) = segment.event_time.filter(|(_, latest)| *latest <= horizon) else { continue };
        match segment.horizon.filter(|at| *at >= latest) {
            Some(at) => settled.entry(at).or_default().push(Arc::clone(segment)),
            None => tiers.push(Tier {
                rows: segment.rows,
                is_settled: false,
                segments: vec![Arc::clone(segment)],
            }),
        }
    }
    tiers.extend(settled.into_values().map(|segments| Tier {
        rows: segments.iter().map(|segment| segment.rows).sum(),
        is_settled: true,
        segments,
    }));
    tiers.sort_by_key(|tier| tier.rows);
    // One that has to be merged takes those with it that are smaller: they are little work.
    let mut chosen = tiers.iter().rposition(|tier| !tier.is_settled).map_or(0, |last| last + 1);
    let mut rows = 0;
    for (number, tier) in tiers.iter().enumerate() {
        if number > 0 && tier.rows <= rows * GROWTH {
            chosen = chosen.max(number + 1);
        }
        rows += tier.rows;
    }
    let chosen = tiers.into_iter().take(chosen);
    let (settled, unsettled): (Vec<Tier>, Vec<Tier>) = chosen.partition(|tier| tier.is_settled);
    let of = |tiers: Vec<Tier>| tiers.into_iter().flat_map(|tier| tier.segments);
    let (settled, unsettled) = (of(settled).collect::<Vec<_>>(), of(unsettled).collect::<Vec<_>>());
    if unsettled.is_empty() && settled.len() > MAX_INPUTS {
        // Part of them might be of one tier, and be merged again and again to no end.
        return Vec::new();
    }
    unsettled.into_iter().chain(settled).take(MAX_INPUTS).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::offline::{stats::Bounds, tags::Tags};

    /// Rows, latest event time, and the horizon that it was written with.
    fn chosen(segments: &[(u64, i64, Option<i64>)]) -> Vec<u64> {
        let segment = |(rows, latest, horizon): &(u64, i64, Option<i64>)| {
            let bounds = Bounds { rows: Some(*rows), event_time: Some((0, *latest)), seq: None };
            let tags = Tags { horizon: *horizon, ..Tags::default() };
            Arc::new(Segment::new(Path::new("/"), rows.to_string(), 1, bounds, &tags, None))
        };
        let segments: Vec<_> = segments.iter().map(segment).collect();
        let mut rows: Vec<u64> = choose(&segments, 100).iter().map(|segment| segment.rows).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn old_segments_are_merged_once_and_then_in_tiers() {
        // Newer rows are among them.
        assert!(chosen(&[(10, 101, None), (10, 200, Some(100))]).is_empty());
        assert_eq!(chosen(&[(10, 90, None)]), [10]);
        // Written with a horizon before its newest row.
        assert_eq!(chosen(&[(10, 90, Some(80))]), [10]);
        // Settled; also where one merge had to write several.
        assert!(chosen(&[(10, 90, Some(95))]).is_empty());
        assert!(chosen(&[(10, 90, Some(95)), (10, 90, Some(95))]).is_empty());
        assert_eq!(chosen(&[(1000, 50, Some(60)), (10, 90, None)]), [10]);
        assert_eq!(chosen(&[(1000, 50, Some(60)), (300, 90, None)]), [300, 1000]);
        assert_eq!(chosen(&[(10, 50, Some(60)), (11, 90, Some(95))]), [10, 11]);
        assert_eq!(chosen(&[(10, 50, Some(60)), (1000, 90, None)]), [10, 1000]);
        // More than can be merged at a time: what was not merged yet comes first, the rest stays.
        let many: Vec<_> = (0..50).map(|at| (100, 50, Some(60 + at % 2))).collect();
        assert!(chosen(&many).is_empty());
        let with_new: Vec<_> = many.iter().copied().chain([(2000, 90, None)]).collect();
        assert_eq!((chosen(&with_new).len(), chosen(&with_new).last()), (MAX_INPUTS, Some(&2000)));
        // What one merge wrote counts as a whole.
        assert!(chosen(&[(500, 50, Some(60)), (500, 50, Some(60)), (200, 90, Some(95))]).is_empty());
    }
}

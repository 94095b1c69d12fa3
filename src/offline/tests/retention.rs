//! Retention against the rule without it: whoever reads from the horizon on cannot tell that anything went.

use super::*;
use crate::{
    compute::{
        as_of::{Outcome, Spine},
        retention::Horizon,
    },
    model::encode_keys,
    offline::{AsOf, ByteBudget, NoTail, Visible, as_of_join},
};

fn horizon(time: i64) -> Horizon {
    Horizon { time, ttl: None }
}

fn version(key: &str, time: i64, accepted: i64, x: i32) -> Row {
    Row { key: (key.into(), 0), time, accepted, x: Some(x), deleted: false }
}

/// The value of each key at `time`, from the table.
fn values(
    history: &History,
    keys: &[(String, i64)],
    time: i64,
    ttl: Option<i64>,
    known_at: i64,
    by_then: bool,
) -> Vec<Option<f64>> {
    let columns: [(&str, ArrayRef); 2] = [
        ("name", Arc::new(StringArray::from_iter_values(keys.iter().map(|key| &key.0)))),
        ("n", Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| key.1)))),
    ];
    let (bytes, offsets) = encode_keys(&RecordBatch::try_from_iter(columns).unwrap(), &[0, 1], |_, _| {});
    let spine = Spine::new(&bytes, &offsets, &vec![time; keys.len()], 0);
    let known_at = Some(known_at);
    let result = as_of_join(&AsOf {
        history,
        spine: &spine,
        ttl,
        known_at,
        by_then,
        columns: &["x"],
        budget: ByteBudget::unlimited(),
    })
    .unwrap();
    let x = arrow::compute::cast(result.features.column(0), &Arrow::Float64).unwrap();
    let x = x.as_primitive::<Float64Type>().iter();
    x.zip(result.outcomes).map(|(x, outcome)| x.filter(|_| outcome == Outcome::Present)).collect()
}

/// The same, of all rows that ever were.
fn naive(rows: &[Row], key: &(String, i64), time: i64, ttl: Option<i64>, known_at: i64) -> Option<f64> {
    let seen = |(_, row): &(usize, &Row)| row.key == *key && row.time <= time && row.accepted <= known_at;
    let (_, newest) = rows.iter().enumerate().filter(seen).max_by_key(|(seq, row)| (row.time, *seq))?;
    let within = ttl.is_none_or(|ttl| time - newest.time <= ttl);
    newest.x.filter(|_| within && !newest.deleted).map(f64::from)
}

fn latest(history: &History, until: i64) -> Vec<((String, i64), Option<f64>)> {
    let visible = Visible { until, ..Visible::ALL };
    let mut found = Vec::new();
    for batch in history.latest(&["name", "n", "x"], visible).unwrap() {
        let batch = batch.unwrap();
        let x = arrow::compute::cast(batch.column(2), &Arrow::Float64).unwrap();
        for row in 0..batch.num_rows() {
            let name = batch.column(0).as_string::<i32>().value(row).to_owned();
            let n = batch.column(1).as_primitive::<Int64Type>().value(row);
            found.push(((name, n), x.as_primitive::<Float64Type>().iter().nth(row).unwrap()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn reads_from_the_horizon_on_are_those_of_all_rows(
        rows in prop::collection::vec(row(), 1..70),
        steps in prop::collection::vec((0..70usize, -25..25i64, any::<bool>()), 1..6),
        ttl in prop::option::of(0..15i64),
        longer in prop::option::of(0..10i64),
        by_then: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (table, v1) = (open(dir.path()), schema(1));
        // Another version of the view may have a longer ttl, or none.
        let longest = ttl.zip(longer).map(|(ttl, more)| ttl + more);
        let (mut sealed, mut last) = (0, i64::MIN);
        let mut append = |to: usize| {
            table.append(&v1, vec![batch(&v1, &rows[sealed..to], sealed as u64)], to as u64).unwrap();
            sealed = to;
        };
        let mut steps = steps;
        steps.sort_unstable();
        for (to, time, compact) in steps {
            append(to.min(rows.len()));
            last = last.max(time);
            table.expire(Horizon { time, ttl: longest }).unwrap();
            if compact {
                table.compact().unwrap();
            }
        }
        append(rows.len());
        let history = History::open(&table, &NoTail, &v1).unwrap();
        let mut keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        for time in [last, last + 1, last + 7, last + 30] {
            for known_at in [last.max(0), last + 10, i64::MAX] {
                let known = if by_then { known_at.min(time) } else { known_at };
                let expected: Vec<_> = keys.iter().map(|key| naive(&rows, key, time, ttl, known)).collect();
                prop_assert_eq!(values(&history, &keys, time, ttl, known_at, by_then), expected);
            }
            if longest.is_none() {
                let newest = |key: &(String, i64)| {
                    let of_key = rows.iter().enumerate().filter(|(_, row)| row.key == *key && row.time <= time);
                    let (_, newest) = of_key.max_by_key(|(seq, row)| (row.time, *seq))?;
                    (!newest.deleted).then(|| (key.clone(), newest.x.map(f64::from)))
                };
                prop_assert_eq!(latest(&history, time), keys.iter().filter_map(newest).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn the_version_that_counts_stays_and_those_before_it_go() {
    let dir = tempfile::tempdir().unwrap();
    let (table, v1) = (open(dir.path()), schema(1));
    let mut all: Vec<Row> = (0..10).map(|time| version("k", time, time, time as i32)).collect();
    all.push(version("other", 3, 10, 4711));
    table.append(&v1, vec![batch(&v1, &all[..5], 0)], 5).unwrap();
    table.append(&v1, vec![batch(&v1, &all[5..], 5)], 11).unwrap();
    // Of the first segment all but the newest; the second is not all old yet.
    assert_eq!(table.expire(horizon(6)).unwrap(), 4);
    assert_eq!(table.expire(horizon(6)).unwrap(), 0, "done once");
    let seqs = || -> Vec<i64> {
        contents(&History::open(&table, &NoTail, &v1).unwrap()).iter().map(|row| row.0).collect()
    };
    assert_eq!(seqs(), [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(table.expire(horizon(100)).unwrap(), 5);
    assert_eq!(seqs(), [9, 10]);
    assert_eq!(table.expire(horizon(1_000_000)).unwrap(), 0);
    assert_eq!(seqs(), [9, 10]);
    // Every version has a ttl, and it has passed.
    assert_eq!(table.expire(Horizon { time: 2_000_000, ttl: Some(5) }).unwrap(), 2);
    assert_eq!(seqs(), [] as [i64; 0]);
    assert_eq!((open(dir.path()).sealed_seq(), table.sealed_seq()), (11, 11));
}

#[test]
fn an_older_version_that_comes_late_does_not_count_after_a_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let (table, v1) = (open(dir.path()), schema(1));
    let all = [
        version("k", 1, 1, 1),
        Row { x: None, deleted: true, ..version("k", 5, 5, 0) },
        version("k", 3, 50, 3),
    ];
    table.append(&v1, vec![batch(&v1, &all[..2], 0)], 2).unwrap();
    assert_eq!(table.expire(horizon(40)).unwrap(), 1);
    table.append(&v1, vec![batch(&v1, &all[2..], 2)], 3).unwrap();
    let history = History::open(&table, &NoTail, &v1).unwrap();
    assert_eq!(values(&history, &[("k".into(), 0)], 60, None, i64::MAX, false), [None]);
}

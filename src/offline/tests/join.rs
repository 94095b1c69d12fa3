//! The whole join against the rule, however the rows are spread over segments and tail.

use super::*;
use crate::{
    compute::as_of::{Outcome, Spine},
    model::encode_keys,
    offline::{AsOf, ByteBudget, as_of_join, as_of_joins},
};

#[derive(Debug, Clone)]
struct Question {
    /// None: null.
    key: Option<(String, i64)>,
    time: i64,
}

fn question() -> impl Strategy<Value = Question> {
    (prop::option::weighted(0.9, 0..5usize), 0..2i64, -25..25i64).prop_map(|(name, n, time)| Question {
        key: name.map(|name| (["", "a", "b", "a\0", "none"][name].to_owned(), n)),
        time,
    })
}

struct Limits {
    ttl: Option<i64>,
    lag: i64,
    known_at: Option<i64>,
    /// Rows with this seq or a higher one do not exist.
    until: Option<u64>,
    by_then: bool,
}

/// The rule, word for word: outcome, `x`, event time.
fn naive(rows: &[Row], question: &Question, limits: &Limits) -> (Outcome, Option<f64>, Option<i64>) {
    let newest = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| Some(&row.key) == question.key.as_ref())
        .filter(|(_, row)| row.time + limits.lag <= question.time)
        .filter(|(_, row)| limits.known_at.is_none_or(|k| row.accepted <= k))
        .filter(|(seq, _)| limits.until.is_none_or(|until| (*seq as u64) < until))
        .filter(|(_, row)| !limits.by_then || row.accepted <= question.time)
        .max_by_key(|(seq, row)| (row.time, *seq));
    match newest {
        None => (Outcome::NotFound, None, None),
        Some((_, row)) if row.deleted => (Outcome::NotFound, None, Some(row.time)),
        Some((_, row)) if limits.ttl.is_some_and(|ttl| question.time - row.time > ttl) => {
            (Outcome::OutsideMaxAge, None, Some(row.time))
        }
        Some((_, row)) => (Outcome::Present, row.x.map(f64::from), Some(row.time)),
    }
}

fn ask(
    history: &History,
    questions: &[Question],
    limits: &Limits,
) -> Vec<(Outcome, Option<f64>, Option<i64>)> {
    let keys = RecordBatch::try_from_iter([
        (
            "name",
            Arc::new(questions.iter().map(|q| q.key.as_ref().map(|k| k.0.as_str())).collect::<StringArray>())
                as ArrayRef,
        ),
        ("n", Arc::new(questions.iter().map(|q| q.key.as_ref().map(|k| k.1)).collect::<Int64Array>())),
    ])
    .unwrap();
    let (bytes, offsets) = encode_keys(&keys, &[0, 1], |_, _| {});
    let times: Vec<i64> = questions.iter().map(|q| q.time).collect();
    let request = AsOf {
        history,
        spine: &Spine::new(&bytes, &offsets, &times, limits.lag),
        ttl: limits.ttl,
        known_at: limits.known_at,
        by_then: limits.by_then,
        columns: &["x", "y"],
        budget: ByteBudget::unlimited(),
    };
    let result = as_of_join(&request).unwrap();
    let others = [AsOf { ttl: None, columns: &["y"], ..request }, AsOf { columns: &[], ..request }, request];
    let alone = others.map(|other| as_of_join(&other).unwrap().features);
    assert_eq!(as_of_joins(&others).unwrap(), alone, "side by side");
    assert_eq!(result.features.num_rows(), questions.len());
    let x = result.features.column(0).as_primitive::<Float64Type>();
    let answers = result.outcomes.iter().zip(x).zip(&result.event_times);
    answers.map(|((&outcome, x), time)| (outcome, x, time)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_spread_over_segments_and_tail_gives_the_naive_answers(
        rows in prop::collection::vec(row(), 0..70),
        questions in prop::collection::vec(question(), 0..30),
        cuts in prop::collection::vec(0..70usize, 0..5),
        compact_after in 0..5usize,
        ttl in prop::option::of(0..15i64),
        lag in 0..4i64,
        known_at in prop::option::of(0..30i64),
        until in prop::option::of(0..70u64),
        by_then: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let table = open(dir.path());
        let outbox = Outbox::default();
        let (v1, v2) = (schema(1), schema(2));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.sort_unstable();
        let mut sealed = 0;
        for (number, &cut) in cuts.iter().enumerate() {
            table.append(&v1, vec![batch(&v1, &rows[sealed..cut], sealed as u64)], cut as u64).unwrap();
            sealed = cut;
            if number == compact_after {
                table.compact().unwrap();
            }
        }
        // The tail: some of it written with version 1, the rest with version 2.
        let middle = (sealed + rows.len()) / 2;
        outbox.push(batch(&v1, &rows[sealed..middle], sealed as u64));
        outbox.push(batch(&v2, &rows[middle..], middle as u64));

        let limits = Limits { ttl, lag, known_at, until, by_then };
        let mut history = History::open(&table, &outbox, &v2).unwrap();
        if let Some(until) = until {
            history = history.until(until).unwrap();
        }
        let below = until.map_or(rows.len(), |until| rows.len().min(until as usize));
        prop_assert_eq!(history.counted().unwrap(), below as u64);
        let answers = ask(&history, &questions, &limits);
        for (question, answer) in questions.iter().zip(answers) {
            prop_assert_eq!(answer, naive(&rows, question, &limits), "{:?}", question);
        }
    }
}

/// Segments of the other tests have a dozen rows: of these whole blocks are left out, others read for one row.
#[test]
fn few_or_many_rows_of_large_segments_are_the_ones_chosen() {
    const ENTITIES: i64 = 6000;
    let dir = tempfile::tempdir().unwrap();
    let large = OfflineOptions { segment_rows: 5000, row_group_rows: 1500, page_rows: 200, ..options() };
    let table = OfflineStore::open(dir.path(), large).unwrap().table(&schema(2)).unwrap();
    let row = |time: i64, n: i64| Row {
        key: ("a".into(), n),
        time,
        accepted: 0,
        x: (n % 11 != 0).then_some((n * 2 + time) as i32),
        deleted: n % 13 == 0,
    };
    let rows: Vec<Row> = (0..3).flat_map(|time| (0..ENTITIES).map(move |n| row(time, n))).collect();
    let sealed = rows.len() - 2000;
    table.append(&schema(2), vec![batch(&schema(2), &rows[..sealed], 0)], sealed as u64).unwrap();
    let outbox = Outbox::default();
    outbox.push(batch(&schema(2), &rows[sealed..], sealed as u64));
    let history = History::open(&table, &outbox, &schema(2)).unwrap();
    let limits = Limits { ttl: None, lag: 0, known_at: None, until: None, by_then: false };
    // Every 1,501st entity is in few blocks; every third in all; the first and the last hundred in the outermost.
    let ends: Vec<i64> = (0..100).chain(ENTITIES - 100..ENTITIES).collect();
    let steps = |step: usize| (0..ENTITIES).step_by(step).collect::<Vec<_>>();
    for asked in [steps(1501), steps(3), ends, vec![ENTITIES - 1]] {
        for time in 0..3 {
            let questions: Vec<Question> =
                asked.iter().map(|&n| Question { key: Some(("a".into(), n)), time }).collect();
            let answers = ask(&history, &questions, &limits);
            for (&n, answer) in asked.iter().zip(answers) {
                assert_eq!(
                    answer,
                    naive(&[row(time, n)], &Question { key: Some(("a".into(), n)), time }, &limits)
                );
            }
        }
    }
}

#[test]
fn a_column_that_no_segment_has_is_null_and_an_unknown_one_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let table = open(dir.path());
    let rows = [Row { key: ("a".into(), 0), time: 0, accepted: 0, x: Some(1), deleted: false }];
    table.append(&schema(1), vec![batch(&schema(1), &rows, 0)], 1).unwrap();
    let history = History::open(&table, &Outbox::default(), &schema(2)).unwrap();
    let mut bytes = b"a\0\0".to_vec();
    bytes.extend_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0]);
    let spine = Spine::new(&bytes, &[0, 11], &[0], 0);
    let request = |columns| AsOf {
        history: &history,
        spine: &spine,
        ttl: Some(0),
        known_at: None,
        by_then: false,
        columns,
        budget: ByteBudget::unlimited(),
    };
    let result = as_of_join(&request(&["y"])).unwrap();
    assert_eq!(result.outcomes, [Outcome::Present]);
    assert!(result.features.column(0).is_null(0));
    let nothing = as_of_join(&request(&[])).unwrap();
    assert_eq!((nothing.features.num_rows(), nothing.features.num_columns()), (1, 0));
    assert!(as_of_join(&request(&["z"])).is_err());
}

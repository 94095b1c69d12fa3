//! Sliding, putting tiles together, and the contract: one answer.

use super::{
    naive::{Expected, answer, covered},
    *,
};
use crate::window::{Output, slide};

fn sorted_moments() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(prop_oneof![time(), time().prop_map(|t| t + 20_000 * MINUTE)], 1..12).prop_map(
        |mut moments| {
            moments.sort_unstable();
            moments
        },
    )
}

fn matches(expected: &Expected, got: &Output) -> bool {
    match (expected, got) {
        (Expected::Bits(expected), got) => expected == got,
        (Expected::Close(expected, _), Output::Float(got)) if expected == got => true,
        (Expected::Close(expected, within), Output::Float(got)) => {
            (got - expected).abs() <= within * expected.abs()
                || (expected.abs() < 1e-290 && got.abs() < 1e-288)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn sliding_gives_what_the_contract_says(
        (class, rows) in case(),
        window in window(),
        lag in prop_oneof![3 => Just(0), 1 => 0..10 * MINUTE],
        moments in sorted_moments(),
    ) {
        let columns = Columns::of(&rows);
        let length = window.length().map_or(0, Duration::micros);
        for function in functions(class) {
            let mut given = 0;
            let mut problem = None;
            slide(function, window, lag, &columns.series(class), &moments, |moment, output| {
                let t = moments[moment];
                let events = covered(&rows, window.mode(), length, t, lag);
                if !matches(&answer(function, class, &events, t), &output) {
                    problem.get_or_insert((t, events.len(), output.clone()));
                }
                // The state of the same events, added in order of arrival, gives the same bits.
                let arrived = events.iter().map(|&(seq, row)| (seq, row)).rev();
                let state = state_of(StateKind::of(function, Some(class)), arrived);
                if state.finish(function, t) != output {
                    problem.get_or_insert((t, usize::MAX, output));
                }
                given += 1;
            });
            prop_assert_eq!(&problem, &None, "{:?} over {:?}", function, window);
            prop_assert_eq!(given, moments.len());
        }
    }

    #[test]
    fn tiles_put_together_give_the_same_bits(
        (class, rows) in case(),
        window in window(),
        moments in sorted_moments(),
        backwards: bool,
    ) {
        let columns = Columns::of(&rows);
        let tile = window.tile().unwrap_or(11 * MINUTE);
        for function in functions(class) {
            let kind = StateKind::of(function, Some(class));
            let mut tiles = std::collections::BTreeMap::<i64, Vec<u8>>::new();
            for (seq, row) in (0..).zip(&rows) {
                // A tile is read, changed and written for each event, as the online store does.
                let stored = tiles.entry(row.time.div_euclid(tile)).or_default();
                let mut state = kind.empty();
                if !stored.is_empty() {
                    state.merge_encoded(&mut &stored[..]).unwrap();
                }
                state.add(Event { time: row.time, seq, value: Some(row.value.datum()) });
                stored.clear();
                state.encode(stored);
            }
            let mut problem = None;
            slide(function, window, 0, &columns.series(class), &moments, |moment, output| {
                let span = window.span(moments[moment]);
                let whole = |tile_start: &i64| {
                    span.start.is_none_or(|start| start <= *tile_start * tile) && (tile_start + 1) * tile <= span.end
                };
                let mut parts: Vec<&Vec<u8>> = tiles.iter().filter(|(start, _)| whole(start)).map(|(_, part)| part).collect();
                if backwards {
                    parts.reverse();
                }
                let mut state = kind.empty();
                for part in parts {
                    let mut bytes = &part[..];
                    state.merge_encoded(&mut bytes).unwrap();
                    assert!(bytes.is_empty());
                }
                for (seq, row) in (0..).zip(&rows) {
                    if span.contains(row.time) && !whole(&row.time.div_euclid(tile)) {
                        state.add(Event { time: row.time, seq, value: Some(row.value.datum()) });
                    }
                }
                if state.finish(function, moments[moment]) != output {
                    problem = Some((moments[moment], output));
                }
            });
            prop_assert_eq!(problem, None, "{:?} over {:?}", function, window);
        }
    }
}

#[test]
fn moments_need_not_ascend() {
    let rows: Vec<Row> = (0..50).map(|n| Row { time: n * MINUTE, value: Value::Int(n) }).collect();
    let columns = Columns::of(&rows);
    let window = Window::new(Mode::Exact, "10m".parse().unwrap()).unwrap();
    let moments = [30 * MINUTE, 5 * MINUTE, 40 * MINUTE, 40 * MINUTE];
    for (function, expected) in [
        (Function::Sum, [245, 10, 345, 345]),
        (Function::ApproxCountDistinct, [10, 5, 10, 10]),
        (Function::Max, [29, 4, 39, 39]),
    ] {
        let mut got = Vec::new();
        slide(function, window, 0, &columns.series(Class::Int), &moments, |_, output| got.push(output));
        assert_eq!(got, expected.map(Output::Int));
    }
}

/// A million events of one entity, in the window all at once and sliding out again, with many different values.
#[test]
fn a_million_events() {
    const EVENTS: i64 = 1_000_000;
    let mut x = 1u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let times: Vec<i64> = (0..EVENTS).map(|n| n * 1_000 - EVENTS * 500).collect();
    let seqs: Vec<i64> = (0..EVENTS).collect();
    let values: Vec<f64> = (0..EVENTS).map(|_| (next() % 100_000) as f64 / 100.0 - 300.0).collect();
    let series = Series { times: &times, seqs: &seqs, values: Values::Float(&values) };
    let window = Window::new(Mode::Exact, "500s".parse().unwrap()).unwrap();
    let moments: Vec<i64> = (-4..=12).map(|n| n * 125_000_000 + 77).collect();
    let kinds = [
        vec![Function::Sum, Function::Mean],
        vec![Function::Variance],
        vec![Function::Min],
        vec![Function::Max],
        vec![Function::ApproxCountDistinct],
        vec![Function::ApproxPercentile { p: 0.99 }],
        vec![Function::LastN { n: 5 }],
    ];
    for functions in kinds {
        let kind = StateKind::of(functions[0], Some(Class::Float));
        let mut slider = crate::window::Slider::new(kind);
        let mut given = 0;
        slider.over(&series).slide(window, 0, &functions, &moments, |function, moment, output| {
            let t = moments[moment];
            let (from, to) = (t - 500_000_000, t);
            let mut state = kind.empty();
            let first = times.partition_point(|&time| time < from);
            for row in first..times.partition_point(|&time| time < to) {
                let value = Some(Datum::Float(values[row]));
                state.add(Event { time: times[row], seq: seqs[row], value });
            }
            assert_eq!(state.finish(functions[function], t), output, "{functions:?} at {t}");
            given += 1;
        });
        assert_eq!(given, moments.len() * functions.len());
    }
}

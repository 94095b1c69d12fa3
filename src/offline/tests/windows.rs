//! Windows over a history against the rule, however the events are spread over segments and tail, and in however many
//! passes they are read.

use arrow::{array::Array, buffer::BooleanBuffer, datatypes::Int32Type};

use super::*;
use crate::{
    compute::window::{Class, Datum, Event, Function, Mode, Output, State, StateKind, Window},
    model::{Duration, encode_keys},
    offline::{Aggregation, EventFilter, EventSeries, Grouping, NoTail, SpineKeys, WindowJoin, window_join},
};

const MINUTE: i64 = 60_000_000;

/// One accepted event; its `_seq` is its place in the list.
#[derive(Debug, Clone)]
struct Happened {
    user: Option<String>,
    shop: Option<i32>,
    time: i64,
    accepted: i64,
    x: Option<f64>,
    note: Option<String>,
}

fn happened() -> impl Strategy<Value = Happened> {
    (
        prop::option::weighted(0.9, "[ab]{1}"),
        prop::option::weighted(0.9, 0..3i32),
        prop_oneof![-40..40i64, Just(7)].prop_map(|n| n * MINUTE),
        0..30i64,
        prop::option::weighted(0.8, prop_oneof![(-9..9i64).prop_map(|n| n as f64 / 10.0), Just(f64::NAN)]),
        prop::option::weighted(0.8, "[xyz]{0,2}"),
    )
        .prop_map(|(user, shop, time, accepted, x, note)| Happened {
            user,
            shop,
            time,
            accepted,
            x,
            note,
        })
}

fn source() -> TableSchema {
    let columns = vec![
        column("user", DataType::String),
        column("shop", DataType::Int32),
        column("x", DataType::Float64),
        column("note", DataType::String),
    ];
    TableSchema::source(TableId(7), "events", 1, "at", columns, None)
}

fn rows_of(schema: &TableSchema, events: &[Happened], first_seq: usize) -> RecordBatch {
    let times = |f: fn(&Happened) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(f)).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        times(|e| e.time),
        Arc::new(events.iter().map(|e| e.user.as_deref()).collect::<StringArray>()),
        Arc::new(events.iter().map(|e| e.shop).collect::<Int32Array>()),
        Arc::new(events.iter().map(|e| e.x).collect::<Float64Array>()),
        Arc::new(events.iter().map(|e| e.note.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values((first_seq as i64..).take(events.len()))),
        times(|e| e.accepted),
        Arc::new(BooleanArray::from(vec![false; events.len()])),
    ];
    RecordBatch::try_new(Arc::clone(schema.offline()), columns).unwrap()
}

/// A filter of the shop's number: null does not pass.
fn even_shops() -> Arc<EventFilter> {
    Arc::new(EventFilter {
        columns: vec!["shop".to_owned()],
        mask: Box::new(|batch| {
            let shops = batch.column_by_name("shop").unwrap().as_primitive::<Int32Type>();
            BooleanBuffer::collect_bool(shops.len(), |row| shops.is_valid(row) && shops.value(row) % 2 == 0)
        }),
    })
}

fn passes(filtered: bool, event: &Happened) -> bool {
    !filtered || event.shop.is_some_and(|shop| shop % 2 == 0)
}

/// The value of a column as a datum, null as none.
fn datum<'a>(name: &str, event: &'a Happened) -> Option<Datum<'a>> {
    match name {
        "x" => event.x.map(Datum::Float),
        "shop" => event.shop.map(|n| Datum::Int(i64::from(n))),
        _ => event.note.as_deref().map(|note| Datum::Bytes(note.as_bytes())),
    }
}

fn data_type(name: &str) -> DataType {
    match name {
        "x" => DataType::Float64,
        "shop" => DataType::Int32,
        _ => DataType::String,
    }
}

fn series(name: Option<&str>, filter: Option<&Arc<EventFilter>>) -> EventSeries {
    EventSeries { column: name.map(|name| column(name, data_type(name))), filter: filter.cloned() }
}

/// What each kind of aggregation looks like: column, whether filtered, function.
fn aggregations() -> Vec<(Option<&'static str>, bool, Function)> {
    vec![
        (None, false, Function::Count),
        (None, true, Function::Count),
        (None, true, Function::TimeSinceLast),
        (Some("x"), false, Function::Count),
        (Some("x"), false, Function::Sum),
        (Some("x"), true, Function::Mean),
        (Some("x"), false, Function::Stddev),
        (Some("x"), false, Function::Max),
        (Some("x"), true, Function::ApproxPercentile { p: 0.5 }),
        (Some("shop"), false, Function::Sum),
        (Some("shop"), false, Function::Min),
        (Some("shop"), false, Function::LastN { n: 2 }),
        (Some("note"), false, Function::Last),
        (Some("note"), true, Function::Min),
        (Some("note"), false, Function::FirstN { n: 2 }),
        (Some("note"), false, Function::ApproxCountDistinct),
    ]
}

fn expected(
    events: &[Happened],
    counts: impl Fn(&Happened) -> bool,
    (name, filtered, function): (Option<&str>, bool, Function),
    t: i64,
) -> Output {
    let class = name.and_then(|name| Class::of(&data_type(name)));
    let mut state: State = StateKind::of(function, class).empty();
    for (seq, event) in (0..).zip(events) {
        let value = name.and_then(|name| datum(name, event));
        if counts(event) && passes(filtered, event) && (name.is_none() || value.is_some()) {
            state.add(Event { time: event.time, seq, value });
        }
    }
    state.finish(function, t)
}

/// A value of a result column, in the kernel's words.
fn read(array: &dyn Array, row: usize) -> Output {
    if array.is_null(row) {
        return Output::Null;
    }
    match array.data_type() {
        Arrow::Int32 => Output::Int(i64::from(array.as_primitive::<Int32Type>().value(row))),
        Arrow::Int64 => Output::Int(array.as_primitive::<Int64Type>().value(row)),
        Arrow::Float64 => Output::Float(array.as_primitive::<Float64Type>().value(row)),
        Arrow::Utf8 => Output::Bytes(array.as_string::<i32>().value(row).into()),
        Arrow::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Output::List((0..items.len()).map(|item| read(&items, item)).collect())
        }
        other => panic!("no aggregation gives {other}"),
    }
}

fn encoded(columns: &[ArrayRef]) -> (Vec<u8>, Vec<u32>) {
    let fields = columns.iter().enumerate().map(|(at, array)| (format!("k{at}"), Arc::clone(array), true));
    let batch = RecordBatch::try_from_iter_with_nullable(fields).unwrap();
    encode_keys(&batch, &(0..columns.len()).collect::<Vec<_>>(), |_, _| {})
}

/// The table with events up to the last cut in segments; the rest is in the outbox.
fn spread(dir: &std::path::Path, events: &[Happened], cuts: &[usize], compact: bool) -> (Arc<Table>, Outbox) {
    let schema = source();
    let table = OfflineStore::open(dir, options()).unwrap().table(&schema).unwrap();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&events.len())).collect();
    cuts.sort_unstable();
    let mut sealed = 0;
    for cut in cuts {
        table.append(&schema, vec![rows_of(&schema, &events[sealed..cut], sealed)], cut as u64).unwrap();
        sealed = cut;
    }
    if compact {
        table.compact().unwrap();
    }
    let outbox = Outbox::default();
    if sealed < events.len() {
        outbox.push(rows_of(&schema, &events[sealed..], sealed));
    }
    (table, outbox)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_spread_and_any_memory_gives_the_naive_answers(
        mut events in prop::collection::vec(happened(), 0..60),
        in_order: bool,
        questions in prop::collection::vec((prop::option::weighted(0.9, "[abc]{1}"), prop::option::weighted(0.9, 0..4i32), -45..45i64), 0..25),
        cuts in prop::collection::vec(0..60usize, 0..4),
        compact: bool,
        lag in prop_oneof![Just(0), 0..9i64].prop_map(|n| n * MINUTE),
        known_at in prop::option::of(0..30i64),
        until in prop::option::of(0..60u64),
        by_then: bool,
        memory in prop_oneof![Just(0), 0..3000usize, Just(usize::MAX)],
        minutes in prop::sample::select(vec![5i64, 17, 60]),
    ) {
        if in_order {
            events.sort_by_key(|event| event.time);
        }
        let dir = tempfile::tempdir().unwrap();
        let (table, outbox) = spread(dir.path(), &events, &cuts, compact);
        let mut history = History::open(&table, &outbox, &source()).unwrap();
        if let Some(until) = until {
            history = history.until(until).unwrap();
            events.truncate(until as usize);
        }

        let users: ArrayRef = Arc::new(questions.iter().map(|q| q.0.as_deref()).collect::<StringArray>());
        let shops: ArrayRef = Arc::new(questions.iter().map(|q| q.1).collect::<Int32Array>());
        let times: Vec<i64> = questions.iter().map(|q| q.2 * MINUTE).collect();
        let length = Duration::from_micros(minutes * MINUTE).unwrap();
        let windows = [
            Window::new(Mode::Exact, length).unwrap(),
            Window::new(Mode::Sawtooth, length).unwrap(),
            Window::new(Mode::Tumbling, length).unwrap(),
            Window::LIFETIME,
        ];
        let filter = even_shops();
        let all: Vec<_> = windows.iter().flat_map(|window| aggregations().into_iter().map(move |it| (*window, it))).collect();
        let requested: Vec<Aggregation> = all
            .iter()
            .map(|(window, (name, filtered, function))| Aggregation {
                events: series(*name, filtered.then_some(&filter)),
                function: *function,
                window: *window,
            })
            .collect();
        let keys = [column("user", DataType::String), column("shop", DataType::Int32)];
        let (both, by_user) = (encoded(&[Arc::clone(&users), shops]), encoded(&[users]));
        let few = requested.len() / 2;
        let grouping = |keys, spine, aggregations| Grouping { keys, spine, aggregations };
        let results = window_join(&WindowJoin {
            history: &history,
            times: &times,
            groupings: &[
                grouping(&keys, SpineKeys { bytes: &both.0, offsets: &both.1 }, &requested),
                grouping(&keys[..1], SpineKeys { bytes: &by_user.0, offsets: &by_user.1 }, &requested[few..]),
            ],
            lag,
            known_at,
            by_then,
            watch: None,
            memory,
        })
        .unwrap();
        prop_assert_eq!((results[0].len(), results[1].len()), (all.len(), all.len() - few));
        for (row, (user, shop, _)) in questions.iter().enumerate() {
            let t = times[row];
            let asked = |window: Window| {
                let span = window.span(t);
                move |event: &&Happened| {
                    span.contains(event.time) && event.time + lag <= t && known_at.is_none_or(|k| event.accepted <= k)
                        && (!by_then || event.accepted <= t)
                }
            };
            for (number, (window, aggregation)) in all.iter().enumerate() {
                let seen = asked(*window);
                let is_user = |event: &Happened| user.is_some() && event.user == *user && seen(&event);
                let is_both = |event: &Happened| is_user(event) && shop.is_some() && event.shop == *shop;
                let got = read(&results[0][number], row);
                prop_assert_eq!(got, expected(&events, is_both, *aggregation, t), "{:?} {:?}", window, aggregation);
                if number >= few {
                    let got = read(&results[1][number - few], row);
                    prop_assert_eq!(got, expected(&events, is_user, *aggregation, t), "{:?} {:?}", window, aggregation);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_computed_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (table, _) = spread(dir.path(), &[], &[], false);
    let history = History::open(&table, &NoTail, &source()).unwrap();
    let ask = |events: EventSeries, function| {
        let aggregations = [Aggregation { events, function, window: Window::LIFETIME }];
        let spine = SpineKeys { bytes: &[], offsets: &[0] };
        window_join(&WindowJoin {
            history: &history,
            times: &[],
            groupings: &[Grouping { keys: &[], spine, aggregations: &aggregations }],
            lag: 0,
            known_at: None,
            by_then: false,
            watch: None,
            memory: 0,
        })
    };
    assert_eq!(ask(series(Some("x"), None), Function::Sum).unwrap()[0][0].data_type(), &Arrow::Float64);
    let error = ask(series(Some("note"), None), Function::Sum).unwrap_err();
    assert!(error.to_string().contains("`note`"), "{error}");
    let unknown = EventSeries { column: Some(column("y", DataType::Float64)), filter: None };
    let array = EventSeries { column: Some(column("x", "array<int64>".parse().unwrap())), filter: None };
    assert!(ask(array, Function::Count).is_err());
    // Nothing is asked at no time, so nothing is read; a column that is not there is told all the same.
    assert!(ask(unknown, Function::Sum).is_err());
}

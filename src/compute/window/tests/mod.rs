//! The kernel against the contract word for word, and its two ways of computing against each other.

mod agreement;
mod naive;
mod states;

use proptest::prelude::*;

use crate::window::{Class, Datum, Event, Function, Mode, Series, State, StateKind, Values, Window};
use larder_model::Duration;

const MINUTE: i64 = 60_000_000;

/// One event that counts; its `seq` is its place in the list.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Value {
    fn datum(&self) -> Datum<'_> {
        match self {
            Value::Int(n) => Datum::Int(*n),
            Value::Float(x) => Datum::Float(*x),
            Value::Bytes(bytes) => Datum::Bytes(bytes),
        }
    }
}

fn value(class: Class) -> BoxedStrategy<Value> {
    match class {
        Class::Int => prop_oneof![
            4 => (-5..5i64).prop_map(Value::Int),
            1 => any::<i64>().prop_map(Value::Int),
            1 => Just(Value::Int(i64::MIN)),
        ]
        .boxed(),
        Class::Float => prop_oneof![
            8 => (-500..500i64).prop_map(|n| Value::Float(n as f64 / 100.0)),
            2 => any::<f64>().prop_map(Value::Float),
            1 => prop::sample::select(vec![
                f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, -2e-310, f64::MAX, f64::MIN,
            ])
            .prop_map(Value::Float),
        ]
        .boxed(),
        Class::Bytes => "[ab\0é]{0,3}".prop_map(|text| Value::Bytes(text.into_bytes())).boxed(),
    }
}

/// Times around the epoch, many of them equal and many on edges.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        -40 * MINUTE..40 * MINUTE,
        (-8..8i64).prop_map(|n| n * 5 * MINUTE),
        (-8..8i64, -1..2i64).prop_map(|(n, off)| n * 5 * MINUTE + off),
        (-30..30i64).prop_map(|hours| hours * 60 * MINUTE),
    ]
}

fn rows(class: Class) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((time(), value(class)).prop_map(|(time, value)| Row { time, value }), 0..40)
}

fn window() -> impl Strategy<Value = Window> {
    let length =
        prop::sample::select(vec![1, 5 * MINUTE, 7 * MINUTE + 1, 60 * MINUTE, 780 * MINUTE, 20_000 * MINUTE]);
    let mode = prop::sample::select(vec![Mode::Exact, Mode::Sawtooth, Mode::Tumbling]);
    prop_oneof![
        6 => (mode, length).prop_map(|(mode, length)| {
            Window::new(mode, Duration::from_micros(length).unwrap()).unwrap()
        }),
        1 => Just(Window::LIFETIME),
    ]
}

/// All functions that take a column of this class.
fn functions(class: Class) -> Vec<Function> {
    let mut functions = vec![
        Function::Count,
        Function::Min,
        Function::Max,
        Function::First,
        Function::Last,
        Function::FirstN { n: 3 },
        Function::LastN { n: 3 },
        Function::ApproxCountDistinct,
        Function::TimeSinceLast,
    ];
    if class != Class::Bytes {
        functions.extend([
            Function::Sum,
            Function::Mean,
            Function::Stddev,
            Function::Variance,
            Function::ApproxPercentile { p: 0.0 },
            Function::ApproxPercentile { p: 0.5 },
            Function::ApproxPercentile { p: 0.9 },
        ]);
    }
    functions
}

fn case() -> impl Strategy<Value = (Class, Vec<Row>)> {
    prop::sample::select(vec![Class::Int, Class::Float, Class::Bytes])
        .prop_flat_map(|class| rows(class).prop_map(move |rows| (class, rows)))
}

fn state_of<'a>(kind: StateKind, rows: impl IntoIterator<Item = (i64, &'a Row)>) -> State {
    let mut state = kind.empty();
    for (seq, row) in rows {
        state.add(Event { time: row.time, seq, value: Some(row.value.datum()) });
    }
    state
}

/// Rows in a series' order, with room for what the series borrows.
struct Columns {
    times: Vec<i64>,
    seqs: Vec<i64>,
    ints: Vec<i64>,
    floats: Vec<f64>,
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl Columns {
    fn of(rows: &[Row]) -> Columns {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&seq| (rows[seq].time, seq));
        let mut columns = Columns {
            times: order.iter().map(|&seq| rows[seq].time).collect(),
            seqs: order.iter().map(|&seq| seq as i64).collect(),
            ints: Vec::new(),
            floats: Vec::new(),
            offsets: vec![0],
            data: Vec::new(),
        };
        for &seq in &order {
            match &rows[seq].value {
                Value::Int(n) => columns.ints.push(*n),
                Value::Float(x) => columns.floats.push(*x),
                Value::Bytes(bytes) => {
                    columns.data.extend_from_slice(bytes);
                    columns.offsets.push(columns.data.len() as u32);
                }
            }
        }
        columns
    }

    fn series(&self, class: Class) -> Series<'_> {
        let values = match class {
            Class::Int => Values::Int(&self.ints),
            Class::Float => Values::Float(&self.floats),
            Class::Bytes => Values::Bytes { offsets: &self.offsets, data: &self.data },
        };
        Series { times: &self.times, seqs: &self.seqs, values }
    }
}

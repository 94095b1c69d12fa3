//! Partial results: what is kept of a set of events, so that sets can be put together later.

use std::cmp::Ordering;

use crate::window::{
    Class, Datum, Function, Output,
    codec::{MalformedState, array, put_varint, varint},
    datum::Held,
    distinct::Distinct,
    edge::{Edge, End},
    percentile::Histogram,
    sums::{FloatSum, IntSum, Moments},
};

/// What is kept of a set of events for a function. Several functions share a kind: sum and mean, first and first_n(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKind {
    Count,
    SumInt,
    SumFloat,
    Moments,
    Min,
    Max,
    /// So many of the first events.
    First(u32),
    Last(u32),
    LastTime,
    Distinct,
    Percentile,
}

/// One event that counts: the filter let it pass and its value is not null. `value` is none only where the function
/// has no column.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Microseconds.
    pub time: i64,
    pub seq: i64,
    pub value: Option<Datum<'a>>,
}

/// What is kept of a set of events.
///
/// It depends on the set alone, never on the order in which the events came or on how they were grouped; merging is
/// associative, commutative and exact. So is what is made of it: the same set gives the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct State(Repr);

#[derive(Debug, Clone, PartialEq)]
enum Repr {
    Count(u64),
    SumInt(IntSum),
    SumFloat(FloatSum),
    Moments(Moments),
    Extreme { least: bool, value: Option<Held> },
    Edge(Edge),
    LastTime(Option<i64>),
    Distinct(Distinct),
    Percentile(Histogram),
}

impl StateKind {
    /// What `function` needs of a column of `class`; none where it has no column.
    pub fn of(function: Function, class: Option<Class>) -> StateKind {
        match function {
            Function::Count => StateKind::Count,
            Function::Sum | Function::Mean if class == Some(Class::Int) => StateKind::SumInt,
            Function::Sum | Function::Mean => StateKind::SumFloat,
            Function::Min => StateKind::Min,
            Function::Max => StateKind::Max,
            Function::Stddev | Function::Variance => StateKind::Moments,
            Function::First => StateKind::First(1),
            Function::Last => StateKind::Last(1),
            Function::FirstN { n } => StateKind::First(n),
            Function::LastN { n } => StateKind::Last(n),
            Function::ApproxCountDistinct => StateKind::Distinct,
            Function::ApproxPercentile { .. } => StateKind::Percentile,
            Function::TimeSinceLast => StateKind::LastTime,
        }
    }

    /// The state of no events.
    pub fn empty(self) -> State {
        State(match self {
            StateKind::Count => Repr::Count(0),
            StateKind::SumInt => Repr::SumInt(IntSum::default()),
            StateKind::SumFloat => Repr::SumFloat(FloatSum::default()),
            StateKind::Moments => Repr::Moments(Moments::default()),
            StateKind::Min => Repr::Extreme { least: true, value: None },
            StateKind::Max => Repr::Extreme { least: false, value: None },
            StateKind::First(n) => Repr::Edge(Edge::new(End::First, n)),
            StateKind::Last(n) => Repr::Edge(Edge::new(End::Last, n)),
            StateKind::LastTime => Repr::LastTime(None),
            StateKind::Distinct => Repr::Distinct(Distinct::default()),
            StateKind::Percentile => Repr::Percentile(Histogram::default()),
        })
    }
}

impl State {
    pub fn kind(&self) -> StateKind {
        match &self.0 {
            Repr::Count(_) => StateKind::Count,
            Repr::SumInt(_) => StateKind::SumInt,
            Repr::SumFloat(_) => StateKind::SumFloat,
            Repr::Moments(_) => StateKind::Moments,
            Repr::Extreme { least: true, .. } => StateKind::Min,
            Repr::Extreme { least: false, .. } => StateKind::Max,
            Repr::Edge(Edge { end: End::First, most, .. }) => StateKind::First(*most),
            Repr::Edge(Edge { end: End::Last, most, .. }) => StateKind::Last(*most),
            Repr::LastTime(_) => StateKind::LastTime,
            Repr::Distinct(_) => StateKind::Distinct,
            Repr::Percentile(_) => StateKind::Percentile,
        }
    }

    /// Whether nothing counts yet. A histogram of NaNs only is empty too.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Count(count) => *count == 0,
            Repr::SumInt(sum) => sum.count == 0,
            Repr::SumFloat(sum) => sum.count == 0,
            Repr::Moments(moments) => moments.count() == 0,
            Repr::Extreme { value, .. } => value.is_none(),
            Repr::Edge(edge) => edge.is_empty(),
            Repr::LastTime(time) => time.is_none(),
            Repr::Distinct(distinct) => distinct.is_empty(),
            Repr::Percentile(histogram) => histogram.is_empty(),
        }
    }

    /// A value of another class than the kind was made for is left out.
    pub fn add(&mut self, event: Event<'_>) {
        match (&mut self.0, event.value) {
            (Repr::Count(count), _) => *count += 1,
            (Repr::LastTime(last), _) => *last = (*last).max(Some(event.time)),
            (Repr::Edge(edge), _) => edge.add(event),
            (Repr::SumInt(sum), Some(Datum::Int(n))) => sum.add(n),
            (Repr::SumFloat(sum), Some(Datum::Float(x))) => sum.add(x),
            (Repr::SumFloat(sum), Some(Datum::Int(n))) => sum.add_int(n),
            (Repr::Moments(moments), Some(value)) => moments.add(value),
            (Repr::Extreme { least, value: held }, Some(value)) => replace(held, *least, value),
            (Repr::Distinct(distinct), Some(value)) => distinct.add(value),
            (Repr::Percentile(histogram), Some(value)) => histogram.add(value),
            (Repr::SumInt(_), Some(Datum::Float(_) | Datum::Bytes(_)))
            | (Repr::SumFloat(_), Some(Datum::Bytes(_)))
            | (_, None) => {}
        }
    }

    /// Takes what another state of the same kind has; one of another kind has nothing for this one.
    pub fn merge(&mut self, other: &State) {
        match (&mut self.0, &other.0) {
            (Repr::Count(mine), Repr::Count(theirs)) => *mine = mine.saturating_add(*theirs),
            (Repr::SumInt(mine), Repr::SumInt(theirs)) => mine.merge(theirs),
            (Repr::SumFloat(mine), Repr::SumFloat(theirs)) => mine.merge(theirs),
            (Repr::Moments(mine), Repr::Moments(theirs)) => mine.merge(theirs),
            (Repr::Extreme { least, value: mine }, Repr::Extreme { least: theirs, value: Some(value) })
                if least == theirs =>
            {
                replace(mine, *least, value.datum());
            }
            (Repr::Edge(mine), Repr::Edge(theirs)) if mine.end == theirs.end => mine.merge(theirs),
            (Repr::LastTime(mine), Repr::LastTime(theirs)) => *mine = (*mine).max(*theirs),
            (Repr::Distinct(mine), Repr::Distinct(theirs)) => mine.merge(theirs),
            (Repr::Percentile(mine), Repr::Percentile(theirs)) => mine.merge(theirs),
            (mine, theirs) => debug_assert!(
                std::mem::discriminant(mine) == std::mem::discriminant(theirs),
                "states of different kinds"
            ),
        }
    }

    /// Appends the canonical bytes: equal sets of events have equal ones. The kind is not among them; the end is.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Count(count) => put_varint(*count, out),
            Repr::SumInt(sum) => sum.encode(out),
            Repr::SumFloat(sum) => sum.encode(out),
            Repr::Moments(moments) => moments.encode(out),
            Repr::Extreme { value, .. } => {
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    value.datum().encode(out);
                }
            }
            Repr::Edge(edge) => edge.encode(out),
            Repr::LastTime(time) => {
                out.push(u8::from(time.is_some()));
                out.extend(time.iter().flat_map(|time| time.to_le_bytes()));
            }
            Repr::Distinct(distinct) => distinct.encode(out),
            Repr::Percentile(histogram) => histogram.encode(out),
        }
    }

    /// Merges a state of the same kind from its bytes, and moves `bytes` past it. After an error the state is one of
    /// no set.
    pub fn merge_encoded(&mut self, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        match &mut self.0 {
            Repr::Count(count) => *count = count.saturating_add(varint(bytes)?),
            Repr::SumInt(sum) => sum.merge(&IntSum::decode(bytes)?),
            Repr::SumFloat(sum) => sum.merge_encoded(bytes)?,
            Repr::Moments(moments) => moments.merge_encoded(bytes)?,
            Repr::Extreme { least, value } => {
                if present(bytes)? {
                    replace(value, *least, Datum::decode(bytes)?);
                }
            }
            Repr::Edge(edge) => edge.merge_encoded(bytes)?,
            Repr::LastTime(last) => {
                if present(bytes)? {
                    *last = (*last).max(Some(i64::from_le_bytes(array(bytes)?)));
                }
            }
            Repr::Distinct(distinct) => distinct.merge_encoded(bytes)?,
            Repr::Percentile(histogram) => histogram.merge_encoded(bytes)?,
        }
        Ok(())
    }

    /// Moves `bytes` past a state of `kind`.
    pub fn skip_encoded(kind: StateKind, bytes: &mut &[u8]) -> Result<(), MalformedState> {
        match kind {
            StateKind::Count => varint(bytes).map(|_| ()),
            StateKind::SumInt => IntSum::decode(bytes).map(|_| ()),
            StateKind::SumFloat => FloatSum::skip_encoded(bytes),
            StateKind::Moments => Moments::skip_encoded(bytes),
            StateKind::Min | StateKind::Max => match present(bytes)? {
                true => Datum::decode(bytes).map(|_| ()),
                false => Ok(()),
            },
            StateKind::First(_) | StateKind::Last(_) => Edge::skip_encoded(bytes),
            StateKind::LastTime => match present(bytes)? {
                true => array::<8>(bytes).map(|_| ()),
                false => Ok(()),
            },
            StateKind::Distinct => Distinct::skip_encoded(bytes),
            StateKind::Percentile => Histogram::skip_encoded(bytes),
        }
    }

    /// What `function`, which is one of this kind, gives at `t` (microseconds).
    pub fn finish(&self, function: Function, t: i64) -> Output {
        match (&self.0, function) {
            (Repr::Count(count), _) => Output::Int((*count).try_into().unwrap_or(i64::MAX)),
            (Repr::SumInt(sum), Function::Mean) => sum.mean(),
            (Repr::SumInt(sum), _) => sum.sum(),
            (Repr::SumFloat(sum), Function::Mean) => sum.mean(),
            (Repr::SumFloat(sum), _) => sum.sum(),
            (Repr::Moments(moments), Function::Stddev) => moments.stddev(),
            (Repr::Moments(moments), _) => moments.variance(),
            (Repr::Extreme { value, .. }, _) => {
                value.as_ref().map_or(Output::Null, |value| value.datum().output())
            }
            (Repr::Edge(edge), Function::FirstN { .. } | Function::LastN { .. }) => edge.list(),
            (Repr::Edge(edge), _) => edge.one(),
            (Repr::LastTime(last), _) => last.map_or(Output::Null, |last| seconds_since(last, t)),
            (Repr::Distinct(distinct), _) => Output::Int(distinct.count().try_into().unwrap_or(i64::MAX)),
            (Repr::Percentile(histogram), Function::ApproxPercentile { p }) => {
                histogram.percentile(p).map_or(Output::Null, Output::Float)
            }
            (Repr::Percentile(_), _) => Output::Null,
        }
    }
}

pub(super) fn seconds_since(last: i64, t: i64) -> Output {
    Output::Float(t.saturating_sub(last) as f64 / 1e6)
}

fn replace(held: &mut Option<Held>, least: bool, value: Datum<'_>) {
    let wanted = if least { Ordering::Less } else { Ordering::Greater };
    if held.as_ref().is_none_or(|held| value.order(&held.datum()) == wanted) {
        *held = Some(value.into());
    }
}

fn present(bytes: &mut &[u8]) -> Result<bool, MalformedState> {
    match array(bytes)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(MalformedState("neither present nor absent")),
    }
}

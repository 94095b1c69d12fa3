//! Reads of the state against a naive recomputation, however the events come and are folded.

use proptest::prelude::*;

use super::*;
use crate::window::{Class, Datum, Event, Function, Mode, Output, StateKind, Window};

const MINUTE: i64 = 60_000_000;

#[derive(Debug, Clone)]
struct Fact {
    time: i64,
    number: Option<i64>,
    float: Option<f64>,
    text: Option<String>,
    passes: bool,
}

fn fact() -> impl Strategy<Value = Fact> {
    let float = prop_oneof![
        8 => (-1000..1000i32).prop_map(|n| f64::from(n) / 7.0),
        1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-0.0), 1 => Just(1e300), 1 => Just(5e-324),
    ];
    (
        -40_000..40_000i64,
        prop::option::weighted(0.9, -5..5i64),
        prop::option::weighted(0.9, float),
        prop::option::weighted(0.9, "[a-c]{0,2}"),
        any::<bool>(),
    )
        .prop_map(|(seconds, number, float, text, passes)| Fact {
            // Often equal, often on the edge of a tile.
            time: seconds / 60 * MINUTE,
            number,
            float,
            text,
            passes,
        })
}

fn measures() -> Vec<Measure> {
    let length = |text: &str| text.parse().unwrap();
    let windows = [
        Window::LIFETIME,
        Window::new(Mode::Exact, length("90m")).unwrap(),
        Window::new(Mode::Sawtooth, length("1h")).unwrap(),
        Window::new(Mode::Sawtooth, length("3h")).unwrap(),
        Window::new(Mode::Sawtooth, length("14h")).unwrap(),
        Window::new(Mode::Tumbling, length("2h")).unwrap(),
    ];
    let number = Some(Input { column: 0, class: Class::Int });
    let float = Some(Input { column: 1, class: Class::Float });
    let text = Some(Input { column: 2, class: Class::Bytes });
    let functions = [
        (Function::Count, None),
        (Function::Count, text),
        (Function::Sum, number),
        (Function::Sum, float),
        (Function::Mean, float),
        (Function::Min, float),
        (Function::Max, text),
        (Function::Stddev, float),
        (Function::Variance, number),
        (Function::First, text),
        (Function::Last, float),
        (Function::FirstN { n: 3 }, number),
        (Function::LastN { n: 2 }, text),
        (Function::ApproxCountDistinct, text),
        (Function::ApproxPercentile { p: 0.9 }, float),
        (Function::TimeSinceLast, None),
    ];
    let mut measures = Vec::new();
    for window in windows {
        for (i, (function, input)) in functions.into_iter().enumerate() {
            let filter = (i % 3 == 1).then_some(0);
            measures.push(Measure { function, input, filter, window });
        }
    }
    measures
}

fn layout(measures: &[Measure]) -> Layout {
    Layout::new(vec![Class::Int, Class::Float, Class::Bytes], measures)
}

fn encode(facts: &[(i64, &Fact)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (seq, fact) in facts {
        let start = bytes.len();
        let values = [
            fact.number.map(Datum::Int),
            fact.float.map(Datum::Float),
            fact.text.as_ref().map(|text| Datum::Bytes(text.as_bytes())),
        ];
        EventWriter::new(&mut bytes).push(fact.time, 0, u64::from(fact.passes), values.into_iter());
        set_seq(&mut bytes[start..], *seq);
    }
    bytes
}

/// The definition, word for word.
fn naive(measure: &Measure, facts: &[Fact], t: i64) -> Output {
    let class = measure.input.map(|input| input.class);
    let mut state = StateKind::of(measure.function, class).empty();
    for (seq, fact) in facts.iter().enumerate() {
        let value = match measure.input.map(|input| input.column) {
            None => None,
            Some(0) => fact.number.map(Datum::Int),
            Some(1) => fact.float.map(Datum::Float),
            _ => fact.text.as_ref().map(|text| Datum::Bytes(text.as_bytes())),
        };
        let counts = measure.window.span(t).contains(fact.time)
            && (measure.filter.is_none() || fact.passes)
            && (measure.input.is_none() || value.is_some());
        if counts {
            state.add(Event { time: fact.time, seq: seq as i64, value });
        }
    }
    state.finish(measure.function, t)
}

#[derive(Debug, Clone)]
enum Step {
    Events(Vec<Fact>),
    Fold,
    /// Minutes that pass.
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(fact(), 1..6).prop_map(Step::Events),
        1 => Just(Step::Fold),
        1 => (0..200i64).prop_map(Step::Wait),
    ]
}

/// Asks for some of the measures, then for all of them, twice: the later reads find what the earlier ones kept.
fn check(layout: &Layout, measures: &[Measure], base: Option<&Folded>, head: &[u8], facts: &[Fact], t: i64) {
    let some = (0..measures.len()).filter(|at| (at + facts.len()).is_multiple_of(3)).collect();
    let all: Vec<usize> = (0..measures.len()).collect();
    for wanted in [some, all.clone(), all] {
        let outputs = read(layout, base, head, t, &wanted).unwrap();
        for (at, output) in wanted.into_iter().zip(outputs) {
            assert_eq!(output, naive(&measures[at], facts, t), "{:?} at {t}", measures[at]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Late events, events yet to come, folds at any time: what is read is what is defined.
    #[test]
    fn any_course_of_events_reads_as_defined(steps in prop::collection::vec(step(), 1..25), after in 0..400i64) {
        let measures = measures();
        let layout = layout(&measures);
        let (mut facts, mut base, mut head, mut now) = (Vec::<Fact>::new(), None::<Folded>, Vec::new(), -30_000 * 60 * 1_000_000i64 / 60);
        for step in steps {
            match step {
                Step::Events(new) => {
                    let numbered: Vec<_> = new.iter().enumerate().map(|(i, f)| ((facts.len() + i) as i64, f)).collect();
                    head.extend(encode(&numbered));
                    facts.extend(new);
                }
                Step::Fold => {
                    let bases: Vec<&[u8]> = base.as_ref().map(Folded::bytes).into_iter().collect();
                    let rebuilt = rebuild(&layout, &bases, &head, now).unwrap();
                    head.clear();
                    prop_assert_eq!(folded_at(&rebuilt).unwrap(), now);
                    base = Some(Folded::new(rebuilt));
                }
                Step::Wait(minutes) => now += minutes * MINUTE,
            }
            check(&layout, &measures, base.as_ref(), &head, &facts, now);
        }
        check(&layout, &measures, base.as_ref(), &head, &facts, now + after * MINUTE + 1);
    }

    /// A backfill: the older events folded on their own, then united with what came since.
    #[test]
    fn bases_unite(old in prop::collection::vec(fact(), 0..30), new in prop::collection::vec(fact(), 0..30), cut in 0..30usize, now in -30_000..30_000i64) {
        let measures = measures();
        let layout = layout(&measures);
        let now = now * 1_000_000;
        let facts: Vec<Fact> = old.iter().chain(&new).cloned().collect();
        let numbered: Vec<_> = facts.iter().enumerate().map(|(i, f)| (i as i64, f)).collect();
        let (older, newer) = numbered.split_at(old.len());
        let (folded, recent) = newer.split_at(cut.min(newer.len()));
        let backfilled = rebuild(&layout, &[], &encode(older), now - MINUTE).unwrap();
        let live = rebuild(&layout, &[], &encode(folded), now).unwrap();
        let union = rebuild(&layout, &[&live, &backfilled], &[], now).unwrap();
        prop_assert_eq!(base_version(&union).unwrap(), 2);
        check(&layout, &measures, Some(&Folded::new(union.clone())), &encode(recent), &facts, now);
        // In whatever order: the same bytes.
        prop_assert_eq!(&rebuild(&layout, &[&backfilled, &live], &[], now).unwrap(), &union);
    }

    #[test]
    fn bytes_of_anything_else_are_an_error_and_no_panic(bytes: Vec<u8>, at: usize, bit in 0..8u8) {
        let measures = measures();
        let layout = layout(&measures);
        let _ = read(&layout, Some(&Folded::new(bytes.clone())), &bytes, 0, &[0, 1, 2]);
        let _ = rebuild(&layout, &[&bytes], &bytes, 0);
        let fact = Fact { time: 0, number: Some(1), float: Some(1.0), text: Some("x".into()), passes: true };
        let mut base = rebuild(&layout, &[], &encode(&[(0, &fact), (1, &fact)]), 1).unwrap();
        let at = at % base.len();
        base[at] ^= 1 << bit;
        let _ = rebuild(&layout, &[&base], &[], 2);
        let base = Folded::new(base);
        for _ in 0..2 {
            let _ = read(&layout, Some(&base), &[], 2, &(0..measures.len()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn tiles_that_no_window_reaches_go() {
    let hour = Window::new(Mode::Sawtooth, "1h".parse().unwrap()).unwrap();
    let measures = [Measure { function: Function::Count, input: None, filter: None, window: hour }];
    let layout = Layout::new(Vec::new(), &measures);
    let mut base: Option<Vec<u8>> = None;
    let mut longest = 0;
    for minute in 0..5000 {
        let mut event = Vec::new();
        EventWriter::new(&mut event).push(minute * MINUTE, minute, 0, std::iter::empty());
        let bases: Vec<&[u8]> = base.as_deref().into_iter().collect();
        base = Some(rebuild(&layout, &bases, &event, minute * MINUTE + 1).unwrap());
        longest = longest.max(base.as_ref().unwrap().len());
    }
    // Twelve whole steps, the one that the start is rounded into, and the one that is filling.
    assert!(longest <= 16 + 14 * 6, "{longest}");
    let base = base.map(Folded::new);
    let outputs = read(&layout, base.as_ref(), &[], 5000 * MINUTE, &[0]).unwrap();
    assert_eq!(outputs, [Output::Int(60)]);
}

/// A read that finds the middle of its windows does not look at the tiles.
#[test]
fn a_middle_is_kept_until_the_window_moves_on() {
    let day = 24 * 60 * MINUTE;
    let month = Window::new(Mode::Sawtooth, "30d".parse().unwrap()).unwrap();
    let float = Some(Input { column: 0, class: Class::Float });
    let measure = |function, input| Measure { function, input, filter: None, window: month };
    let measures = [measure(Function::Count, None), measure(Function::Sum, float)];
    let layout = Layout::new(vec![Class::Float], &measures);
    let mut events = Vec::new();
    for n in 0..30 {
        let value = std::iter::once(Some(Datum::Float(0.1)));
        EventWriter::new(&mut events).push(n * day, n, 0, value);
    }
    let now = 30 * day;
    let folded = Folded::new(rebuild(&layout, &[], &events, now).unwrap());
    let known = |t| {
        let mut state = StateKind::of(Function::Count, None).empty();
        folded.middle().merge(0, (month.span(t).start, now), &mut state).unwrap()
    };
    assert!(!known(now));
    assert_eq!(read(&layout, Some(&folded), &[], now, &[0]).unwrap(), [Output::Int(30)]);
    assert!(known(now) && known(now + day - 1) && !known(now + day));
    // Another one's read adds to it; one of a later day puts it together again.
    let both = read(&layout, Some(&folded), &[], now, &[0, 1]).unwrap();
    assert!(known(now) && both[0] == Output::Int(30) && both[1] == Output::Float(3.0), "{both:?}");
    assert_eq!(read(&layout, Some(&folded), &[], now + 2 * day, &[0]).unwrap(), [Output::Int(28)]);
    assert!(known(now + 2 * day) && !known(now));
}

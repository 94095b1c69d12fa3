//! Partial states: one form per set of events, whatever its history, and no trust in bytes.

use super::*;

fn encoded(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(&mut out);
    out
}

/// Merges states pairwise, as a random tree.
fn tree(mut states: Vec<State>, kind: StateKind, choices: &[usize]) -> State {
    for &choice in choices.iter().cycle() {
        if states.len() < 2 {
            break;
        }
        let taken = states.swap_remove(choice % states.len());
        let at = choice % states.len();
        if choice % 2 == 0 {
            states[at].merge(&taken);
        } else {
            let bytes = encoded(&taken);
            states[at].merge_encoded(&mut &bytes[..]).unwrap();
        }
    }
    states.pop().unwrap_or_else(|| kind.empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_tree_and_order_gives_equal_bytes(
        (class, rows) in case(),
        parts in prop::collection::vec(0..6usize, 40),
        choices in prop::collection::vec(any::<usize>(), 1..12),
    ) {
        for function in functions(class) {
            let kind = StateKind::of(function, Some(class));
            let numbered: Vec<(i64, &Row)> = (0..).zip(&rows).collect();
            let whole = state_of(kind, numbered.iter().copied());
            let split: Vec<State> = (0..6)
                .map(|part| {
                    let mine = numbered.iter().zip(&parts).filter(|(_, p)| **p == part).map(|(row, _)| *row);
                    state_of(kind, mine.rev())
                })
                .collect();
            let merged = tree(split, kind, &choices);
            prop_assert_eq!(encoded(&merged), encoded(&whole), "{:?}", function);
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!((merged.kind(), kind.empty().is_empty()), (kind, true));
            let counts = rows.iter().any(|row| !matches!(&row.value, Value::Float(x) if x.is_nan()));
            prop_assert_eq!(merged.is_empty(), if kind == StateKind::Percentile { !counts } else { rows.is_empty() });

            // Bytes come back, and say themselves where they end.
            let mut stored = encoded(&whole);
            let length = stored.len();
            stored.extend_from_slice(b"more");
            let (mut bytes, mut skipped) = (&stored[..], &stored[..]);
            let mut read = kind.empty();
            read.merge_encoded(&mut bytes).unwrap();
            State::skip_encoded(kind, &mut skipped).unwrap();
            prop_assert_eq!((bytes, skipped), (&b"more"[..], &b"more"[..]));
            prop_assert_eq!(&read, &whole);
            for cut in 0..length {
                prop_assert!(kind.empty().merge_encoded(&mut &stored[..cut]).is_err());
                prop_assert!(State::skip_encoded(kind, &mut &stored[..cut]).is_err());
            }
        }
    }

    #[test]
    fn hostile_bytes_are_errors_or_states(
        (class, rows) in case(),
        noise in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        for function in functions(class) {
            let kind = StateKind::of(function, Some(class));
            let mut stored = encoded(&state_of(kind, (0..).zip(&rows)));
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            for hostile in [&noise, &stored] {
                let (mut read, mut skipped) = (&hostile[..], &hostile[..]);
                let mut state = kind.empty();
                if state.merge_encoded(&mut read).is_ok() {
                    let _ = state.finish(function, 0);
                    state.merge(&state_of(kind, (0..).zip(&rows)));
                    let mut out = Vec::new();
                    state.encode(&mut out);
                }
                let _ = State::skip_encoded(kind, &mut skipped);
            }
        }
    }
}

#[test]
fn kinds_are_shared_where_states_are() {
    let of = |function, class| StateKind::of(function, Some(class));
    assert_eq!(of(Function::Sum, Class::Int), of(Function::Mean, Class::Int));
    assert_ne!(of(Function::Sum, Class::Int), of(Function::Sum, Class::Float));
    assert_eq!(of(Function::First, Class::Bytes), of(Function::FirstN { n: 1 }, Class::Bytes));
    assert_eq!(StateKind::of(Function::Count, None), of(Function::Count, Class::Bytes));
}

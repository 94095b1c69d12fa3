//! What reads put together from the tiles of a base, kept for those that follow.
//!
//! The tiles that a window covers change only when its start passes a step of its grid, or with the next fold. In
//! between each read needs the same of them: the middle of the window, to which the newest events are added.

use std::{ops::Range, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::window::{MalformedState, State};

/// A base in memory, and the middles that reads left with it.
#[derive(Debug)]
pub struct Folded {
    bytes: Box<[u8]>,
    middle: ArcSwapOption<Middle>,
}

/// Which tiles of a base a window covers: those that begin from the one (µs; none: from the first) up to the other.
pub(super) type Covered = (Option<i64>, i64);

/// For some of a layout's questions the union of the tiles that they cover.
#[derive(Debug, Default)]
pub(super) struct Middle {
    /// By the question's place.
    parts: Vec<Option<Part>>,
    states: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Part {
    covered: Covered,
    /// Where in `states` it is.
    place: Range<usize>,
}

impl Folded {
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Folded {
        Folded { bytes: bytes.into(), middle: ArcSwapOption::empty() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it takes in memory at most, middles included.
    pub fn weight(&self) -> usize {
        size_of::<Folded>() + self.bytes.len() + self.most_middle()
    }

    /// Bytes that middles may take. Where they come to more there are few tiles, and these are as soon merged.
    fn most_middle(&self) -> usize {
        self.bytes.len() / 2
    }

    pub(super) fn middle(&self) -> Arc<Middle> {
        self.middle.load_full().unwrap_or_default()
    }

    /// Keeps the middle of so many questions. It is not even made where nothing of its states would fit.
    pub(super) fn keep(&self, questions: usize, middle: impl FnOnce() -> Middle) {
        if Middle::bytes(questions, 0) > self.most_middle() {
            return;
        }
        let middle = middle();
        if Middle::bytes(questions, middle.states.len()) <= self.most_middle() {
            self.middle.store(Some(Arc::new(middle)));
        }
    }
}

impl Middle {
    /// Merges the middle of `question` into `state`, if it is known for just these tiles; whether it is.
    pub fn merge(
        &self,
        question: usize,
        covered: Covered,
        state: &mut State,
    ) -> Result<bool, MalformedState> {
        let Some(Some(part)) = self.parts.get(question) else { return Ok(false) };
        if part.covered != covered {
            return Ok(false);
        }
        state.merge_encoded(&mut &self.states[part.place.clone()])?;
        Ok(true)
    }

    /// What is known already and `fresh`: for each question what it has become, if it was put together anew.
    pub fn with<'s>(&self, fresh: impl Iterator<Item = Option<(Covered, &'s State)>>) -> Middle {
        let mut middle = Middle::default();
        for (question, fresh) in fresh.enumerate() {
            let start = middle.states.len();
            let covered = match (fresh, self.parts.get(question)) {
                (Some((covered, state)), _) => {
                    state.encode(&mut middle.states);
                    Some(covered)
                }
                (None, Some(Some(known))) => {
                    middle.states.extend_from_slice(&self.states[known.place.clone()]);
                    Some(known.covered)
                }
                (None, _) => None,
            };
            let place = start..middle.states.len();
            middle.parts.push(covered.map(|covered| Part { covered, place }));
        }
        middle.states.shrink_to_fit();
        middle
    }

    fn bytes(questions: usize, states: usize) -> usize {
        size_of::<Middle>() + questions * size_of::<Option<Part>>() + states
    }
}

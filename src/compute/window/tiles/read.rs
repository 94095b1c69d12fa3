//! Reading aggregates at a moment.

use crate::window::{
    MalformedState, Output, Span, State,
    tiles::{
        base::{Base, Tiles},
        event::Events,
        fold::counted,
        layout::{Layout, Question},
        middle::{Covered, Folded},
    },
};

/// The measures `wanted` (by place in the layout) at `t`, from a base (`folded`) and the events that came since (encoded).
///
/// `t` must not lie before the base's [`folded_at`](super::folded_at): what it needs may be folded or gone.
pub fn read(
    layout: &Layout,
    folded: Option<&Folded>,
    head: &[u8],
    t: i64,
    wanted: &[usize],
) -> Result<Vec<Output>, MalformedState> {
    let base = folded.map(|folded| Base::read(folded.bytes(), layout)).transpose()?;
    let mut recent = Events::default();
    recent.read_all(head, &layout.classes)?;

    // States of the questions that are asked; the others stay empty and cost nothing.
    let mut asked: Vec<Option<Asked>> = (0..layout.questions.len()).map(|_| None).collect();
    for measure in wanted {
        if let Some((_, question)) = layout.measures.get(*measure)
            && asked[*question].is_none()
        {
            asked[*question] = Some(Asked::new(layout, &layout.questions[*question], t));
        }
    }
    if let (Some(folded), Some(base)) = (folded, &base) {
        middles(layout, folded, base, &mut asked)?;
    }
    for (question, asked) in layout.questions.iter().zip(&mut asked) {
        let Some(asked) = asked else { continue };
        asked.add(layout, question, &recent);
        if let Some(base) = &base {
            asked.add(layout, question, &base.pending);
            if question.series.is_none() {
                asked.add(layout, question, &base.exact);
            }
        }
    }
    let output = |measure: &usize| {
        let (function, question) = layout.measures.get(*measure)?;
        Some(asked[*question].as_ref()?.state.finish(*function, t))
    };
    Ok(wanted.iter().map(|measure| output(measure).unwrap_or(Output::Null)).collect())
}

struct Asked {
    span: Span,
    state: State,
}

impl Asked {
    fn new(layout: &Layout, question: &Question, t: i64) -> Asked {
        Asked { span: question.window.span(t), state: layout.partials[question.partial].kind.empty() }
    }

    /// The tiles of a base that lie in the span. None of them begins when it was folded, or later.
    fn covered(&self, folded_at: i64) -> Covered {
        (self.span.start, self.span.end.min(folded_at))
    }

    /// Whether the tile that begins at `start` lies in the span.
    fn covers(&self, start: i64) -> bool {
        start < self.span.end && self.span.start.is_none_or(|first| first <= start)
    }

    fn add(&mut self, layout: &Layout, question: &Question, events: &Events<'_>) {
        let partial = &layout.partials[question.partial];
        for event in events.iter() {
            if self.span.contains(event.time)
                && let Some(event) = counted(partial, events, event)
            {
                self.state.add(event);
            }
        }
    }
}

/// Adds to each question what the base's tiles in its span come to: from what earlier reads kept, or from the tiles.
fn middles(
    layout: &Layout,
    folded: &Folded,
    base: &Base<'_>,
    asked: &mut [Option<Asked>],
) -> Result<(), MalformedState> {
    let known = folded.middle();
    // What has to be put together from the tiles.
    let mut fresh = vec![false; asked.len()];
    for (place, question) in layout.questions.iter().enumerate() {
        if let Some(asked) = &mut asked[place]
            && question.series.is_some()
        {
            fresh[place] = !known.merge(place, asked.covered(base.folded_at), &mut asked.state)?;
        }
    }
    if fresh.contains(&true) {
        tiles(layout, base.series, &fresh, asked)?;
        let put_together = asked.iter().zip(fresh).map(|(asked, fresh)| {
            let asked = asked.as_ref().filter(|_| fresh)?;
            Some((asked.covered(base.folded_at), &asked.state))
        });
        folded.keep(layout.questions.len(), || known.with(put_together));
    }
    Ok(())
}

/// Adds the tiles within the span of each question that is `fresh`. No tile is cut: spans begin on the grid, and what is
/// folded is over.
fn tiles(
    layout: &Layout,
    mut bytes: &[u8],
    fresh: &[bool],
    asked: &mut [Option<Asked>],
) -> Result<(), MalformedState> {
    for (number, series) in layout.series.iter().enumerate() {
        let kind = layout.partials[series.partial].kind;
        let questions = layout.questions.iter().zip(fresh).zip(&mut *asked);
        let mut asking: Vec<&mut Asked> = questions
            .filter(|((question, fresh), _)| **fresh && question.series == Some(number))
            .filter_map(|(_, asked)| asked.as_mut())
            .collect();
        let mut tiles = Tiles::open(&mut bytes)?;
        while let Some(tile) = tiles.next(&mut bytes)? {
            let start = series.start(tile);
            // Who takes a state also finds where it ends.
            let mut after = None;
            for asked in asking.iter_mut().filter(|asked| asked.covers(start)) {
                let mut state = bytes;
                asked.state.merge_encoded(&mut state)?;
                after = Some(state);
            }
            match after {
                Some(after) => bytes = after,
                None => State::skip_encoded(kind, &mut bytes)?,
            }
        }
    }
    Ok(())
}

//! Folding events into a base, and bases into one: the state of the union of their events.

use std::collections::BTreeMap;

use crate::window::{
    Event, MalformedState, State,
    codec::put_varint,
    tiles::{
        base::{Base, Tiles, put_tile},
        event::{Events, StoredEvent},
        layout::{Layout, Partial},
    },
};

/// The base of all events in `bases` and of `events` (encoded, in any order), folded at `now`, with the version that
/// follows theirs. An event must be in one of them only. What no window reaches from `now` on is left out.
pub fn rebuild(layout: &Layout, bases: &[&[u8]], events: &[u8], now: i64) -> Result<Vec<u8>, MalformedState> {
    let mut incoming = Events::default();
    incoming.read_all(events, &layout.classes)?;
    let bases = bases.iter().map(|bytes| Base::read(bytes, layout)).collect::<Result<Vec<_>, _>>()?;
    // The clock may have gone back; a base never does.
    let now = bases.iter().map(|base| base.folded_at).fold(now, i64::max);
    let version = bases.iter().map(|base| base.version).max().unwrap_or(0).wrapping_add(1);

    // Each part keeps its own values, so events are carried with the part that they are read from.
    let parts: Vec<&Events<'_>> =
        std::iter::once(&incoming).chain(bases.iter().map(|base| &base.pending)).collect();
    let fresh: Vec<(usize, StoredEvent<'_>)> = parts
        .iter()
        .enumerate()
        .flat_map(|(part, events)| events.iter().map(move |event| (part, *event)))
        .collect();
    let is_over = |event: &StoredEvent<'_>| event.time < now;
    let mut out =
        Vec::with_capacity(events.len() + bases.iter().map(|base| base.series.len()).sum::<usize>());
    Base::write_head(version, now, &mut out);

    let reach = now.saturating_sub(layout.exact);
    let kept = bases.iter().flat_map(|base| base.exact.iter().copied());
    let over = fresh.iter().map(|(_, event)| *event).filter(is_over);
    let exact = kept.chain(over).filter(|event| layout.exact > 0 && event.time >= reach);
    write_sorted(exact.collect(), &mut out);
    write_sorted(fresh.iter().map(|(_, event)| *event).filter(|event| !is_over(event)).collect(), &mut out);

    let due: Vec<(usize, StoredEvent<'_>)> = fresh.into_iter().filter(|(_, event)| is_over(event)).collect();
    let mut cursors: Vec<&[u8]> = bases.iter().map(|base| base.series).collect();
    for series in &layout.series {
        let partial = &layout.partials[series.partial];
        let oldest = series.oldest(now);
        let mut changed: BTreeMap<i64, State> = BTreeMap::new();
        for (part, event) in &due {
            let tile = series.tile(event.time);
            if tile >= oldest
                && let Some(value) = counted(partial, parts[*part], event)
            {
                changed.entry(tile).or_insert_with(|| partial.kind.empty()).add(value);
            }
        }
        write_series(partial, oldest, &mut cursors, changed, &mut out)?;
    }
    if cursors.iter().all(|rest| rest.is_empty()) {
        Ok(out)
    } else {
        Err(MalformedState("there is more than its layout says"))
    }
}

/// The event as `partial` counts it; `None` where it does not.
pub(super) fn counted<'a>(
    partial: &Partial,
    events: &Events<'a>,
    event: &StoredEvent<'a>,
) -> Option<Event<'a>> {
    if partial.filter.is_some_and(|filter| event.filters >> filter & 1 == 0) {
        return None;
    }
    let value = match partial.column {
        None => None,
        Some(column) => Some(events.value(event, column)?),
    };
    Some(Event { time: event.time, seq: event.seq, value })
}

fn write_sorted(mut events: Vec<StoredEvent<'_>>, out: &mut Vec<u8>) {
    events.sort_by_key(|event| (event.time, event.seq));
    Events::write(&events, out);
}

/// Writes the union of one series of all bases (each at its cursor) and of the tiles that are `changed`.
fn write_series(
    partial: &Partial,
    oldest: i64,
    cursors: &mut [&[u8]],
    mut changed: BTreeMap<i64, State>,
    out: &mut Vec<u8>,
) -> Result<(), MalformedState> {
    // Tiles that only one base has and that nothing is added to are copied as they are.
    let mut copied: BTreeMap<i64, &[u8]> = BTreeMap::new();
    for bytes in cursors {
        let mut tiles = Tiles::open(bytes)?;
        while let Some(tile) = tiles.next(bytes)? {
            let start = *bytes;
            if let Some(state) = changed.get_mut(&tile) {
                state.merge_encoded(bytes)?;
                continue;
            }
            State::skip_encoded(partial.kind, bytes)?;
            let state = &start[..start.len() - bytes.len()];
            if tile < oldest {
                continue;
            }
            if let Some(other) = copied.insert(tile, state) {
                copied.remove(&tile);
                let mut union = partial.kind.empty();
                union.merge_encoded(&mut &other[..])?;
                union.merge_encoded(&mut &state[..])?;
                changed.insert(tile, union);
            }
        }
    }
    put_varint((copied.len() + changed.len()) as u64, out);
    let mut last = None;
    let (mut copied, mut changed) = (copied.into_iter().peekable(), changed.into_iter().peekable());
    loop {
        let copy_first = match (copied.peek(), changed.peek()) {
            (Some((a, _)), Some((b, _))) => a < b,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Ok(()),
        };
        if copy_first {
            if let Some((tile, state)) = copied.next() {
                put_tile(tile, last.replace(tile), out);
                out.extend_from_slice(state);
            }
        } else if let Some((tile, state)) = changed.next() {
            put_tile(tile, last.replace(tile), out);
            state.encode(out);
        }
    }
}

//! The base: tiles, and the events that have to stay events.
//!
//! ```text
//! u32 version    i64 when it was folded, µs
//! varint number, then events that exact windows may still cover
//! varint number, then events that were yet to come
//! for each series of the layout: varint number of tiles, then each: signed varint tile (the first) or varint distance
//! from the one before it, and its partial state
//! ```

use crate::window::{
    Class, MalformedState,
    codec::{array, put_signed, put_varint, signed, take, varint},
    tiles::{event::Events, layout::Layout},
};

/// A base, read in place.
pub(super) struct Base<'a> {
    pub version: u32,
    pub folded_at: i64,
    pub exact: Events<'a>,
    pub pending: Events<'a>,
    /// All series, end to end.
    pub series: &'a [u8],
}

impl<'a> Base<'a> {
    pub fn read(mut bytes: &'a [u8], layout: &Layout) -> Result<Base<'a>, MalformedState> {
        let version = u32::from_le_bytes(array(&mut bytes)?);
        let folded_at = i64::from_le_bytes(array(&mut bytes)?);
        let exact = events(&mut bytes, &layout.classes)?;
        let pending = events(&mut bytes, &layout.classes)?;
        Ok(Base { version, folded_at, exact, pending, series: bytes })
    }

    pub fn write_head(version: u32, folded_at: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&folded_at.to_le_bytes());
    }
}

fn events<'a>(bytes: &mut &'a [u8], classes: &[Class]) -> Result<Events<'a>, MalformedState> {
    let mut events = Events::default();
    for _ in 0..varint(bytes)? {
        events.read(bytes, classes)?;
    }
    Ok(events)
}

/// The version that a base names, without reading it.
pub fn base_version(base: &[u8]) -> Result<u32, MalformedState> {
    Ok(u32::from_le_bytes(array(&mut &base[..])?))
}

/// Reads at this moment (µs) and later ones can be answered from the base.
pub fn folded_at(base: &[u8]) -> Result<i64, MalformedState> {
    let mut bytes = base;
    take(&mut bytes, 4)?;
    Ok(i64::from_le_bytes(array(&mut bytes)?))
}

/// Walks the tiles of one series. The caller takes each tile's state off `bytes` itself.
pub(super) struct Tiles {
    left: u64,
    last: Option<i64>,
}

impl Tiles {
    pub fn open(bytes: &mut &[u8]) -> Result<Tiles, MalformedState> {
        Ok(Tiles { left: varint(bytes)?, last: None })
    }

    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<i64>, MalformedState> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let tile = match self.last {
            None => signed(bytes)?,
            Some(last) => {
                let distance = i64::try_from(varint(bytes)?).ok();
                let tile = distance.and_then(|distance| last.checked_add(distance));
                tile.ok_or(MalformedState("a tile lies beyond all time"))?
            }
        };
        self.last = Some(tile);
        Ok(Some(tile))
    }
}

/// Writes the number of a tile.
pub(super) fn put_tile(tile: i64, last: Option<i64>, out: &mut Vec<u8>) {
    match last {
        None => put_signed(tile, out),
        Some(last) => put_varint(tile.abs_diff(last), out),
    }
}

//! The bytes of fjall 3's journal files, read only.
//!
//! ```text
//! batch: 1, u32 items, u64 seqno; items; 3, u64 xxh3 of the items' bytes, "FJL" 3
//! item:  2, u8 kind (0 value, 1 and 2 tombstones), u8 compression (0 none, 1 LZ4), u64 keyspace,
//!        u16 key length, u32 value length, u32 stored length, key, stored value
//! clear: 4, u64 keyspace
//! ```
//! Little-endian. A new file is 64 MiB of zeros; a process that opens it again cuts it behind its last batch.
//! A batch's number of items and its seqno are not under its checksum.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    model::TableId,
    shard::{Applied, TableState, answers, blob::BlobHeader, integrity::lz4},
};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const START_SIZE: usize = 13;
const END_SIZE: usize = 13;
const ITEM_HEADER: usize = 21;
const TRAILER: &[u8] = b"FJL\x03";
/// Where a batch's seqno lies, from its start.
pub(super) const SEQNO_AT: usize = 5;

/// A batch whose items agree with its checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub at: usize,
    pub end: usize,
    pub seqno: u64,
    items: &'a [u8],
}

impl<'a> Batch<'a> {
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> {
        items(self.items)
    }
}

/// One value or tombstone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub key: &'a [u8],
    stored: &'a [u8],
    length: usize,
    compressed: bool,
    is_value: bool,
    size: usize,
}

impl<'a> Item<'a> {
    fn value(&self) -> Option<Cow<'a, [u8]>> {
        if !self.is_value {
            return None;
        }
        match self.compressed {
            false => Some(Cow::Borrowed(self.stored)),
            true => lz4::decompress(self.stored, self.length).map(Cow::Owned),
        }
    }

    /// The state of a table, where the item is one: its key is four bytes, and no row begins like its JSON.
    pub fn is_state(&self) -> Option<TableId> {
        let is = self.is_value && !self.compressed && self.stored.starts_with(b"{\"next_seq\":");
        let table = self.key.try_into().ok().filter(|_| is)?;
        Some(TableId(u32::from_be_bytes(table)))
    }

    /// The number of a table's commit, where the item is its state.
    pub fn commit(&self) -> Option<(TableId, u64)> {
        let table = self.is_state()?;
        Some((table, self.state()?.commits)).filter(|(_, commit)| *commit > 0)
    }

    pub fn state(&self) -> Option<TableState> {
        serde_json::from_slice(self.stored).ok()
    }

    /// The answer to a batch that came with an `Idempotency-Key`, where the item is one.
    pub fn answer(&self) -> Option<Applied> {
        let table = TableId(u32::from_be_bytes(self.key.get(..4)?.try_into().ok()?));
        let value = self.value().filter(|value| value.starts_with(b"{"))?;
        let answer = answers::read(&value).ok()?.answer;
        (answer.table == table).then_some(answer)
    }

    /// The header of an outbox blob, where the item is one: the key says where it must begin. Nothing else of it is
    /// checked, so that a damaged blob can still be named.
    pub fn blob(&self) -> Option<(TableId, BlobHeader)> {
        if self.key.len() != 12 || self.length < crate::shard::blob::HEADER {
            return None;
        }
        let table = TableId(u32::from_be_bytes(self.key[..4].try_into().ok()?));
        let first = u64::from_be_bytes(self.key[4..].try_into().ok()?);
        let header = BlobHeader::read(&self.value()?)?;
        (header.first_seq == first && header.rows > 0).then_some((table, header))
    }
}

/// The batch that starts at `at`, or what is wrong with it.
pub(super) fn read_batch(bytes: &[u8], at: usize) -> Result<Batch<'_>, &'static str> {
    let start = bytes.get(at..at + START_SIZE).ok_or("it ends within a batch's start")?;
    if start[0] != START {
        return Err("no batch starts here");
    }
    let (count, seqno) = (u32_at(start, 1), u64_at(start, SEQNO_AT));
    let mut end = at + START_SIZE;
    for _ in 0..count {
        end += item_size(&bytes[end..]).ok_or("an item of the batch is no item")?;
    }
    let trailer = bytes.get(end..end + END_SIZE).ok_or("it ends within a batch's end")?;
    if trailer[0] != END || &trailer[9..] != TRAILER {
        return Err("the batch does not end where it says");
    }
    let items = &bytes[at + START_SIZE..end];
    if xxh3_64(items) != u64_at(trailer, 1) {
        return Err("the batch fails its checksum");
    }
    Ok(Batch { at, end: end + END_SIZE, seqno, items })
}

/// The next whole batch that starts at `from` or behind.
pub(super) fn find_batch(bytes: &[u8], from: usize) -> Option<Batch<'_>> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == START)?;
        let begins_well = bytes.get(at + START_SIZE).is_some_and(|tag| matches!(*tag, ITEM | CLEAR));
        if begins_well && let Ok(batch) = read_batch(bytes, at) {
            return Some(batch);
        }
        at += 1;
    }
}

/// Whether a batch was written to its very end here.
pub(super) fn ends_whole(bytes: &[u8]) -> bool {
    bytes.len() > END_SIZE && bytes.ends_with(TRAILER) && bytes[bytes.len() - END_SIZE] == END
}

/// What can be read of a batch that is damaged or torn, wherever in it items begin.
pub(super) fn loose_items(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let at = rest.iter().position(|&byte| byte == ITEM)?;
            rest = &rest[at..];
            if let Some(item) = item(rest) {
                rest = &rest[item.size..];
                return Some(item);
            }
            rest = &rest[1..];
        }
    })
}

fn items(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        while rest.first() == Some(&CLEAR) {
            rest = rest.get(item_size(rest)?..)?;
        }
        let item = item(rest)?;
        rest = &rest[item.size..];
        Some(item)
    })
}

fn item(bytes: &[u8]) -> Option<Item<'_>> {
    let header = bytes.get(..ITEM_HEADER)?;
    if header[0] != ITEM || header[1] > 2 || header[2] > 1 {
        return None;
    }
    let key_length = usize::from(u16::from_le_bytes([header[11], header[12]]));
    let (length, stored) = (u32_at(header, 13) as usize, u32_at(header, 17) as usize);
    let size = ITEM_HEADER.checked_add(key_length)?.checked_add(stored)?;
    let body = bytes.get(ITEM_HEADER..size)?;
    let (key, stored) = body.split_at(key_length);
    if header[2] == 0 && length != stored.len() {
        return None;
    }
    Some(Item { key, stored, length, compressed: header[2] == 1, is_value: header[1] == 0, size })
}

fn item_size(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        ITEM => item(bytes).map(|item| item.size),
        CLEAR => (bytes.len() >= 9).then_some(9),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

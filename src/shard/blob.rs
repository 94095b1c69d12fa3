//! The outbox blob: a run of one table's rows on their way from the online store to a segment.
//!
//! ```text
//! 0  u32 crc32c of all that follows     4  u32 crc of the blob before it (0 for a table's first)
//! 8  u64 seq of the first row          16  u32 rows        20  i64 accepted at, µs       28  16 bytes batch id
//! 44 rows, each: u16 key length, u32 row length, key bytes, row bytes
//! ```
//! Little-endian. The chain of checksums shows a missing or exchanged blob; fjall's own batch checksum does not
//! cover its sequence numbers.

use crate::model::Timestamp;

pub const HEADER: usize = 44;
/// A blob is closed at this size; one row may be larger.
pub const TARGET: usize = 64 * 1024;
/// Bytes before a row's key.
pub const ENTRY_HEADER: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobHeader {
    pub prev_crc: u32,
    pub first_seq: u64,
    pub rows: u32,
    pub accepted_at: Timestamp,
    pub batch_id: [u8; 16],
}

impl BlobHeader {
    /// What the header says, not checked against the blob's checksum.
    pub fn read(bytes: &[u8]) -> Option<BlobHeader> {
        let header = bytes.get(..HEADER)?;
        Some(BlobHeader {
            prev_crc: u32::from_le_bytes(header[4..8].try_into().ok()?),
            first_seq: u64::from_le_bytes(header[8..16].try_into().ok()?),
            rows: u32::from_le_bytes(header[16..20].try_into().ok()?),
            accepted_at: Timestamp::from_micros(i64::from_le_bytes(header[20..28].try_into().ok()?)),
            batch_id: header[28..44].try_into().ok()?,
        })
    }

    /// One past the last row's seq.
    pub fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.rows))
    }
}

/// Builds a blob of entries that are already encoded; returns it with its checksum.
pub fn encode(header: &BlobHeader, entries: &[u8]) -> (Vec<u8>, u32) {
    let mut blob = Vec::with_capacity(HEADER + entries.len());
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(&header.prev_crc.to_le_bytes());
    blob.extend_from_slice(&header.first_seq.to_le_bytes());
    blob.extend_from_slice(&header.rows.to_le_bytes());
    blob.extend_from_slice(&header.accepted_at.micros().to_le_bytes());
    blob.extend_from_slice(&header.batch_id);
    blob.extend_from_slice(entries);
    let crc = crc32c::crc32c(&blob[4..]);
    blob[..4].copy_from_slice(&crc.to_le_bytes());
    (blob, crc)
}

/// A blob that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    pub header: BlobHeader,
    pub crc: u32,
    entries: &'a [u8],
}

impl<'a> Blob<'a> {
    /// `None` where the bytes are not a whole, unchanged blob.
    pub fn open(bytes: &'a [u8]) -> Option<Blob<'a>> {
        let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        if bytes.len() < HEADER || crc32c::crc32c(&bytes[4..]) != crc {
            return None;
        }
        let header = BlobHeader::read(bytes)?;
        Some(Blob { header, crc, entries: &bytes[HEADER..] })
    }

    /// One past the last row's seq.
    pub fn end_seq(&self) -> u64 {
        self.header.end_seq()
    }

    /// (key, row) of each row, in order of acceptance.
    pub fn entries(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            let (key, row, size) = entry(rest)?;
            rest = &rest[size..];
            Some((key, row))
        })
    }
}

/// Appends an entry whose row is still to come; returns where it starts, for [`close_entry`].
pub fn open_entry(key: &[u8], out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(key);
    start
}

/// Notes the length of the row that was appended since [`open_entry`].
pub fn close_entry(start: usize, key_length: usize, out: &mut [u8]) {
    let length = (out.len() - start - ENTRY_HEADER - key_length) as u32;
    out[start + 2..start + ENTRY_HEADER].copy_from_slice(&length.to_le_bytes());
}

/// The first entry of `bytes`: key, row, and the entry's whole size.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let key_length = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
    let row_length = u32::from_le_bytes(bytes.get(2..ENTRY_HEADER)?.try_into().ok()?) as usize;
    let row_at = ENTRY_HEADER + key_length;
    let end = row_at.checked_add(row_length)?;
    Some((bytes.get(ENTRY_HEADER..row_at)?, bytes.get(row_at..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, u32) {
        let mut entries = Vec::new();
        for (key, row) in [(&b"k1"[..], &b"row one"[..]), (b"", b"x")] {
            let start = open_entry(key, &mut entries);
            entries.extend_from_slice(row);
            close_entry(start, key.len(), &mut entries);
        }
        let header = BlobHeader {
            prev_crc: 7,
            first_seq: 41,
            rows: 2,
            accepted_at: Timestamp::from_micros(-5),
            batch_id: [9; 16],
        };
        encode(&header, &entries)
    }

    #[test]
    fn reads_back() {
        let (bytes, crc) = sample();
        let blob = Blob::open(&bytes).unwrap();
        assert_eq!((blob.crc, blob.header.prev_crc, blob.header.first_seq, blob.end_seq()), (crc, 7, 41, 43));
        assert_eq!(blob.header.accepted_at.micros(), -5);
        let entries: Vec<_> = blob.entries().collect();
        assert_eq!(entries, [(&b"k1"[..], &b"row one"[..]), (b"", b"x")]);
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let (bytes, _) = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Blob::open(&damaged).is_none(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Blob::open(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }
}

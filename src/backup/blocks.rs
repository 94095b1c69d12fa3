//! The files that hold an exported keyspace: entries in order, in compressed blocks with a checksum each.
//!
//! ```text
//! "LARDERB1"
//! blocks: u32 crc32c of the rest of the block    u32 entries    u32 bytes of the entries    u32 bytes that follow
//!         the entries, zstd; each: u32 key length, u32 value length, key, value
//! at the end a block without entries
//! ```
//! Little-endian.

use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"LARDERB1";
const HEADER: usize = 16;
/// A block is closed at this size; one entry may be larger.
const TARGET: usize = 256 << 10;
/// No block is larger, whatever its header says: an entry is at most one outbox blob of one row.
const MAX_BLOCK: usize = 256 << 20;
const ZSTD_LEVEL: i32 = 1;

pub struct BlockWriter<W: Write> {
    out: W,
    entries: Vec<u8>,
    count: u32,
}

impl<W: Write> BlockWriter<W> {
    pub fn new(mut out: W) -> io::Result<BlockWriter<W>> {
        out.write_all(MAGIC)?;
        Ok(BlockWriter { out, entries: Vec::with_capacity(TARGET), count: 0 })
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        for length in [key.len(), value.len()] {
            self.entries.extend_from_slice(&(length as u32).to_le_bytes());
        }
        self.entries.extend_from_slice(key);
        self.entries.extend_from_slice(value);
        self.count += 1;
        if self.entries.len() >= TARGET { self.close_block() } else { Ok(()) }
    }

    pub fn finish(mut self) -> io::Result<W> {
        if self.count > 0 {
            self.close_block()?;
        }
        self.close_block()?;
        Ok(self.out)
    }

    fn close_block(&mut self) -> io::Result<()> {
        let payload = zstd::bulk::compress(&self.entries, ZSTD_LEVEL)?;
        let mut header = [0; HEADER];
        header[4..8].copy_from_slice(&self.count.to_le_bytes());
        header[8..12].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        header[12..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[4..]), &payload);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(&payload)?;
        self.entries.clear();
        self.count = 0;
        Ok(())
    }
}

/// Hands every entry to `sink`, in order. Any change to the file is an error before its block's entries are handed out;
/// `failed` says it in the caller's words.
pub fn read_blocks<E>(
    mut from: impl Read,
    failed: impl Fn(io::Error) -> E,
    mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).map_err(&failed)?;
    if magic != *MAGIC {
        return Err(failed(wrong("it is no export of a keyspace")));
    }
    while let Some((entries, count)) = read_block(&mut from).map_err(&failed)? {
        let mut rest = entries.as_slice();
        for _ in 0..count {
            let (key, value);
            (key, value, rest) = entry(rest).ok_or_else(|| failed(wrong("a block is cut short")))?;
            sink(key, value)?;
        }
    }
    Ok(())
}

/// The next block's entries and their number; `None` at the end.
fn read_block(from: &mut impl Read) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let field =
        |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (crc, count, length, packed) = (field(0), field(4), field(8), field(12));
    if length > MAX_BLOCK || packed > MAX_BLOCK {
        return Err(wrong("a block says that it is too large"));
    }
    let mut payload = vec![0; packed];
    from.read_exact(&mut payload)?;
    if crc32c::crc32c_append(crc32c::crc32c(&header[4..]), &payload) as usize != crc {
        return Err(wrong("a block fails its checksum"));
    }
    if count > 0 {
        return Ok(Some((zstd::bulk::decompress(&payload, length)?, count)));
    }
    match from.read(&mut [0])? {
        0 => Ok(None),
        _ => Err(wrong("there is something after its end")),
    }
}

fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (key, value) = (length(0)?, length(4)?);
    let rest = bytes.get(8..)?;
    Some((rest.get(..key)?, rest.get(key..key + value)?, rest.get(key + value..)?))
}

fn wrong(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut entries = Vec::new();
        read_blocks(
            bytes,
            |error| error,
            |key, value| {
                entries.push((key.to_vec(), value.to_vec()));
                Ok(())
            },
        )?;
        Ok(entries)
    }

    fn sample(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut writer = BlockWriter::new(Vec::new()).unwrap();
        for (key, value) in entries {
            writer.push(key, value).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn reads_back_over_many_blocks() {
        let entries: Vec<_> =
            (0..5000u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; (n % 300) as usize])).collect();
        let bytes = sample(&entries);
        assert_eq!(read(&bytes).unwrap(), entries);
        assert_eq!(read(&sample(&[])).unwrap(), []);
        let large = vec![(b"k".to_vec(), vec![7; 2 * TARGET])];
        assert_eq!(read(&sample(&large)).unwrap(), large);
    }

    #[test]
    fn any_flip_or_cut_is_an_error() {
        let bytes = sample(&[(b"key".to_vec(), b"value".to_vec()), (b"other".to_vec(), Vec::new())]);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

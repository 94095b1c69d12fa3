//! A file whose SHA-256 and length are known when it is written, and that does not grow beyond what it may.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::{format::FormatError, serve::sets::SetError};

/// Counts and hashes what passes through.
pub(super) struct Hashed<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

/// The error of a write that would pass the limit.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes")]
pub(super) struct PastLimit(pub u64);

/// What went wrong when a table was written through a [`Hashed`].
pub(super) fn unwritten(error: FormatError) -> SetError {
    if let FormatError::Io(io) = &error
        && let Some(PastLimit(limit)) = io.get_ref().and_then(|inner| inner.downcast_ref())
    {
        return SetError::TooLarge { limit: *limit };
    }
    error.into()
}

impl<T> Hashed<T> {
    pub fn new(inner: T, limit: u64) -> Hashed<T> {
        Hashed { inner, hash: Sha256::new(), bytes: 0, limit }
    }

    /// What it wraps, the bytes that went through and their SHA-256 in hex.
    pub fn finish(self) -> (T, u64, String) {
        (self.inner, self.bytes, hex(self.hash))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.limit - self.bytes {
            return Err(io::Error::other(PastLimit(self.limit)));
        }
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads all of it: length and SHA-256 in hex. `go` is asked between any two reads.
pub(super) fn hash(
    mut from: impl Read,
    go: impl Fn() -> Result<(), SetError>,
    unread: impl FnOnce(io::Error) -> SetError,
) -> Result<(u64, String), SetError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        go()?;
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) => return Err(unread(error)),
        };
        if read == 0 {
            return Ok((bytes, hex(hash)));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same_hash() {
        let mut out = Hashed::new(Vec::new(), 10);
        out.write_all(b"abc").unwrap();
        let (written, bytes, sha256) = out.finish();
        assert_eq!((written.as_slice(), bytes), (b"abc".as_slice(), 3));
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let read =
            |go: fn() -> Result<(), SetError>| hash(&b"abc"[..], go, SetError::io("reading", "abc".as_ref()));
        assert_eq!(read(|| Ok(())).unwrap(), (3, sha256));
        assert!(matches!(read(|| Err(SetError::Stopped)), Err(SetError::Stopped)));
    }

    #[test]
    fn nothing_is_written_past_the_limit() {
        let mut out = Hashed::new(Vec::new(), 4);
        out.write_all(b"abc").unwrap();
        assert!(out.write_all(b"de").is_err());
        assert!(out.write_all(b"d").is_ok());
    }
}

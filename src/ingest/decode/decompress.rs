//! `Content-Encoding`, with a bound on what comes out.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use crate::{format::Compression, ingest::decode::DecodeError};

/// Below this many bytes of output no ratio is suspicious.
const RATIO_FREE: usize = 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// Undoes a content encoding. `limit`: the most bytes that may come out; `max_ratio`: out to in, beyond the first
/// MiB. Stops as soon as either is passed, so a bomb costs no more than the limit.
pub fn decompress(
    encoding: Option<&str>,
    body: Bytes,
    limit: usize,
    max_ratio: usize,
) -> Result<Bytes, DecodeError> {
    let compression = match encoding.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => {
            return match body.len() > limit {
                true => Err(too_large(limit)),
                false => Ok(body),
            };
        }
        Some("gzip" | "x-gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some(other) => return Err(DecodeError::UnsupportedEncoding(other.to_owned())),
    };
    let compressed = body.len();
    let damaged = |error: io::Error| DecodeError::Encoding(error.to_string());
    let mut reader = compression.reader(body.reader()).map_err(damaged)?;
    let mut out = Vec::with_capacity(compressed.saturating_mul(4).min(limit));
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => return Ok(Bytes::from(out)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        out.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if out.len() > limit {
            return Err(too_large(limit));
        }
        if out.len() > RATIO_FREE && out.len() / compressed.max(1) > max_ratio {
            let what = "the body expands by more than the ratio allowed".to_owned();
            return Err(DecodeError::TooLarge { what, limit: max_ratio });
        }
    }
}

fn too_large(limit: usize) -> DecodeError {
    DecodeError::TooLarge { what: "the decompressed body has too many bytes".to_owned(), limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn each_encoding_gives_the_bytes_back() {
        let plain = b"hello, hello, hello".as_slice();
        let undo = |encoding, body: Vec<u8>| decompress(encoding, Bytes::from(body), 100, 100).unwrap();
        assert_eq!(undo(None, plain.to_vec()), plain);
        assert_eq!(undo(Some("identity"), plain.to_vec()), plain);
        assert_eq!(undo(Some("GZIP"), gzip(plain)), plain);
        assert_eq!(undo(Some("zstd"), zstd::encode_all(plain, 0).unwrap()), plain);
        let members = [gzip(b"hello, "), gzip(b"hello, hello")].concat();
        assert_eq!(undo(Some("gzip"), members), plain);
    }

    #[test]
    fn bombs_stop_early() {
        let zeros = vec![0; 64 * MIB];
        for (encoding, bomb) in
            [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(zeros.as_slice(), 0).unwrap())]
        {
            let by_ratio = decompress(Some(encoding), bomb.clone().into(), 128 * MIB, 100).unwrap_err();
            assert!(by_ratio.to_string().contains("ratio"), "{by_ratio}");
            let by_size = decompress(Some(encoding), bomb.into(), MIB, usize::MAX).unwrap_err();
            assert!(matches!(by_size, DecodeError::TooLarge { limit: MIB, .. }), "{by_size}");
        }
        // A small body may be as repetitive as it likes.
        assert!(decompress(Some("gzip"), gzip(&zeros[..MIB]).into(), MIB, 100).is_ok());
        assert!(decompress(None, zeros.into(), MIB, 100).is_err());
    }

    #[test]
    fn stumps_and_strangers() {
        let whole = gzip(b"some text that is cut off");
        let stump = Bytes::copy_from_slice(&whole[..whole.len() - 9]);
        assert!(matches!(decompress(Some("gzip"), stump, 100, 100), Err(DecodeError::Encoding(_))));
        let stump = Bytes::from_static(b"not zstd");
        assert!(matches!(decompress(Some("zstd"), stump, 100, 100), Err(DecodeError::Encoding(_))));
        let error = decompress(Some("br"), Bytes::new(), 100, 100).unwrap_err();
        assert!(matches!(error, DecodeError::UnsupportedEncoding(name) if name == "br"));
    }
}

//! The id under which a request is found in logs and answers.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::http::{HeaderMap, HeaderValue};
use uuid::{Builder, NoContext, Timestamp, fmt::Hyphenated};

const MAX_LENGTH: usize = 128;

/// A request's id: the client's `x-request-id` where that is sane, else a new one. Handlers find it among the request's
/// extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub const HEADER: &'static str = "x-request-id";

    /// Takes over 1 to 128 visible ASCII characters; anything else could break a log line, and is replaced.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let sane = |value: &&HeaderValue| {
            let id = value.as_bytes();
            (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        };
        match headers.get(RequestId::HEADER).filter(sane) {
            Some(id) => RequestId(id.clone()),
            None => RequestId::fresh(),
        }
    }

    /// A UUID of version 7 whose random part is a scrambled count: unlike all others of this process, and, by a random
    /// beginning, of any other, without asking the system for random bytes at each request.
    fn fresh() -> RequestId {
        static SCRAMBLE: LazyLock<(RandomState, AtomicU64)> = LazyLock::new(Default::default);
        let (scramble, count) = &*SCRAMBLE;
        let n = count.fetch_add(1, Ordering::Relaxed);
        let (seconds, nanos) = Timestamp::now(NoContext).to_unix();
        let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
        let mut tail = [0; 10];
        tail[..2].copy_from_slice(&(n as u16).to_be_bytes());
        tail[2..].copy_from_slice(&scramble.hash_one(n).to_be_bytes());
        let mut text = [0; Hyphenated::LENGTH];
        let id = Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
        let text = id.hyphenated().encode_lower(&mut text);
        RequestId(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("invalid")
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(RequestId::HEADER, HeaderValue::from_bytes(sent).unwrap());
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_is_taken_over_and_others_are_replaced() {
        let longest = [b'a'; 128];
        assert_eq!(of(b"trace-7/a.b"), "trace-7/a.b");
        assert_eq!(of(&longest).as_bytes(), longest);
        for odd in [b"".as_slice(), b"two words", b"tab\tbed", &[b'a'; 129], "ä".as_bytes()] {
            assert_eq!(of(odd).len(), 36, "{odd:?}");
        }
        let fresh: std::collections::HashSet<String> =
            (0..1000).map(|_| RequestId::fresh().as_str().to_owned()).collect();
        assert_eq!(fresh.len(), 1000);
        assert!(fresh.iter().all(|id| uuid::Uuid::parse_str(id).unwrap().get_version_num() == 7));
    }
}

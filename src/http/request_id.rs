//! The id under which a request is found in logs and answers.

use axum::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

const MAX_LENGTH: usize = 128;

/// A request's id: the client's `x-request-id` where that is sane, else a new one. Handlers find it among the request's
/// extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    pub const HEADER: &'static str = "x-request-id";

    /// Takes over 1 to 128 visible ASCII characters; anything else could break a log line, and is replaced.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let sent = headers.get(RequestId::HEADER).and_then(|value| value.to_str().ok());
        match sent {
            Some(id) if (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
                RequestId(id.to_owned())
            }
            _ => RequestId(Uuid::now_v7().to_string()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("invalid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(RequestId::HEADER, HeaderValue::from_bytes(sent).unwrap());
        RequestId::of(&headers).0
    }

    #[test]
    fn a_sane_id_is_taken_over_and_others_are_replaced() {
        let longest = [b'a'; 128];
        assert_eq!(of(b"trace-7/a.b"), "trace-7/a.b");
        assert_eq!(of(&longest).as_bytes(), longest);
        for odd in [b"".as_slice(), b"two words", b"tab\tbed", &[b'a'; 129], "ä".as_bytes()] {
            assert_eq!(of(odd).len(), 36, "{odd:?}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}

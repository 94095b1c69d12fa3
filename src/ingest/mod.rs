//! The write path: bytes decoded into canonical Arrow, checked against the features' rules, handed to a shard.

mod computed;
mod decode;
mod delete;
mod error;
mod merge;
mod meters;
mod pipeline;
mod retry;
mod turns;
mod validate;

pub use computed::{check_columns, computed_rows};
pub use decode::{DecodeError, DecodeLimits, Decoded, Rejected, decode, decompress};
pub use delete::DeleteRequest;
pub use error::IngestError;
pub use merge::WriteMode;
pub use meters::Meters;
pub use pipeline::{Ingest, IngestRequest, OnError};
pub use retry::Retried;
pub use turns::{Circle, Turns};
pub use validate::{Violation, retain, validate};

//! The vocabulary that every layer shares: types, values, times, names, keys and table schemas.
//!
//! Pure data. Nothing here does I/O, and nothing here knows who uses it.

mod batch_id;
pub mod clock;
mod data_type;
mod duration;
pub mod error;
pub mod failpoint;
mod float;
mod key;
mod name;
pub mod priority;
mod schema;
mod text;
mod time_error;
mod time_form;
#[cfg(test)]
mod time_tests;
mod time_text;
mod time_unit;
mod time_zone;
mod timestamp;
mod uuid;
mod value;

pub use batch_id::BatchId;
pub use data_type::{DataType, ParseDataTypeError};
pub use duration::{Duration, ParseDurationError};
pub use float::{canonical_nans, one_nan};
pub use key::{EntityKey, KeyError, MAX_KEY_STRING, encode_key_part, encode_keys, in_key_order, row_keys};
pub use name::{NameError, check_name};
pub use schema::{ACCEPTED_AT, Column, DELETED, EVENT_TIME, SEQ, TableId, TableKind, TableSchema};
pub use time_error::ParseTimestampError;
pub use time_form::TimeForm;
pub use time_unit::{ParseTimeUnitError, TimeUnit};
pub use time_zone::{LocalInstants, ParseTimeZoneError, TimeZone};
pub use timestamp::Timestamp;
pub use uuid::{canonical_uuid, uuid_column, uuid_keys, uuid_of_bytes};
pub use value::Value;

//! Table formats: their names, readers that give Arrow batches, writers that take them.
//!
//! Nothing here knows a feature view. `http` negotiates by [`Format`], `cli` opens files with [`TableReader`],
//! training sets go out through [`TableWriter`], and `ingest::decode` builds its typed rows with [`RowBuilder`].
//! Pure and synchronous; whoever reads bytes of unknown origin bounds them with `ReadOptions::max_decoded_bytes`.

mod cell;
mod column;
mod convert;
mod error;
mod forms;
mod infer;
mod ipc;
mod json;
mod kind;
mod list;
mod named;
mod parquet_guard;
mod parquet_reader;
mod plain;
mod reader;
mod rows;
mod size;
mod suggest;
mod text;
mod text_reader;
mod thrift;
mod words;
mod writer;

pub use cell::{row_json, value_text};
pub use column::{CellError, ColumnBuilder};
pub use convert::{BadValue, TypeFit, ValueLimits, convert_column, type_fit, undeclared_time};
pub use error::FormatError;
pub(crate) use json::raw_rows;
pub use json::{JsonRowsError, json_rows, ndjson_rows};
pub use kind::{Compression, Format, UnknownFormat};
pub use named::NamedColumns;
pub use plain::{plain, plain_batch, plain_schema, plain_type};
pub use reader::{ReadOptions, TableReader};
pub(crate) use rows::unknown_column;
pub use rows::{FieldSpec, RowBuilder, RowError};
pub use size::decoded_size;
pub use suggest::did_you_mean;
pub use text::{MOST_JSON, json_weight, nests_within, shorten};
pub use words::type_words;
pub use writer::TableWriter;

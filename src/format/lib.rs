//! Table formats: their names, readers that give Arrow batches, writers that take them.
//!
//! Nothing here knows a feature view. `http` negotiates by [`Format`], `cli` opens files with [`TableReader`],
//! training sets go out through [`TableWriter`], and `ingest::decode` builds its typed rows with [`RowBuilder`].
//! Pure and synchronous; whoever reads bytes of unknown origin bounds them with `ReadOptions::max_decoded_bytes`.

mod cell;
mod column;
mod convert;
mod csv_reader;
mod encoding;
mod error;
mod forms;
mod infer;
mod ipc;
mod ipc_file;
mod json;
mod json_error;
mod kind;
mod list;
mod named;
mod parquet_guard;
mod parquet_reader;
mod plain;
mod reader;
mod repeated_key;
mod rows;
mod size;
mod suggest;
mod text;
mod text_reader;
mod text_rows;
mod thrift;
mod words;
mod writer;

pub use cell::{row_json, value_text};
pub use column::{CellError, ColumnBuilder};
pub use convert::{BadValue, TypeFit, ValueLimits, convert_column, type_fit, undeclared, undeclared_time};
pub use csv_reader::{CsvError, CsvReader, CsvRecord, STRAY};
pub use encoding::utf8_text;
pub use error::FormatError;
pub use json::raw_rows;
pub use json::{JsonRowsError, json_rows, ndjson_rows};
pub use json_error::json_error;
pub use kind::{Compression, Format, UnknownFormat};
pub use named::NamedColumns;
pub use plain::{plain, plain_batch, plain_schema, plain_type};
pub use reader::{ReadOptions, TableReader};
pub use repeated_key::repeated_key;
pub use rows::unknown_column;
pub use rows::{FieldSpec, RowBuilder, RowError};
pub use size::decoded_size;
pub use suggest::did_you_mean;
pub use text::{MOST_JSON, json_weight, nests_within, shorten};
pub use text_rows::TextRows;
pub use words::type_words;
pub use writer::TableWriter;

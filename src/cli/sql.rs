//! `larder sql`: a query, its rows as a table or as a file.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;
use clap::Args;
use reqwest::header;
use serde_json::{Value as Json, json};

use crate::{
    cli::{CliError, Client, Server, progress::count},
    format::{Format, ReadOptions, TableReader},
};

#[derive(Args)]
pub struct Sql {
    /// One SELECT over the tables: feature views (all versions), VIEW__latest, sources.
    query: String,
    /// A value for `$name` in the query, as name=value; a number, true, false or null where it reads as one.
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Where to write: .parquet, .arrow, .csv, .ndjson or .json.
    #[arg(long, conflicts_with = "json")]
    out: Option<PathBuf>,
    /// Print the node's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Sql {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let format = match &self.out {
            Some(path) => Format::from_path(path).map_err(CliError::usage)?.0,
            None if self.json => Format::Json,
            None => Format::ArrowStream,
        };
        let body = json!({ "query": self.query, "parameters": parameters(&self.parameters)? });
        let request = || client.post("/v1/sql").header(header::ACCEPT, format.media_type()).json(&body);
        let response = client.send(request)?;
        let rows = response.headers().get("larder-rows").and_then(|rows| rows.to_str().ok()?.parse().ok());
        let bytes = response.bytes().map_err(CliError::failed)?;
        let mut stdout = std::io::stdout().lock();
        let written = match &self.out {
            Some(path) => fs_err::write(path, &bytes),
            None if self.json => stdout.write_all(&bytes),
            None => stdout.write_all(table(bytes)?.as_bytes()),
        };
        written.map_err(CliError::failed)?;
        match rows {
            Some(1) => eprintln!("1 row"),
            rows => eprintln!("{} rows", count(rows.unwrap_or(0))),
        }
        Ok(())
    }
}

fn parameters(given: &[String]) -> Result<BTreeMap<String, Json>, CliError> {
    let pair = |text: &String| {
        let (name, value) =
            text.split_once('=').ok_or_else(|| CliError::Usage(format!("`{text}` is not `name=value`")))?;
        let value = match serde_json::from_str(value) {
            Ok(value @ (Json::Number(_) | Json::Bool(_) | Json::Null)) => value,
            _ => json!(value),
        };
        Ok((name.trim_start_matches('$').to_owned(), value))
    };
    given.iter().map(pair).collect()
}

/// The rows of an Arrow stream in columns, numbers to the right.
fn table(bytes: Bytes) -> Result<String, CliError> {
    let reader = TableReader::from_bytes(Format::ArrowStream, bytes, &ReadOptions::default());
    let reader = reader.map_err(CliError::failed)?;
    let schema = reader.schema().clone();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(CliError::failed)?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let mut cells = vec![field.name().clone()];
        for batch in &batches {
            cells.extend(texts(batch, at)?);
        }
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        columns.push((cells, width, field.data_type().is_numeric()));
    }
    let rows = columns.first().map_or(0, |(cells, ..)| cells.len());
    let mut out = String::new();
    for row in 0..rows {
        let line: Vec<String> = columns
            .iter()
            .map(|(cells, width, number)| match number {
                true => format!("{:>width$}", cells[row]),
                false => format!("{:width$}", cells[row]),
            })
            .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
        if row == 0 {
            let rule: Vec<String> = columns.iter().map(|(_, width, _)| "-".repeat(*width)).collect();
            out.push_str(&rule.join("  "));
            out.push('\n');
        }
    }
    Ok(out)
}

/// A column's cells; line breaks within one would break the table.
fn texts(batch: &RecordBatch, column: usize) -> Result<Vec<String>, CliError> {
    let options = FormatOptions::new().with_null("-");
    let cells = ArrayFormatter::try_new(batch.column(column), &options).map_err(CliError::failed)?;
    let text = |row| cells.value(row).try_to_string().map_err(CliError::failed);
    (0..batch.num_rows()).map(|row| Ok(text(row)?.replace(['\n', '\r'], " "))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;
    use crate::format::TableWriter;

    #[test]
    fn rows_stand_in_columns() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("dest", Arc::new(StringArray::from(vec![Some("LAX"), None, Some("a\nb")]))),
            ("mean", Arc::new(Float64Array::from(vec![Some(329.5), Some(1.0), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = TableWriter::new(Format::ArrowStream, Vec::new(), batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let table = table(writer.finish().unwrap().into()).unwrap();
        assert_eq!(table, "dest   mean\n----  -----\nLAX   329.5\n-       1.0\na b       -\n");
    }

    #[test]
    fn a_parameter_is_what_it_reads_as() {
        let given = ["$n=1", "s=a=b", "t=true", "d=2024-01-01"].map(str::to_owned);
        let read = parameters(&given).unwrap();
        assert_eq!(json!(read), json!({ "n": 1, "s": "a=b", "t": true, "d": "2024-01-01" }));
        assert!(parameters(&["n".to_owned()]).is_err());
    }
}

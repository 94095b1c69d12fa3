//! Where data made again differ from those that are stored: column by column, in words.

use std::path::Path;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{
    format::{ReadOptions, TableReader},
    serve::sets::SetError,
};

pub(super) struct Comparison {
    stored: TableReader,
    /// What of the stored rows was read and not compared yet.
    pending: Option<RecordBatch>,
    row: u64,
    columns: Vec<Column>,
    /// The two are not even alike.
    apart: Option<String>,
}

#[derive(Default)]
struct Column {
    rows: u64,
    first: Option<String>,
}

impl Comparison {
    /// With a stored Parquet file.
    pub fn open(path: &Path) -> Result<Comparison, SetError> {
        let stored =
            TableReader::open(path, &ReadOptions::default()).map_err(|e| SetError::damaged(path, e))?;
        let columns = stored.schema().fields().iter().map(|_| Column::default()).collect();
        Ok(Comparison { stored, pending: None, row: 0, columns, apart: None })
    }

    /// Takes the next rows made again.
    pub fn take(&mut self, mut again: RecordBatch) {
        while again.num_rows() > 0 && self.apart.is_none() {
            let Some(stored) = self.pending.take().or_else(|| self.stored.next().and_then(Result::ok)) else {
                self.apart = Some(format!("the stored data end or cannot be read after row {}", self.row));
                return;
            };
            if stored.schema_ref().fields() != again.schema_ref().fields() {
                self.apart = Some("the columns have other names or types than the stored ones".to_owned());
                return;
            }
            let rows = stored.num_rows().min(again.num_rows());
            for (column, (was, is)) in stored.columns().iter().zip(again.columns()).enumerate() {
                self.columns[column].compare(&was.slice(0, rows), &is.slice(0, rows), self.row);
            }
            self.row += rows as u64;
            self.pending =
                Some(stored.slice(rows, stored.num_rows() - rows)).filter(|rest| rest.num_rows() > 0);
            again = again.slice(rows, again.num_rows() - rows);
        }
    }

    pub fn finish(self) -> Vec<String> {
        let schema = self.stored.schema();
        let columns = self.columns.into_iter().zip(schema.fields()).filter_map(|(column, field)| {
            let first = column.first?;
            Some(format!("the column `{}` differs in {} rows; {first}", field.name(), column.rows))
        });
        self.apart.into_iter().chain(columns).collect()
    }
}

impl Column {
    fn compare(&mut self, was: &ArrayRef, is: &ArrayRef, first_row: u64) {
        if was.to_data() == is.to_data() {
            return;
        }
        for row in 0..was.len() {
            let (was, is) = (was.slice(row, 1), is.slice(row, 1));
            if was.to_data() == is.to_data() {
                continue;
            }
            self.rows += 1;
            self.first.get_or_insert_with(|| {
                format!("row {} had {}, made again it has {}", first_row + row as u64, text(&was), text(&is))
            });
        }
    }
}

fn text(value: &dyn Array) -> String {
    let options = FormatOptions::default().with_null("null");
    let formatted = ArrayFormatter::try_new(value, &options).map(|it| it.value(0).to_string());
    crate::format::shorten(&formatted.unwrap_or_default()).to_string()
}

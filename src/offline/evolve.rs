//! Schema evolution: a table's columns only ever grow in number and in width.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};

use crate::offline::OfflineError;

/// What a table's schema becomes when rows of another schema come.
pub(super) struct Evolved {
    pub schema: SchemaRef,
    /// Columns were added or widened.
    pub changed: bool,
    /// Columns were widened: what is stored has to be rewritten, or not every Delta reader can read it.
    pub widened: bool,
}

/// The narrowest schema that holds both `stored` and `incoming`: new columns come last, nullable; each column has
/// the wider of its two types.
pub(super) fn evolve(table: &str, stored: &SchemaRef, incoming: &Schema) -> Result<Evolved, OfflineError> {
    let mut fields: Vec<Arc<Field>> = stored.fields().iter().cloned().collect();
    let (mut added, mut widened) = (false, false);
    for field in incoming.fields() {
        let Some(at) = fields.iter().position(|f| f.name() == field.name()) else {
            fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            added = true;
            continue;
        };
        let (old, new) = (fields[at].data_type(), field.data_type());
        if old == new || widens(new, old) {
            continue;
        }
        if !widens(old, new) {
            return Err(OfflineError::Schema {
                table: table.to_owned(),
                column: field.name().clone(),
                reason: format!(
                    "it is stored as {old} and cannot become {new}; give the column another name"
                ),
            });
        }
        fields[at] = Arc::new(fields[at].as_ref().clone().with_data_type(new.clone()));
        widened = true;
    }
    let changed = added || widened;
    let schema = if changed { Arc::new(Schema::new(fields)) } else { Arc::clone(stored) };
    Ok(Evolved { schema, changed, widened })
}

/// Whether every value of `from` is exactly a value of `to`.
fn widens(from: &DataType, to: &DataType) -> bool {
    matches!(
        (from, to),
        (DataType::Int32, DataType::Int64 | DataType::Float64) | (DataType::Float32, DataType::Float64)
    )
}

/// The columns of `target`, in its order: those of `batch` by name, cast where narrower, null where it lacks them.
pub(super) fn conform(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, ..Default::default() };
    let column = |field: &Arc<Field>| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(field.name()) {
            Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
            Some(array) => cast_with_options(array, field.data_type(), &options),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let columns = target.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(target), columns, &rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Float64Array, Int32Array};

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_are_added_widened_and_kept() {
        let stored = schema(&[("a", DataType::Int32), ("b", DataType::Float64), ("c", DataType::Utf8)]);
        let incoming =
            schema(&[("a", DataType::Float64), ("b", DataType::Float32), ("d", DataType::Boolean)]);
        let evolved = evolve("t", &stored, &incoming).unwrap();
        assert!(evolved.changed && evolved.widened);
        assert_eq!(
            evolved.schema,
            schema(&[
                ("a", DataType::Float64),
                ("b", DataType::Float64),
                ("c", DataType::Utf8),
                ("d", DataType::Boolean)
            ])
        );
        assert!(!evolve("t", &evolved.schema, &stored).unwrap().changed);
    }

    #[test]
    fn another_type_is_refused_by_name() {
        let stored = schema(&[("a", DataType::Utf8)]);
        let Err(error) = evolve("t", &stored, &schema(&[("a", DataType::Int64)])) else { panic!("accepted") };
        assert!(error.to_string().contains("column `a`"), "{error}");
    }

    #[test]
    fn old_rows_take_the_new_shape() {
        let old = schema(&[("a", DataType::Int32)]);
        let batch = RecordBatch::try_new(old, vec![Arc::new(Int32Array::from(vec![Some(1), None]))]).unwrap();
        let new = conform(&batch, &schema(&[("b", DataType::Utf8), ("a", DataType::Float64)])).unwrap();
        assert_eq!(new.column(0).null_count(), 2);
        assert_eq!(
            new.column(1).as_primitive::<arrow::datatypes::Float64Type>(),
            &Float64Array::from(vec![Some(1.0), None])
        );
    }
}

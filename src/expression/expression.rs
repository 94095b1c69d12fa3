//! A compiled expression and its results.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_empty_array, new_null_array},
    buffer::BooleanBuffer,
    compute::{cast, concat, nullif},
    datatypes::{DataType as Arrow, Float32Type, Float64Type, Int32Type},
    error::ArrowError,
};

use crate::{compile::compile, error::ExpressionError, node::Node};
use larder_model::{Column, DataType};

/// A SQL scalar expression, checked and ready. Immutable, to be shared in an `Arc`.
pub struct Expression {
    text: String,
    node: Node,
    columns: Vec<String>,
    /// Of the columns.
    types: Vec<Arrow>,
}

/// One value for each row.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// In the Arrow form of [`Expression::data_type`]; null where the row failed.
    pub values: ArrayRef,
    /// True for rows that failed; nothing where none did.
    pub failed: Option<BooleanBuffer>,
}

impl Evaluated {
    pub fn has_failed(&self, row: usize) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.value(row))
    }
}

impl Expression {
    /// Parses and checks `text` over `inputs`, whose names are in lower case. The result is `expected`, or an error where
    /// it cannot become that without losing anything.
    pub fn compile(
        text: &str,
        inputs: &[Column],
        expected: Option<&DataType>,
    ) -> Result<Expression, ExpressionError> {
        let (node, used) = compile(text, inputs, expected)?;
        let (columns, types) = used.into_iter().map(|column| (column.name, column.data_type.arrow())).unzip();
        Ok(Expression { text: text.to_owned(), node, columns, types })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of the result.
    pub fn data_type(&self) -> &DataType {
        &self.node.data_type
    }

    /// The inputs that it reads, in the order in which the text names them first.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Over a batch that has [`Expression::columns`] by name and in the types that they were compiled with; a batch that
    /// does not is a mistake of the caller, and every row of it fails.
    pub fn evaluate(&self, batch: &RecordBatch) -> Evaluated {
        let columns: Option<Vec<ArrayRef>> =
            self.columns.iter().map(|name| batch.column_by_name(name).cloned()).collect();
        match columns {
            Some(columns) => self.evaluate_columns(&columns, batch.num_rows()),
            None => self.all_failed(batch.num_rows()),
        }
    }

    /// The same, of arrays in the order of [`Expression::columns`], each of `rows` values. Where a column has become wider
    /// since the expression was compiled, rows whose value does not fit the old type fail.
    pub fn evaluate_columns(&self, columns: &[ArrayRef], rows: usize) -> Evaluated {
        let fits = |(array, data_type): (&ArrayRef, &Arrow)| {
            array.len() == rows && array.data_type().equals_datatype(data_type)
        };
        if columns.len() == self.types.len() && columns.iter().zip(&self.types).all(fits) {
            return self.guarded(columns, rows);
        }
        // Other Arrow forms of the same values (views, dictionaries), or wider types than there were.
        let mut lost: Option<BooleanBuffer> = None;
        let mut converted = Vec::with_capacity(columns.len());
        for (array, data_type) in columns.iter().zip(&self.types) {
            let Some(cast) = cast(array, data_type).ok().filter(|cast| cast.len() == rows) else {
                return self.all_failed(rows);
            };
            if let Some(of_column) = lost_in(array, &cast) {
                lost = Some(match lost {
                    Some(before) => &before | &of_column,
                    None => of_column,
                });
            }
            converted.push(cast);
        }
        if converted.len() != self.types.len() {
            return self.all_failed(rows);
        }
        let evaluated = self.guarded(&converted, rows);
        match lost {
            Some(lost) => self.without(evaluated, lost),
            None => evaluated,
        }
    }

    /// With the rows of `lost` failed.
    fn without(&self, evaluated: Evaluated, lost: BooleanBuffer) -> Evaluated {
        let rows = lost.len();
        match nullif(&evaluated.values, &BooleanArray::new(lost.clone(), None)) {
            Ok(values) => {
                let failed = match evaluated.failed {
                    Some(failed) => &failed | &lost,
                    None => lost,
                };
                Evaluated { values, failed: Some(failed) }
            }
            Err(_) => self.all_failed(rows),
        }
    }

    /// True where the value is true; false where it is false or null, or failed. For expressions of type bool; all false
    /// for others.
    pub fn mask(&self, batch: &RecordBatch) -> BooleanBuffer {
        let values = self.evaluate(batch).values;
        match values.as_boolean_opt() {
            None => BooleanBuffer::new_unset(values.len()),
            Some(values) => match values.nulls() {
                None => values.values().clone(),
                Some(nulls) => values.values() & nulls.inner(),
            },
        }
    }

    /// Errors and panics are defects of larder or of a function in the library; none is known. Should there be one, it
    /// costs the rows that it strikes their values, whatever else is in the batch, and not the process its life.
    fn guarded(&self, columns: &[ArrayRef], rows: usize) -> Evaluated {
        if let Some(evaluated) = self.attempt(columns, rows) {
            return evaluated;
        }
        if rows <= 1 {
            return self.all_failed(rows);
        }
        let each: Vec<Evaluated> = (0..rows)
            .map(|row| {
                let alone: Vec<ArrayRef> = columns.iter().map(|array| array.slice(row, 1)).collect();
                self.attempt(&alone, 1).unwrap_or_else(|| self.all_failed(1))
            })
            .collect();
        let values: Vec<&dyn Array> = each.iter().map(|one| one.values.as_ref()).collect();
        match concat(&values) {
            Ok(values) => {
                let failed = BooleanBuffer::collect_bool(rows, |row| each[row].has_failed(0));
                Evaluated { values, failed: Some(failed) }
            }
            Err(_) => self.all_failed(rows),
        }
    }

    fn attempt(&self, columns: &[ArrayRef], rows: usize) -> Option<Evaluated> {
        if rows == 0 {
            return Some(Evaluated { values: new_empty_array(&self.data_type().arrow()), failed: None });
        }
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let values = self.node.evaluate(columns, rows)?;
            let failed = values.failed.clone().filter(|failed| failed.count_set_bits() > 0);
            Ok::<_, ArrowError>(Evaluated { values: values.expand(rows)?, failed })
        }));
        evaluated.ok()?.ok()
    }

    fn all_failed(&self, rows: usize) -> Evaluated {
        Evaluated {
            values: new_null_array(&self.data_type().arrow(), rows),
            failed: (rows > 0).then(|| BooleanBuffer::new_set(rows)),
        }
    }
}

/// The rows whose number is another one, or none, once it is narrower. A rounded float is no other number.
fn lost_in(wide: &ArrayRef, narrow: &ArrayRef) -> Option<BooleanBuffer> {
    let rows = wide.len();
    let lost = match (wide.data_type(), narrow.data_type()) {
        (Arrow::Int64, Arrow::Int32) => {
            BooleanBuffer::collect_bool(rows, |row| wide.is_valid(row) && narrow.is_null(row))
        }
        (Arrow::Float64, Arrow::Int32) => {
            let (wide, narrow) = (wide.as_primitive::<Float64Type>(), narrow.as_primitive::<Int32Type>());
            BooleanBuffer::collect_bool(rows, |row| {
                let same = narrow.is_valid(row) && f64::from(narrow.value(row)) == wide.value(row);
                wide.is_valid(row) && !same
            })
        }
        (Arrow::Float64, Arrow::Float32) => {
            let (wide, narrow) = (wide.as_primitive::<Float64Type>(), narrow.as_primitive::<Float32Type>());
            BooleanBuffer::collect_bool(rows, |row| {
                wide.is_valid(row) && wide.value(row).is_finite() && !narrow.value(row).is_finite()
            })
        }
        _ => return None,
    };
    (lost.count_set_bits() > 0).then_some(lost)
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({} → {})", self.text, self.data_type())
    }
}

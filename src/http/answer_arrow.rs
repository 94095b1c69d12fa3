//! An online answer as one Arrow record batch: a column per feature, then what was asked to be included. Arrow has NaN and the
//! infinities: such values are exact, and PRESENT.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
};

use crate::{
    http::online::Include,
    serve::{Answer, ArrowHead, ColumnReader, ReadLimits, ServeError, Served, Tally},
    shard::ColumnBuilder,
};

/// Columns are named as in `feature_names`; included ones `name:status`, `name:event_time`, `name:age_ms`, and
/// `name:window_start` with `name:window_end`. The schema's metadata holds `registry_version`, and `partial` where the
/// deadline passed. Its values are counted in `tally`.
pub fn encode(
    answer: &Answer,
    include: &[Include],
    tally: &mut Tally,
    limits: &ReadLimits,
) -> Result<Vec<u8>, ServeError> {
    let mut bytes = 0;
    let mut arrays = Vec::<ArrayRef>::with_capacity(answer.plan.names.len());
    for column in 0..answer.plan.columns.len() {
        let data_type = &answer.plan.columns[column].data_type;
        let mut builder = ColumnBuilder::with_capacity(data_type, answer.entities);
        let mut reader = answer.reader(column);
        // Two loops: numbers, which most values are, are bounded by the number of entities and need no check each.
        if data_type.has_any_length() {
            for entity in 0..answer.entities {
                let value = reader.value(entity, tally).0;
                bytes += value.bytes();
                limits.check_answer(bytes)?;
                push(&mut builder, value);
            }
        } else {
            fill(&mut builder, &mut reader, answer.entities, tally);
        }
        arrays.push(builder.finish());
    }
    if include.is_empty() && !answer.partial {
        return stream(answer.plan.arrow_head()?, arrays, answer.entities);
    }
    let mut fields: Vec<Field> = answer.plan.arrow_fields().collect();
    for included in include {
        if *included == Include::Window {
            windows(answer, &mut fields, &mut arrays);
            continue;
        }
        for (column, name) in answer.plan.names.iter().enumerate() {
            let entities = 0..answer.entities;
            let (suffix, array): (&str, ArrayRef) = match included {
                Include::Status => {
                    let values = entities.map(|e| Some(answer.value(e, column).1.as_str()));
                    ("status", Arc::new(values.collect::<StringArray>()))
                }
                Include::EventTime => {
                    let values = entities.map(|e| answer.event_time(e, column).map(|t| t.micros()));
                    let times = values.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
                    ("event_time", Arc::new(times))
                }
                // Two columns each: above.
                Include::Window => continue,
                Include::AgeMs => {
                    let values = entities.map(|e| answer.age(e, column).map(|micros| micros / 1000));
                    ("age_ms", Arc::new(values.collect::<Int64Array>()))
                }
            };
            fields.push(Field::new(format!("{name}:{suffix}"), array.data_type().clone(), true));
            arrays.push(array);
        }
    }
    let mut metadata = answer.plan.arrow_metadata();
    if answer.partial {
        metadata.insert("partial".to_owned(), "true".to_owned());
    }
    stream(&ArrowHead::new(Schema::new(fields).with_metadata(metadata))?, arrays, answer.entities)
}

/// The numbers of a column; a loop of its own, with nothing else in its registers.
#[inline(never)]
fn fill(builder: &mut ColumnBuilder, reader: &mut ColumnReader<'_>, entities: usize, tally: &mut Tally) {
    for entity in 0..entities {
        match reader.value(entity, tally).0 {
            Served::Cell(cell) => builder.push(cell),
            Served::Value(value) => builder.push_value(value),
        }
    }
}

fn push(builder: &mut ColumnBuilder, value: Served<'_>) {
    match value {
        Served::Cell(cell) => builder.push(cell),
        Served::Value(value) => builder.push_value(value),
    }
}

fn stream(head: &ArrowHead, arrays: Vec<ArrayRef>, rows: usize) -> Result<Vec<u8>, ServeError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&head.schema), arrays, &options)?;
    Ok(head.stream(&batch)?)
}

/// The effective window of each aggregate: two columns of moments; null for values that are written.
fn windows(answer: &Answer, fields: &mut Vec<Field>, arrays: &mut Vec<ArrayRef>) {
    for (column, name) in answer.plan.names.iter().enumerate() {
        let span = answer.window(column);
        for (suffix, edge) in
            [("window_start", span.and_then(|span| span.start)), ("window_end", span.map(|span| span.end))]
        {
            let times = vec![edge; answer.entities];
            let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
            fields.push(Field::new(format!("{name}:{suffix}"), array.data_type().clone(), true));
            arrays.push(array);
        }
    }
}

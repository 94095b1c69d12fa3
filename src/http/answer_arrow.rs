//! An online answer as one Arrow record batch: a column per feature, then what was asked to be included.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
    ipc::writer::StreamWriter,
};

use crate::{
    http::online::Include,
    serve::{Answer, ServeError, Served, Tally},
    shard::ColumnBuilder,
};

/// Columns are named as in `feature_names`; included ones `name:status`, `name:event_time`, `name:age_ms`, and
/// `name:window_start` with `name:window_end`. The
/// schema's metadata holds `registry_version`, and `partial` where the deadline passed.
/// Its values are counted in `tally`.
pub fn encode(answer: &Answer, include: &[Include], tally: &mut Tally) -> Result<Vec<u8>, ServeError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    for (column, name) in answer.plan.names.iter().enumerate() {
        let data_type = &answer.plan.columns[column].data_type;
        let mut builder = ColumnBuilder::with_capacity(data_type, answer.entities);
        for entity in 0..answer.entities {
            let (served, status) = answer.value(entity, column);
            answer.count(column, status, tally);
            match served {
                Served::Cell(cell) => builder.push(cell),
                Served::Value(value) => builder.push_value(value),
            }
        }
        let array = builder.finish();
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
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
    let mut metadata =
        HashMap::from([("registry_version".to_owned(), answer.plan.registry_version.to_string())]);
    if answer.partial {
        metadata.insert("partial".to_owned(), "true".to_owned());
    }
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(answer.entities));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
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

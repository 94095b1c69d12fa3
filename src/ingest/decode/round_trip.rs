//! Properties: what is written comes back the same in every format, and damage never brings the decoder down.

use std::{fmt::Write, sync::LazyLock};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::{tests::MICROS, *};
use crate::{
    format::{RowBuilder, TableWriter},
    model::{TableId, Timestamp},
};

/// A join key and a column of every type; `json` last.
static TABLE: LazyLock<TableSchema> = LazyLock::new(|| {
    let column =
        |name: &str, data_type: &str| Column { name: name.into(), data_type: data_type.parse().unwrap() };
    let types = [
        "bool",
        "int32",
        "int64",
        "float32",
        "float64",
        "string",
        "bytes",
        "timestamp",
        "array<string>",
        "array<int64>",
        "array<float32, 3>",
        "json",
    ];
    let columns =
        types.iter().enumerate().map(|(n, data_type)| column(&format!("c{n}"), data_type)).collect();
    TableSchema::feature_view(
        TableId(7),
        "all",
        1,
        vec![column("k", "string"), column("n", "int64"), column("u", "uuid")],
        columns,
    )
});

/// JSON text of a value of that type.
fn cell(data_type: &DataType) -> BoxedStrategy<String> {
    let text = || "\\PC{0,8}|[\\x00-\\x7f]{0,4}".prop_map(|s| serde_json::to_string(&s).unwrap());
    match data_type {
        DataType::Bool => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|n| n.to_string()).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|n| n.to_string()).boxed(),
        DataType::Float32 => prop::num::f32::NORMAL.prop_map(|x| format!("{x:e}")).boxed(),
        DataType::Float64 => prop::num::f64::NORMAL.prop_map(|x| format!("{x:e}")).boxed(),
        DataType::String => text().boxed(),
        DataType::Uuid => {
            "[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-fA-F]{12}".prop_map(|s| format!("{s:?}")).boxed()
        }
        DataType::Bytes => vec(any::<u8>(), 0..6)
            .prop_map(|b| {
                format!("\"{}\"", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, b))
            })
            .boxed(),
        DataType::Timestamp => {
            (Timestamp::MIN.micros()..=Timestamp::MAX.micros()).prop_map(|t| t.to_string()).boxed()
        }
        DataType::Json => prop_oneof![Just("{\"a\":[1,{\"b\":null}]}".to_owned()), text()].boxed(),
        DataType::Array(item) => {
            let item = option::of(cell(item)).prop_map(|item| item.unwrap_or("null".to_owned()));
            vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed()
        }
        DataType::Vector(n) => vec(cell(&DataType::Float32), *n as usize)
            .prop_map(|items| format!("[{}]", items.join(",")))
            .boxed(),
    }
}

fn rows() -> impl Strategy<Value = Vec<Vec<Option<String>>>> {
    let required = || DataType::Timestamp;
    let mut row: Vec<BoxedStrategy<Option<String>>> =
        TABLE.keys.iter().map(|key| cell(&key.data_type).prop_map(Some).boxed()).collect();
    row.push(cell(&required()).prop_map(Some).boxed());
    row.extend(TABLE.columns.iter().map(|column| option::of(cell(&column.data_type)).boxed()));
    vec(row, 0..20)
}

/// As NDJSON; absent keys for some nulls.
fn ndjson(rows: &[Vec<Option<String>>]) -> String {
    let names: Vec<_> = TABLE.arrow().fields().iter().map(|f| f.name().clone()).collect();
    let mut body = String::new();
    for row in rows {
        let cells: Vec<String> = names
            .iter()
            .zip(row)
            .filter_map(|(name, cell)| cell.as_ref().map(|cell| format!("\"{name}\":{cell}")))
            .collect();
        writeln!(body, "{{{}}}", cells.join(",")).unwrap();
    }
    body
}

fn built(rows: &[Vec<Option<String>>]) -> RecordBatch {
    let mut builder = RowBuilder::new(fields(&TABLE, &DecodeLimits::default(), MICROS), 60);
    for row in rows {
        builder.begin();
        for (field, cell) in TABLE.arrow().fields().iter().zip(row) {
            builder.json_cell(field.name(), cell.as_deref().unwrap_or("null"));
        }
        builder.end().unwrap();
    }
    RecordBatch::try_new(TABLE.arrow().clone(), builder.finish().unwrap().0).unwrap()
}

fn encode(format: Format, batch: &RecordBatch) -> Vec<u8> {
    let mut writer = TableWriter::new(format, Vec::new(), batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(rows in rows()) {
        let batch = built(&rows);
        let limits = DecodeLimits::default();
        let decoded = decode(Format::NdJson, Bytes::from(ndjson(&rows)), &TABLE, &limits, MICROS).unwrap();
        prop_assert_eq!(&decoded.batch, &batch);
        for format in Format::ALL {
            let text_of_json = matches!(format, Format::Json | Format::NdJson);
            // As a string in Arrow, a JSON document is written as one into JSON, and reads back as a string.
            let mut sent = batch.clone();
            if text_of_json {
                sent.remove_column(sent.num_columns() - 1);
            }
            let decoded = decode(format, Bytes::from(encode(format, &sent)), &TABLE, &limits, MICROS).unwrap();
            prop_assert!(decoded.rejected.is_empty(), "{}: {:?}", format, decoded.rejected);
            prop_assert_eq!(decoded.rows, rows.len());
            for (column, field) in sent.columns().iter().zip(sent.schema_ref().fields()) {
                prop_assert_eq!(decoded.batch.column_by_name(field.name()).unwrap(), column, "{} {}", format, field);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_another_table_and_never_a_panic(
        rows in rows(),
        which in 0..5_usize,
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let format = Format::ALL[which];
        let mut body = encode(format, &built(&rows));
        prop_assume!(!body.is_empty());
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if is_cut {
            body.truncate(cut.index(body.len()));
        }
        let limits = DecodeLimits { max_decoded_bytes: 1 << 20, ..DecodeLimits::default() };
        if let Ok(decoded) = decode(format, Bytes::from(body), &TABLE, &limits, MICROS) {
            prop_assert_eq!(decoded.batch.num_rows() + decoded.rejected.len(), decoded.rows);
            prop_assert_eq!(decoded.batch.schema_ref(), TABLE.arrow());
        }
    }
}

//! Types of columns in the words of those who send them, for messages.

use arrow::datatypes::{DataType as Arrow, FieldRef};

/// `timestamp with zone UTC`, `64-bit float`, `list of string`: not Arrow's own notation, which few have to know.
pub fn type_words(data_type: &Arrow) -> String {
    // Types may nest as deep as their writer likes; a message need not.
    words(data_type, 4)
}

fn words(data_type: &Arrow, depth: usize) -> String {
    let of = |item: &Arrow| if depth == 0 { "…".to_owned() } else { words(item, depth - 1) };
    let list = |item: &FieldRef| format!("list of {}", of(item.data_type()));
    let simple = match data_type {
        Arrow::Null => "null",
        Arrow::Boolean => "boolean",
        Arrow::Int8 => "8-bit integer",
        Arrow::Int16 => "16-bit integer",
        Arrow::Int32 => "32-bit integer",
        Arrow::Int64 => "64-bit integer",
        Arrow::UInt8 => "unsigned 8-bit integer",
        Arrow::UInt16 => "unsigned 16-bit integer",
        Arrow::UInt32 => "unsigned 32-bit integer",
        Arrow::UInt64 => "unsigned 64-bit integer",
        Arrow::Float16 => "16-bit float",
        Arrow::Float32 => "32-bit float",
        Arrow::Float64 => "64-bit float",
        Arrow::Timestamp(_, Some(zone)) => return format!("timestamp with zone {zone}"),
        Arrow::Timestamp(_, None) => "timestamp without a zone",
        Arrow::Date32 | Arrow::Date64 => "date",
        Arrow::Time32(_) | Arrow::Time64(_) => "time of day",
        Arrow::Duration(_) => "duration",
        Arrow::Interval(_) => "interval",
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView => "bytes",
        Arrow::FixedSizeBinary(length) => return format!("bytes of length {length}"),
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => "string",
        Arrow::List(item) | Arrow::LargeList(item) | Arrow::ListView(item) | Arrow::LargeListView(item) => {
            return list(item);
        }
        Arrow::FixedSizeList(item, length) => {
            return format!("list of {length} values of type {}", of(item.data_type()));
        }
        Arrow::Struct(members) if members.is_empty() => "struct without members",
        Arrow::Struct(members) => {
            let members: Vec<String> = members
                .iter()
                .take(4)
                .map(|member| format!("{} {}", member.name(), of(member.data_type())))
                .collect();
            return format!("struct of {}", members.join(", "));
        }
        Arrow::Union(..) => "union",
        Arrow::Dictionary(_, values) => return format!("dictionary of {}", of(values)),
        Arrow::RunEndEncoded(_, values) => return format!("runs of {}", of(values.data_type())),
        Arrow::Decimal32(digits, scale)
        | Arrow::Decimal64(digits, scale)
        | Arrow::Decimal128(digits, scale)
        | Arrow::Decimal256(digits, scale) => return format!("decimal({digits}, {scale})"),
        Arrow::Map(..) => "map",
    };
    simple.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::datatypes::{Field, Fields, TimeUnit};

    #[test]
    fn types_are_named_in_plain_words() {
        let of = |data_type| Arc::new(Field::new("item", data_type, true));
        let dictionary = |values| Arrow::Dictionary(Box::new(Arrow::UInt32), Box::new(values));
        for (data_type, expected) in [
            (Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamp with zone UTC"),
            (Arrow::Timestamp(TimeUnit::Nanosecond, None), "timestamp without a zone"),
            (Arrow::Float64, "64-bit float"),
            (dictionary(Arrow::Utf8View), "dictionary of string"),
            (Arrow::LargeList(of(Arrow::UInt8)), "list of unsigned 8-bit integer"),
            (Arrow::FixedSizeList(of(Arrow::Float32), 2), "list of 2 values of type 32-bit float"),
            (Arrow::FixedSizeBinary(16), "bytes of length 16"),
            (Arrow::Decimal128(10, 2), "decimal(10, 2)"),
            (Arrow::Struct(Fields::empty()), "struct without members"),
            (Arrow::Struct(vec![of(Arrow::Utf8)].into()), "struct of item string"),
        ] {
            assert_eq!(type_words(&data_type), expected);
        }
        let deep = (0..100).fold(Arrow::Null, |item, _| Arrow::List(of(item)));
        assert!(type_words(&deep).len() < 100);
    }
}

//! Which types meet in which, and what a CAST may do.

use larder_model::DataType;

pub(super) fn is_number(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64)
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::String | DataType::Json)
}

pub(super) fn is_array(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Array(_) | DataType::Vector(_))
}

/// Whether a value of `from` is taken for one of `to` without a CAST. Whole numbers become floats as in every SQL; beyond
/// 2^53 they are rounded.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    from == to
        || from.widens_to(to)
        || matches!((from, to), (DataType::Int64, DataType::Float64))
        || (is_text(from) && *to == DataType::String)
        || matches!((from, to), (DataType::Vector(_), DataType::Array(item)) if **item == DataType::Float32)
}

/// The narrowest type that has the values of both.
pub(super) fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    [a, b, &DataType::Float64, &DataType::String, &DataType::Array(Box::new(DataType::Float32))]
        .into_iter()
        .find(|wide| widens(a, wide) && widens(b, wide))
        .cloned()
}

/// Whether `CAST(from AS to)` means something.
pub(super) fn casts(from: &DataType, to: &DataType) -> bool {
    use DataType::{Bool, Bytes, Int32, Int64, String, Timestamp};
    widens(from, to)
        || match (from, to) {
            _ if is_number(from) && is_number(to) => true,
            (Bool, Int32 | Int64) | (Int32 | Int64, Bool) => true,
            (_, String) => !is_array(from),
            (String, Bool | Timestamp | Bytes) => true,
            (String, _) => is_number(to),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(a: &str, b: &str) -> Option<String> {
        let (a, b): (DataType, DataType) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(common(&a, &b), common(&b, &a), "{a} {b}");
        common(&a, &b).map(|found| found.to_string())
    }

    #[test]
    fn types_meet_in_the_narrowest_that_has_both() {
        for (a, b, both) in [
            ("int32", "int32", "int32"),
            ("int32", "int64", "int64"),
            ("int32", "float32", "float64"),
            ("int64", "float32", "float64"),
            ("float32", "float64", "float64"),
            ("int64", "float64", "float64"),
            ("json", "string", "string"),
            ("json", "json", "json"),
            ("array<float32, 3>", "array<float32>", "array<float32>"),
            ("array<float32, 3>", "array<float32, 4>", "array<float32>"),
        ] {
            assert_eq!(meet(a, b).as_deref(), Some(both), "{a} {b}");
        }
        for (a, b) in [
            ("int32", "string"),
            ("bool", "int32"),
            ("timestamp", "int64"),
            ("timestamp", "string"),
            ("array<int64>", "array<float32>"),
            ("bytes", "string"),
        ] {
            assert_eq!(meet(a, b), None, "{a} {b}");
        }
    }
}

//! One value of any type: for defaults, join keys and answers; bulk data is Arrow.

use crate::{DataType, TimeForm, Timestamp, canonical_uuid};

/// A typed value or null.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    String(String),
    Bytes(Vec<u8>),
    Timestamp(Timestamp),
    /// Also holds JSON documents' text under [`DataType::Json`].
    Json(String),
    Array(Vec<Value>),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Bytes that the value takes in a column.
    pub fn bytes(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) => 1,
            Value::Int32(_) | Value::Float32(_) => 4,
            Value::Int64(_) | Value::Float64(_) | Value::Timestamp(_) => 8,
            Value::String(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            // An item of any length has an offset beside it.
            Value::Array(items) => items.iter().map(|item| item.bytes().max(4)).sum(),
        }
    }

    /// Reads a JSON value as `data_type`; the error says what is wrong and what would be right.
    ///
    /// Integers are exact: a number with a fraction or beyond the type's range is refused, never rounded.
    /// `bytes` are base64 text, timestamps text with a zone.
    pub fn from_json(json: &serde_json::Value, data_type: &DataType) -> Result<Value, String> {
        Value::from_json_as(json, data_type, TimeForm::EXPLICIT)
    }

    /// [`Value::from_json`] with times written as `times` declares.
    pub fn from_json_as(
        json: &serde_json::Value,
        data_type: &DataType,
        times: TimeForm,
    ) -> Result<Value, String> {
        use serde_json::Value as Json;
        let wrong = || format!("expected {data_type}, got {}", shorten(&json.to_string()));
        Ok(match (data_type, json) {
            (_, Json::Null) => Value::Null,
            (DataType::Bool, Json::Bool(b)) => Value::Bool(*b),
            (DataType::Int32, Json::Number(n)) => {
                Value::Int32(whole(n).and_then(|n| i32::try_from(n).ok()).ok_or_else(wrong)?)
            }
            (DataType::Int64, Json::Number(n)) => Value::Int64(whole(n).ok_or_else(wrong)?),
            (DataType::Float32, Json::Number(n)) => Value::Float32(n.as_f64().ok_or_else(wrong)? as f32),
            (DataType::Float64, Json::Number(n)) => Value::Float64(n.as_f64().ok_or_else(wrong)?),
            (DataType::String, Json::String(s)) => Value::String(s.clone()),
            (DataType::Uuid, Json::String(s)) => Value::String(canonical_uuid(s)?.into_owned()),
            (DataType::Bytes, Json::String(s)) => Value::Bytes(
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, s)
                    .map_err(|_| format!("expected bytes as base64, got {}", shorten(s)))?,
            ),
            (DataType::Timestamp, Json::String(s)) => {
                Value::Timestamp(times.text(s).map_err(|e| e.to_string())?)
            }
            (DataType::Timestamp, Json::Number(n)) => {
                Value::Timestamp(times.text(&n.to_string()).map_err(|e| e.to_string())?)
            }
            (DataType::Json, json) => Value::Json(json.to_string()),
            (DataType::Array(item), Json::Array(items)) => Value::Array(
                items.iter().map(|i| Value::from_json_as(i, item, times)).collect::<Result<_, _>>()?,
            ),
            (DataType::Vector(n), Json::Array(items)) => {
                if items.len() != *n as usize {
                    return Err(format!("expected {data_type}, got {} values", items.len()));
                }
                Value::Array(
                    items
                        .iter()
                        .map(|i| Value::from_json(i, &DataType::Float32))
                        .collect::<Result<_, _>>()?,
                )
            }
            _ => return Err(wrong()),
        })
    }

    /// [`Value::from_json`] of a value that nobody else needs: its text is not copied.
    pub fn of_json(json: serde_json::Value, data_type: &DataType) -> Result<Value, String> {
        match (data_type, json) {
            (DataType::String, serde_json::Value::String(text)) => Ok(Value::String(text)),
            (_, json) => Value::from_json(&json, data_type),
        }
    }

    /// The JSON form; the inverse of [`Value::from_json`]. NaN and infinities, which JSON lacks, become null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int32(n) => Json::from(*n),
            Value::Int64(n) => Json::from(*n),
            // Through text, so that 0.1f32 is written 0.1 and not as the nearest float64.
            Value::Float32(x) => serde_json::from_str(&x.to_string()).unwrap_or(Json::Null),
            Value::Float64(x) => serde_json::Number::from_f64(*x).map_or(Json::Null, Json::Number),
            Value::String(s) => Json::String(s.clone()),
            Value::Bytes(b) => {
                Json::String(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, b))
            }
            Value::Timestamp(t) => Json::String(t.to_string()),
            Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
            Value::Array(items) => Json::Array(items.iter().map(Value::to_json).collect()),
        }
    }
}

/// A whole number, which data frames also write as `180.0`. Beyond 2⁵³ a float may stand for other digits than were written.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < EXACT);
    number.as_i64().or_else(|| float().map(|x| x as i64))
}

/// At most 80 characters of `text`, for error messages.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_refused() {
        let big: serde_json::Value = serde_json::from_str("9007199254740993").unwrap();
        assert_eq!(Value::from_json(&big, &DataType::Int64), Ok(Value::Int64(9_007_199_254_740_993)));
        let whole: serde_json::Value = serde_json::from_str("-180.0").unwrap();
        assert_eq!(Value::from_json(&whole, &DataType::Int32), Ok(Value::Int32(-180)));
        for text in ["1.5", "9223372036854775808", "9007199254740993.0", "\"1\"", "true"] {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(Value::from_json(&json, &DataType::Int64).is_err(), "{text}");
        }
    }

    #[test]
    fn float32_is_written_short() {
        assert_eq!(Value::Float32(0.1).to_json().to_string(), "0.1");
        assert_eq!(Value::Float32(f32::NAN).to_json(), serde_json::Value::Null);
    }
}

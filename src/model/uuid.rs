//! UUIDs as join keys: one text for each, however it was written.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray, StringArray};
use uuid::Uuid;

/// Characters of the canonical text, `123e4567-e89b-12d3-a456-426614174000`.
const LENGTH: usize = 36;

/// The canonical text of a UUID: lower case with hyphens, which is how a join key is stored. `text` is any spelling of
/// RFC 9562 and of the libraries around it: upper case, without hyphens, in braces, as `urn:uuid:…`.
pub fn canonical_uuid(text: &str) -> Result<Cow<'_, str>, String> {
    if is_canonical(text) {
        return Ok(Cow::Borrowed(text));
    }
    let bare = match text.split_at_checked(9) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("urn:uuid:") => rest,
        _ => text,
    };
    let bare = bare.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(bare);
    Uuid::parse_str(bare).map(|uuid| Cow::Owned(uuid.hyphenated().to_string())).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        format!("expected a UUID such as 123e4567-e89b-12d3-a456-426614174000, got {shown:?}")
    })
}

/// The canonical text of a UUID's 16 bytes.
pub fn uuid_of_bytes(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).hyphenated().to_string()
}

/// A column of strings as UUIDs in their canonical text. `wrong(row, reason)` learns of each string that is none; it
/// becomes null.
pub fn uuid_column(texts: &StringArray, mut wrong: impl FnMut(usize, String)) -> ArrayRef {
    if texts.iter().flatten().all(is_canonical) {
        return std::sync::Arc::new(texts.clone());
    }
    let canonical = texts.iter().enumerate().map(|(row, text)| match canonical_uuid(text?) {
        Ok(uuid) => Some(uuid),
        Err(reason) => {
            wrong(row, reason);
            None
        }
    });
    std::sync::Arc::new(canonical.collect::<StringArray>())
}

/// [`uuid_column`] of a join key that a source keeps as a string: an event whose key is no UUID belongs to no entity.
pub fn uuid_keys(column: &ArrayRef) -> ArrayRef {
    column.as_string_opt::<i32>().map_or_else(|| column.clone(), |texts| uuid_column(texts, |_, _| {}))
}

fn is_canonical(text: &str) -> bool {
    text.len() == LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    const ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

    #[test]
    fn every_spelling_is_the_same_uuid() {
        for spelling in [
            ID,
            "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
            "6ba7b8109dad11d180b400c04fd430c8",
            "6BA7B8109DAD11D180B400C04FD430C8",
            "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
            "{6BA7B810-9DAD-11D1-80B4-00C04FD430C8}",
            "{6ba7b8109dad11d180b400c04fd430c8}",
            "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "URN:UUID:6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
        ] {
            assert_eq!(canonical_uuid(spelling).as_deref(), Ok(ID), "{spelling}");
        }
        let bytes = *Uuid::parse_str(ID).unwrap().as_bytes();
        assert_eq!(uuid_of_bytes(bytes), ID);
        for wrong in ["banana", "", "6ba7b810-9dad-11d1-80b4-00c04fd430c", &ID.replace('6', "g"), "é"] {
            let reason = canonical_uuid(wrong).unwrap_err();
            assert!(reason.starts_with("expected a UUID") && reason.contains(wrong), "{reason}");
        }
    }

    #[test]
    fn a_column_names_what_is_no_uuid() {
        let upper = ID.to_uppercase();
        let texts = StringArray::from(vec![Some(upper.as_str()), None, Some("banana"), Some(ID)]);
        let mut wrong = Vec::new();
        let column = uuid_column(&texts, |row, _| wrong.push(row));
        assert_eq!(wrong, [2]);
        let column = column.as_string::<i32>();
        assert_eq!((column.value(0), column.is_null(1), column.is_null(2)), (ID, true, true));
        assert_eq!(column.value(3), ID);
    }
}

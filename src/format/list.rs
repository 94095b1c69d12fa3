//! Elements of JSON arrays.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::column::{CellError, ColumnBuilder};

/// The elements of a JSON array, pushed one by one.
pub(super) struct Items<'b> {
    pub items: &'b mut ColumnBuilder,
    /// Why an element was refused; the reading then stops.
    pub failed: &'b mut Option<CellError>,
    pub nullable: bool,
    /// Bytes that `items` may come to with this array, …
    pub most: usize,
    /// … which is so many for the array itself.
    pub limit: usize,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            if self.items.bytes() > self.most {
                let reason = format!("an array of more than {} bytes (limits.array_bytes)", self.limit);
                *self.failed = Some(CellError::Value(reason));
                return Err(serde::de::Error::custom("refused"));
            }
            let pushed = match raw.get() {
                "null" if !self.nullable => {
                    Err(CellError::Value("an embedding must not have null elements".to_owned()))
                }
                raw => self.items.push_json(raw),
            };
            if let Err(error) = pushed {
                *self.failed = Some(error);
                return Err(serde::de::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

//! Just enough of Thrift's compact protocol to look into Parquet metadata before a reader believes it.

/// What is wrong with the bytes.
pub(super) type Result<T> = std::result::Result<T, &'static str>;

const TRUNCATED: &str = "its metadata is cut off";
const TOO_LONG: &str = "its metadata declares more elements than it can hold";
/// More row groups, columns or statistics than any honest file has: each element costs the reader memory.
const MAX_LIST: usize = 100_000;
const MAX_DEPTH: usize = 32;

/// Kinds of values, as the protocol numbers them.
const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;
const UUID: u8 = 13;

pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Thrift<'a> {
    pub fn new(bytes: &'a [u8]) -> Thrift<'a> {
        Thrift { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads a struct: `field(reader, id, kind)` reads each field's value, or leaves it to [`Thrift::skip`].
    pub fn fields(&mut self, mut field: impl FnMut(&mut Self, i16, u8) -> Result<()>) -> Result<()> {
        let mut id = 0_i16;
        loop {
            let header = self.byte()?;
            let kind = header & 0x0F;
            if kind == 0 {
                return Ok(());
            }
            id = match header >> 4 {
                0 => i16::try_from(self.signed()?).map_err(|_| "its metadata has an impossible field")?,
                delta => id.checked_add(i16::from(delta)).ok_or("its metadata has an impossible field")?,
            };
            field(self, id, kind)?;
        }
    }

    pub fn i32(&mut self) -> Result<i32> {
        i32::try_from(self.signed()?).map_err(|_| "its metadata has an int32 out of range")
    }

    /// Kind and number of a list's elements; never more than there are bytes left.
    pub fn list(&mut self) -> Result<(u8, usize)> {
        let header = self.byte()?;
        let length = match header >> 4 {
            15 => usize::try_from(self.unsigned()?).map_err(|_| TOO_LONG)?,
            short => usize::from(short),
        };
        self.check_length(length)?;
        Ok((header & 0x0F, length))
    }

    pub fn skip(&mut self, kind: u8) -> Result<()> {
        self.skip_within(kind, MAX_DEPTH)
    }

    fn skip_within(&mut self, kind: u8, depth: usize) -> Result<()> {
        let deeper = depth.checked_sub(1).ok_or("its metadata is nested too deeply")?;
        match kind {
            TRUE | FALSE => {}
            BYTE => self.advance(1)?,
            I16 | I32 | I64 => {
                self.unsigned()?;
            }
            DOUBLE => self.advance(8)?,
            UUID => self.advance(16)?,
            BINARY => {
                let length = usize::try_from(self.unsigned()?).map_err(|_| TRUNCATED)?;
                self.advance(length)?;
            }
            LIST | SET => {
                let (element, length) = self.list()?;
                for _ in 0..length {
                    self.skip_element(element, deeper)?;
                }
            }
            MAP => {
                let length = usize::try_from(self.unsigned()?).map_err(|_| TOO_LONG)?;
                self.check_length(length)?;
                if length > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..length {
                        self.skip_element(kinds >> 4, deeper)?;
                        self.skip_element(kinds & 0x0F, deeper)?;
                    }
                }
            }
            STRUCT => self.fields(|this, _, kind| this.skip_within(kind, deeper))?,
            _ => return Err("its metadata has a value of an unknown kind"),
        }
        Ok(())
    }

    /// Booleans take a byte as elements, and none as fields.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            TRUE | FALSE => self.advance(1),
            other => self.skip_within(other, depth),
        }
    }

    fn check_length(&self, length: usize) -> Result<()> {
        let left = self.bytes.len() - self.position;
        if length > left.min(MAX_LIST) { Err(TOO_LONG) } else { Ok(()) }
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.position).ok_or(TRUNCATED)?;
        self.position += 1;
        Ok(byte)
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(TRUNCATED)?;
        self.position = end;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7F) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("its metadata has an integer of more than 64 bits")
    }

    /// Zigzag.
    fn signed(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lists_and_what_is_skipped() {
        // { 1: i32 -3, 2: "ab", 20: [true, false], 21: { 1: false } }
        let bytes = [0x15, 5, 0x18, 2, b'a', b'b', 0x09, 40, 0x21, 1, 2, 0x1C, 0x12, 0, 0, 99];
        let mut thrift = Thrift::new(&bytes);
        let mut seen = Vec::new();
        thrift
            .fields(|reader, id, kind| {
                if id == 1 {
                    assert_eq!(reader.i32()?, -3);
                } else {
                    reader.skip(kind)?;
                }
                seen.push((id, kind));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [(1, I32), (2, BINARY), (20, LIST), (21, STRUCT)]);
        assert_eq!(thrift.position(), bytes.len() - 1);
    }

    #[test]
    fn lies_and_stumps_are_errors() {
        for (kind, bytes) in [
            (LIST, [0xFC, 0xFF, 0xFF, 0xFF, 0x7F].as_slice()),
            (BINARY, &[0x7F]),
            (I64, &[0xFF; 11]),
            (DOUBLE, &[0; 7]),
            (STRUCT, &[0x1C; 100]),
            (STRUCT, &[0x15]),
            (14, &[0]),
        ] {
            assert!(Thrift::new(bytes).skip(kind).is_err(), "{kind}");
        }
    }
}

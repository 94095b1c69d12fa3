//! The bytes of partial states: small integers, and errors instead of panics.

/// Stored bytes are not a state of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored aggregate state cannot be read: {0}")]
pub struct MalformedState(pub(super) &'static str);

const SHORT: MalformedState = MalformedState("it ends too early");

/// The next `N` bytes.
pub(super) fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], MalformedState> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(SHORT)?;
    *bytes = rest;
    Ok(*head)
}

/// The next `length` bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], MalformedState> {
    let length = usize::try_from(length).map_err(|_| SHORT)?;
    let (head, rest) = bytes.split_at_checked(length).ok_or(SHORT)?;
    *bytes = rest;
    Ok(head)
}

/// LEB128.
pub(super) fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, MalformedState> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = array(bytes)?;
        let part = u64::from(byte & 0x7F);
        if (part << shift) >> shift != part {
            break;
        }
        n |= part << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(MalformedState("a number is too large"))
}

/// Small magnitudes of either sign become small numbers.
pub(super) fn put_signed(n: i64, out: &mut Vec<u8>) {
    put_varint(((n << 1) ^ (n >> 63)).cast_unsigned(), out);
}

pub(super) fn signed(bytes: &mut &[u8]) -> Result<i64, MalformedState> {
    let n = varint(bytes)?;
    Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_hostile_bytes_are_errors(n: u64, m: i64, noise: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(n, &mut out);
            put_signed(m, &mut out);
            let mut bytes = &out[..];
            prop_assert_eq!((varint(&mut bytes), signed(&mut bytes)), (Ok(n), Ok(m)));
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(varint(&mut &out[..0]), Err(SHORT));
            let _ = varint(&mut &noise[..]);
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        assert!(varint(&mut &[0xFF; 10][..]).is_err());
        let mut most = Vec::new();
        put_varint(u64::MAX, &mut most);
        assert_eq!(varint(&mut &most[..]), Ok(u64::MAX));
    }
}

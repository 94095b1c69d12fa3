//! LEB128 integers.

use crate::compute::window::MalformedState;

pub fn put(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub fn take(bytes: &mut &[u8]) -> Result<u64, MalformedState> {
    let (mut n, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first().ok_or(MalformedState)?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return Err(MalformedState);
        }
        n |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
        shift += 7;
    }
}

/// Signed, small in magnitude first.
pub fn put_signed(n: i64, out: &mut Vec<u8>) {
    put(((n << 1) ^ (n >> 63)).cast_unsigned(), out);
}

pub fn take_signed(bytes: &mut &[u8]) -> Result<i64, MalformedState> {
    let n = take(bytes)?;
    Ok((n >> 1).cast_signed() ^ -((n & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            put(unsigned, &mut bytes);
            put_signed(signed, &mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Ok(unsigned));
            prop_assert_eq!(take_signed(&mut rest), Ok(signed));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        assert!(take(&mut &[0x80u8; 4][..]).is_err());
        assert!(take(&mut &[0xFFu8; 11][..]).is_err());
    }
}

//! Reading LZ4 blocks: fjall compresses larger values in its journal.

/// The `length` bytes that `block` stands for; `None` where it is no such block.
pub(super) fn decompress(block: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(length);
    let mut at = 0;
    while at < block.len() {
        let token = block[at];
        at += 1;
        let literals = run_length(block, &mut at, token >> 4)?;
        out.extend_from_slice(block.get(at..at.checked_add(literals)?)?);
        at += literals;
        if at == block.len() {
            break;
        }
        let offset = usize::from(u16::from_le_bytes(block.get(at..at + 2)?.try_into().ok()?));
        at += 2;
        let matched = run_length(block, &mut at, token & 15)? + 4;
        let start = out.len().checked_sub(offset).filter(|_| offset > 0)?;
        if out.len() + matched > length {
            return None;
        }
        // What is copied may overlap what it makes.
        for i in start..start + matched {
            out.push(out[i]);
        }
    }
    (out.len() == length).then_some(out)
}

/// Four bits, and where they are all set as many further bytes as are 255, and one more.
fn run_length(block: &[u8], at: &mut usize, nibble: u8) -> Option<usize> {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        loop {
            let more = *block.get(*at)?;
            *at += 1;
            length += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_matches_and_overlaps() {
        // "abc" literal, then 9 bytes from 3 back, then "xyz".
        let block = [0x35, b'a', b'b', b'c', 3, 0, 0x30, b'x', b'y', b'z'];
        assert_eq!(decompress(&block, 15).unwrap(), b"abcabcabcabcxyz");
        assert!(decompress(&block, 14).is_none());
        assert!(decompress(&block[..8], 15).is_none());
        assert!(decompress(&[0x05, 1, 0], 9).is_none(), "a match before the beginning");
    }

    #[test]
    fn long_runs_say_their_length_in_bytes() {
        let mut block = vec![0xf0, 255, 10];
        block.extend([7; 280]);
        assert_eq!(decompress(&block, 280).unwrap(), [7; 280]);
    }
}

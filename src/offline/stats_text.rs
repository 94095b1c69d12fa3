//! Bounds of long strings, cut short as the Delta protocol describes: the least to a prefix, the greatest to a prefix
//! and one character that is above whatever was cut off.
//!
//! The order is that of the bytes (of the code points): Parquet's, Arrow's, and Spark's, whose strings are UTF-8. The
//! character added is Spark's tie breaker: U+007F where an ASCII character was cut off, else U+10FFFF.

/// Characters of a bound; the protocol's readers expect 32.
const PREFIX: usize = 32;
/// Characters that a greatest bound may have before the one added: more than [`PREFIX`] where they are all U+10FFFF, above
/// which there is none.
const LONGEST: usize = 2 * PREFIX;
/// Above all ASCII characters but itself.
const LAST_ASCII: char = '\u{7f}';

/// A string that is not above `text`.
pub(super) fn least(text: &str) -> &str {
    text.char_indices().nth(PREFIX).map_or(text, |(end, _)| &text[..end])
}

/// A string that is not below `text`; none where no short one is.
pub(super) fn greatest(text: &str) -> Option<String> {
    let Some((cut, _)) = text.char_indices().nth(PREFIX) else { return Some(text.to_owned()) };
    for (at, (offset, next)) in text[cut..].char_indices().enumerate() {
        if PREFIX + at >= LONGEST {
            return None;
        }
        let above = if next < LAST_ASCII { LAST_ASCII } else { char::MAX };
        if next < above {
            return Some(format!("{}{above}", &text[..cut + offset]));
        }
    }
    // All that is left is U+10FFFF, and no more than a bound may have.
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_strings_are_their_own_bounds() {
        for text in ["", "a", "0123456789abcdef0123456789abcdef", &"\u{10ffff}".repeat(32)] {
            assert_eq!((least(text), greatest(text).as_deref()), (text, Some(text)));
        }
    }

    #[test]
    fn long_strings_are_cut_at_characters() {
        let uuid = "8f31c4e6-0000-4000-8000-00000000abcd";
        assert_eq!(least(uuid), "8f31c4e6-0000-4000-8000-00000000");
        assert_eq!(greatest(uuid).unwrap(), "8f31c4e6-0000-4000-8000-00000000\u{7f}");
        let umlauts = "ü".repeat(40);
        assert_eq!(least(&umlauts), "ü".repeat(32));
        assert_eq!(greatest(&umlauts).unwrap(), format!("{}\u{10ffff}", "ü".repeat(32)));
        let delete = format!("{}\u{7f}x", "a".repeat(32));
        assert_eq!(greatest(&delete).unwrap(), format!("{}\u{10ffff}", "a".repeat(32)));
    }

    #[test]
    fn nothing_is_above_the_last_code_point() {
        let last = |count| "\u{10ffff}".repeat(count);
        assert_eq!(greatest(&last(40)).unwrap(), last(40));
        assert_eq!(greatest(&(last(40) + "a")).unwrap(), last(40) + "\u{7f}");
        assert_eq!(greatest(&last(65)), None);
    }

    /// Characters at the edges of UTF-8's lengths and of UTF-16's planes among others.
    fn hostile_text() -> impl Strategy<Value = String> {
        let edges = proptest::sample::select(vec![
            '\0',
            'a',
            '~',
            '\u{7f}',
            '\u{80}',
            '\u{7ff}',
            '\u{800}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{fffd}',
            '\u{ffff}',
            '\u{10000}',
            '\u{10fffe}',
            '\u{10ffff}',
        ]);
        let character = prop_oneof![8 => edges, 1 => any::<char>()];
        (0_usize..40, proptest::collection::vec(character, 0..80))
            .prop_map(|(repeat, tail)| "\u{10ffff}".repeat(repeat) + &tail.into_iter().collect::<String>())
    }

    proptest! {
        #[test]
        fn bounds_are_bounds(text in hostile_text()) {
            prop_assert!(least(&text) <= text.as_str());
            prop_assert!(least(&text).chars().count() <= PREFIX);
            if let Some(high) = greatest(&text) {
                prop_assert!(high >= text);
                prop_assert!(high.chars().count() <= LONGEST + 1);
            }
        }
    }
}

//! Errors of JSON in the user's words.

/// What other languages write and JSON does not have, with what to write instead.
const FOREIGN: [(&[&str], &str); 3] = [
    (&["NaN", "nan", "Infinity", "inf", "Inf"], "write null where there is no number"),
    (&["None", "undefined", "nil", "NULL", "Null", "NA"], "write null"),
    (&["True", "False", "TRUE", "FALSE"], "write true or false"),
];

/// Says what is wrong with `text`, where `error` comes from; a word that is not JSON is named, with what would be right.
pub fn json_error(text: &str, error: &serde_json::Error) -> String {
    match foreign_word(text, error) {
        Some((word, instead)) => {
            format!("`{word}` at line {} column {} is not JSON; {instead}", error.line(), error.column())
        }
        None => error.to_string(),
    }
}

fn foreign_word<'t>(text: &'t str, error: &serde_json::Error) -> Option<(&'t str, &'static str)> {
    if !error.is_syntax() || error.line() == 0 {
        return None;
    }
    let line = text.split('\n').nth(error.line() - 1)?;
    let bytes = line.as_bytes();
    let part = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
    let at = error.column().saturating_sub(1).min(bytes.len());
    let start = bytes[..at].iter().rposition(|byte| !part(byte)).map_or(0, |before| before + 1);
    let length = bytes[start..].iter().position(|byte| !part(byte)).unwrap_or(bytes.len() - start);
    let word = line.get(start..start + length)?;
    let bare = word.strip_prefix('-').unwrap_or(word);
    let (_, instead) = FOREIGN.iter().find(|(words, _)| words.contains(&bare))?;
    Some((word, instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        json_error(text, &serde_json::from_str::<serde_json::Value>(text).unwrap_err())
    }

    #[test]
    fn words_of_other_languages_are_named() {
        for (word, instead) in [
            ("NaN", "write null where there is no number"),
            ("-Infinity", "write null where there is no number"),
            ("nan", "write null where there is no number"),
            ("None", "write null"),
            ("NULL", "write null"),
            ("True", "write true or false"),
        ] {
            for text in [format!("{{\"é\":1,\n\"a\": {word}}}"), format!("[{word}"), word.to_owned()] {
                let message = message(&text);
                let named = message.starts_with(&format!("`{word}` at line ")) && message.ends_with(instead);
                assert!(named, "{text}: {message}");
            }
        }
        assert!(message("{\"a\": 1,}").contains("trailing comma"));
        assert!(message("{\"NaN\" 1}").contains("expected `:`"));
        assert!(message("").contains("EOF"));
    }
}

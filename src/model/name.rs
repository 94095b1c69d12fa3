//! What a name may look like.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name `{0}` begins with `_`; such names are larder's own")]
    Reserved(String),
    #[error(
        "`{0}` is not a name; a name is 1 to 63 characters of a-z, 0-9 and _, the first of them a letter"
    )]
    Malformed(String),
}

/// Names of entities, views, features, columns: `[a-z][a-z0-9_]{0,62}`.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.starts_with('_') {
        return Err(NameError::Reserved(name.to_owned()));
    }
    let well_formed = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if well_formed { Ok(()) } else { Err(NameError::Malformed(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(check_name("airport_weather2").is_ok());
        assert!(matches!(check_name("_seq"), Err(NameError::Reserved(_))));
        let long = "a".repeat(64);
        for name in ["", "Airport", "2fast", "a-b", "é", long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

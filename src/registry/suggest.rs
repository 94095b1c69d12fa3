//! The nearest known name to a mistyped one, for error messages.

use strsim::osa_distance;

/// More candidates than this are not listed in a message.
const LISTED: usize = 12;
/// Longer names are not compared: no name of ours is that long.
const COMPARED: usize = 80;

/// `; did you mean …?` where a candidate is near, else `; known: …` where they are few, else nothing.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(name, &candidates) {
        return format!("; did you mean `{near}`?");
    }
    match candidates.len() {
        0 => String::new(),
        1..=LISTED => format!("; known: {}", candidates.join(", ")),
        _ => String::new(),
    }
}

/// The candidate with the fewest edits, at most a third of the name's length; of equals, the first.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if name.len() > COMPARED {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .iter()
        .filter(|candidate| candidate.len() <= COMPARED && candidate.len().abs_diff(name.len()) <= 4 * limit)
        .map(|candidate| (osa_distance(name, candidate), *candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_lists_what_is_known() {
        assert_eq!(hint("entites", ["name", "entities"]), "; did you mean `entities`?");
        assert_eq!(hint("zzz", ["name", "ttl"]), "; known: name, ttl");
        assert_eq!(hint("zzz", []), "");
        assert_eq!(hint(&"x".repeat(1000), ["y"]), "; known: y");
    }
}

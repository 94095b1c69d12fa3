//! The nearest known name to a mistyped one, for error messages.

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
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substituted = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("ttl", "tll", 1),
            ("temp", "tepm", 1),
            ("a", "b", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_lists_what_is_known() {
        assert_eq!(hint("entites", ["name", "entities"]), "; did you mean `entities`?");
        assert_eq!(hint("zzz", ["name", "ttl"]), "; known: name, ttl");
        assert_eq!(hint("zzz", []), "");
        assert_eq!(hint(&"x".repeat(1000), ["y"]), "; known: y");
    }
}

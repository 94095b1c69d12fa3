//! Search in the manual: lines that contain every word that was asked for.

use crate::manual::{PAGES, Page};

/// A line of the manual that contains the words.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    pub page: &'static Page,
    /// Heading of the section that the line stands in.
    pub section: &'static str,
    pub line: &'static str,
}

/// Lines with all words of `query`, in any order and case; lines of headings first, then by page.
pub fn search(query: &str) -> Vec<Hit> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut hits: Vec<Hit> = PAGES.iter().flat_map(|page| in_page(page, &words)).collect();
    hits.sort_by_key(|hit| !hit.line.starts_with('#'));
    hits
}

fn in_page(page: &'static Page, words: &[String]) -> Vec<Hit> {
    let mut section = "";
    let mut hits = Vec::new();
    for line in page.text.lines() {
        if line.starts_with('#') {
            section = line.trim_start_matches(['#', ' ']);
        }
        let lower = line.to_lowercase();
        if words.iter().all(|word| lower.contains(word.as_str())) {
            hits.push(Hit { page, section, line });
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_stranger_looks_for() {
        for (query, page) in [
            ("ttl", "semantics"),
            ("retry safely", "ingest"),
            ("memory", "operating"),
            ("add an aggregation", "windows"),
            ("OUTSIDE_MAX_AGE", "semantics"),
            ("spark", "tables"),
        ] {
            let hits = search(query);
            assert!(hits.iter().any(|hit| hit.page.name == page), "{query}: {hits:?}");
        }
        assert!(search("memory")[0].line.starts_with("#"), "headings come first");
        assert!(search("  ").is_empty() && search("zzzz").is_empty());
    }
}

//! One page of the manual, and how it is found.

use crate::manual::PAGES;

/// One page of the manual.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The word after `larder manual`, and the path below `/docs/`.
    pub name: &'static str,
    /// The questions that the page answers, for the list of pages.
    pub answers: &'static str,
    /// Markdown; begins with a heading.
    pub text: &'static str,
}

/// The page of that name.
pub fn find(name: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.name == name)
}

impl Page {
    /// The page's heading, without its mark.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_a_heading_and_a_name_of_its_own() {
        for (index, page) in PAGES.iter().enumerate() {
            assert!(page.text.starts_with("# "), "{}", page.name);
            assert_eq!(PAGES.iter().position(|other| other.name == page.name), Some(index));
            assert!(
                page.text.lines().all(|line| line.chars().count() <= 200),
                "{}: a line is too long",
                page.name
            );
        }
    }

    /// A page mentions others as `larder manual NAME`.
    #[test]
    fn references_between_pages_lead_somewhere() {
        let reference = regex::Regex::new("larder manual ([a-z][a-z-]*)").unwrap();
        for page in PAGES {
            for found in reference.captures_iter(page.text) {
                assert!(find(&found[1]).is_some(), "{} names `{}`", page.name, &found[1]);
            }
        }
    }
}

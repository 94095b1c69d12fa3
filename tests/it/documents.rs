//! README and CONTRIBUTING: short, and their links lead somewhere.

use std::{fs, path::Path};

use regex::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const README_BYTES: usize = 8 << 10;

#[test]
fn the_readme_is_one_screen_and_links_resolve() {
    let link = Regex::new(r"\]\(([^)#]+)(?:#[^)]*)?\)").unwrap();
    for (file, most) in [("README.md", README_BYTES), (".github/CONTRIBUTING.md", README_BYTES)] {
        let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
        assert!(text.len() <= most, "{file} has {} bytes, more than {most}", text.len());
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if !target.contains("://") {
                assert!(
                    Path::new(ROOT).join(target).exists(),
                    "{file} links to {target}, which is not there"
                );
            }
        }
    }
}

/// Every page of the manual is linked from the README, so that who reads it on a code host finds them all.
#[test]
fn the_readme_links_every_page_of_the_manual() {
    let text = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    for page in larder::manual::PAGES {
        let link = format!("(src/manual/{}.md)", page.name);
        assert!(text.contains(&link), "README.md does not link {link}");
    }
}

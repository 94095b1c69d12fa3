//! The manual is true: its definitions apply, its commands run, and its pages are served.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use larder::manual::{PAGES, Page};
use tempfile::TempDir;

use crate::support::TestNode;

/// Blocks of code of a language, in order.
fn blocks(page: &Page, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = page.text.split(fence.as_str()).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn definitions_in_the_manual_are_accepted() {
    let node = TestNode::at("2024-07-01T00:00:00Z");
    let mut tried = 0;
    for page in PAGES {
        for block in blocks(page, "toml") {
            let (status, answer) =
                node.post_bytes("/v1/registry/apply?dry_run=true", "application/toml", block.as_bytes());
            assert_eq!(status, 200, "{}: {answer:#}\n{block}", page.name);
            tried += 1;
        }
    }
    assert!(tried >= 4, "found only {tried} blocks");
}

/// Every `sh` block, page by page in one directory against one node, as a reader would who goes through the manual.
#[test]
fn commands_in_the_manual_run() {
    let node = TestNode::at("2024-07-01T00:00:00Z");
    let place = TempDir::new().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), place.path().join("config")).unwrap();
    let server = format!("http://{}", node.running().address());
    let binaries = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for page in PAGES {
        for block in blocks(page, "sh") {
            let script =
                format!("set -euo pipefail\nS={server}\n{}", block.replace("S=http://127.0.0.1:6566", ""));
            let done = Command::new("bash")
                .args(["-c", &script])
                .current_dir(place.path())
                .env("PATH", &path)
                .env("LARDER_SERVER", &server)
                .output()
                .unwrap();
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{}:\n{block}\n{out}\n{err}", page.name);
            ran += 1;
        }
    }
    assert!(ran >= 8, "found only {ran} blocks");
    let training = fs::read_to_string(place.path().join("training.csv")).unwrap();
    let lines: Vec<&str> = training.lines().collect();
    assert_eq!(lines.len(), 3, "{training}");
    assert!(lines[1].contains("180") && !lines[2].contains("180"), "{training}");
}

#[test]
fn pages_are_served_and_searched() {
    let node = TestNode::at("2024-07-01T00:00:00Z");
    let get = |path: &str| {
        let answer = node.request(reqwest::Method::GET, path).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    let (status, contents) = get("/docs/");
    assert_eq!(status, 200);
    for page in PAGES {
        assert!(contents.contains(&format!("/docs/{}", page.name)), "{}", page.name);
        let (status, text) = get(&format!("/docs/{}", page.name));
        assert!(status == 200 && text.contains("<h1>"), "{}: {status}", page.name);
    }
    assert!(get("/docs/?search=ttl%20retention").1.contains("semantics"));
    assert!(get("/docs/?search=%3Cscript%3E").1.contains("No line has all of these words"));
    assert_eq!(get("/docs/nothing").0, 404);
}

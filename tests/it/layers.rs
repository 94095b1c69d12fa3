//! The house's rules that the compiler cannot check: which module may know which.
//!
//! The rules concern the code that ships; what tests import is their own business.

use std::{collections::BTreeMap, path::Path};

use regex::Regex;

/// Modules by layer: each imports only from its own layer and those below it.
const LAYERS: [&[&str]; 9] = [
    &[
        "clock",
        "compute",
        "config",
        "error",
        "expression",
        "failpoint",
        "format",
        "manual",
        "metrics",
        "model",
        "priority",
        "registry",
        "telemetry",
    ],
    &["actor"],
    &["offline"],
    &["shard"],
    &["backfill", "backup", "ingest", "serve", "sql"],
    &["doors"],
    &["http"],
    &["node"],
    &["cli", "main"],
];

/// Modules that are packages of their own: the compiler keeps them from knowing what is above.
const PACKAGES: [&str; 6] = ["compute", "expression", "format", "metrics", "model", "registry"];

/// Modules of one layer that must not know each other.
const STRANGERS: [(&str, &str); 1] = [("ingest", "serve")];

/// Crates, and where alone they may be named: folders, files, or `*/name` for a file of that name in any folder.
const HOMES: [(&str, &[&str]); 10] = [
    ("actix", &["actor/", "*/actor.rs", "node/"]),
    ("fjall", &["shard/"]),
    ("foyer", &["shard/"]),
    ("axum", &["http/", "node/"]),
    ("parquet", &["offline/", "format/", "ingest/decode"]),
    ("delta_kernel", &["offline/", "format/"]),
    ("sqlparser", &["expression/", "sql/engine/"]),
    ("datafusion", &["sql/engine/"]),
    ("croner", &["sql/engine/"]),
    ("datafusion_functions", &["expression/"]),
];

#[test]
fn imports_point_down_and_crates_stay_at_home() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 20, "found only {} files below {}", files.len(), root.display());
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs_err::read_to_string(&path).unwrap());
        }
    }
}

/// One line per violation, as `file:line: …`. `files`: paths below src, with their text.
fn violations(files: &BTreeMap<String, String>) -> Vec<String> {
    let tests = test_modules(files);
    let mut found = Vec::new();
    for (path, text) in files {
        if tests.iter().any(|test| path == test || (test.ends_with('/') && path.starts_with(test))) {
            continue;
        }
        let code = without_tests(&without_comments_and_strings(text));
        let mut report = |at: usize, what: String| {
            let line = code[..at].matches('\n').count() + 1;
            found.push(format!("src/{path}:{line}: {what}"));
        };
        check_imports(path, &code, &mut report);
        check_homes(path, &code, &mut report);
        if path.starts_with("http/") && path != "http/health.rs" {
            for (at, _) in code.match_indices(".parts") {
                report(at, "a transport goes through a door, not to what is behind it".to_owned());
            }
        }
        for (at, _) in code.match_indices(".unwrap()") {
            report(at, "unwrap() outside of tests; say what happens instead".to_owned());
        }
    }
    found
}

/// Files, and folders ending in `/`, that some file declares as `#[cfg(test)] mod name;`.
fn test_modules(files: &BTreeMap<String, String>) -> Vec<String> {
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*mod\s+(\w+)\s*;").unwrap();
    let mut found = Vec::new();
    for (path, text) in files {
        let folder = match path.strip_suffix("mod.rs").or(path.strip_suffix("lib.rs")) {
            Some(folder) => folder.to_owned(),
            None => format!("{}/", path.trim_end_matches(".rs")),
        };
        for name in declared.captures_iter(&without_comments_and_strings(text)) {
            found.push(format!("{folder}{}.rs", &name[1]));
            found.push(format!("{folder}{}/", &name[1]));
        }
    }
    found
}

/// The module that a file belongs to: its first folder, or its own name.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn check_imports(path: &str, code: &str, report: &mut impl FnMut(usize, String)) {
    let importer = module_of(path);
    if importer == "lib" || PACKAGES.contains(&importer) {
        return;
    }
    let Some(layer) = layer_of(importer) else {
        return report(0, format!("`{importer}` has no layer; give it one in tests/it/layers.rs"));
    };
    for (at, imported) in imports(code) {
        let strangers =
            STRANGERS.iter().any(|pair| *pair == (importer, imported) || *pair == (imported, importer));
        match layer_of(imported) {
            None if imported.starts_with(char::is_uppercase) => {}
            None => report(at, format!("crate::{imported} has no layer; give it one in tests/it/layers.rs")),
            Some(_) if strangers => report(at, format!("{importer} and {imported} must not know each other")),
            Some(above) if above > layer => report(
                at,
                format!("{importer} (layer {layer}) imports {imported} (layer {above}); imports point down"),
            ),
            Some(_) => {}
        }
    }
}

/// What follows `crate::`, with where: one name, or the first of each path in braces.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let start = Regex::new(r"(?:\bcrate|\blarder)\s*::\s*(\{)?").unwrap();
    let name = Regex::new(r"^\s*([A-Za-z_][A-Za-z0-9_]*)").unwrap();
    let mut found = Vec::new();
    for matched in start.captures_iter(code) {
        // A macro's `$crate` and a local `x::crate` do not exist here, but `pub(in crate::…)` does, and counts.
        let mut at = matched.get(0).map_or(0, |all| all.end());
        let braces = matched.get(1).is_some();
        let mut depth = 0_usize;
        loop {
            if let Some(path) = name.captures(&code[at..]).and_then(|path| path.get(1)) {
                found.push((at + path.start(), &code[at + path.start()..at + path.end()]));
            }
            if !braces {
                break;
            }
            let next = code[at..].char_indices().find(|(_, c)| match c {
                '{' => {
                    depth += 1;
                    false
                }
                '}' if depth > 0 => {
                    depth -= 1;
                    false
                }
                '}' => true,
                ',' => depth == 0,
                _ => false,
            });
            match next {
                Some((offset, ',')) => at += offset + 1,
                _ => break,
            }
        }
    }
    found
}

fn check_homes(path: &str, code: &str, report: &mut impl FnMut(usize, String)) {
    for (name, homes) in HOMES {
        let at_home = homes.iter().any(|home| match home.strip_prefix('*') {
            Some(file) => path.ends_with(file),
            None => path.starts_with(home),
        });
        if at_home {
            continue;
        }
        let named = Regex::new(&format!(r"(?:^|[^:\w])({name})\s*::|\buse\s+({name})\b")).unwrap();
        for matched in named.captures_iter(code) {
            let at = matched.get(1).or(matched.get(2)).map_or(0, |all| all.start());
            report(at, format!("{name} is named outside of {}", homes.join(", ")));
        }
    }
}

/// The same text, with comments and the insides of strings blanked; lines stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let token = Regex::new(concat!(
        r##"(?s)(//[^\n]*)"##,
        r##"|(/\*.*?\*/)"##,
        r##"|(b?r#+".*?"#+)"##,
        r##"|(b?r"[^"]*")"##,
        r##"|(b?"(?:\\.|[^"\\])*")"##,
        r##"|(b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])')"##,
    ))
    .unwrap();
    token.replace_all(text, |found: &regex::Captures<'_>| blank(&found[0])).into_owned()
}

/// The same text, with what follows `#[cfg(test)]` blanked: a block in braces, or a statement up to its semicolon.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, tested) = rest.split_at(at);
        out.push_str(before);
        let mut depth = 0_usize;
        let end = tested.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ';' => {}
                _ => return false,
            }
            depth == 0 && *c != '{'
        });
        let end = end.map_or(tested.len(), |(offset, _)| offset + 1);
        out.push_str(&blank(&tested[..end]));
        rest = &tested[end..];
    }
    out.push_str(rest);
    out
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

#[track_caller]
fn check(path: &str, text: &str, expected: &[&str]) {
    let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
    assert_eq!(violations(&files), expected);
}

#[test]
fn an_import_that_points_up_is_found() {
    check("shard/store.rs", "\nuse crate::model::Value;\nuse crate::offline::Segment;\n", &[]);
    check(
        "offline/build.rs",
        "//! Sums.\nuse crate::model::Value;\nfn f() { crate::shard::open() }\n",
        &["src/offline/build.rs:3: offline (layer 2) imports shard (layer 3); imports point down"],
    );
    check(
        "serve/plan.rs",
        "use crate::{\n    error::{Code, Coded},\n    http::Problem,\n    model::{self, a::{b, http}},\n    node,\n};\n",
        &[
            "src/serve/plan.rs:3: serve (layer 4) imports http (layer 6); imports point down",
            "src/serve/plan.rs:5: serve (layer 4) imports node (layer 7); imports point down",
        ],
    );
    check(
        "http/online.rs",
        "fn f() { app.doors.parts.reads.newest() }",
        &["src/http/online.rs:1: a transport goes through a door, not to what is behind it"],
    );
    check(
        "ingest/route.rs",
        "use crate::serve::Plan;",
        &["src/ingest/route.rs:1: ingest and serve must not know each other"],
    );
    check("novel/x.rs", "", &["src/novel/x.rs:1: `novel` has no layer; give it one in tests/it/layers.rs"]);
    check("main.rs", "fn main() { larder::cli::run() }", &[]);
}

#[test]
fn a_crate_away_from_home_is_found() {
    check("shard/actor.rs", "use actix::Actor; use fjall::Database;", &[]);
    check("ingest/decode/parquet.rs", "use parquet::arrow;", &[]);
    check(
        "shard/store.rs",
        "use actix::{Actor};",
        &["src/shard/store.rs:1: actix is named outside of actor/, */actor.rs, node/"],
    );
    check(
        "serve/x.rs",
        "\nfn f(k: fjall::Keyspace) {}",
        &["src/serve/x.rs:2: fjall is named outside of shard/"],
    );
    // A module of the same name is not the crate.
    check("serve/y.rs", "use crate::format::parquet::Writer;", &[]);
}

#[test]
fn unwrap_is_found_where_it_ships() {
    check(
        "model/x.rs",
        "fn f() { g().unwrap() }\n#[cfg(test)]\nmod tests { fn t() { g().unwrap() } }\nfn h() { g().unwrap() }",
        &[
            "src/model/x.rs:1: unwrap() outside of tests; say what happens instead",
            "src/model/x.rs:4: unwrap() outside of tests; say what happens instead",
        ],
    );
    let files = [
        ("model/mod.rs", "#[cfg(test)]\nmod odd;\nmod even;"),
        ("model/odd.rs", "fn f() { g().unwrap() }"),
        ("model/odd/deep.rs", "fn f() { g().unwrap() }"),
        ("model/even.rs", "fn f() { g().unwrap() }"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(
        violations(&BTreeMap::from(files)),
        ["src/model/even.rs:1: unwrap() outside of tests; say what happens instead"]
    );
    check(
        "model/z.rs",
        "#[cfg(test)]\nmod tests;\n/// `x.unwrap()`\nfn f() -> &str { \"a \\\" // .unwrap()\" }",
        &[],
    );
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let code = r##"use crate::model; // crate::node
/* crate::http */ let a = "crate::cli"; let b = r#"crate::"node""#; let c = '"'; let d = b'\''; let e: &'a str = crate::error::x();"##;
    check("clock.rs", code, &[]);
    check(
        "clock.rs",
        "let c = '\"'; crate::node::x(); let d = '\"';",
        &["src/clock.rs:1: clock (layer 0) imports node (layer 7); imports point down"],
    );
}

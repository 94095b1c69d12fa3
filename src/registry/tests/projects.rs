//! Two teams' files beside each other.

use super::*;
use crate::{describe_entity, describe_feature_view, parse_toml_beside};

const USER: &str = "[[entity]]\nname = \"user\"\njoin_keys = [{ name = \"u\", type = \"string\" }]\n";

fn view(name: &str, feature: &str) -> String {
    format!(
        "[[feature_view]]\nname = \"{name}\"\nentities = [\"user\"]\nfeature = [{{ name = \"{feature}\", type = \"int64\" }}]\n"
    )
}

fn service(name: &str, reference: &str) -> String {
    format!("[[feature_service]]\nname = \"{name}\"\nfeatures = [\"{reference}\"]\n")
}

fn of(project: &str, text: &[&str]) -> String {
    format!("project = \"{project}\"\n{}", text.concat())
}

/// Applies files beside what other projects have; nothing may be retired.
fn try_apply(node: &mut Node, files: &[String], mode: ApplyMode) -> Result<ApplyOutcome, RegistryError> {
    let files: Vec<DefinitionFile> =
        files.iter().enumerate().map(|(n, text)| file(&format!("f{n}.toml"), text)).collect();
    let definitions = parse_toml_beside(&files, &node.catalog())?;
    node.registry.apply(&definitions, mode)
}

fn names(objects: &[crate::ObjectVersion]) -> Vec<&str> {
    objects.iter().map(|object| object.name.as_str()).collect()
}

const KEEP: ApplyMode = ApplyMode { expected_version: None, dry_run: false, allow_retire: false };

#[test]
fn two_projects_do_not_retire_each_other_and_may_use_each_other() {
    let mut node = Node::new();
    try_apply(&mut node, &[format!("{USER}{}", view("a", "x"))], KEEP).unwrap();
    let second = of("pricing", &[&view("b", "y"), &service("model", "a:x")]);
    let outcome = try_apply(&mut node, std::slice::from_ref(&second), KEEP).unwrap();
    assert_eq!(names(&outcome.changes.created), ["b", "model"]);
    assert!(outcome.changes.retired.is_empty());
    let again = try_apply(&mut node, &[format!("{USER}{}", view("a", "x"))], KEEP).unwrap();
    assert!(again.changes.created.is_empty() && again.changes.updated.is_empty(), "{again:?}");
    assert_eq!(node.catalog().version, 2);
    // What a service of the other project uses cannot go.
    let broken = try_apply(&mut node, &[format!("{USER}{}", view("a", "z"))], ANY).unwrap_err();
    assert!(
        matches!(&broken, RegistryError::Breaking(_)) && broken.to_string().contains("`model`"),
        "{broken}"
    );
    let gone = try_apply(&mut node, &[USER.to_owned()], ANY).unwrap_err();
    assert!(gone.to_string().contains("project `pricing`: feature service `model`"), "{gone}");

    let shown = describe_feature_view(&node.catalog(), &node.catalog().feature_views["b"]);
    assert_eq!(shown["project"], "pricing");
    assert_eq!(describe_entity(&node.catalog(), &node.catalog().entities["user"])["project"], "default");
    // The log keeps it.
    let replayed = Node::over(node.log.clone());
    assert_eq!(print(&replayed.catalog()), print(&node.catalog()));
}

#[test]
fn what_another_project_owns_is_not_redefined() {
    let mut node = Node::new();
    try_apply(&mut node, &[format!("{USER}{}", view("a", "x"))], KEEP).unwrap();
    for text in [USER.to_owned(), view("a", "x"), format!("{}{}", view("b", "x"), view("a", "y"))] {
        let error = try_apply(&mut node, &[of("pricing", &[&text])], ANY).unwrap_err().to_string();
        assert!(error.contains("belongs to the project `default`"), "{error}");
    }
    // Both projects' files together move it; nothing is retired by that.
    let moved = try_apply(&mut node, &[USER.to_owned(), of("pricing", &[&view("a", "x")])], KEEP).unwrap();
    assert_eq!(moved.changes.updated[0].changes, ["project: default → pricing"]);
    assert_eq!(node.catalog().feature_views["a"].about.project.as_deref(), Some("pricing"));
}

#[test]
fn retiring_is_listed_and_needs_to_be_allowed() {
    let mut node = Node::new();
    try_apply(&mut node, &[format!("{USER}{}{}", view("a", "x"), view("b", "x"))], KEEP).unwrap();
    let less = [format!("{USER}{}", view("a", "x"))];
    let planned = try_apply(&mut node, &less, ApplyMode { dry_run: true, ..KEEP }).unwrap();
    assert_eq!(names(&planned.changes.retired), ["b"]);
    let refused = try_apply(&mut node, &less, KEEP).unwrap_err();
    assert!(matches!(&refused, RegistryError::Retires(_)), "{refused}");
    assert!(refused.to_string().contains("would retire feature view `b`"), "{refused}");
    assert_eq!(node.catalog().version, 1, "nothing was changed");
    let applied = try_apply(&mut node, &less, ANY).unwrap();
    assert_eq!(names(&applied.changes.retired), ["b"]);
}

#[test]
fn definitions_read_beside_an_older_catalog_are_not_applied() {
    let mut node = Node::new();
    let stale = parse_toml_beside(&[file("f.toml", USER)], &node.catalog()).unwrap();
    try_apply(&mut node, &[of("pricing", &[USER])], KEEP).unwrap();
    assert!(matches!(node.registry.apply(&stale, ANY), Err(RegistryError::Moved)));
}

#[test]
fn project_names_are_names() {
    assert_one(&wrong(&of("Pricing Team", &[USER])), &["1:", "`Pricing Team` is not a name"]);
    assert!(parse_toml(&[file("f.toml", &of("default", &[USER]))]).is_ok());
}

#[test]
fn what_is_kept_for_ever_is_bounded_and_so_are_the_errors() {
    let described = |bytes: usize| format!("{USER}description = \"{}\"\n", "x".repeat(bytes));
    assert!(parse_toml(&[file("f.toml", &described(10_000))]).is_ok());
    assert_one(
        &wrong(&described(10_001)),
        &["4: entity `user`: `description` has 10001 bytes; at most 10000"],
    );
    let owned = format!("{USER}owner = \"{}\"\n", "x".repeat(1_001));
    assert_one(&wrong(&owned), &["`owner` has 1001 bytes; at most 1000"]);
    let tags: String = (0..101).map(|n| format!("t{n} = \"\", ")).collect();
    assert_one(
        &wrong(&format!("{USER}tags = {{ {} }}\n", tags.trim_end_matches(", "))),
        &["`tags` has 101 entries"],
    );
    let many: String = (0..100_000).map(|n| format!("k{n} = 1\n")).collect();
    let started = std::time::Instant::now();
    let errors = wrong(&format!("{USER}{many}"));
    assert_eq!(errors.len(), 101);
    assert!(errors[100].contains("there are more errors"), "{}", errors[100]);
    let objects = USER.replace("join_keys", "keys").repeat(20_000);
    assert_eq!(wrong(&objects).len(), 101);
    assert!(started.elapsed().as_secs() < 10, "unoptimised, and on a busy machine: {:?}", started.elapsed());
}

#[test]
fn names_of_tables_that_sql_makes_are_not_free() {
    for text in [
        format!("{USER}{}", view("x__latest", "f")),
        "[[source]]\nname = \"x__latest\"\nkind = \"push\"\nschema = { a = \"string\" }\n".to_owned(),
    ] {
        assert_one(&wrong(&text), &["cannot end in `__latest`", "newest rows of the feature view `x`"]);
    }
}

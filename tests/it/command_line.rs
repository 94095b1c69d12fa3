//! `larder ingest`, `apply` and `training-set` as people call them: the binary beside a running node.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::TestNode;

const ENTITY: &str = "[[entity]]\nname = \"plane\"\njoin_keys = [{ name = \"k\", type = \"string\" }]\n";
const VIEW: &str = r#"
[[feature_view]]
name = "plane_facts"
entities = ["plane"]
feature = [{ name = "seats", type = "int64" }, { name = "model", type = "string" }]
"#;
const T: &str = "2024-05-01T11:00:00Z";

struct Shell {
    node: TestNode,
    dir: TempDir,
}

impl Shell {
    fn new() -> Shell {
        let node = TestNode::at("2024-05-01T12:00:00Z");
        node.apply(&format!("{ENTITY}{VIEW}"));
        Shell { node, dir: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Exit code and both outputs, the first of them stdout.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(args)
            .env("LARDER_SERVER", format!("http://{}", self.node.running().address()))
            .env("XDG_STATE_HOME", self.path("state"))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        let (code, text) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    }

    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], parts: &[&str]) -> String {
        let (found, text) = self.run(args);
        assert_eq!(found, code, "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        text
    }

    fn ingest(&self, file: &Path, more: &[&str]) -> (i32, String) {
        self.run(&[&["ingest", file.to_str().unwrap(), "--view", "plane_facts"], more].concat())
    }

    fn stored(&self, key: &str) -> Json {
        self.node.read(&["plane_facts:seats", "plane_facts:model"], json!([{ "k": key }]))["values"][0]
            .clone()
    }
}

#[test]
fn a_repeated_command_is_a_repeated_write() {
    let shell = Shell::new();
    let a = shell.write("a.csv", format!("k,event_time,seats\np,{T},1\n"));
    let b = shell.write("b.csv", format!("k,event_time,seats\np,{T},2\n"));
    for (file, seats) in [(&a, 1), (&b, 2), (&a, 1), (&a, 1), (&b, 2)] {
        let (code, text) = shell.ingest(file, &[]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("1 stored (0 late), 0 duplicates, 0 quarantined, 0 stored before"), "{text}");
        assert_eq!(shell.stored("p"), json!([seats, null]));
    }
}

#[test]
fn an_interrupted_run_is_resumed_where_it_is_asked_for() {
    let shell = Shell::new();
    let rows = |bad: &str| {
        let row = |n: usize| match n {
            35_000 => format!("p{n},{T},{bad}\n"),
            _ => format!("p{n},{T},{n}\n"),
        };
        format!("k,event_time,seats\n{}", (0..36_000).map(row).collect::<String>())
    };
    let file = shell.write("big.csv", rows("many"));
    let (code, text) = shell.ingest(&file, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("line 35002") && text.contains("expected int64"), "{text}");
    assert!(text.contains("the same command with --resume stores the rest"), "{text}");
    assert_eq!(shell.stored("p7"), json!([7, null]));

    shell.write("big.csv", rows("35000"));
    let (code, text) = shell.ingest(&file, &["--resume"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("36,000 rows") && text.contains("3,232 stored (0 late)"), "{text}");
    assert!(text.contains("32,768 stored before"), "{text}");
    assert_eq!(shell.stored("p35000"), json!([35_000, null]));
    // It is complete: there is nothing to resume, and the command is a new run.
    let (code, text) = shell.ingest(&file, &["--resume"]);
    assert!(code == 2 && text.contains("there is nothing to resume"), "{code} {text}");
    let (code, text) = shell.ingest(&file, &["--resume=banana"]);
    assert!(code == 2 && text.contains("not the id of a run"), "{code} {text}");
    let (code, text) = shell.ingest(&file, &[]);
    assert!(code == 0 && text.contains("36,000 stored (0 late)"), "{code} {text}");
}

#[test]
fn a_run_that_did_not_finish_is_told_of_by_the_next() {
    let shell = Shell::new();
    let file = shell.write("a.csv", format!("k,event_time,seats\np,{T},x\n"));
    assert_eq!(shell.ingest(&file, &[]).0, 1);
    shell.write("a.csv", format!("k,event_time,seats\np,{T},1\n"));
    let (code, text) = shell.ingest(&file, &[]);
    assert!(code == 0 && text.contains("an earlier run of this did not finish"), "{code} {text}");
    let (code, text) = shell.ingest(&file, &[]);
    assert!(code == 0 && !text.contains("did not finish"), "{code} {text}");
}

#[test]
fn misspelt_columns_and_files_without_a_feature_are_refused() {
    let shell = Shell::new();
    for (name, text) in [
        ("near.csv", format!("k,event_time,seat,model\np,{T},1,A\n")),
        ("near.ndjson", format!("{{\"k\":\"p\",\"event_time\":\"{T}\",\"Seats\":1,\"model\":\"A\"}}\n")),
    ] {
        let file = shell.write(name, text);
        let (code, text) = shell.ingest(&file, &[]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("probably misspelt") && text.contains("for `seats`"), "{text}");
        let (code, text) = shell.ingest(&file, &["--ignore-unknown"]);
        assert_eq!(code, 0, "{text}");
        let (code, text) = shell.ingest(&file, &["--ignore-columns", "seat,Seats"]);
        assert_eq!(code, 0, "{text}");
    }
    let none = shell.write("none.csv", format!("k,event_time,engines\np,{T},2\n"));
    let (code, text) = shell.ingest(&none, &[]);
    assert!(code == 1 && text.contains("none of the table's columns seats, model"), "{code} {text}");
    assert_eq!(shell.ingest(&none, &["--ignore-unknown"]).0, 0);
    let further = shell.write("further.csv", format!("k,event_time,seats,engines\np,{T},3,2\n"));
    let (code, text) = shell.ingest(&further, &[]);
    assert!(code == 0 && text.contains("leaving out columns") && text.contains("engines"), "{code} {text}");
    let (code, text) = shell.ingest(&further, &["--strict"]);
    assert!(code == 1 && text.contains("the table has no column engines"), "{code} {text}");
}

#[test]
fn quarantine_takes_the_bad_row_and_keeps_the_good_ones() {
    let shell = Shell::new();
    let csv = format!("k,event_time,seats,engines\nc1,{T},1,2\nc2,{T},many,2\nc3,{T},3,2\nc4,{T}\n");
    let ndjson = ["1", "\"many\"", "3"]
        .iter()
        .zip(1..)
        .map(|(seats, n)| {
            format!("{{\"k\":\"n{n}\",\"event_time\":\"{T}\",\"seats\":{seats},\"engines\":2}}\n")
        })
        .collect::<String>();
    for (name, text, bad) in [("rows.csv", csv, 2), ("rows.ndjson", ndjson, 1)] {
        let file = shell.write(name, text);
        let (code, text) = shell.ingest(&file, &["--quarantine"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!("2 stored (0 late), 0 duplicates, {bad} quarantined")), "{text}");
    }
    for (key, seats) in [("c1", 1), ("c3", 3), ("n1", 1), ("n3", 3)] {
        assert_eq!(shell.stored(key), json!([seats, null]), "{key}");
    }
    let (_, kept) = shell.node.get("/v1/quarantine?view=plane_facts");
    let reasons = kept.to_string();
    assert!(
        reasons.contains("expected int64, got many") && reasons.contains("the header has 3 fields"),
        "{kept}"
    );
}

#[test]
fn definitions_are_read_from_below_and_hidden_files_are_not() {
    let shell = Shell::new();
    shell.write("defs/entities.toml", ENTITY);
    shell.write("defs/team/deep/views.toml", format!("\u{feff}{VIEW}"));
    for name in ["._views.toml", ".#views.toml", "#views.toml#", "views.toml~", "~$views.toml", ".git/x.toml"]
    {
        shell.write(&format!("defs/{name}"), "this is no definition");
    }
    std::os::unix::fs::symlink("..", shell.path("defs/team/up")).unwrap();
    let defs = shell.path("defs");
    let text = shell.succeeds(&["apply", defs.to_str().unwrap()]);
    assert!(text.contains("2 unchanged"), "{text}");
    shell.write("defs/latin.toml", b"# caf\xe9\n");
    shell.fails(
        1,
        &["apply", defs.to_str().unwrap()],
        &["latin.toml: line 1, byte 6: byte 0xE9 (`é` in Latin-1)", "UTF-8"],
    );
}

#[test]
fn what_apply_would_retire_is_listed_and_needs_to_be_allowed() {
    let shell = Shell::new();
    let defs = shell.path("defs");
    let defs = defs.to_str().unwrap();
    shell.write("defs/entities.toml", ENTITY);
    let text = shell.succeeds(&["plan", defs]);
    assert!(text.contains("- feature_view plane_facts") && text.contains("--allow-retire"), "{text}");
    shell.fails(
        1,
        &["apply", defs],
        &["would retire feature view `plane_facts`", "--allow-retire", "- feature_view plane_facts"],
    );
    assert_eq!(shell.node.get("/v1/feature-views/plane_facts").0, 200, "it is still there");
    // Another project's files retire nothing of it, and cannot define it.
    shell.write(
        "pricing/views.toml",
        format!("project = \"pricing\"\n{}", VIEW.replace("plane_facts", "prices")),
    );
    let pricing = shell.path("pricing");
    let text = shell.succeeds(&["apply", pricing.to_str().unwrap()]);
    assert!(text.contains("+ feature_view prices") && !text.contains("plane_facts"), "{text}");
    assert_eq!(shell.node.get("/v1/feature-views/prices").1["project"], "pricing");
    assert_eq!(shell.node.get("/v1/feature-views/plane_facts").1["project"], "default");
    shell.write("pricing/more.toml", format!("project = \"pricing\"\n{VIEW}"));
    shell.fails(
        1,
        &["apply", pricing.to_str().unwrap()],
        &["`plane_facts` is taken: it belongs to the project `default`"],
    );
    let text = shell.succeeds(&["apply", defs, "--allow-retire"]);
    assert!(text.contains("- feature_view plane_facts") && !text.contains("prices"), "{text}");
    assert_eq!(shell.node.get("/v1/feature-views/prices").0, 200);
    let (status, problem) = shell.node.post_bytes(
        "/v1/registry/apply",
        "application/toml",
        "[[entity]]\nname = \"other\"\njoin_keys = [{ name = \"o\", type = \"string\" }]\n",
    );
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("feature view `prices` needs the entity `plane`"), "{problem}");
}

#[test]
fn files_without_rows_have_an_answer() {
    let shell = Shell::new();
    let header = shell.write("header.csv", "k,event_time,seats\n");
    for (name, text) in [("none.ndjson", ""), ("blank.ndjson", "\n\n"), ("none.json", "{\"rows\":[]}")] {
        let file = shell.write(name, text);
        for more in [&[][..], &["--quarantine"]] {
            let (code, text) = shell.ingest(&file, more);
            assert!(code == 0 && text.contains("0 rows in"), "{name} {more:?}: {code} {text}");
        }
    }
    for more in [&[][..], &["--quarantine"]] {
        let (code, text) = shell.ingest(&header, more);
        assert!(code == 0 && text.contains("0 rows in"), "{code} {text}");
    }
    let empty = shell.write("empty.csv", "");
    let (code, text) = shell.ingest(&empty, &[]);
    assert!(code == 1 && text.contains("it is empty: it has no header line"), "{code} {text}");

    let spine = shell.write("spine.csv", "k,event_time,label\n");
    for out in ["out.csv", "out.ndjson", "out.parquet"] {
        let out = shell.path(out);
        let args = ["training-set", "--features", "plane_facts", "--out", out.to_str().unwrap(), "--spine"];
        let text = shell.succeeds(&[&args[..], &[spine.to_str().unwrap()]].concat());
        assert!(text.contains("0 rows in"), "{text}");
    }
    let csv = std::fs::read_to_string(shell.path("out.csv")).unwrap();
    assert_eq!(csv, "k,event_time,label,plane_facts__seats,plane_facts__model\n");
    assert_eq!(std::fs::read_to_string(shell.path("out.ndjson")).unwrap(), "");
    let file = std::fs::File::open(shell.path("out.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(reader.schema().fields().len(), 5);
    let none = shell.path("none.ndjson");
    let out = shell.path("none.csv");
    let args = ["training-set", "--features", "plane_facts", "--out", out.to_str().unwrap(), "--spine"];
    shell.succeeds(&[&args[..], &[none.to_str().unwrap()]].concat());
    // JSON without rows has no names: the keys that are defined stand for them.
    let csv = std::fs::read_to_string(&out).unwrap();
    assert_eq!(csv, "event_time,k,plane_facts__seats,plane_facts__model\n");
}

#[test]
fn compressed_files_and_unknown_extensions() {
    use std::io::Write as _;
    let shell = Shell::new();
    let text = format!("k,event_time,seats\np,{T},5\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let file = shell.write("rows.csv.gz", &packed);
    assert_eq!(shell.ingest(&file, &[]).0, 0);
    assert_eq!(shell.stored("p"), json!([5, null]));
    let file = shell.write("rows.txt.gz", &packed);
    assert_eq!(shell.ingest(&file, &["--format", "csv"]).0, 0);
    let file = shell.write("rows.csv", &packed);
    let (code, text) = shell.ingest(&file, &[]);
    assert!(
        code == 1 && text.contains("the text is compressed; give the file the extension .gz"),
        "{code} {text}"
    );
    let file = shell.write("rows.xlsx", "");
    let (code, text) = shell.ingest(&file, &[]);
    assert!(code == 1 && text.contains("rows.xlsx` is not a known format; known: json"), "{code} {text}");
    let (code, _) = shell.run(&["ingest"]);
    assert_eq!(code, 2, "wrong usage");
}

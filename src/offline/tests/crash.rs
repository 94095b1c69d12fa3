//! What a crash or a broken disk leaves behind.

use std::fs;

use super::*;
use crate::{
    compute::as_of::Spine,
    error::{Code, Coded},
    offline::{AsOf, ByteBudget, NoTail, OfflineError, as_of_join},
};

fn rows(count: i64) -> Vec<Row> {
    let row = |time| Row {
        key: ("k".into(), time % 3),
        time,
        accepted: time,
        x: Some(time as i32),
        deleted: false,
    };
    (0..count).map(row).collect()
}

fn filled(dir: &std::path::Path, count: i64) -> (Arc<Table>, Vec<Row>) {
    let table = open(dir);
    let rows = rows(count);
    table.append(&schema(1), vec![batch(&schema(1), &rows, 0)], count as u64).unwrap();
    (table, rows)
}

#[test]
fn files_of_a_commit_that_was_not_made_go_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (table, rows) = filled(dir.path(), 5);
    let live = table.snapshot().segments[0].path.clone();
    let orphan = table.dir.join("part-00000000000000000002-00000000-0000-7000-8000-000000000000.parquet");
    let torn = table.dir.join("_tmp-1");
    let torn_commit = table.dir.join("_delta_log/_tmp-2");
    let foreign = table.dir.join("part-00000-00000000-0000-4000-8000-000000000000-c000.snappy.parquet");
    fs::copy(&live, &orphan).unwrap();
    fs::copy(&live, &foreign).unwrap();
    fs::write(&torn, b"PAR1").unwrap();
    fs::write(&torn_commit, b"{\"add\":").unwrap();

    let table = open(dir.path());
    assert_eq!(table.sealed_seq(), 5);
    for gone in [orphan, torn, torn_commit] {
        assert!(!gone.exists(), "{}", gone.display());
    }
    assert!(live.exists() && foreign.exists());
    assert_eq!(contents(&History::open(&table, &NoTail, &schema(1)).unwrap()), expected(&rows, usize::MAX));
}

#[test]
fn a_crash_before_the_first_commit_leaves_a_table_that_can_be_created() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("view/_delta_log")).unwrap();
    assert_eq!(open(dir.path()).sealed_seq(), 0);
}

#[test]
fn a_lost_log_is_an_error_and_not_an_empty_table() {
    let dir = tempfile::tempdir().unwrap();
    let (table, _) = filled(dir.path(), 5);
    fs::remove_dir_all(table.dir.join("_delta_log")).unwrap();
    let store = OfflineStore::open(dir.path(), options()).unwrap();
    let Err(error) = store.table(&schema(1)) else { panic!("opened") };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(table.snapshot().segments[0].path.exists());
}

#[test]
fn a_checkpoint_hint_that_is_torn_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (table, rows) = filled(dir.path(), 12);
    for at in 0..4u64 {
        let more = vec![Row { key: ("z".into(), 0), ..rows[0].clone() }];
        table.append(&schema(1), vec![batch(&schema(1), &more, 12 + at)], 13 + at).unwrap();
    }
    let hint = table.dir.join("_delta_log/_last_checkpoint");
    assert!(table.dir.join("_delta_log/00000000000000000003.checkpoint.parquet").exists());
    assert!(hint.exists());
    for content in ["", "{\"vers"] {
        fs::write(&hint, content).unwrap();
        let table = open(dir.path());
        assert_eq!((table.sealed_seq(), table.snapshot().delta_version), (16, 5), "hint {content:?}");
    }
}

/// The log's commits before a checkpoint may go: the checkpoint alone tells all.
#[test]
fn a_checkpoint_stands_for_the_commits_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (table, mut rows) = filled(dir.path(), 4);
    for seq in 4..8 {
        let more = Row { key: ("z".into(), 0), ..rows[0].clone() };
        table.append(&schema(1), vec![batch(&schema(1), std::slice::from_ref(&more), seq)], seq + 1).unwrap();
        rows.push(more);
    }
    for version in 0..3 {
        fs::remove_file(table.dir.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    let table = open(dir.path());
    assert_eq!(contents(&History::open(&table, &NoTail, &schema(1)).unwrap()), expected(&rows, usize::MAX));
    table.verify().unwrap();
    assert!(
        table
            .snapshot()
            .segments
            .iter()
            .all(|segment| segment.crc32c.is_some() && segment.event_time.is_some())
    );
}

#[test]
fn any_changed_byte_of_a_segment_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (table, _) = filled(dir.path(), 12);
    let path = table.snapshot().segments[0].path.clone();
    let whole = fs::read(&path).unwrap();
    let check = |what: &str| {
        let table = open(dir.path());
        let history = History::open(&table, &NoTail, &schema(1)).unwrap();
        let request = AsOf {
            history: &history,
            spine: &Spine::new(b"k\0\0\x80\0\0\0\0\0\0\0", &[0, 11], &[5], 0),
            ttl: None,
            known_at: None,
            by_then: false,
            columns: &["x"],
            budget: ByteBudget::unlimited(),
        };
        let joined = as_of_join(&request).err();
        let scanned = history.scan(&["x"]).unwrap().find_map(Result::err);
        for error in [joined, scanned, table.verify().err()] {
            let error = error.unwrap_or_else(|| panic!("{what}: read as if nothing had happened"));
            assert!(
                matches!(&error, OfflineError::Corrupt { path: named, .. } if *named == path),
                "{what}: {error}"
            );
            assert_eq!(error.code(), Code::Unavailable);
        }
    };
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, changed).unwrap();
        check(&format!("byte {at}"));
    }
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        check(&format!("cut to {length}"));
    }
    fs::remove_file(&path).unwrap();
    check("missing");
}

#[test]
fn any_changed_byte_of_the_log_is_an_error_or_of_no_account() {
    let dir = tempfile::tempdir().unwrap();
    let (table, rows) = filled(dir.path(), 5);
    for seq in 5..9 {
        table.append(&schema(1), vec![batch(&schema(1), &rows[..1], seq)], seq + 1).unwrap();
    }
    let before = contents(&History::open(&table, &NoTail, &schema(1)).unwrap());
    let mut refused = 0;
    for file in ["00000000000000000005.json", "00000000000000000003.checkpoint.parquet"] {
        let path = table.dir.join("_delta_log").join(file);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 25) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 7);
            fs::write(&path, changed).unwrap();
            let store = OfflineStore::open(dir.path(), options()).unwrap();
            match store.table(&schema(1)) {
                Ok(table) => {
                    assert_eq!(table.sealed_seq(), 9);
                    assert_eq!(
                        contents(&History::open(&table, &NoTail, &schema(1)).unwrap()),
                        before,
                        "{file}, byte {at}"
                    );
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::Unavailable, "{error}");
                    assert!(error.to_string().contains(file), "{error}");
                    refused += 1;
                }
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(refused > 35, "{refused}");
}

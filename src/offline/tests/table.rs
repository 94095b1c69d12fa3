//! Appending, evolving, compacting, expiring.

use std::time::Duration;

use super::*;
use crate::{
    compute::retention::Horizon,
    error::{Code, Coded},
    offline::{CompactOutcome, NoTail, OfflineError, Visible, table::STEP},
};

fn rows(times: std::ops::Range<i64>) -> Vec<Row> {
    let row = |time| Row {
        key: ("k".into(), time % 3),
        time,
        accepted: time,
        x: Some(time as i32),
        deleted: false,
    };
    times.map(row).collect()
}

fn files(table: &Table) -> usize {
    let names = std::fs::read_dir(&table.dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
}

#[test]
fn rows_are_in_once_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..30);
    let table = open(dir.path());
    assert_eq!(table.sealed_seq(), 0);
    let sealed = table.append(&v1, vec![batch(&v1, &all[..10], 0)], 10).unwrap();
    assert_eq!((sealed.sealed_seq, sealed.rows, sealed.segments), (10, 10, 1));
    // The same again, as after a crash before the outbox forgot them; then with new rows behind.
    assert_eq!(table.append(&v1, vec![batch(&v1, &all[..10], 0)], 10).unwrap().rows, 0);
    let sealed =
        table.append(&v1, vec![batch(&v1, &all[5..15], 5), batch(&v1, &all[15..30], 15)], 30).unwrap();
    assert_eq!((sealed.sealed_seq, sealed.rows, sealed.segments), (30, 20, 2));

    for table in [table, open(dir.path())] {
        let snapshot = table.snapshot();
        assert_eq!((snapshot.delta_version, snapshot.sealed_seq), (2, 30));
        assert_eq!(snapshot.segments.iter().map(|s| s.rows).sum::<u64>(), 30);
        let first = snapshot.segments.iter().find(|s| s.seq == Some((0, 9))).unwrap();
        assert_eq!(first.event_time, Some((0, 9)));
        assert_eq!(contents(&History::open(&table, &NoTail, &v1).unwrap()), expected(&all, usize::MAX));
        table.verify().unwrap();
    }
}

/// By the ends of the logs alone; where these do not say, by the whole log.
#[test]
fn how_far_rows_are_sealed_is_known_without_opening_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..40);
    let sealed = |opened: usize| {
        let store = OfflineStore::open(dir.path(), options()).unwrap();
        let sealed = store.sealed_seq(&v1).unwrap();
        assert_eq!(store.opened().len(), opened);
        assert_eq!(store.table(&v1).unwrap().sealed_seq(), sealed);
        sealed
    };
    let untouched = OfflineStore::open(dir.path(), options()).unwrap();
    assert_eq!((untouched.sealed_seq(&v1).unwrap(), untouched.has(&v1)), (0, false));
    assert!(untouched.opened().is_empty());
    assert_eq!(sealed(0), 0);
    let table = open(dir.path());
    for up_to in [7, 20, 40] {
        let first = table.sealed_seq() as usize;
        table.append(&v1, vec![batch(&v1, &all[first..up_to], first as u64)], up_to as u64).unwrap();
        assert_eq!(sealed(0), up_to as u64);
    }
    // Commits that moved no rows out of the outbox, at a checkpoint and after it.
    for _ in 0..4 {
        assert!(table.compact().unwrap().merged > 0);
        assert_eq!(sealed(0), 40);
    }
    let commits = |version: u64| table.dir.join(format!("_delta_log/{version:020}.json"));
    let newest = table.snapshot().delta_version;
    // Its bytes are checked as when the table is opened.
    let text = std::fs::read(commits(newest)).unwrap();
    let mut changed = text.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    std::fs::write(commits(newest), changed).unwrap();
    let store = OfflineStore::open(dir.path(), options()).unwrap();
    assert!(store.sealed_seq(&v1).is_err() && store.opened().is_empty());
    std::fs::write(commits(newest), text).unwrap();
    // Another writer's commits; the log says it when it is read as a whole.
    for version in newest + 1..newest + 20 {
        std::fs::write(commits(version), "{\"commitInfo\":{\"operation\":\"OTHER\"}}\n").unwrap();
    }
    assert_eq!(sealed(1), 40);
}

#[test]
fn a_gap_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..10);
    let table = open(dir.path());
    let beyond = table.append(&v1, vec![batch(&v1, &all, 1)], 11);
    let short = table.append(&v1, vec![batch(&v1, &all[..5], 0)], 10);
    let long = table.append(&v1, vec![batch(&v1, &all, 0)], 5);
    for result in [beyond, short, long] {
        assert!(matches!(result, Err(OfflineError::Gap { .. })), "{result:?}");
    }
    assert_eq!((table.sealed_seq(), files(&table)), (0, 0));
}

#[test]
fn the_tail_joins_on_without_loss_or_doubling() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..20);
    let table = open(dir.path());
    let outbox = Outbox::default();
    outbox.push(batch(&v1, &all[..12], 0));
    outbox.push(batch(&v1, &all[12..], 12));
    table.append(&v1, vec![batch(&v1, &all[..7], 0)], 7).unwrap();
    assert_eq!(contents(&History::open(&table, &outbox, &v1).unwrap()), expected(&all, usize::MAX));

    /// A tail that seals rows while it is being read.
    struct Racing<'a>(&'a Table, &'a Outbox, Vec<Row>);
    impl Tail for Racing<'_> {
        fn tail(&self, table: TableId, from: u64, columns: Option<&[&str]>) -> Result<TailRows, TailError> {
            let rows = self.1.tail(table, from, columns);
            self.0.append(&schema(1), vec![batch(&schema(1), &self.2[7..15], 7)], 15).unwrap();
            rows
        }
    }
    let history = History::open(&table, &Racing(&table, &outbox, all.clone()), &v1).unwrap();
    assert_eq!(history.snapshot().sealed_seq, 15);
    assert_eq!(history.rows(), 20);
    assert_eq!(contents(&history), expected(&all, usize::MAX));

    // An outbox that has lost rows is an error, not a short history.
    let torn = Outbox::default();
    torn.push(batch(&v1, &all[17..], 17));
    struct Whole(Outbox);
    impl Tail for Whole {
        fn tail(&self, _: TableId, _: u64, _: Option<&[&str]>) -> Result<TailRows, TailError> {
            Ok(self.0.0.lock().unwrap().clone().into())
        }
    }
    assert!(matches!(History::open(&table, &Whole(torn), &v1), Err(OfflineError::Gap { expected: 15, .. })));
}

#[test]
fn a_long_tail_is_read_in_portions_that_hold_what_they_have() {
    let dir = tempfile::tempdir().unwrap();
    let v2 = schema(2);
    let (outbox, all) = (Outbox::default(), rows(0..20_000));
    outbox.push(batch(&v2, &all, 0));
    let history = History::open(&open(dir.path()), &outbox, &v2).unwrap();
    let names: Vec<&str> = history.schema().fields().iter().map(|field| field.name().as_str()).collect();
    for visible in [Visible::ALL, Visible { until: 15_000, below_seq: 18_000 }] {
        let (mut seqs, mut bytes) = (Vec::new(), 0);
        for portion in history.portions(&(i64::MIN..=i64::MAX)).unwrap() {
            for batch in history.read(&portion, &names, visible).unwrap() {
                let batch = batch.unwrap();
                assert!(batch.num_rows() <= STEP);
                bytes += batch.get_array_memory_size();
                seqs.extend_from_slice(batch[SEQ].as_primitive::<Int64Type>().values());
            }
        }
        assert!(seqs.iter().copied().eq(0..if visible == Visible::ALL { 20_000 } else { 15_001 }));
        assert!(bytes < 2 * history.tail[0].get_array_memory_size(), "{bytes}");
        let counted: usize = history
            .portions(&(0..=0))
            .unwrap()
            .iter()
            .flat_map(|portion| history.read(portion, &[], visible).unwrap())
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(counted, seqs.len(), "with no column");
    }
}

#[test]
fn compaction_keeps_rows_and_files_go_when_nobody_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..20);
    let table = open(dir.path());
    for at in 0..10 {
        table
            .append(&v1, vec![batch(&v1, &all[at * 2..at * 2 + 2], at as u64 * 2)], at as u64 * 2 + 2)
            .unwrap();
    }
    let before = History::open(&table, &NoTail, &v1).unwrap();
    assert_eq!(table.compact().unwrap(), CompactOutcome { merged: 10, written: 2, rows: 20, dropped: 0 });
    assert_eq!(table.sealed_seq(), 20);
    assert_eq!(contents(&History::open(&table, &NoTail, &v1).unwrap()), expected(&all, usize::MAX));
    assert_eq!(table.snapshot().segments.iter().map(|s| s.rows).collect::<Vec<_>>(), [12, 8]);

    assert_eq!((table.vacuum(Duration::ZERO).unwrap(), files(&table)), (0, 12));
    assert_eq!(contents(&before), expected(&all, usize::MAX));
    drop(before);
    assert_eq!(table.vacuum(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!((table.vacuum(Duration::ZERO).unwrap(), files(&table)), (10, 2));
    assert_eq!(
        contents(&History::open(&open(dir.path()), &NoTail, &v1).unwrap()),
        expected(&all, usize::MAX)
    );
}

/// Changed bytes often still decode. A merge of them would give them a new and right checksum.
#[test]
fn a_changed_segment_is_never_merged() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..20);
    let table = open(dir.path());
    for part in 0..2 {
        let (from, to) = (part * 10, part * 10 + 10);
        table.append(&v1, vec![batch(&v1, &all[from..to], from as u64)], to as u64).unwrap();
    }
    let segment = Arc::clone(&table.snapshot().segments[0]);
    let whole = std::fs::read(&segment.path).unwrap();
    for at in (4..whole.len()).step_by(31) {
        table.verify().unwrap();
        let mut changed = whole.clone();
        changed[at] ^= 4;
        std::fs::write(&segment.path, changed).unwrap();
        let error = table.compact().unwrap_err();
        assert!(matches!(error, OfflineError::Corrupt { .. }), "byte {at}: {error}");
        // Found wrong once, it is read by nobody until it is right again.
        assert!(segment.open().is_err());
        std::fs::write(&segment.path, &whole).unwrap();
    }
    assert_eq!(table.compact().unwrap().merged, 2);
    assert_eq!(contents(&History::open(&table, &NoTail, &v1).unwrap()), expected(&all, usize::MAX));
}

/// Of a source: events go by their time, whatever they are of.
#[test]
fn old_events_expire_at_once_in_segments_and_at_the_next_merge_beside_newer_ones() {
    let dir = tempfile::tempdir().unwrap();
    let columns = vec![column("v", DataType::Int64)];
    let events = TableSchema::source(TableId(7), "events", 1, "at", columns, None);
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&events).unwrap();
    for first in [0, 10, 20] {
        let numbers = || Arc::new(Int64Array::from_iter_values(first..first + 10)) as ArrayRef;
        let times = || -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(first..first + 10).with_timezone("UTC"))
        };
        let deleted = Arc::new(BooleanArray::from(vec![false; 10]));
        let columns = vec![times(), numbers(), numbers(), times(), deleted as ArrayRef];
        let batch = RecordBatch::try_new(Arc::clone(events.offline()), columns).unwrap();
        table.append(&events, vec![batch], first as u64 + 10).unwrap();
    }
    let left = || {
        let history = History::open(&table, &NoTail, &events).unwrap();
        let batches = history.scan(&["v"]).unwrap().map(|batch| batch.unwrap());
        let mut left: Vec<i64> =
            batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        left.sort_unstable();
        left
    };
    let horizon = |time| Horizon { time, ttl: None };
    assert_eq!(table.expire(horizon(15)).unwrap(), 10);
    assert_eq!(left(), (10..30).collect::<Vec<_>>());
    assert_eq!(table.compact().unwrap().dropped, 5);
    assert_eq!(left(), (15..30).collect::<Vec<_>>());
    assert_eq!(table.expire(horizon(100)).unwrap(), 15);
    assert_eq!(left(), [] as [i64; 0]);
    assert_eq!(table.sealed_seq(), 30);
}

#[test]
fn a_commit_of_someone_else_is_a_conflict_and_the_next_attempt_goes_on_top() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let all = rows(0..9);
    let table = open(dir.path());
    let other = open(dir.path());
    other.append(&v1, vec![batch(&v1, &all[..3], 0)], 3).unwrap();
    let conflict = table.append(&v1, vec![batch(&v1, &all[..6], 0)], 6);
    assert!(matches!(conflict, Err(OfflineError::Conflict { version: 1, .. })), "{conflict:?}");
    assert_eq!(files(&table), 1);
    assert_eq!(table.append(&v1, vec![batch(&v1, &all[..6], 0)], 6).unwrap().rows, 3);
    assert_eq!(
        contents(&History::open(&open(dir.path()), &NoTail, &v1).unwrap()),
        expected(&all[..6], usize::MAX)
    );
}

#[test]
fn a_schema_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let table = open(dir.path());
    let keys = || vec![column("name", DataType::String), column("n", DataType::Int64)];
    let text = TableSchema::feature_view(TableId(7), "view", 3, keys(), vec![column("x", DataType::String)]);
    let unkeyed = TableSchema::feature_view(TableId(7), "view", 3, keys()[..1].to_vec(), vec![]);
    for schema in [text, unkeyed] {
        let Err(error) = table.append(&schema, vec![], 1) else { panic!("accepted") };
        assert!(matches!(error, OfflineError::Schema { .. }), "{error}");
        assert_eq!(error.code(), Code::Internal);
        assert!(History::open(&table, &NoTail, &schema).is_err());
    }
}

#[test]
fn a_source_has_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let events = TableSchema::source(
        TableId(7),
        "events",
        1,
        "at",
        vec![column("v", DataType::Array(Box::new(DataType::Int64)))],
        None,
    );
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&events).unwrap();
    let times =
        |t: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(t).with_timezone("UTC")) };
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Int64Builder::new())
        .with_field(arrow::datatypes::Field::new("element", Arrow::Int64, true));
    lists.append_value([Some(1), None]);
    lists.append_null();
    let columns: Vec<ArrayRef> = vec![
        times(vec![5, 4]),
        Arc::new(lists.finish()),
        Arc::new(Int64Array::from(vec![0, 1])),
        times(vec![9, 9]),
        Arc::new(BooleanArray::from(vec![false, false])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(events.offline()), columns).unwrap();
    table.append(&events, vec![batch.clone()], 2).unwrap();
    let table = OfflineStore::open(dir.path(), options()).unwrap().table(&events).unwrap();
    let history = History::open(&table, &NoTail, &events).unwrap();
    let read = history.scan(&["at", "v", SEQ, "_accepted_at", "_deleted"]).unwrap().next().unwrap().unwrap();
    assert_eq!(
        read,
        arrow::compute::take_record_batch(&batch, &arrow::array::UInt32Array::from(vec![1, 0])).unwrap()
    );
}

/// Three appends, so that a checkpoint is among them.
fn fill(dir: &std::path::Path, options: OfflineOptions) {
    let v1 = schema(1);
    let table = OfflineStore::open(dir, options).unwrap().table(&v1).unwrap();
    for seq in 0..3 {
        table.append(&v1, vec![batch(&v1, &rows(0..1), seq)], seq + 1).unwrap();
    }
    assert!(table.dir.join("_delta_log/00000000000000000003.checkpoint.parquet").exists());
}

fn log_names(table: &Table) -> Vec<String> {
    let mut names = crate::offline::durable::names(&table.dir.join("_delta_log")).unwrap();
    names.retain(|name| name.starts_with("0000"));
    names.sort();
    names
}

#[test]
fn commits_that_a_checkpoint_stands_for_go_once_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = schema(1);
    let table = open(dir.path());
    let all = rows(0..11);
    for seq in 0..11 {
        table.append(&v1, vec![batch(&v1, &all[seq..=seq], seq as u64)], seq as u64 + 1).unwrap();
    }
    let before = log_names(&table);
    assert_eq!(before.iter().filter(|name| name.contains("checkpoint")).count(), 3, "{before:?}");
    assert_eq!(table.forget_commits(Duration::from_secs(3600)).unwrap(), 0, "nothing is that old");
    let hold = table.hold_log();
    assert_eq!(table.forget_commits(Duration::ZERO).unwrap(), 0, "somebody is copying them");
    drop(hold);
    // Commits 0 to 5 and the checkpoint of version 3.
    assert_eq!(table.forget_commits(Duration::ZERO).unwrap(), 7);
    assert_eq!(table.forget_commits(Duration::ZERO).unwrap(), 0);
    let after = log_names(&table);
    assert_eq!(after.first().unwrap(), "00000000000000000006.checkpoint.parquet");
    assert_eq!(after.iter().filter(|name| name.ends_with(".json")).count(), 6, "{after:?}");
    let newest = table.dir.join("_delta_log/00000000000000000009.checkpoint.parquet");
    for damaged in [false, true] {
        if damaged {
            std::fs::remove_file(&newest).unwrap();
            std::fs::remove_file(table.dir.join("_delta_log/_last_checkpoint")).unwrap();
        }
        let table = open(dir.path());
        assert_eq!((table.sealed_seq(), table.snapshot().delta_version), (11, 11));
        let history = History::open(&table, &NoTail, &v1).unwrap();
        assert_eq!(contents(&history), expected(&all, 11));
    }
    // A crash in the middle of a clean-up has removed the oldest only.
    let gap = table.dir.join("_delta_log/00000000000000000006.json");
    std::fs::remove_file(gap).unwrap();
    let table = open(dir.path());
    table.append(&v1, vec![batch(&v1, &rows(0..1), 11)], 12).unwrap();
    assert_eq!(table.sealed_seq(), 12);
}

#[test]
fn any_thread_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shared = || OfflineOptions { runtime: Some(runtime.handle().clone()), ..options() };
    fill(&path("plain, own runtime"), options());
    fill(&path("plain, shared runtime"), shared());
    let (own, borrowed, one, two) =
        (options(), shared(), path("blocking, own runtime"), path("blocking, shared"));
    runtime.block_on(async {
        tokio::task::spawn_blocking(move || fill(&one, own)).await.unwrap();
        tokio::task::spawn_blocking(move || fill(&two, borrowed)).await.unwrap();
        // Not where it belongs, but it neither panics nor hangs.
        fill(&path("async, own runtime"), options());
    });
    // As an actix arbiter's thread is.
    let arbiter = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    arbiter.block_on(async {
        fill(&path("arbiter, own runtime"), options());
        fill(&path("arbiter, shared runtime"), shared());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_course_of_appends_evolution_compaction_and_restarts_keeps_every_row(
        rows in prop::collection::vec(row(), 1..60),
        steps in prop::collection::vec((0..12usize, 0..5u8), 1..14),
        y_from in 0..60usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = open(dir.path());
        let mut sealed = 0;
        for (take, what) in steps {
            // An append is of one version.
            let version = if sealed < y_from { 1 } else { 2 };
            let limit = if sealed < y_from { y_from.min(rows.len()) } else { rows.len() };
            let to = (sealed + take).min(limit);
            let schema = schema(version);
            table.append(&schema, vec![batch(&schema, &rows[sealed..to], sealed as u64)], to as u64).unwrap();
            sealed = to;
            match what {
                0 => { table.compact().unwrap(); }
                1 => {
                    table.vacuum(Duration::ZERO).unwrap();
                    table.forget_commits(Duration::ZERO).unwrap();
                }
                2 => table = open(dir.path()),
                _ => {}
            }
        }
        prop_assert_eq!(table.sealed_seq(), sealed as u64);
        let history = History::open(&table, &NoTail, &schema(2)).unwrap();
        prop_assert_eq!(contents(&history), expected(&rows[..sealed], y_from));
        table.verify().unwrap();
    }
}

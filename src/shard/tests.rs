//! The shard without a runtime: the row codec against Arrow, commits against a plain map.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use proptest::prelude::*;

use crate::{
    clock::Clock,
    model::{ACCEPTED_AT, BatchId, Column, DELETED, DataType, SEQ, TableId, TableSchema, Timestamp, Value},
    offline::Tail,
    registry::{Catalog, CatalogHandle},
    shard::{
        ColumnBuilder, CommittedTables, Durability, Outbox, PreparedBatch, Row, RowCache, RowLayout, Shard,
        ShardError, ShardOptions, ShardReader, Store, StoreOptions, StoredRow, StreamDuty, Write, recover,
        shard::load_state, store::table_key,
    },
};

const TABLE: TableId = TableId(1);

fn column(name: &str, data_type: &str) -> Column {
    Column { name: name.to_owned(), data_type: data_type.parse().unwrap() }
}

fn schema() -> Arc<TableSchema> {
    let columns = [
        ("b", "bool"),
        ("i", "int32"),
        ("l", "int64"),
        ("f", "float32"),
        ("d", "float64"),
        ("s", "string"),
        ("y", "bytes"),
        ("t", "timestamp"),
        ("a", "array<string>"),
        ("v", "array<float32, 2>"),
    ];
    let columns = columns.map(|(name, data_type)| column(name, data_type)).to_vec();
    let keys = vec![column("k", "string"), column("n", "int64")];
    Arc::new(TableSchema::feature_view(TABLE, "view", 1, keys, columns))
}

/// A row: its key, its event time, its values (null or of the column's type).
type Case = ((String, i64), i64, Vec<Value>);

fn value(data_type: &DataType) -> BoxedStrategy<Value> {
    let some = match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int32 => any::<i32>().prop_map(Value::Int32).boxed(),
        DataType::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
        DataType::Float32 => any::<i16>().prop_map(|x| Value::Float32(f32::from(x) / 8.0)).boxed(),
        DataType::Float64 => any::<i32>().prop_map(|x| Value::Float64(f64::from(x) / 8.0)).boxed(),
        DataType::String => any::<String>().prop_map(Value::String).boxed(),
        DataType::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        DataType::Timestamp => {
            any::<i32>().prop_map(|t| Value::Timestamp(Timestamp::from_micros(t.into()))).boxed()
        }
        DataType::Array(item) => proptest::collection::vec(value(item), 0..4).prop_map(Value::Array).boxed(),
        _ => proptest::collection::vec((-9i16..9).prop_map(|x| Value::Float32(x.into())), 2)
            .prop_map(Value::Array)
            .boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => some].boxed()
}

fn case() -> impl Strategy<Value = Case> {
    let values: Vec<BoxedStrategy<Value>> = schema().columns.iter().map(|c| value(&c.data_type)).collect();
    (("[a-c\0]{0,2}", -1i64..2), -4i64..4, values)
}

fn batch(schema: &TableSchema, cases: &[Case]) -> RecordBatch {
    let mut builders: Vec<ColumnBuilder> = schema
        .arrow()
        .fields()
        .iter()
        .enumerate()
        .map(|(i, _)| match i {
            0 => ColumnBuilder::new(&DataType::String),
            1 => ColumnBuilder::new(&DataType::Int64),
            2 => ColumnBuilder::new(&DataType::Timestamp),
            i => ColumnBuilder::new(&schema.columns[i - 3].data_type),
        })
        .collect();
    for ((k, n), time, values) in cases {
        builders[0].push_value(&Value::String(k.clone()));
        builders[1].push_value(&Value::Int64(*n));
        builders[2].push_value(&Value::Timestamp(Timestamp::from_micros(*time)));
        for (builder, value) in builders[3..].iter_mut().zip(values) {
            builder.push_value(value);
        }
    }
    let arrays: Vec<ArrayRef> = builders.iter_mut().map(ColumnBuilder::finish).collect();
    RecordBatch::try_new(Arc::clone(schema.arrow()), arrays).unwrap()
}

/// A shard over a database of its own.
struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    committed: CommittedTables,
    shard: Shard,
    reader: ShardReader,
    outbox: Outbox,
    clock: Clock,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::TempDir::new().unwrap();
        let options = StoreOptions { memtable: 8 << 20, block_cache: 8 << 20, max_journal: 64 << 20 };
        let (store, _) = Store::open(dir.path(), options, 1).unwrap();
        let (committed, clock) = (CommittedTables::default(), Clock::manual(Timestamp::from_micros(1000)));
        let cache = RowCache::new(1 << 20);
        let catalog = Catalog { tables: BTreeMap::from([(TABLE, vec![schema()])]), ..Catalog::default() };
        let shard = Shard::new(
            "0".to_owned(),
            store.clone(),
            cache.clone(),
            committed.clone(),
            clock.clone(),
            ShardOptions { durability: Durability::Buffer, quarantine_rows: 3, quarantine_bytes: u64::MAX },
            StreamDuty::default(),
        );
        let outbox = Outbox::new(store.clone(), committed.clone(), CatalogHandle::new(catalog));
        let reader = ShardReader::new(store.clone(), cache, Arc::new(|_, _| {}));
        Bench { _dir: dir, store, committed, shard, reader, outbox, clock }
    }

    /// The outbox from `seq` on, which one version wrote.
    fn unsealed(&self, seq: u64) -> Option<RecordBatch> {
        let mut runs = self.outbox.read(TABLE, seq, usize::MAX, usize::MAX, None).unwrap();
        assert!(runs.len() <= 1);
        runs.pop().map(|(_, batch)| batch)
    }

    fn newest(&self, prepared: &PreparedBatch, i: usize) -> Option<StoredRow> {
        let cached = self.reader.get(TABLE, prepared.key(i), &mut Vec::new()).unwrap().0;
        let stored = self.store.rows.get(table_key(TABLE, prepared.key(i))).unwrap();
        assert_eq!(cached.as_deref(), stored.as_deref(), "cache and store agree");
        cached
    }
}

fn write(batch: PreparedBatch) -> Write {
    Write {
        batch,
        batch_id: BatchId::fresh(),
        idempotency: None,
        after: None,
        offline: true,
        quarantine: Vec::new(),
        release: Vec::new(),
        notes: Vec::new(),
        incomplete: 0,
        merge: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What goes in as Arrow comes out of the rows cell by cell, and out of the outbox as the same Arrow.
    #[test]
    fn rows_hold_what_arrow_held(cases in proptest::collection::vec(case(), 1..20)) {
        let schema = schema();
        let sent = batch(&schema, &cases);
        let prepared = PreparedBatch::rows(Arc::clone(&schema), &sent);
        let layout = RowLayout::of(&schema);
        for (i, (_, time, values)) in cases.iter().enumerate() {
            let row = Row(prepared.row(i));
            prop_assert_eq!(row.event_time().micros(), *time);
            for (c, expected) in values.iter().enumerate() {
                let cell = row.cell(&layout.slot(c)).to_value(&schema.columns[c].data_type);
                prop_assert_eq!(&cell, expected);
            }
        }
        let mut bench = Bench::new();
        bench.shard.commit(&mut [write(prepared)])[0].as_ref().unwrap();
        let stored = bench.unsealed(0).unwrap();
        let data: Vec<usize> = (0..sent.num_columns()).collect();
        prop_assert_eq!(stored.project(&data).unwrap(), sent);
        let seqs: Vec<i64> = stored.column(stored.num_columns() - 3).as_primitive::<Int64Type>().values().to_vec();
        prop_assert_eq!(seqs, (0..cases.len() as i64).collect::<Vec<_>>());
    }

    /// Any split of writes into groups gives, for each key, the newest event time, and of equals the last accepted.
    #[test]
    fn the_newest_wins_however_writes_are_grouped(
        groups in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(case(), 1..5), 1..4), 1..5),
    ) {
        let schema = schema();
        let mut bench = Bench::new();
        let mut naive: BTreeMap<(String, i64), (i64, u64)> = BTreeMap::new();
        let (mut seq, mut all) = (0, Vec::new());
        for group in &groups {
            let mut writes: Vec<Write> =
                group.iter().map(|cases| write(PreparedBatch::rows(Arc::clone(&schema), &batch(&schema, cases)))).collect();
            let mut late = Vec::new();
            for cases in group {
                let mut count = 0;
                for (key, time, _) in cases {
                    match naive.get(key) {
                        Some((newest, _)) if time < newest => count += 1,
                        _ => { naive.insert(key.clone(), (*time, seq)); }
                    }
                    seq += 1;
                    all.push((key.clone(), *time));
                }
                late.push(count);
            }
            for (result, late) in bench.shard.commit(&mut writes).into_iter().zip(late) {
                prop_assert_eq!(result.unwrap().late, late);
            }
        }
        let values = vec![Value::Null; schema.columns.len()];
        for (key, (time, seq)) in &naive {
            let probe = PreparedBatch::rows(
                Arc::clone(&schema), &batch(&schema, &[(key.clone(), *time, values.clone())]));
            let row = bench.newest(&probe, 0).unwrap();
            prop_assert_eq!((Row(&row).event_time().micros(), Row(&row).seq()), (*time, *seq));
        }
        prop_assert_eq!(bench.committed.of(TABLE).next_seq(), seq);
        prop_assert_eq!(bench.unsealed(0).unwrap().num_rows() as u64, seq);
        // Truncation forgets whole blobs below a seq and nothing above.
        bench.shard.truncate(TABLE, seq, usize::MAX).unwrap();
        prop_assert!(bench.unsealed(seq).is_none());
        prop_assert_eq!(bench.committed.of(TABLE).unsealed(), 0);
    }
}

fn one(time: i64) -> PreparedBatch {
    let schema = schema();
    let values = vec![Value::Null; schema.columns.len()];
    PreparedBatch::rows(Arc::clone(&schema), &batch(&schema, &[(("a".to_owned(), 0), time, values)]))
}

#[test]
fn one_key_twice_in_a_group_is_stored_once() {
    let mut bench = Bench::new();
    let keyed = |fingerprint| Write { idempotency: Some(("k".to_owned(), fingerprint)), ..write(one(1)) };
    let results = bench.shard.commit(&mut [keyed(7), keyed(7), keyed(8)]);
    let (first, second) = (results[0].as_ref().unwrap(), results[1].as_ref().unwrap());
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.batch_id, second.batch_id);
    assert!(results[2].is_err(), "another body under the same key");
    assert_eq!(bench.committed.of(TABLE).next_seq(), 1);
    // Old answers are forgotten, young ones are not.
    assert_eq!(bench.shard.forget_answers(Timestamp::from_micros(1000), 10).unwrap(), 0);
    assert_eq!(bench.shard.forget_answers(Timestamp::from_micros(1001), 10).unwrap(), 1);
    assert!(!bench.shard.commit(&mut [keyed(8)])[0].as_ref().unwrap().replayed);
}

#[test]
fn a_batch_waits_for_the_one_that_it_comes_after() {
    let mut bench = Bench::new();
    let after = |key: &str, after: Option<&str>| Write {
        idempotency: Some((key.to_owned(), 7)),
        after: after.map(str::to_owned),
        ..write(one(1))
    };
    // Neither one before it in the group nor a stored one.
    let results = bench.shard.commit(&mut [after("b", Some("a")), after("a", None), after("c", Some("a"))]);
    assert!(matches!(&results[0], Err(ShardError::OutOfTurn(key)) if key == "a"), "{:?}", results[0]);
    assert!(results[1].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(bench.shard.commit(&mut [after("b", Some("c"))])[0].is_ok());
    assert_eq!(bench.committed.of(TABLE).next_seq(), 3);
}

#[test]
fn a_truncation_is_noted_with_what_it_removes() {
    let mut bench = Bench::new();
    for time in 0..6 {
        bench.shard.commit(&mut [write(one(time))])[0].as_ref().unwrap();
    }
    bench.shard.truncate(TABLE, 4, usize::MAX).unwrap();
    let stored = load_state(&bench.store, TABLE).unwrap();
    assert_eq!((stored.truncated, stored.next_seq, bench.committed.of(TABLE).truncated()), (4, 6, 4));
    assert_eq!(bench.store.outbox.iter().count(), 2);
    // Neither an older one nor the next commit takes it back.
    bench.shard.truncate(TABLE, 2, usize::MAX).unwrap();
    bench.shard.commit(&mut [write(one(6))])[0].as_ref().unwrap();
    assert_eq!(load_state(&bench.store, TABLE).unwrap().truncated, 4);
    // A start finds the rest, and removes what a segment was made of before the node ended.
    let (committed, sealed) = (CommittedTables::default(), BTreeMap::from([(TABLE, 5)]));
    let catalog = Catalog::default();
    let violations = recover(&bench.store, &committed, &bench.clock, &catalog, &sealed).unwrap();
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((committed.of(TABLE).truncated(), committed.of(TABLE).unsealed()), (5, 2));
    assert_eq!(bench.store.outbox.iter().count(), 2);
}

#[test]
fn acceptance_times_never_go_back() {
    let mut bench = Bench::new();
    bench.shard.commit(&mut [write(one(1))])[0].as_ref().unwrap();
    bench.clock.set(Timestamp::from_micros(10));
    bench.shard.commit(&mut [write(one(2))])[0].as_ref().unwrap();
    let rows = bench.unsealed(0).unwrap();
    let accepted = rows.column_by_name(ACCEPTED_AT).unwrap();
    let accepted = accepted.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values();
    assert_eq!(accepted, &[1000, 1000]);
}

#[test]
fn quarantine_keeps_the_newest() {
    let mut bench = Bench::new();
    let rows = (0..5).map(|i| {
        let row = crate::shard::QuarantinedRow {
            merge: false,
            batch_id: BatchId::fresh(),
            rejected_at: Timestamp::from_micros(0),
            row: i,
            field: None,
            reason: String::new(),
            raw: serde_json::Value::Null,
            times: crate::model::TimeForm::EXPLICIT,
        };
        serde_json::to_vec(&row).unwrap()
    });
    let quarantined = Write { quarantine: rows.collect(), ..write(one(1)) };
    bench.shard.commit(&mut [quarantined])[0].as_ref().unwrap();
    let kept = crate::shard::Quarantine::new(bench.store.clone()).list(TABLE, 0, 10, usize::MAX).unwrap();
    assert_eq!(kept.iter().map(|(_, row)| row.row).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn readers_of_a_tail_share_its_rows_and_decode_no_other_columns() {
    let mut bench = Bench::new();
    let mut commit = |times: std::ops::Range<i64>| {
        times.for_each(|time| bench.shard.commit(&mut [write(one(time))])[0].as_ref().map(|_| ()).unwrap());
    };
    let outbox = bench.outbox.clone();
    let tail = |from: u64, columns: Option<&[&str]>| outbox.tail(TABLE, from, columns).unwrap();
    let values =
        |batch: &RecordBatch| batch.column_by_name("event_time").unwrap().to_data().buffers()[0].as_ptr();
    commit(0..5);
    let first = tail(0, None);
    commit(5..8);
    let second = tail(0, None);
    let counts = |tail: &[RecordBatch]| tail.iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
    assert_eq!((counts(&first), counts(&second)), (vec![5], vec![5, 3]));
    assert_eq!(values(&first[0]), values(&second[0]), "the same memory");
    let all = arrow::compute::concat_batches(first[0].schema_ref(), second.iter()).unwrap();
    assert_eq!(Some(&all), bench.unsealed(0).as_ref());

    let narrow = tail(0, Some(&["d", "none"]));
    let names: Vec<_> = narrow[0].schema_ref().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["k", "n", "event_time", "d", SEQ, ACCEPTED_AT, DELETED]);
    let of_all: Vec<usize> = names.iter().map(|name| all.schema_ref().index_of(name).unwrap()).collect();
    assert_eq!(narrow[0], all.project(&of_all).unwrap());
    // Another run of the same reads begins anew: nobody holds the rows.
    drop((first, second));
    assert_eq!(counts(&tail(0, None)), [8]);
    assert_eq!(counts(&tail(6, None)), [2]);
}

/// Sets the flag when it goes, also when a check has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_scan_beside_a_truncation_finds_no_gap() {
    let mut bench = Bench::new();
    let (outbox, done) = (bench.outbox.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                for (_, rows) in outbox.read(TABLE, 0, usize::MAX, usize::MAX, None).unwrap() {
                    let seqs = rows.column_by_name(SEQ).unwrap().as_primitive::<Int64Type>();
                    assert!(seqs.values().windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
                }
                reads += 1;
            }
            reads
        });
        let stop = Done(&done);
        for round in 0..400 {
            for i in 0..8 {
                bench.shard.commit(&mut [write(one(i))])[0].as_ref().unwrap();
            }
            bench.shard.truncate(TABLE, round * 8 + 7, 3).unwrap();
        }
        drop(stop);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn a_long_truncation_goes_by_steps_and_a_start_ends_it() {
    let mut bench = Bench::new();
    for time in 0..7 {
        bench.shard.commit(&mut [write(one(time))])[0].as_ref().unwrap();
    }
    assert!(!bench.shard.truncate(TABLE, 6, 2).unwrap());
    // So far, and what is left can be read; it counts as unsealed until the last step.
    let committed = bench.committed.of(TABLE);
    assert_eq!((committed.truncated(), committed.unsealed()), (2, 7));
    assert_eq!(bench.unsealed(2).unwrap().num_rows(), 5);
    // A write between two steps stays.
    bench.shard.commit(&mut [write(one(7))])[0].as_ref().unwrap();
    assert!(!bench.shard.truncate(TABLE, 6, 2).unwrap());
    assert_eq!(load_state(&bench.store, TABLE).unwrap().truncated, 4);
    // A node that ends here finds at its start what the segment holds.
    let (found, sealed) = (CommittedTables::default(), BTreeMap::from([(TABLE, 6)]));
    let violations = recover(&bench.store, &found, &bench.clock, &Catalog::default(), &sealed).unwrap();
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((found.of(TABLE).truncated(), found.of(TABLE).unsealed()), (6, 2));
    // One that goes on comes to the same.
    assert!(bench.shard.truncate(TABLE, 6, 2).unwrap());
    assert_eq!((committed.truncated(), committed.unsealed()), (6, 2));
    assert_eq!(bench.unsealed(6).unwrap().num_rows(), 2);
    assert_eq!(bench.store.outbox.iter().count(), 2);
}

#[test]
fn a_damaged_outbox_is_an_error_and_never_a_short_answer() {
    let mut bench = Bench::new();
    for time in 0..3 {
        bench.shard.commit(&mut [write(one(time))])[0].as_ref().unwrap();
    }
    let key = crate::shard::store::numbered_key(TABLE, 1);
    let whole = bench.store.outbox.get(key).unwrap().unwrap().to_vec();
    bench.store.outbox.remove(key).unwrap();
    assert!(bench.outbox.read(TABLE, 0, usize::MAX, usize::MAX, None).is_err(), "a blob is missing");
    let mut flipped = whole.clone();
    flipped[50] ^= 1;
    bench.store.outbox.insert(key, flipped).unwrap();
    assert!(bench.outbox.read(TABLE, 0, usize::MAX, usize::MAX, None).is_err(), "a blob was changed");
    bench.store.outbox.insert(key, whole).unwrap();
    assert_eq!(bench.unsealed(0).unwrap().num_rows(), 3);
}

//! The pieces that a request is made of, each without the network: `cargo bench --bench pieces`.

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    io::{BufRead as _, Read as _, Write as _},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::DataType as Arrow,
    ipc::writer::StreamWriter,
};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use larder::{
    clock::Clock,
    compute::as_of::{Place, Rows, Seen, Spine, Sweep},
    config::Config,
    expression::Expression,
    format::Format,
    ingest::{DecodeLimits, decode},
    model::{
        Column, DELETED, DataType, SEQ, TableId, TableSchema, TimeForm, TimeUnit, Timestamp, encode_keys,
    },
    node,
    offline::{AsOf, ByteBudget, History, NoTail, OfflineOptions, OfflineStore, as_of_join},
    registry::{ApplyMode, CatalogHandle, DefinitionFile, MemoryLog, Registry, parse_toml},
    serve::{Entities, Wanted, request_columns},
    shard::{
        CommittedTables, Durability, PreparedBatch, Row, RowCache, RowLayout, Shard, ShardOptions,
        ShardReader, Store, StoreOptions, StreamDuty, StreamReader, StreamSet, Streams, Write, aggregates,
    },
};

const ROWS: usize = 1000;
const FEATURES: usize = 10;
const TABLE: TableId = TableId(1);

/// Numbers in these bodies count microseconds.
const MICROS: TimeForm = TimeForm { time_unit: Some(TimeUnit::Micros), time_zone: None };

fn schema() -> Arc<TableSchema> {
    let column = |name: String, data_type| Column { name, data_type };
    let columns = (0..FEATURES).map(|i| column(format!("f{i}"), DataType::Float64)).collect();
    let keys = vec![column("user".to_owned(), DataType::String)];
    Arc::new(TableSchema::feature_view(TABLE, "view", 1, keys, columns))
}

fn rows() -> RecordBatch {
    let users: StringArray = (0..ROWS).map(|i| Some(format!("user-{i:08}"))).collect();
    let times = TimestampMicrosecondArray::from(vec![1_714_561_200_000_000; ROWS]).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(users), Arc::new(times)];
    for f in 0..FEATURES {
        arrays.push(Arc::new((0..ROWS).map(|i| Some((i * 31 + f) as f64 / 7.0)).collect::<Float64Array>()));
    }
    RecordBatch::try_new(Arc::clone(schema().arrow()), arrays).unwrap()
}

fn bodies() -> [(Format, Bytes); 2] {
    let batch = rows();
    let mut text = Vec::new();
    let mut writer = arrow::json::ArrayWriter::new(&mut text);
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let json = format!("{{\"rows\":{}}}", String::from_utf8(text).unwrap());
    let mut ipc = Vec::new();
    let mut writer = StreamWriter::try_new(&mut ipc, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    [(Format::Json, json.into()), (Format::ArrowStream, ipc.into())]
}

fn write(batch: PreparedBatch, offline: bool) -> Write {
    Write::of(batch, offline)
}

fn write_path(c: &mut Criterion) {
    let (schema, batch) = (schema(), rows());
    let mut group = c.benchmark_group("write, 1,000 rows × 10 float64");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (format, body) in bodies() {
        group.bench_function(format!("decode {format}"), |b| {
            b.iter(|| decode(format, body.clone(), &schema, &DecodeLimits::default(), MICROS).unwrap());
        });
    }
    group.bench_function("encode rows", |b| {
        b.iter(|| PreparedBatch::rows(Arc::clone(&schema), black_box(&batch)))
    });

    let dir = tempfile::TempDir::new().unwrap();
    let options = StoreOptions { memtable: 16 << 20, block_cache: 64 << 20, max_journal: 128 << 20 };
    let (store, _) = Store::open(dir.path(), options, 1).unwrap();
    for durability in [Durability::Buffer, Durability::Fsync] {
        let options = ShardOptions { durability, quarantine_rows: 1, quarantine_bytes: u64::MAX };
        let (cache, committed) = (RowCache::new(64 << 20), CommittedTables::default());
        let mut shard = Shard::new(
            "0".to_owned(),
            store.clone(),
            cache,
            committed,
            Clock::system(),
            options,
            StreamDuty::default(),
        );
        group.bench_function(format!("commit, {durability:?}"), |b| {
            b.iter_batched(
                || write(PreparedBatch::rows(Arc::clone(&schema), &batch), true),
                |write| shard.commit(&mut [write]),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn read_path(c: &mut Criterion) {
    let (schema, batch) = (schema(), rows());
    let dir = tempfile::TempDir::new().unwrap();
    let options = StoreOptions { memtable: 16 << 20, block_cache: 64 << 20, max_journal: 128 << 20 };
    let (store, _) = Store::open(dir.path(), options, 1).unwrap();
    let prepared = PreparedBatch::rows(Arc::clone(&schema), &batch);
    let keys: Vec<Vec<u8>> = (0..ROWS).map(|i| prepared.key(i).to_vec()).collect();
    let (cache, clock) = (RowCache::new(64 << 20), Clock::manual(Timestamp::from_micros(0)));
    let options =
        ShardOptions { durability: Durability::Buffer, quarantine_rows: 1, quarantine_bytes: u64::MAX };
    let mut shard = Shard::new(
        "0".to_owned(),
        store.clone(),
        cache.clone(),
        CommittedTables::default(),
        clock,
        options,
        StreamDuty::default(),
    );
    shard.commit(&mut [write(prepared, false)])[0].as_ref().unwrap();
    let layout = RowLayout::of(&schema);
    let slots: Vec<_> = (0..FEATURES).map(|i| layout.slot(i)).collect();
    for (name, cache) in [("cache", cache), ("fjall", RowCache::new(1))] {
        let reader = ShardReader::new(store.clone(), cache, Arc::new(|_, _| {}));
        let (mut scratch, mut next) = (Vec::new(), 0);
        c.bench_function(&format!("look up one entity's row and 10 features, {name}"), |b| {
            b.iter(|| {
                next = (next + 7) % ROWS;
                let row = reader.get(TABLE, &keys[next], &mut scratch).unwrap().0.unwrap();
                for slot in &slots {
                    black_box(Row(&row).cell(slot));
                }
            });
        });
    }
}

const VIEWS: usize = 10;

/// Ten stream views of three aggregates over 30 days each.
fn windows_definitions() -> String {
    let mut text = "[[entity]]\nname = \"user\"\njoin_keys = [{ name = \"user\", type = \"int64\" }]\n\
        [[source]]\nname = \"clicks\"\nkind = \"push\"\n\
        schema = { user = \"int64\", amount = \"float64\", page = \"string\" }\n"
        .to_owned();
    for view in 0..VIEWS {
        text += &format!(
            "[[stream_feature_view]]\nname = \"v{view}\"\nentities = [\"user\"]\nsource = \"clicks\"\naggregation = [\
             {{ name = \"sum\", function = \"sum\", column = \"amount\", window = \"30d\", filter = \"amount > {view}\" }}, \
             {{ name = \"count\", function = \"count\", window = \"30d\" }}, \
             {{ name = \"max\", function = \"max\", column = \"amount\", window = \"30d\" }}]\n"
        );
    }
    text
}

/// Events of a source into windows, and 30 aggregates of one entity, beside rows and 30 plain features.
fn windows(c: &mut Criterion) {
    let dir = tempfile::TempDir::new().unwrap();
    let options = StoreOptions { memtable: 16 << 20, block_cache: 64 << 20, max_journal: 64 << 20 };
    let (store, _) = Store::open(dir.path(), options, 1).unwrap();
    let (cache, clock) =
        (RowCache::new(256 << 20), Clock::manual(Timestamp::from_micros(1_714_561_200_000_000)));
    let (handle, streams) = (CatalogHandle::default(), Streams::default());
    let duty = StreamDuty { catalog: handle.clone(), streams: streams.clone(), owns: Box::new(|_| true) };
    let options =
        ShardOptions { durability: Durability::Buffer, quarantine_rows: 1, quarantine_bytes: u64::MAX };
    let mut shard = Shard::new(
        "0".to_owned(),
        store.clone(),
        cache.clone(),
        CommittedTables::default(),
        clock.clone(),
        options,
        duty,
    );
    let log = Box::new(MemoryLog::default());
    let mut registry = Registry::open(log, clock.clone(), handle.clone()).unwrap();
    let file = DefinitionFile { name: "bench".to_owned(), text: windows_definitions() };
    registry.apply(&parse_toml(&[file]).unwrap(), ApplyMode::default()).unwrap();
    shard.reconcile().unwrap();
    let source = Arc::clone(&handle.current().sources["clicks"].schema);
    let batch = |round: i64| {
        let now = clock.now().micros();
        let of = |i: usize| (i as i64 * 7919 + round * 104_729) % 10_000;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(
                TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|i| now - of(i) * 250_000_000))
                    .with_timezone("UTC"),
            ),
            Arc::new((0..ROWS).map(|i| Some(of(i) % 1000)).collect::<Int64Array>()),
            Arc::new((0..ROWS).map(|i| Some(of(i) as f64 / 8.0)).collect::<Float64Array>()),
            Arc::new((0..ROWS).map(|i| Some(format!("p{}", of(i) % 50))).collect::<StringArray>()),
        ];
        RecordBatch::try_new(Arc::clone(source.arrow()), columns).unwrap()
    };
    let events = |set: &StreamSet, round: i64| {
        write(PreparedBatch::events(Arc::clone(&source), &batch(round), set), true)
    };
    let mut round = 0;
    let mut group = c.benchmark_group("windows, 1,000 events");
    group.throughput(Throughput::Elements(ROWS as u64));
    let set = streams.current();
    group.bench_function("prepare for 10 views of 3 aggregates", |b| {
        b.iter(|| PreparedBatch::events(Arc::clone(&source), black_box(&batch(1)), &set))
    });
    group.bench_function("commit into 10 views of 3 aggregates, Buffer", |b| {
        b.iter_batched(
            || {
                round += 1;
                events(&set, round)
            },
            |write| shard.commit(&mut [write])[0].as_ref().unwrap().accepted,
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let reader = StreamReader::new(store, cache, Arc::new(|_, _| {}));
    let generations: Vec<_> = set.all().cloned().collect();
    assert_eq!(generations.len(), VIEWS);
    let (mut user, mut stored) = (0i64, Vec::new());
    c.bench_function("30 aggregates over 30 days of one entity, cache", |b| {
        b.iter(|| {
            user = (user + 7) % 1000;
            let key = (user.cast_unsigned() ^ (1 << 63)).to_be_bytes();
            for generation in &generations {
                let (state, _) = reader.get(generation, &key, &mut stored).unwrap();
                black_box(aggregates(generation, &state, clock.now().micros(), &[0, 1, 2]).unwrap().unwrap());
            }
        });
    });
}

/// History: 100,000 rows into a sorted segment, its commit included, and all of them asked for at one moment.
fn segments(c: &mut Criterion) {
    const SEGMENT_ROWS: usize = 100_000;
    let schema = schema();
    let rows = SEGMENT_ROWS as i64;
    let columns = schema.offline().fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            (DELETED, _) => Arc::new(BooleanArray::from(vec![false; SEGMENT_ROWS])),
            (SEQ, _) => Arc::new(Int64Array::from_iter_values(0..rows)),
            (_, Arrow::Timestamp(..)) => Arc::new(
                TimestampMicrosecondArray::from_iter_values((0..rows).map(|i| i * 7919 % 1_000_003))
                    .with_timezone("UTC"),
            ),
            (_, Arrow::Utf8) => {
                Arc::new((0..rows).map(|i| Some(format!("user-{:08}", i % 10_000))).collect::<StringArray>())
            }
            _ => Arc::new((0..rows).map(|i| Some((i * 31) as f64 / 7.0)).collect::<Float64Array>()),
        }
    });
    let batch = RecordBatch::try_new(Arc::clone(schema.offline()), columns.collect()).unwrap();
    let filled = || {
        let dir = tempfile::TempDir::new().unwrap();
        let store = OfflineStore::open(dir.path(), OfflineOptions::default()).unwrap();
        (store.table(&schema).unwrap(), store, dir)
    };
    let mut group = c.benchmark_group("segment of 100,000 rows × 10 float64");
    group.throughput(Throughput::Elements(SEGMENT_ROWS as u64)).sample_size(20);
    group.bench_function("write", |b| {
        b.iter_batched(
            filled,
            |(table, store, dir)| {
                table.append(&schema, vec![batch.clone()], SEGMENT_ROWS as u64).unwrap();
                (table, store, dir)
            },
            BatchSize::PerIteration,
        );
    });
    let (table, _store, _dir) = filled();
    table.append(&schema, vec![batch.clone()], SEGMENT_ROWS as u64).unwrap();
    let (bytes, offsets) = encode_keys(&batch, &[batch.schema_ref().index_of("user").unwrap()], |_, _| {});
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    let times = vec![1_000_003; SEGMENT_ROWS];
    group.bench_function("scan and gather", |b| {
        b.iter(|| {
            let history = History::open(&table, &NoTail, &schema).unwrap();
            let spine = &Spine::new(&bytes, &offsets, &times, 0);
            let (columns, history) = (&names[..], &history);
            let question = AsOf {
                history,
                spine,
                ttl: None,
                known_at: None,
                by_then: false,
                columns,
                budget: ByteBudget::unlimited(),
            };
            as_of_join(&question).unwrap().outcomes.len()
        });
    });
    group.finish();
}

/// The as-of kernel alone: 100 versions each of 1,000 keys, 100,000 questions.
fn as_of(c: &mut Criterion) {
    const VERSIONS: usize = 100;
    let (keys, offsets) = encode_keys(&rows(), &[0], |_, _| {});
    let key = |i: usize| &keys[offsets[i] as usize..offsets[i + 1] as usize];
    let (mut bytes, mut ends, mut times) = (Vec::new(), vec![0u32], Vec::new());
    for i in 0..ROWS * VERSIONS {
        bytes.extend_from_slice(key(i * 7919 % ROWS));
        ends.push(bytes.len() as u32);
        times.push((i as i64 * 104_729) % 1_000_000);
    }
    let event_times: Vec<i64> = (0..VERSIONS as i64).map(|v| v * 10_000).collect();
    let seqs: Vec<i64> = (0..VERSIONS as i64).collect();
    let deleted = arrow::array::BooleanArray::from(vec![false; VERSIONS]);
    let mut group = c.benchmark_group("as-of kernel");
    group.throughput(Throughput::Elements((ROWS * VERSIONS) as u64));
    group.bench_function("100,000 questions over 100,000 versions", |b| {
        b.iter(|| {
            let spine = Spine::new(&bytes, &ends, &times, 0);
            let mut sweep = Sweep::new(&spine, Seen::ALL);
            for i in 0..ROWS {
                let first = Place { source: 0, row: (i * VERSIONS) as u32 };
                let rows = Rows {
                    event_times: &event_times,
                    seqs: &seqs,
                    accepted_at: &seqs,
                    deleted: &deleted,
                    first,
                };
                sweep.offer(key(i), &rows, 0..VERSIONS);
            }
            sweep.finish()
        });
    });
    group.finish();
}

/// The on-demand features of the flights example, for one request and for a training set's batch.
fn expressions(c: &mut Criterion) {
    const COLUMNS: [&str; 4] = ["built_year", "wind_gust", "distance", "air_time_mean"];
    let types = [DataType::Int64, DataType::Float64, DataType::Float64, DataType::Float64];
    let inputs: Vec<Column> = COLUMNS
        .iter()
        .zip(types)
        .map(|(name, data_type)| Column { name: (*name).to_owned(), data_type })
        .collect();
    let compiled: Vec<Expression> =
        ["2013 - built_year", "coalesce(wind_gust, 0) > 25", "distance / (air_time_mean / 60)"]
            .iter()
            .map(|text| Expression::compile(text, &inputs, None).unwrap())
            .collect();
    let mut group = c.benchmark_group("expressions, 3 small ones");
    for rows in [1, 10_000] {
        let floats = |every: usize| -> ArrayRef {
            let value = |i: usize| (!i.is_multiple_of(every) || rows == 1).then_some((i % 97) as f64 + 1.0);
            Arc::new((0..rows).map(value).collect::<Float64Array>())
        };
        let years: ArrayRef = Arc::new((0..rows as i64).map(|i| Some(1960 + i % 50)).collect::<Int64Array>());
        let arrays = [years, floats(3), floats(1000), floats(1000)];
        let columns: Vec<Vec<ArrayRef>> = compiled
            .iter()
            .map(|expression| {
                let of =
                    |name: &String| arrays[COLUMNS.iter().position(|column| column == name).unwrap()].clone();
                expression.columns().iter().map(of).collect()
            })
            .collect();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("{rows} rows"), |b| {
            b.iter(|| {
                for (expression, columns) in compiled.iter().zip(&columns) {
                    black_box(expression.evaluate_columns(black_box(columns), rows));
                }
            });
        });
    }
    group.finish();
    c.bench_function("compile one expression", |b| {
        b.iter(|| Expression::compile(black_box("distance / (air_time_mean / 60)"), &inputs, None).unwrap());
    });
}

const FLIGHT: &str = r#"
[[entity]]
name = "aircraft"
join_keys = [{ name = "tailnum", type = "string" }]
[[entity]]
name = "airport"
join_keys = [{ name = "origin", type = "string" }]
[[feature_view]]
name = "plane"
entities = ["aircraft"]
feature = [{ name = "built_year", type = "int64" }, { name = "air_time", type = "float64" }]
[[feature_view]]
name = "weather"
entities = ["airport"]
feature = [{ name = "wind_gust", type = "float64" }]
[[on_demand_feature_view]]
name = "context"
request = { distance = "float64" }
uses = ["plane:built_year", "weather:wind_gust", "plane:air_time"]
feature = [
  { name = "plane_age", type = "int64", expression = "2013 - built_year" },
  { name = "is_gusty", type = "bool", expression = "coalesce(wind_gust, 0) > 25" },
  { name = "speed", type = "float64", expression = "distance / (air_time / 60)" },
]
"#;

/// A connection to a node that stays open.
struct Connection(std::io::BufReader<std::net::TcpStream>);

impl Connection {
    /// The answer's body, which must be that of a success.
    fn post(&mut self, path: &str, content_type: &str, body: &str) -> Vec<u8> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let (mut line, mut length, mut first) = (String::new(), 0, true);
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            assert!(!first || line.contains(" 200 "), "{line}");
            first = false;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap();
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }
}

/// An online read with three on-demand features and the same read without them: the work of the node alone, and over HTTP.
fn on_demand(c: &mut Criterion) {
    let dir = tempfile::TempDir::new().unwrap();
    let settings = [
        ("data.dir".to_owned(), dir.path().display().to_string()),
        ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("durability.mode".to_owned(), "buffer".to_owned()),
        ("log.level".to_owned(), "error".to_owned()),
    ];
    let config = Config::load(None, std::iter::empty(), &settings).unwrap();
    let running = node::spawn(config, Clock::system()).unwrap();
    let stream = std::net::TcpStream::connect(running.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut connection = Connection(std::io::BufReader::new(stream));
    connection.post("/v1/registry/apply", "application/toml", FLIGHT);
    let time = "\"event_time\":\"2024-05-01T12:00:00Z\"";
    let planes: Vec<String> = (0..100)
        .map(|i| {
            format!(
                "{{\"tailnum\":\"N{i}\",{time},\"built_year\":{},\"air_time\":{}}}",
                1970 + i % 40,
                60 + i
            )
        })
        .collect();
    let rows = |rows: &[String]| format!("{{\"rows\":[{}]}}", rows.join(","));
    connection.post("/v1/feature-views/plane/rows", "application/json", &rows(&planes));
    let weather = format!("{{\"origin\":\"JFK\",{time},\"wind_gust\":30.5}}");
    connection.post("/v1/feature-views/weather/rows", "application/json", &rows(&[weather]));

    let reads = &running.app().doors.parts.reads;
    let plain = ["plane", "weather"];
    let computed = ["plane", "weather", "context"];
    let mut group = c.benchmark_group("online read of 3 features");
    for entities in [1, 100] {
        group.throughput(Throughput::Elements(entities));
        let keys: Vec<serde_json::Value> = (0..entities)
            .map(|i| serde_json::json!({ "tailnum": format!("N{i}"), "origin": "JFK" }))
            .collect();
        for (name, features, request) in [
            ("plain", &plain[..], None),
            ("with 3 expressions", &computed, Some(serde_json::json!({ "distance": 1400.0 }))),
        ] {
            let wanted = Wanted::Features(features.iter().map(|f| (*f).to_owned()).collect());
            let given = serde_json::json!(keys).to_string();
            group.bench_function(format!("{name}, {entities} entities"), |b| {
                b.iter(|| {
                    let plan = reads.plan(&wanted).unwrap();
                    let entities = Entities::from_json(&plan, &given, &reads.limits).unwrap();
                    let brought = request_columns(
                        &plan,
                        request.clone(),
                        entities.len(),
                        &reads.limits,
                        TimeForm::EXPLICIT,
                    )
                    .unwrap();
                    let mut answer = reads.newest(&plan, &entities).unwrap().answer;
                    answer.compute(&brought).unwrap();
                    for entity in 0..answer.entities {
                        for column in 0..plan.columns.len() {
                            black_box(answer.value(entity, column));
                        }
                    }
                });
            });
            let mut body = serde_json::json!({ "features": features, "entities": keys });
            if let Some(request) = &request {
                body["request"] = request.clone();
            }
            let body = body.to_string();
            group.bench_function(format!("{name}, {entities} entities, over HTTP"), |b| {
                b.iter(|| connection.post("/v1/online-features", "application/json", &body));
            });
        }
    }
    group.finish();
    drop(connection);
    running.stop();
}

criterion_group!(pieces, write_path, read_path, windows, segments, as_of, expressions, on_demand);
criterion_main!(pieces);

//! A transport that is no HTTP: what Feast, gRPC or a connector will do is one file that parses, calls a door and encodes.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use arrow::array::{AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use larder::{
    doors::{
        Access, Action, Caller, DoorError, Doors, Event, Observer, OnlineRequest, Policy, Resource, Sampler,
    },
    error::{Code, Coded},
    format::Format,
    ingest::{IngestRequest, OnError, WriteMode},
    model::{TableKind, TimeForm, Timestamp},
    serve::{Answer, AsOf, Entities, LeakGuard, Served, TrainingRequest, TrainingSet, Wanted},
    shard::{Cell, Checkpoint},
};
use serde_json::json;

use crate::support::TestNode;

const NOW: &str = "2024-06-01T00:00:00Z";
const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "string" }]

[[feature_view]]
name = "visitors"
entities = ["user"]
feature = [{ name = "n", type = "int64" }]

[[feature_view]]
name = "secrets"
entities = ["user"]
feature = [{ name = "x", type = "int64" }]
"#;

/// Lines in, lines out: `put USER N CHECKPOINT`, `get USER`, `train USER TIME`.
struct LineTransport {
    doors: Arc<Doors>,
    caller: Caller,
    view: &'static str,
}

impl LineTransport {
    fn of(node: &TestNode) -> LineTransport {
        LineTransport {
            doors: Arc::clone(&node.running().app().doors),
            caller: Caller::Named("lines".into()),
            view: "visitors",
        }
    }

    async fn answer(&self, line: &str) -> Result<String, DoorError> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["put", user, n, checkpoint] => self.put(user, n, checkpoint).await,
            ["get", user] => self.get(&format!("{}:n", self.view), user).await,
            ["train", user, time] => self.train(user, time).await,
            _ => panic!("no such command: {line}"),
        }
    }

    async fn put(&self, user: &str, n: &str, checkpoint: &str) -> Result<String, DoorError> {
        let row = format!(r#"{{"user":"{user}","n":{n},"event_time":"2024-05-01T00:00:00Z"}}"#);
        let request = IngestRequest {
            table: self.view.to_owned(),
            kind: TableKind::FeatureView,
            format: Format::NdJson,
            encoding: None,
            body: row.into(),
            on_error: OnError::Reject,
            mode: WriteMode::Replace,
            times: TimeForm::EXPLICIT,
            idempotency_key: None,
            after: None,
            checkpoint: Some(Checkpoint { name: "lines/0".to_owned(), value: checkpoint.into() }),
        };
        Ok(self.doors.write(&self.caller, request).await?.accepted.to_string())
    }

    async fn get(&self, feature: &str, user: &str) -> Result<String, DoorError> {
        let plan = self.doors.plan(&Wanted::from_parts(None, Some(vec![feature.to_owned()]))?)?;
        let keys = json!([{ "user": user }]).to_string();
        let entities = Entities::from_json(&plan, &keys, self.doors.read_limits())?;
        let request = OnlineRequest {
            plan,
            entities,
            request: Vec::new(),
            as_of: AsOf::default(),
            deadline: None,
            started: Instant::now(),
        };
        self.doors.online(&self.caller, request).await?.encode(|answer, tally| {
            Ok(match answer.reader(0).value(0, tally) {
                (Served::Cell(Cell::Int64(n)), _) => n.to_string(),
                (_, status) => status.as_str().to_owned(),
            })
        })
    }

    async fn train(&self, user: &str, time: &str) -> Result<String, DoorError> {
        let wanted = Wanted::from_parts(None, Some(vec![format!("{}:n", self.view)]))?;
        let place = self.doors.training_place(&self.caller, &wanted).await?;
        let time = Timestamp::parse(time).unwrap().micros();
        let times = TimestampMicrosecondArray::from(vec![time]).with_timezone("UTC");
        let spine = RecordBatch::try_from_iter([
            ("user", Arc::new(StringArray::from(vec![user])) as _),
            ("event_time", Arc::new(times) as _),
        ]);
        let request = TrainingRequest {
            wanted,
            spine: spine.unwrap(),
            event_time: None,
            times: TimeForm::EXPLICIT,
            known_at: None,
            until: None,
            full_feature_names: false,
            guard: LeakGuard::default(),
            max_bytes: self.doors.training_bytes(),
            split: None,
        };
        let write = |set: &TrainingSet| {
            let column = set.rows.column_by_name("n").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
            Ok::<_, DoorError>(column.iter().next().unwrap().map_or("null".to_owned(), |n| n.to_string()))
        };
        Ok(self.doors.training_set(&self.caller, place, |_| Ok(request), write).await?.1)
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_transport_without_http_reads_writes_with_a_checkpoint_and_trains() {
    let mut node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    let ask = |node: &TestNode, line: &str| run(LineTransport::of(node).answer(line)).unwrap();
    assert_eq!(ask(&node, "get a"), "NOT_FOUND");
    assert_eq!(ask(&node, "put a 1 offset-7"), "1");
    assert_eq!(ask(&node, "put a 2 offset-8"), "1");
    assert_eq!(ask(&node, "get a"), "2");
    assert_eq!(ask(&node, "train a 2024-05-02T00:00:00Z"), "2");
    assert_eq!(ask(&node, "train a 2024-04-01T00:00:00Z"), "null");
    // HTTP sees the same store.
    assert_eq!(node.read(&["visitors:n"], json!([{ "user": "a" }]))["values"][0], json!([2]));

    let checkpoint = |node: &TestNode| {
        let lines = LineTransport::of(node);
        lines
            .doors
            .checkpoint(&lines.caller, "lines/0")
            .unwrap()
            .map(|value| String::from_utf8(value).unwrap())
    };
    assert_eq!(checkpoint(&node).as_deref(), Some("offset-8"));
    node.restart();
    assert_eq!(checkpoint(&node).as_deref(), Some("offset-8"), "it is as durable as the rows");
    let lines = LineTransport::of(&node);
    assert_eq!(lines.doors.checkpoint(&lines.caller, "lines/1").unwrap(), None);

    // A batch that is not stored leaves its checkpoint out.
    let refused = run(lines.answer("put a text offset-9")).unwrap_err();
    assert_eq!(refused.code(), Code::Invalid);
    let unnamed = run(lines.put("a", "3", &"x".repeat(70_000))).unwrap_err();
    assert!(unnamed.to_string().contains("checkpoint"), "{unnamed}");
    assert_eq!(checkpoint(&node).as_deref(), Some("offset-8"));
}

/// Lets everyone read one view and nothing else.
struct OnlyVisitors;

impl Policy for OnlyVisitors {
    fn allows(&self, _: &Caller, action: Action, resource: Resource<'_>) -> bool {
        action == Action::ReadOnline && resource == Resource::Table("visitors")
    }
}

/// Remembers what it sees.
#[derive(Default)]
struct Journal {
    events: Mutex<Vec<String>>,
    sampled: AtomicUsize,
}

impl Observer for Journal {
    fn observe(&self, caller: &Caller, event: &Event<'_>) {
        let what = match event {
            Event::Online { answer, .. } => format!("online {}", answer.plan.names.join(",")),
            Event::Training { rows, .. } => format!("training {rows}"),
            Event::Query { succeeded, .. } => format!("query {succeeded}"),
            Event::Change { action, subject } => format!("{action} {subject}"),
        };
        self.events.lock().unwrap().push(format!("{caller}: {what}"));
    }
}

impl Sampler for Journal {
    fn take(&self, answer: Answer) {
        assert!(matches!(answer.value(0, 0).0, Served::Cell(Cell::Int64(1))));
        self.sampled.fetch_add(1, Ordering::Relaxed);
    }
}

/// The node's doors, with other rules and observers.
fn doors(node: &TestNode, access: Access, journal: &Arc<Journal>) -> LineTransport {
    let node = &node.running().app().doors;
    let observers = larder::doors::Observers {
        observers: vec![Arc::clone(journal) as _],
        sampler: Some(Arc::clone(journal) as _),
    };
    let doors = Doors {
        access,
        admission: larder::doors::Admission::default(),
        observers,
        parts: node.parts.clone(),
        read_deadline: None,
    };
    LineTransport { doors: Arc::new(doors), caller: Caller::Named("lines".into()), view: "visitors" }
}

#[test]
fn a_policy_refuses_before_anything_is_done() {
    let node = TestNode::at(NOW);
    node.apply(DEFINITIONS);
    node.write("visitors", json!([{ "user": "a", "n": 1, "event_time": "2024-05-01T00:00:00Z" }]));
    let journal = Arc::new(Journal::default());
    let lines = doors(&node, Access::with(Arc::new(OnlyVisitors)), &journal);
    assert_eq!(run(lines.answer("get a")).unwrap(), "1");
    for (refused, action) in [
        (run(lines.answer("put a 2 c")), "write on `visitors`"),
        (run(lines.answer("train a 2024-05-02T00:00:00Z")), "read_training on `visitors`"),
        (run(lines.get("secrets:x", "a")), "read_online on `secrets`"),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Forbidden);
        assert_eq!(refused.to_string(), format!("lines may not {action}"));
    }
    assert_eq!(*journal.events.lock().unwrap(), ["lines: online visitors:n"], "nothing else happened");
}

#[test]
fn observers_see_each_request_and_the_sampler_gets_the_values() {
    let node = TestNode::at(NOW);
    // A view of its own: metrics are those of the process, which has other nodes.
    node.apply(&DEFINITIONS.replace("visitors", "observed"));
    let journal = Arc::new(Journal::default());
    let lines = LineTransport { view: "observed", ..doors(&node, Access::default(), &journal) };
    run(lines.answer("put a 1 c")).unwrap();
    run(lines.answer("get a")).unwrap();
    run(lines.answer("train a 2024-05-02T00:00:00Z")).unwrap();
    let seen = ["lines: write observed", "lines: online observed:n", "lines: training 1"];
    assert_eq!(*journal.events.lock().unwrap(), seen);
    assert_eq!(journal.sampled.load(Ordering::Relaxed), 1);
    // What both of them serve is counted in one place.
    let metrics = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
    assert!(
        metrics.contains(r#"larder_online_values_total{view="observed",status="PRESENT"} 1"#),
        "{metrics}"
    );
}

//! kill -9 while a batch feature view is materialised: each run is done once, whole, of the input that it began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use larder::{clock::Clock, model::Timestamp};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    server::{Launch, Server, client},
};

/// A run has a row for each pair of seeds, and is written in four parts.
const DEFINITIONS: &str = include_str!("../fixtures/products.toml");
const SEEDS: i64 = 250;
/// Of a part, as `sql::runs` cuts them.
const PART_ROWS: usize = 20_000;
const DAY: i64 = 86_400_000_000;

/// A directory with seeds, some of which are sent late: to a run that was broken off they must make no difference.
pub struct Materialised {
    pub dir: TempDir,
    dice: Dice,
    /// Sent so far; all were acknowledged.
    sent: Vec<Seed>,
    next_value: i64,
    /// Moments that were asked for and acknowledged, in microseconds.
    asked: BTreeSet<i64>,
    /// The last day that was asked for, counted back from today.
    day: i64,
    midnight: i64,
    /// When a node ended, in microseconds.
    ends: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seed {
    n: i64,
    time: i64,
    x: i64,
}

/// A run's rows: products by id.
type Products = BTreeMap<i64, i64>;

impl Materialised {
    pub fn new(test: &str) -> Materialised {
        let now = Clock::system().now().micros();
        let mut made = Materialised {
            dir: TempDir::new().unwrap(),
            dice: Dice::new(test),
            sent: Vec::new(),
            next_value: 0,
            asked: BTreeSet::new(),
            day: 1,
            midnight: now - now.rem_euclid(DAY),
            ends: Vec::new(),
        };
        let server = made.launch().start();
        server.apply(DEFINITIONS.split("[[batch").next().unwrap());
        let long_ago = made.midnight - 1000 * DAY;
        made.send(&server, (0..SEEDS).map(|n| (n, long_ago + n)).collect());
        server.apply(DEFINITIONS);
        made
    }

    pub fn launch(&self) -> Launch {
        Launch::new(self.dir.path())
    }

    fn send(&mut self, server: &Server, seeds: Vec<(i64, i64)>) {
        let first = self.next_value;
        self.next_value += seeds.len() as i64;
        let seeds = seeds.into_iter().zip(first..).map(|((n, time), x)| Seed { n, time, x });
        let seeds: Vec<Seed> = seeds.collect();
        let row = |seed: &Seed| json!({ "n": seed.n, "event_time": seed.time, "x": seed.x });
        let rows: Vec<Json> = seeds.iter().map(row).collect();
        let (status, answer) = server.post("/v1/feature-views/seeds/rows", &json!({ "rows": rows }));
        assert_eq!(status, 200, "{answer}\n{}", server.log());
        self.sent.extend(seeds);
    }

    /// New versions of a few seeds, and new seeds, at any time since long ago.
    pub fn send_late(&mut self, server: &Server) {
        let late = |dice: &mut Dice| {
            let n = dice.roll(SEEDS as u64 + 8) as i64;
            (n, n + self.midnight - dice.roll(999) as i64 * DAY)
        };
        let seeds = (0..3).map(|_| late(&mut self.dice)).collect();
        self.send(server, seeds);
    }

    /// Asks for the runs of two more days of the past; where no answer comes, the next start tells whether it was heard.
    pub fn ask(&mut self, server: &Server) {
        self.day += 2;
        let [from, to] = [self.day, self.day - 1].map(|day| self.midnight - day * DAY);
        let range = json!({ "from": text(from), "to": text(to) });
        let (status, answer) = server.post("/v1/feature-views/products/materialize", &range);
        assert!(matches!(status, 0 | 202), "{answer}\n{}", server.log());
        if status == 202 {
            self.asked.extend([from, to]);
        }
    }

    /// After a start: every run that was acknowledged is there, all or none of a request that was not, no moment has two.
    pub fn check_history(&mut self, server: &Server) {
        let runs = runs(server);
        let moments: BTreeSet<i64> = runs.iter().map(|run| time(&run["moment"])).collect();
        assert_eq!(moments.len(), runs.len(), "{runs:#?}");
        assert!(self.asked.is_subset(&moments), "{:?} of {runs:#?}", self.asked);
        let last = [self.day, self.day - 1].map(|day| moments.contains(&(self.midnight - day * DAY)));
        assert!(self.day == 1 || last[0] == last[1], "half of a request: {runs:#?}");
    }

    pub fn ended(&mut self) {
        self.ends.push(Clock::system().now().micros());
    }

    /// Runs that were ended between two of their parts: others begin anew.
    pub fn broken_off(&self, server: &Server) -> usize {
        let within = |run: &Json| time(&run["started"])..time(&run["finished"]);
        runs(server).iter().filter(|run| self.ends.iter().any(|end| within(run).contains(end))).count()
    }

    fn wait_for_part(&self, server: &Server) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let under_way = |run: &Json| run["state"] != "done" && run["parts"] != 0;
        while Instant::now() < deadline {
            let runs = runs(server);
            if runs.iter().any(under_way) || runs.iter().all(|run| run["state"] == "done") {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no part is written: {:#?}\n{}", runs(server), server.log());
    }

    /// Waits for the end of all runs, then compares what there is with what each run should have made of its input.
    /// Returns the rows that were compared.
    pub fn check_rows(&mut self, server: &Server) -> usize {
        let deadline = Instant::now() + Duration::from_secs(120);
        while runs(server).iter().any(|run| run["state"] != "done") {
            assert!(Instant::now() < deadline, "they do not end: {:#?}\n{}", runs(server), server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.check_history(server);
        let seeds = query(server, "SELECT n, x, CAST(event_time AS BIGINT), _seq FROM seeds ORDER BY _seq");
        let seeds: Vec<(Seed, i64)> =
            seeds.iter().map(|row| (Seed { n: row[0], x: row[1], time: row[2] }, row[3])).collect();
        let (mut stored, mut sent) =
            (seeds.iter().map(|(seed, _)| seed.clone()).collect::<Vec<_>>(), self.sent.clone());
        stored.sort_unstable();
        sent.sort_unstable();
        assert!(stored == sent, "{} seeds are stored, {} were sent", stored.len(), sent.len());

        let (mut seen, mut compared, mut lost, mut doubled, mut wrong) = (0, 0, 0, 0, 0);
        let mut newest: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for run in &runs(server) {
            let moment = time(&run["moment"]);
            let expected = naive(&seeds, moment, run["below_seq"]["seeds"].as_i64().unwrap());
            let sql =
                format!("SELECT id, product FROM products WHERE event_time = TIMESTAMP '{}'", text(moment));
            let mut found = Products::new();
            for row in query(server, &sql) {
                seen += 1;
                doubled += u64::from(found.insert(row[0], row[1]).is_some());
            }
            lost += expected.keys().filter(|id| !found.contains_key(id)).count();
            wrong += found.iter().filter(|(id, product)| expected.get(id) != Some(product)).count();
            compared += expected.len();
            assert_eq!(run["rows"], expected.len(), "{run:#}");
            assert_eq!(run["parts"], expected.len().div_ceil(PART_ROWS), "{run:#}");
            for (id, product) in expected {
                let newest = newest.entry(id).or_insert((moment, product));
                *newest = (*newest).max((moment, product));
            }
        }
        let online = online(server, &newest.keys().copied().collect::<Vec<_>>());
        let disagree = newest
            .iter()
            .zip(&online)
            .filter(|((_, (_, product)), served)| json!(product) != **served)
            .count();
        println!(
            "runs: done={} of_moments={} rows={compared} lost={lost} doubled={doubled} wrong={wrong} disagree={disagree}",
            runs(server).len(),
            self.asked.len() + 1,
        );
        assert_eq!((lost, doubled, wrong, disagree), (0, 0, 0, 0));
        assert_eq!(query(server, "SELECT count(*) FROM products"), [[seen]], "rows of no run");
        compared
    }
}

#[test]
fn kill_9_leaves_each_run_done_once() {
    let _alone = alone();
    let kills = amount("LARDER_RUN_KILLS", 6, 40);
    let mut made = Materialised::new("runs");
    for _ in 0..kills {
        let server = made.launch().start();
        made.check_history(&server);
        made.send_late(&server);
        if runs(&server).iter().all(|run| run["state"] == "done") {
            made.ask(&server);
        }
        // Any time, or soon after a part was written.
        if made.dice.roll(3) > 0 {
            made.wait_for_part(&server);
        }
        std::thread::sleep(Duration::from_millis(made.dice.roll(300)));
        server.kill();
        made.ended();
    }
    let server = made.launch().start();
    made.check_rows(&server);
    let broken_off = made.broken_off(&server);
    println!("runs: kills={kills} broken_off={broken_off}");
    assert!(broken_off > 0, "no kill came while a run was under way");
}

fn text(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

fn time(text: &Json) -> i64 {
    Timestamp::parse(text.as_str().unwrap()).unwrap().micros()
}

fn runs(server: &Server) -> Vec<Json> {
    let (status, body) = server.get("/v1/feature-views/products/materialize");
    assert_eq!(status, 200, "{body}\n{}", server.log());
    serde_json::from_str::<Json>(&body).unwrap()["runs"].as_array().unwrap().clone()
}

/// What each pair comes to of the seeds that a run sees: those up to its moment that were there when it began.
fn naive(seeds: &[(Seed, i64)], moment: i64, below_seq: i64) -> Products {
    let mut newest: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    for (seed, seq) in seeds.iter().filter(|(seed, seq)| seed.time <= moment && *seq < below_seq) {
        let version = (seed.time, *seq, seed.x);
        let newest = newest.entry(seed.n).or_insert(version);
        *newest = (*newest).max(version);
    }
    let pairs = newest.iter().flat_map(|(a, of_a)| newest.iter().map(move |(b, of_b)| (a, of_a, b, of_b)));
    pairs.map(|(a, of_a, b, of_b)| (a * 1000 + b, of_a.2 * of_b.2)).collect()
}

/// Rows of integers.
fn query(server: &Server, sql: &str) -> Vec<Vec<i64>> {
    let request = client().post(format!("{}/v1/sql", server.base)).header("Accept", "text/csv");
    let response = request.json(&json!({ "query": sql })).send().unwrap();
    let (status, text) = (response.status(), response.text().unwrap());
    assert_eq!(status, 200, "{sql}: {text}\n{}", server.log());
    text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect()
}

/// The newest products of these pairs.
fn online(server: &Server, ids: &[i64]) -> Vec<Json> {
    let mut values = Vec::new();
    for part in ids.chunks(1000) {
        let entities: Vec<Json> = part.iter().map(|id| json!({ "id": id })).collect();
        let body = json!({ "features": ["products:product"], "entities": entities });
        let (status, mut answer) = server.post("/v1/online-features", &body);
        assert_eq!(status, 200, "{answer}\n{}", server.log());
        values.extend(answer["values"].as_array_mut().unwrap().iter_mut().map(|row| row[0].take()));
    }
    values
}

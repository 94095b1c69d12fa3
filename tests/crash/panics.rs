//! Actors that panic, and a node that gives up when one keeps dying.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use larder::{actor::Panic, clock::Clock, config::Config};
use serde_json::json;
use tempfile::TempDir;

use crate::{harness::alone, oracle::DEFINITIONS, server::Server, support::TestNode};

/// sysexits: internal software error.
const GAVE_UP: i32 = 70;
const CHILD_DIR: &str = "LARDER_CRASH_CHILD_DIR";
const CHILD_ACTOR: &str = "LARDER_CRASH_CHILD_ACTOR";
const ACTORS: [&str; 3] = ["shard", "segment writer", "registry"];

fn panic_in(node: &larder::node::Running, actor: &str) {
    let app = node.app();
    match actor {
        "shard" => {
            (0..app.doors.parts.shards.count()).all(|shard| app.doors.parts.shards.link(shard).send(Panic))
        }
        "segment writer" => node.writer().send(Panic),
        _ => app.doors.parts.registry.send(Panic),
    };
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_actor_that_panics_is_started_again() {
    let _alone = alone();
    let settings = [("offline.seal_after", "50ms")];
    let node = TestNode::with("2024-05-01T12:00:00Z", &settings);
    node.apply(DEFINITIONS);
    let mut time = 1_700_000_000_000_000i64;
    for actor in ACTORS {
        time += 1;
        let body = json!({ "rows": [{ "key": 1, "event_time": time, "value": time, "batch": 0 }] });
        node.write("state", body["rows"].clone());
        panic_in(node.running(), actor);
        // Reads do not notice.
        assert_eq!(node.read(&["state"], json!([{ "key": 1 }]))["values"], json!([[time, 0]]), "{actor}");
        until("writes are taken again", || {
            let status = node.post_json("/v1/feature-views/state/rows", &body).0;
            assert!(matches!(status, 200 | 503), "{actor}: {status}");
            status == 200
        });
        until("definitions are applied again", || {
            let body = DEFINITIONS.as_bytes();
            let status = node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", body).0;
            assert!(matches!(status, 200 | 503), "{actor}: {status}");
            status == 200
        });
        let (_, ready) = node.get("/readyz");
        assert_eq!(ready["ready"], true, "{actor}: {ready}");
        // The clock stands still: it must move for a seal to fall due.
        node.clock.set(larder::model::Timestamp::from_micros(node.clock.now().micros() + 1_000_000));
        node.wait_until_sealed("state");
        let metrics = node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap();
        let counted = |l: &str| l.starts_with("larder_actor_restarts_total") && l.contains(actor);
        assert!(metrics.lines().any(counted), "{actor}: {metrics}");
    }
    println!("panics: actors={} restarted={}", ACTORS.len(), ACTORS.len());
}

/// Not a test of its own: the node of [`a_node_whose_actor_keeps_dying_gives_up`], in a process that may end.
#[test]
#[ignore = "run by another test"]
fn child_whose_actor_keeps_dying() {
    let (Ok(dir), Ok(actor)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_ACTOR)) else { return };
    let settings = [("data.dir".to_owned(), dir), ("server.listen".to_owned(), "127.0.0.1:0".to_owned())];
    let config = Config::load(None, std::iter::empty(), &settings).unwrap();
    let node = larder::node::spawn(config, Clock::system()).unwrap();
    eprintln!("{}", json!({ "message": "ready", "address": node.address().to_string() }));
    // Slowly enough that its parent can look at it meanwhile.
    for _ in 0..200 {
        panic_in(&node, &actor);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_node_whose_actor_keeps_dying_gives_up() {
    let _alone = alone();
    for actor in ACTORS {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "panics::child_whose_actor_keeps_dying"]);
        // On a busy machine the backtraces of so many panics take longer than is waited for the end.
        command.env(CHILD_DIR, dir.path()).env(CHILD_ACTOR, actor).env("RUST_BACKTRACE", "0");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut server = Server::from(command).unwrap();
        let (live, ready) = (server.get("/livez").0, server.get("/readyz").0);
        let end = server.wait(Duration::from_secs(30));
        let end = end.unwrap_or_else(|| panic!("{actor}: it goes on and on\n{}", server.log()));
        println!("panics: {actor}: livez={live} readyz={ready} meanwhile, exit={:?}", end.code());
        assert_eq!(end.code(), Some(GAVE_UP), "{actor}\n{}", server.log());
        assert_eq!(live, 200, "{actor}");
        assert!(matches!(ready, 200 | 503), "{actor}: {ready}");
    }
}

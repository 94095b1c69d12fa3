//! How long a node takes to be ready again, by the size of its journal: after kill -9, and after a clean stop.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{alone, is_full},
    oracle::DEFINITIONS,
    server::{Launch, Server, client},
};

const BATCH_ROWS: i64 = 9000;

/// The features of the rows: how long a journal takes is decided by how many rows it holds, so by how small they are.
#[derive(Clone, Copy)]
enum Rows {
    /// Two integers, the oracle's.
    Small,
    /// Ten floats.
    Wide,
}

const WIDE: &str = "ten";

impl Rows {
    const ALL: [Rows; 2] = [Rows::Small, Rows::Wide];

    fn name(self) -> &'static str {
        match self {
            Rows::Small => "small",
            Rows::Wide => "wide",
        }
    }

    fn definitions(self) -> String {
        match self {
            Rows::Small => DEFINITIONS.to_owned(),
            Rows::Wide => {
                let features: Vec<String> =
                    (0..10).map(|i| format!("{{ name = \"f{i}\", type = \"float64\" }}")).collect();
                let view = format!(
                    "[[feature_view]]\nname = \"{WIDE}\"\nentities = [\"key\"]\ntime_unit = \"us\"\nfeature = [{}]\n",
                    features.join(", ")
                );
                DEFINITIONS.to_owned() + &view
            }
        }
    }

    fn view(self) -> &'static str {
        match self {
            Rows::Small => "state",
            Rows::Wide => WIDE,
        }
    }

    fn values(self, key: i64) -> Vec<f64> {
        match self {
            Rows::Small => vec![key as f64, 0.0],
            Rows::Wide => (0..10).map(|i| key as f64 + f64::from(i) / 8.0).collect(),
        }
    }

    fn csv(self, first: i64) -> String {
        let mut text = String::from(match self {
            Rows::Small => "key,event_time,value,batch\n",
            Rows::Wide => "key,event_time,f0,f1,f2,f3,f4,f5,f6,f7,f8,f9\n",
        });
        for key in first..first + BATCH_ROWS {
            let values: Vec<String> = self.values(key).iter().map(f64::to_string).collect();
            text += &format!("{key},{},{}\n", 1_700_000_000_000_000 + key, values.join(","));
        }
        text
    }
}
const MIB: u64 = 1 << 20;

/// Nothing is written out of the memtables or sealed, so that all there is is in the journal: more than a node with
/// its own settings ever has to replay of a journal of that size.
fn hoarder(dir: &Path) -> Launch {
    patient(dir)
        .env("LARDER__ONLINE__MEMTABLE_BYTES", "512MiB")
        .env("LARDER__ONLINE__MAX_JOURNAL_BYTES", "512MiB")
}

/// With the default sizes of the online store.
fn patient(dir: &Path) -> Launch {
    Launch::new(dir)
        .env("LARDER__OFFLINE__SEAL_AFTER", "1h")
        .env("LARDER__OFFLINE__SEAL_ROWS", "100000000")
        .env("LARDER__OFFLINE__SEGMENT_ROWS", "100000000")
}

#[test]
fn recovery_time_grows_with_the_journal() {
    let _alone = alone();
    let sizes: &[u64] = if is_full() { &[8, 32, 64, 128] } else { &[8] };
    for shape in Rows::ALL {
        let dir = TempDir::new().unwrap();
        let mut server = hoarder(dir.path()).start();
        server.apply(&shape.definitions());
        server.kill();
        let (again, empty) = restart(|| hoarder(dir.path()));
        server = again;
        let mut rows = 0;
        for size in sizes {
            while journal_bytes(dir.path()) < size * MIB {
                write(&server, shape, &mut rows);
            }
            server.kill();
            server = timed("unflushed", shape, dir.path(), rows, empty, || hoarder(dir.path()));
        }
        stop(server);
        timed("stopped", shape, dir.path(), rows, empty, || hoarder(dir.path())).kill();
    }
}

/// What a node with its default sizes has to replay at the worst moment of a long run of writes.
#[test]
#[ignore = "minutes; scripts/measure-restart runs it"]
fn recovery_time_at_the_default_bound() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let mut server = patient(dir.path()).start();
    server.apply(&Rows::Small.definitions());
    server.kill();
    let (again, empty) = restart(|| patient(dir.path()));
    server = again;
    let mut rows = 0;
    let mut most = 0;
    // Three times through all that the bound lets gather; then on to where it is nearly at its most again.
    while rows < 6_000_000 || journal_bytes(dir.path()) + 4 * MIB < most {
        write(&server, Rows::Small, &mut rows);
        most = most.max(journal_bytes(dir.path()));
    }
    println!("replay: the journals had {:.1} MiB at the most", most as f64 / MIB as f64);
    server.kill();
    server = timed("default", Rows::Small, dir.path(), rows, empty, || patient(dir.path()));
    stop(server);
    timed("stopped", Rows::Small, dir.path(), rows, empty, || patient(dir.path())).kill();
}

/// Starts a node and says how long it took to be ready, and that the newest row is there.
fn timed(
    what: &str,
    shape: Rows,
    dir: &Path,
    rows: i64,
    empty: Duration,
    launch: impl Fn() -> Launch,
) -> Server {
    let journal = journal_bytes(dir) as f64 / MIB as f64;
    let (server, ready) = restart(launch);
    let per_mb = ready.saturating_sub(empty).as_secs_f64() * 1000.0 / journal.max(1.0);
    println!(
        "replay: {what:<9} {} journal={journal:.1}MiB rows={rows} ready={ready:.2?} ms_per_mib={per_mb:.1}",
        shape.name()
    );
    let (status, values) = server.read(&[shape.view()], json!({ "key": rows - 1 }));
    let values: Vec<f64> = values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert_eq!((status, values), (200, shape.values(rows - 1)));
    server
}

fn restart(launch: impl Fn() -> Launch) -> (Server, Duration) {
    let started = Instant::now();
    let server = launch().start();
    (server, started.elapsed())
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    let end = server.wait(Duration::from_secs(60)).unwrap_or_else(|| panic!("{}", server.log()));
    assert!(end.success(), "{end}");
}

fn write(server: &Server, shape: Rows, rows: &mut i64) {
    let url = format!("{}/v1/feature-views/{}/rows", server.base, shape.view());
    let response =
        client().post(url).header("Content-Type", "text/csv").body(shape.csv(*rows)).send().unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().unwrap());
    *rows += BATCH_ROWS;
}

/// Bytes that were written to journals; they are preallocated, so their lengths do not say.
fn journal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("online")).unwrap().map(|entry| entry.unwrap());
    let journals = files.filter(|file| file.path().extension().is_some_and(|e| e == "jnl"));
    // One may be removed meanwhile.
    journals
        .filter_map(|file| file.metadata().ok())
        .map(|file| std::os::unix::fs::MetadataExt::blocks(&file) * 512)
        .sum()
}

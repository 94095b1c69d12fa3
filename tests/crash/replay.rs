//! How long a node takes to be ready after kill -9, by the size of its journal.

use std::{path::Path, time::Instant};

use tempfile::TempDir;

use crate::{
    harness::{alone, is_full},
    oracle::DEFINITIONS,
    server::{Launch, client},
};

const BATCH_ROWS: usize = 9000;

fn launch(dir: &Path) -> Launch {
    // Nothing is written out of the memtables or sealed, so that all there is is in the journal.
    Launch::new(dir)
        .env("LARDER__OFFLINE__SEAL_AFTER", "1h")
        .env("LARDER__OFFLINE__SEAL_ROWS", "100000000")
        .env("LARDER__OFFLINE__SEGMENT_ROWS", "100000000")
        .env("LARDER__ONLINE__MEMTABLE_BYTES", "512MiB")
        .env("LARDER__ONLINE__MAX_JOURNAL_BYTES", "512MiB")
}

#[test]
fn recovery_time_grows_with_the_journal() {
    let _alone = alone();
    let sizes: &[u64] = if is_full() { &[8, 32, 128] } else { &[8] };
    let dir = TempDir::new().unwrap();
    let mut server = launch(dir.path()).start();
    server.apply(DEFINITIONS);
    server.kill();
    let empty = Instant::now();
    server = launch(dir.path()).start();
    let empty = empty.elapsed();
    let mut rows = 0i64;
    for size in sizes {
        while journal_bytes(dir.path()) < size << 20 {
            let body = csv(rows);
            let url = format!("{}/v1/feature-views/state/rows", server.base);
            let response = client().post(url).header("Content-Type", "text/csv").body(body).send().unwrap();
            assert_eq!(response.status(), 200, "{}", response.text().unwrap());
            rows += BATCH_ROWS as i64;
        }
        server.kill();
        let journal = journal_bytes(dir.path()) as f64 / f64::from(1 << 20);
        let started = Instant::now();
        server = launch(dir.path()).start();
        let ready = started.elapsed();
        let per_mb = ready.saturating_sub(empty).as_secs_f64() * 1000.0 / journal;
        println!("replay: journal={journal:.1}MiB rows={rows} ready={ready:.2?} ms_per_mib={per_mb:.1}");
        let (status, values) = server.read(&["state"], serde_json::json!({ "key": rows - 1 }));
        assert_eq!((status, values), (200, serde_json::json!([rows - 1, 0])));
    }
}

fn csv(first: i64) -> String {
    let mut text = String::from("key,event_time,value,batch\n");
    for key in first..first + BATCH_ROWS as i64 {
        text += &format!("{key},{},{key},0\n", 1_700_000_000_000_000 + key);
    }
    text
}

/// Bytes that were written to journals; they are preallocated, so their lengths do not say.
fn journal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("online")).unwrap().map(|entry| entry.unwrap());
    let journals = files.filter(|file| file.path().extension().is_some_and(|e| e == "jnl"));
    journals.map(|file| std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512).sum()
}

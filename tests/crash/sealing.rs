//! Sealing keeps up with writers that never pause.

use std::time::Duration;

use tempfile::TempDir;

use crate::{
    harness::alone,
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::{Launch, Server},
};

#[test]
fn the_outbox_is_emptied_while_writers_go_on() {
    let _alone = alone();
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let server = Launch::new(dir.path()).start();
    server.apply(DEFINITIONS);
    let base = server.base.clone();
    let mut waiting = Vec::new();
    let statuses = load_while(&base, &oracle, || {
        for _ in 0..60 {
            std::thread::sleep(Duration::from_millis(50));
            waiting.push(outbox_rows(&server));
        }
    });
    let emptied = waiting.windows(2).filter(|pair| pair[1] < pair[0]).count();
    let most = waiting.iter().max().unwrap();
    println!("sealing: batches={:?} emptied={emptied} most_waiting={most}", statuses.get(&200));
    assert!(emptied >= 5, "rows in the outbox over three seconds: {waiting:?}");
    oracle.check(&server);
    oracle.assert_faultless();
}

fn outbox_rows(server: &Server) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let line = metrics.lines().find(|l| l.starts_with("larder_outbox_rows") && l.contains("state"));
    line.and_then(|l| l.rsplit(' ').next()).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) as u64
}

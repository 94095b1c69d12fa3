//! What the machine gives without larder: the floors that `scripts/bench/run` measures larder against.
//!
//! ```text
//! floors http ADDRESS BODY      axum on two workers, one constant answer (the file BODY) to every POST
//! floors fjall DIR BATCHES      fjall: batches of 1,000 rows of 96 bytes and one blob of 88 KB, each batch synced
//! ```

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use axum::{Router, http::header, routing::post};
use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};

const ROWS: u64 = 1000;
const ROW_BYTES: usize = 96;
/// Rows as columns: ten floats, a key and a time for each.
const BLOB_BYTES: usize = 88 * ROWS as usize;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["http", address, body] => http(address, std::fs::read(body).unwrap().into()),
        ["fjall", dir, batches] => fjall(dir, batches.parse().unwrap()),
        _ => println!("see scripts/bench/run"),
    }
}

fn http(address: &str, body: Bytes) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // The request's body is read, as whoever answers it has to.
        let answer = post(move |request: Bytes| async move {
            std::hint::black_box(request.len());
            ([(header::CONTENT_TYPE, "application/json")], body.clone())
        });
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
    });
}

fn fjall(dir: &str, batches: u64) {
    let db = Database::builder(dir).worker_threads(2).open().unwrap();
    let keyspace = |name: &str| db.keyspace(name, KeyspaceCreateOptions::default).unwrap();
    let (rows, outbox) = (keyspace("rows"), keyspace("outbox"));
    // Values that do not compress to nothing.
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let noise: Vec<u8> = (0..BLOB_BYTES).map(|_| next()).collect();
    let started = Instant::now();
    for batch in 0..batches {
        let mut write = db.batch().durability(Some(PersistMode::SyncData));
        for row in 0..ROWS {
            // Every key once before any comes again, in no order.
            let key = (batch * ROWS + row).wrapping_mul(0x9E37_79B9_7F4A_7C15) % (1 << 20);
            let from = (row as usize * 31) % (BLOB_BYTES - ROW_BYTES);
            write.insert(&rows, key.to_be_bytes(), &noise[from..from + ROW_BYTES]);
        }
        write.insert(&outbox, batch.to_be_bytes(), &noise[..]);
        write.commit().unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{{\"seconds\":{seconds:.3},\"rows_s\":{:.0}}}", (batches * ROWS) as f64 / seconds);
}

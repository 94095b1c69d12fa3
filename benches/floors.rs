//! What the machine gives without larder: the floors that `scripts/bench/run` measures larder against.
//!
//! ```text
//! floors http ADDRESS BODY      axum on two workers, one constant answer (the file BODY) to every POST
//! floors fjall DIR BATCHES      fjall: batches of 1,000 rows of 96 bytes and one blob of 88 KB, each batch synced
//! floors load ADDRESS PATH BODIES COUNT RATE SECONDS
//!                               no floor but load for all: an open loop that POSTs the files 1 … COUNT in BODIES
//! ```

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::header, routing::post};
use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const ROWS: u64 = 1000;
const ROW_BYTES: usize = 96;
/// Rows as columns: ten floats, a key and a time for each.
const BLOB_BYTES: usize = 88 * ROWS as usize;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["http", address, body] => http(address, std::fs::read(body).unwrap().into()),
        ["fjall", dir, batches] => fjall(dir, batches.parse().unwrap()),
        ["load", address, path, bodies, count, rate, seconds] => {
            let requests = (1..=count.parse::<u64>().unwrap())
                .map(|n| request(path, &std::fs::read(Path::new(bodies).join(n.to_string())).unwrap()));
            load(address, requests.collect(), rate.parse().unwrap(), seconds.parse().unwrap());
        }
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
    let db = Database::builder(dir).worker_threads(1).open().unwrap();
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

const CONNECTIONS: usize = 32;

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// `rate` requests a second, whether or not earlier ones have been answered, as long as one of the connections is free.
/// A latency counts from the moment at which the request was due, in steps of a millisecond, which is what timers keep.
fn load(address: &str, requests: Vec<Vec<u8>>, rate: f64, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let requests = Arc::new(requests);
    let (next, total) = (Arc::new(AtomicU64::new(0)), (rate * seconds as f64) as u64);
    let started = Instant::now();
    let (mut latencies, bad) = runtime.block_on(async {
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (address, requests, next) =
                    (address.to_owned(), Arc::clone(&requests), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
                    stream.get_ref().set_nodelay(true).unwrap();
                    let (mut latencies, mut bad) = (Vec::new(), 0);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= total {
                            return (latencies, bad);
                        }
                        let due = started + Duration::from_millis((number as f64 / rate * 1000.0) as u64);
                        tokio::time::sleep_until(due.into()).await;
                        let request = &requests[number as usize % requests.len()];
                        bad += u64::from(!exchange(&mut stream, request).await);
                        latencies.push(due.elapsed());
                    }
                })
            })
            .collect();
        let (mut latencies, mut bad) = (Vec::new(), 0);
        for task in tasks {
            let (some, wrong) = task.await.unwrap();
            latencies.extend(some);
            bad += wrong;
        }
        (latencies, bad)
    });
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{{\"per_s\":{:.1},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"max_ms\":{:.2},\"bad\":{bad}}}",
        latencies.len() as f64 / started.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Sends a request and reads its answer; whether that was 200.
async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> bool {
    stream.get_mut().write_all(request).await.unwrap();
    let (mut line, mut length, mut ok) = (String::new(), 0, None);
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let head = line.trim_end();
        if ok.is_none() {
            ok = Some(head.split(' ').nth(1) == Some("200"));
        } else if head.is_empty() {
            break;
        } else if let Some((name, value)) = head.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    ok == Some(true)
}

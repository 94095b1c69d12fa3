//! A node that is told to stop.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    harness::{alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::Launch,
};

/// 128 + SIGTERM.
const CUT_SHORT: i32 = 143;

#[test]
fn a_drain_under_load_loses_no_acknowledgement() {
    let _alone = alone();
    let drains = amount("LARDER_DRAINS", 4, 20);
    let (dir, oracle) = (TempDir::new().unwrap(), Oracle::default());
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    first.kill();
    let mut slowest = Duration::ZERO;
    for drain in 0..drains {
        let mut server = Launch::new(dir.path()).start();
        oracle.check(&server);
        let base = server.base.clone();
        let mut end = None;
        load_while(&base, &oracle, || {
            std::thread::sleep(Duration::from_millis(200 + 40 * drain));
            let told = Instant::now();
            server.signal(Signal::TERM);
            end = server.wait(Duration::from_secs(40));
            slowest = slowest.max(told.elapsed());
        });
        let end = end.unwrap_or_else(|| panic!("it does not end\n{}", server.log()));
        assert_eq!(end.code(), Some(0), "{end}\n{}", server.log());
    }
    let server = Launch::new(dir.path()).start();
    oracle.check(&server);
    server.kill();
    oracle.scan(dir.path());
    let (acked, faults) = (oracle.acked(), oracle.faults.lock().unwrap().clone());
    println!("drain: drains={drains} exit=0 slowest={slowest:?} acked={acked} {faults}");
    oracle.assert_faultless();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let mut server = Launch::new(dir.path()).start();
    server.apply(DEFINITIONS);
    // A request whose body never ends keeps the drain waiting.
    let address = server.base.trim_start_matches("http://").to_owned();
    let mut slow = std::net::TcpStream::connect(&address).unwrap();
    let head = "POST /v1/feature-views/state/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{\"rows\"";
    std::io::Write::write_all(&mut slow, head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(Duration::from_millis(700)), None, "it did not wait for the request");
    let told = Instant::now();
    server.signal(Signal::TERM);
    let end = server.wait(Duration::from_secs(5)).expect("the second signal has no effect");
    println!("drain: second signal exit={:?} after={:?}", end.code(), told.elapsed());
    assert_eq!(end.code(), Some(CUT_SHORT));
}

//! The edge and the accept loop together, over real sockets, with a client that can misbehave.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Json, Request},
    routing::{get, post},
};
use tokio::{
    runtime::Runtime,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{
    RequestId,
    accepts::Accepts,
    body::{self, BodyLimits},
    budget::Budget,
    declared::Declared,
    edge::{self, Class, EdgeOptions},
    server::{Drained, ServerOptions, serve},
    workers::Workers,
};
use crate::config::Config;

/// Long beside every timeout that the tests configure, and the most that any of them waits.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

struct Server {
    runtime: Runtime,
    _workers: Workers,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
    /// Says when `/slow` was asked.
    asked: mpsc::Receiver<()>,
    /// Lets `/slow` answer.
    release: Arc<Notify>,
}

fn micros(time: Duration) -> crate::model::Duration {
    crate::model::Duration::from_micros(time.as_micros() as i64).unwrap()
}

/// Every other route may take any time.
fn declared() -> Declared {
    let long = ["/hello", "/panic", "/plain", "/huge", "/spine", "/slow"].map(|route| (route, Class::Long));
    Declared::with(&[[("/never", Class::Read), ("/rows", Class::Write)].as_slice(), &long].concat())
}

fn start(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    config.limits.body_bytes = "1KiB".parse().unwrap();
    change(&mut config);
    let budget = Budget::new(&config.server, &config.limits);
    let limits = BodyLimits::new(&config.server, &config.limits, budget.clone());
    let spine = limits.clone();
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let (ask, asked) = mpsc::channel();
    let router = Router::new()
        .route("/hello", get(|id: axum::Extension<RequestId>| async move { id.as_str().to_owned() }))
        .route("/panic", get(async || -> &'static str { panic!("secret") }))
        .route("/never", get(std::future::pending::<&'static str>))
        .route("/plain", post(async |Json(_): Json<Vec<u8>>| "read"))
        .route("/huge", get(async || vec![0_u8; 64 << 20]))
        .route(
            "/rows",
            post(async move |request: Request| {
                let (head, body) = request.into_parts();
                body::read(&head, body, &limits.clone()).await.map(|bytes| bytes.len().to_string())
            }),
        )
        .route(
            "/spine",
            post(async move |request: Request| {
                let (head, body) = request.into_parts();
                body::read(&head, body, &spine.clone()).await.map(|bytes| bytes.len().to_string())
            }),
        )
        .route(
            "/slow",
            get(async move || {
                let _ = ask.send(());
                released.notified().await;
                "done"
            }),
        );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = edge::wrap(
        router,
        EdgeOptions::new(&config.server, &config.limits, budget.clone(), Accepts::default(), declared()),
    );
    let (stop, stopped) = oneshot::channel();
    let options = ServerOptions::new(&config.server, &config.limits, budget);
    let workers = Workers::start(2).unwrap();
    let serving = runtime.spawn(serve(listener, router, workers.seats(), options, async {
        let _ = stopped.await;
    }));
    Server { runtime, _workers: workers, address, stop, serving, asked, release }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The problem, checked for what every problem must have.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        answer(&mut stream).unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    }

    fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.serving).await }).unwrap().unwrap()
    }
}

/// Reads one answer with a Content-Length; `None` where the connection ends before.
fn answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut read = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
            let length: usize = read.header("content-length").unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                read.body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).unwrap();
                return Some(read);
            }
        }
        match stream.read(&mut chunk).unwrap() {
            0 => return None,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Waits until the server closes; true where it did so without a byte.
fn closed_silently(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok() && rest.is_empty()
}

#[test]
fn request_ids_are_taken_over_or_made() {
    let server = start(|_| ());
    let sent = server.send("GET /hello HTTP/1.1\r\nhost: localhost\r\nx-request-id: mine-1\r\n\r\n");
    assert_eq!((sent.header("x-request-id"), sent.body.as_str()), (Some("mine-1"), "mine-1"));
    let made = server.get("/hello");
    assert_eq!(made.header("x-request-id"), Some(made.body.as_str()));
    assert_eq!(made.body.len(), 36);
}

#[test]
fn unknown_paths_methods_and_bad_bodies_are_problems() {
    let server = start(|_| ());
    let problem = server.get("/nowhere").problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("`/nowhere`"));
    let wrong = server.send("DELETE /hello HTTP/1.1\r\nhost: localhost\r\n\r\n");
    wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    let json = "content-type: application/json\r\ncontent-length: 2\r\n\r\n[}";
    let problem =
        server.send(&format!("POST /plain HTTP/1.1\r\nhost: localhost\r\n{json}")).problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("JSON"), "{problem}");
}

#[test]
fn long_heads_are_problems() {
    let server = start(|_| ());
    server.get(&format!("/hello?{}", "q".repeat(9 << 10))).problem(414, "url_too_long");
    let header =
        format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "v".repeat(20 << 10));
    server.send(&header).problem(431, "headers_too_large");
    // Far beyond, the connection's buffer is the limit; that answer is hyper's own.
    let header =
        format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "v".repeat(99 << 10));
    assert_eq!(server.send(&header).status, 431);
    assert_eq!(server.get("/hello").status, 200);
}

#[test]
fn bodies_are_counted_announced_or_not() {
    let server = start(|_| ());
    let post = |extra: &str, body: &str| {
        server.send(&format!("POST /rows HTTP/1.1\r\nhost: localhost\r\n{extra}\r\n\r\n{body}"))
    };
    let announced = |length: usize| post(&format!("content-length: {length}"), &"r".repeat(length));
    assert_eq!(announced(1024).body, "1024");
    assert_eq!(announced(0).body, "0");
    announced(1025).problem(413, "too_large");
    // Before anything was sent: nobody waits for a body that is refused.
    post("content-length: 99999999999\r\nexpect: 100-continue", "").problem(413, "too_large");

    let chunk = format!("200\r\n{}\r\n", "c".repeat(512));
    let chunked = |n: usize| post("transfer-encoding: chunked", &format!("{}0\r\n\r\n", chunk.repeat(n)));
    assert_eq!(chunked(2).body, "1024");
    chunked(3).problem(413, "too_large");
}

#[test]
fn a_client_that_sends_first_and_reads_later_sees_the_refusal() {
    let server = start(|config| config.limits.body_bytes = "4MiB".parse().unwrap());
    // More than the sockets' buffers hold: without someone to read it, sending fails.
    let body = "b".repeat(15 << 20);
    let head = format!("POST /rows HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    server.send(&format!("{head}{body}")).problem(413, "too_large");
}

#[test]
fn a_body_that_stalls_or_breaks_off_is_answered() {
    let server = start(|config| config.server.stall_timeout = micros(SHORT));
    let request = "POST /rows HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf";
    server.send(request).problem(408, "timeout");
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // hyper may close before the handler has its say; what counts is that nothing hangs or dies.
    let _ = answer(&mut stream);
    assert_eq!(server.get("/hello").status, 200);
}

#[test]
fn a_trickling_body_ends_at_the_deadline() {
    let server = start(|config| config.server.write_timeout = micros(SHORT));
    let mut stream = server.connect();
    stream.write_all(b"POST /rows HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n").unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || {
        while sender.write_all(b"r").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    answer(&mut stream).unwrap().problem(408, "timeout");
}

#[test]
fn a_trickling_body_ends_although_its_route_has_no_deadline() {
    let server = start(|config| config.server.stall_timeout = micros(SHORT));
    let mut stream = server.connect();
    stream.write_all(b"POST /spine HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n").unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || {
        while sender.write_all(b"r").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let problem = answer(&mut stream).unwrap().problem(408, "timeout");
    assert!(problem["detail"].as_str().unwrap().contains("limits.min_rate_bytes"), "{problem}");
}

#[test]
fn an_answer_taken_in_drops_ends() {
    let server = start(|config| config.server.stall_timeout = micros(SHORT));
    let mut stream = server.connect();
    stream.write_all(b"GET /huge HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (waited, mut taken) = (Instant::now(), [0; 64]);
    while connected(&server) {
        assert!(waited.elapsed() < PATIENCE, "still open");
        stream.read_exact(&mut taken).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_holds_room_and_sends_nothing_gives_way_to_who_waits_for_it() {
    let server = start(|config| {
        config.limits.body_bytes = "1MiB".parse().unwrap();
        config.limits.bytes_in_flight = "1MiB".parse().unwrap();
    });
    let head =
        |bytes: usize| format!("POST /spine HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n");
    let mut holder = server.connect();
    holder.write_all(format!("{}{}", head(1 << 20), "h".repeat(600 << 10)).as_bytes()).unwrap();
    thread::sleep(SHORT);
    let started = Instant::now();
    let small = server.send(&format!("{}{}", head(60 << 10), "s".repeat(60 << 10)));
    assert_eq!(
        (small.status, started.elapsed() < Duration::from_secs(2)),
        (200, true),
        "small bodies do not wait"
    );
    let large = server.send(&format!("{}{}", head(1 << 20), "l".repeat(1 << 20)));
    assert_eq!(large.body, (1 << 20).to_string());
    answer(&mut holder).unwrap().problem(408, "timeout");
}

#[test]
fn requests_that_hold_all_room_and_are_quick_are_waited_for_and_no_longer() {
    let server = start(|config| {
        config.limits.body_bytes = "1MiB".parse().unwrap();
        config.limits.bytes_in_flight = "1MiB".parse().unwrap();
        config.limits.min_rate_bytes = "1B".parse().unwrap();
        config.server.stall_timeout = micros(Duration::from_millis(800));
    });
    let head = format!("POST /spine HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 1 << 20);
    let mut holder = server.connect();
    holder.write_all(format!("{head}{}", "h".repeat(600 << 10)).as_bytes()).unwrap();
    let mut sender = holder.try_clone().unwrap();
    thread::spawn(move || {
        while sender.write_all(&[b'h'; 100]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    thread::sleep(SHORT);
    let refused = server.send(&format!("{head}{}", "l".repeat(1 << 20)));
    let problem = refused.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("limits.bytes_in_flight"), "{problem}");
    assert_eq!(refused.header("retry-after"), Some("2"));
}

#[test]
fn foreign_names_and_pages_are_refused() {
    let server = start(|_| ());
    let of = |head: &str| server.send(&format!("{head}\r\ncontent-length: 0\r\n\r\n"));
    of("GET /hello HTTP/1.1\r\nhost: evil.example").problem(421, "misdirected");
    of("POST /rows HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example").problem(403, "forbidden");
    of("GET /hello HTTP/1.1\r\nx-no-host: 1").problem(400, "invalid");
    assert_eq!(of("POST /rows HTTP/1.1\r\nhost: localhost:1\r\norigin: http://localhost:1").status, 200);
}

#[test]
fn a_handler_that_never_answers_is_given_up() {
    let server = start(|config| config.server.read_timeout = micros(SHORT));
    let answer = server.get("/never");
    let problem = answer.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("within 200ms (server.read_timeout)"), "{problem}");
    assert_eq!(answer.header("retry-after"), Some("2"));
}

#[test]
fn a_panic_is_an_answer_and_the_connection_lives() {
    let server = start(|_| ());
    let mut stream = server.connect();
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let answered = answer(&mut stream).unwrap();
    answered.problem(500, "internal");
    assert!(!answered.body.contains("secret"), "{}", answered.body);
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).unwrap().status, 200);
}

#[test]
fn silent_and_slow_clients_are_closed() {
    let server = start(|config| {
        config.server.first_byte_timeout = micros(SHORT);
        config.server.header_timeout = micros(SHORT);
    });
    assert!(closed_silently(&mut server.connect()), "no byte at all");

    let mut stream = server.connect();
    stream.write_all(b"GET /hello HT").unwrap();
    answer(&mut stream).unwrap().problem(408, "timeout");
    assert!(closed_silently(&mut stream), "half a head");

    let mut stream = server.connect();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).unwrap().status, 200);
    assert!(closed_silently(&mut stream), "idle after a request");
}

#[test]
fn a_client_that_does_not_take_its_answer_is_closed() {
    let server = start(|config| config.server.stall_timeout = micros(SHORT));
    let mut stream = server.connect();
    stream.write_all(b"GET /huge HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let waited = Instant::now();
    let open = || {
        let open = connected(&server);
        assert!(waited.elapsed() < PATIENCE, "still open");
        open
    };
    // Nothing is read: once the socket's buffers are full the server waits, and then gives up.
    while open() {
        thread::sleep(Duration::from_millis(50));
    }
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken);
    assert!(taken.len() < 64 << 20, "the whole answer came");
}

/// Whether the server has connections besides the one that asks, as the kernel sees it.
fn connected(server: &Server) -> bool {
    let table = fs_err::read_to_string("/proc/net/tcp").unwrap();
    let port = format!("0100007F:{:04X}", server.address.port());
    // The server's side of an established connection has the state 01.
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&port) && fields.nth(1) == Some("01")
    })
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = start(|config| config.server.max_connections = 1);
    let mut first = server.connect();
    first.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut first).unwrap().status, 200);

    let refused = server.get("/hello");
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(refused.header("retry-after"), Some("2"));

    drop(first);
    let started = Instant::now();
    while server.get("/hello").status != 200 {
        assert!(started.elapsed() < PATIENCE, "the place never became free");
    }
}

#[test]
fn stopping_waits_for_requests_in_flight_and_closes_idle_connections() {
    let server = start(|_| ());
    let mut idle = server.connect();
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut idle).unwrap().status, 200);
    let mut silent = server.connect();
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    server.asked.recv_timeout(PATIENCE).unwrap();
    let waiting = thread::spawn(move || answer(&mut busy));

    let (address, release) = (server.address, server.release.clone());
    let stopping = thread::spawn(move || server.stop());
    assert!(closed_silently(&mut idle));
    assert!(closed_silently(&mut silent));
    assert!(TcpStream::connect(address).is_err(), "still listening");
    assert!(!stopping.is_finished(), "did not wait for the request in flight");
    release.notify_one();
    assert_eq!(waiting.join().unwrap().unwrap().body, "done");
    assert_eq!(stopping.join().unwrap(), Drained { cut: 0 });
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let server = start(|config| config.server.drain_deadline = micros(SHORT));
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    server.asked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(server.stop(), Drained { cut: 1 });
    assert!(answer(&mut busy).is_none());
}

//! A node in a process of its own.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::blocking::Client;
use serde_json::{Value as Json, json};

/// How to start one.
pub struct Launch {
    dir: PathBuf,
    env: Vec<(String, String)>,
    under: Vec<String>,
}

pub struct Server {
    child: Child,
    pub base: String,
    log: Arc<Mutex<VecDeque<String>>>,
}

const KEPT_LINES: usize = 60;

impl Launch {
    pub fn new(dir: &Path) -> Launch {
        let launch = Launch { dir: dir.to_owned(), env: Vec::new(), under: Vec::new() };
        launch
            .env("LARDER__LOG__FORMAT", "json")
            .env("LARDER__LOG__LEVEL", "warn,larder=info")
            .env("LARDER__INGEST__MIN_FREE_BYTES", "1MiB")
            .env("LARDER__DATA__RESERVE_BYTES", "0B")
            // Out of memory, a panic that is told with its backtrace waits for itself for ever, within the standard library.
            .env("RUST_BACKTRACE", "0")
            // Seal often, so that what happens falls into sealing and compaction too.
            .env("LARDER__OFFLINE__SEAL_AFTER", "100ms")
            .env("LARDER__OFFLINE__COMPACT_SEGMENTS", "4")
    }

    /// The last word on a name counts.
    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs `program arguments… larder serve …`; it must become the node (exec), not stay its parent.
    pub fn under(mut self, command: &[&str]) -> Launch {
        self.under = command.iter().map(|&part| part.to_owned()).collect();
        self
    }

    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|log| panic!("the node did not start:\n{log}"))
    }

    /// What it said, where it ends before it is ready.
    pub fn try_start(self) -> Result<Server, String> {
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&self.dir);
        command.envs(self.env).stderr(Stdio::piped());
        Server::from(command)
    }
}

impl Server {
    /// Waits until the command has said, on stderr, that its node is ready.
    pub fn from(mut command: Command) -> Result<Server, String> {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = String::new();
        let address = loop {
            let Some(line) = lines.next() else {
                let _ = child.wait();
                return Err(seen);
            };
            if let Ok(event) = serde_json::from_str::<Json>(&line)
                && event["message"] == "ready"
            {
                break event["address"].as_str().unwrap().to_owned();
            }
            seen += &line;
            seen.push('\n');
        };
        // Keep reading, or the node would block on a full pipe.
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let keep = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines {
                let mut log = keep.lock().unwrap();
                if log.len() == KEPT_LINES {
                    log.pop_front();
                }
                log.push_back(line);
            }
        });
        Ok(Server { child, base: format!("http://{address}"), log })
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL; the same as dropping it.
    pub fn kill(self) {
        drop(self);
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `None` where it still runs after that long.
    pub fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + at_most;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() > deadline => return None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    pub fn apply(&self, definitions: &str) {
        let applied = client()
            .post(format!("{}/v1/registry/apply?allow_retire=true", self.base))
            .header("Content-Type", "application/toml")
            .body(definitions.to_owned())
            .send()
            .unwrap();
        assert_eq!(applied.status(), 200, "{}", applied.text().unwrap());
    }

    /// Status and body; status 0 where there was no answer.
    pub fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        match client().post(format!("{}{path}", self.base)).json(body).send() {
            Ok(response) => {
                let status = response.status().as_u16();
                (status, response.json().unwrap_or(Json::Null))
            }
            Err(_) => (0, Json::Null),
        }
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        match client().get(format!("{}{path}", self.base)).send() {
            Ok(response) => (response.status().as_u16(), response.text().unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// The newest values of the features of one entity.
    pub fn read(&self, features: &[&str], entity: Json) -> (u16, Json) {
        let body = json!({ "features": features, "entities": [entity] });
        let (status, answer) = self.post("/v1/online-features", &body);
        (status, answer["values"][0].clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also when a check has failed, so that no node is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `LARDER_BINARY`, a release build for what is to be measured, or the one that was built with the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("LARDER_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_larder").into(), PathBuf::from)
}

/// Connections of its own, so that nothing is kept alive to a node that is gone.
pub fn client() -> Client {
    Client::builder().timeout(Duration::from_secs(60)).build().unwrap()
}

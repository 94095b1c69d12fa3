//! The node, over HTTP.

use std::time::Duration;

use reqwest::blocking::{RequestBuilder, Response};
use serde_json::Value as Json;

use crate::cli::{CliError, Server};

/// A blocking client of one node.
pub struct Client {
    http: reqwest::blocking::Client,
    base: String,
    api_key: Option<String>,
}

/// Waits between tries of a request that the node was too busy for.
const BUSY_WAITS: [u64; 7] = [100, 200, 400, 800, 1600, 3200, 6400];
const TIMEOUT: Duration = Duration::from_secs(600);

impl Client {
    pub fn new(server: &Server) -> Result<Client, CliError> {
        if server.server.starts_with("https://") {
            return Err(CliError::Failed(
                "this build of larder speaks plain HTTP; reach a node behind TLS through a local proxy"
                    .to_owned(),
            ));
        }
        let http = reqwest::blocking::Client::builder().timeout(TIMEOUT).build().map_err(CliError::failed)?;
        let base = server.server.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        Ok(Client { http, base, api_key: server.api_key.clone() })
    }

    pub fn get(&self, path: &str) -> Result<Json, CliError> {
        let response = self.send(|| self.request(reqwest::Method::GET, path))?;
        response.json().map_err(CliError::failed)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(reqwest::Method::POST, path)
    }

    /// Sends, again where the node is too busy, and turns a problem into an error that says it in words.
    /// `request` must be safe to repeat.
    pub fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, CliError> {
        self.send_while(is_busy, request)
    }

    /// The same, again for as long as `again` says so of the status.
    pub fn send_while(
        &self,
        again: impl Fn(u16) -> bool,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, CliError> {
        let mut waits = BUSY_WAITS.iter();
        loop {
            let response = request().send().map_err(|e| self.unreachable(&e))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if again(status.as_u16())
                && let Some(wait) = waits.next()
            {
                std::thread::sleep(Duration::from_millis(*wait));
                continue;
            }
            return Err(CliError::Refused(problem(status.as_u16(), response)));
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        if error.is_connect() {
            CliError::Failed(format!("no node answers at {}; start one with `larder serve`", self.base))
        } else {
            CliError::Failed(format!("{}: {error}", self.base))
        }
    }
}

pub fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// At most so many of a problem's errors are printed.
const SHOWN: usize = 10;

fn problem(status: u16, response: Response) -> String {
    let text = response.text().unwrap_or_default();
    let Ok(body) = serde_json::from_str::<Json>(&text) else { return format!("{status}: {text}") };
    let detail = body["detail"].as_str().or_else(|| body["title"].as_str()).unwrap_or("refused");
    let mut message = format!("{detail} ({status})");
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for error in errors.iter().take(SHOWN) {
        message.push_str("\n  ");
        if let Some(row) = error["row"].as_u64() {
            message.push_str(&format!("row {row}: "));
        }
        if let Some(field) = error["field"].as_str() {
            message.push_str(&format!("{field}: "));
        }
        message.push_str(error["reason"].as_str().unwrap_or_default());
    }
    if errors.len() > SHOWN {
        message.push_str(&format!("\n  and {} more", errors.len() - SHOWN));
    }
    for broken in body["breaking"].as_array().map(Vec::as_slice).unwrap_or_default() {
        message.push_str(&format!(
            "\n  {} {}: {}",
            broken["kind"].as_str().unwrap_or_default(),
            broken["name"].as_str().unwrap_or_default(),
            broken["reason"].as_str().unwrap_or_default()
        ));
    }
    for retired in body["retired"].as_array().map(Vec::as_slice).unwrap_or_default() {
        message.push_str(&format!(
            "\n  - {} {}",
            retired["kind"].as_str().unwrap_or_default(),
            retired["name"].as_str().unwrap_or_default()
        ));
    }
    message
}

//! `larder explain`: why the values of an entity are what they are.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::{
    CliError, Client, Server, WantedArgs,
    get::{key_type, request_type, rows, text},
};

#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    wanted: WantedArgs,
    /// Join keys of one entity, `key=value`, also several separated by commas.
    #[arg(long = "entity", required = true, num_args = 1.., value_name = "K=V")]
    entity: Vec<String>,
    /// Columns of the request for on-demand features, `column=value`.
    #[arg(long = "request", num_args = 1.., value_name = "K=V")]
    request: Vec<String>,
    /// Values at this time (RFC 3339) instead of now.
    #[arg(long)]
    as_of: Option<String>,
    /// Ignore what was accepted after this time (RFC 3339).
    #[arg(long)]
    known_at: Option<String>,
    /// Events of each window that are printed.
    #[arg(long, default_value_t = 5)]
    events: usize,
    /// Print the node's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Explain {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let catalog = client.get("/v1/registry")?;
        let mut body = json!({ "entities": rows(&self.entity, |key| key_type(&catalog, key))? });
        if !self.request.is_empty() {
            body["request"] = json!(rows(&self.request, |column| request_type(&catalog, column))?);
        }
        match (&self.wanted.service, &self.wanted.features) {
            (Some(service), _) => body["feature_service"] = json!(service),
            (None, features) => body["features"] = json!(features),
        }
        for (key, time) in [("as_of", &self.as_of), ("known_at", &self.known_at)] {
            if let Some(time) = time {
                body[key] = json!(time);
            }
        }
        let answer = client.send(|| client.post("/v1/explain").json(&body))?;
        let answer: Json = answer.json().map_err(CliError::failed)?;
        if self.json {
            println!("{answer:#}");
        } else {
            self.print(&answer);
        }
        Ok(())
    }

    fn print(&self, answer: &Json) {
        println!("at {}", text(&answer["at"]));
        for value in answer["values"].as_array().into_iter().flatten() {
            let cell = |key: &str| text(&value[key]);
            println!(
                "{} = {}  {}  ({}@{})",
                cell("feature"),
                cell("value"),
                cell("status"),
                cell("view"),
                cell("view_version")
            );
            println!("  {}", cell("reason"));
            let (version, window) = (&value["from_version"], &value["from_window"]);
            if version.is_object() {
                print_version(version);
            }
            if window.is_object() {
                self.print_window(window);
            }
            for input in value["computed"]["inputs"].as_array().into_iter().flatten() {
                println!(
                    "    {} = {}  ({})",
                    text(&input["column"]),
                    text(&input["value"]),
                    text(&input["from"])
                );
            }
        }
    }

    fn print_window(&self, window: &Json) {
        let cell = |key: &str| text(&window[key]);
        let of = match window["column"].as_str() {
            Some(column) => format!("{} of {column}", cell("function")),
            None => cell("function"),
        };
        let filter = window["filter"].as_str().map_or(String::new(), |filter| format!(" where {filter}"));
        println!(
            "  {of}{filter} over [{}, {}), by {}: {} events",
            cell("start"),
            cell("end"),
            cell("answered_by"),
            cell("events_total")
        );
        let events = window["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in &events[events.len().saturating_sub(self.events)..] {
            let cell = |key: &str| text(&event[key]);
            println!(
                "    {:27}  seq {:>9}  accepted {:27}  {}",
                cell("event_time"),
                cell("seq"),
                cell("accepted_at"),
                cell("value")
            );
        }
    }
}

fn print_version(from: &Json) {
    let version = &from["version"];
    if !version.is_object() {
        return;
    }
    let cache = match from["cache_hit"].as_bool() {
        Some(true) => ", in the cache",
        Some(false) => ", not in the cache",
        None => "",
    };
    println!(
        "  by {}{cache}: event time {}, seq {}, accepted {}, ttl {}",
        text(&from["answered_by"]),
        text(&version["event_time"]),
        text(&version["seq"]),
        text(&version["accepted_at"]),
        text(&from["ttl"])
    );
}

//! `larder get`: one online read as a table or as JSON.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::{CliError, Client, Server, WantedArgs};

#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    wanted: WantedArgs,
    /// The join keys of one entity, `key=value[,key=value…]`; again for more entities.
    #[arg(long = "entity", required = true, value_name = "K=V[,K=V]")]
    entities: Vec<String>,
    /// Values at this time (RFC 3339) instead of now.
    #[arg(long)]
    as_of: Option<String>,
    /// Print the node's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Get {
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(&self.server)?;
        let catalog = client.get("/v1/registry")?;
        let entities = self.entities.iter().map(|e| entity(e, &catalog)).collect::<Result<Vec<_>, _>>()?;
        let answer = online(&client, &self.wanted, &entities, self.as_of.as_deref())?;
        if self.json {
            println!("{answer}");
        } else {
            print(&answer, &self.entities);
        }
        Ok(())
    }
}

/// Reads with statuses and event times.
pub fn online(
    client: &Client,
    wanted: &WantedArgs,
    entities: &[Json],
    as_of: Option<&str>,
) -> Result<Json, CliError> {
    let mut body = json!({ "entities": entities, "include": ["status", "event_time"] });
    match (&wanted.service, &wanted.features) {
        (Some(service), _) => body["feature_service"] = json!(service),
        (None, features) => body["features"] = json!(features),
    }
    if let Some(as_of) = as_of {
        body["as_of"] = json!(as_of);
    }
    client.send(|| client.post("/v1/online-features").json(&body))?.json().map_err(CliError::failed)
}

/// `k=v,k=v` as an object; a value is a number or a bool only where the join key of that name is one.
fn entity(text: &str, catalog: &Json) -> Result<Json, CliError> {
    let mut object = Map::new();
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(CliError::Failed(format!("`{pair}` is not `key=value`")));
        };
        let typed = match key_type(catalog, key) {
            Some("string") | None => Json::String(value.to_owned()),
            Some(_) => serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned())),
        };
        object.insert(key.to_owned(), typed);
    }
    Ok(Json::Object(object))
}

fn key_type<'a>(catalog: &'a Json, key: &str) -> Option<&'a str> {
    let entities = catalog["entities"].as_array()?;
    let mut keys = entities.iter().filter_map(|e| e["join_keys"].as_array()).flatten();
    keys.find(|k| k["name"] == key)?["type"].as_str()
}

/// One line per value: entity, feature, value, status, event time.
pub fn print(answer: &Json, entities: &[String]) {
    let names = answer["feature_names"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |matrix: &str, row: usize, column: usize| match &answer[matrix][row][column] {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let width = names.iter().filter_map(|n| n.as_str()).map(str::len).max().unwrap_or(0);
    for (row, entity) in entities.iter().enumerate() {
        println!("{entity}");
        for (column, name) in names.iter().enumerate() {
            println!(
                "  {:width$}  {:>24}  {:15}  {}",
                name.as_str().unwrap_or_default(),
                cell("values", row, column),
                cell("status", row, column),
                cell("event_time", row, column),
            );
        }
    }
}

//! `larder get`: one online read as a table or as JSON.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::{CliError, Client, Server, WantedArgs};

#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    wanted: WantedArgs,
    /// Join keys, `key=value`, also several separated by commas. A key that comes again begins the next entity.
    #[arg(long = "entity", required = true, num_args = 1.., value_name = "K=V")]
    entities: Vec<String>,
    /// What on-demand features take of the request, `column=value`, also several separated by commas: the same for all
    /// entities, or, where a column comes again, the next entity's.
    #[arg(long = "request", num_args = 1.., value_name = "K=V")]
    request: Vec<String>,
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
        let entities = rows(&self.entities, |key| key_type(&catalog, key))?;
        let request = match self.request.is_empty() {
            true => None,
            false => Some(rows(&self.request, |column| request_type(&catalog, column))?),
        };
        let answer = online(&client, &self.wanted, &entities, request, self.as_of.as_deref())?;
        if self.json {
            println!("{answer}");
        } else {
            print(&answer, &entities);
        }
        Ok(())
    }
}

/// Reads with statuses and event times. One row of `request` is for all entities.
pub fn online(
    client: &Client,
    wanted: &WantedArgs,
    entities: &[Json],
    request: Option<Vec<Json>>,
    as_of: Option<&str>,
) -> Result<Json, CliError> {
    let mut body = json!({ "entities": entities, "include": ["status", "event_time"] });
    if let Some(mut rows) = request {
        if rows.len() == 1 && entities.len() > 1 {
            rows = vec![rows[0].clone(); entities.len()];
        }
        body["request"] = json!(rows);
    }
    match (&wanted.service, &wanted.features) {
        (Some(service), _) => body["feature_service"] = json!(service),
        (None, features) => body["features"] = json!(features),
    }
    if let Some(as_of) = as_of {
        body["as_of"] = json!(as_of);
    }
    client.send(|| client.post("/v1/online-features").json(&body))?.json().map_err(CliError::failed)
}

/// `k=v` pairs as objects: a key that comes again begins the next. A value is other than text only where its key's type is.
pub fn rows<'a>(
    arguments: &[String],
    type_of: impl Fn(&str) -> Option<&'a str>,
) -> Result<Vec<Json>, CliError> {
    let mut entities = vec![Map::new()];
    for pair in arguments.iter().flat_map(|argument| pairs(argument)) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(CliError::Usage(format!("`{pair}` is not `key=value`")));
        };
        let typed = match type_of(key) {
            Some("string" | "uuid") | None => Json::String(value.to_owned()),
            Some(_) => serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned())),
        };
        if entities.last().is_some_and(|entity| entity.contains_key(key)) {
            entities.push(Map::new());
        }
        if let Some(entity) = entities.last_mut() {
            entity.insert(key.to_owned(), typed);
        }
    }
    Ok(entities.into_iter().map(Json::Object).collect())
}

/// The pairs of one argument: a comma separates two only where another `=` follows, so values may hold commas.
fn pairs(argument: &str) -> Vec<String> {
    let mut pairs: Vec<String> = Vec::new();
    for part in argument.split(',') {
        match pairs.last_mut() {
            Some(last) if !part.contains('=') => {
                last.push(',');
                last.push_str(part);
            }
            _ => pairs.push(part.to_owned()),
        }
    }
    pairs
}

pub fn key_type<'a>(catalog: &'a Json, key: &str) -> Option<&'a str> {
    let entities = catalog["entities"].as_array()?;
    let mut keys = entities.iter().filter_map(|e| e["join_keys"].as_array()).flatten();
    keys.find(|k| k["name"] == key)?["type"].as_str()
}

pub fn request_type<'a>(catalog: &'a Json, column: &str) -> Option<&'a str> {
    let views = catalog["feature_views"].as_array()?;
    let mut columns = views.iter().filter_map(|view| view["request"].as_array()).flatten();
    columns.find(|known| known["name"] == column)?["type"].as_str()
}

/// One line per value: entity, feature, value, status, event time.
pub fn print(answer: &Json, entities: &[Json]) {
    let names = answer["feature_names"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |matrix: &str, row: usize, column: usize| text(&answer[matrix][row][column]);
    let width = names.iter().filter_map(|n| n.as_str()).map(str::len).max().unwrap_or(0);
    for (row, entity) in entities.iter().enumerate() {
        let keys = entity.as_object().into_iter().flatten();
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key}={}", text(value))).collect();
        println!("{}", keys.join(" "));
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

/// A value for people.
pub fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_again_begins_the_next_entity() {
        let catalog = json!({ "entities": [{ "join_keys": [{ "name": "id", "type": "int64" }, { "name": "s", "type": "string" }, { "name": "u", "type": "uuid" }] }] });
        let read = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            rows(&arguments, |key| key_type(&catalog, key)).unwrap()
        };
        assert_eq!(read(&["id=1,s=2,u=3"]), [json!({ "id": 1, "s": "2", "u": "3" })]);
        assert_eq!(read(&["id=1", "s=a,b"]), [json!({ "id": 1, "s": "a,b" })]);
        assert_eq!(read(&["id=1", "id=2"]), [json!({ "id": 1 }), json!({ "id": 2 })]);
        let catalog = json!({ "feature_views": [{}, { "request": [{ "name": "km", "type": "float64" }] }] });
        let brought = rows(&["km=1.5,how=fast".to_owned()], |column| request_type(&catalog, column)).unwrap();
        assert_eq!(brought, [json!({ "km": 1.5, "how": "fast" })]);
        assert!(rows(&["id".to_owned()], |_| None).is_err());
    }
}

//! Training sets that the node keeps: built and verified there by jobs, with a progress bar here.

use std::{path::Path, time::Duration};

use arrow::{array::RecordBatch, compute::concat_batches};
use serde_json::Value as Json;

use crate::{
    cli::{
        CliError, Client,
        progress::{bar, count},
        training_set::{Asked, Leaks, encode_spine, print_leaks},
    },
    format::Format,
};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

pub(super) fn build(
    client: &Client,
    asked: &Asked<'_>,
    name: &str,
    out: Option<&Path>,
) -> Result<(), CliError> {
    let format = match out {
        Some(out) => Format::from_path(out).map_err(CliError::usage)?.0,
        None => Format::Parquet,
    };
    let reader = asked.open(client)?;
    let schema = reader.schema().clone();
    let batches: Result<Vec<RecordBatch>, _> = reader.collect();
    let batches = batches.map_err(|e| asked.unreadable(&e))?;
    let body =
        bytes::Bytes::from(encode_spine(&concat_batches(&schema, &batches).map_err(CliError::failed)?)?);
    let mut query = asked.query();
    query.extend([("name", name.to_owned()), ("format", format.to_string())]);
    query.extend(asked.known_at().map(|known_at| ("known_at", known_at.to_owned())));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let job = client.send(|| {
        client
            .post(&format!("/v1/training-sets/jobs?{query}"))
            .header("Content-Type", Format::Parquet.media_type())
            .body(body.clone())
    })?;
    let job = ended(client, job.json().map_err(CliError::failed)?, name)?;
    let manifest = &job["manifest"];
    let rows = count(manifest["rows"].as_u64().unwrap_or(0));
    let sha256 = manifest["data"]["sha256"].as_str().unwrap_or_default();
    eprintln!("{name}@{}: {rows} rows, sha256 {sha256}", manifest["version"]);
    let leaks: Leaks = manifest["leaks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|leak| {
            let number = |name: &str| leak[name].as_u64().unwrap_or(0);
            let feature = leak["feature"].as_str().unwrap_or_default().to_owned();
            (feature, (number("within_lag"), number("accepted_later")))
        })
        .collect();
    print_leaks(&leaks);
    if let Some(out) = out {
        download(client, &job, out)?;
        eprintln!("→ {}", out.display());
    }
    Ok(())
}

pub(super) fn verify(client: &Client, set: &str) -> Result<(), CliError> {
    let (name, version) = match set.split_once('@') {
        Some((name, version)) => (name, format!("?version={version}")),
        None => (set, String::new()),
    };
    let begun = client.send(|| client.post(&format!("/v1/training-sets/{name}/verify{version}")))?;
    let job = ended(client, begun.json().map_err(CliError::failed)?, set)?;
    let verdict = &job["verdict"];
    let set = job["set"].as_str().unwrap_or(set);
    if verdict["matches"] == true {
        let sha256 = verdict["sha256"].as_str().unwrap_or_default();
        eprintln!("{set} was made again byte for byte: sha256 {sha256}");
        return Ok(());
    }
    let mut message = format!("{set} is not what it was");
    for difference in verdict["differences"].as_array().into_iter().flatten() {
        message.push_str("\n  ");
        message.push_str(difference.as_str().unwrap_or_default());
    }
    Err(CliError::Refused(message))
}

/// Waits for a job's end, which must be a good one.
fn ended(client: &Client, mut job: Json, what: &str) -> Result<Json, CliError> {
    let path = format!("/v1/training-sets/jobs/{}", job["id"].as_str().unwrap_or_default());
    let progress = bar(job["rows_total"].as_u64().unwrap_or(0), what);
    while matches!(job["state"].as_str(), Some("queued" | "running")) {
        progress.set_position(job["rows_done"].as_u64().unwrap_or(0));
        std::thread::sleep(POLL);
        job = client.get(&path)?;
    }
    progress.finish_and_clear();
    match job["state"].as_str() {
        Some("done") => Ok(job),
        state => {
            let error = job["error"].as_str().unwrap_or_default();
            Err(CliError::Refused(format!("the job is {}: {error}", state.unwrap_or_default())))
        }
    }
}

/// Under a temporary name until it is whole.
fn download(client: &Client, job: &Json, out: &Path) -> Result<(), CliError> {
    let path = format!("/v1/training-sets/jobs/{}/data", job["id"].as_str().unwrap_or_default());
    let mut response = client.send(|| client.request(reqwest::Method::GET, &path))?;
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    let part = std::path::PathBuf::from(part);
    let failed = |source| CliError::File { path: part.clone(), source };
    let copied = std::fs::File::create(&part).map_err(failed).and_then(|mut file| {
        response.copy_to(&mut file).map_err(CliError::failed)?;
        std::fs::rename(&part, out).map_err(|source| CliError::File { path: out.to_owned(), source })
    });
    if copied.is_err() {
        // What did not become whole is not left behind.
        let _ = std::fs::remove_file(&part);
    }
    copied
}

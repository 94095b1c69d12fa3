//! The data of training sets, streamed from their files; whole, or the part that a `Range` asks for.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;

use crate::{
    doors::{Action, Caller, Resource},
    format::Format,
    http::{App, Problem, ProblemBody, media, sets::VersionQuery},
    serve::sets::{Manifest, SetError, SetRef},
};

/// Bytes that are read at a time.
const STEP: usize = 1 << 18;

#[utoipa::path(get, path = "/v1/training-sets/{name}/data", tag = "serving",
    extensions(("x-action" = json!("read_training")), ("x-timeout" = json!("read"))), params(("name" = String, Path), VersionQuery),
    responses((status = 200, description = "the file; its SHA-256 is the `ETag`", content_type = "application/vnd.apache.parquet"),
        (status = 206, description = "the bytes that `Range` asks for; with an `If-Range` that is not the `ETag`, 200 and the whole file"),
        (status = 304, description = "`If-None-Match` has the hash"), (status = 404, body = ProblemBody)))]
pub async fn of_set(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let set = SetRef { name, version: query.version };
    let resource = set.name.clone();
    let found =
        app.doors.with_sets(&caller, Action::ReadTraining, Resource::TrainingSet(&resource), move |sets| {
            let folder = sets.folder();
            let manifest = folder.manifest(&set)?;
            let (_, dir) = folder.find(&SetRef { version: manifest.version, ..set })?;
            open(manifest, dir)
        });
    answer(found.await?, &method, &headers)
}

#[utoipa::path(get, path = "/v1/training-sets/jobs/{id}/data", tag = "serving",
    extensions(("x-action" = json!("read_training")), ("x-timeout" = json!("read"))), params(("id" = String, Path)),
    responses((status = 200, description = "what the job has made, as of a named set",
            content_type = "application/vnd.apache.parquet"),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody, description = "it has not made it yet")))]
pub async fn of_job(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.doors.with_sets(&caller, Action::ReadTraining, Resource::Node, move |sets| {
        let (manifest, dir) = sets.data_of_job(&id)?;
        open(manifest, dir)
    });
    answer(found.await?, &method, &headers)
}

fn open(manifest: Manifest, dir: PathBuf) -> Result<(Manifest, File), SetError> {
    let path = dir.join(&manifest.data.file);
    match File::open(&path) {
        Ok(file) => Ok((manifest, file)),
        Err(error) => Err(SetError::Damaged { path, reason: error.to_string() }),
    }
}

fn answer(
    (manifest, mut file): (Manifest, File),
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", manifest.data.sha256);
    let known = media::text(headers, header::IF_NONE_MATCH.as_str())?;
    // Whether the client has these bytes: a cache that has marked them as weak has them, too.
    let has = |tag: &str| tag.trim().trim_start_matches("W/") == etag;
    if known.is_some_and(|known| known.trim() == "*" || known.split(',').any(has)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let total = manifest.data.bytes;
    let asked = media::text(headers, header::RANGE.as_str())?;
    let condition = media::text(headers, header::IF_RANGE.as_str())?;
    // Of other data a part would be of no use beside the parts that the client has. A weak tag says too little, and a date is
    // none of these data's. Only GET has ranges.
    let asked =
        asked.filter(|_| method == Method::GET && condition.as_deref().is_none_or(|tag| tag.trim() == etag));
    let (status, range) = match asked.as_deref().map(|text| range(text, total)) {
        None | Some(Asked::All) => (StatusCode::OK, 0..total),
        Some(Asked::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Asked::Outside) => {
            let detail = format!("the data have {total} bytes; there are none in this range");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail);
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{total}"))], problem).into_response());
        }
    };
    file.seek(SeekFrom::Start(range.start)).map_err(|e| Problem::internal(e.to_string()))?;
    let format: Format = manifest.order.format.parse().unwrap_or(Format::Parquet);
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, format.media_type())
        .header(header::CONTENT_LENGTH, range.end - range.start)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag);
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        response = response.header(header::CONTENT_RANGE, part);
    }
    response.body(body(file, range.end - range.start)).map_err(|e| Problem::internal(e.to_string()))
}

#[derive(Debug, PartialEq)]
enum Asked {
    /// Also where a range is of a kind that is not read here: a server may ignore it.
    All,
    Part(Range<u64>),
    Outside,
}

/// One range: `bytes=0-99`, `bytes=100-`, `bytes=-100`. Several are answered with everything, as are those that are none.
fn range(text: &str, total: u64) -> Asked {
    let bytes = text.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = bytes.and_then(|(_, range)| range.trim().split_once('-')) else {
        return Asked::All;
    };
    if [first, last].iter().any(|number| !number.bytes().all(|b| b.is_ascii_digit())) {
        return Asked::All;
    }
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.is_empty() => first..total,
        (Err(_), Ok(count)) if first.is_empty() => total.saturating_sub(count)..total,
        _ => return Asked::All,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Outside }
}

/// The next `bytes` of the file. A file that ends early breaks the connection off: the client sees that bytes are missing.
fn body(file: File, bytes: u64) -> Body {
    Body::from_stream(stream::try_unfold((file, bytes), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let step = tokio::task::spawn_blocking(move || -> std::io::Result<(Bytes, File)> {
            let mut buffer = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(STEP)];
            file.read_exact(&mut buffer)?;
            Ok((Bytes::from(buffer), file))
        });
        let (bytes, file) = step.await.map_err(std::io::Error::other)??;
        let left = left - bytes.len() as u64;
        Ok::<_, std::io::Error>(Some((bytes, (file, left))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes=0-0", 10), Asked::Part(0..1));
        assert_eq!(range("bytes=3-", 10), Asked::Part(3..10));
        assert_eq!(range("bytes=-4", 10), Asked::Part(6..10));
        assert_eq!(range("bytes=5-99", 10), Asked::Part(5..10));
        assert_eq!(range("bytes=10-", 10), Asked::Outside);
        assert_eq!(range("Bytes=1-1", 10), Asked::Part(1..2));
        assert_eq!(range("bytes=-99", 10), Asked::Part(0..10));
        assert_eq!(range("bytes=-0", 10), Asked::Outside);
        for text in [
            "rows=1-2",
            "bytes=",
            "bytes=2-1",
            "bytes=1-2,4-5",
            "bytes=0-1,0-1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=a-",
        ] {
            assert_eq!(range(text, 10), Asked::All, "{text}");
        }
    }
}

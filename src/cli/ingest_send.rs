//! A file's chunks on their way to a node: two at once, stored in the order of the file.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread::ScopedJoinHandle,
};

use serde_json::Value as Json;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::cli::{CliError, Client, client::is_busy, ingest_file::Chunk};

/// Chunks read ahead of those that are being sent.
const READ_AHEAD: usize = 2;
/// Chunks that are on their way at once.
const AT_ONCE: usize = 2;

/// One file on its way to the node.
pub struct Sending<'a> {
    client: &'a Client,
    target: &'a str,
    path: &'a Path,
    run: Uuid,
    url: String,
    /// A chunk was refused: those after it have nothing to come after.
    given_up: AtomicBool,
}

/// A chunk that is stored, and what the node said of it.
pub struct Sent {
    pub rows: u64,
    /// How far this brings the progress bar.
    pub progress: u64,
    /// An earlier run had stored it.
    pub replayed: bool,
    pub answer: Json,
}

impl<'a> Sending<'a> {
    pub fn new(client: &'a Client, target: &'a str, path: &'a Path, run: Uuid, url: String) -> Sending<'a> {
        Sending { client, target, path, run, url, given_up: AtomicBool::new(false) }
    }

    /// Sends all chunks. While the node stores one it decodes the next and this side reads ahead; each names the one before
    /// it, so they are stored in their order. `sent` is told of each, in order.
    pub fn all(
        &self,
        chunks: impl Iterator<Item = Result<Chunk, CliError>> + Send,
        mut sent: impl FnMut(Sent),
    ) -> Result<(), CliError> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(READ_AHEAD);
            scope.spawn(move || {
                for chunk in chunks {
                    if sender.send(chunk).is_err() {
                        break;
                    }
                }
            });
            let mut on_the_way = VecDeque::new();
            let mut before = None;
            // Moved in, so that the reader ends where this does.
            for chunk in receiver {
                let chunk = chunk?;
                let key = chunk_key(self.run, self.target, self.path, &self.url, &chunk);
                let after = before.replace(key.clone());
                on_the_way.push_back(scope.spawn(move || self.one(chunk, &key, after.as_deref())));
                if on_the_way.len() == AT_ONCE
                    && let Some(first) = on_the_way.pop_front()
                {
                    sent(joined(first)?);
                }
            }
            for last in on_the_way {
                sent(joined(last)?);
            }
            Ok(())
        })
    }

    fn one(&self, chunk: Chunk, key: &str, after: Option<&str>) -> Result<Sent, CliError> {
        let body = bytes::Bytes::from(chunk.body);
        // 409: the chunk before was not taken yet, perhaps since the node was too busy for it.
        let again = |status| (is_busy(status) || status == 409) && !self.given_up.load(Ordering::Relaxed);
        let response = self.client.send_while(again, || {
            let request = self
                .client
                .post(&self.url)
                .header("Content-Type", chunk.format.media_type())
                .header("Idempotency-Key", key)
                .body(body.clone());
            match after {
                Some(after) => request.header("Ingest-After", after),
                None => request,
            }
        });
        let response = response.map_err(|error| {
            self.given_up.store(true, Ordering::Relaxed);
            let last = chunk.first_row + chunk.rows;
            CliError::Refused(format!("{}, rows {} to {last}: {error}", self.path.display(), chunk.first_row))
        })?;
        let replayed = response.headers().contains_key("idempotency-replayed");
        let answer = response.json().map_err(CliError::failed)?;
        Ok(Sent { rows: chunk.rows, progress: chunk.progress, replayed, answer })
    }
}

fn joined(sent: ScopedJoinHandle<'_, Result<Sent, CliError>>) -> Result<Sent, CliError> {
    sent.join()
        .unwrap_or_else(|_| Err(CliError::Failed("a thread that sends rows ended in a panic".to_owned())))
}

/// The same for the same bytes at the same place of the same file in the same run, so that a run can be gone on with; two
/// files with the same rows are two files, and so are two runs. What is made of the rows (`url`) is part of it, as it is for the
/// node.
fn chunk_key(run: Uuid, table: &str, path: &Path, url: &str, chunk: &Chunk) -> String {
    let mut hash = Xxh3::new();
    hash.update(run.as_bytes());
    hash.update(table.as_bytes());
    hash.update(url.as_bytes());
    hash.update(
        std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_encoded_bytes(),
    );
    hash.update(&chunk.first_row.to_le_bytes());
    hash.update(&chunk.body);
    format!("larder-ingest-{:032x}", hash.digest128())
}

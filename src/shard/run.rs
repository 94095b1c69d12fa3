//! The record of a run of a batch feature view, as it is stored and shown.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{BatchId, TableId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Due, or waiting for its next attempt.
    Queued,
    Running,
    Done,
    /// Given up.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Schedule,
    Request,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// Of the view, from 1.
    pub number: u64,
    /// What the run computes is known as of this moment.
    pub moment: Timestamp,
    pub cause: Cause,
    pub state: RunState,
    /// Of the view, when the run last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Of an incremental query: it covers what came after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Failed attempts.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// Of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Parts of its rows that are stored …
    #[serde(default)]
    pub parts: u32,
    /// … and rows in them.
    #[serde(default)]
    pub rows: u64,
    /// By table: only rows with `_seq` below this are seen. Fixed from the first part on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub below_seq: BTreeMap<String, u64>,
    /// Of the query's text, when the run last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<u64>,
}

impl Run {
    pub fn queued(number: u64, moment: Timestamp, cause: Cause) -> Run {
        Run {
            number,
            moment,
            cause,
            state: RunState::Queued,
            version: None,
            from: None,
            attempts: 0,
            next_try: None,
            error: None,
            started: None,
            finished: None,
            parts: 0,
            rows: 0,
            below_seq: BTreeMap::new(),
            query: None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, RunState::Queued | RunState::Running)
    }

    /// The batch of the part that was stored last: the same each time that it is written.
    pub fn batch_id(&self, view: TableId) -> BatchId {
        self.batch_of(view, self.parts)
    }

    /// Whether one of the parts that are stored came in one of `batches`.
    pub fn is_in(&self, view: TableId, batches: &[BatchId]) -> bool {
        (1..=self.parts).any(|part| batches.contains(&self.batch_of(view, part)))
    }

    /// As if none of its parts were stored: what there is of them is superseded by what it computes then.
    pub fn begin_anew(&mut self, why: &str) {
        (self.state, self.parts, self.rows) = (RunState::Queued, 0, 0);
        (self.attempts, self.next_try, self.finished) = (0, None, None);
        self.error = Some(why.to_owned());
    }

    fn batch_of(&self, view: TableId, part: u32) -> BatchId {
        let parts = [
            u64::from(view.0),
            u64::from(self.version.unwrap_or(0)),
            self.number,
            self.moment.micros().cast_unsigned(),
            u64::from(part),
        ];
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
        BatchId::from_bytes(xxh3_128(&bytes).to_be_bytes())
    }
}

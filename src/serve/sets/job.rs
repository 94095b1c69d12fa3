//! A job: what it is to do, and how far it is.

use crate::{
    model::{BatchId, Timestamp},
    serve::sets::{Manifest, Order, SetRef},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed | JobState::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    Build {
        /// Under which the result is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    Verify {
        set: SetRef,
    },
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// What is stored is what the manifest says, and it was made again byte for byte.
    pub matches: bool,
    /// Of the data made again; none where they could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In words, where it does not match.
    pub differences: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    pub id: BatchId,
    #[serde(flatten)]
    pub task: Task,
    pub state: JobState,
    pub created_at: Timestamp,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    pub rows_done: u64,
    pub rows_total: u64,
    #[serde(default)]
    pub error: Option<String>,
    /// Of what was built.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

impl Job {
    /// One that nobody has begun with.
    pub(super) fn queued(id: BatchId, task: Task, created_at: Timestamp) -> Job {
        Job {
            id,
            task,
            state: JobState::Queued,
            created_at,
            started_at: None,
            finished_at: None,
            rows_done: 0,
            rows_total: 0,
            error: None,
            manifest: None,
            verdict: None,
        }
    }
}

/// `job.json`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct StoredJob {
    pub job: Job,
    /// Of a job that builds.
    #[serde(default)]
    pub order: Option<Order>,
    /// How often a process has begun with it and not come to its end.
    #[serde(default)]
    pub attempts: u32,
    /// That it is to end was acknowledged.
    #[serde(default)]
    pub cancelled: bool,
}

//! Every background job of the node in one list, whatever its kind.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    backfill::{Backfill, BackfillState},
    backup,
    doors::{Action, Caller, DoorError, Doors, Resource},
    model::Timestamp,
    serve::sets::{self, JobState, Task},
    shard::{Run, RunState},
    sql::RunError,
};

/// A kind of background job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Window state of a stream view, counted from history.
    Backfill,
    Backup,
    /// A run of a batch view.
    Run,
    /// A training set, built or verified.
    TrainingSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Waits for its turn, or for its next attempt.
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

/// A background job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedJob {
    pub kind: JobKind,
    /// Unique among the jobs of its kind.
    pub id: String,
    /// The view, the training set or the directory that it is about.
    pub subject: String,
    pub state: JobPhase,
    /// Events, rows or entries so far …
    pub done: u64,
    /// … of so many, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    #[schema(value_type = Option<String>)]
    pub started: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub finished: Option<Timestamp>,
    /// Of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The endpoint that says more.
    pub url: String,
}

impl Doors {
    /// All jobs that are remembered: those under way first, then those that ended last.
    pub async fn jobs(&self, caller: &Caller) -> Result<Vec<ListedJob>, DoorError> {
        let mut jobs: Vec<ListedJob> = self
            .with_sets(caller, Action::ReadJob, Resource::Node, |sets| Ok(sets.jobs()))
            .await?
            .into_iter()
            .map(of_set)
            .collect();
        jobs.extend(self.parts.backups.all().into_iter().map(of_backup));
        let catalog = self.parts.catalog.current();
        for view in catalog.feature_views.values() {
            if view.stream().is_some() {
                jobs.extend(self.parts.backfills.of(view).ok().map(of_backfill));
            }
            if view.batch().is_some() {
                match self.parts.runs.of(view) {
                    Ok(overview) => {
                        jobs.extend(overview.runs.into_iter().map(|run| of_run(&view.name, run)));
                    }
                    Err(error) => jobs.push(unreadable(&view.name, &error)),
                }
            }
        }
        let ended = |job: &ListedJob| !matches!(job.state, JobPhase::Queued | JobPhase::Running);
        jobs.sort_by(|a, b| {
            ended(a).cmp(&ended(b)).then(b.finished.cmp(&a.finished)).then(a.kind.cmp(&b.kind))
        });
        Ok(jobs)
    }
}

fn of_set(job: sets::Job) -> ListedJob {
    ListedJob {
        kind: JobKind::TrainingSet,
        subject: match &job.task {
            Task::Build { name } => name.clone().unwrap_or_default(),
            Task::Verify { set } => set.to_string(),
        },
        state: match job.state {
            JobState::Queued => JobPhase::Queued,
            JobState::Running => JobPhase::Running,
            JobState::Done => JobPhase::Done,
            JobState::Failed => JobPhase::Failed,
            JobState::Cancelled => JobPhase::Cancelled,
        },
        done: job.rows_done,
        total: Some(job.rows_total),
        started: job.started_at,
        finished: job.finished_at,
        error: job.error,
        url: format!("/v1/training-sets/jobs/{}", job.id),
        id: job.id.to_string(),
    }
}

fn of_backup(job: backup::Job) -> ListedJob {
    ListedJob {
        kind: JobKind::Backup,
        subject: job.dir.display().to_string(),
        state: match job.state {
            backup::JobState::Running => JobPhase::Running,
            backup::JobState::Done => JobPhase::Done,
            backup::JobState::Failed => JobPhase::Failed,
        },
        done: job.entries,
        total: None,
        started: Some(job.started_at),
        finished: job.finished_at,
        error: job.error,
        url: format!("/v1/admin/backup/{}", job.id),
        id: job.id.to_string(),
    }
}

fn of_backfill(backfill: Backfill) -> ListedJob {
    ListedJob {
        kind: JobKind::Backfill,
        id: format!("{}/{}", backfill.view, backfill.generation),
        state: match backfill.state {
            BackfillState::Backfilling => JobPhase::Running,
            BackfillState::Ready => JobPhase::Done,
        },
        done: backfill.events_done,
        total: Some(backfill.events_total),
        started: None,
        finished: None,
        error: backfill.error,
        url: format!("/v1/feature-views/{}/backfill", backfill.view),
        subject: backfill.view,
    }
}

/// Stands for the runs of a view whose records are damaged; other jobs are listed all the same.
fn unreadable(view: &str, error: &RunError) -> ListedJob {
    ListedJob {
        kind: JobKind::Run,
        id: format!("{view}/0"),
        subject: view.to_owned(),
        state: JobPhase::Failed,
        done: 0,
        total: None,
        started: None,
        finished: None,
        error: Some(error.to_string()),
        url: format!("/v1/feature-views/{view}/materialize"),
    }
}

fn of_run(view: &str, run: Run) -> ListedJob {
    ListedJob {
        kind: JobKind::Run,
        id: format!("{view}/{}", run.number),
        subject: view.to_owned(),
        state: match run.state {
            RunState::Queued => JobPhase::Queued,
            RunState::Running => JobPhase::Running,
            RunState::Done => JobPhase::Done,
            RunState::Failed => JobPhase::Failed,
        },
        done: run.rows,
        total: None,
        started: run.started,
        finished: run.finished,
        error: run.error,
        url: format!("/v1/feature-views/{view}/materialize"),
    }
}

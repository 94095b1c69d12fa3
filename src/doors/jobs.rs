//! Jobs: backfills, runs of batch views, named training sets, backups, and what the scrubber found.

use std::{path::PathBuf, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    backfill::Backfill,
    backup,
    doors::{Action, Caller, DoorError, Doors, Event, Resource, admission::Place},
    format::FormatError,
    model::Timestamp,
    offline::ScrubReport,
    registry::FeatureView,
    serve::sets::{Ask, Job, Manifest, SetError, SetRef, Sets},
    shard::Run,
    sql::Overview,
};

impl Doors {
    /// Counts a stream view's events anew, in the background.
    pub async fn start_backfill(
        &self,
        caller: &Caller,
        view: &str,
    ) -> Result<(Arc<FeatureView>, Backfill), DoorError> {
        self.authorise(caller, Action::RunJob, Resource::Table(view))?;
        self.parts.shards.status(0).check()?;
        let view = self.view(view)?;
        let backfill = self.parts.backfills.start(&view).await?;
        self.observers.tell(caller, &Event::Change { action: Action::RunJob, subject: &view.name });
        Ok((view, backfill))
    }

    pub fn backfill(&self, caller: &Caller, view: &str) -> Result<Backfill, DoorError> {
        self.authorise(caller, Action::ReadJob, Resource::Table(view))?;
        Ok(self.parts.backfills.of(&*self.view(view)?)?)
    }

    /// Requests runs of a batch view: as of now, or for each moment of its schedule in the range.
    pub async fn request_runs(
        &self,
        caller: &Caller,
        view: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<(Arc<FeatureView>, Vec<Run>), DoorError> {
        self.authorise(caller, Action::RunJob, Resource::Table(view))?;
        let view = self.view(view)?;
        let runs = self.parts.runs.request(&view, from, to).await?;
        self.observers.tell(caller, &Event::Change { action: Action::RunJob, subject: &view.name });
        Ok((view, runs))
    }

    pub fn runs(&self, caller: &Caller, view: &str) -> Result<Overview, DoorError> {
        self.authorise(caller, Action::ReadJob, Resource::Table(view))?;
        Ok(self.parts.runs.of(&self.view(view)?)?)
    }

    /// Named training sets and the jobs that build them, for work that may wait for the disk. `action` says what is done
    /// with `resource`.
    pub async fn with_sets<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
        work: impl FnOnce(&Sets) -> Result<T, SetError> + Send + 'static,
    ) -> Result<T, DoorError> {
        self.authorise(caller, action, resource)?;
        let sets = Arc::clone(&self.parts.sets);
        Ok(Doors::blocking("looking for a training set", move || work(&sets)).await??)
    }

    /// Stores a job that builds a training set of `spine`. Blocks.
    pub fn build_set(
        &self,
        caller: &Caller,
        ask: Ask,
        schema: &SchemaRef,
        spine: impl Iterator<Item = Result<RecordBatch, FormatError>>,
    ) -> Result<Job, DoorError> {
        self.authorise_wanted(caller, &ask.wanted)?;
        Ok(self.parts.sets.build(ask, schema, spine)?)
    }

    /// The newest version of a training set, or the one that `set` names.
    pub async fn manifest(&self, caller: &Caller, set: SetRef) -> Result<Manifest, DoorError> {
        let name = set.name.clone();
        let read = move |sets: &Sets| sets.folder().manifest(&set);
        self.with_sets(caller, Action::ReadJob, Resource::TrainingSet(&name), read).await
    }

    /// All versions of a training set, oldest first.
    pub async fn manifests(&self, caller: &Caller, name: String) -> Result<Vec<Manifest>, DoorError> {
        let set = name.clone();
        let read = move |sets: &Sets| match sets.folder().versions(&name)?.is_empty() {
            true => Err(SetError::Unknown(name)),
            false => sets.folder().manifests(&name),
        };
        self.with_sets(caller, Action::ReadJob, Resource::TrainingSet(&set), read).await
    }

    pub async fn delete_set(&self, caller: &Caller, name: String, version: u32) -> Result<(), DoorError> {
        let set = name.clone();
        let delete = move |sets: &Sets| sets.folder().delete(&name, version);
        self.with_sets(caller, Action::Delete, Resource::TrainingSet(&set), delete).await
    }

    /// The right to hand in a job that builds a training set; refused where too many are handed in.
    pub fn training_job_place(&self, caller: &Caller) -> Result<Place, DoorError> {
        self.authorise(caller, Action::RunJob, Resource::Node)?;
        self.admission.queue_training()
    }

    pub async fn start_backup(&self, caller: &Caller, dir: PathBuf) -> Result<backup::Job, DoorError> {
        self.authorise(caller, Action::Operate, Resource::Node)?;
        let backups = Arc::clone(&self.parts.backups);
        let job = Doors::blocking("the backup's start", move || backups.start(dir)).await??;
        self.observers.tell(caller, &Event::Change { action: Action::Operate, subject: "backup" });
        Ok(job)
    }

    pub fn backup(&self, caller: &Caller, id: &str) -> Result<Option<backup::Job>, DoorError> {
        self.authorise(caller, Action::Operate, Resource::Node)?;
        Ok(self.parts.backups.get(id))
    }

    pub fn scrub_report(&self, caller: &Caller) -> Result<ScrubReport, DoorError> {
        self.authorise(caller, Action::Operate, Resource::Node)?;
        Ok(self.parts.scrub.report())
    }

    fn view(&self, name: &str) -> Result<Arc<FeatureView>, DoorError> {
        Ok(Arc::clone(self.parts.catalog.current().feature_view(name, None)?))
    }
}

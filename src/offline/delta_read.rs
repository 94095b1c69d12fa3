//! Reading a table's Delta log and writing its checkpoints, through delta_kernel.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Array, AsArray, MapArray, RecordBatch},
    datatypes::{Int64Type, Schema, SchemaRef},
};
use delta_kernel::{
    Engine, KernelError, Snapshot, SnapshotRef,
    checkpoint::LastCheckpointHintStats,
    engine::{arrow_conversion::TryIntoArrow, arrow_data::EngineDataArrowExt},
};
use delta_kernel_default_engine::{
    DefaultEngine, DefaultEngineBuilder, executor::tokio::TokioMultiThreadExecutor,
};
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use tokio::runtime::{Handle, Runtime};
use url::Url;

use crate::offline::{
    OfflineError,
    delta_log::{APP_ID, Identity, log_dir},
    durable::{NewFile, sync_dir},
    log_check::{self, checkpoint_path, write_checkpoint_crc},
    segment::Segment,
    stats::read_bounds,
    tags::Tags,
};

/// A table as its log has it.
pub(super) struct Loaded {
    pub version: u64,
    pub sealed_seq: u64,
    pub schema: SchemaRef,
    pub identity: Identity,
    pub segments: Vec<Arc<Segment>>,
}

/// Reads logs on the local filesystem. Callable from any thread that may block.
pub(super) struct LogReader {
    engine: DefaultEngine<TokioMultiThreadExecutor>,
    /// None when someone else's is used.
    runtime: Option<Runtime>,
}

impl Drop for LogReader {
    fn drop(&mut self) {
        // A runtime that is dropped on a thread of another runtime panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl LogReader {
    /// With its own runtime of one worker, or on `runtime`, which must be multi-threaded: on a single-threaded one
    /// delta_kernel's checkpoints hang.
    pub fn new(runtime: Option<Handle>) -> Result<LogReader, std::io::Error> {
        let (handle, runtime) = match runtime {
            Some(handle) => (handle, None),
            None => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                let runtime = builder.worker_threads(1).thread_name("larder-delta").enable_all().build()?;
                (runtime.handle().clone(), Some(runtime))
            }
        };
        let engine = DefaultEngineBuilder::new(Arc::new(LocalFileSystem::new()))
            .with_task_executor(Arc::new(TokioMultiThreadExecutor::new(handle)))
            .build();
        Ok(LogReader { engine, runtime })
    }

    /// The newest state of the table in `dir`, an absolute path. `event_time` is its event-time column.
    pub fn load(&self, dir: &Path, event_time: &str) -> Result<Loaded, OfflineError> {
        apart(|| self.load_here(dir, event_time))
    }

    /// Writes a checkpoint of the newest version, so that opening does not read the whole log.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), OfflineError> {
        apart(|| self.checkpoint_here(dir))
    }

    fn load_here(&self, dir: &Path, event_time: &str) -> Result<Loaded, OfflineError> {
        let wrong = |error: KernelError| OfflineError::log(dir, error);
        log_check::check(dir)?;
        let snapshot = self.snapshot(dir)?;
        let schema: Schema = snapshot
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|error: arrow::error::ArrowError| OfflineError::log(dir, error))?;
        let sealed = snapshot.get_app_id_version(APP_ID, &self.engine).map_err(wrong)?.unwrap_or(0);
        let metadata = snapshot.table_configuration().metadata();
        let identity =
            Identity { id: metadata.id().to_owned(), created: metadata.created_time().unwrap_or(0) };
        let version = snapshot.version();

        let mut segments = Vec::new();
        let scan = snapshot.scan_builder().build().map_err(wrong)?;
        for part in scan.scan_metadata(&self.engine).map_err(wrong)? {
            let files = part.and_then(|part| part.scan_files.apply_selection_vector());
            let files = files.try_into_record_batch().map_err(wrong)?;
            read_files(dir, event_time, &files, &mut segments)?;
        }
        Ok(Loaded {
            version,
            sealed_seq: u64::try_from(sealed)
                .map_err(|_| OfflineError::log(dir, "negative transaction version"))?,
            schema: Arc::new(schema),
            identity,
            segments,
        })
    }

    fn checkpoint_here(&self, dir: &Path) -> Result<(), OfflineError> {
        let wrong = |error: KernelError| OfflineError::log(dir, error);
        let log = log_dir(dir);
        let snapshot = self.snapshot(dir)?;
        let version = snapshot.version();
        let path = checkpoint_path(dir, version);
        let checkpoint = snapshot.create_checkpoint_writer(&self.engine).map_err(wrong)?;
        let mut data = checkpoint.checkpoint_data(&self.engine).map_err(wrong)?;
        let state = data.state();

        let mut writer: Option<ArrowWriter<NewFile>> = None;
        for actions in data.by_ref() {
            let actions = actions.and_then(|actions| actions.apply_selection_vector());
            let actions = actions.try_into_record_batch().map_err(wrong)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => {
                    let made = ArrowWriter::try_new(NewFile::create(&log)?, actions.schema(), None);
                    writer.insert(made.map_err(OfflineError::write("writing", &path))?)
                }
            };
            writer.write(&actions).map_err(OfflineError::write("writing", &path))?;
        }
        drop(data);
        let Some(mut writer) = writer else { return Ok(()) };
        writer.finish().map_err(OfflineError::write("writing", &path))?;
        write_checkpoint_crc(dir, version, writer.inner().crc32c())?;
        let written = writer.inner_mut().rename(&path)?;
        sync_dir(&log)?;

        let state = Arc::into_inner(state)
            .ok_or_else(|| OfflineError::log(dir, "the checkpoint's iterator is still in use"))?;
        let hint =
            LastCheckpointHintStats::from_reconciliation_state(state, written.length, 0).map_err(wrong)?;
        // A torn or lost hint costs a listing of the directory and nothing else: it need not be synced.
        checkpoint.finalize(&self.engine, &hint).map_err(wrong)
    }

    fn snapshot(&self, dir: &Path) -> Result<SnapshotRef, OfflineError> {
        let url =
            Url::from_directory_path(dir).map_err(|()| OfflineError::log(dir, "the path is not absolute"))?;
        let engine: &dyn Engine = &self.engine;
        Snapshot::builder_for(url).build(engine).map_err(|error| OfflineError::log(dir, error))
    }
}

/// Runs `work` on a thread of its own and waits for it. delta_kernel's engine panics when it is called on a thread that
/// runs a single-threaded runtime, as an actix arbiter does.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Each row of `files` (delta_kernel's scan rows) is a file of the table.
fn read_files(
    dir: &Path,
    event_time: &str,
    files: &RecordBatch,
    out: &mut Vec<Arc<Segment>>,
) -> Result<(), OfflineError> {
    let wrong = |what: &str| OfflineError::log(dir, format!("an add action lacks its {what}"));
    let paths =
        files.column_by_name("path").and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| wrong("path"))?;
    let sizes = files
        .column_by_name("size")
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| wrong("size"))?;
    let stats = files.column_by_name("stats").and_then(|c| c.as_string_opt::<i32>());
    let tags = files
        .column_by_name("fileConstantValues")
        .and_then(|c| c.as_struct_opt())
        .and_then(|constants| constants.column_by_name("tags"))
        .and_then(|tags| tags.as_map_opt());
    for row in 0..files.num_rows() {
        let tags = Tags::read(|name| tags.and_then(|tags| tag(tags, row, name)));
        let stats = stats.filter(|stats| stats.is_valid(row)).map(|stats| stats.value(row));
        let bounds = stats.map(|stats| read_bounds(stats, &tags, event_time)).unwrap_or_default();
        let size = u64::try_from(sizes.value(row)).map_err(|_| wrong("size"))?;
        out.push(Arc::new(Segment::new(dir, paths.value(row).to_owned(), size, bounds, &tags, stats)));
    }
    Ok(())
}

fn tag(tags: &MapArray, row: usize, name: &str) -> Option<String> {
    if tags.is_null(row) {
        return None;
    }
    let entries = tags.value(row);
    let keys = entries.column(0).as_string_opt::<i32>()?;
    let values = entries.column(1).as_string_opt::<i32>()?;
    (0..entries.len())
        .find(|&i| keys.value(i) == name && values.is_valid(i))
        .map(|i| values.value(i).to_owned())
}

//! Reading everything that is stored again, slowly, so that a file that has changed on the disk is found before it is
//! needed.
//!
//! A pass goes over every table's segments and Delta log, a portion at a time. What is wrong is named in [`ScrubLog`]
//! until it is found right again or is no longer part of its table. A segment that is wrong is read by nobody: see
//! [`Segment::verify`].

use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    error::out_of_descriptors,
    metrics,
    model::Timestamp,
    offline::{
        OfflineError, OfflineStore, Segment, Table,
        delta_log::log_dir,
        durable::names,
        log_check::{check_file, log_version},
        segment::SegmentCheck,
    },
};

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// What opening a file counts for, however small it is: a long Delta log is many files.
const FILE_COST: u64 = 64 << 10;

/// A file whose content is not what was written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CorruptFile {
    pub table: String,
    pub file: PathBuf,
    pub reason: String,
    pub found_at: Timestamp,
}

/// What the scrub has found; shared with whoever reports it.
#[derive(Debug, Default)]
pub struct ScrubLog(Mutex<ScrubReport>);

#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct ScrubReport {
    /// When the last pass over everything ended; none until the first has.
    pub last_full_pass: Option<Timestamp>,
    /// Files and bytes that the pass under way has looked at.
    pub files_checked: u64,
    pub bytes_checked: u64,
    pub corrupt: Vec<CorruptFile>,
}

impl ScrubLog {
    pub fn report(&self) -> ScrubReport {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ScrubReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes over all tables of a store, again and again.
pub struct Scrubber {
    store: Arc<OfflineStore>,
    log: Arc<ScrubLog>,
    pass: VecDeque<Item>,
    /// The segment that is being read.
    open: Option<(Arc<Table>, Arc<Segment>, SegmentCheck)>,
}

/// What is still to be looked at. Weak: a pass must not keep replaced segments from being removed.
enum Item {
    Segment(Arc<Table>, Weak<Segment>),
    Log(Arc<Table>, String),
}

impl Scrubber {
    pub fn new(store: Arc<OfflineStore>) -> Scrubber {
        let (pass, log) = (plan(&store), Arc::clone(store.scrub_log()));
        Scrubber { store, log, pass, open: None }
    }

    /// Reads on for about `budget` bytes, at most to the end of the pass.
    pub fn step(&mut self, budget: u64, now: Timestamp) {
        let mut left = budget;
        while left > 0 {
            let (read, cost) = match self.open.take() {
                Some((table, segment, check)) => {
                    let read = self.read_on(table, segment, check, left, now);
                    (read, read)
                }
                None => match self.pass.pop_front() {
                    Some(item) => {
                        let read = self.begin(item, now);
                        (read, read.max(FILE_COST))
                    }
                    None => return self.end_pass(now),
                },
            };
            self.log.lock().bytes_checked += read;
            left = left.saturating_sub(cost);
        }
    }

    fn begin(&mut self, item: Item, now: Timestamp) -> u64 {
        match item {
            Item::Segment(table, segment) => {
                let Some(segment) = segment.upgrade() else { return 0 };
                match segment.begin_check() {
                    Ok(check) => self.open = Some((table, segment, check)),
                    Err(error) => self.note(&table, &segment.path, Err(error), now),
                }
                0
            }
            Item::Log(table, name) => {
                let path = log_dir(&table.dir).join(&name);
                let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
                self.note(&table, &path, check_file(&table.dir, &name), now);
                bytes
            }
        }
    }

    fn read_on(
        &mut self,
        table: Arc<Table>,
        segment: Arc<Segment>,
        mut check: SegmentCheck,
        left: u64,
        now: Timestamp,
    ) -> u64 {
        let most = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
        match check.step(&segment, most) {
            Ok(Some(read)) => {
                self.open = Some((table, segment, check));
                read as u64
            }
            Ok(None) => {
                self.note(&table, &segment.path, Ok(()), now);
                0
            }
            Err(error) => {
                self.note(&table, &segment.path, Err(error), now);
                0
            }
        }
    }

    /// Publishes what came of one file.
    fn note(&self, table: &Table, path: &Path, result: Result<(), OfflineError>, now: Timestamp) {
        if let Err(OfflineError::Io { source, .. }) = &result
            && out_of_descriptors(source)
        {
            // It was not looked at. The next pass will.
            return;
        }
        let mut report = self.log.lock();
        report.files_checked += 1;
        let known = report.corrupt.iter().position(|corrupt| corrupt.file == path);
        match (result, known) {
            (Ok(()), Some(at)) => {
                report.corrupt.remove(at);
            }
            (Err(error), None) => {
                tracing::error!(table = table.name(), %error, "the scrub found a corrupt file");
                report.corrupt.push(CorruptFile {
                    table: table.name().to_owned(),
                    file: path.to_owned(),
                    reason: error.to_string(),
                    found_at: now,
                });
            }
            _ => {}
        }
        let files = report.corrupt.iter().filter(|corrupt| corrupt.table == table.name()).count();
        metrics::record_corrupt_files(table.name(), files);
    }

    fn end_pass(&mut self, now: Timestamp) {
        self.pass = plan(&self.store);
        let mut report = self.log.lock();
        report.last_full_pass = Some(now);
        report.files_checked = 0;
        report.bytes_checked = 0;
        // What was replaced since is no longer anybody's trouble.
        let paths: HashSet<PathBuf> = self.pass.iter().filter_map(Item::path).collect();
        report.corrupt.retain(|corrupt| paths.contains(&corrupt.file));
        for table in self.store.opened() {
            let files = report.corrupt.iter().filter(|corrupt| corrupt.table == table.name()).count();
            metrics::record_corrupt_files(table.name(), files);
        }
    }
}

impl Item {
    fn path(&self) -> Option<PathBuf> {
        match self {
            Item::Segment(_, segment) => Some(segment.upgrade()?.path.clone()),
            Item::Log(table, name) => Some(log_dir(&table.dir).join(name)),
        }
    }
}

/// All files of all tables as they are now.
fn plan(store: &OfflineStore) -> VecDeque<Item> {
    let mut items = VecDeque::new();
    for table in store.opened() {
        let snapshot = table.snapshot();
        items.extend(snapshot.segments.iter().map(|s| Item::Segment(Arc::clone(&table), Arc::downgrade(s))));
        match names(&log_dir(&table.dir)) {
            Ok(names) => items.extend(
                names
                    .into_iter()
                    .filter(|name| log_version(name).is_some())
                    .map(|name| Item::Log(Arc::clone(&table), name)),
            ),
            Err(error) => tracing::error!(table = table.name(), %error, "cannot scrub the Delta log"),
        }
    }
    items
}

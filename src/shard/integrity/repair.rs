//! `larder repair`: a copy of the online store is mended and takes the damaged one's place, which is kept.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    clock::Clock,
    failpoint,
    model::{BatchId, TableId},
    registry::{Catalog, CatalogHandle, Registry},
    shard::{
        CommittedTables, FjallRegistryLog, ShardError, Store, TableState,
        integrity::{
            ONLINE, Watermark,
            aside::OPTIONS,
            doctor::inspect,
            format_file::{check_format, note_format},
            journal_check::JournalFile,
            mend::mend_table,
            preflight::lock,
            runs::{Losses, MendedRuns, mend_runs},
            salvage::{Salvage, salvage},
            swap::{resume, swap, workplace},
        },
        invariants::examine,
        recovery::{known_tables, recover, table_name},
        stream::forget_all,
    },
};

/// What was done.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct RepairReport {
    /// Where the online store is now as it was; none: nothing was wrong and nothing was changed.
    pub kept: Option<PathBuf>,
    pub journals: Vec<JournalFile>,
    pub lost: Vec<Lost>,
    pub lost_commits: Vec<LostCommits>,
    /// Versions of the registry that were acknowledged and are gone, from and to: apply the definitions again.
    pub registry_lost: Option<(u64, u64)>,
    /// Of batch feature views, where anything is to be said of their runs.
    #[serde(default)]
    pub runs: Vec<MendedRuns>,
}

/// Acknowledged rows that are gone.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Lost {
    pub table: String,
    /// Their numbers, from the first to before `until`.
    pub from: u64,
    pub until: u64,
    /// The rows are in the history; only what they would have changed online is gone, until the entities are next
    /// written.
    pub history_is_whole: bool,
    /// The batches that they were in, as far as the damaged journal can be read.
    pub batches: Vec<BatchId>,
}

/// Acknowledged commits that are gone and brought no row of history, as all of a view without history: what they
/// changed online is as it was before, until the entities are next written.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct LostCommits {
    pub table: String,
    /// Their numbers, from the first to before `until`.
    pub from: u64,
    pub until: u64,
    /// The batches of the table that can be read in the damaged journal: those that came with an `Idempotency-Key`.
    pub batches: Vec<BatchId>,
}

/// Repairs `data`, which no node may have open. Fails, and changes nothing, where what is left cannot be opened.
pub fn repair(data: &Path, clock: &Clock) -> Result<RepairReport, ShardError> {
    let online = data.join(ONLINE);
    let in_place =
        |error: io::Error| ShardError::Store(format!("cannot put the repaired store in its place: {error}"));
    // One repair at a time, and no node meanwhile. Without a lock file there is no store yet, or none any more.
    let lock = match lock(&online) {
        Ok(None) => {
            return Err(ShardError::Store(format!("{} is in use by another process", online.display())));
        }
        lock => lock.ok().flatten(),
    };
    if data.is_dir()
        && let Some(report) = resume(data).map_err(in_place)?
    {
        return Ok(report);
    }
    if !online.is_dir() {
        return Err(ShardError::Store(format!("{} is no data directory of larder", data.display())));
    }
    check_format(data)?;
    let place = workplace(data)?;
    failpoint::reach("repair.copied");
    let salvaged = salvage(&place.online())?;
    let watermark = Watermark::read(&online)?;
    let new_mark = Watermark::read(&place.online())?;
    let damaged_mark = !watermark.unreadable().is_empty();
    let (store, _) = Store::open_unchecked(&place.online(), OPTIONS, 1, watermark)?;
    let catalog = CatalogHandle::default();
    Registry::open(Box::new(FjallRegistryLog::new(store.clone())), clock.clone(), catalog.clone())
        .map_err(|e| ShardError::Damaged(e.to_string()))?;
    let catalog = catalog.current();
    let sealed = sealed(data, &catalog)?;
    let acknowledged = store.watermark.registry();
    let mut report = RepairReport {
        kept: None,
        journals: salvaged.files.clone(),
        lost: Vec::new(),
        lost_commits: Vec::new(),
        registry_lost: (acknowledged > catalog.version).then_some((catalog.version + 1, acknowledged + 1)),
        runs: Vec::new(),
    };
    let mut changed = mend(&store, &catalog, &sealed, &salvaged, &mut report)?;
    changed |= !report.runs.is_empty();
    if !(changed || damaged_mark || salvaged.is_damaged() || report.registry_lost.is_some()) {
        return Ok(report);
    }
    // They may count events that are lost, or lack some that are not.
    forget_all(&store)?;
    let states = known_tables(&store, &sealed)?.into_iter();
    let states = states.map(|table| Ok((table, examine(&store, table, 0, None)?.state)));
    let states: BTreeMap<TableId, TableState> = states.collect::<Result<_, ShardError>>()?;
    store.watermark.reset_to(&states, catalog.version);
    let left = recover(&store, &CommittedTables::default(), clock, &catalog, &sealed)?;
    if !left.is_empty() {
        return Err(ShardError::Damaged(format!(
            "this is beyond repair, restore a backup; nothing was changed: {}",
            left.join("; ")
        )));
    }
    store.db.persist(fjall::PersistMode::SyncAll)?;
    drop(store);
    new_mark.create(&states, catalog.version)?;
    note_format(data)?;
    failpoint::reach("repair.mended");
    let now = chrono::DateTime::from_timestamp_micros(clock.now().micros()).unwrap_or_default();
    report.kept = Some(data.join(format!("{ONLINE}.damaged-{}", now.format("%Y%m%dT%H%M%S%.6fZ"))));
    swap(data, &place, &report).map_err(in_place)?;
    drop(lock);
    Ok(report)
}

/// What the Delta logs hold; a log that cannot be read must be restored first.
fn sealed(data: &Path, catalog: &Catalog) -> Result<BTreeMap<TableId, u64>, ShardError> {
    let schemas = || catalog.tables.values().filter_map(|schemas| schemas.last());
    let found = inspect(data, schemas(), false)?;
    for schema in schemas() {
        let path = data.join(super::OFFLINE).join(&schema.name).join("_delta_log");
        if let Some(table) = found.get(&schema.table)
            && table.sealed_seq == 0
            && let Some(problem) = table.problems.first()
            && path.exists()
        {
            return Err(ShardError::Damaged(format!(
                "table `{}`: {problem}; the online store is repaired once the offline store can be read, nothing \
                 was changed",
                schema.name
            )));
        }
    }
    Ok(found.into_iter().map(|(table, found)| (table, found.sealed_seq)).collect())
}

/// Whether anything had to be mended; adds what is lost, and what became of runs, to the report.
fn mend(
    store: &Store,
    catalog: &Catalog,
    sealed: &BTreeMap<TableId, u64>,
    salvaged: &Salvage,
    report: &mut RepairReport,
) -> Result<bool, ShardError> {
    let marks = store.watermark.tables();
    let mut changed = false;
    let mut losses: BTreeMap<TableId, Losses> = BTreeMap::new();
    for table in known_tables(store, sealed)? {
        let in_segments = sealed.get(&table).copied().unwrap_or(0);
        let mark = marks.get(&table).copied();
        let before = examine(store, table, in_segments, mark)?;
        changed |= !before.problems.is_empty();
        let (named, named_commits) = (report.lost.len(), report.lost_commits.len());
        let acknowledged = mark.map_or(0, |mark| mark.commits);
        let mut add = |rows: Range<u64>, history_is_whole: bool| {
            let batches = salvaged.batches(table, &rows);
            let table = table_name(catalog, table).trim_matches('`').to_owned();
            report.lost.push(Lost { table, from: rows.start, until: rows.end, history_is_whole, batches });
        };
        if salvaged.is_damaged() {
            let rows = salvaged.online_only(table, in_segments);
            rows.into_iter().for_each(|rows| add(rows, true));
        }
        mend_table(store, table, in_segments, mark)?.into_iter().for_each(|rows| add(rows, false));
        if report.lost.len() == named {
            let lost = salvaged.lost_commits(table, before.state.commits, acknowledged);
            let table_name = table_name(catalog, table).trim_matches('`').to_owned();
            report.lost_commits.extend(lost.into_iter().map(|commits| LostCommits {
                table: table_name.clone(),
                from: commits.start,
                until: commits.end,
                batches: salvaged.answered(table),
            }));
        }
        let lost = &report.lost[named..];
        let in_doubt = report.lost_commits.len() > named_commits
            || lost.iter().any(|lost| !salvaged.names_all(table, lost.from..lost.until));
        let batches = lost.iter().flat_map(|lost| lost.batches.iter().copied()).collect();
        losses.insert(table, Losses { batches, in_doubt });
    }
    let any_lost = !report.lost.is_empty();
    for view in catalog.feature_views.values().filter(|view| view.batch().is_some()) {
        let losses = losses.remove(&view.schema.table).unwrap_or_default();
        report.runs.extend(mend_runs(store, view, &losses, any_lost)?);
    }
    Ok(changed)
}

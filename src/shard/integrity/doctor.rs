//! `larder doctor`: what a data directory holds and what is wrong with it, without changing it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    clock::Clock,
    model::{TableId, TableSchema},
    offline::{Inspector, TableInspection},
    registry::{CatalogHandle, Registry},
    shard::{
        FjallRegistryLog, ShardError, Store,
        integrity::{
            Mark, OFFLINE, ONLINE, Watermark,
            aside::{OPTIONS, Workplace},
            check_no_swap, check_not_in_use,
            format_file::{check_format, read_format},
            journal_check::JournalFile,
            preflight::read_journals,
            runs::unreadable,
        },
        invariants::{examine, rows_beyond},
        recovery::{known_tables, registry_behind, table_name},
    },
};

/// What was found. Healthy where `problems` is empty.
#[derive(Debug, serde::Serialize)]
pub struct DoctorReport {
    pub directory: PathBuf,
    /// None: written by a larder that did not note it yet.
    pub format: Option<u32>,
    pub healthy: bool,
    pub journals: Vec<JournalFile>,
    pub registry_version: Option<u64>,
    pub tables: Vec<TableHealth>,
    /// Everything that is wrong, in words.
    pub problems: Vec<String>,
}

/// One table, online and offline.
#[derive(Debug, serde::Serialize)]
pub struct TableHealth {
    pub id: u32,
    pub name: String,
    /// Rows ever accepted.
    pub next_seq: u64,
    pub acknowledged: Option<Mark>,
    /// Rows in the outbox that no segment holds.
    pub unsealed: u64,
    /// Entities with a newest row.
    pub online_rows: u64,
    pub quarantined: u64,
    pub offline: TableInspection,
    pub problems: Vec<String>,
}

/// Looks through `data`, which no node may have open. The journals are checked where they are; fjall opens a copy of
/// the online store, and only when they are whole. `deep`: segments are read and compared with their checksums.
pub fn doctor(data: &Path, deep: bool) -> Result<DoctorReport, ShardError> {
    let online = data.join(ONLINE);
    if !online.is_dir() {
        return Err(ShardError::Store(format!("{} is no data directory of larder", data.display())));
    }
    check_not_in_use(&online)?;
    check_format(data)?;
    check_no_swap(data)?;
    let watermark = Watermark::read(&online)?;
    let journals = read_journals(&online, &watermark)?;
    let mut report = DoctorReport {
        directory: data.to_owned(),
        format: read_format(data)?,
        healthy: false,
        problems: journals.problems(),
        journals: journals.files,
        registry_version: None,
        tables: Vec::new(),
    };
    report.problems.extend(watermark.unreadable());
    if report.journals.iter().all(|file| file.damage.is_empty()) {
        let place = Workplace::copy_of(data, "doctor")?;
        match Store::open_unchecked(&place.online(), OPTIONS, 1, watermark) {
            Ok((store, _)) => look_inside(data, &store, deep, &mut report)?,
            Err(error) => report.problems.push(error.to_string()),
        }
    }
    let of_tables = report.tables.iter().flat_map(|table| {
        let all = table.problems.iter().chain(&table.offline.problems);
        all.map(|problem| format!("table `{}`: {problem}", table.name))
    });
    let of_tables: Vec<String> = of_tables.collect();
    report.problems.extend(of_tables);
    report.healthy = report.problems.is_empty();
    Ok(report)
}

fn look_inside(data: &Path, store: &Store, deep: bool, report: &mut DoctorReport) -> Result<(), ShardError> {
    let catalog = CatalogHandle::default();
    let log = Box::new(FjallRegistryLog::new(store.clone()));
    if let Err(error) = Registry::open(log, Clock::system(), catalog.clone()) {
        report.problems.push(error.to_string());
        return Ok(());
    }
    let catalog = catalog.current();
    report.registry_version = Some(catalog.version);
    report.problems.extend(registry_behind(store, &catalog));
    let mut offline = inspect(data, catalog.tables.values().filter_map(|schemas| schemas.last()), deep)?;
    let sealed = offline.iter().map(|(table, found)| (*table, found.sealed_seq)).collect();
    let marks = store.watermark.tables();
    for table in known_tables(store, &sealed)? {
        let offline = offline.remove(&table).unwrap_or_default();
        let mark = marks.get(&table).copied();
        report.tables.push(table_health(store, table, &table_name(&catalog, table), mark, offline));
    }
    for (table, offline) in offline.into_iter().filter(|(_, found)| !found.problems.is_empty()) {
        report.tables.push(table_health(store, table, &table_name(&catalog, table), None, offline));
    }
    Ok(())
}

/// The tables of the offline store as their directories have them.
pub(super) fn inspect<'a>(
    data: &Path,
    schemas: impl Iterator<Item = &'a std::sync::Arc<TableSchema>>,
    deep: bool,
) -> Result<BTreeMap<TableId, TableInspection>, ShardError> {
    let inspector = Inspector::new(&data.join(OFFLINE)).map_err(|e| ShardError::Store(e.to_string()))?;
    Ok(schemas.map(|schema| (schema.table, inspector.table(schema, deep))).collect())
}

fn table_health(
    store: &Store,
    table: TableId,
    name: &str,
    mark: Option<Mark>,
    offline: TableInspection,
) -> TableHealth {
    let mut health = TableHealth {
        id: table.0,
        name: name.trim_matches('`').to_owned(),
        next_seq: 0,
        acknowledged: mark,
        unsealed: 0,
        online_rows: 0,
        quarantined: store.quarantine.prefix(table.0.to_be_bytes()).count() as u64,
        problems: Vec::new(),
        offline,
    };
    if let Err(error) = examine_into(store, table, &mut health) {
        health.problems.push(error.to_string());
    }
    health
}

fn examine_into(store: &Store, table: TableId, health: &mut TableHealth) -> Result<(), ShardError> {
    let found = examine(store, table, health.offline.sealed_seq, health.acknowledged)?;
    health.next_seq = found.state.next_seq;
    health.unsealed = found.unsealed.iter().map(|range| range.end - range.start).sum();
    health.problems = found.problems;
    health.problems.extend(unreadable(store, table)?);
    let (beyond, rows) = rows_beyond(store, table, health.next_seq)?;
    health.online_rows = rows;
    if beyond > 0 {
        health.problems.push(format!("{beyond} online rows have numbers that were never given out"));
    }
    Ok(())
}

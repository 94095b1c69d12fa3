//! Making a data directory of a backup.

use std::{fs::File, io::BufReader, path::Path};

use fs_err as fs;

use crate::{
    backup::{
        BackupError, Manifest,
        blocks::read_blocks,
        files::{copy, create_dirs, sum, sync_parent, write_file},
    },
    clock::Clock,
    offline::{OfflineOptions, OfflineStore},
    registry::{CatalogHandle, Registry},
    shard::{
        CommittedTables, FjallRegistryLog, ImageCheck, Import, Store, StoreOptions,
        integrity::{OFFLINE, ONLINE},
        recover,
    },
};

/// Lies in a data directory from a restore's first write to its last.
const UNFINISHED: &str = "restore-unfinished";

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    pub manifest: Manifest,
    /// Entries of the online store.
    pub entries: u64,
}

/// Verifies `backup` and makes `data`, which must be empty or not there, what the node was at the backup's barrier.
/// Nothing is written before every checksum has been found right. `progress` is told of each file that was read: a
/// verified one, then a restored one.
pub fn restore(
    backup: &Path,
    data: &Path,
    options: StoreOptions,
    mut progress: impl FnMut(&Manifest),
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(backup)?.ok_or_else(|| BackupError::NoBackup {
        dir: backup.to_owned(),
        reason: "it has no manifest.json; was the backup finished?".to_owned(),
    })?;
    for (name, expected) in &manifest.files {
        let path = backup.join(name);
        let found = sum(&path).map_err(|error| BackupError::damaged(&path, error))?;
        if found != *expected {
            let reason = format!(
                "it has {} bytes and checksum {:08x}, the manifest says {} and {:08x}",
                found.bytes, found.crc32c, expected.bytes, expected.crc32c
            );
            return Err(BackupError::damaged(&path, reason));
        }
        progress(&manifest);
    }
    let data = &std::path::absolute(data).map_err(BackupError::io("opening", data))?;
    create_dirs(data)?;
    if fs::read_dir(data).map_err(BackupError::io("listing", data))?.next().is_some() {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    let unfinished = data.join(UNFINISHED);
    write_file(&unfinished, Ok)?;

    for (name, expected) in &manifest.files {
        if let Some(below) = name.strip_prefix(OFFLINE) {
            let target = data.join(format!("{OFFLINE}{below}"));
            if let Some(folder) = target.parent() {
                create_dirs(folder)?;
            }
            if copy(&backup.join(name), &target)? != *expected {
                return Err(BackupError::damaged(&backup.join(name), "it changed while it was read"));
            }
            progress(&manifest);
        }
    }
    create_dirs(&data.join(ONLINE))?;
    let (store, entries) = import(backup, data, options, &manifest, || progress(&manifest))?;
    check(&store, data, &manifest)?;
    drop(store);

    fs::remove_file(&unfinished).map_err(BackupError::io("removing", &unfinished))?;
    sync_parent(&unfinished)?;
    Ok(Restored { manifest, entries })
}

/// Refuses a data directory in which a restore did not come to its end.
pub fn check_restored(data: &Path) -> Result<(), BackupError> {
    if data.join(UNFINISHED).exists() { Err(BackupError::Unfinished(data.to_owned())) } else { Ok(()) }
}

fn import(
    backup: &Path,
    data: &Path,
    options: StoreOptions,
    manifest: &Manifest,
    mut progress: impl FnMut(),
) -> Result<(Store, u64), BackupError> {
    let mut import = Import::into(&data.join(ONLINE), options, manifest.shards)?;
    let mut seen = ImageCheck::default();
    for export in &manifest.online {
        let path = backup.join(&export.file);
        let file = File::open(&path).map_err(BackupError::io("reading", &path))?;
        let from = BufReader::with_capacity(1 << 18, file);
        read_blocks(
            from,
            |error| BackupError::damaged(&path, error),
            |key, value| {
                seen.see(&export.keyspace, key, value)?;
                Ok(import.insert(&export.keyspace, key, value)?)
            },
        )?;
        progress();
    }
    let sealed =
        |table| manifest.tables.values().find(|mark| mark.table == table).map_or(0, |m| m.sealed_seq);
    let states = seen.finish(sealed)?;
    for (name, mark) in &manifest.tables {
        let next_seq = states.get(&mark.table).map_or(0, |state| state.next_seq);
        if next_seq != mark.next_seq {
            return Err(BackupError::Invariant(format!(
                "table `{name}` has {next_seq} rows, the manifest says {}",
                mark.next_seq
            )));
        }
    }
    Ok((import.finish()?, seen.entries()))
}

/// What a node checks when it starts, and that every table is where the manifest says.
fn check(store: &Store, data: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let clock = Clock::system();
    let catalog = CatalogHandle::default();
    Registry::open(Box::new(FjallRegistryLog::new(store.clone())), clock.clone(), catalog.clone())?;
    let offline = OfflineStore::open(&data.join(OFFLINE), OfflineOptions::default())?;
    let mut sealed = std::collections::BTreeMap::new();
    for (table, schemas) in &catalog.current().tables {
        let Some(schema) = schemas.last() else { continue };
        let found = offline.table(schema)?.sealed_seq();
        let expected = manifest.tables.get(&schema.name).map_or(0, |mark| mark.sealed_seq);
        if found != expected {
            return Err(BackupError::Invariant(format!(
                "table `{}` has {found} rows in segments, the manifest says {expected}",
                schema.name
            )));
        }
        sealed.insert(*table, found);
    }
    let committed = CommittedTables::default();
    let violations = recover(store, &committed, &clock, &catalog.current(), &sealed)?;
    if violations.is_empty() { Ok(()) } else { Err(BackupError::Invariant(violations.join("; "))) }
}

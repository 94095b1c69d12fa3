//! Taking a backup: barrier, online export, tables, manifest.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use fs_err as fs;

use crate::{
    backup::{
        BackupError,
        blocks::BlockWriter,
        files::{create_dirs, write_file},
        jobs::Progress,
        manifest::{Export, Manifest, TableMark},
        place::Placer,
    },
    clock::Clock,
    model::{BatchId, TableId, Timestamp},
    offline::{LogHold, OfflineStore, Table, TableSnapshot},
    registry::CatalogHandle,
    shard::{
        Image, ImageCheck, Shards, Store,
        integrity::{OFFLINE, ONLINE},
    },
};

/// Names the node whose backup a directory is.
const OWNER: &str = "larder-backup";
/// How long the shards may take to come to the barrier.
const BARRIER: Duration = Duration::from_secs(30);

/// The running node that is backed up.
#[derive(Clone)]
pub struct Origin {
    pub store: Store,
    pub offline: Arc<OfflineStore>,
    pub catalog: CatalogHandle,
    pub shards: Shards,
    pub clock: Clock,
    pub data: PathBuf,
}

/// What the node is at the barrier.
struct Moment {
    at: Timestamp,
    /// How long writes stood still.
    held: Duration,
    image: Image,
    tables: BTreeMap<TableId, (Arc<Table>, Arc<TableSnapshot>)>,
    _logs: Vec<LogHold>,
}

/// Makes sure that `dir` may hold this node's backup, and marks it as such.
pub(super) fn claim(origin: &Origin, dir: &Path) -> Result<BatchId, BackupError> {
    if !dir.is_absolute() {
        return Err(BackupError::Relative(dir.to_owned()));
    }
    let data = fs::canonicalize(&origin.data).map_err(BackupError::io("opening", &origin.data))?;
    // Before anything is created: of a path that is not there yet, what is there of it counts.
    let there = dir.ancestors().find(|above| above.exists()).unwrap_or(dir);
    let there = fs::canonicalize(there).map_err(BackupError::io("opening", there))?;
    if there.starts_with(&data) {
        return Err(BackupError::Inside { dir: dir.to_owned(), data });
    }
    create_dirs(dir)?;
    let node = origin.store.node_id()?;
    let owner = dir.join(OWNER);
    match fs::read_to_string(&owner) {
        Ok(text) if text.trim() == node.to_string() => return Ok(node),
        Ok(text) => {
            return Err(BackupError::OtherNode {
                dir: dir.to_owned(),
                ours: node.to_string(),
                theirs: text.trim().to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BackupError::io("reading", &owner)(error)),
    }
    if fs::read_dir(dir).map_err(BackupError::io("listing", dir))?.next().is_some() {
        return Err(BackupError::Occupied(dir.to_owned()));
    }
    write_file(&owner, |mut out| {
        io::Write::write_all(&mut out, format!("{node}\n").as_bytes())
            .map_err(BackupError::io("writing", &owner))?;
        Ok(out)
    })?;
    Ok(node)
}

/// Takes the backup into `dir`, which was claimed.
pub(super) fn take(
    origin: &Origin,
    dir: &Path,
    (node, id): (BatchId, BatchId),
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let earlier = Manifest::read(dir)?;
    let moment = barrier(origin)?;
    progress.note(|job| {
        job.barrier = Some(moment.at);
        job.held_ms = Some(moment.held.as_secs_f64() * 1e3);
    });
    let mut manifest = Manifest::new(node, id, moment.at, origin.shards.count());
    let Moment { image, tables, _logs, .. } = moment;

    let sealed: BTreeMap<TableId, u64> =
        tables.iter().map(|(id, (_, snapshot))| (*id, snapshot.sealed_seq)).collect();
    let check = export(image, dir, &mut manifest, progress)?;
    let states = check.finish(|table| sealed.get(&table).copied().unwrap_or(0))?;

    let mut placer = Placer { dir, earlier: earlier.as_ref(), progress };
    for (id, (table, snapshot)) in &tables {
        let mark = TableMark {
            table: *id,
            next_seq: states.get(id).map_or(0, |state| state.next_seq),
            sealed_seq: snapshot.sealed_seq,
            delta_version: snapshot.delta_version,
        };
        manifest.tables.insert(table.name().to_owned(), mark);
        for file in table.files(snapshot)? {
            progress.check()?;
            let name = format!("{OFFLINE}/{}/{}", table.name(), file.name);
            let mark = placer.place(&name, &file)?;
            manifest.files.insert(name, mark);
        }
    }
    progress.check()?;
    manifest.write(dir)?;
    // The backup is whole; what is left over is tried again by the next one.
    if let Err(error) = remove_unnamed(dir, &manifest) {
        tracing::warn!(dir = %dir.display(), %error, "cannot clear away what an earlier backup left");
    }
    Ok(manifest)
}

/// Stops the shards for as long as it takes to note what there is.
fn barrier(origin: &Origin) -> Result<Moment, BackupError> {
    let open = || -> Result<BTreeMap<TableId, Arc<Table>>, BackupError> {
        let catalog = origin.catalog.current();
        let schemas = catalog.tables.iter().filter_map(|(id, schemas)| Some((*id, schemas.last()?)));
        schemas.map(|(id, schema)| Ok((id, origin.offline.table(schema)?))).collect()
    };
    // Before the shards stop, so that they need not wait for a table to be opened.
    let logs = open()?.values().map(|table| table.hold_log()).collect();
    let asked = Instant::now();
    let held = origin.shards.hold(BARRIER)?;
    // Tables first: each of them is then in the registry of the image.
    let tables = open()?
        .into_iter()
        .map(|(id, table)| {
            let snapshot = table.snapshot();
            (id, (table, snapshot))
        })
        .collect();
    let image = Image::take(&origin.store, &held);
    let at = origin.clock.now();
    drop(held);
    Ok(Moment { at, held: asked.elapsed(), image, tables, _logs: logs })
}

fn export(
    image: Image,
    dir: &Path,
    manifest: &mut Manifest,
    progress: &Progress,
) -> Result<ImageCheck, BackupError> {
    let mut check = ImageCheck::default();
    let folder = format!("{ONLINE}/{}", manifest.id);
    create_dirs(&dir.join(&folder))?;
    for (keyspace, entries) in image.keyspaces() {
        let file = format!("{folder}/{keyspace}");
        let path = dir.join(&file);
        let mark = write_file(&path, |out| {
            let wrong = |error| BackupError::io("writing", &path)(error);
            let mut blocks = BlockWriter::new(out).map_err(wrong)?;
            entries.each(|key, value| {
                if check.entries().is_multiple_of(4096) {
                    progress.check()?;
                    progress.note(|job| job.entries = check.entries());
                }
                check.see(keyspace, key, value)?;
                blocks.push(key, value).map_err(wrong)
            })?;
            blocks.finish().map_err(wrong)
        })?;
        progress.note(|job| {
            job.entries = check.entries();
            job.bytes_written += mark.bytes;
        });
        manifest.online.push(Export { keyspace: keyspace.to_owned(), file: file.clone() });
        manifest.files.insert(file, mark);
    }
    Ok(check)
}

/// Removes what only earlier backups, or backups that were never finished, needed.
fn remove_unnamed(dir: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let named: HashSet<PathBuf> = manifest.files.keys().map(|name| dir.join(name)).collect();
    for part in [ONLINE, OFFLINE] {
        // A node without tables has none of theirs.
        let folder = dir.join(part);
        if folder.is_dir() {
            remove_from(&folder, &named)?;
        }
    }
    Ok(())
}

fn remove_from(folder: &Path, named: &HashSet<PathBuf>) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(BackupError::io("listing", folder))? {
        let entry = entry.map_err(BackupError::io("listing", folder))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_from(&path, named)?;
            // Fails, as it should, where something is still in it.
            let _ = fs::remove_dir(&path);
        } else if !named.contains(&path) {
            fs::remove_file(&path).map_err(BackupError::io("removing", &path))?;
        }
    }
    Ok(())
}

//! Before fjall opens its directory: the lock, and the journals against what was acknowledged.

use std::{collections::BTreeMap, fs::File, path::Path, time::Duration};

use rustix::fs::{FlockOperation, flock};

use crate::{
    model::TableId,
    shard::{
        ShardError, TableState,
        integrity::{
            Mark, Watermark,
            journal::loose_items,
            journal_check::{JournalFile, check, content, journals},
        },
    },
};

/// What the journals of a directory hold.
#[derive(Debug, Default)]
pub(super) struct Journals {
    pub files: Vec<JournalFile>,
    /// Acknowledged rows that the journals should hold and do not, in words.
    pub missing: Vec<String>,
}

/// Reads the journals of `online`, a directory that no process has open, without changing anything. The error says in
/// which file and at which offset they are damaged, or which acknowledged rows they lack, and what to do.
pub fn check_before_open(online: &Path, watermark: &Watermark) -> Result<(), ShardError> {
    let journals = read_journals(online, watermark)?;
    let problems = journals.problems();
    let Some(first) = problems.first() else { return Ok(()) };
    let more = match problems.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let data = online.parent().unwrap_or(online).display();
    Err(ShardError::Damaged(format!(
        "{first}{more}; nothing was opened or changed. `larder doctor {data}` shows all of it, \
         `larder repair {data}` copies the directory aside and saves what can be saved"
    )))
}

impl Journals {
    pub fn problems(&self) -> Vec<String> {
        let damage = self.files.iter().flat_map(|file| {
            file.damage.iter().map(|damage| {
                let (path, range) = (file.path.display(), (damage.offset, damage.until));
                format!("journal {path} is damaged from byte {} to {}: {}", range.0, range.1, damage.reason)
            })
        });
        damage.chain(self.missing.iter().cloned()).collect()
    }
}

/// Reads the journals without changing them, one at a time in memory.
pub(super) fn read_journals(online: &Path, watermark: &Watermark) -> Result<Journals, ShardError> {
    let failed = |error: std::io::Error| ShardError::Store(format!("cannot read the journals: {error}"));
    if !online.exists() {
        return Ok(Journals::default());
    }
    let paths = journals(online).map_err(failed)?;
    let acknowledged = watermark.tables();
    let mut found = Journals::default();
    let mut reached: BTreeMap<TableId, TableState> = BTreeMap::new();
    let mut seqno = 0;
    for (index, path) in paths.iter().enumerate() {
        let bytes = content(path).map_err(failed)?;
        let mut states = BTreeMap::new();
        let last = index + 1 == paths.len();
        let (file, after) = check(path, &bytes, last, seqno, |batch| {
            for item in batch.items() {
                if let Some(table) = item.is_state() {
                    states.insert(table, item);
                }
            }
        });
        seqno = after;
        for (table, item) in states {
            reached.extend(item.state().map(|state| (table, state)));
        }
        found.missing.extend(acknowledged_but_torn(&file, &bytes, &acknowledged));
        found.files.push(file);
    }
    for (table, state) in reached {
        let Some(mark) = acknowledged.get(&table) else { continue };
        if state.next_seq < mark.next_seq || state.commits < mark.commits {
            found.missing.push(format!(
                "the journals end at row {} and commit {} of table {}, up to row {} and commit {} were acknowledged",
                state.next_seq, state.commits, table.0, mark.next_seq, mark.commits
            ));
        }
    }
    Ok(found)
}

/// A torn batch was never acknowledged, unless it is a damaged one.
fn acknowledged_but_torn(
    file: &JournalFile,
    bytes: &[u8],
    acknowledged: &BTreeMap<TableId, Mark>,
) -> Option<String> {
    let torn = &bytes[file.torn_range()];
    let damaged = loose_items(torn).any(|item| {
        let blob = item.blob().map(|(table, header)| (table, header.end_seq()));
        let state = item.is_state().and_then(|table| Some((table, item.state()?.commits)));
        blob.is_some_and(|(table, end)| acknowledged.get(&table).is_some_and(|mark| end <= mark.next_seq))
            || state.is_some_and(|(table, commit)| {
                acknowledged.get(&table).is_some_and(|mark| commit > 0 && commit <= mark.commits)
            })
    });
    damaged.then(|| {
        format!(
            "journal {} is damaged from byte {}: a batch that was acknowledged cannot be read",
            file.path.display(),
            file.valid
        )
    })
}

const LOCK: &str = "lock";
/// A node that is just ending still holds its lock for a moment.
const RETRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// Fails where a node has the directory open. The lock is given back at once.
pub(in crate::shard) fn check_not_in_use(online: &Path) -> Result<(), ShardError> {
    match lock(online) {
        Ok(None) => Err(ShardError::Store(format!("{} is in use by another process", online.display()))),
        // Without a lock file there is no store yet.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// fjall's own lock on the directory, until it is dropped; `None` where somebody has it.
pub(super) fn lock(online: &Path) -> std::io::Result<Option<File>> {
    let file = File::options().read(true).write(true).open(online.join(LOCK))?;
    for _ in 0..RETRIES {
        if flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(rustix::io::Errno::WOULDBLOCK) {
            return Ok(Some(file));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

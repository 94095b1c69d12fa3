//! After a clean stop: journals of which everything is in tables need not be replayed.
//!
//! fjall removes a journal only once it has begun the next one, after 64 MB, and replays what is left of the last.

use std::path::Path;

use fs_err as fs;

use crate::shard::{
    ShardError,
    integrity::{
        journal_check::{check, content, journals},
        preflight::lock,
    },
    store::Flushed,
};

/// Empties the journal of `online`, a store that was flushed and then closed. False, and nothing is changed, where
/// somebody has it open still, or where the journal has anything that was not flushed.
pub fn settle(online: &Path, flushed: Flushed) -> Result<bool, ShardError> {
    let failed = |error: std::io::Error| ShardError::Store(format!("cannot empty the journal: {error}"));
    let Some(_lock) = lock(online).map_err(failed)? else { return Ok(false) };
    let paths = journals(online).map_err(failed)?;
    // Sealed ones are fjall's to remove.
    let [path] = paths.as_slice() else { return Ok(false) };
    let bytes = content(path).map_err(failed)?;
    let mut newest = 0;
    let (file, _) = check(path, &bytes, true, 0, |batch| newest = newest.max(batch.seqno));
    if !file.damage.is_empty() || file.torn > 0 || newest >= flushed.seqno {
        return Ok(false);
    }
    let journal = fs::File::options().write(true).open(path).map_err(failed)?;
    journal.set_len(0).map_err(failed)?;
    journal.sync_all().map_err(failed)?;
    Ok(true)
}

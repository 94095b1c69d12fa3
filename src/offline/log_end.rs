//! How far a table's rows are in segments, by the end of its log: a few files read, and no table opened. A node with a
//! thousand tables is ready before it has opened them.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::offline::{
    OfflineError,
    delta_log::{APP_ID, log_dir},
    durable::names,
    log_check::{LogVersion, checked_commit, log_version},
};

/// Commits that are looked through for the newest that moved rows; maintenance makes some that did not.
const MOST_COMMITS: usize = 8;

/// Rows with `_seq` below this are in segments; 0 for a table that is not there yet. None where the end of the log does not say.
pub(super) fn sealed_seq(dir: &Path) -> Result<Option<u64>, OfflineError> {
    let log = log_dir(dir);
    if !log.exists() {
        return Ok(Some(0));
    }
    let names = names(&log)?;
    let versions = names.iter().filter_map(|name| log_version(name));
    let is_commit = |version: &LogVersion| !version.is_checkpoint;
    let (commits, checkpoints): (Vec<_>, Vec<_>) = versions.partition(is_commit);
    let numbers = |versions: Vec<LogVersion>| versions.iter().map(|v| v.number).collect::<BTreeSet<_>>();
    let (commits, newest_checkpoint) = (numbers(commits), numbers(checkpoints).pop_last());
    let Some(newest) =
        commits.last().copied().filter(|newest| newest_checkpoint.is_none_or(|at| at <= *newest))
    else {
        // Nothing was committed, or the commit itself is gone.
        return Ok((newest_checkpoint.is_none()).then_some(0));
    };
    for version in (0..=newest).rev().take(MOST_COMMITS) {
        if !commits.contains(&version) {
            return Ok(None);
        }
        let path = log.join(format!("{version:020}.json"));
        let text = checked_commit(&path)?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value =
                serde_json::from_slice(line).map_err(|error| OfflineError::log(&path, error))?;
            if action.pointer("/txn/appId").and_then(Value::as_str) == Some(APP_ID) {
                return Ok(action.pointer("/txn/version").and_then(Value::as_u64));
            }
        }
        if version == 0 {
            return Ok(Some(0));
        }
    }
    Ok(None)
}

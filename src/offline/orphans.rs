//! What a crash leaves behind: files half written, and whole ones that no commit names.

use std::{collections::HashSet, path::Path, sync::Arc};

use fs_err as fs;

use crate::offline::{
    OfflineError,
    delta_log::log_dir,
    delta_read::Loaded,
    durable::{TEMPORARY, names},
    segment::Segment,
    segment_write::PREFIX,
    stats::Bounds,
    tags::Tags,
};

/// Removes files that were being written when the process died. To be called before the log is read.
pub(super) fn remove_temporary(dir: &Path) -> Result<(), OfflineError> {
    for dir in [dir, &log_dir(dir)] {
        for name in names(dir)? {
            if name.starts_with(TEMPORARY) {
                let path = dir.join(name);
                fs::remove_file(&path).map_err(OfflineError::io("removing", &path))?;
            }
        }
    }
    Ok(())
}

/// Whether the table has been created: its log has a commit or a checkpoint.
pub(super) fn has_log(dir: &Path) -> Result<bool, OfflineError> {
    let has_log =
        names(&log_dir(dir))?.iter().any(|name| name.ends_with(".json") || name.ends_with(".parquet"));
    if !has_log && names(dir)?.iter().any(|name| name.starts_with(PREFIX)) {
        return Err(OfflineError::log(
            dir,
            "there are segments but no log; restore _delta_log from a backup",
        ));
    }
    Ok(has_log)
}

/// Removes segments that were written for a commit which was never made, and returns those that commits have
/// replaced. Only files named as larder names them are touched.
pub(super) fn remove_orphans(dir: &Path, loaded: &Loaded) -> Result<Vec<Arc<Segment>>, OfflineError> {
    let live: HashSet<&str> = loaded.segments.iter().map(|segment| segment.name.as_str()).collect();
    let mut replaced = Vec::new();
    for name in names(dir)? {
        let Some(version) = version_of(&name).filter(|_| !live.contains(name.as_str())) else { continue };
        if version > loaded.version {
            let path = dir.join(&name);
            tracing::info!(path = %path.display(), "removing a segment that no commit names");
            fs::remove_file(&path).map_err(OfflineError::io("removing", &path))?;
        } else {
            replaced.push(Arc::new(Segment::new(dir, name, 0, Bounds::default(), &Tags::default(), None)));
        }
    }
    Ok(replaced)
}

/// The version for which a segment was written, from its file name.
pub(super) fn version_of(name: &str) -> Option<u64> {
    let (version, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    if version.len() != 20 || !rest.ends_with(".parquet") {
        return None;
    }
    version.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_carry_a_version() {
        assert_eq!(version_of("part-00000000000000000007-x.parquet"), Some(7));
        // Spark's and delta-rs's.
        assert_eq!(version_of("part-00000-8f31c4e6-0000-4000-8000-000000000000-c000.snappy.parquet"), None);
        assert_eq!(version_of("part-00000000000000000007-x.crc"), None);
    }
}

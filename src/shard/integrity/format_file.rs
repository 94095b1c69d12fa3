//! The data directory's format, as a file that is read before anything is opened.

use std::{io::ErrorKind, path::Path};

use fs_err as fs;

use crate::shard::ShardError;

/// The format that this version writes; a directory with a newer one is refused, one with an older is taken over.
///
/// 1: rows, outbox, segments. 2: window states (keyspace `tiles`), which a version that does not know them would leave
/// behind what it stores.
pub const FORMAT: u32 = 2;
const NAME: &str = "larder-format";

#[derive(serde::Serialize, serde::Deserialize)]
struct FormatFile {
    format: u32,
}

/// The format of `data`; none where it has no such file: it is new, or of a larder that wrote none yet.
pub(super) fn read_format(data: &Path) -> Result<Option<u32>, ShardError> {
    let path = data.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ShardError::Damaged(format!("its format cannot be read: {error}"))),
    };
    match toml::from_str::<FormatFile>(&text) {
        Ok(file) => Ok(Some(file.format)),
        Err(error) => Err(ShardError::Damaged(format!(
            "{} does not say which format the directory has ({}); it should read `format = {FORMAT}`",
            path.display(),
            error.message()
        ))),
    }
}

/// Refuses a format that this version does not know; returns the known one.
pub(in crate::shard) fn check_format(data: &Path) -> Result<Option<u32>, ShardError> {
    let format = read_format(data)?;
    match format {
        Some(format) if format == 0 || format > FORMAT => Err(unknown(data, format)),
        format => Ok(format),
    }
}

pub(in crate::shard) fn unknown(data: &Path, format: u32) -> ShardError {
    ShardError::Store(format!(
        "{} has format {format}, this version of larder reads 1 to {FORMAT}; use a newer larder",
        data.display()
    ))
}

/// Writes the file where there is none, or one of an older format.
pub(in crate::shard) fn note_format(data: &Path) -> Result<(), ShardError> {
    let path = data.join(NAME);
    if read_format(data)? == Some(FORMAT) {
        return Ok(());
    }
    let text = format!(
        "# The format of this data directory; larder checks it before it opens anything.\nformat = {FORMAT}\n"
    );
    let temporary = data.join(format!("{NAME}.new"));
    let written = fs::write(&temporary, text)
        .and_then(|()| fs::File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, &path))
        .and_then(|()| fs::File::open(data)?.sync_all());
    written.map_err(|error| ShardError::Store(format!("cannot note the directory's format: {error}")))
}

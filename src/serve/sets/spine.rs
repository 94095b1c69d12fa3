//! The spine of a job: brought into one form and stored before the job is acknowledged.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use fs_err as fs;

use crate::{
    error::Detail,
    format::{Format, FormatError, TableWriter, plain_batch, plain_type},
    model::TimeForm,
    offline::{NewFile, sync_dir},
    serve::{
        ServeError,
        sets::{
            SetError, SpineMark,
            folder::SPINE,
            hashed::{Hashed, unwritten},
        },
        training::event_times,
    },
};

/// Writes the batches to `dir` as they come; memory holds one of them. Every row must have its event time.
pub(super) fn store(
    dir: &Path,
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, FormatError>>,
    (event_time, times): (&str, TimeForm),
    limit: u64,
) -> Result<(SpineMark, SchemaRef), SetError> {
    let schema = plain(schema)?;
    event_times(&RecordBatch::new_empty(Arc::clone(&schema)), event_time, times)?;
    let file = Hashed::new(NewFile::create(dir)?, limit);
    let mut out = TableWriter::new(Format::Parquet, file, Arc::clone(&schema)).map_err(unwritten)?;
    let mut rows = 0;
    for batch in batches {
        let columns = plain_batch(&batch?).map_err(ServeError::from)?.columns().to_vec();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(ServeError::from)?;
        event_times(&batch, event_time, times).map_err(|error| shifted(error, rows))?;
        out.write(&batch).map_err(unwritten)?;
        rows += batch.num_rows() as u64;
    }
    let (mut file, _, sha256) = out.finish().map_err(unwritten)?.finish();
    file.rename(&dir.join(SPINE))?;
    sync_dir(dir)?;
    Ok((SpineMark { rows, sha256 }, schema))
}

/// Without encodings, and without what a writer noted beside the columns: the same rows give the same bytes, wherever they
/// come from.
fn plain(schema: &Schema) -> Result<SchemaRef, SetError> {
    let fields = schema.fields().iter();
    let fields: Vec<Field> =
        fields.map(|field| Field::new(field.name(), plain_type(field.data_type()), true)).collect();
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].iter().any(|before| before.name() == field.name()) {
            return Err(SetError::field(field.name(), "the spine has two columns of this name"));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The rows of a batch by their numbers in the whole spine.
fn shifted(error: ServeError, by: u64) -> ServeError {
    match error {
        ServeError::Request(details) => ServeError::Request(
            details
                .into_iter()
                .map(|detail| Detail { row: detail.row.map(|row| row + by), ..detail })
                .collect(),
        ),
        other => other,
    }
}

/// The file that `path` names below `dir`, the directory that spines may be read from. Nothing outside of it can be named,
/// by `..` or through a link.
pub fn confined(dir: Option<&Path>, path: &Path) -> Result<PathBuf, SetError> {
    let wrong = |reason: String| Err(SetError::field("spine.path", reason));
    let Some(dir) = dir else {
        return wrong(
            "this node reads no spines from its disk; set `data.spine_dir`, or send the spine as the request's body"
                .to_owned(),
        );
    };
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return wrong("must be a path below `data.spine_dir`, without `..`".to_owned());
    }
    let dir = fs::canonicalize(dir).map_err(SetError::io("opening", dir))?;
    match fs::canonicalize(dir.join(path)) {
        Ok(file) if !file.starts_with(&dir) => wrong("leads out of `data.spine_dir`".to_owned()),
        Ok(file) if !file.is_file() => wrong("is not a file".to_owned()),
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            wrong(format!("there is no `{}` below `data.spine_dir`", path.display()))
        }
        Err(error) => Err(SetError::io("opening", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_directory_can_be_named() {
        let dir = tempfile::tempdir().unwrap();
        let spines = dir.path().join("spines");
        fs::create_dir_all(spines.join("a")).unwrap();
        fs::write(spines.join("a/labels.csv"), "x").unwrap();
        fs::write(dir.path().join("secret.csv"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret.csv"), spines.join("link.csv")).unwrap();
        std::os::unix::fs::symlink("a/labels.csv", spines.join("inside.csv")).unwrap();
        let found = |path: &str| confined(Some(&spines), Path::new(path));
        assert!(found("a/labels.csv").is_ok());
        assert!(found("inside.csv").is_ok());
        let absolute = spines.join("a/labels.csv").display().to_string();
        for path in
            ["../secret.csv", "a/../../secret.csv", "link.csv", "none.csv", "a", "", "/etc/passwd", &absolute]
        {
            assert!(matches!(found(path), Err(SetError::Request(_))), "{path}");
        }
        assert!(matches!(confined(None, Path::new("a/labels.csv")), Err(SetError::Request(_))));
    }
}

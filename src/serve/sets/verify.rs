//! Making a set again and holding it against what is stored.

use std::{io, path::Path};

use fs_err as fs;

use crate::{
    error::Coded,
    format::{Format, TableWriter},
    registry::RegistryError,
    serve::{
        Reads, ServeError, TrainingSet,
        sets::{
            Manifest, SetError, Verdict,
            build::{Pinned, derive},
            compare::Comparison,
            folder::SPINE,
            hashed::{Hashed, hash, unwritten},
            manifest::{changed, views},
        },
    },
};

/// `dir` is the version's. Whatever keeps the set from being made again is said in words.
pub(super) fn verify(
    reads: &Reads,
    manifest: &Manifest,
    dir: &Path,
    done: impl Fn(u64) -> Result<(), SetError>,
) -> Result<Verdict, SetError> {
    let mut differences = Vec::new();
    let data = dir.join(&manifest.data.file);
    let found = hash_of(&data, &done)?;
    if found != (manifest.data.bytes, manifest.data.sha256.clone()) {
        differences.push(format!(
            "the stored data have changed: {} does not have its hash any more",
            manifest.data.file
        ));
    }
    let spine = dir.join(SPINE);
    if hash_of(&spine, &done)?.1 != manifest.order.spine.sha256 {
        differences.push("the stored spine has changed, so the set cannot be made again".to_owned());
        return Ok(Verdict { matches: false, sha256: None, differences });
    }
    let pinned = Pinned::new(reads);
    let sha256 = match remake(&pinned, manifest, &data, &spine, done, &mut differences) {
        Ok(sha256) => Some(sha256),
        // The definitions are not there any more; all else is a failure of the verification.
        Err(SetError::Serve(ServeError::Registry(error))) => {
            differences.push(unresolved(&error));
            None
        }
        Err(error @ SetError::Redefined { .. }) => {
            differences.push(error.to_string());
            differences.extend(redefined(&pinned, manifest)?);
            None
        }
        Err(error) => return Err(error),
    };
    let matches = differences.is_empty() && sha256.as_ref() == Some(&manifest.data.sha256);
    Ok(Verdict { matches, sha256, differences })
}

fn remake(
    pinned: &Pinned<'_>,
    manifest: &Manifest,
    data: &Path,
    spine: &Path,
    done: impl Fn(u64) -> Result<(), SetError>,
    differences: &mut Vec<String>,
) -> Result<String, SetError> {
    let order = &manifest.order;
    let format = order.format()?;
    let mut out = None;
    // Only Parquet has its values back exactly.
    let mut comparison = match format {
        Format::Parquet => Comparison::open(data).ok(),
        _ => None,
    };
    derive(pinned, order, spine, done, |TrainingSet { rows: portion, .. }| {
        let out = match &mut out {
            Some(out) => out,
            none => none.insert(
                TableWriter::new(format, Hashed::new(io::sink(), u64::MAX), portion.schema())
                    .map_err(unwritten)?,
            ),
        };
        out.write(&portion).map_err(unwritten)?;
        if let Some(comparison) = &mut comparison {
            comparison.take(portion);
        }
        Ok(())
    })?;
    let Some(out) = out else { return Err(SetError::damaged(spine, "it has no columns")) };
    let (_, _, sha256) = out.finish().map_err(unwritten)?.finish();
    if sha256 == manifest.data.sha256 {
        return Ok(sha256);
    }
    let before = differences.len();
    differences.extend(redefined(pinned, manifest)?);
    let now = pinned.table_rows(order)?;
    for (table, was) in &manifest.table_rows {
        let has = now.get(table).copied().unwrap_or(0);
        if has < *was {
            differences.push(format!(
                "`{table}`: {} of the {was} rows that the set was made of are gone, as its retention or a person removed them",
                was - has
            ));
        }
    }
    differences.extend(comparison.map(Comparison::finish).into_iter().flatten());
    let version = env!("CARGO_PKG_VERSION");
    if manifest.larder != version {
        differences.push(format!("it was made by larder {}, this is {version}", manifest.larder));
    }
    if differences.len() == before {
        differences.push(format!("made again, the data have the hash {sha256}"));
    }
    Ok(sha256)
}

/// The views and sources that are not at the versions of which the set was made.
fn redefined(pinned: &Pinned<'_>, manifest: &Manifest) -> Result<Vec<String>, SetError> {
    let resolved = manifest.order.wanted().resolve(&pinned.catalog)?;
    Ok(changed(&manifest.views, &views(&pinned.catalog, &resolved)?))
}

fn unresolved(error: &RegistryError) -> String {
    let reasons: Vec<String> = error.details().into_iter().map(|detail| detail.reason).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    format!("its features are not defined any more, so it cannot be made again: {error}{reasons}")
}

fn hash_of(path: &Path, done: impl Fn(u64) -> Result<(), SetError>) -> Result<(u64, String), SetError> {
    let file = fs::File::open(path).map_err(|error| SetError::damaged(path, error))?;
    hash(file, || done(0), SetError::io("reading", path))
}

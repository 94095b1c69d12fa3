//! The directory of training sets: what is there, and how a version comes and goes.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use fs_err as fs;

use crate::{
    model::BatchId,
    offline::{NewFile, sync_dir},
    serve::sets::{Manifest, SetError},
};

/// The directory's name below the data directory.
pub const TRAINING_SETS: &str = "training_sets";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SPINE: &str = "spine.parquet";
/// Names no set: these begin with a letter.
const JOBS: &str = ".jobs";
/// In a version's directory: it is deleted. Its number is not given again.
const DELETED: &str = "deleted";

/// `NAME` or `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRef {
    pub name: String,
    /// The newest where not given.
    pub version: Option<u32>,
}

impl FromStr for SetRef {
    type Err = SetError;

    fn from_str(text: &str) -> Result<SetRef, SetError> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => {
                let number = version.parse().ok().filter(|version| *version > 0);
                let wrong = || SetError::field("name", format!("`{text}` is not `name` or `name@version`"));
                (name, Some(number.ok_or_else(wrong)?))
            }
        };
        check_name(name)?;
        Ok(SetRef { name: name.to_owned(), version })
    }
}

impl fmt::Display for SetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

impl serde::Serialize for SetRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SetRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Names are those of definitions; `jobs` is a path of its own.
pub(super) fn check_name(name: &str) -> Result<(), SetError> {
    crate::model::check_name(name).map_err(|reason| SetError::field("name", reason.to_string()))?;
    if name == "jobs" {
        return Err(SetError::field("name", "`jobs` cannot be the name of a training set; choose another"));
    }
    Ok(())
}

pub struct Folder {
    root: PathBuf,
    /// Held while a version is given its number, or deleted.
    changing: Mutex<()>,
}

impl Folder {
    /// Below `data`; what a crash left half done is finished.
    pub fn open(data: &Path) -> Result<Folder, SetError> {
        let root = data.join(TRAINING_SETS);
        fs::create_dir_all(root.join(JOBS)).map_err(SetError::io("creating", &root))?;
        sync_dir(data)?;
        sync_dir(&root)?;
        let folder = Folder { root, changing: Mutex::default() };
        for name in folder.names()? {
            for version in folder.numbers(&name)? {
                let dir = folder.version_dir(&name, version);
                if dir.join(DELETED).exists() {
                    empty(&dir)?;
                }
            }
        }
        Ok(folder)
    }

    pub(super) fn job_dir(&self, id: &BatchId) -> PathBuf {
        self.root.join(JOBS).join(id.to_string())
    }

    pub(super) fn job_dirs(&self) -> Result<Vec<PathBuf>, SetError> {
        let dir = self.root.join(JOBS);
        let mut dirs: Vec<PathBuf> = list(&dir)?.into_iter().map(|name| dir.join(name)).collect();
        dirs.sort();
        Ok(dirs)
    }

    pub fn version_dir(&self, name: &str, version: u32) -> PathBuf {
        self.root.join(name).join(version.to_string())
    }

    /// Of all sets that have a version.
    pub fn names(&self) -> Result<Vec<String>, SetError> {
        let mut names: Vec<String> =
            list(&self.root)?.into_iter().filter(|name| check_name(name).is_ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The versions of a set, oldest first; none where there is no such set.
    pub fn versions(&self, name: &str) -> Result<Vec<u32>, SetError> {
        let numbers = self.numbers(name)?;
        Ok(numbers.into_iter().filter(|n| !self.version_dir(name, *n).join(DELETED).exists()).collect())
    }

    /// Deleted ones included.
    fn numbers(&self, name: &str) -> Result<Vec<u32>, SetError> {
        check_name(name)?;
        let dir = self.root.join(name);
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut numbers: Vec<u32> = list(&dir)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The version meant, and where it is.
    pub fn find(&self, set: &SetRef) -> Result<(u32, PathBuf), SetError> {
        let versions = self.versions(&set.name)?;
        let newest = versions.last().copied().ok_or_else(|| SetError::Unknown(set.name.clone()))?;
        let version = set.version.unwrap_or(newest);
        if !versions.contains(&version) {
            let has: Vec<String> = versions.iter().map(u32::to_string).collect();
            return Err(SetError::UnknownVersion { name: set.name.clone(), version, has: has.join(", ") });
        }
        Ok((version, self.version_dir(&set.name, version)))
    }

    pub fn manifest(&self, set: &SetRef) -> Result<Manifest, SetError> {
        let (_, dir) = self.find(set)?;
        read_json(&dir.join(MANIFEST))
    }

    /// The manifests of all versions, oldest first; without those that cannot be read: one of them is no reason to do
    /// without the others.
    pub fn manifests(&self, name: &str) -> Result<Vec<Manifest>, SetError> {
        let mut manifests = Vec::new();
        for version in self.versions(name)? {
            match read_json(&self.version_dir(name, version).join(MANIFEST)) {
                Ok(manifest) => manifests.push(manifest),
                Err(error) => {
                    tracing::warn!(name, version, %error, "a version of a training set is passed over")
                }
            }
        }
        Ok(manifests)
    }

    /// Makes `built`, a directory that is durable and lacks only its manifest, the next version of `name`.
    pub(super) fn publish(&self, built: &Path, name: &str, manifest: &mut Manifest) -> Result<(), SetError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).map_err(SetError::io("creating", &dir))?;
        sync_dir(&self.root)?;
        let version = self.numbers(name)?.last().map_or(1, |newest| newest + 1);
        (manifest.name, manifest.version) = (Some(name.to_owned()), Some(version));
        write_json(built, MANIFEST, manifest)?;
        let to = self.version_dir(name, version);
        fs::rename(built, &to).map_err(SetError::io("naming", &to))?;
        Ok(sync_dir(&dir)?)
    }

    /// Deletes a version for good; who reads its data goes on.
    pub fn delete(&self, name: &str, version: u32) -> Result<(), SetError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, dir) = self.find(&SetRef { name: name.to_owned(), version: Some(version) })?;
        write(&dir, DELETED, &[])?;
        empty(&dir)
    }

    /// What all sets and jobs take on the disk.
    pub fn bytes(&self) -> Result<u64, SetError> {
        bytes_below(&self.root)
    }
}

/// Removes all of a deleted version but the mark that says so.
fn empty(dir: &Path) -> Result<(), SetError> {
    for name in list(dir)?.into_iter().filter(|name| name != DELETED) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(SetError::io("removing", &path))?;
    }
    Ok(())
}

fn bytes_below(dir: &Path) -> Result<u64, SetError> {
    let mut bytes = 0;
    for name in list(dir)? {
        let path = dir.join(name);
        // What is removed meanwhile takes nothing.
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        bytes += if found.is_dir() { bytes_below(&path)? } else { found.len() };
    }
    Ok(bytes)
}

fn list(dir: &Path) -> Result<Vec<String>, SetError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(SetError::io("listing", dir))?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, io::Error>>().map_err(SetError::io("listing", dir))
}

/// Writes a file of a directory durably, replacing what was there.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), SetError> {
    let mut file = NewFile::create(dir)?;
    let path = dir.join(name);
    file.write_all(bytes).map_err(SetError::io("writing", &path))?;
    file.rename(&path)?;
    Ok(sync_dir(dir)?)
}

pub(super) fn write_json(dir: &Path, name: &str, value: &impl serde::Serialize) -> Result<(), SetError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| SetError::damaged(&dir.join(name), e))?;
    bytes.push(b'\n');
    write(dir, name, &bytes)
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, SetError> {
    let bytes = fs::read(path).map_err(SetError::io("reading", path))?;
    serde_json::from_slice(&bytes).map_err(|error| SetError::damaged(path, error))
}

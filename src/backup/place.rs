//! Bringing one file of a table into a backup: it is there already, or it is linked, or it is copied.

use std::path::Path;

use crate::{
    backup::{
        BackupError, Manifest,
        files::{copy, create_dirs, link, sum},
        jobs::Progress,
        manifest::FileMark,
    },
    offline::TableFile,
};

pub struct Placer<'a> {
    pub dir: &'a Path,
    pub earlier: Option<&'a Manifest>,
    pub progress: &'a Progress,
}

impl Placer<'_> {
    /// `name` is the file's path below the backup.
    pub fn place(&mut self, name: &str, file: &TableFile) -> Result<FileMark, BackupError> {
        let target = self.dir.join(name);
        if let Some(mark) = self.earlier.and_then(|earlier| earlier.files.get(name)).copied() {
            let now = match file.crc32c {
                Some(crc32c) => FileMark { crc32c, ..mark },
                None => sum(&file.path)?,
            };
            if now != mark {
                return Err(BackupError::OtherHistory(file.path.clone()));
            }
            if std::fs::metadata(&target).is_ok_and(|found| found.len() == mark.bytes) {
                self.progress.note(|job| job.files_kept += 1);
                return Ok(mark);
            }
        }
        if let Some(folder) = target.parent() {
            create_dirs(folder)?;
        }
        let linked = link(&file.path, &target)?;
        // A linked file is read as well: a backup of a broken file would be found out too late.
        let mark = if linked { sum(&target)? } else { copy(&file.path, &target)? };
        if file.crc32c.is_some_and(|crc32c| crc32c != mark.crc32c) {
            return Err(BackupError::Corrupt(file.path.clone()));
        }
        self.progress.note(|job| {
            if linked {
                job.files_linked += 1;
            } else {
                job.files_copied += 1;
                job.bytes_written += mark.bytes;
            }
        });
        Ok(mark)
    }
}

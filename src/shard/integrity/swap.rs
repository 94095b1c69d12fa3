//! The end of a repair: the mended store takes the damaged one's place, in steps of which each can be told to be done.
//!
//! What the repair found is written down first. A process that ends in between leaves it; nothing opens the directory
//! then, and the next repair goes on where it was.

use std::{io, path::Path};

use fs_err as fs;

use crate::{
    failpoint,
    shard::{
        ShardError,
        integrity::{
            ONLINE, RepairReport, Watermark,
            aside::{REPORT, Workplace, places},
        },
    },
};

const PURPOSE: &str = "repair";

/// Where a repair works.
pub(super) fn workplace(data: &Path) -> Result<Workplace, ShardError> {
    Workplace::copy_of(data, PURPOSE)
}

/// Puts the store of `place`, with its watermark, in the place of that of `data`, which is kept under the name that
/// `report` has for it.
pub(super) fn swap(data: &Path, place: &Workplace, report: &RepairReport) -> io::Result<()> {
    // Under another name first: a report that is there is whole.
    let (new, path) = (place.dir().join("report.new"), place.dir().join(REPORT));
    fs::write(&new, serde_json::to_vec(report)?)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, &path)?;
    sync(place.dir())?;
    failpoint::reach("repair.noted");
    finish(data, place, report)
}

/// Ends what another process began, and returns what it had found; `None` where nothing was begun. Removes what it left
/// where it had not come that far.
pub(super) fn resume(data: &Path) -> io::Result<Option<RepairReport>> {
    let mut resumed = None;
    for place in Workplace::left_behind(data, PURPOSE)? {
        if let Some(report) = begun(&place)? {
            finish(data, &place, &report)?;
            resumed = Some(report);
        }
    }
    Ok(resumed)
}

/// Fails where a repair was begun and not ended: neither store is to be opened.
pub(in crate::shard) fn check_no_swap(data: &Path) -> Result<(), ShardError> {
    let failed = |error: io::Error| ShardError::Store(format!("cannot list {}: {error}", data.display()));
    let interrupted = places(data, PURPOSE).map_err(failed)?.iter().any(|place| place.join(REPORT).exists());
    match interrupted {
        true => Err(ShardError::Damaged(format!(
            "a repair was interrupted; run `larder repair {}` again",
            data.display()
        ))),
        false => Ok(()),
    }
}

fn begun(place: &Workplace) -> io::Result<Option<RepairReport>> {
    match fs::read(place.dir().join(REPORT)) {
        Ok(report) => Ok(Some(serde_json::from_slice(&report)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each move is made if it was not made before: its source is there and, where the source gets a successor of the same
/// name, its target is not.
fn finish(data: &Path, place: &Workplace, report: &RepairReport) -> io::Result<()> {
    let Some(kept) = &report.kept else { return Ok(()) };
    let (online, new) = (data.join(ONLINE), place.online());
    let mark = Watermark::path_of(&online);
    let (kept_mark, new_mark) = (Watermark::path_of(kept), Watermark::path_of(&new));
    if !kept.exists() {
        fs::rename(&online, kept)?;
    }
    failpoint::reach("repair.kept");
    if new.exists() {
        fs::rename(&new, &online)?;
    }
    failpoint::reach("repair.placed");
    if new_mark.exists() {
        if mark.exists() && !kept_mark.exists() {
            fs::rename(&mark, &kept_mark)?;
        }
        failpoint::reach("repair.unmarked");
        fs::rename(&new_mark, &mark)?;
    }
    sync(data)?;
    failpoint::reach("repair.marked");
    // From here on the directory may be opened.
    fs::remove_file(place.dir().join(REPORT))?;
    sync(place.dir())
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

//! Which parts of a journal file are whole batches, and what the rest is.

use std::{
    borrow::Cow,
    io::{self, Read, Seek},
    ops::Range,
    path::{Path, PathBuf},
};

use fs_err as fs;
use rustix::fs::{SeekFrom, seek};

use crate::shard::integrity::journal::{Batch, ends_whole, find_batch, read_batch};

/// What is wrong with a stretch of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not a batch, or one that fails its checksum, though it was written to its end.
    Unreadable,
    /// The batch is whole, but its place in fjall's order of writes is not where it stands.
    OutOfOrder,
}

/// Bytes of a journal that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    pub kind: Kind,
    pub offset: u64,
    /// Where whole batches go on, or the journal's content ends.
    pub until: u64,
    pub reason: Cow<'static, str>,
    /// Of a batch out of order: a seqno with which it would be in order.
    #[serde(skip)]
    pub(super) seqno: u64,
}

/// What a journal file holds.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct JournalFile {
    pub path: PathBuf,
    pub batches: usize,
    /// One past the last byte of the last whole batch.
    pub valid: u64,
    /// A batch at the end that was being written when the process died: bytes of it that are there.
    pub torn: u64,
    pub damage: Vec<Damage>,
}

impl JournalFile {
    pub(super) fn torn_range(&self) -> Range<usize> {
        self.valid as usize..(self.valid + self.torn) as usize
    }
}

/// The journals of a fjall directory, oldest first.
pub(super) fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The content of the journal at `path` without the zeros behind it. A new journal is 64 MiB long and takes room only as
/// far as it is written.
pub(super) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let end = end_of_data(&file, file.metadata()?.len());
    file.seek(io::SeekFrom::Start(0))?;
    let mut bytes = Vec::with_capacity(usize::try_from(end).unwrap_or(0));
    file.take(end).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    Ok(bytes)
}

/// Where the last hole of a file begins; `length` where it ends with none, or the file system does not say.
fn end_of_data(file: &fs::File, length: u64) -> u64 {
    let mut end = 0;
    loop {
        match seek(file, SeekFrom::Data(end)).and_then(|data| seek(file, SeekFrom::Hole(data))) {
            Ok(hole) => end = hole,
            Err(rustix::io::Errno::NXIO) => return end,
            Err(_) => return length,
        }
    }
}

/// Walks through `bytes`, the [`content`] of the journal at `path`; `visit` sees each whole batch. `last`: no journal
/// comes after it, so that its end may be torn. `before`: the seqno of the batch before it, 0 for none.
/// Returns what was found and the seqno of its last batch.
pub(super) fn check<'a>(
    path: &Path,
    bytes: &'a [u8],
    last: bool,
    before: u64,
    mut visit: impl FnMut(&Batch<'a>),
) -> (JournalFile, u64) {
    let mut file = JournalFile { path: path.to_owned(), batches: 0, valid: 0, torn: 0, damage: Vec::new() };
    let mut order = Order::new(before);
    let mut at = 0;
    while at < bytes.len() {
        let reason = match read_batch(bytes, at) {
            Ok(batch) => {
                visit(&batch);
                file.damage.extend(order.next(&batch));
                file.batches += 1;
                at = batch.end;
                file.valid = at as u64;
                continue;
            }
            Err(reason) => reason,
        };
        let damage = |until: usize| Damage {
            kind: Kind::Unreadable,
            offset: at as u64,
            until: until as u64,
            reason: reason.into(),
            seqno: 0,
        };
        if let Some(next) = find_batch(bytes, at) {
            file.damage.push(damage(next.at));
            at = next.at;
            continue;
        }
        if !last || ends_whole(&bytes[at..]) {
            file.damage.push(damage(bytes.len()));
        } else {
            file.torn = (bytes.len() - at) as u64;
        }
        break;
    }
    file.damage.sort_by_key(|damage| damage.offset);
    (file, order.last())
}

/// Seqnos rise from batch to batch, and no checksum covers them: one that does not fit between its neighbours was
/// changed.
struct Order {
    /// The last two that were seen: seqno, offset and end.
    previous: (u64, usize, usize),
    current: (u64, usize, usize),
}

/// A jump over more than this is none that fjall makes.
const MAX_STEP: u64 = 1 << 32;
const REASON: &str = "the batch's sequence number is not between those of its neighbours";

impl Order {
    fn new(before: u64) -> Order {
        Order { previous: (before, 0, 0), current: (before, 0, 0) }
    }

    fn last(&self) -> u64 {
        self.current.0
    }

    fn next(&mut self, batch: &Batch<'_>) -> Option<Damage> {
        let (seqno, known) = (batch.seqno, self.current.0);
        let here = (seqno, batch.at, batch.end);
        let is_first = self.current.2 == 0 && known == 0;
        if is_first || (seqno > known && seqno - known < MAX_STEP) {
            self.previous = self.current;
            self.current = here;
            return None;
        }
        if seqno > self.previous.0 && self.current.2 > 0 && seqno - self.previous.0 < MAX_STEP {
            // It fits behind the one before the last: the last one is wrong.
            let wrong = self.current;
            self.current = here;
            return Some(out_of_order(wrong, seqno - 1));
        }
        let damage = out_of_order(here, known + 1);
        self.previous = self.current;
        self.current = (known + 1, batch.at, batch.end);
        Some(damage)
    }
}

fn out_of_order((_, at, end): (u64, usize, usize), seqno: u64) -> Damage {
    Damage { kind: Kind::OutOfOrder, offset: at as u64, until: end as u64, reason: REASON.into(), seqno }
}

//! Journals without their damaged stretches, and what those stretches held.

use std::{collections::BTreeMap, ops::Range, path::Path};

use fs_err as fs;

use crate::{
    model::{BatchId, TableId},
    shard::{
        ShardError,
        integrity::{
            journal::{SEQNO_AT, loose_items},
            journal_check::{JournalFile, Kind, check, content, journals},
            mend::gaps,
        },
    },
};

/// What was cut out, as far as it can be read, and what is around it.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    pub files: Vec<JournalFile>,
    /// Rows whose batches are whole.
    whole: BTreeMap<TableId, Vec<Range<u64>>>,
    /// Rows in what was cut out, with their batches.
    cut: BTreeMap<TableId, Vec<(Range<u64>, BatchId)>>,
    /// Commits that are whole, as ranges of one each.
    commits: BTreeMap<TableId, Vec<Range<u64>>>,
    /// Commits in what was cut out, and the batches there that came with an `Idempotency-Key`.
    cut_commits: BTreeMap<TableId, Vec<u64>>,
    cut_answers: BTreeMap<TableId, Vec<BatchId>>,
}

/// Cuts what is no whole batch out of the journals in `online`, and puts batches back in order.
pub(super) fn salvage(online: &Path) -> Result<Salvage, ShardError> {
    let failed = |error: std::io::Error| ShardError::Store(format!("cannot mend the journals: {error}"));
    let mut found = Salvage::default();
    let paths = journals(online).map_err(failed)?;
    let mut seqno = 0;
    for (index, path) in paths.iter().enumerate() {
        let bytes = content(path).map_err(failed)?;
        let (whole, commits) = (&mut found.whole, &mut found.commits);
        let (file, after) = check(path, &bytes, index + 1 == paths.len(), seqno, |batch| {
            for (table, header) in batch.items().filter_map(|item| item.blob()) {
                whole.entry(table).or_default().push(header.first_seq..header.end_seq());
            }
            for (table, commit) in batch.items().filter_map(|item| item.commit()) {
                commits.entry(table).or_default().push(commit..commit + 1);
            }
        });
        seqno = after;
        let mut cuts = vec![file.torn_range()];
        let mut mended = bytes.clone();
        for damage in &file.damage {
            let range = damage.offset as usize..damage.until as usize;
            match damage.kind {
                Kind::Unreadable => cuts.push(range),
                Kind::OutOfOrder => {
                    let at = range.start + SEQNO_AT;
                    mended[at..at + 8].copy_from_slice(&damage.seqno.to_le_bytes());
                }
            }
        }
        for cut in &cuts {
            for (table, header) in loose_items(&bytes[cut.clone()]).filter_map(|item| item.blob()) {
                let batch = BatchId::from_bytes(header.batch_id);
                found.cut.entry(table).or_default().push((header.first_seq..header.end_seq(), batch));
            }
            for item in loose_items(&bytes[cut.clone()]) {
                if let Some((table, commit)) = item.commit() {
                    found.cut_commits.entry(table).or_default().push(commit);
                } else if let Some(answer) = item.answer() {
                    found.cut_answers.entry(answer.table).or_default().push(answer.batch_id);
                }
            }
        }
        if !file.damage.is_empty() || file.torn > 0 {
            let end = cuts.iter().map(|cut| cut.end).max().unwrap_or(0).max(file.valid as usize);
            cuts.sort_by_key(|cut| cut.start);
            let mut kept = Vec::with_capacity(end);
            let mut at = 0;
            for cut in cuts {
                kept.extend_from_slice(&mended[at.min(cut.start)..cut.start]);
                at = at.max(cut.end);
            }
            kept.extend_from_slice(&mended[at..end]);
            fs::write(path, kept).map_err(failed)?;
            fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        found.files.push(file);
    }
    Ok(found)
}

impl Salvage {
    pub fn is_damaged(&self) -> bool {
        self.files.iter().any(|file| !file.damage.is_empty())
    }

    /// The batches, as far as they can be read, that held any of `rows`.
    pub fn batches(&self, table: TableId, rows: &Range<u64>) -> Vec<BatchId> {
        let cut = self.cut.get(&table).into_iter().flatten();
        let mut ids: Vec<_> = cut
            .filter(|(range, _)| range.start < rows.end && rows.start < range.end)
            .map(|(_, id)| *id)
            .collect();
        ids.dedup();
        ids
    }

    /// Whether the batches of all of `rows` can be read.
    pub fn names_all(&self, table: TableId, rows: Range<u64>) -> bool {
        let cut = self.cut.get(&table).into_iter().flatten();
        let mut cut: Vec<_> = cut.map(|(range, _)| range.clone()).collect();
        cut.sort_by_key(|range| range.start);
        gaps(rows, &cut).iter().all(Range::is_empty)
    }

    /// Commits of a table up to `acknowledged`, of which `stored` is the newest that is there, that are gone.
    pub fn lost_commits(&self, table: TableId, stored: u64, acknowledged: u64) -> Vec<Range<u64>> {
        let mut whole = self.commits.get(&table).cloned().unwrap_or_default();
        whole.sort_by_key(|range| range.start);
        let last = whole.last().map_or(stored, |range| range.start);
        let first = whole.first().map_or(stored + 1, |range| range.start);
        let cut = self
            .cut_commits
            .get(&table)
            .into_iter()
            .flatten()
            .copied()
            .filter(|commit| *commit <= acknowledged.max(last));
        let first = cut.chain([first]).min().unwrap_or(first);
        gaps(first..acknowledged.max(last) + 1, &whole)
    }

    /// Batches in what was cut out of which the answer can be read.
    pub fn answered(&self, table: TableId) -> Vec<BatchId> {
        self.cut_answers.get(&table).cloned().unwrap_or_default()
    }

    /// Rows below `sealed` that a cut took from between whole batches: their history is in segments.
    pub fn online_only(&self, table: TableId, sealed: u64) -> Vec<Range<u64>> {
        let mut whole = self.whole.get(&table).cloned().unwrap_or_default();
        whole.sort_by_key(|range| range.start);
        let cut = self.cut.get(&table).into_iter().flatten().map(|(range, _)| range.start);
        let Some(first) = whole.first().map(|range| range.start).into_iter().chain(cut).min() else {
            return Vec::new();
        };
        let mut missing = gaps(first..sealed.max(first), &whole);
        missing.retain(|range| range.start < range.end);
        missing
    }
}

//! Partial updates: a row keeps the features that it leaves out as they were at its event time.
//!
//! The base of a row is the newest version of its entity at or before its event time: of what is stored, of the writes before
//! it in the group, and of the rows of its own batch that come before it in time. The shard looks it up within the commit, so
//! that of two merges at once the second sees the first. Only what is older than the newest stored version lies in history:
//! the writer reads that off this thread, and it counts if nothing of the entity was stored since.

use std::{collections::HashMap, sync::Arc};

use hashbrown::HashSet;

use crate::{
    compute::as_of::{Outcome, age_judgement},
    format::NamedColumns,
    model::{TableId, TableSchema},
    shard::{
        PreparedBatch, Shard, ShardError, Write,
        ahead::Versions,
        blob::Blob,
        group::Group,
        outbox::slots,
        row::{Row, RowLayout, Slot, encode_merged},
        store::{numbered_key, push_table_key, table_key},
    },
};

/// How the rows of one write are merged.
#[derive(Debug)]
pub struct MergePlan {
    /// The features that each row names, by position.
    pub named: NamedColumns,
    /// Every version of the table's schema: stored rows are of any of them.
    pub schemas: Vec<Arc<TableSchema>>,
    /// Microseconds; what is older has no value to keep.
    pub ttl: Option<i64>,
    /// Features that must not be null, by position.
    pub required: Vec<u32>,
    pub late: LateBases,
    /// Bytes that the rows may come to.
    pub most: usize,
}

/// The bases of rows that are older than their entities' newest versions, from history.
#[derive(Debug, Default)]
pub struct LateBases {
    /// Rows of the table with this number or a higher one were not there.
    pub before: u64,
    /// By row of the batch; none where the entity has no version at its time.
    pub rows: HashMap<usize, Option<Base>>,
}

/// A version that a row is merged with.
#[derive(Debug, Clone)]
pub struct Base {
    pub event_time: i64,
    /// Encoded; empty where it has no value to keep.
    pub row: Vec<u8>,
}

impl Base {
    fn of(row: &[u8]) -> Base {
        Base { event_time: Row(row).event_time().micros(), row: row.to_vec() }
    }
}

/// What is known of a row's base.
enum Found {
    Base(Option<Base>),
    /// History has to be read.
    Late,
}

/// The later of two; at equal times `second`, which was accepted later.
fn newer(first: Option<Base>, second: Option<Base>) -> Option<Base> {
    match (first, second) {
        (Some(first), Some(second)) if first.event_time > second.event_time => Some(first),
        (first, second) => second.or(first),
    }
}

impl Shard {
    /// Merges the rows of a write, if that is what it asks for. The inner error is the write's own; the group is as it was.
    pub(super) fn merge(
        &self,
        index: usize,
        writes: &mut [Write],
        group: &mut Group,
    ) -> Result<Result<(), ShardError>, ShardError> {
        let Some(plan) = writes[index].merge.take() else { return Ok(Ok(())) };
        let mut merged: Vec<Option<Vec<u8>>> = vec![None; writes[index].batch.len()];
        let (mut late, mut lacking, mut bytes) = (Vec::new(), Vec::new(), 0);
        {
            let batch = &writes[index].batch;
            let mut lookup = Lookup { shard: self, writes, index, plan: &plan, earlier: None, since: None };
            let mut layouts = Layouts::new(&batch.schema, &plan.schemas);
            let mut own: HashMap<&[u8], usize> = HashMap::new();
            let mut order: Vec<usize> = (0..batch.len()).collect();
            order.sort_by_key(|row| batch.event_time(*row));
            for row in order {
                let before = own.insert(batch.key(row), row);
                let Some(named) = plan.named.of(row) else { continue };
                let Found::Base(stored) = lookup.find(row, group)? else {
                    late.push(row);
                    continue;
                };
                let before =
                    before.map(|before| Base::of(merged[before].as_deref().unwrap_or(batch.row(before))));
                let base =
                    newer(stored, before).filter(|base| is_valid(base, batch.event_time(row), plan.ttl));
                let mut out = Vec::new();
                match layouts.merge(Row(batch.row(row)), base.as_ref(), named, &mut out) {
                    true => {}
                    // A version that the plan does not know: it was made under older definitions.
                    false => return Ok(Err(ShardError::Redefined)),
                }
                let null = plan.required.iter().map(|column| *column as usize);
                lacking.extend(null.filter(|column| Row(&out).is_null(*column)).map(|column| (row, column)));
                bytes += out.len();
                if bytes > plan.most {
                    return Ok(Err(ShardError::MergedTooLarge(plan.most)));
                }
                // Of all writes of the group together as of one.
                if group.merged_bytes + bytes > plan.most {
                    return Ok(Err(ShardError::Overloaded("rows that are merged take their memory")));
                }
                merged[row] = Some(out);
            }
        }
        if !late.is_empty() || !lacking.is_empty() {
            return Ok(Err(ShardError::Unmerged { late, lacking }));
        }
        group.merged_bytes += bytes;
        for (row, merged) in merged.into_iter().enumerate() {
            if let Some(merged) = merged {
                writes[index].batch.set_row(row, &merged);
            }
        }
        Ok(Ok(()))
    }

    /// The entities of the rows with the number `from` or a higher one; none where some of these are no longer in the outbox.
    fn entities_since(&self, table: TableId, from: u64) -> Result<Option<HashSet<Box<[u8]>>>, ShardError> {
        let state = self.state(table)?;
        if from < state.truncated {
            return Ok(None);
        }
        let mut entities = HashSet::new();
        for guard in self.store.outbox.range(numbered_key(table, from)..numbered_key(table, state.next_seq)) {
            let (_, bytes) = guard.into_inner()?;
            let blob = Blob::open(&bytes).ok_or_else(|| {
                ShardError::Damaged(format!("an outbox blob of table {} fails its checksum", table.0))
            })?;
            entities.extend(blob.entries().map(|(key, _)| Box::from(key)));
        }
        Ok(Some(entities))
    }
}

fn is_valid(base: &Base, time: i64, ttl: Option<i64>) -> bool {
    let deleted = Row(&base.row).is_tombstone();
    age_judgement(deleted, base.event_time, time, ttl) == Outcome::Present
}

/// A row of an earlier write in the group: event time, write, row.
type EarlierRow = (i64, usize, usize);

/// Finds bases outside of the write's own batch.
struct Lookup<'a> {
    shard: &'a Shard,
    writes: &'a [Write],
    index: usize,
    plan: &'a MergePlan,
    /// Rows of the writes before this one in the group: by entity, in order of acceptance. Made when the first is asked for.
    earlier: Option<HashMap<&'a [u8], Vec<EarlierRow>>>,
    /// Entities that history does not have all rows of; made when the first is asked for.
    since: Option<Option<HashSet<Box<[u8]>>>>,
}

impl<'a> Lookup<'a> {
    fn find(&mut self, row: usize, group: &mut Group) -> Result<Found, ShardError> {
        let write = &self.writes[self.index];
        let batch: &'a PreparedBatch = &write.batch;
        let (table, key, time) = (batch.schema.table, batch.key(row), batch.event_time(row));
        if !write.offline {
            return self.without_history(group, table, key, time).map(Found::Base);
        }
        let newest = group.winners.find(self.writes, table, key).map(|winner| *winner);
        if let Some(newest) = newest
            && newest.event_time <= time
        {
            return Ok(Found::Base(Some(Base::of(self.writes[newest.write].batch.row(newest.row)))));
        }
        let stored = self.stored(table, key)?;
        match (stored, newest) {
            (None, None) => Ok(Found::Base(None)),
            (Some(stored), None) if stored.event_time <= time => Ok(Found::Base(Some(stored))),
            (stored, _) => {
                let before = match stored {
                    None => None,
                    Some(stored) if stored.event_time <= time => Some(stored),
                    Some(_) => match self.in_history(row, table, key)? {
                        Found::Base(base) => base,
                        Found::Late => return Ok(Found::Late),
                    },
                };
                Ok(Found::Base(newer(before, self.in_group(group, table, key, time))))
            }
        }
    }

    /// Of the versions that are kept where there is no history: the one that counts, and those yet to come.
    fn without_history(
        &self,
        group: &mut Group,
        table: TableId,
        key: &[u8],
        time: i64,
    ) -> Result<Option<Base>, ShardError> {
        let full = table_key(table, key);
        if let Some(versions) = group.ahead.get(&full) {
            return Ok(versions.at(time).map(Base::of));
        }
        let versions = match group.winners.find(self.writes, table, key) {
            Some(winner) => Versions::read(self.writes[winner.write].batch.row(winner.row)),
            None => match self.shard.store.rows.get(&full)? {
                Some(stored) => Versions::read(&stored),
                None => return Ok(None),
            },
        };
        Ok(versions.at(time).map(Base::of))
    }

    /// The newest that is stored.
    fn stored(&self, table: TableId, key: &[u8]) -> Result<Option<Base>, ShardError> {
        let mut full = Vec::new();
        push_table_key(table, key, &mut full);
        if let Some(cached) = self.shard.cache.row(&full) {
            return Ok(Some(Base::of(&cached)));
        }
        Ok(self.shard.store.rows.get(&full)?.map(|stored| Base::of(&stored)))
    }

    fn in_history(&mut self, row: usize, table: TableId, key: &[u8]) -> Result<Found, ShardError> {
        let Some(base) = self.plan.late.rows.get(&row) else { return Ok(Found::Late) };
        if self.since.is_none() {
            self.since = Some(self.shard.entities_since(table, self.plan.late.before)?);
        }
        match &self.since {
            Some(Some(since)) if !since.contains(key) => Ok(Found::Base(base.clone())),
            _ => Ok(Found::Late),
        }
    }

    /// The newest of the group at or before `time`.
    fn in_group(&mut self, group: &Group, table: TableId, key: &[u8], time: i64) -> Option<Base> {
        let writes = self.writes;
        let earlier = self.earlier.get_or_insert_with(|| {
            let mut earlier: HashMap<&[u8], Vec<(i64, usize, usize)>> = HashMap::new();
            for &write in group.stored.iter().filter(|write| writes[**write].batch.schema.table == table) {
                let batch = &writes[write].batch;
                for row in 0..batch.len() {
                    earlier.entry(batch.key(row)).or_default().push((batch.event_time(row), write, row));
                }
            }
            earlier
        });
        let rows = earlier.get(key)?.iter().filter(|(at, ..)| *at <= time);
        // Of equal times the last.
        rows.max_by_key(|(at, ..)| *at).map(|(_, write, row)| Base::of(writes[*write].batch.row(*row)))
    }
}

/// Where the columns of the current version lie in rows of the others.
struct Layouts<'a> {
    schema: &'a TableSchema,
    schemas: &'a [Arc<TableSchema>],
    layout: RowLayout,
    slots: HashMap<u32, Vec<Option<Slot>>>,
}

impl<'a> Layouts<'a> {
    fn new(schema: &'a TableSchema, schemas: &'a [Arc<TableSchema>]) -> Layouts<'a> {
        Layouts { schema, schemas, layout: RowLayout::of(schema), slots: HashMap::new() }
    }

    /// False where the base is of a version that is not known.
    fn merge(&mut self, own: Row<'_>, base: Option<&Base>, named: &[u32], out: &mut Vec<u8>) -> bool {
        let base = base.map(|base| Row(&base.row)).filter(|base| !base.0.is_empty());
        let Some(base) = base else {
            encode_merged(&self.layout, own, None, named, out);
            return true;
        };
        let version = base.schema_version();
        if !self.slots.contains_key(&version) {
            let Some(written) = self.schemas.iter().find(|schema| schema.version == version) else {
                return false;
            };
            self.slots.insert(version, slots(written, self.schema));
        }
        encode_merged(&self.layout, own, Some((base, &self.slots[&version])), named, out);
        true
    }
}

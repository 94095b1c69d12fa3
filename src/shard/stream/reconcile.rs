//! Which generations there have to be, given the definitions; and the steps of a generation's life.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};

use crate::{
    clock::Clock,
    model::TableId,
    registry::{Catalog, CatalogHandle},
    shard::{
        ShardError,
        cache::RowCache,
        store::Store,
        stream::{
            BackfillStep, Generation, Stage, StreamPlan, StreamSet, StreamSpec, StreamStates, Streams,
            generation::{Record, prefix, stored},
        },
    },
};

struct Dropped {
    record: Record,
    since: Instant,
    /// The last key that was removed: to look for the next from the start would be to look at all that are gone.
    after: Vec<u8>,
}

impl Dropped {
    fn new(record: Record) -> Dropped {
        Dropped { after: prefix(record.spec.view, record.number).into(), record, since: Instant::now() }
    }
}

/// Reads that began before a generation was dropped have ended by then.
const REMOVE_AFTER: Duration = Duration::from_secs(30);

/// What a shard has to know to keep the window state of its sources' views.
pub struct StreamDuty {
    pub catalog: CatalogHandle,
    pub streams: Streams,
    /// Whether a source is this shard's.
    pub owns: Box<dyn Fn(TableId) -> bool + Send>,
}

impl Default for StreamDuty {
    /// No definitions yet, and every source is this shard's.
    fn default() -> Self {
        StreamDuty {
            catalog: CatalogHandle::default(),
            streams: Streams::default(),
            owns: Box::new(|_| true),
        }
    }
}

/// The generations of one shard's sources. Lives on the shard's thread; publishes what it knows.
pub struct StreamKeeper {
    store: Store,
    duty: StreamDuty,
    generations: BTreeMap<(TableId, u32), Arc<Generation>>,
    /// Generations whose keys are not all removed yet, and when they were dropped.
    dropped: Vec<Dropped>,
    /// The highest number that each view's generations ever had.
    numbers: BTreeMap<TableId, u32>,
    /// The registry version that they were last compared with.
    reconciled: Option<u64>,
}

impl StreamKeeper {
    pub fn new(store: Store, duty: StreamDuty) -> StreamKeeper {
        StreamKeeper {
            store,
            duty,
            generations: BTreeMap::new(),
            dropped: Vec::new(),
            numbers: BTreeMap::new(),
            reconciled: None,
        }
    }

    /// What the events of sources are counted in.
    pub fn counting(&self) -> Arc<StreamSet> {
        self.duty.streams.current()
    }

    /// Starts what the definitions need and drops what they do not need any more. `next_seq` tells how many events a
    /// source has; none of a commit may be under way. Does nothing when the definitions are the same as the last time.
    pub fn reconcile(
        &mut self,
        next_seq: impl Fn(TableId) -> Result<u64, ShardError>,
    ) -> Result<(), ShardError> {
        let catalog = self.duty.catalog.current();
        if self.reconciled == Some(catalog.version) {
            return Ok(());
        }
        if self.reconciled.is_none() {
            self.load(&catalog)?;
        }
        let wanted = self.wanted(&catalog);
        let mut changed = self.recompile(&catalog);
        for (view, spec) in &wanted {
            if self.of_view(*view).any(|generation| generation.plan.spec == *spec) {
                continue;
            }
            // One view that cannot be computed must not keep the others, and the writes, from going on.
            match self.next(&catalog, spec.clone(), next_seq(spec.source)?) {
                Ok(generation) => self.begin(generation)?,
                Err(error) => tracing::error!(view = %spec.name, %error, "its windows are not computed"),
            }
        }
        changed.extend(self.drop_superseded(&wanted));
        self.store_records(&changed, self.store.db.batch())?;
        self.publish();
        self.reconciled = Some(catalog.version);
        Ok(())
    }

    fn load(&mut self, catalog: &Catalog) -> Result<(), ShardError> {
        self.dropped.clear();
        for record in stored(&self.store)?.into_iter().filter(|record| (self.duty.owns)(record.spec.source)) {
            let (view, number) = (record.spec.view, record.number);
            let highest = self.numbers.entry(view).or_default();
            *highest = number.max(*highest);
            match record.stage {
                Stage::Removed => {}
                Stage::Dropped => self.dropped.push(Dropped::new(record)),
                Stage::Backfilling { .. } | Stage::Ready => match build(catalog, record.clone()) {
                    Ok(generation) => {
                        self.generations.insert((view, number), Arc::new(generation));
                    }
                    Err(error) => {
                        tracing::warn!(view = %record.spec.name, %error, "an older state is dropped");
                        let record = Record { stage: Stage::Dropped, ..record };
                        self.store_records(std::slice::from_ref(&record), self.store.db.batch())?;
                        self.dropped.push(Dropped::new(record));
                    }
                },
            }
        }
        Ok(())
    }

    fn wanted(&self, catalog: &Catalog) -> BTreeMap<TableId, StreamSpec> {
        let mut wanted = BTreeMap::new();
        for view in catalog.feature_views.values() {
            if let Some(stream) = view.stream()
                && (self.duty.owns)(stream.source_table)
            {
                wanted.insert(view.schema.table, StreamSpec::wanted(catalog, view, stream));
            }
        }
        wanted
    }

    /// Fits plans to their sources' newest schemas. What does not fit any more cannot be what the definitions want.
    fn recompile(&mut self, catalog: &Catalog) -> Vec<Record> {
        let mut unfit = Vec::new();
        for (key, generation) in &mut self.generations {
            let newest = catalog.newest_schema(generation.plan.spec.source).map(|schema| schema.version);
            if newest == Some(generation.plan.source_version) {
                continue;
            }
            match build(catalog, generation.record()) {
                Ok(fitted) => *generation = Arc::new(fitted),
                Err(error) => {
                    tracing::warn!(view = %generation.plan.spec.name, %error, "an older state is dropped");
                    unfit.push(*key);
                }
            }
        }
        unfit.into_iter().filter_map(|key| self.drop_generation(key)).collect()
    }

    fn of_view(&self, view: TableId) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.range((view, 0)..=(view, u32::MAX)).map(|(_, generation)| generation)
    }

    /// The generation that a spec would begin with.
    fn next(&self, catalog: &Catalog, spec: StreamSpec, next_seq: u64) -> Result<Generation, ShardError> {
        let number = self.numbers.get(&spec.view).map_or(1, |highest| highest + 1);
        let stage = if next_seq == 0 { Stage::Ready } else { Stage::START };
        build(catalog, Record { number, spec, live_from: next_seq, stage })
    }

    /// Stores that it is there; from here on it counts.
    fn begin(&mut self, generation: Generation) -> Result<(), ShardError> {
        self.store_records(&[generation.record()], self.store.db.batch())?;
        let (name, view) = (&generation.plan.spec.name, generation.plan.spec.view);
        let (number, events) = (generation.number, generation.live_from);
        tracing::info!(view = %name, generation = number, events, "window state begins");
        self.numbers.insert(view, number);
        self.generations.insert((view, number), Arc::new(generation));
        Ok(())
    }

    /// A generation is superseded once the one that is wanted is ready, or before it is ready itself.
    fn drop_superseded(&mut self, wanted: &BTreeMap<TableId, StreamSpec>) -> Vec<Record> {
        let superseded = |generation: &Generation| {
            let Some(spec) = wanted.get(&generation.plan.spec.view) else { return true };
            let is_wanted = generation.plan.spec == *spec;
            let replaced = self.of_view(spec.view).any(|other| {
                other.plan.spec == *spec
                    && other.is_ready()
                    && (!is_wanted || other.number > generation.number)
            });
            replaced || !is_wanted && !generation.is_ready()
        };
        let keys: Vec<_> =
            self.generations.iter().filter(|(_, g)| superseded(g)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.drop_generation(key)).collect()
    }

    fn drop_generation(&mut self, key: (TableId, u32)) -> Option<Record> {
        let generation = self.generations.remove(&key)?;
        let record = Record { stage: Stage::Dropped, ..generation.record() };
        self.dropped.push(Dropped::new(record.clone()));
        Some(record)
    }

    fn store_records(&self, records: &[Record], batch: WriteBatch) -> Result<(), ShardError> {
        let mut batch = batch.durability(Some(PersistMode::Buffer));
        for record in records {
            record.insert(&self.store, &mut batch);
        }
        batch.commit().map_err(|error| ShardError::failed_write(&error))
    }

    fn publish(&self) {
        let mut by_source: BTreeMap<TableId, Vec<Arc<Generation>>> = BTreeMap::new();
        for generation in self.duty.streams.current().all().filter(|g| (self.duty.owns)(g.plan.spec.source)) {
            by_source.entry(generation.plan.spec.source).or_default();
        }
        for generation in self.generations.values() {
            by_source.entry(generation.plan.spec.source).or_default().push(Arc::clone(generation));
        }
        for (source, generations) in by_source {
            self.duty.streams.publish(source, generations);
        }
    }

    /// Stores a portion of a backfill. One for a generation that is gone, or that does not go on from where it is,
    /// changes nothing: it was stored before.
    pub fn backfill(
        &mut self,
        step: BackfillStep,
        cache: &RowCache,
        clock: &Clock,
    ) -> Result<(), ShardError> {
        let key = (step.view, step.generation);
        let Some(generation) = self.generations.get(&key).cloned() else { return Ok(()) };
        if generation.stage != step.from {
            self.publish();
            return Ok(());
        }
        let mut states = StreamStates::default();
        let now = clock.now().micros();
        states.merge(&self.store, cache, &generation, &step.entities, now)?;
        let mut batch = self.store.db.batch();
        states.finish(&self.store, &mut batch, now)?;
        let done = step.then == Stage::Ready;
        let advanced = Generation {
            number: generation.number,
            plan: Arc::clone(&generation.plan),
            live_from: generation.live_from,
            stage: step.then,
        };
        self.store_records(&[advanced.record()], batch)?;
        states.fill(cache);
        self.generations.insert(key, Arc::new(advanced));
        if done {
            tracing::info!(view = %generation.plan.spec.name, generation = generation.number, "backfilled");
            let wanted = self.wanted(&self.duty.catalog.current());
            let dropped = self.drop_superseded(&wanted);
            self.store_records(&dropped, self.store.db.batch())?;
        }
        self.publish();
        Ok(())
    }

    /// Begins the view's state anew beside the one that serves. `None` where the view has none here.
    pub fn rebuild(
        &mut self,
        view: TableId,
        next_seq: impl Fn(TableId) -> Result<u64, ShardError>,
    ) -> Result<Option<u32>, ShardError> {
        let catalog = self.duty.catalog.current();
        let Some(spec) = self.wanted(&catalog).remove(&view) else { return Ok(None) };
        if let Some(running) = self.of_view(view).find(|g| g.plan.spec == spec && !g.is_ready()) {
            return Ok(Some(running.number));
        }
        let next = next_seq(spec.source)?;
        let generation = self.next(&catalog, spec, next)?;
        let number = generation.number;
        self.begin(generation)?;
        self.publish();
        Ok(Some(number))
    }

    /// Removes up to `limit` keys of dropped generations.
    pub fn remove_dropped(&mut self, limit: usize) -> Result<(), ShardError> {
        let due = self.dropped.iter().position(|dropped| dropped.since.elapsed() >= REMOVE_AFTER);
        let Some(at) = due else { return Ok(()) };
        let dropped = &mut self.dropped[at];
        let (view, number) = (dropped.record.spec.view, dropped.record.number);
        let mut batch = self.store.db.batch().durability(Some(PersistMode::Buffer));
        for guard in self.store.tiles.range(dropped.after.as_slice()..).take(limit) {
            let key = guard.key()?;
            if !key.starts_with(&prefix(view, number)) {
                break;
            }
            dropped.after = key.to_vec();
            batch.remove(&self.store.tiles, key);
        }
        let all = batch.len() < limit;
        if all {
            Record { stage: Stage::Removed, ..dropped.record.clone() }.insert(&self.store, &mut batch);
        }
        batch.commit().map_err(|error| ShardError::failed_write(&error))?;
        if all {
            self.dropped.remove(at);
        }
        Ok(())
    }
}

fn build(catalog: &Catalog, record: Record) -> Result<Generation, ShardError> {
    let source = catalog.newest_schema(record.spec.source).ok_or_else(|| {
        ShardError::Damaged(format!("the source of stream feature view `{}` is not known", record.spec.name))
    })?;
    Ok(Generation {
        number: record.number,
        live_from: record.live_from,
        stage: record.stage,
        plan: Arc::new(StreamPlan::compile(record.spec, source)?),
    })
}

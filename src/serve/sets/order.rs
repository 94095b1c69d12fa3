//! What a job is asked; and resolved: versions of definitions, bounds of tables.

use std::collections::BTreeMap;

use crate::{
    model::{EVENT_TIME, TimeForm, Timestamp},
    serve::{
        LeakGuard, Split, Wanted,
        sets::{Manifest, Order, SetError, SetRef, SpineMark, TableMark, jobs::Inner},
        until::tables,
    },
};

/// Whose knowledge a set has.
#[derive(Debug, Clone)]
pub enum KnownAt {
    /// What was accepted up to then.
    Time(Timestamp),
    /// What that version of a set was made of, to the row.
    Set(SetRef),
}

/// What is asked of a job that builds; the spine comes apart from it.
#[derive(Debug)]
pub struct Ask {
    pub wanted: Wanted,
    /// Under which the set is kept; without one it is kept with the job.
    pub name: Option<String>,
    pub format: String,
    pub known_at: Option<KnownAt>,
    pub event_time: Option<String>,
    /// How the spine's times are written.
    pub times: TimeForm,
    pub full_feature_names: bool,
    pub leak_guard: LeakGuard,
    pub split: Option<Split>,
}

impl Inner {
    /// Everything that is asked, with versions and bounds; the spine is yet to come.
    pub(super) fn order(&self, ask: &Ask, format: &str) -> Result<Order, SetError> {
        let reads = &self.origin.reads;
        let catalog = reads.catalog.current();
        let resolved = ask.wanted.resolve(&catalog)?;
        let feature_service = match &ask.wanted {
            Wanted::Service(name) => {
                let (name, version) =
                    name.split_once('@').map_or((name.as_str(), None), |(n, v)| (n, v.parse().ok()));
                Some(format!("{name}@{}", catalog.feature_service(name, version)?.version))
            }
            _ => None,
        };
        // The time before the numbers: what was accepted up to then has one below them.
        let now = self.origin.clock.now();
        if let Some(KnownAt::Time(time)) = &ask.known_at
            && *time > now
        {
            // What is accepted until then would be missing, though it will have been known.
            return Err(SetError::field("known_at", format!("{time} is in the future; it is {now}")));
        }
        let mut marks = BTreeMap::new();
        for schema in tables(&catalog, &resolved)? {
            let delta_version = reads.offline.table(&schema)?.snapshot().delta_version;
            let next_seq = self.origin.shards.committed().of(schema.table).next_seq();
            marks.insert(schema.name.clone(), TableMark { delta_version, next_seq });
        }
        let (known_at, by_time) = match &ask.known_at {
            None => (now, false),
            Some(KnownAt::Time(time)) => match self.version_known_at(ask.name.as_deref(), *time)? {
                Some(manifest) if marks.keys().all(|table| manifest.order.tables.contains_key(table)) => {
                    marks.retain(|table, mark| Self::take_mark(&manifest, table, mark));
                    (*time, manifest.order.by_time)
                }
                _ => (*time, true),
            },
            Some(KnownAt::Set(set)) => {
                let manifest = self.folder.manifest(set)?;
                if let Some(table) = marks.keys().find(|table| !manifest.order.tables.contains_key(*table)) {
                    let reason = format!("`{set}` was not made of `{table}`; give a time");
                    return Err(SetError::field("known_at", reason));
                }
                marks.retain(|table, mark| Self::take_mark(&manifest, table, mark));
                (manifest.order.known_at, manifest.order.by_time)
            }
        };
        Ok(Order {
            feature_service,
            features: resolved.pinned(),
            registry_version: catalog.version,
            event_time: ask.event_time.clone().unwrap_or_else(|| EVENT_TIME.to_owned()),
            times: ask.times,
            full_feature_names: ask.full_feature_names,
            format: format.to_owned(),
            known_at,
            by_time,
            tables: marks,
            spine: SpineMark { rows: 0, sha256: String::new() },
            leak_guard: ask.leak_guard,
            split: ask.split.clone(),
        })
    }

    fn take_mark(manifest: &Manifest, table: &str, mark: &mut TableMark) -> bool {
        manifest.order.tables.get(table).map(|theirs| *mark = *theirs).is_some()
    }

    /// The version of the set whose manifest says `known_at`: that time then means its rows, not only its microsecond.
    fn version_known_at(
        &self,
        name: Option<&str>,
        known_at: Timestamp,
    ) -> Result<Option<Manifest>, SetError> {
        let Some(name) = name else { return Ok(None) };
        let mut manifests = self.folder.manifests(name)?.into_iter();
        Ok(manifests.find(|manifest| manifest.order.known_at == known_at))
    }
}

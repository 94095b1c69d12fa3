//! The serving side of a node: online reads and training sets, over the same definitions and the same kernel.

use std::sync::Arc;

use crate::{
    clock::Clock,
    model::{TableSchema, Timestamp},
    offline::{History, OfflineStore, Tail},
    registry::{Catalog, CatalogHandle},
    serve::{
        Answer, Asked, Entities, Plan, Plans, Progress, ServeError, TrainingRequest, TrainingSet, Until,
        Wanted, history, online, training,
    },
    shard::{ShardReader, StreamReader, Streams},
};

#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    pub entities: usize,
    pub features: usize,
    /// Bytes of one value that a request brings.
    pub value_bytes: usize,
    /// Bytes of an online answer.
    pub answer_bytes: usize,
    /// Bytes that strings, lists and vectors may take in a training set that is answered at once.
    pub joined_bytes: usize,
}

impl ReadLimits {
    /// Refuses an answer of so many bytes, while it is written.
    pub fn check_answer(&self, bytes: usize) -> Result<(), ServeError> {
        if bytes <= self.answer_bytes {
            return Ok(());
        }
        Err(ServeError::AnswerTooLarge {
            limit: self.answer_bytes,
            setting: "limits.answer_bytes",
            instead: "ask for fewer entities or features",
        })
    }

    pub(super) fn check_entities(&self, given: usize) -> Result<(), ServeError> {
        match given > self.entities {
            true => Err(ServeError::TooMany { what: "entities", given, limit: self.entities }),
            false => Ok(()),
        }
    }
}

/// Shared by all requests.
pub struct Reads {
    pub catalog: CatalogHandle,
    pub reader: ShardReader,
    pub streams: Streams,
    pub stream_reader: StreamReader,
    pub offline: Arc<OfflineStore>,
    pub tail: Arc<dyn Tail>,
    pub clock: Clock,
    pub limits: ReadLimits,
    pub plans: Plans,
}

/// The moments of an online read; both default to now.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsOf {
    /// The value at this time, from history.
    pub at: Option<Timestamp>,
    /// Ignoring versions that were accepted after this time.
    pub known_at: Option<Timestamp>,
}

impl AsOf {
    /// Whether the newest rows can answer.
    pub fn is_now(&self) -> bool {
        self.at.is_none() && self.known_at.is_none()
    }
}

/// What the newest rows answer, and the (entity, group) pairs that they cannot.
pub struct Newest {
    pub answer: Answer,
    pub ahead: Vec<(usize, usize)>,
}

impl Newest {
    /// `past`: the same plan and entities at the same moment, from history.
    pub fn complete(self, past: &Answer) -> Answer {
        let Newest { mut answer, ahead } = self;
        for (entity, group) in ahead {
            let at = entity * answer.plan.groups.len() + group;
            answer.found[at] = past.found[at].clone();
        }
        answer.perhaps_partial()
    }
}

impl Reads {
    pub fn plan(&self, wanted: &Wanted) -> Result<Arc<Plan>, ServeError> {
        self.allowed(self.plans.get(&self.catalog.current(), &self.streams.current(), wanted)?)
    }

    /// The same, of what a request says in its JSON.
    pub fn plan_asked(&self, asked: Asked<'_>) -> Result<Arc<Plan>, ServeError> {
        self.allowed(self.plans.of_text(&self.catalog.current(), &self.streams.current(), asked)?)
    }

    fn allowed(&self, plan: Arc<Plan>) -> Result<Arc<Plan>, ServeError> {
        if plan.columns.len() > self.limits.features {
            return Err(ServeError::TooMany {
                what: "features",
                given: plan.columns.len(),
                limit: self.limits.features,
            });
        }
        if let Some(group) = plan.groups.iter().find(|g| !g.view.online) {
            let name = &group.view.name;
            return Err(ServeError::Invalid(format!(
                "the view `{name}` is not served online (online = false)"
            )));
        }
        Ok(plan)
    }

    /// Reads the newest rows. What these cannot answer needs [`Reads::history`] and [`Newest::complete`].
    pub fn newest(&self, plan: &Arc<Plan>, entities: &Entities) -> Result<Newest, ServeError> {
        self.limits.check_entities(entities.len())?;
        let now = self.clock.now();
        match online::lookup(plan, entities, &self.reader, &self.stream_reader, now) {
            // A row was written under definitions that are newer than the plan.
            Err(ServeError::StalePlan) => {
                let fresh = self.plan(&plan.wanted)?;
                if fresh.key_columns != plan.key_columns || fresh.request() != plan.request() {
                    return Err(ServeError::StalePlan);
                }
                online::lookup(&fresh, entities, &self.reader, &self.stream_reader, now)
            }
            found => found,
        }
    }

    /// Reads from history into `progress`. Takes its time: not for a thread that serves others.
    pub fn history(
        &self,
        plan: &Plan,
        entities: &Entities,
        at: Timestamp,
        known_at: Option<Timestamp>,
        progress: &Progress,
    ) -> Result<(), ServeError> {
        history::read(self, plan, entities, at, known_at, progress)
    }

    /// The moment of a read as of `as_of`, if history can answer it.
    pub fn moment(&self, plan: &Plan, entities: &Entities, as_of: AsOf) -> Result<Timestamp, ServeError> {
        self.limits.check_entities(entities.len())?;
        if let Some(group) = plan.groups.iter().find(|group| !group.view.offline && group.view.has_rows()) {
            let name = &group.view.name;
            return Err(ServeError::Invalid(format!(
                "the view `{name}` keeps no history (offline = false), so it has no value as of a moment"
            )));
        }
        Ok(as_of.at.unwrap_or_else(|| self.clock.now()))
    }

    /// All acknowledged rows of a table, or those below the bound that `until` has for it.
    pub fn table_history(&self, schema: &TableSchema, until: Option<&Until>) -> Result<History, ServeError> {
        let table = self.offline.table(schema)?;
        let history = History::open(&table, self.tail.as_ref(), schema)?;
        Ok(match until.and_then(|until| until.get(&schema.name)) {
            Some(seq) => history.until(*seq)?,
            None => history,
        })
    }

    /// The spine with each row's features at its own time; its rows in its order.
    pub fn training_set(&self, request: &TrainingRequest) -> Result<TrainingSet, ServeError> {
        self.training_set_of(&self.catalog.current(), request)
    }

    /// The same, by these definitions.
    pub fn training_set_of(
        &self,
        catalog: &Catalog,
        request: &TrainingRequest,
    ) -> Result<TrainingSet, ServeError> {
        training::training_set(self, catalog, request)
    }
}

//! Observation: the one place that sees every request after it was answered. Metrics are recorded here; a sampler of served
//! values, profiles and an audit log hook in as further observers.

use std::{sync::Arc, time::Duration};

use crate::{
    doors::{Action, Caller},
    metrics,
    serve::{Answer, Tally},
};

/// What happened at a door.
#[derive(Debug)]
pub enum Event<'a> {
    /// An online read, after its values were encoded.
    Online {
        answer: &'a Answer,
        took: Duration,
    },
    /// A training set that was answered at once.
    Training {
        rows: usize,
        took: Duration,
    },
    Query {
        succeeded: bool,
        took: Duration,
    },
    /// A change, after it was stored; `subject` names the table, the view or the node.
    Change {
        action: Action,
        subject: &'a str,
    },
}

/// Sees what happened; on the thread of the request, so it must be quick: count, or hand over and forget.
pub trait Observer: Send + Sync {
    fn observe(&self, caller: &Caller, event: &Event<'_>);
}

/// Takes the values of an online read after they were encoded, when they cost the request nothing any more. It may drop them.
pub trait Sampler: Send + Sync {
    fn take(&self, answer: Answer);
}

#[derive(Clone, Default)]
pub struct Observers {
    pub observers: Vec<Arc<dyn Observer>>,
    pub sampler: Option<Arc<dyn Sampler>>,
}

impl Observers {
    pub(super) fn tell(&self, caller: &Caller, event: &Event<'_>) {
        match event {
            Event::Training { rows, took } => metrics::record_training(*rows, *took),
            Event::Query { succeeded, took } => metrics::record_sql(*succeeded, *took),
            // Those of an online read are its plan's, and those of a write its table's: their handles are at hand there.
            Event::Online { .. } | Event::Change { .. } => {}
        }
        self.observers.iter().for_each(|observer| observer.observe(caller, event));
    }

    pub(super) fn tell_online(&self, caller: &Caller, answer: Answer, tally: &Tally, took: Duration) {
        answer.plan.meters.record(took, tally);
        self.tell(caller, &Event::Online { answer: &answer, took });
        if let Some(sampler) = &self.sampler {
            sampler.take(answer);
        }
    }
}

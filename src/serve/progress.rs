//! A read of history that somebody waits for no longer than a deadline.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    model::Timestamp,
    serve::{Answer, Found, Plan},
};

/// What has been found so far, group by group: shared by the thread that reads and the request that waits.
pub struct Progress {
    /// For each group of the plan, once it is read, what was found for each entity.
    groups: Mutex<Vec<Option<Vec<Found>>>>,
    given_up: AtomicBool,
}

impl Progress {
    pub fn new(plan: &Plan) -> Progress {
        let groups = plan.groups.iter().map(|_| None).collect();
        Progress { groups: Mutex::new(groups), given_up: AtomicBool::new(false) }
    }

    pub(super) fn put(&self, group: usize, found: Vec<Found>) {
        if let Some(place) = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get_mut(group) {
            *place = Some(found);
        }
    }

    /// Nobody waits any longer: what is not begun need not be.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What there is by now; the rest has timed out.
    pub fn answer(&self, plan: &Arc<Plan>, at: Timestamp, entities: usize) -> Answer {
        let mut groups = mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Vec::with_capacity(entities * groups.len());
        for entity in 0..entities {
            for group in &mut groups {
                found.push(match group {
                    Some(found) => mem::replace(&mut found[entity], Found::NOTHING),
                    None => Found::TimedOut,
                });
            }
        }
        Answer::new(Arc::clone(plan), at, entities, found).perhaps_partial()
    }
}

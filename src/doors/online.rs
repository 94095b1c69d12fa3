//! Online reads: the newest values, or those as of a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::ArrayRef;

use crate::{
    doors::{Action, Caller, DoorError, Doors, Observers, Resource},
    model::Timestamp,
    serve::{Answer, AsOf, Asked, Entities, Plan, Progress, ReadLimits, Tally, Wanted},
};

/// An online read, as any transport can say it.
#[derive(Debug)]
pub struct OnlineRequest {
    pub plan: Arc<Plan>,
    pub entities: Entities,
    /// The columns that on-demand features take of the request, in the plan's order.
    pub request: Vec<ArrayRef>,
    pub as_of: AsOf,
    /// How long it may take; where not given, as the node is configured.
    pub deadline: Option<Duration>,
    /// When it came in.
    pub started: Instant,
}

/// Values that wait to be encoded. What of them is served is counted while that is done.
pub struct OnlineAnswer {
    answer: Answer,
    tally: Tally,
    started: Instant,
    caller: Caller,
    observers: Observers,
}

impl OnlineAnswer {
    pub fn values(&self) -> &Answer {
        &self.answer
    }

    /// Hands the values to `write`, the encoder of a transport, and then to whoever observes. An answer that could not be
    /// written is not counted.
    pub fn encode<T, E>(mut self, write: impl FnOnce(&Answer, &mut Tally) -> Result<T, E>) -> Result<T, E> {
        let written = write(&self.answer, &mut self.tally)?;
        self.observers.tell_online(&self.caller, self.answer, &self.tally, self.started.elapsed());
        Ok(written)
    }
}

impl Doors {
    /// The plan of what is wanted, whose key and request columns an [`OnlineRequest`] has to bring.
    pub fn plan(&self, wanted: &Wanted) -> Result<Arc<Plan>, DoorError> {
        Ok(self.parts.reads.plan(wanted)?)
    }

    /// The same, of what a request says in its JSON.
    pub fn plan_json(&self, asked: Asked<'_>) -> Result<Arc<Plan>, DoorError> {
        Ok(self.parts.reads.plan_asked(asked)?)
    }

    /// Bounds of what a request may bring and be answered.
    pub fn read_limits(&self) -> &ReadLimits {
        &self.parts.reads.limits
    }

    pub async fn online(&self, caller: &Caller, request: OnlineRequest) -> Result<OnlineAnswer, DoorError> {
        let OnlineRequest { plan, entities, request, as_of, deadline, started } = request;
        self.authorise_plan(caller, Action::ReadOnline, &plan)?;
        let deadline = deadline.or(self.read_deadline).and_then(|wait| started.checked_add(wait));
        let reads = &self.parts.reads;
        let mut answer = if as_of.is_now() {
            let newest = reads.newest(&plan, &entities)?;
            if newest.ahead.is_empty() {
                newest.answer
            } else {
                let (plan, now) = (Arc::clone(&newest.answer.plan), newest.answer.now);
                newest.complete(&self.history(plan, entities, now, None, deadline).await?)
            }
        } else {
            let at = reads.moment(&plan, &entities, as_of)?;
            self.history(plan, entities, at, as_of.known_at, deadline).await?
        };
        answer.compute(&request)?;
        let tally = answer.tally();
        Ok(OnlineAnswer { answer, tally, started, caller: caller.clone(), observers: self.observers.clone() })
    }

    /// Refuses a plan with a view that the caller may not read.
    pub(super) fn authorise_plan(
        &self,
        caller: &Caller,
        action: Action,
        plan: &Plan,
    ) -> Result<(), DoorError> {
        if self.access.allows_everything() {
            return Ok(());
        }
        plan.views().try_for_each(|view| self.authorise(caller, action, Resource::Table(&view.name)))
    }

    /// Reads history on a thread of its own, so that it does not hold up other requests; for no longer than until `deadline`.
    /// A few read at a time, and the others wait: reads of windows, which may hold many events, for each other, and reads of rows
    /// for each other.
    async fn history(
        &self,
        plan: Arc<Plan>,
        entities: Entities,
        at: Timestamp,
        known_at: Option<Timestamp>,
        deadline: Option<Instant>,
    ) -> Result<Answer, DoorError> {
        let progress = Arc::new(Progress::new(&plan));
        let _waits = Waits(Arc::clone(&progress));
        let count = entities.len();
        let read = {
            let (plan, progress) = (Arc::clone(&plan), Arc::clone(&progress));
            async move {
                let place = match plan.groups.iter().any(|group| group.stream.is_some()) {
                    true => self.admission.windows().await?,
                    false => self.admission.rows_as_of().await?,
                };
                let reads = Arc::clone(&self.parts.reads);
                let read = Doors::blocking("the read", move || {
                    let _held = place;
                    reads.history(&plan, &entities, at, known_at, &progress)
                });
                read.await?.map_err(DoorError::from)
            }
        };
        match deadline {
            None => read.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), read).await {
                Ok(done) => done?,
                Err(_) => progress.give_up(),
            },
        }
        Ok(progress.answer(&plan, at, count))
    }
}

/// A client that waits; when it is gone, nobody does.
struct Waits(Arc<Progress>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

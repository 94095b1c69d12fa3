//! Explanations: the versions or events behind the values of one entity.

use std::sync::Arc;

use crate::{
    doors::{Action, Caller, DoorError, Doors, OnlineRequest},
    serve::explain::{Explanation, explain},
};

impl Doors {
    /// Explains what [`Doors::online`] answers to the same request, which is of one entity.
    pub async fn explain(&self, caller: &Caller, request: OnlineRequest) -> Result<Explanation, DoorError> {
        self.authorise_plan(caller, Action::Explain, &request.plan)?;
        let place = self.admission.windows().await?;
        let reads = Arc::clone(&self.parts.reads);
        let explained = Doors::blocking("the read", move || {
            let _held = place;
            let OnlineRequest { plan, entities, request, as_of, .. } = request;
            explain(&reads, &plan, &entities, &request, as_of)
        });
        Ok(explained.await??)
    }
}

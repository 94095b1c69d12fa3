//! Owns:      the registry's log; publishes the catalog.
//! Receives:  `ApplyDefinitions`, `Drain`.
//! Sends:     nothing; the catalog is a published snapshot, not a message.
//! When full: applies are rare; each answers before the next is taken.
//! When it dies: the supervisor replays the log; readers keep the last catalog.
//! At drain:  nothing is pending, every apply was stored before it was answered.

use actix::{Actor, Context, Handler, Message};

use larder_registry::{ApplyMode, ApplyOutcome, Definitions, Registry, RegistryError};

use super::DeathWatch;

pub struct RegistryActor {
    pub registry: Registry,
    pub watch: DeathWatch,
}

/// Make these the definitions, all of them and no others.
#[derive(Message)]
#[rtype(result = "Result<ApplyOutcome, RegistryError>")]
pub struct ApplyDefinitions {
    pub definitions: Definitions,
    pub mode: ApplyMode,
}

#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Actor for RegistryActor {
    type Context = Context<Self>;
}

impl Handler<ApplyDefinitions> for RegistryActor {
    type Result = Result<ApplyOutcome, RegistryError>;

    fn handle(&mut self, apply: ApplyDefinitions, _: &mut Self::Context) -> Self::Result {
        self.registry.apply(&apply.definitions, apply.mode)
    }
}

impl Handler<Drain> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.watch.disarm();
    }
}

#[cfg(feature = "failpoints")]
impl Handler<super::Panic> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: super::Panic, _: &mut Self::Context) {
        panic!("asked to");
    }
}

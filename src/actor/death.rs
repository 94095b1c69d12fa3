//! Noticing that an actor died: actix drops an actor whose handler panicked and tells nobody.

use actix::{Message, Recipient};

/// The actor of this name was dropped without having been drained.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Died {
    pub actor: String,
}

/// Makes the handler panic, for the crash suite.
#[cfg(feature = "failpoints")]
#[derive(Message)]
#[rtype(result = "()")]
pub struct Panic;

/// Owned by an actor; tells the supervisor when it is dropped while armed.
pub struct DeathWatch {
    actor: String,
    supervisor: Option<Recipient<Died>>,
}

impl DeathWatch {
    pub fn new(actor: &str, supervisor: Recipient<Died>) -> DeathWatch {
        DeathWatch { actor: actor.to_owned(), supervisor: Some(supervisor) }
    }

    /// From now on an end is a proper end.
    pub fn disarm(&mut self) {
        self.supervisor = None;
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.do_send(Died { actor: self.actor.clone() });
        }
    }
}

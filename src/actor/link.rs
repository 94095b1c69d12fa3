//! A lasting address: the same link reaches whichever instance of the actor is alive.

use std::sync::{Arc, RwLock};

use actix::{Actor, Addr, Handler, Message, dev::ToEnvelope};

/// Cloneable; set by whoever starts and restarts the actor. Sending never blocks and is bounded only by what the
/// messages carry (permits) or by who sends them (one tick at a time).
pub struct Link<A: Actor>(Arc<RwLock<Option<Addr<A>>>>);

impl<A: Actor> Link<A> {
    /// Not connected yet: messages are refused.
    pub fn unset() -> Self {
        Link(Arc::new(RwLock::new(None)))
    }

    pub fn set(&self, addr: Addr<A>) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = Some(addr);
    }

    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = None;
    }

    pub fn get(&self) -> Option<Addr<A>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Queues the message; false where no instance is alive, and the message is dropped.
    pub fn send<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        match self.0.read().unwrap_or_else(|e| e.into_inner()).as_ref() {
            Some(addr) if addr.connected() => {
                addr.do_send(message);
                true
            }
            _ => false,
        }
    }
}

impl<A: Actor> Clone for Link<A> {
    fn clone(&self) -> Self {
        Link(Arc::clone(&self.0))
    }
}

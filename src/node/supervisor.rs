//! Owns:      the table of who is restarted, how often, and when the node gives up.
//! Receives:  `Died` from an actor's death watch, `Watch`, `Rest`.
//! Sends:     nothing; it starts the actor again through the function that started it first.
//! When full: deaths are rare.
//! When it dies: the process ends, nobody would notice the next death.
//! At drain:  last of all.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler};

use crate::{actor::Died, metrics};

/// Starts an instance of one actor and links it.
pub type Start = Box<dyn Fn() -> Result<(), String> + Send>;

/// More deaths of one actor than this within [`WINDOW`], and the process ends: something is wrong that a restart
/// does not mend.
const BUDGET: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The exit code of a node that gave up (sysexits: internal software error).
const GAVE_UP: i32 = 70;

#[derive(Default)]
pub struct NodeSupervisor {
    children: HashMap<String, Start>,
    deaths: HashMap<String, Vec<Instant>>,
    rests: bool,
}

/// From now on restart this actor when it dies.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Watch {
    pub actor: String,
    pub start: Start,
}

/// From now on start nothing again: the threads of the actors end, and those that did not finish by the deadline with them.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Rest;

impl Handler<Rest> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: Rest, _: &mut Self::Context) {
        self.rests = true;
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;
}

impl Handler<Watch> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, watch: Watch, _: &mut Self::Context) {
        self.children.insert(watch.actor, watch.start);
    }
}

impl Handler<Died> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        if self.rests {
            return;
        }
        metrics::record_restart(&died.actor);
        let deaths = self.deaths.entry(died.actor.clone()).or_default();
        deaths.retain(|at| at.elapsed() < WINDOW);
        deaths.push(Instant::now());
        if deaths.len() > BUDGET {
            tracing::error!(actor = %died.actor, deaths = deaths.len(), "died too often, the node gives up");
            std::process::exit(GAVE_UP);
        }
        let Some(start) = self.children.get(&died.actor) else { return };
        match start() {
            Ok(()) => tracing::error!(actor = %died.actor, "died and was started again"),
            Err(error) => {
                tracing::error!(actor = %died.actor, %error, "died and cannot be started again");
                std::process::exit(GAVE_UP);
            }
        }
    }
}

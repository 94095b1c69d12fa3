//! Stopping all writers for a moment, behind everything that they have accepted.

use std::{
    convert::Infallible,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use crate::shard::{ShardError, Shards, actor::Hold};

/// While this lives no shard commits or truncates anything; reads go on.
pub struct Held {
    _releases: Vec<Sender<Infallible>>,
}

impl Shards {
    /// Blocks until every shard stands still: everything acknowledged before the call is committed.
    pub fn hold(&self, timeout: Duration) -> Result<Held, ShardError> {
        let deadline = Instant::now() + timeout;
        let (held, holding) = channel();
        let mut releases = Vec::with_capacity(self.count());
        for shard in 0..self.count() {
            let (release, released) = channel();
            if !self.link(shard).send(Hold { held: held.clone(), release: released }) {
                return Err(ShardError::Restarting(shard));
            }
            releases.push(release);
        }
        drop(held);
        for _ in 0..self.count() {
            let left = deadline.saturating_duration_since(Instant::now());
            holding.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => ShardError::Busy(timeout.as_secs()),
                RecvTimeoutError::Disconnected => ShardError::Stopped,
            })?;
        }
        Ok(Held { _releases: releases })
    }
}

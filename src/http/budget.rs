//! Bytes of bodies and answers that are in memory at once, of all requests together.
//!
//! Small ones are not counted: there is one of each at most for a connection, and connections are counted. So no small request
//! waits for a large one, however many of these there are.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::config::{LimitsConfig, ServerConfig};

/// Bodies and answers up to this size are not counted.
pub(super) const SMALL: usize = 64 << 10;

/// What a permit stands for.
const UNIT: usize = 1 << 10;

/// Answers that wait for room are in memory already; all of them may take this part of the budget on top of it.
const WAITING_PART: usize = 4;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    units: usize,
    free: Arc<Semaphore>,
    /// Room for answers that wait.
    anteroom: Arc<Semaphore>,
    /// Requests that wait.
    waiting: AtomicUsize,
    patience: Duration,
}

/// Room that is taken; free again when dropped.
#[derive(Debug, Default)]
pub struct Share(Option<OwnedSemaphorePermit>);

impl Budget {
    pub fn new(server: &ServerConfig, limits: &LimitsConfig) -> Budget {
        let units = limits.bytes_in_flight.as_usize().div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Budget(Arc::new(Inner {
            units,
            free: Arc::new(Semaphore::new(units)),
            anteroom: Arc::new(Semaphore::new(units.div_ceil(WAITING_PART))),
            waiting: AtomicUsize::new(0),
            patience: server.stall_timeout.std(),
        }))
    }

    /// Room for `bytes` of a body, beside those that its share holds already; waits for it, but not for ever: two requests that
    /// hold a part each could wait for each other. `None` where there was none.
    pub async fn grow(&self, share: &mut Share, bytes: usize) -> Option<()> {
        let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.wait(self.units_of(bytes).saturating_sub(held as u32)).await?;
        match &mut share.0 {
            Some(held) => held.merge(more),
            None => share.0 = Some(more),
        }
        Some(())
    }

    /// Room for an answer, which waits in memory. One that is larger than everything takes everything.
    pub async fn answer(&self, bytes: usize) -> Option<Share> {
        let units = self.units_of(bytes);
        if let Ok(held) = Arc::clone(&self.0.free).try_acquire_many_owned(units) {
            return Some(Share(Some(held)));
        }
        let seat = units.min(self.0.units.div_ceil(WAITING_PART) as u32);
        let _seat = self.0.anteroom.try_acquire_many(seat).ok()?;
        self.wait(units).await.map(|held| Share(Some(held)))
    }

    /// Whether someone waits for room: then those that hold some must be quick.
    pub fn is_short(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        (self.0.units - self.0.free.available_permits()) * UNIT
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.0.units)).unwrap_or(u32::MAX)
    }

    async fn wait(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        if let Ok(held) = Arc::clone(&self.0.free).try_acquire_many_owned(units) {
            return Some(held);
        }
        let _waits = Waits::new(&self.0.waiting);
        timeout(self.0.patience, Arc::clone(&self.0.free).acquire_many_owned(units)).await.ok()?.ok()
    }
}

impl Share {
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes, which keep their room until the last copy of them is dropped: an answer's when it was written.
    pub fn hold(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

struct Held<B> {
    bytes: B,
    _share: Share,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Counted while it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Waits<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Waits(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn budget(bytes: &str) -> Budget {
        let mut config = Config::default();
        config.limits.bytes_in_flight = bytes.parse().unwrap();
        config.server.stall_timeout = crate::model::Duration::from_micros(50_000).unwrap();
        Budget::new(&config.server, &config.limits)
    }

    #[tokio::test]
    async fn bytes_keep_their_room_until_the_last_copy_is_gone() {
        let budget = budget("1MiB");
        let share = budget.answer(600 << 10).await.unwrap();
        let bytes = share.hold(vec![7; 600 << 10]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(budget.taken(), 600 << 10);
        assert!(budget.answer(500 << 10).await.is_none(), "there is no room");
        assert!(!budget.is_short(), "nobody waits any more");
        drop(part);
        assert_eq!(budget.taken(), 0);
        assert!(budget.answer(500 << 10).await.is_some());
    }

    #[tokio::test]
    async fn two_that_hold_a_part_each_do_not_wait_for_ever() {
        let budget = budget("1MiB");
        let (mut one, mut other) = (Share::default(), Share::default());
        budget.grow(&mut one, 500 << 10).await.unwrap();
        budget.grow(&mut other, 500 << 10).await.unwrap();
        let (first, second) =
            tokio::join!(budget.grow(&mut one, 1000 << 10), budget.grow(&mut other, 1000 << 10));
        assert_eq!((first, second), (None, None));
        drop(one);
        budget.grow(&mut other, 1000 << 10).await.unwrap();
        // In odd steps, up to the last byte.
        budget.grow(&mut other, (1 << 20) - 1).await.unwrap();
        budget.grow(&mut other, 1 << 20).await.unwrap();
        assert_eq!(budget.taken(), 1 << 20);
    }

    #[tokio::test]
    async fn answers_that_wait_are_bounded_too() {
        let budget = budget("1MiB");
        let all = budget.answer(8 << 20).await.unwrap();
        assert_eq!(budget.taken(), 1 << 20, "larger than everything: everything");
        let waits = budget.answer(200 << 10);
        let too_many = async {
            tokio::task::yield_now().await;
            let started = std::time::Instant::now();
            let answer = budget.answer(200 << 10).await;
            (answer.is_none(), started.elapsed() < Duration::from_millis(40))
        };
        assert!(matches!(tokio::join!(waits, too_many), (None, (true, true))));
        drop(all);
    }
}

//! Large bodies are read on threads of their own, so that other requests of their connection's thread do not wait for them.

use std::sync::Arc;

use bytes::Bytes;

use super::{App, Problem};

/// Reading a body of this size takes less than a small request may wait.
const INLINE: usize = 64 << 10;

/// What `work` makes of the body: here where it is small, else elsewhere, a few at a time. Nothing is begun for a client that
/// is gone.
///
/// # Errors
/// Those of `work`.
pub async fn aside<T: Send + 'static>(
    app: &Arc<App>,
    body: Bytes,
    work: impl FnOnce(&App, &[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if body.len() <= INLINE {
        return work(app, &body);
    }
    let slot = Arc::clone(&app.aside).acquire_owned().await;
    let slot = slot.map_err(|_| Problem::unavailable("the node is stopping"))?;
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || {
        // Held until the work is done, which goes on when the client is gone.
        let _held = slot;
        work(&app, &body)
    });
    done.await.map_err(|_| Problem::internal("the body could not be read"))?
}

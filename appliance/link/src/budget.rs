//! One budget of bytes shared by all links of a server: what arrives has been paid for before it is read,
//! so fifty uploading agents need no more memory than one budget.

use std::sync::Arc;

use coffer_format::limits::FRAME_BODY_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies up to this length are free: they are bounded by the number of frames a link may hold, and a link
/// waiting for its share of the budget must still be able to hear a short message.
pub(crate) const FREE_BODY_MAX: usize = 16 << 10;

/// Bytes that all links sharing this budget may hold at once, between the socket and the next call to `recv`.
/// Clones share one budget.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    bytes: Arc<Semaphore>,
    size_bytes: usize,
}

impl ByteBudget {
    /// A budget of `size_bytes`, but never less than one frame of the longest kind.
    pub fn new(size_bytes: usize) -> Self {
        let size_bytes = size_bytes.clamp(FRAME_BODY_MAX, u32::MAX as usize / 2);
        ByteBudget { bytes: Arc::new(Semaphore::new(size_bytes)), size_bytes }
    }

    /// What a box or HQ uses: 48 MiB.
    pub fn for_server() -> Self {
        Self::new(48 << 20)
    }

    /// What one outgoing link uses: 16 MiB.
    pub fn for_client() -> Self {
        Self::new(16 << 20)
    }

    /// Bytes not taken at the moment.
    pub fn free_bytes(&self) -> usize {
        self.bytes.available_permits()
    }

    /// The whole budget.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Waits (in order of asking) until `body_len` bytes are free and takes them. The budget is never closed and
    /// no body exceeds it, so this only ever waits.
    pub(crate) async fn take(&self, body_len: usize) -> Option<OwnedSemaphorePermit> {
        if body_len <= FREE_BODY_MAX {
            return None;
        }
        Arc::clone(&self.bytes).acquire_many_owned(body_len as u32).await.ok()
    }
}

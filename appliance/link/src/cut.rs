//! Ends a link at once, where what's on its way isn't wanted any more.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Cuts a link from outside. Dropped unused, it leaves the link as it is.
#[derive(Debug)]
pub struct LinkCut {
    tasks: [JoinHandle<()>; 2],
    runtime: Handle,
}

impl LinkCut {
    pub(crate) fn of(tasks: [JoinHandle<()>; 2], runtime: Handle) -> LinkCut {
        LinkCut { tasks, runtime }
    }

    /// Drops what was sent and isn't written yet, even half a frame, and closes the connection. Waits until both tasks have
    /// ended, after which nothing is written any more; `false` where `patience` is over before that. From a thread outside
    /// the runtime; panics within it.
    pub fn blocking_cut(self, patience: Duration) -> bool {
        let LinkCut { tasks, runtime } = self;
        tasks.iter().for_each(JoinHandle::abort);
        let ended = async {
            for task in tasks {
                // However it ended, it has.
                let _ = task.await;
            }
        };
        runtime.block_on(async { timeout(patience, ended).await.is_ok() })
    }
}

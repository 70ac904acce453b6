//! Asks the system for files that will be read next. Cold small files are otherwise waited for one by one.
//!
//! A hint and nothing more: what can't be opened here is told about where it's read, and what doesn't fit is left out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::config::Priority;
use crate::platform::SourceFile;
use crate::standstill::View;

/// Files asked for ahead of the one that's being read.
pub(super) const AHEAD: usize = 24;

/// A thread that asks.
pub(super) struct Prefetch {
    paths: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    pub(super) fn start(view: Arc<View>, priority: Priority) -> Prefetch {
        let (paths, waiting) = sync_channel(2 * AHEAD);
        let thread = std::thread::spawn(move || {
            priority.settle_in();
            ask_for(&waiting, &view);
        });
        Prefetch { paths: Some(paths), thread: Some(thread) }
    }

    pub(super) fn soon(&self, path: &[u8]) {
        if let Some(paths) = &self.paths {
            // Full: the thread is behind, and the file is read before it could be asked for.
            let _late = paths.try_send(path.to_vec());
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.paths = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that reads ahead panicked");
        }
    }
}

fn ask_for(paths: &Receiver<Vec<u8>>, view: &View) {
    for path in paths {
        if let Ok(file) = SourceFile::open(&view.at(&path)) {
            file.expect_soon();
        }
    }
}

//! Threads that unpack what comes and write it into files under way. A bounded number of packs waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use coffer_format::chunk::Compression;
use coffer_format::wire::Placement;

use super::growing::{Growing, unpacked};

/// Packs that wait to be written.
const WAITING_MAX: usize = 8;
/// Most threads.
const THREADS_MAX: usize = 8;

/// One pack and where its pieces go.
pub(super) struct PackJob {
    pub(super) compression: Compression,
    pub(super) raw_len: u32,
    pub(super) placements: Vec<(Arc<Growing>, Placement)>,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Pool {
    jobs: Option<SyncSender<PackJob>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    unfinished: Mutex<usize>,
    idle: Condvar,
    bytes: AtomicU64,
}

impl Pool {
    pub(super) fn start() -> Pool {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let (waiting, shared) = (Arc::new(Mutex::new(waiting)), Arc::new(Shared::default()));
        let work = |_| {
            let (waiting, shared) = (waiting.clone(), shared.clone());
            std::thread::spawn(move || write_all(&waiting, &shared))
        };
        Pool { jobs: Some(jobs), threads: (0..threads()).map(work).collect(), shared }
    }

    /// Waits where enough is under way.
    pub(super) fn write(&self, job: PackJob) {
        *self.shared.unfinished.lock().expect("writers don't panic") += 1;
        let jobs = self.jobs.as_ref().expect("the pool runs until it's dropped");
        jobs.send(job).expect("writers run until then, too");
    }

    /// Until everything is written, and nobody holds a file any more.
    pub(super) fn wait(&self) {
        let unfinished = self.shared.unfinished.lock().expect("writers don't panic");
        drop(self.shared.idle.wait_while(unfinished, |unfinished| *unfinished > 0));
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a writer failed; this is a mistake in coffer");
            }
        }
    }
}

/// Threads that are worth having.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, THREADS_MAX))
}

fn write_all(waiting: &Mutex<Receiver<PackJob>>, shared: &Shared) {
    loop {
        let next = waiting.lock().expect("writers don't panic").recv();
        let Ok(PackJob { compression, raw_len, placements, payload }) = next else { return };
        let raw = unpacked(compression, raw_len, payload);
        for (growing, placement) in &placements {
            shared.bytes.fetch_add(growing.write(placement, &raw), Ordering::Relaxed);
        }
        // Whoever waits for the end of it has the files to itself.
        drop(placements);
        let mut unfinished = shared.unfinished.lock().expect("writers don't panic");
        *unfinished -= 1;
        if *unfinished == 0 {
            shared.idle.notify_all();
        }
    }
}

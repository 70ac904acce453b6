//! Threads that decompress packs and write their pieces to a spool. A bounded number of packs waits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use coffer_format::chunk::Compression;
use coffer_format::limits;
use coffer_format::wire::Placement;

/// Packs that wait to be written.
const WAITING_MAX: usize = 8;

/// A spooled file.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
}

/// One pack and where its pieces go.
pub(super) struct PackJob {
    pub(super) compression: Compression,
    pub(super) raw_len: u32,
    pub(super) placements: Vec<(Arc<Written>, Placement)>,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Pool {
    jobs: Option<SyncSender<PackJob>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    idle: Condvar,
    bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    unfinished: usize,
    failed: Vec<(PathBuf, String)>,
}

impl Pool {
    pub(super) fn start() -> Pool {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let shared = Arc::new(Shared::default());
        let count = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
        let work = |_| {
            let (waiting, shared) = (waiting.clone(), shared.clone());
            std::thread::spawn(move || write_all(&waiting, &shared))
        };
        Pool { jobs: Some(jobs), threads: (0..count).map(work).collect(), shared }
    }

    pub(super) fn write(&self, job: PackJob) {
        self.shared.state.lock().expect("writers don't panic").unfinished += 1;
        self.jobs
            .as_ref()
            .expect("the pool runs until it's dropped")
            .send(job)
            .expect("writers run until then, too");
    }

    /// Waits until everything is written; returns what couldn't be.
    pub(super) fn wait(&self) -> Vec<(PathBuf, String)> {
        let state = self.shared.state.lock().expect("writers don't panic");
        let mut state =
            self.shared.idle.wait_while(state, |state| state.unfinished > 0).expect("writers don't panic");
        std::mem::take(&mut state.failed)
    }

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

fn write_all(waiting: &Mutex<Receiver<PackJob>>, shared: &Shared) {
    let mut raw = Vec::new();
    loop {
        let next = waiting.lock().expect("writers don't panic").recv();
        let Ok(job) = next else { return };
        let failed = write_one(&job, &mut raw, shared);
        let mut state = shared.state.lock().expect("writers don't panic");
        state.failed.extend(failed);
        state.unfinished -= 1;
        if state.unfinished == 0 {
            shared.idle.notify_all();
        }
    }
}

fn write_one(job: &PackJob, raw: &mut Vec<u8>, shared: &Shared) -> Vec<(PathBuf, String)> {
    let bytes: &[u8] = match job.compression {
        Compression::Raw => &job.payload,
        Compression::Zstd => {
            raw.resize((job.raw_len as usize).min(limits::PACK_RAW_MAX), 0);
            match zstd::bulk::decompress_to_buffer(&job.payload, raw.as_mut_slice()) {
                Ok(len) => &raw[..len],
                Err(error) => {
                    let sentence =
                        format!("its data didn't decompress ({error}): run `coffer verify` on the box");
                    return job
                        .placements
                        .iter()
                        .map(|(written, _)| (written.path.clone(), sentence.clone()))
                        .collect();
                }
            }
        }
    };
    let mut failed = Vec::new();
    let mut open = None;
    for (written, placement) in &job.placements {
        match place(bytes, written, placement, &mut open) {
            Ok(()) => {
                shared.bytes.fetch_add(placement.len.into(), Ordering::Relaxed);
            }
            Err(error) => failed.push((written.path.clone(), error.to_string())),
        }
    }
    failed
}

/// The file that was written last: the next piece is often of the same one.
type LastOpen<'a> = Option<(&'a Arc<Written>, File)>;

fn place<'a>(
    bytes: &[u8],
    written: &'a Arc<Written>,
    placement: &Placement,
    open: &mut LastOpen<'a>,
) -> io::Result<()> {
    let from = placement.offset as usize;
    let piece = bytes.get(from..from + placement.len as usize);
    let piece = piece.ok_or_else(|| io::Error::other("its data is short: run `coffer verify` on the box"))?;
    if open.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, written)) {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        *open = Some((written, options.open(&written.path)?));
    }
    let Some((_, file)) = open.as_ref() else { return Ok(()) };
    file.write_all_at(piece, placement.at)
}

//! Keeps the drive busy: it writes on a thread of its own while the next blocks are read, hashed and sealed.
//!
//! At most [`BUFFERS`] blocks are under way. What is handed in is written in order, without a gap, until the drive says
//! that there is room for little more or fails; from then on nothing is written.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coffer_format::container::BLOCK_LEN;

use crate::TapeError;
use crate::drive::{Drive, WriteOutcome};

/// 8 MiB: some tens of milliseconds of the fastest drive, so that a slow read here and there isn't felt.
pub(super) const BUFFERS: usize = 32;

/// What reached the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) blocks: u32,
    /// The last of them came with early warning.
    pub(super) warned: bool,
}

/// Where blocks are handed in.
pub(super) struct Feed {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    made: usize,
}

/// The drive takes no more; why is told when all is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended;

impl Feed {
    /// A buffer of [`BLOCK_LEN`] bytes with anything in it.
    pub(super) fn buffer(&mut self) -> Result<Vec<u8>, Ended> {
        if let Ok(buffer) = self.empty.try_recv() {
            return Ok(buffer);
        }
        if self.made < BUFFERS {
            self.made += 1;
            return Ok(vec![0; BLOCK_LEN]);
        }
        self.empty.recv().map_err(|_| Ended)
    }

    /// Hands in a sealed block.
    pub(super) fn write(&mut self, block: Vec<u8>) -> Result<(), Ended> {
        self.full.send(block).map_err(|_| Ended)
    }

    /// A buffer that isn't needed after all.
    pub(super) fn forget(&mut self, _buffer: Vec<u8>) {
        self.made -= 1;
    }
}

/// Writes what `produce` hands in, while it goes on. Returns when the drive has been sent all of it.
pub(super) fn write_ahead<T>(
    drive: &mut Drive,
    produce: impl FnOnce(&mut Feed) -> T,
) -> Result<(T, Written), TapeError> {
    let (full, to_write) = sync_channel(BUFFERS);
    let (written, empty) = sync_channel(BUFFERS);
    let span = tracing::Span::current();
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || span.in_scope(|| write_all(drive, &to_write, &written)));
        let mut feed = Feed { full, empty, made: 0 };
        let produced = produce(&mut feed);
        drop(feed);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((produced, written))
    })
}

fn write_all(
    drive: &mut Drive,
    to_write: &Receiver<Vec<u8>>,
    done: &SyncSender<Vec<u8>>,
) -> Result<Written, TapeError> {
    let mut written = Written { blocks: 0, warned: false };
    while let Ok(block) = to_write.recv() {
        written.warned = drive.write_block(&block)? == WriteOutcome::EarlyWarning;
        written.blocks += 1;
        if written.warned {
            break;
        }
        // There is room for every buffer; nobody waits for this one if the producer has ended.
        let _ = done.send(block);
    }
    Ok(written)
}

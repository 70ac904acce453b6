//! Keeps the drive busy: it reads on a thread of its own while blocks are checked and passed on.
//!
//! Nothing is wound or read before the first block is asked for, and never more than was asked for. At most [`BUFFERS`]
//! blocks are under way.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::write_ahead::BUFFERS;
use crate::TapeError;
use crate::drive::{Drive, ReadOutcome};

/// A block as it was read, its length, or what lay there in place of one.
pub(super) type Read = (Vec<u8>, ReadOutcome);

/// Where blocks come from, in order.
pub(super) struct Blocks {
    empty: SyncSender<Vec<u8>>,
    full: Receiver<Result<Read, TapeError>>,
    /// Buffers not yet sent to the drive.
    spare: usize,
}

impl Blocks {
    /// The next block; `None` if the drive has ended after an error or all were read.
    pub(super) fn next(&mut self) -> Option<Result<Read, TapeError>> {
        for _ in 0..std::mem::take(&mut self.spare) {
            self.give_back(Vec::new());
        }
        self.full.recv().ok()
    }

    /// Lets the drive read on into a buffer that was given out.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        // There is room for every buffer; an ended drive needs none.
        let _ = self.empty.try_send(buffer);
    }
}

/// Lets `consume` have `count` blocks. `start` goes to the first of them: it's run once the first is asked for, and may
/// leave it in its buffer, read already.
pub(super) fn read_ahead<T>(
    drive: &mut Drive,
    count: u64,
    start: impl FnOnce(&mut Drive, &mut [u8]) -> Result<Option<ReadOutcome>, TapeError> + Send,
    consume: impl FnOnce(&mut Blocks) -> T,
) -> T {
    let (empty, to_fill) = sync_channel(BUFFERS);
    let (filled, full) = sync_channel(BUFFERS);
    let span = tracing::Span::current();
    let spare = usize::try_from(count).unwrap_or(BUFFERS).min(BUFFERS);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            span.in_scope(|| {
                if let Err(error) = read_all(drive, count, start, &to_fill, &filled) {
                    // Nobody waits for it if the consumer has ended.
                    let _ = filled.send(Err(error));
                }
            });
        });
        consume(&mut Blocks { empty, full, spare })
    })
}

fn read_all(
    drive: &mut Drive,
    count: u64,
    start: impl FnOnce(&mut Drive, &mut [u8]) -> Result<Option<ReadOutcome>, TapeError>,
    to_fill: &Receiver<Vec<u8>>,
    filled: &SyncSender<Result<Read, TapeError>>,
) -> Result<(), TapeError> {
    let mut start = Some(start);
    for _ in 0..count {
        let Ok(mut buffer) = to_fill.recv() else { return Ok(()) };
        buffer.resize(coffer_format::container::BLOCK_LEN, 0);
        let ahead = match start.take() {
            Some(start) => start(drive, &mut buffer)?,
            None => None,
        };
        let outcome = match ahead {
            Some(outcome) => outcome,
            None => drive.read_block(&mut buffer)?,
        };
        if filled.send(Ok((buffer, outcome))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

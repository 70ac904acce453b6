//! The ring of commands that the kernel shares with this program (`include/uapi/linux/target_core_user.h`, version 2).
//!
//! A page of mailbox says where the ring is; the kernel moves its head, this program its tail. An entry names its data
//! by offsets into the same mapping and is overwritten with the answer in place. Nothing the kernel wrote is followed
//! outside the mapping.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use coffer_tape::scsi::{ScsiReply, status};

const MAILBOX_VERSION: u16 = 2;
const RING_OFFSET: usize = 4;
const RING_SIZE: usize = 8;
const HEAD: usize = 12;
const TAIL: usize = 64;

/// Within an entry.
const UFLAGS: usize = 7;
const VECTOR_COUNT: usize = 8;
const CDB_OFFSET: usize = 24;
const VECTORS: usize = 48;
const VECTOR_LEN: usize = 16;
const STATUS: usize = 8;
const READ_LEN: usize = 12;
const SENSE: usize = 16;
const SENSE_LEN: usize = 96;

const OPERATION_MASK: u32 = 7;
const OPERATION_COMMAND: u32 = 1;
const UFLAG_UNKNOWN_OPERATION: u8 = 1;
const UFLAG_READ_LEN: u8 = 2;

/// Data of one command: at most this much, far above any block.
const DATA_MAX: usize = 64 << 20;
const VECTORS_MAX: usize = 4096;

/// The mapping, until it's dropped.
pub(super) struct Ring {
    base: *mut u8,
    len: usize,
    first: usize,
    size: usize,
}

// SAFETY: the mapping belongs to the `Ring` alone, is valid from any thread, and is reached only through `&mut self`.
unsafe impl Send for Ring {}

/// A stretch of the mapping.
#[derive(Clone, Copy)]
struct Piece {
    at: usize,
    len: usize,
}

/// A command in the ring that hasn't been answered.
pub(super) struct Command {
    entry: usize,
    pub(super) cdb: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Command {
    /// Length of the buffer that goes with it, in bytes.
    pub(super) fn data_len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len).sum()
    }
}

impl Ring {
    /// Maps the first `len` bytes of a uio device.
    pub(super) fn map(uio: &File, len: usize) -> Result<Ring> {
        ensure!(len > TAIL + 4, "the mapping is too short for a mailbox");
        // SAFETY: a new shared mapping at an address of the kernel's choice; the descriptor is open and `len` is what the
        // device says.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                uio.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("map the command ring");
        }
        let mut ring = Ring { base: base.cast(), len, first: 0, size: 0 };
        let version = u16::from_ne_bytes(ring.array(0)?);
        ensure!(version == MAILBOX_VERSION, "the kernel's mailbox has version {version}, not 2");
        ring.first = u32::from_ne_bytes(ring.array(RING_OFFSET)?) as usize;
        ring.size = u32::from_ne_bytes(ring.array(RING_SIZE)?) as usize;
        ensure!(ring.size > 0 && ring.first + ring.size <= len, "the ring lies outside its mapping");
        Ok(ring)
    }

    /// The next command; `None` if there is none. It must be answered before the next is asked for.
    pub(super) fn next(&mut self) -> Result<Option<Command>> {
        loop {
            let tail = self.word(TAIL).load(Ordering::Relaxed);
            if tail == self.word(HEAD).load(Ordering::Acquire) {
                return Ok(None);
            }
            let entry = self.first + tail as usize;
            let length_and_operation = u32::from_ne_bytes(self.array(entry)?);
            match length_and_operation & OPERATION_MASK {
                OPERATION_COMMAND => return self.command(entry).map(Some),
                // Padding at the ring's end.
                0 => self.advance(entry)?,
                _ => {
                    self.put(entry + UFLAGS, &[UFLAG_UNKNOWN_OPERATION])?;
                    self.advance(entry)?;
                }
            }
        }
    }

    /// Reads what a command sends.
    pub(super) fn gather(&self, command: &Command) -> Result<Vec<u8>> {
        let mut bytes = vec![0; command.data_len()];
        let mut rest = &mut bytes[..];
        for piece in &command.pieces {
            let (front, back) = rest.split_at_mut(piece.len);
            self.get(piece.at, front)?;
            rest = back;
        }
        Ok(bytes)
    }

    /// Answers a command; `given` is what it's given back.
    pub(super) fn answer(&mut self, command: Command, reply: &ScsiReply, given: &[u8]) -> Result<()> {
        let mut rest = given;
        for piece in &command.pieces {
            let (front, back) = rest.split_at(piece.len.min(rest.len()));
            self.put(piece.at, front)?;
            rest = back;
        }
        let entry = command.entry;
        // Without its length told, the kernel takes a good answer's data for whole and drops a bad one's.
        if !given.is_empty() && (given.len() < command.data_len() || reply.status != status::GOOD) {
            self.put(entry + UFLAGS, &[UFLAG_READ_LEN])?;
        }
        self.put(entry + STATUS, &[reply.status, 0, 0, 0])?;
        self.put(entry + READ_LEN, &(given.len() as u32).to_ne_bytes())?;
        let mut sense = [0; SENSE_LEN];
        let len = reply.sense.len().min(SENSE_LEN);
        sense[..len].copy_from_slice(&reply.sense[..len]);
        self.put(entry + SENSE, &sense)?;
        self.advance(entry)
    }

    fn command(&self, entry: usize) -> Result<Command> {
        let count = u32::from_ne_bytes(self.array(entry + VECTOR_COUNT)?) as usize;
        ensure!(count <= VECTORS_MAX, "a command with {count} pieces of data");
        let mut pieces = Vec::with_capacity(count);
        for number in 0..count {
            let vector = entry + VECTORS + number * VECTOR_LEN;
            pieces.push(Piece {
                at: usize::from_ne_bytes(self.array(vector)?),
                len: usize::from_ne_bytes(self.array(vector + 8)?),
            });
        }
        let total = pieces.iter().fold(0usize, |total, piece| total.saturating_add(piece.len));
        ensure!(total <= DATA_MAX, "a command with {total} bytes of data");
        let at = u64::from_ne_bytes(self.array(entry + CDB_OFFSET)?) as usize;
        let [operation] = self.array(at)?;
        let mut cdb = vec![0; cdb_len(operation)];
        self.get(at, &mut cdb)?;
        Ok(Command { entry, cdb, pieces })
    }

    /// Gives an entry back to the kernel.
    fn advance(&mut self, entry: usize) -> Result<()> {
        let len = u32::from_ne_bytes(self.array(entry)?) & !OPERATION_MASK;
        ensure!(len > 0, "an entry without length in the ring");
        let tail = (entry - self.first + len as usize) % self.size;
        self.word(TAIL).store(tail as u32, Ordering::Release);
        Ok(())
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: HEAD and TAIL lie within the mapping (checked by `map`) and are aligned to four bytes in a mapping that
        // is aligned to a page; the kernel writes to them only as whole words.
        unsafe { AtomicU32::from_ptr(self.base.add(at).cast()) }
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.get(at, &mut bytes)?;
        Ok(bytes)
    }

    fn get(&self, at: usize, out: &mut [u8]) -> Result<()> {
        self.check(at, out.len())?;
        // SAFETY: the stretch lies within the mapping, `out` is memory of our own; the kernel doesn't touch a command's
        // entry and data until it's answered.
        unsafe { std::ptr::copy_nonoverlapping(self.base.add(at), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        self.check(at, bytes.len())?;
        // SAFETY: as in `get`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(at), bytes.len()) };
        Ok(())
    }

    fn check(&self, at: usize, len: usize) -> Result<()> {
        let within = at.checked_add(len).is_some_and(|end| end <= self.len);
        ensure!(within, "the kernel points to {at}+{len}, outside of the mapping's {} bytes", self.len);
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// A command's length by its group (SPC-4 4.2.5.1).
fn cdb_len(operation: u8) -> usize {
    match operation >> 5 {
        0 => 6,
        1 | 2 => 10,
        4 => 16,
        _ => 12,
    }
}

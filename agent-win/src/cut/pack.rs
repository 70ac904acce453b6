//! Gathering chunks of many files, or changed pages of one, into a run of up to 1 MiB that's compressed as one.

use std::ops::Range;

use coffer_format::limits::{PACK_CHUNKS_MAX, PACK_RAW_MAX};

use super::RawBuffer;

/// Stands for a file from its opening to its closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Where `len` bytes from `offset` of a chunk lie in their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// Whether the pages of a piece are signed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    No,
    Pages,
}

/// One chunk to be: a run of raw bytes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) ticket: Ticket,
    pub(crate) len: u32,
    pub(crate) places: Vec<Place>,
    pub(crate) signing: Signing,
}

/// A pack being filled. At most [`PACK_RAW_MAX`] bytes in at most [`PACK_CHUNKS_MAX`] pieces.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    pub(crate) raw: RawBuffer,
    pub(crate) pieces: Vec<Piece>,
}

impl PackBuilder {
    pub(crate) fn new(mut raw: RawBuffer) -> PackBuilder {
        raw.clear();
        PackBuilder { raw, pieces: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether another chunk of `len` bytes has room.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.raw.len() + len <= PACK_RAW_MAX && self.pieces.len() < PACK_CHUNKS_MAX
    }

    /// Adds a chunk of its own.
    pub(crate) fn add_chunk(&mut self, ticket: Ticket, at: u64, bytes: &[u8]) {
        let len = bytes.len() as u32;
        self.raw.push(bytes);
        let places = vec![Place { at, offset: 0, len }];
        self.pieces.push(Piece { ticket, len, places, signing: Signing::No });
    }

    /// Adds runs of pages that were read into the buffer's room, where its first byte is the file's byte `at`. They join
    /// the file's chunk in this pack, which grows as long as nothing else comes between.
    pub(crate) fn keep_pages(&mut self, ticket: Ticket, at: u64, runs: &[Range<usize>]) {
        let before = self.raw.len();
        for run in runs {
            let closed_up = self.raw.len() - before;
            self.raw.keep(run.start - closed_up, run.len());
            self.place_pages(ticket, at + run.start as u64, run.len() as u32);
        }
    }

    fn place_pages(&mut self, ticket: Ticket, at: u64, len: u32) {
        match self.pieces.last_mut() {
            Some(piece) if piece.ticket == ticket && piece.signing == Signing::Pages => {
                let place = Place { at, offset: piece.len, len };
                piece.len += len;
                match piece.places.last_mut() {
                    Some(last) if last.at + u64::from(last.len) == at => last.len += len,
                    _ => piece.places.push(place),
                }
            }
            _ => {
                let places = vec![Place { at, offset: 0, len }];
                self.pieces.push(Piece { ticket, len, places, signing: Signing::Pages });
            }
        }
    }
}

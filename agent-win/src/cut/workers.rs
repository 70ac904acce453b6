//! A few threads that name, sign and compress packs. Each pack's result comes back through a channel of its own, so
//! that whoever waits for them in order needs no sorting. At most `threads + JOBS_MAX` packs are held.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use coffer_format::chunk::{ChunkEntry, Compression, Pack};
use coffer_format::limits::PAGE;
use coffer_format::{ChunkId, chunk_id, page_signature};

use super::{PackBuilder, Piece, RawBuffer, Signing};
use crate::config::Priority;
use crate::journal::PageSignature;

const JOBS_MAX: usize = 2;
/// Runs shorter than this are compressed without asking.
const PROBE_FROM: usize = 128 << 10;
const PROBE_LEN: usize = 8 << 10;

/// A piece with its name, and the signatures of its pages.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) piece: Piece,
    pub(crate) id: ChunkId,
    pub(crate) signatures: Vec<(u64, PageSignature)>,
}

/// A finished pack. `raw` is a buffer to fill again.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) pack: Pack,
    pub(crate) pieces: Vec<Named>,
    pub(crate) raw: RawBuffer,
}

struct Job {
    builder: PackBuilder,
    reply: SyncSender<Packed>,
}

/// The threads.
pub(crate) struct Workers {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// `level` is zstd's; `page_level` is that of files cut in pages.
    pub(crate) fn start(
        threads: usize,
        chunk_key: [u8; 32],
        (level, page_level): (i32, i32),
        priority: Priority,
    ) -> std::io::Result<Workers> {
        let (jobs, queue) = sync_channel::<Job>(JOBS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let mut started = Vec::new();
        for _ in 0..threads {
            let queue = queue.clone();
            let mut worker = Worker {
                chunk_key,
                compressor: zstd::bulk::Compressor::new(level)?,
                page_compressor: zstd::bulk::Compressor::new(page_level)?,
                sample: Vec::new(),
            };
            started.push(std::thread::spawn(move || {
                priority.settle_in();
                worker.work(&queue);
            }));
        }
        Ok(Workers { jobs: Some(jobs), threads: started })
    }

    /// Hands a pack over; the result comes through the returned channel. Waits while all threads are behind.
    pub(crate) fn submit(&self, builder: PackBuilder) -> Receiver<Packed> {
        let (reply, result) = sync_channel(1);
        let jobs = self.jobs.as_ref().expect("open until dropped");
        if jobs.send(Job { builder, reply }).is_err() {
            tracing::error!("the threads that compress are gone");
        }
        result
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that compresses panicked");
            }
        }
    }
}

struct Worker {
    chunk_key: [u8; 32],
    compressor: zstd::bulk::Compressor<'static>,
    page_compressor: zstd::bulk::Compressor<'static>,
    sample: Vec<u8>,
}

impl Worker {
    fn work(&mut self, queue: &Mutex<Receiver<Job>>) {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { builder, reply }) = job else { return };
            // Nobody waits any more where a capture was given up.
            let _unwanted = reply.send(self.packed(builder));
        }
    }

    fn packed(&mut self, builder: PackBuilder) -> Packed {
        let PackBuilder { raw, pieces } = builder;
        let run = raw.bytes();
        let mut at = 0;
        let pieces: Vec<Named> = pieces
            .into_iter()
            .map(|piece| {
                let bytes = &run[at..at + piece.len as usize];
                at += piece.len as usize;
                self.named(piece, bytes)
            })
            .collect();
        let chunks =
            pieces.iter().map(|named| ChunkEntry { id: named.id, raw_len: named.piece.len }).collect();
        let in_pages = pieces.iter().all(|named| named.piece.signing == Signing::Pages);
        let (compression, payload) = self.compressed(run, in_pages);
        Packed { pack: Pack { chunks, compression, payload }, pieces, raw }
    }

    fn named(&self, piece: Piece, bytes: &[u8]) -> Named {
        let mut signatures = Vec::new();
        if piece.signing == Signing::Pages {
            for place in &piece.places {
                let run = &bytes[place.offset as usize..][..place.len as usize];
                let first = place.at / PAGE as u64;
                let signed = run.chunks(PAGE).map(|page| page_signature(&self.chunk_key, page));
                signatures.extend((first..).zip(signed));
            }
        }
        Named { id: chunk_id(&self.chunk_key, bytes), piece, signatures }
    }

    fn compressed(&mut self, raw: &[u8], in_pages: bool) -> (Compression, Vec<u8>) {
        if !self.is_worth_it(raw) {
            return (Compression::Raw, raw.to_vec());
        }
        let compressor = if in_pages { &mut self.page_compressor } else { &mut self.compressor };
        match compressor.compress(raw) {
            Ok(payload) if payload.len() < raw.len() => (Compression::Zstd, payload),
            _ => (Compression::Raw, raw.to_vec()),
        }
    }

    /// Tries a few samples: films, photos and archives don't get smaller.
    fn is_worth_it(&mut self, raw: &[u8]) -> bool {
        if raw.len() < PROBE_FROM {
            return true;
        }
        self.sample.clear();
        let step = raw.len() / 4;
        (0..4).for_each(|part| self.sample.extend_from_slice(&raw[part * step..][..PROBE_LEN]));
        match self.compressor.compress(&self.sample) {
            Ok(packed) => packed.len() * 100 < self.sample.len() * 96,
            Err(_) => false,
        }
    }
}

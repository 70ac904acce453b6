//! A restore of one file that is written nowhere: each byte is compared with what was stored.

use std::borrow::Cow;
use std::io;

use coffer_format::chunk::Compression;
use coffer_format::limits;
use coffer_format::wire::{LeftOut, Message, Placement, RestoreNode};
use coffer_vault::trial::Expected;

use super::{Sink, misplaced, shown};

/// Takes the messages of a restore.
pub(crate) struct Comparison {
    path: Vec<u8>,
    expected: Expected,
    /// The file, once it was announced.
    index: Option<u32>,
    bytes: u64,
    /// The first thing that was wrong.
    wrong: Option<String>,
}

impl Comparison {
    /// `path`: what is asked for.
    pub(crate) fn new(path: Vec<u8>, expected: Expected) -> Comparison {
        Comparison { path, expected, index: None, bytes: 0, wrong: None }
    }

    /// What was wrong; nothing where all of it came as it was stored.
    pub(crate) fn finish(self) -> Option<String> {
        let Comparison { expected, index, wrong, .. } = self;
        wrong.or_else(|| match index {
            None => Some("the restore didn't give it".into()),
            Some(_) => expected.lacks().map(|at| format!("its bytes from {at} on didn't come")),
        })
    }

    fn fail(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    fn begin(&mut self, node: &RestoreNode) {
        if node.path.0 != self.path {
            return;
        }
        self.index = Some(node.index);
        let (size, expected) = (node.meta.size, self.expected.size());
        if size != expected {
            self.fail(format!("it came with {size} bytes instead of {expected}"));
        }
    }

    fn pack(
        &mut self,
        compression: Compression,
        raw_len: u32,
        placements: &[Placement],
        payload: &[u8],
    ) -> io::Result<()> {
        let raw = match compression {
            Compression::Raw => Cow::Borrowed(payload),
            Compression::Zstd => {
                match zstd::bulk::decompress(payload, (raw_len as usize).min(limits::PACK_RAW_MAX)) {
                    Ok(raw) => Cow::Owned(raw),
                    Err(error) => {
                        self.fail(format!("its data didn't decompress: {error}"));
                        return Ok(());
                    }
                }
            }
        };
        let index = self.index;
        for placement in placements.iter().filter(|one| Some(one.index) == index) {
            let from = placement.offset as usize;
            let piece = raw.get(from..from + placement.len as usize);
            let is_right = match piece {
                Some(piece) => self.expected.take(placement.at, piece).map_err(io::Error::other)?,
                None => false,
            };
            if !is_right {
                self.fail(format!("its bytes from {} on aren't what was stored", placement.at));
            }
            self.bytes += u64::from(placement.len);
        }
        Ok(())
    }

    fn left_out(&mut self, file: LeftOut) {
        self.fail(format!("{} {}", shown(&file.path).display(), file.what));
    }
}

impl Sink for Comparison {
    fn bytes(&mut self) -> u64 {
        self.bytes
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::RestoreNodes { nodes } => nodes.iter().for_each(|node| self.begin(node)),
            Message::RestorePack { compression, raw_len, placements, payload } => {
                self.pack(compression, raw_len, &placements, &payload.0)?;
            }
            Message::RestoreLeftOut { files } => files.into_iter().for_each(|file| self.left_out(file)),
            Message::RestoreBatchEnd | Message::RestoreEnd { .. } => {}
            _ => return Err(misplaced()),
        }
        Ok(())
    }
}

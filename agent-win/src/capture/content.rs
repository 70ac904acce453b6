//! Reading a file that's cut by its content: chunks that the version before had are named by their place in it.

use std::collections::HashMap;

use coffer_format::manifest::{Range, Source};
use coffer_format::{ChunkId, chunk_id};

use super::CaptureError;
use super::file_task::FileTask;
use super::item::{Memorize, Said};
use super::reading::{Content, ReadError, Reading, WINDOW};
use crate::cut::{CONTENT_MAX, Ticket, WHOLE_MAX, next_cut};
use crate::journal::MemoryKind;
use crate::platform::SourceFile;
use crate::scan::Stat;

/// Versions up to this are sent again rather than asking the box what it remembers of them.
const NOT_WORTH_ASKING: u64 = WHOLE_MAX;

impl Reading<'_> {
    pub(super) fn by_content(
        &mut self,
        task: &FileTask,
        source: &SourceFile,
        stat: &Stat,
    ) -> Result<Content, ReadError> {
        let base = match &task.known {
            Some(known) if known.sent_size > NOT_WORTH_ASKING => self.known_chunks(known)?,
            _ => Vec::new(),
        };
        let sent_size = task.known.as_ref().map(|known| known.sent_size);
        let ticket = self.outlet.ticket();
        self.ticket = Some(ticket);
        let mut cutting = Cutting::new(ticket, &base);
        source.expect_sequential();
        let mut window = std::mem::take(&mut self.buffer);
        window.resize(WINDOW, 0);
        let (mut start, mut filled, mut at) = (0, 0, 0u64);
        loop {
            let is_last = at + (filled - start) as u64 >= stat.size;
            if filled - start < CONTENT_MAX && !is_last {
                window.copy_within(start..filled, 0);
                (start, filled) = (0, filled - start);
                let left = stat.size - at - filled as u64;
                let room = (WINDOW - filled).min(usize::try_from(left).unwrap_or(usize::MAX));
                let count = source.read_at(&mut window[filled..filled + room], at + filled as u64)?;
                self.read_so_far(count as u64)?;
                filled += count;
                if count < room {
                    // Shorter than it was said to be: what's there is cut, and the file is read again.
                    self.cut_rest(&mut cutting, &window[start..filled], at)?;
                    at += (filled - start) as u64;
                    break;
                }
                continue;
            }
            if start == filled {
                break;
            }
            let len = next_cut(&window[start..filled.min(start + CONTENT_MAX)]);
            self.chunk(&mut cutting, at, &window[start..start + len])?;
            start += len;
            at += len as u64;
        }
        self.buffer = window;
        Ok(cutting.content(at, sent_size))
    }

    fn cut_rest(&mut self, cutting: &mut Cutting, mut bytes: &[u8], mut at: u64) -> Result<(), CaptureError> {
        while !bytes.is_empty() {
            let len = next_cut(&bytes[..bytes.len().min(CONTENT_MAX)]);
            self.chunk(cutting, at, &bytes[..len])?;
            bytes = &bytes[len..];
            at += len as u64;
        }
        Ok(())
    }

    fn chunk(&mut self, cutting: &mut Cutting, at: u64, bytes: &[u8]) -> Result<(), CaptureError> {
        if cutting.base.is_empty() {
            return self.outlet.add_chunk(cutting.ticket, at, bytes);
        }
        let (id, len) = (chunk_id(&self.chunk_key, bytes), bytes.len() as u64);
        cutting.list.push((len as u32, id));
        match cutting.base.get(&id) {
            Some(offset) if *offset == at => {
                cutting.matched += len;
                Ok(())
            }
            Some(offset) => {
                cutting.matched += len;
                cutting.ranges.push(Range { at, len, source: Source::Base { offset: *offset } });
                Ok(())
            }
            None => {
                cutting.is_new = true;
                self.outlet.add_chunk(cutting.ticket, at, bytes)
            }
        }
    }
}

/// A file being cut by its content.
struct Cutting {
    ticket: Ticket,
    /// Where the version that the box has holds which chunk.
    base: HashMap<ChunkId, u64>,
    list: Vec<(u32, ChunkId)>,
    ranges: Vec<Range>,
    matched: u64,
    is_new: bool,
}

impl Cutting {
    fn new(ticket: Ticket, chunks: &[(u32, u64, ChunkId)]) -> Cutting {
        let base = chunks.iter().map(|(_, at, id)| (*id, *at)).collect();
        Cutting { ticket, base, list: Vec::new(), ranges: Vec::new(), matched: 0, is_new: false }
    }

    fn content(self, size: u64, sent_size: Option<u64>) -> Content {
        let ticket = Some(self.ticket);
        let memory = MemoryKind::Chunks;
        if self.base.is_empty() {
            let (said, memorize) = (Said::Whole, Memorize::SentChunks);
            return Content {
                ticket,
                size,
                said,
                ranges: Vec::new(),
                memorize,
                memory,
                is_as_told: false,
                is_resumed: false,
            };
        }
        let is_same = !self.is_new && self.ranges.is_empty() && sent_size == Some(size);
        let said = match () {
            () if is_same => Said::Same,
            () if self.matched == 0 => Said::Whole,
            () => Said::Change,
        };
        let (ranges, memorize) = (self.ranges, Memorize::Chunks(self.list));
        Content { ticket, size, said, ranges, memorize, memory, is_as_told: false, is_resumed: false }
    }
}

//! What the box has of a file's last version: from the agent's own memory, or (where that's lost) from the box.

use std::io;

use coffer_format::limits::PAGE;
use coffer_format::wire::SignatureKind;
use coffer_format::{ChunkId, NodeId, PAGE_SIGNATURE_LEN, page_signature};

use super::CaptureError;
use super::item::Recollection;
use super::reading::Reading;
use crate::journal::{ChangedPages, Known, MemoryKind, PageSignatures};
use crate::scan::Stat;

type Result<T> = std::result::Result<T, CaptureError>;

impl Reading<'_> {
    /// Page signatures of the version that the box has; `None` where the file is sent again rather.
    pub(super) fn known_pages(&mut self, known: &Known, now: &Stat) -> Result<Option<PageSignatures>> {
        if known.memory == MemoryKind::Pages
            && let Some(pages) = self.journal.pages(known)
            && pages.size() == known.sent_size
        {
            return Ok(Some(pages));
        }
        // The box signs holes as well: of a file that's nearly all holes its answer would be more than the file.
        let answer = known.sent_size / PAGE as u64 * PAGE_SIGNATURE_LEN as u64;
        if now.is_sparse() && now.kept_bytes < answer {
            return Ok(None);
        }
        let folder = self.journal.pages_folder().to_owned();
        match PageSignatures::create(&folder, known.node, known.sent_size) {
            Ok(empty) => self.recollected_pages(known, empty).map(Some),
            // The file system has no files as large as that.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
            Err(error) => Err(CaptureError::Memory(folder, error)),
        }
    }

    fn recollected_pages(&mut self, known: &Known, mut pages: PageSignatures) -> Result<PageSignatures> {
        tracing::info!(node = %known.node, "asking the box for page signatures");
        let answer = self.outlet.ask(known.node, SignatureKind::Pages)?;
        let folder = self.journal.pages_folder().to_owned();
        let failed = |error| CaptureError::Memory(folder.clone(), error);
        let zero = page_signature(&self.chunk_key, &[0; PAGE]);
        let (mut next, end) = (0, known.sent_size.div_ceil(PAGE as u64));
        loop {
            match answer.recv().map_err(|_| CaptureError::Stopped)? {
                Recollection::Pages { first, signatures } => {
                    let count = (signatures.len() / PAGE_SIGNATURE_LEN) as u64;
                    if first != next
                        || next + count > end
                        || !signatures.len().is_multiple_of(PAGE_SIGNATURE_LEN)
                    {
                        return Err(CaptureError::BadAnswer(known.node));
                    }
                    pages.fill(first, &signatures, &zero).map_err(failed)?;
                    next += count;
                }
                Recollection::End { size } if size == known.sent_size && next == end => break,
                _ => return Err(CaptureError::BadAnswer(known.node)),
            }
        }
        pages.advance(&ChangedPages::default(), known.sent_size, known.content).map_err(failed)?;
        Ok(pages)
    }

    /// Length, offset and id of the chunks of the version that the box has.
    pub(super) fn known_chunks(&mut self, known: &Known) -> Result<Vec<(u32, u64, ChunkId)>> {
        if known.memory != MemoryKind::Chunks {
            return self.recollected_chunks(known.node, known.sent_size);
        }
        let mut at = 0;
        let chunks = self.journal.chunks(known.node)?.into_iter();
        let placed = chunks.map(|(len, id)| {
            let place = (len, at, id);
            at += u64::from(len);
            place
        });
        Ok(placed.collect())
    }

    fn recollected_chunks(&mut self, node: NodeId, size: u64) -> Result<Vec<(u32, u64, ChunkId)>> {
        tracing::info!(%node, "asking the box for chunk names");
        let answer = self.outlet.ask(node, SignatureKind::Chunks)?;
        let mut chunks = Vec::new();
        loop {
            match answer.recv().map_err(|_| CaptureError::Stopped)? {
                Recollection::Chunks(more) => {
                    if more.iter().any(|chunk| chunk.at + u64::from(chunk.len) > size) {
                        return Err(CaptureError::BadAnswer(node));
                    }
                    chunks.extend(more.into_iter().map(|chunk| (chunk.len, chunk.at, chunk.id)));
                }
                Recollection::End { size: said } if said == size => return Ok(chunks),
                _ => return Err(CaptureError::BadAnswer(node)),
            }
        }
    }
}

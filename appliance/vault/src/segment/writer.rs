//! A segment that is being written. Appending never touches what was appended before.

use std::path::Path;
use std::sync::Arc;

use coffer_format::chunk::ChunkEntry;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, SegmentIndex, Stream, Trailer};
use coffer_format::{Encode, FileHash, Lsn, SegmentId, Writer, limits};
use ring::aead::LessSafeKey;

use super::{FileForm, segment_path};
use crate::disk::{Disk, DiskFile};
use crate::keys::VaultKeys;
use crate::seal::{seal_record, write_compressed};
use crate::{Result, VaultError};

/// A segment to append to.
pub(crate) struct OpenSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) key: LessSafeKey,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) len: u64,
    index: SegmentIndex,
    hasher: blake3::Hasher,
    path: std::path::PathBuf,
    /// What was written to it wasn't there any more when it was looked at.
    is_damaged: bool,
}

/// What closing a segment gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) segment: SegmentId,
    pub(crate) stream: Stream,
    pub(crate) len: u64,
    pub(crate) hash: FileHash,
}

/// Where a segment ended at some moment.
pub(crate) struct End {
    len: u64,
    records: usize,
    hasher: blake3::Hasher,
}

impl OpenSegment {
    /// Makes the file with its header, and makes both durable before anything is appended: so a header that can't be
    /// read is damage, never a torn write, unless nothing follows it. A disk without room for it has no such file afterwards.
    pub(crate) fn create(
        disk: &dyn Disk,
        vault: &Path,
        keys: &VaultKeys,
        header: SegmentHeader,
    ) -> Result<OpenSegment> {
        let path = segment_path(vault, header.segment, FileForm::Whole);
        let file = disk.create(&path).map_err(VaultError::io("create", &path))?;
        let mut segment = OpenSegment {
            key: keys.segment_key(&header.salt),
            header,
            file,
            len: 0,
            index: SegmentIndex::default(),
            hasher: blake3::Hasher::new(),
            path,
            is_damaged: false,
        };
        segment.write(&coffer_format::to_bytes(&segment.header)).inspect_err(|_| {
            if let Err(error) = disk.remove(&segment.path) {
                tracing::warn!(%error, path = %segment.path.display(), "a segment that was never begun stays as an empty file");
            }
        })?;
        segment.sync()?;
        disk.sync_dir(&super::segments_dir(vault)).map_err(|error| {
            tracing::error!(%error, path = %segment.path.display(), "the disk could not make a segment's name durable");
            VaultError::ReadOnly
        })?;
        Ok(segment)
    }

    /// Takes up a segment whose records have been found by a scan, in order to close it.
    pub(crate) fn resume(
        vault: &Path,
        keys: &VaultKeys,
        header: SegmentHeader,
        file: Arc<dyn DiskFile>,
        index: SegmentIndex,
        bytes: &[u8],
    ) -> OpenSegment {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        let path = segment_path(vault, header.segment, FileForm::Whole);
        OpenSegment {
            key: keys.segment_key(&header.salt),
            header,
            file,
            len: bytes.len() as u64,
            index,
            hasher,
            path,
            is_damaged: false,
        }
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.header.segment
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= limits::SEGMENT_TARGET
    }

    /// Appends a pack's record; returns its offset and length.
    pub(crate) fn append_pack(
        &mut self,
        chunks: Vec<ChunkEntry>,
        plain: impl FnOnce(&mut Writer),
    ) -> Result<(u64, u64)> {
        let record = seal_record(&self.key, RecordKind::Pack, Lsn(0), plain)?;
        let offset = self.len;
        self.write(&record)?;
        let record_len = record.len() as u64;
        self.index.records.push(IndexEntry {
            offset,
            kind: RecordKind::Pack,
            lsn: Lsn(0),
            record_len,
            chunks,
        });
        Ok((offset, record_len))
    }

    /// Appends metadata records that were sealed with this segment's key.
    pub(crate) fn append_meta(&mut self, bytes: &[u8], entries: Vec<IndexEntry>) -> Result<()> {
        self.write(bytes)?;
        self.index.records.extend(entries);
        Ok(())
    }

    pub(crate) fn end(&self) -> End {
        End { len: self.len, records: self.index.records.len(), hasher: self.hasher.clone() }
    }

    /// Takes back what was appended after that moment; nothing else may know of it yet. Durable when this returns.
    pub(crate) fn cut_back(&mut self, to: End) -> Result<()> {
        self.file.truncate(to.len).map_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "records that don't count could not be cut off");
            VaultError::ReadOnly
        })?;
        self.len = to.len;
        self.index.records.truncate(to.records);
        self.hasher = to.hasher;
        self.sync()
    }

    /// Writes index and trailer. The caller syncs the file before it counts on them.
    /// If that fails (disk full), the segment stays open as it was.
    ///
    /// Everything before them is synced first: an index and a trailer that a power cut left whole vouch for it.
    pub(crate) fn close(&mut self) -> Result<Closed> {
        self.keep_header()?;
        self.sync()?;
        let index_offset = self.len;
        let mut plain = Writer::default();
        write_compressed(&mut plain, &self.index)?;
        let mut tail = Writer(seal_record(&self.key, RecordKind::Index, Lsn(0), |w| w.bytes(&plain.0))?);
        let file_len = index_offset + (tail.0.len() + Trailer::LEN) as u64;
        let hash = FileHash(*self.hasher.clone().update(&tail.0).finalize().as_bytes());
        Trailer { index_offset, file_len, records: self.index.records.len() as u32, hash }.encode(&mut tail);
        self.put(&tail.0)?;
        Ok(Closed { segment: self.id(), stream: self.header.stream, len: file_len, hash })
    }

    fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "the disk could not make a segment durable");
            VaultError::ReadOnly
        })
    }

    /// Whether somebody else changed the file's header or its length since this was last asked: what was there is to be looked for at once.
    pub(crate) fn take_damage(&mut self) -> bool {
        std::mem::take(&mut self.is_damaged)
    }

    /// Without its header nothing in a segment can be read, and nothing else than this has it: it's written again where the file doesn't
    /// have it any more.
    pub(crate) fn keep_header(&mut self) -> Result<()> {
        let header = coffer_format::to_bytes(&self.header);
        let mut there = vec![0; header.len()];
        if self.file.read_at(0, &mut there).is_ok() && there == header {
            return Ok(());
        }
        tracing::error!(path = %self.path.display(), "the header of a segment that is written to was damaged; it's written again");
        self.is_damaged = true;
        self.file.write_at(0, &header).map_err(VaultError::io("write", &self.path))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.len > 0 {
            self.is_damaged |= self.file.size().is_ok_and(|size| size < self.len);
            self.keep_header()?;
        }
        self.put(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Writes at the end; a write that failed half-way (disk full) leaves the file as it was.
    fn put(&self, bytes: &[u8]) -> Result<()> {
        self.file.write_at(self.len, bytes).map_err(|source| {
            if self.file.truncate(self.len).is_err() {
                return VaultError::ReadOnly;
            }
            let error = VaultError::Io { doing: "write", path: self.path.clone(), source };
            match error.is_disk_full() {
                true => VaultError::Full { free: 0, reserve: 0 },
                false => error,
            }
        })
    }
}

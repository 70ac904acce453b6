//! Outlines: what of a segment a catalog is rebuilt from. All of a metadata segment; of another its stub: header, index
//! record, trailer. Cartridges carry the outlines of each other's segments.

use coffer_format::event::Place;
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::{SegmentId, from_bytes};

use crate::reading::Reading;
use crate::segment::{FileForm, read_contents};
use crate::{Result, VaultError};

impl Reading {
    /// The outline of a closed segment, whether or not its data is on disk.
    pub fn outline(&self, segment: SegmentId) -> Result<(Stream, Vec<u8>)> {
        let readable = match self.files.get(segment) {
            Err(VaultError::NotOnDisk(_)) => return self.kept_stub(segment),
            other => other?,
        };
        let stream = readable.header.stream;
        if stream != Stream::Meta {
            return Ok((stream, self.stub_of(segment)?));
        }
        let size = readable.file.size().map_err(VaultError::io("read", "a segment"))?;
        let mut bytes = vec![0; size as usize];
        readable.file.read_at(0, &mut bytes).map_err(VaultError::io("read", "a segment"))?;
        Ok((stream, bytes))
    }

    /// Header, index and trailer of a closed segment that is on disk.
    pub(crate) fn stub_of(&self, segment: SegmentId) -> Result<Vec<u8>> {
        let readable = self.file_of(segment)?;
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            return Err(VaultError::Damaged { segment, offset: 0, what: "its index can't be read".into() });
        };
        let tail = contents.trailer.file_len - contents.trailer.index_offset;
        let mut bytes = vec![0; SegmentHeader::LEN + tail as usize];
        let (head, rest) = bytes.split_at_mut(SegmentHeader::LEN);
        readable.file.read_at(0, head).map_err(VaultError::io("read", "a segment"))?;
        readable
            .file
            .read_at(contents.trailer.index_offset, rest)
            .map_err(VaultError::io("read", "a segment"))?;
        Ok(bytes)
    }

    fn kept_stub(&self, segment: SegmentId) -> Result<(Stream, Vec<u8>)> {
        let stub = self.files.open(segment, FileForm::Stub)?;
        let size = stub.file.size().map_err(VaultError::io("read", "a stub"))?;
        let mut bytes = vec![0; size as usize];
        stub.file.read_at(0, &mut bytes).map_err(VaultError::io("read", "a stub"))?;
        Ok((stub.header.stream, bytes))
    }
}

/// Where a verified copy of a segment lies on tape. `block` is the address of its first block; 0: not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapePlace {
    pub segment: SegmentId,
    pub barcode: String,
    pub container: u32,
    pub block: u64,
    /// When it was recorded, ms since 1970-01-01 UTC on the vault's clock.
    pub recorded_ms: u64,
}

impl Reading {
    /// Every verified copy on tape that was recorded at that time or later, in order of segments.
    pub fn tape_places(&self, since_ms: u64) -> Result<Vec<TapePlace>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, place, recorded_ms FROM copies JOIN segments USING (segment)
                 WHERE copies.hash = segments.hash AND recorded_ms >= ?1 ORDER BY segment, place",
            )?;
            let mut places = Vec::new();
            let mut rows = query.query([since_ms])?;
            while let Some(row) = rows.next()? {
                if let Place::Tape { barcode, container, block } = from_bytes(&row.get::<_, Vec<u8>>(1)?)? {
                    let (segment, recorded_ms) = (SegmentId(row.get(0)?), row.get(2)?);
                    places.push(TapePlace { segment, barcode, container, block, recorded_ms });
                }
            }
            Ok(places)
        })
    }
}

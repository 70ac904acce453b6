//! Open segment files and their keys, a bounded number of them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use coffer_format::segment::SegmentHeader;
use coffer_format::{SegmentId, from_bytes};
use ring::aead::LessSafeKey;

use super::{FileForm, segment_path};
use crate::disk::{Disk, DiskFile, no_file};
use crate::keys::{Opener, VaultKeys};
use crate::{Result, VaultError};

/// Most files kept open.
const OPEN_MAX: usize = 32;

/// A segment file that can be read.
#[derive(Clone)]
pub(crate) struct ReadableSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) key: Arc<LessSafeKey>,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// Opens segments of one vault for reading.
pub(crate) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    vault: PathBuf,
    opener: Opener,
    keys: Mutex<Vec<VaultKeys>>,
    open: Mutex<VecDeque<(SegmentId, ReadableSegment)>>,
}

impl SegmentFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, vault: PathBuf, opener: Opener, keys: VaultKeys) -> SegmentFiles {
        SegmentFiles { disk, vault, opener, keys: Mutex::new(vec![keys]), open: Mutex::default() }
    }

    /// The newest keys this was made with.
    pub(crate) fn keys(&self) -> VaultKeys {
        self.keys.lock().expect("nothing panics while it holds keys")[0].clone()
    }

    /// The keys of the segment with this header.
    pub(crate) fn keys_of(&self, header: &SegmentHeader) -> Result<VaultKeys> {
        self.segment_key(header)?;
        let keys = self.keys.lock().expect("nothing panics while it holds keys");
        let known = keys.iter().find(|known| known.are_of(&header.keys));
        Ok(known.expect("they were opened above").clone())
    }

    /// A whole segment; `NotOnDisk` where its file isn't there.
    pub(crate) fn get(&self, segment: SegmentId) -> Result<ReadableSegment> {
        let mut open = self.open.lock().expect("nothing panics while it holds files");
        if let Some(at) = open.iter().position(|(id, _)| *id == segment) {
            let found = open.remove(at).expect("position is in range");
            let readable = found.1.clone();
            open.push_back(found);
            return Ok(readable);
        }
        let readable = self.open(segment, FileForm::Whole)?;
        if open.len() >= OPEN_MAX {
            open.pop_front();
        }
        open.push_back((segment, readable.clone()));
        Ok(readable)
    }

    /// Opens a segment's file without keeping it.
    pub(crate) fn open(&self, segment: SegmentId, form: FileForm) -> Result<ReadableSegment> {
        let path = segment_path(&self.vault, segment, form);
        let file = self.disk.open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => VaultError::NotOnDisk(vec![segment]),
            _ => match no_file(&source) {
                Some(what) => VaultError::Damaged { segment, offset: 0, what },
                None => VaultError::Io { doing: "open", path: path.clone(), source },
            },
        })?;
        let mut bytes = [0; SegmentHeader::LEN];
        let damaged = |what: String| VaultError::Damaged { segment, offset: 0, what };
        file.read_at(0, &mut bytes).map_err(|e| damaged(e.to_string()))?;
        let header = from_bytes::<SegmentHeader>(&bytes).map_err(|e| damaged(e.to_string()))?;
        if header.segment != segment {
            return Err(damaged(format!("it says it is segment {}", header.segment)));
        }
        let key = Arc::new(self.segment_key(&header)?);
        Ok(ReadableSegment { header, key, file })
    }

    fn segment_key(&self, header: &SegmentHeader) -> Result<LessSafeKey> {
        let mut keys = self.keys.lock().expect("nothing panics while it holds keys");
        if let Some(known) = keys.iter().find(|known| known.are_of(&header.keys)) {
            return Ok(known.segment_key(&header.salt));
        }
        let opened = VaultKeys::open(&self.opener, &header.keys)?;
        let key = opened.segment_key(&header.salt);
        keys.push(opened);
        Ok(key)
    }

    /// Forgets an open file, because it's about to be removed or replaced.
    pub(crate) fn forget(&self, segment: SegmentId) {
        self.open.lock().expect("nothing panics while it holds files").retain(|(id, _)| *id != segment);
    }
}

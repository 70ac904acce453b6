//! Segment files on disk: writing them, reading their records, and finding what a torn one holds.

mod files;
mod scan;
mod writer;

use std::path::{Path, PathBuf};

use coffer_format::SegmentId;

pub(crate) use files::{ReadableSegment, SegmentFiles};
pub(crate) use scan::{Contents, Scanned, read_contents, scan};
pub(crate) use writer::{Closed, OpenSegment};

/// How a segment is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileForm {
    Whole,
    /// Header, index and trailer of an evicted segment.
    Stub,
}

pub(crate) fn segments_dir(vault: &Path) -> PathBuf {
    vault.join("segments")
}

pub(crate) fn segment_path(vault: &Path, segment: SegmentId, form: FileForm) -> PathBuf {
    let ending = match form {
        FileForm::Whole => "seg",
        FileForm::Stub => "stub",
    };
    segments_dir(vault).join(format!("{:016x}.{ending}", segment.0))
}

/// The segment that a file name stands for.
pub(crate) fn parse_name(name: &str) -> Option<(SegmentId, FileForm)> {
    let (number, ending) = name.split_once('.')?;
    let form = match ending {
        "seg" => FileForm::Whole,
        "stub" => FileForm::Stub,
        _ => return None,
    };
    (number.len() == 16)
        .then(|| u64::from_str_radix(number, 16).ok())
        .flatten()
        .map(|id| (SegmentId(id), form))
}

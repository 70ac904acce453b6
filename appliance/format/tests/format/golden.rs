//! Golden files: every layout as it was first written down. They're never edited; a layout that changes gets a new version
//! and new files, and the old ones go on being read.
//!
//! `COFFER_WRITE_GOLDEN=1` writes those that aren't there yet.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::samples::{Sample, durable};
use crate::wire_samples::frames;

pub(crate) fn all() -> Vec<Sample> {
    durable().into_iter().chain(frames()).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// A golden file's bytes. Tape blocks are kept without the zeros that fill them up.
pub(crate) fn kept(sample: &Sample) -> Vec<u8> {
    let path = folder().join(format!("{}.bin", sample.name));
    let used = sample.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let whole = sample.bytes.len() < 10_000;
    if !path.exists() && std::env::var_os("COFFER_WRITE_GOLDEN").is_some() {
        let bytes = if whole { &sample.bytes[..] } else { &sample.bytes[..used] };
        std::fs::write(&path, bytes).unwrap();
    }
    let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !whole {
        bytes.resize(sample.bytes.len(), 0);
    }
    bytes
}

#[test]
fn every_layout_is_as_it_was_first_written() {
    for sample in all() {
        let golden = kept(&sample);
        assert!(golden == sample.bytes, "{} is written differently now", sample.name);
        let (same, again) =
            (sample.again)(&golden).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
        assert!(same, "{} is read differently now", sample.name);
        assert!(again == golden, "{} doesn't come back the same", sample.name);
    }
}

#[test]
fn every_golden_file_has_its_layout() {
    let known: BTreeSet<_> = all().iter().map(|sample| format!("{}.bin", sample.name)).collect();
    for file in std::fs::read_dir(folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "golden/{name} isn't read by any test");
    }
}

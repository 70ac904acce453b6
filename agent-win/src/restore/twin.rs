//! A file that's there already and looks as the point has it. What comes is compared with its bytes: it's as it was only if all are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::growing::Spot;
use crate::platform::{self, SourceFile};
use crate::scan::{ByteRun, ObjectId};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

pub(super) struct Twin {
    file: SourceFile,
    object: ObjectId,
    /// Where it has been compared, and is the same: ends by beginnings, none next to another.
    same: BTreeMap<u64, u64>,
    is_different: bool,
}

impl Twin {
    /// None where another file is in its place by now.
    pub(super) fn open(spot: &Spot, object: ObjectId) -> io::Result<Option<Twin>> {
        let file = SourceFile::open(&spot.folder.place(&spot.name))?;
        let is_it = file.stat()?.object() == object;
        Ok(is_it.then_some(Twin { file, object, same: BTreeMap::new(), is_different: false }))
    }

    pub(super) fn object(&self) -> ObjectId {
        self.object
    }

    /// It isn't as the point has it: nothing more needs to be compared.
    pub(super) fn differs(&mut self) {
        self.is_different = true;
    }

    pub(super) fn is_different(&self) -> bool {
        self.is_different
    }

    /// Whether it has these bytes there.
    pub(super) fn has(&mut self, bytes: &[u8], at: u64) -> io::Result<bool> {
        if self.is_different {
            return Ok(false);
        }
        let mut there = vec![0; bytes.len()];
        let is_same = self.file.read_at(&mut there, at)? == bytes.len() && there == bytes;
        if is_same {
            self.note(at, at + bytes.len() as u64);
        }
        Ok(is_same)
    }

    fn note(&mut self, mut at: u64, mut end: u64) {
        let touching: Vec<u64> = self
            .same
            .range(..=end)
            .rev()
            .take_while(|(_, upto)| **upto >= at)
            .map(|(from, _)| *from)
            .collect();
        for from in touching {
            end = end.max(self.same.remove(&from).unwrap_or(end));
            at = at.min(from);
        }
        self.same.insert(at, end);
    }

    /// Writes what was the same to where the rest is written; how much that is.
    pub(super) fn copy_same(&self, to: &File) -> io::Result<u64> {
        let mut copied = 0;
        let mut buffer = vec![0; BUFFER];
        for (from, end) in &self.same {
            let mut at = *from;
            while at < *end {
                let part = &mut buffer[..BUFFER.min((end - at) as usize)];
                if self.file.read_at(part, at)? < part.len() {
                    return Err(io::Error::other(
                        "the file that was there has changed meanwhile; restore it again",
                    ));
                }
                platform::write_all_at(to, part, at)?;
                at += part.len() as u64;
                copied += part.len() as u64;
            }
        }
        Ok(copied)
    }

    /// Whether nothing came for the rest of it because it's zeros, as it is here.
    pub(super) fn is_rest_zero(&self, size: u64) -> io::Result<bool> {
        let mut at = 0;
        for (from, end) in self.same.iter().map(|(from, end)| (*from, *end)).chain([(size, size)]) {
            if !self.is_zero(at, from)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(self.file.stat()?.size == size)
    }

    fn is_zero(&self, from: u64, end: u64) -> io::Result<bool> {
        let (mut at, mut buffer) = (from, vec![0; BUFFER]);
        while at < end {
            let Some(ByteRun { at: data, end: upto }) = self.file.data_from(at, end)? else {
                return Ok(true);
            };
            at = data;
            while at < upto.min(end) {
                let part = &mut buffer[..BUFFER.min((upto.min(end) - at) as usize)];
                if self.file.read_at(part, at)? < part.len() || part.iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
                at += part.len() as u64;
            }
        }
        Ok(true)
    }
}

//! One file per large file: a 40-byte head, then 16 bytes per page of the version that the box has.
//! The head names the part whose version this is; it's overwritten with zeros before pages change and written last, so
//! that a file torn by a power cut is known and asked of the box again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use coffer_format::limits::PAGE;
use coffer_format::{NodeId, PAGE_SIGNATURE_LEN, PartNo, PointSeq};
use coffer_link::{is_no_file, make_own_folder, open_own_file, set_no_file_aside};

use super::PartAt;
use crate::platform::{read_exact_at, write_all_at};

/// Signature of one page.
pub(crate) type PageSignature = [u8; PAGE_SIGNATURE_LEN];

const MAGIC: [u8; 8] = *b"CPAGES01";
const HEAD_LEN: u64 = 40;

/// An open signature file.
#[derive(Debug)]
pub(crate) struct PageSignatures {
    file: File,
    /// Bytes of the version that it describes.
    size: u64,
}

impl PageSignatures {
    /// Opens the memory of `node` if it describes exactly the version that `at` brought.
    pub(crate) fn open(folder: &Path, node: NodeId, at: PartAt) -> Option<PageSignatures> {
        let path = folder.join(node.to_string());
        let file = open_own_file(&path, OpenOptions::new().read(true).write(true)).ok()?;
        let mut head = [0; HEAD_LEN as usize];
        read_exact_at(&file, &mut head, 0).ok()?;
        let size = head_size(&head, at)?;
        let kept = file.metadata().ok()?.len().checked_sub(HEAD_LEN)?;
        (kept >= pages(size) * PAGE_SIGNATURE_LEN as u64).then_some(PageSignatures { file, size })
    }

    /// Starts an empty memory: of a version with no bytes.
    pub(crate) fn create(folder: &Path, node: NodeId) -> io::Result<PageSignatures> {
        make_own_folder(folder)?;
        let path = folder.join(node.to_string());
        set_no_file_aside(&path)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).to_owned();
        let mut file = open_own_file(&path, &options)?;
        file.write_all(&[0; HEAD_LEN as usize])?;
        Ok(PageSignatures { file, size: 0 })
    }

    /// Removes the memory of a node that's gone.
    pub(crate) fn remove(folder: &Path, node: NodeId) -> io::Result<()> {
        let path = folder.join(node.to_string());
        match set_no_file_aside(&path).and_then(|_| std::fs::remove_file(&path)) {
            Err(error) if !is_no_file(&error) => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Signatures of up to `count` pages from `first` on; fewer at the end.
    pub(crate) fn read(&self, first: u64, count: usize) -> io::Result<Vec<PageSignature>> {
        let count = (count as u64).min(pages(self.size).saturating_sub(first)) as usize;
        let mut bytes = vec![0; count * PAGE_SIGNATURE_LEN];
        read_exact_at(&self.file, &mut bytes, place(first))?;
        let signature = |bytes: &[u8]| {
            let mut out = [0; PAGE_SIGNATURE_LEN];
            out.copy_from_slice(bytes);
            out
        };
        Ok(bytes.chunks_exact(PAGE_SIGNATURE_LEN).map(signature).collect())
    }

    /// Adds signatures as the box sends them, for pages from `first` on.
    pub(crate) fn fill(&self, first: u64, signatures: &[u8]) -> io::Result<()> {
        write_all_at(&self.file, signatures, place(first))
    }

    /// Brings the memory to the version of `size` bytes that `at` brought.
    pub(crate) fn advance(
        &mut self,
        changed: &[(u64, PageSignature)],
        size: u64,
        at: PartAt,
    ) -> io::Result<()> {
        write_all_at(&self.file, &[0; HEAD_LEN as usize], 0)?;
        let mut run: Vec<u8> = Vec::new();
        for (index, (page, signature)) in changed.iter().enumerate() {
            run.extend_from_slice(signature);
            let carries_on = changed.get(index + 1).is_some_and(|(next, _)| *next == page + 1);
            if !carries_on {
                let first = page + 1 - (run.len() / PAGE_SIGNATURE_LEN) as u64;
                write_all_at(&self.file, &run, place(first))?;
                run.clear();
            }
        }
        self.file.set_len(place(pages(size)))?;
        self.file.sync_data()?;
        write_all_at(&self.file, &head(size, at), 0)?;
        self.size = size;
        Ok(())
    }
}

fn pages(size: u64) -> u64 {
    size.div_ceil(PAGE as u64)
}

fn place(page: u64) -> u64 {
    HEAD_LEN + page * PAGE_SIGNATURE_LEN as u64
}

fn head(size: u64, at: PartAt) -> [u8; HEAD_LEN as usize] {
    let mut head = [0; HEAD_LEN as usize];
    head[..8].copy_from_slice(&MAGIC);
    head[8..16].copy_from_slice(&size.to_le_bytes());
    head[16..24].copy_from_slice(&at.point.0.to_le_bytes());
    head[24..28].copy_from_slice(&at.part.0.to_le_bytes());
    let check = blake3::hash(&head[..28]);
    head[28..].copy_from_slice(&check.as_bytes()[..12]);
    head
}

fn head_size(found: &[u8; HEAD_LEN as usize], at: PartAt) -> Option<u64> {
    let mut number = [0; 8];
    number.copy_from_slice(&found[8..16]);
    let size = u64::from_le_bytes(number);
    (*found == head(size, at)).then_some(size)
}

/// The version that a memory of parts describes.
impl PartAt {
    pub(crate) fn new(point: PointSeq, part: PartNo) -> PartAt {
        PartAt { point, part }
    }
}

//! One file per large file: a 40-byte head, then 16 bytes per page of the version that the box has. A whole page of zeros has 16
//! zeros there, which no signature is: so what's a hole in the large file is one here, and costs nothing.
//! The head names the part whose version this is; it's overwritten with zeros before pages change and written last, so
//! that a file torn by a power cut is known and asked of the box again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use coffer_format::limits::PAGE;
use coffer_format::{NodeId, PAGE_SIGNATURE_LEN, PartNo, PointSeq};
use coffer_link::{is_no_file, make_own_folder, open_own_file, set_no_file_aside};

use super::PartAt;
use crate::platform::{allow_holes, data_from, read_exact_at, write_all_at};

/// Signature of one page.
pub(crate) type PageSignature = [u8; PAGE_SIGNATURE_LEN];

/// What's kept of a whole page of zeros.
pub(crate) const ZERO_PAGE: PageSignature = [0; PAGE_SIGNATURE_LEN];

/// Zeros that are written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The pages that a version has otherwise than the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ChangedPages {
    /// Those with bytes, and the last one where it's no whole page.
    pub(crate) signed: Vec<(u64, PageSignature)>,
    /// Runs of whole pages of zeros: a run of any length costs as much as one page.
    pub(crate) zeros: Vec<Range<u64>>,
}

impl ChangedPages {
    /// Adds whole pages of zeros behind those that are known already.
    pub(crate) fn push_zeros(&mut self, pages: Range<u64>) {
        match self.zeros.last_mut() {
            Some(last) if last.end == pages.start => last.end = pages.end,
            _ => self.zeros.push(pages),
        }
    }
}

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

    /// Starts an empty memory, of a version with no bytes: for one that's to have so many.
    pub(crate) fn create(folder: &Path, node: NodeId, size: u64) -> io::Result<PageSignatures> {
        make_own_folder(folder)?;
        let path = folder.join(node.to_string());
        set_no_file_aside(&path)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).to_owned();
        let mut file = open_own_file(&path, &options)?;
        allow_holes(&file);
        file.write_all(&[0; HEAD_LEN as usize])?;
        file.set_len(place(pages(size)))?;
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

    /// The first of the pages that may have something else than zeros; all of those before it are whole pages of zeros. The version
    /// may end before that.
    pub(crate) fn zeros_end(&self, pages_asked: Range<u64>) -> io::Result<u64> {
        let end = pages_asked.end.min(pages(self.size));
        if pages_asked.start >= end {
            return Ok(pages_asked.start);
        }
        let data = data_from(&self.file, place(pages_asked.start), place(end))?;
        let page = |at: u64| at.saturating_sub(HEAD_LEN) / PAGE_SIGNATURE_LEN as u64;
        Ok(data.map_or(end, |run| page(run.at).max(pages_asked.start)))
    }

    /// Adds signatures as the box sends them, for pages from `first` on; `zero` is the one of a whole page of zeros. Nothing is
    /// there yet.
    pub(crate) fn fill(&self, first: u64, signatures: &[u8], zero: &PageSignature) -> io::Result<()> {
        let mut at = place(first);
        for run in signatures
            .as_chunks::<PAGE_SIGNATURE_LEN>()
            .0
            .chunk_by(|one, next| (one == zero) == (next == zero))
        {
            if run[0] != *zero {
                write_all_at(&self.file, run.as_flattened(), at)?;
            }
            at += (run.len() * PAGE_SIGNATURE_LEN) as u64;
        }
        Ok(())
    }

    /// Brings the memory to the version of `size` bytes that `at` brought. What's signed is in order.
    pub(crate) fn advance(&mut self, changed: &ChangedPages, size: u64, at: PartAt) -> io::Result<()> {
        write_all_at(&self.file, &[0; HEAD_LEN as usize], 0)?;
        for run in changed.signed.chunk_by(|(page, _), (next, _)| *next == page + 1) {
            let signatures: Vec<u8> = run.iter().flat_map(|(_, signature)| *signature).collect();
            write_all_at(&self.file, &signatures, place(run[0].0))?;
        }
        changed.zeros.iter().try_for_each(|pages| self.clear(pages))?;
        self.file.set_len(place(pages(size)))?;
        self.file.sync_data()?;
        write_all_at(&self.file, &head(size, at), 0)?;
        self.size = size;
        Ok(())
    }

    /// Notes pages of zeros. Where nothing is kept yet, that's noted already.
    fn clear(&self, pages: &Range<u64>) -> io::Result<()> {
        let end = place(pages.end).min(self.file.metadata()?.len());
        let mut at = place(pages.start);
        while at < end
            && let Some(kept) = data_from(&self.file, at, end)?
        {
            at = kept.at.max(at);
            while at < kept.end {
                let len = (kept.end - at).min(ZEROS.len() as u64);
                write_all_at(&self.file, &ZEROS[..len as usize], at)?;
                at += len;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const AT: PartAt = PartAt { point: PointSeq(1), part: PartNo(0) };
    const SIZE: u64 = 2000 * PAGE as u64;

    fn changed(signed: &[u64], zeros: &[Range<u64>]) -> ChangedPages {
        let signed = signed.iter().map(|page| (*page, [*page as u8 | 1; PAGE_SIGNATURE_LEN])).collect();
        ChangedPages { signed, zeros: zeros.to_vec() }
    }

    fn signed(signatures: &PageSignatures) -> Vec<u64> {
        let pages = signatures.read(0, 5000).unwrap();
        (0..).zip(pages).filter(|(_, signature)| *signature != ZERO_PAGE).map(|(page, _)| page).collect()
    }

    #[test]
    fn what_is_zeros_is_told_from_what_is_signed_and_from_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut signatures = PageSignatures::create(folder.path(), NodeId(7), SIZE).unwrap();
        signatures.advance(&changed(&[700, 701, 1999], &[0..700, 702..1999]), SIZE, AT).unwrap();
        let mut signatures = PageSignatures::open(folder.path(), NodeId(7), AT).unwrap();
        assert_eq!(signed(&signatures), [700, 701, 1999]);
        // A file system tells by blocks what is there.
        for first in [0, 300, 600, 701, 702, 1900] {
            let end = signatures.zeros_end(first..2000).unwrap();
            assert!(![700, 701, 1999].iter().any(|page| (first..end).contains(page)), "{first}..{end}");
        }
        assert_eq!(signatures.zeros_end(2000..9000).unwrap(), 2000, "nothing is known of what lies beyond");

        let larger = 2 * SIZE;
        signatures.advance(&changed(&[], &[700..701, 1999..4000]), larger, AT).unwrap();
        assert_eq!(signed(&signatures), [701]);
        // Where the file system tells of no holes, nothing is skipped.
        let end = signatures.zeros_end(3900..9000).unwrap();
        assert!(end == 4000 || cfg!(windows) && end == 3900, "{end}");

        signatures.advance(&changed(&[300], &[]), 400 * PAGE as u64, AT).unwrap();
        signatures.advance(&changed(&[], &[400..1000, 1000..2000]), SIZE, AT).unwrap();
        assert_eq!(signed(&signatures), [300], "what was cut off doesn't come back");
    }

    #[test]
    fn zeros_that_the_box_signs_are_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let mut signatures = PageSignatures::create(folder.path(), NodeId(7), SIZE).unwrap();
        let zero = [9; PAGE_SIGNATURE_LEN];
        let answer = [zero, [1; 16], [2; 16], zero, zero, [3; 16]].concat();
        signatures.fill(1000, &answer, &zero).unwrap();
        signatures.advance(&ChangedPages::default(), SIZE, AT).unwrap();
        assert_eq!(signed(&signatures), [1001, 1002, 1005]);
        assert_eq!(signatures.read(1005, 1).unwrap(), [[3; 16]]);
    }
}

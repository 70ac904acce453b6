//! Files with holes in a tar stream, as GNU tar's format 1.0 for pax archives has them ("Storing Sparse Files" in its manual): the entry's
//! data begins with a map, decimal numbers that end with newlines (how many runs, then offset and length of each), padded to a block;
//! what is in the runs follows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

const BLOCK: usize = 512;
/// Holes that take less together aren't worth a map.
const HOLES_MIN: u64 = 4096;

/// A file's holes as a tar stream has them.
pub(super) struct Sparse {
    runs: Vec<(u64, u64)>,
    map: Vec<u8>,
}

impl Sparse {
    /// `None` where it has no holes, or nobody can tell.
    pub(super) fn of(file: &File, size: u64) -> io::Result<Option<Sparse>> {
        let Some(mut runs) = runs(file, size)? else { return Ok(None) };
        let data: u64 = runs.iter().map(|(_, len)| len).sum();
        if size - data < HOLES_MIN {
            return Ok(None);
        }
        if runs.last().is_none_or(|(at, len)| at + len < size) {
            // Readers go by the last run for where the file ends.
            runs.push((size, 0));
        }
        let lines = runs.iter().map(|(at, len)| format!("{at}\n{len}\n"));
        let mut map = format!("{}\n{}", runs.len(), lines.collect::<String>()).into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        Ok(Some(Sparse { runs, map }))
    }

    /// Bytes of the entry.
    pub(super) fn len(&self) -> u64 {
        self.map.len() as u64 + self.runs.iter().map(|(_, len)| len).sum::<u64>()
    }

    /// Where a reader that knows nothing of it puts map and data of one of a stream's files. Short: GNU tar takes an entry for a long name, which
    /// would come in between, for the one with the map.
    pub(super) fn place(index: u32) -> PathBuf {
        Path::new("GNUSparseFile.0").join(index.to_string())
    }

    /// The entry's data.
    pub(super) fn read<'a>(&'a self, file: &'a File) -> impl Read + 'a {
        Data { map: &self.map, runs: self.runs.iter(), file, left: 0 }
    }
}

/// The map, then what's in the runs.
struct Data<'a> {
    map: &'a [u8],
    runs: std::slice::Iter<'a, (u64, u64)>,
    file: &'a File,
    /// Bytes of the run under way.
    left: u64,
}

impl Read for Data<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.map.is_empty() {
            return self.map.read(into);
        }
        while self.left == 0 {
            let Some((at, len)) = self.runs.next() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(*at))?;
            self.left = *len;
        }
        let read = self.file.take(self.left).read(into)?;
        if read == 0 && !into.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Offset and length of what isn't a hole, in order.
fn runs(file: &File, size: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match lseek(file, at as i64, Whence::SeekData) {
            Ok(begin) => begin as u64,
            Err(Errno::ENXIO) => break,
            // The file system doesn't tell.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = lseek(file, begin as i64, Whence::SeekHole).map_err(io::Error::from)? as u64;
        runs.push((begin, end.min(size) - begin));
        at = end;
    }
    Ok(Some(runs))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_in_the_map_and_not_in_the_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(&[7; 4096], 1 << 20).unwrap();
        let sparse = Sparse::of(&file, 1 << 40).unwrap().unwrap();
        let mut data = Vec::new();
        sparse.read(&file).read_to_end(&mut data).unwrap();
        assert_eq!(data.len() as u64, sparse.len());
        let (map, data) = data.split_at(BLOCK);
        assert!(map.starts_with(b"2\n1048576\n4096\n1099511627776\n0\n\0\0"), "{map:?}");
        assert_eq!(data, [7; 4096]);
    }

    #[test]
    fn a_file_without_holes_has_no_map() {
        let file = tempfile::tempfile().unwrap();
        assert!(Sparse::of(&file, 0).unwrap().is_none());
        file.write_all_at(&[7; 9000], 0).unwrap();
        assert!(Sparse::of(&file, 9000).unwrap().is_none());
        file.set_len(100_000).unwrap();
        let sparse = Sparse::of(&file, 100_000).unwrap().unwrap();
        assert!(sparse.len() < 20_000);
    }
}

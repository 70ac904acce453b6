//! A cartridge's tape: one file of objects, blocks and filemarks, in order.
//!
//! Each object is 16 bytes of header (magic, kind, length, length inverted; little-endian) and, for a block, its
//! bytes. The index of objects is made by walking the headers; a torn object at the end is cut off, as a drive
//! writes no part of a block. Writing anywhere cuts off what lies behind.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LibraryShape;
use super::quirks::EndWarning;
use crate::{Barcode, TapeError};

const HEADER_LEN: u64 = 16;
const MAGIC: [u8; 4] = *b"TAPE";
const BLOCK: u32 = 1;
const FILEMARK: u32 = 2;

/// One object on tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// A block: where its bytes are in the file, and how many.
    Block {
        offset: u64,
        len: u32,
    },
    Filemark {
        offset: u64,
    },
}

impl Object {
    /// Where the object's header is in the file.
    fn start(&self) -> u64 {
        match self {
            Object::Block { offset, .. } => offset - HEADER_LEN,
            Object::Filemark { offset } => *offset,
        }
    }
}

/// Whether what was written left room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    Little,
    /// Nothing was written.
    None,
}

/// A cartridge in a drive.
#[derive(Debug)]
pub(super) struct Medium {
    file: File,
    objects: Vec<Object>,
    end: u64,
    /// So many objects are on the medium for sure; those behind may still be in the drive's buffer.
    synced: usize,
    capacity_bytes: u64,
    warning: EndWarning,
}

pub(super) fn path(dir: &Path, barcode: &Barcode) -> PathBuf {
    dir.join(format!("{barcode}.tape"))
}

/// Makes a blank cartridge.
pub(super) fn create(dir: &Path, barcode: &Barcode) -> Result<(), TapeError> {
    let path = path(dir, barcode);
    File::create_new(&path).map(drop).map_err(TapeError::simulator("create", &path))
}

impl Medium {
    /// Reads the headers; takes no longer than one small read per object.
    pub(super) fn open(
        dir: &Path,
        barcode: &Barcode,
        capacity_bytes: u64,
        warning: EndWarning,
    ) -> Result<Medium, TapeError> {
        let path = path(dir, barcode);
        let open = || -> io::Result<Medium> {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let (objects, end) = walk(&file)?;
            if file.metadata()?.len() > end {
                file.set_len(end)?;
            }
            let synced = objects.len();
            Ok(Medium { file, objects, end, synced, capacity_bytes, warning })
        };
        open().map_err(TapeError::simulator("open the cartridge", &path))
    }

    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// How much a tape written up to the object `at` could still take.
    pub(super) fn room_at(&self, at: usize) -> Room {
        self.room(self.objects.get(at).map_or(self.end, Object::start))
    }

    /// Reads the first bytes of a block into `buffer`.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes a block as the object `at`, the last one from now on.
    pub(super) fn write_block(&mut self, at: usize, block: &[u8]) -> io::Result<Room> {
        self.cut(at)?;
        let end = self.end + HEADER_LEN + block.len() as u64;
        if self.room(end) == Room::None {
            return Ok(Room::None);
        }
        self.append(&header(BLOCK, block.len() as u32), block)?;
        self.objects.push(Object::Block { offset: end - block.len() as u64, len: block.len() as u32 });
        self.end = end;
        Ok(self.room(end))
    }

    /// Writes a filemark as the object `at`, the last one from now on.
    pub(super) fn write_filemark(&mut self, at: usize) -> io::Result<Room> {
        self.cut(at)?;
        let end = self.end + HEADER_LEN;
        if self.room(end) == Room::None {
            return Ok(Room::None);
        }
        self.append(&header(FILEMARK, 0), &[])?;
        self.objects.push(Object::Filemark { offset: self.end });
        self.end = end;
        Ok(self.room(end))
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.objects.len();
        Ok(())
    }

    /// Nothing is left from the object `at` on.
    pub(super) fn erase(&mut self, at: usize) -> io::Result<()> {
        self.cut(at)
    }

    /// Half of a block, as when the power goes.
    pub(super) fn write_half(&mut self, at: usize, block: &[u8]) -> io::Result<()> {
        self.cut(at)?;
        self.append(&header(BLOCK, block.len() as u32), &block[..block.len() / 2])
    }

    /// What was in the drive's buffer never comes to the medium.
    pub(super) fn lose_buffer(&mut self) -> io::Result<()> {
        self.cut(self.synced)
    }

    /// Bytes left to the end.
    pub(super) fn remaining_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.end)
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    fn room(&self, end: u64) -> Room {
        let warning = self.capacity_bytes - LibraryShape::early_warning_bytes(self.capacity_bytes);
        match self.warning {
            EndWarning::Endless if end > self.capacity_bytes => Room::Little,
            _ if end > self.capacity_bytes => Room::None,
            EndWarning::Early if end > warning => Room::Little,
            _ => Room::Enough,
        }
    }

    fn cut(&mut self, at: usize) -> io::Result<()> {
        if let Some(object) = self.objects.get(at) {
            self.end = object.start();
            self.file.set_len(self.end)?;
            self.objects.truncate(at);
            self.synced = self.synced.min(at);
        }
        Ok(())
    }

    /// One call to the system, so that the bytes are copied once.
    fn append(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let whole = header.len() + body.len();
        let written = self.file.write_vectored(&[IoSlice::new(header), IoSlice::new(body)])?;
        if written < header.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if written < whole {
            self.file.write_all(&body[written - header.len()..])?;
        }
        Ok(())
    }
}

fn header(kind: u32, len: u32) -> [u8; HEADER_LEN as usize] {
    let mut bytes = [0; HEADER_LEN as usize];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&kind.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..].copy_from_slice(&(!len).to_le_bytes());
    bytes
}

/// All whole objects and where they end.
fn walk(file: &File) -> io::Result<(Vec<Object>, u64)> {
    let file_len = file.metadata()?.len();
    let (mut objects, mut at) = (Vec::new(), 0);
    while at + HEADER_LEN <= file_len {
        let mut bytes = [0; HEADER_LEN as usize];
        file.read_exact_at(&mut bytes, at)?;
        let Some((kind, len)) = parse(&bytes) else { break };
        let next = at + HEADER_LEN + u64::from(len);
        match kind {
            BLOCK if next <= file_len => objects.push(Object::Block { offset: at + HEADER_LEN, len }),
            FILEMARK if len == 0 => objects.push(Object::Filemark { offset: at }),
            _ => break,
        }
        at = next;
    }
    Ok((objects, at))
}

fn parse(bytes: &[u8; HEADER_LEN as usize]) -> Option<(u32, u32)> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (bytes[..4] == MAGIC && word(8) == !word(12)).then(|| (word(4), word(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_object_is_cut_off_and_writing_cuts_what_lies_behind() {
        let dir = tempfile::tempdir().unwrap();
        let barcode: Barcode = "COF001L6".parse().unwrap();
        create(dir.path(), &barcode).unwrap();
        let open = || Medium::open(dir.path(), &barcode, 4 << 20, EndWarning::Early).unwrap();
        let mut medium = open();
        for at in 0..3 {
            assert_eq!(medium.write_block(at, &[at as u8; 100]).unwrap(), Room::Enough);
        }
        medium.write_filemark(3).unwrap();
        let whole = medium.objects().to_vec();
        assert_eq!(open().objects(), whole);
        let bytes = std::fs::read(path(dir.path(), &barcode)).unwrap();
        for (cut, left) in [(0, 4), (1, 3), (16, 3), (17, 2), (116, 2), (132, 2), (133, 1)] {
            std::fs::write(path(dir.path(), &barcode), &bytes[..bytes.len() - cut]).unwrap();
            assert_eq!(open().objects(), &whole[..left], "{cut} bytes cut");
        }
        medium = open();
        medium.write_block(1, &[9; 5]).unwrap();
        assert_eq!(open().objects().len(), 2);
        medium.sync().unwrap();
        medium.write_block(2, &[9; 5]).unwrap();
        medium.write_half(3, &[9; 50]).unwrap();
        assert_eq!(open().objects().len(), 3);
        medium.lose_buffer().unwrap();
        assert_eq!(open().objects().len(), 2);
    }
}

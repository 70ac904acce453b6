//! From what the system says to a [`Stat`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use coffer_format::node::NodeKind;
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS, FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE, FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_NO_RECALL, FILE_FLAG_OPEN_REPARSE_POINT, FILE_ID_INFO, FILE_READ_ATTRIBUTES,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_STANDARD_INFO,
};

use super::query;
use crate::scan::{Elsewhere, ObjectId, Stat, is_long, narrowed};

/// Programs may set the birth time, and Windows gives a new file its predecessor's. The number of a file on NTFS isn't
/// given to another, so nothing else is needed to tell objects apart.
pub(crate) const IS_BIRTH_FIXED: bool = false;

/// A volume keeps its serial number: a file on one with another is another.
pub(crate) const IS_DEVICE_LASTING: bool = true;

/// A file that a program keeps open may be written to for weeks without any sign of it in its times or its size.
pub(crate) const TIMES_TELL_WRITES: bool = false;

/// Everybody may go on working with a file that's open here.
pub(super) const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
/// 1601-01-01 to 1970-01-01, in units of 100 ns.
const EPOCH: i64 = 116_444_736_000_000_000;
/// Tags with this bit stand for another place (MS-FSCC 2.1.2.1): links, junctions, mount points.
const NAME_SURROGATE: u32 = 0x2000_0000;
/// Files whose bytes lie in the volume's store of chunks: what they have allocated says nothing of where they have bytes.
const DEDUPLICATED: u32 = 0x8000_0013;
/// Files that are nothing but their reparse point: aliases of applications, sockets, pipes, devices and the like
/// (MS-FSCC 2.1.2.1: NFS, APPEXECLINK, AF_UNIX, LX_FIFO, LX_CHR, LX_BLK).
const WITHOUT_BYTES: [u32; 6] =
    [0x8000_0014, 0x8000_001b, 0x8000_0023, 0x8000_0024, 0x8000_0025, 0x8000_0026];

/// What Windows tells of an object, in its own units.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) attributes: u32,
    /// Only where the attributes say that it's a reparse point.
    pub(super) tag: u32,
    pub(super) created: i64,
    pub(super) written: i64,
    pub(super) changed: i64,
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) links: u64,
}

/// Describes the object at `path`; a link is described itself.
pub(crate) fn stat_path(path: &Path) -> io::Result<Stat> {
    of_file(&open_to_describe(path)?)
}

pub(super) fn open_to_describe(path: &Path) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OPEN_NO_RECALL;
    OpenOptions::new().access_mode(FILE_READ_ATTRIBUTES).share_mode(SHARE_ALL).custom_flags(flags).open(path)
}

pub(super) fn object(file: &File) -> io::Result<ObjectId> {
    query::by_handle(file).map(|found| numbered(file, &found))
}

/// Of 128 bits where there are more than 64; not every file system and version of Windows tells those.
fn numbered(file: &File, found: &BY_HANDLE_FILE_INFORMATION) -> ObjectId {
    let short = u128::from(found.nFileIndexHigh) << 32 | u128::from(found.nFileIndexLow);
    match query::info::<FILE_ID_INFO>(file) {
        Ok(long) if is_long(u128::from_le_bytes(long.FileId.Identifier)) => ObjectId {
            // Never the same as by the shorter number, which isn't to be compared with this one.
            device: long.VolumeSerialNumber | 1 << 63,
            number: narrowed(u128::from_le_bytes(long.FileId.Identifier)),
        },
        _ => ObjectId { device: found.dwVolumeSerialNumber.into(), number: narrowed(short) },
    }
}

pub(super) fn of_file(file: &File) -> io::Result<Stat> {
    facts(file)?.stat()
}

/// A stream has its file's times and number, and a size of its own. Without a number it's known by its name alone.
pub(super) fn of_stream(file: &File) -> io::Result<Stat> {
    let facts = facts(file)?;
    let attributes = facts.attributes
        & !(FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_SPARSE_FILE);
    Facts { attributes, tag: 0, inode: 0, links: 1, ..facts }.stat()
}

pub(super) fn facts(file: &File) -> io::Result<Facts> {
    let handle = query::by_handle(file)?;
    let ObjectId { device, number: inode } = numbered(file, &handle);
    let basic: FILE_BASIC_INFO = query::info(file)?;
    let standard: FILE_STANDARD_INFO = query::info(file)?;
    let is_reparse = basic.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT != 0;
    let tag = if is_reparse { query::info::<FILE_ATTRIBUTE_TAG_INFO>(file)?.ReparseTag } else { 0 };
    Ok(Facts {
        attributes: basic.FileAttributes,
        tag,
        created: basic.CreationTime,
        written: basic.LastWriteTime,
        changed: basic.ChangeTime,
        size: standard.EndOfFile as u64,
        allocated: standard.AllocationSize as u64,
        device,
        inode,
        links: handle.nNumberOfLinks.max(1).into(),
    })
}

impl Facts {
    pub(super) fn is_surrogate(&self) -> bool {
        self.attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 && self.tag & NAME_SURROGATE != 0
    }

    /// What's kept as its reparse point.
    fn is_reparse_point_alone(&self) -> bool {
        let is_reparse = self.attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0;
        self.is_surrogate() || is_reparse && WITHOUT_BYTES.contains(&self.tag)
    }

    pub(super) fn kind(&self) -> NodeKind {
        match () {
            () if self.is_reparse_point_alone() => NodeKind::Symlink,
            () if self.attributes & FILE_ATTRIBUTE_DIRECTORY != 0 => NodeKind::Directory,
            () => NodeKind::File,
        }
    }

    /// Fails for what lies elsewhere and would have to be fetched.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        const ELSEWHERE: u32 =
            FILE_ATTRIBUTE_OFFLINE | FILE_ATTRIBUTE_RECALL_ON_OPEN | FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
        let kind = self.kind();
        if kind == NodeKind::File && self.attributes & ELSEWHERE != 0 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, Elsewhere));
        }
        let size = if kind == NodeKind::File { self.size } else { 0 };
        let is_sparse = self.attributes & FILE_ATTRIBUTE_SPARSE_FILE != 0 && self.tag != DEDUPLICATED;
        Ok(Stat {
            kind,
            size,
            mode: self.mode(kind),
            uid: 0,
            gid: 0,
            mtime_ns: nanoseconds(self.written),
            ctime_ns: nanoseconds(self.changed),
            btime_ns: nanoseconds(self.created),
            device: self.device,
            inode: self.inode,
            rdev: 0,
            links: self.links,
            kept_bytes: if is_sparse { self.allocated.min(size) } else { size },
        })
    }

    /// Permissions for whoever restores to Linux.
    fn mode(&self, kind: NodeKind) -> u32 {
        match kind {
            NodeKind::Directory => 0o755,
            NodeKind::Symlink => 0o777,
            _ if self.attributes & FILE_ATTRIBUTE_READONLY != 0 => 0o444,
            _ => 0o644,
        }
    }
}

/// From 100 ns since 1601 to nanoseconds since 1970; 0 where it isn't known.
pub(super) fn nanoseconds(time: i64) -> i64 {
    if time <= 0 { 0 } else { time.saturating_sub(EPOCH).saturating_mul(100) }
}

/// The other way; 0, which means "leave it", where it isn't known.
pub(super) fn file_time(ns: i64) -> i64 {
    if ns == 0 { 0 } else { ns / 100 + EPOCH }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(nanoseconds(EPOCH + 15), 1500);
        assert_eq!(nanoseconds(0), 0);
        assert_eq!(nanoseconds(i64::MAX), i64::MAX);
        assert_eq!(file_time(nanoseconds(EPOCH + 15)), EPOCH + 15);
    }

    #[test]
    fn what_lies_in_the_cloud_is_not_fetched() {
        let facts = Facts { attributes: FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS, ..Facts::default() };
        assert_eq!(facts.stat().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_junction_is_a_link_and_a_deduplicated_file_is_a_file() {
        let reparse =
            |tag, more| Facts { attributes: FILE_ATTRIBUTE_REPARSE_POINT | more, tag, ..Facts::default() };
        assert_eq!(reparse(0xa000_0003, FILE_ATTRIBUTE_DIRECTORY).kind(), NodeKind::Symlink);
        assert_eq!(reparse(0xa000_000c, 0).kind(), NodeKind::Symlink);
        assert_eq!(reparse(DEDUPLICATED, 0).kind(), NodeKind::File);
        assert_eq!(reparse(WITHOUT_BYTES[1], 0).kind(), NodeKind::Symlink);
    }

    #[test]
    fn a_deduplicated_file_is_read_whole_however_little_it_has_allocated() {
        let attributes = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_SPARSE_FILE;
        let facts = |tag| Facts { attributes, tag, size: 9000, ..Facts::default() };
        assert!(!facts(DEDUPLICATED).stat().unwrap().is_sparse());
        assert!(facts(0x8000_0017).stat().unwrap().is_sparse());
    }
}

//! Listing a directory, reached from its parent's handle so that no link is ever followed. Above all drives there's a
//! root that lists them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_NO_MORE_FILES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FileIdBothDirectoryInfo,
    FileIdBothDirectoryRestartInfo, FileIdExtdDirectoryInfo, FileIdExtdDirectoryRestartInfo,
};

use super::failure::{has_code, is_gone};
use super::listing::{self, Record};
use super::open_below::{Purpose, open_below};
use super::path::below;
use super::stat::{self, SHARE_ALL};
use super::{drives, final_name, numbering, query};
use crate::path::as_path;
use crate::scan::{FileNumbers, ListedEntry, Stat};

/// Bytes of a listing asked for at a time, in units of 8.
const BUFFER: usize = (64 << 10) / 8;
/// What a listing says of a file that's open may be old. Large files are the ones that stay open for long.
const PRECISE_FROM: u64 = 1 << 20;

/// An open directory.
#[derive(Debug)]
pub(crate) enum Directory {
    /// All drives.
    Computer,
    Folder {
        handle: File,
        device: u64,
        numbers: FileNumbers,
    },
}

impl Directory {
    /// Opens by path, component by component; the root is empty.
    pub(crate) fn open_path(path: &[u8]) -> io::Result<Directory> {
        let mut directory = Directory::Computer;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = directory.open_child(name)?;
        }
        Ok(directory)
    }

    /// Opens the top of what a snapshot shows.
    pub(crate) fn open_root(root: &Path) -> io::Result<Directory> {
        Directory::opened(open_top(&below(root, b""))?)
    }

    pub(crate) fn open_child(&self, name: &[u8]) -> io::Result<Directory> {
        let handle = match self {
            Directory::Computer => open_top(&as_path(name))?,
            Directory::Folder { handle, .. } => open_below(handle, name, Purpose::List)?,
        };
        Directory::opened(handle)
    }

    fn opened(handle: File) -> io::Result<Directory> {
        let facts = stat::facts(&handle)?;
        if facts.is_surrogate() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let numbers = numbering::of(&handle);
        Ok(Directory::Folder { handle, device: facts.device, numbers })
    }

    /// Whether a change of a file in it always shows: in its number, size or times. FAT and exFAT have no change times, and a share
    /// has what the other computer likes.
    pub(crate) fn tells_changes(&self) -> bool {
        !matches!(self, Directory::Folder { numbers: FileNumbers::Unknown, .. })
    }

    /// The folder itself, described.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        match self {
            Directory::Computer => Err(io::ErrorKind::Unsupported.into()),
            Directory::Folder { handle, .. } => stat::of_file(handle).map(|stat| self.worth(stat)),
        }
    }

    /// True where nothing is kept (a drive without a medium).
    pub(crate) fn is_pseudo(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// All entries, described.
    pub(crate) fn list(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<ListedEntry>> {
        let Directory::Folder { handle, device, numbers } = self else {
            // A drive that Windows doesn't list may be there all the same; it's one where it can be opened.
            let names = drives::names().into_iter().chain(drives::unlisted());
            return Ok(names.filter(|name| wanted(name)).filter_map(|name| self.entry(&name)).collect());
        };
        let mut buffer = vec![0u64; BUFFER];
        let mut entries = Vec::new();
        let (layout, mut class, next) = match numbers {
            FileNumbers::Long => (listing::EXTENDED, FileIdExtdDirectoryRestartInfo, FileIdExtdDirectoryInfo),
            _ => (listing::BOTH, FileIdBothDirectoryRestartInfo, FileIdBothDirectoryInfo),
        };
        loop {
            match query::entries(handle, class, &mut buffer) {
                Err(error) if has_code(&error, &[ERROR_NO_MORE_FILES]) => return Ok(entries),
                filled => filled?,
            }
            class = next;
            let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
            let records = listing::records(&bytes, layout, *device)?;
            entries.extend(
                records.into_iter().filter(|record| wanted(&record.name)).map(|one| self.described(one)),
            );
        }
    }

    fn described(&self, record: Record) -> ListedEntry {
        let listed = record.facts.stat();
        let is_large = listed.as_ref().is_ok_and(|stat| stat.size >= PRECISE_FROM);
        let precise = if is_large { self.precise(&record.name) } else { None };
        let stat = precise.unwrap_or(listed).map(|stat| self.worth(stat));
        ListedEntry { name: record.name, stat }
    }

    /// With a number only where that means something.
    fn worth(&self, stat: Stat) -> Stat {
        match self {
            Directory::Folder { numbers: FileNumbers::Unknown, .. } => stat.without_number(),
            _ => stat,
        }
    }

    fn precise(&self, name: &[u8]) -> Option<io::Result<Stat>> {
        let Directory::Folder { handle, .. } = self else { return None };
        let file = open_below(handle, name, Purpose::Describe).ok()?;
        Some(stat::of_file(&file))
    }

    /// Describes one entry, by its whole name in its own case; `None` where there's no such name.
    pub(crate) fn entry(&self, name: &[u8]) -> Option<ListedEntry> {
        let opened = match self {
            Directory::Computer => stat::open_to_describe(&as_path(name)),
            Directory::Folder { handle, .. } => open_below(handle, name, Purpose::Describe),
        };
        match opened {
            Err(error) if is_gone(&error) => None,
            Err(error) => Some(ListedEntry { name: name.to_vec(), stat: Err(error) }),
            Ok(file) => {
                let own = final_name::last(&file).filter(|_| matches!(self, Directory::Folder { .. }));
                let stat = stat::of_file(&file).map(|stat| self.worth(stat));
                Some(ListedEntry { name: own.unwrap_or_else(|| name.to_vec()), stat })
            }
        }
    }
}

fn open_top(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES).share_mode(SHARE_ALL);
    options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// The volume that an open directory lies on.
pub(crate) fn device_of(directory: &Directory) -> Option<u64> {
    match directory {
        Directory::Computer => None,
        Directory::Folder { device, .. } => Some(*device),
    }
}

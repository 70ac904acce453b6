//! A file system by FUSE that shows a folder, and gives its files other numbers at each mount, or says of them what isn't so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request,
};

/// A folder that's mounted; unmounted by [`Renumbered::unmount`].
pub struct Renumbered(BackgroundSession);

impl Renumbered {
    /// Whether this system can mount it at all; where it can't, a test says so and is skipped.
    pub fn is_possible(test: &str) -> bool {
        let is_possible = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
        if !is_possible {
            eprintln!("SKIPPED: {test} needs /dev/fuse, which can't be opened here");
        }
        is_possible
    }

    /// Shows `folder` at `at`; `seed` says which file gets which number.
    pub fn mount(folder: &Path, at: &Path, seed: u64) -> Renumbered {
        Renumbered::shown(Shown::new(folder, seed), at)
    }

    /// The same without change times: they're the write times, as on FAT.
    pub fn without_change_times(folder: &Path, at: &Path, seed: u64) -> Renumbered {
        Renumbered::shown(Shown { has_change_times: false, ..Shown::new(folder, seed) }, at)
    }

    /// The same, where names say what's odd: a file called `short…` ends in the middle, one called `sizeless…` is said to be empty,
    /// what's called `closed…` is listed and can't be opened, and a folder called `unlisted…` can't be listed, as if they weren't there.
    pub fn odd(folder: &Path, at: &Path) -> Renumbered {
        Renumbered::shown(Shown { is_odd: true, ..Shown::new(folder, 0) }, at)
    }

    fn shown(shown: Shown, at: &Path) -> Renumbered {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("renumbered".to_owned())];
        Renumbered(fuser::spawn_mount(shown, at, &config).unwrap())
    }

    /// Its server stops without a word; what's mounted stays.
    pub fn abort(self, at: &Path) {
        let device = std::fs::metadata(at).unwrap().dev();
        let all = Path::new("/sys/fs/fuse/connections");
        // Seldom mounted in a test's own table.
        std::process::Command::new("mount").args(["-t", "fusectl", "fusectl"]).arg(all).output().unwrap();
        let connection = all.join((device & 0xff | device >> 12 & 0xfff_ff00).to_string());
        std::fs::write(connection.join("abort"), "1").unwrap();
        std::mem::forget(self);
    }

    pub fn unmount(self) {
        match self.0.umount_and_join() {
            Ok(()) => {}
            // A request that came with the unmounting was being taken as the connection ended.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Paths by number.
struct Shown {
    paths: BTreeMap<u64, PathBuf>,
    has_change_times: bool,
    is_odd: bool,
}

impl Shown {
    fn new(folder: &Path, seed: u64) -> Shown {
        let (mut paths, mut pending) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    pending.push(entry.path());
                }
                paths.push((super::noise(8, seed ^ entry.ino()), entry.path()));
            }
        }
        paths.sort();
        let numbered = (2..).zip(paths.into_iter().map(|(_, path)| path));
        let paths = numbered.chain([(1, folder.to_owned())]).collect();
        Shown { paths, has_change_times: true, is_odd: false }
    }

    fn is_called(&self, number: INodeNo, odd: &str) -> bool {
        let name = self.paths.get(&number.0).and_then(|path| path.file_name());
        self.is_odd && name.is_some_and(|name| name.to_string_lossy().starts_with(odd))
    }

    fn open_any(&self, number: INodeNo, reply: ReplyOpen) {
        match self.is_called(number, "closed") {
            true => reply.error(Errno::ENOENT),
            // What the system keeps of a file would know its size better.
            false if self.is_odd => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            false => reply.opened(FileHandle(0), FopenFlags::empty()),
        }
    }

    fn attr(&self, number: u64) -> Result<FileAttr, Errno> {
        let metadata =
            self.paths.get(&number).and_then(|path| path.symlink_metadata().ok()).ok_or(Errno::ENOENT)?;
        let at = |seconds: i64, rest: i64| UNIX_EPOCH + Duration::new(seconds as u64, rest as u32);
        Ok(FileAttr {
            ino: INodeNo(number),
            size: if self.is_called(INodeNo(number), "sizeless") { 0 } else { metadata.size() },
            blocks: metadata.blocks(),
            atime: at(metadata.atime(), metadata.atime_nsec()),
            mtime: at(metadata.mtime(), metadata.mtime_nsec()),
            ctime: match self.has_change_times {
                true => at(metadata.ctime(), metadata.ctime_nsec()),
                false => at(metadata.mtime(), metadata.mtime_nsec()),
            },
            crtime: UNIX_EPOCH,
            kind: if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile },
            perm: (metadata.permissions().mode() & 0o7777) as u16,
            nlink: metadata.nlink() as u32,
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn number_of(&self, path: &Path) -> Result<u64, Errno> {
        self.paths.iter().find(|(_, one)| *one == path).map(|(number, _)| *number).ok_or(Errno::ENOENT)
    }
}

impl Filesystem for Shown {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self
            .paths
            .get(&parent.0)
            .ok_or(Errno::ENOENT)
            .and_then(|folder| self.number_of(&folder.join(name)));
        match found.and_then(|number| self.attr(number)) {
            Ok(attr) => reply.entry(&Duration::ZERO, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(number.0) {
            Ok(attr) => reply.attr(&Duration::ZERO, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        let file = std::fs::File::open(&self.paths[&number.0]).unwrap();
        let mut len = file.read_at(&mut buffer, offset).unwrap();
        if self.is_called(number, "short") {
            let end = file.metadata().unwrap().len() / 2;
            len = len.min(end.saturating_sub(offset) as usize);
        }
        reply.data(&buffer[..len]);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.open_any(number, reply);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.open_any(number, reply);
    }

    fn readdir(&self, _: &Request, folder: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if self.is_called(folder, "unlisted") {
            return reply.error(Errno::ENOENT);
        }
        let path = &self.paths[&folder.0];
        let inside = self.paths.iter().filter(|(_, one)| one.parent() == Some(path)).map(|(number, one)| {
            let kind = if one.is_dir() { FileType::Directory } else { FileType::RegularFile };
            (*number, kind, one.file_name().unwrap())
        });
        for (at, (number, kind, name)) in inside.enumerate().skip(offset as usize) {
            if reply.add(INodeNo(number), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

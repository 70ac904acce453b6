//! A recursive watch by inotify(7): which directories and names have something new in them. What's mounted and unmounted is no
//! event of inotify's; the kernel's table of mounts tells of that (proc_pid_mountinfo(5)).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::mounts::{Mounts, TABLE};
use super::{Directory, stat_path};
use crate::config::{Scope, Verdict};
use crate::path::as_path;
use crate::scan::{Asked, asked_of};
use crate::watch::Noticed;
use coffer_format::node::NodeKind;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The number of directories that were watched when it ran out.
    #[error("all {watched} directory watches of the system are in use; raise fs.inotify.max_user_watches")]
    OutOfWatches { watched: usize },
    #[error("no inotify instance is left to the agent's user; raise fs.inotify.max_user_instances")]
    OutOfInstances,
    #[error("watching for changes failed")]
    Io(#[from] io::Error),
}

/// Watches every directory of a scope. Bounded by the kernel's number of watches.
pub(crate) struct DirectoryWatcher {
    inotify: Inotify,
    paths: HashMap<WatchDescriptor, Vec<u8>>,
    /// Whoever polls it is woken when something is mounted or unmounted.
    table: File,
    mounts: Mounts,
    /// What left its place last, with the number that its arrival has as well.
    left: Option<(u32, Vec<u8>)>,
}

const EVENTS: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR)
    .union(AddWatchFlags::IN_DONT_FOLLOW);

impl DirectoryWatcher {
    /// Starts to watch everything that `scope` includes.
    pub(crate) fn start(scope: &Scope) -> Result<DirectoryWatcher, WatchError> {
        let inotify = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            Err(Errno::EMFILE) => return Err(WatchError::OutOfInstances),
            opened => opened.map_err(io::Error::from)?,
        };
        // Opened before it's read: what happens in between is told.
        let table = File::open(TABLE)?;
        let mounts = Mounts::read()?;
        let mut watcher = DirectoryWatcher { inotify, paths: HashMap::new(), table, mounts, left: None };
        watcher.add_tree(scope, Vec::new())?;
        Ok(watcher)
    }

    /// Waits up to `timeout` for something to happen; returns what did, oldest first.
    pub(crate) fn wait(&mut self, scope: &Scope, timeout: Duration) -> Result<Vec<Noticed>, WatchError> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.table.as_fd(), PollFlags::POLLPRI),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let are_others_mounted = fds[1].any().unwrap_or(true);
        let mut noticed = Vec::new();
        if are_others_mounted {
            self.mounts(scope, &mut noticed)?;
        }
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => return Ok(noticed),
            events => events.map_err(io::Error::from)?,
        };
        for event in events {
            self.event(scope, event, &mut noticed)?;
        }
        Ok(noticed)
    }

    /// What came is watched, and the bare folder that's seen in the place of what's gone.
    fn mounts(&mut self, scope: &Scope, out: &mut Vec<Noticed>) -> Result<(), WatchError> {
        let before = std::mem::replace(&mut self.mounts, Mounts::read()?);
        for path in self.mounts.others_than(&before).into_iter().filter(|path| scope.is_noticed(path)) {
            self.add_tree(scope, path.clone())?;
            out.push(Noticed::Arrived(path));
        }
        Ok(())
    }

    fn event(
        &mut self,
        scope: &Scope,
        event: InotifyEvent,
        out: &mut Vec<Noticed>,
    ) -> Result<(), WatchError> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            out.push(Noticed::Overflow);
            return Ok(());
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.paths.remove(&event.wd);
            return Ok(());
        }
        let (Some(directory), Some(name)) = (self.paths.get(&event.wd), event.name) else { return Ok(()) };
        let (directory, name) = (directory.clone(), name.as_bytes().to_vec());
        let path = joined(&directory, &name);
        let is_folder = event.mask.contains(AddWatchFlags::IN_ISDIR);
        if scope.verdict(&path) == Verdict::Outside || !is_folder && scope.leaves_out_file(&path) {
            return Ok(());
        }
        if event.mask.contains(AddWatchFlags::IN_MOVED_FROM) {
            self.left = Some((event.cookie, path.clone()));
        }
        if event.mask.contains(AddWatchFlags::IN_MOVED_TO)
            && let Some((_, from)) = self.left.take_if(|(cookie, _)| *cookie == event.cookie)
        {
            out.push(Noticed::Moved { from, to: path.clone() });
        }
        let arrived = event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        if arrived && is_folder {
            self.add_tree(scope, path.clone())?;
            out.push(Noticed::Arrived(path));
        }
        out.push(Noticed::Name { directory, name });
        Ok(())
    }

    /// Watches `path` and every directory below it. A directory that's watched already (it was moved) gets its new path.
    fn add_tree(&mut self, scope: &Scope, path: Vec<u8>) -> Result<(), WatchError> {
        let mut pending = vec![path];
        while let Some(path) = pending.pop() {
            let Some((directory, asked)) = self.add(scope, &path)? else { continue };
            let is_wanted = |path: &[u8]| {
                scope.verdict(path) != Verdict::Outside && (asked == Asked::All || scope.leads_over(path))
            };
            // Deepest first would hold fewer paths; a directory's own subdirectories are few enough.
            let entries = match directory.list(|name| is_wanted(&joined(&path, name))) {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::debug!(%error, "a directory can't be watched");
                    continue;
                }
            };
            let directories = entries
                .into_iter()
                .filter(|entry| entry.stat.as_ref().is_ok_and(|stat| stat.kind == NodeKind::Directory));
            pending.extend(directories.map(|entry| joined(&path, &entry.name)));
        }
        Ok(())
    }

    /// `None` where the directory is gone, unreadable or of a pseudo file system that nobody asks for: nothing to watch there.
    fn add(&mut self, scope: &Scope, path: &[u8]) -> Result<Option<(Directory, Asked)>, WatchError> {
        let Ok(directory) = Directory::open_path(path) else { return Ok(None) };
        let asked = match directory.is_pseudo() {
            Ok(false) => Asked::All,
            Ok(true) => asked_of(scope, path, &directory, |path| stat_path(&as_path(path))),
            Err(_) => Asked::Nothing,
        };
        if asked == Asked::Nothing {
            return Ok(None);
        }
        let place: &[u8] = if path.is_empty() { b"/" } else { path };
        match self.inotify.add_watch(OsStr::from_bytes(place), EVENTS) {
            Ok(wd) => {
                self.paths.insert(wd, path.to_vec());
                Ok(Some((directory, asked)))
            }
            Err(Errno::ENOSPC) => Err(WatchError::OutOfWatches { watched: self.paths.len() }),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => Ok(None),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

#[cfg(test)]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
#[path = "../../tests/support/volume.rs"]
mod volume;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::volume::{Volume, in_own_mounts, unmount};
    use super::*;
    use crate::config::BackupConfig;

    /// What's told until that is.
    fn wait_for(watcher: &mut DirectoryWatcher, scope: &Scope, expected: &Noticed) {
        let mut told = Vec::new();
        while !told.contains(expected) {
            let more = watcher.wait(scope, Duration::from_secs(20)).unwrap();
            assert!(!more.is_empty(), "{expected:?} isn't told, but {told:?}");
            told.extend(more);
        }
    }

    #[test]
    fn a_volume_that_goes_or_comes_is_told_and_watched() {
        in_own_mounts("linux::watcher::tests::a_volume_that_goes_or_comes_is_told_and_watched", || {
            let dir = tempfile::tempdir().unwrap();
            let (at, store) = (dir.path().join("data/vol"), dir.path().join("store"));
            fs::create_dir_all(&at).unwrap();
            let volume = Volume::folder(&store);
            fs::create_dir(store.join("deep")).unwrap();
            let config = BackupConfig::parse(&format!("include = [{:?}]", dir.path().join("data"))).unwrap();
            let scope = Scope::new(&config, &[]).unwrap();
            let mut watcher = DirectoryWatcher::start(&scope).unwrap();
            let path = |of: &std::path::Path| crate::platform::path_bytes(of);
            let name = |folder: &std::path::Path, name: &str| Noticed::Name {
                directory: path(folder),
                name: name.as_bytes().to_vec(),
            };
            for _ in 0..2 {
                volume.mount(&at);
                wait_for(&mut watcher, &scope, &Noticed::Arrived(path(&at)));
                fs::write(at.join("deep/file"), "on the volume").unwrap();
                wait_for(&mut watcher, &scope, &name(&at.join("deep"), "file"));
                unmount(&at);
                wait_for(&mut watcher, &scope, &Noticed::Arrived(path(&at)));
                fs::write(at.join("stray"), "in the bare folder").unwrap();
                wait_for(&mut watcher, &scope, &name(&at, "stray"));
            }
            // What's none of the scope's isn't told.
            let other = dir.path().join("other");
            fs::create_dir(&other).unwrap();
            volume.mount(&other);
            fs::write(dir.path().join("data/last"), "").unwrap();
            let told = watcher.wait(&scope, Duration::from_secs(20)).unwrap();
            assert!(!told.contains(&Noticed::Arrived(path(&other))), "{told:?}");
            unmount(&other);
        });
    }

    #[test]
    fn what_is_included_in_memory_is_watched_and_nothing_else_there() {
        in_own_mounts(
            "linux::watcher::tests::what_is_included_in_memory_is_watched_and_nothing_else_there",
            || {
                let dir = tempfile::tempdir().unwrap();
                let at = dir.path().join("data/memory");
                fs::create_dir_all(&at).unwrap();
                Volume::memory().mount(&at);
                fs::create_dir_all(at.join("sub/deep/below")).unwrap();
                fs::create_dir_all(at.join("rest")).unwrap();
                let includes = [dir.path().join("data"), at.join("sub/deep")];
                let config = BackupConfig::parse(&format!("include = {includes:?}")).unwrap();
                let scope = Scope::new(&config, &[]).unwrap();
                let mut watcher = DirectoryWatcher::start(&scope).unwrap();
                fs::write(at.join("rest/file"), "").unwrap();
                fs::write(at.join("sub/deep/below/file"), "").unwrap();
                let told = watcher.wait(&scope, Duration::from_secs(20)).unwrap();
                let directory = crate::platform::path_bytes(&at.join("sub/deep/below"));
                assert_eq!(told[0], Noticed::Name { directory, name: b"file".to_vec() });
                unmount(&at);
            },
        );
    }

    #[test]
    fn a_folder_with_the_name_of_files_that_are_left_out_is_noticed_and_they_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let config = BackupConfig::parse(&format!("include = [{:?}]", dir.path())).unwrap();
        let scope = Scope::new(&config, &[]).unwrap();
        let mut watcher = DirectoryWatcher::start(&scope).unwrap();
        let path = |of: &std::path::Path| crate::platform::path_bytes(of);
        fs::write(dir.path().join("notes.db-shm"), b"an index").unwrap();
        fs::create_dir(dir.path().join("archive-shm")).unwrap();
        fs::write(dir.path().join("last"), b"").unwrap();
        let mut names: Vec<Vec<u8>> = Vec::new();
        while names.last().is_none_or(|name| name != b"last") {
            for noticed in watcher.wait(&scope, Duration::from_secs(20)).unwrap() {
                match noticed {
                    Noticed::Name { name, .. } => names.push(name),
                    noticed => assert_eq!(noticed, Noticed::Arrived(path(&dir.path().join("archive-shm")))),
                }
            }
        }
        names.dedup();
        assert_eq!(names, [&b"archive-shm"[..], b"last"]);
    }
}

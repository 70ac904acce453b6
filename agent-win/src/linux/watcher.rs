//! A recursive watch by inotify(7): which directories and names have something new in them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::Directory;
use crate::config::{Scope, Verdict};
use crate::watch::Noticed;
use coffer_format::node::NodeKind;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The number of directories that were watched when it ran out.
    #[error("all {watched} directory watches of the system are in use; raise fs.inotify.max_user_watches")]
    OutOfWatches { watched: usize },
    #[error("watching for changes failed")]
    Io(#[from] io::Error),
}

/// Watches every directory of a scope. Bounded by the kernel's number of watches.
pub(crate) struct DirectoryWatcher {
    inotify: Inotify,
    paths: HashMap<WatchDescriptor, Vec<u8>>,
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
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io::Error::from)?;
        let mut watcher = DirectoryWatcher { inotify, paths: HashMap::new() };
        watcher.add_tree(scope, Vec::new())?;
        Ok(watcher)
    }

    /// Waits up to `timeout` for something to happen; returns what did, oldest first.
    pub(crate) fn wait(&mut self, scope: &Scope, timeout: Duration) -> Result<Vec<Noticed>, WatchError> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => return Ok(Vec::new()),
            events => events.map_err(io::Error::from)?,
        };
        let mut noticed = Vec::new();
        for event in events {
            self.event(scope, event, &mut noticed)?;
        }
        Ok(noticed)
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
        let arrived = event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        if arrived && is_folder {
            self.add_tree(scope, path)?;
        }
        out.push(Noticed::Name { directory, name });
        Ok(())
    }

    /// Watches `path` and every directory below it. A directory that's watched already (it was moved) gets its new path.
    fn add_tree(&mut self, scope: &Scope, path: Vec<u8>) -> Result<(), WatchError> {
        let mut pending = vec![path];
        while let Some(path) = pending.pop() {
            let Some(directory) = self.add(&path)? else { continue };
            // Deepest first would hold fewer paths; a directory's own subdirectories are few enough.
            let entries = match directory.list(|name| scope.verdict(&joined(&path, name)) != Verdict::Outside)
            {
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

    /// `None` where the directory is gone, unreadable or of a pseudo file system: nothing to watch there.
    fn add(&mut self, path: &[u8]) -> Result<Option<Directory>, WatchError> {
        let Ok(directory) = Directory::open_path(path) else { return Ok(None) };
        if directory.is_pseudo().unwrap_or(true) {
            return Ok(None);
        }
        let place: &[u8] = if path.is_empty() { b"/" } else { path };
        match self.inotify.add_watch(OsStr::from_bytes(place), EVENTS) {
            Ok(wd) => {
                self.paths.insert(wd, path.to_vec());
                Ok(Some(directory))
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
mod tests {
    use std::fs;

    use super::*;
    use crate::config::BackupConfig;

    #[test]
    fn a_folder_with_the_name_of_files_that_are_left_out_is_noticed_and_they_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let config = BackupConfig::parse(&format!("include = [{:?}]", dir.path())).unwrap();
        let scope = Scope::new(&config, &[]).unwrap();
        let mut watcher = DirectoryWatcher::start(&scope).unwrap();
        fs::write(dir.path().join("notes.db-shm"), b"an index").unwrap();
        fs::create_dir(dir.path().join("archive-shm")).unwrap();
        fs::write(dir.path().join("last"), b"").unwrap();
        let mut names: Vec<Vec<u8>> = Vec::new();
        while names.last().is_none_or(|name| name != b"last") {
            for noticed in watcher.wait(&scope, Duration::from_secs(20)).unwrap() {
                let Noticed::Name { name, .. } = noticed else { panic!("{noticed:?}") };
                names.push(name);
            }
        }
        names.dedup();
        assert_eq!(names, [&b"archive-shm"[..], b"last"]);
    }
}

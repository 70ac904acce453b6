//! Where a capture reads: the files themselves, or snapshots of some volumes in their place. Paths stay what they are for
//! the box; only where they're opened differs.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Scope;
use crate::path::{as_path, within};
use crate::platform::{self, Directory};

/// A way of looking at the file system.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// What's seen instead of a path and everything below it; the longest path counts.
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone)]
struct Mount {
    path: Vec<u8>,
    root: PathBuf,
    /// Another volume as it is at any moment, not a snapshot.
    is_live: bool,
}

impl View {
    /// Sees `root` in the place of each path (path bytes).
    pub fn with(mounts: Vec<(Vec<u8>, PathBuf)>) -> View {
        let still = |(path, root)| Mount { path, root, is_live: false };
        View::sorted(mounts.into_iter().map(still).collect())
    }

    /// The same, with other volumes as they are where something on the way to what's included is mounted: a mount point is
    /// a link like any other, and isn't followed unless it's asked for.
    pub fn over_mount_points(&self, scope: &Scope, mounted_at: impl Fn(&[u8]) -> Option<PathBuf>) -> View {
        let mut mounts = self.mounts.clone();
        for path in scope.ways() {
            if !self.is_root(path)
                && let Some(root) = mounted_at(path)
            {
                mounts.push(Mount { path: path.to_vec(), root, is_live: true });
            }
        }
        View::sorted(mounts)
    }

    fn sorted(mut mounts: Vec<Mount>) -> View {
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
        View { mounts }
    }

    /// Whether a path is seen as it was at the instant of a snapshot: nobody changes it meanwhile.
    pub(crate) fn stands_still(&self, path: &[u8]) -> bool {
        self.mount_of(path).is_some_and(|(mount, _)| !mount.is_live)
    }

    /// A snapshot that can't be read any more, by a path that it's seen at: the system gives one up where it has no room for it,
    /// or somebody deletes it.
    pub(crate) fn lost(&self) -> Option<&[u8]> {
        let is_there = |mount: &&Mount| Directory::open_root(&mount.root).and_then(|top| top.list(|_| false));
        let lost = self.mounts.iter().filter(|mount| !mount.is_live).find(|mount| is_there(mount).is_err());
        lost.map(|mount| &mount.path[..])
    }

    /// Where to open `path`.
    pub(crate) fn at<'a>(&self, path: &'a [u8]) -> Cow<'a, Path> {
        match self.mount_of(path) {
            Some((mount, below)) => Cow::Owned(platform::below(&mount.root, below)),
            None => as_path(path),
        }
    }

    /// Opens a directory by its path, without following a link below the volume that it lies on.
    pub(crate) fn directory(&self, path: &[u8]) -> io::Result<Directory> {
        let Some((mount, below)) = self.mount_of(path) else { return Directory::open_path(path) };
        let names = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names
            .into_iter()
            .try_fold(Directory::open_root(&mount.root)?, |directory, name| directory.open_child(name))
    }

    /// Whether another root than its parent's is seen at this very path.
    pub(crate) fn is_root(&self, path: &[u8]) -> bool {
        self.mounts.iter().any(|mount| within(path, &mount.path).is_some_and(<[u8]>::is_empty))
    }

    fn mount_of<'p>(&self, path: &'p [u8]) -> Option<(&Mount, &'p [u8])> {
        self.mounts.iter().find_map(|mount| Some((mount, within(path, &mount.path)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackupConfig;

    #[test]
    fn the_longest_path_that_is_seen_elsewhere_counts() {
        let snapshot = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(snapshot.path().join("inner/b")).unwrap();
        let root = |name: &str| snapshot.path().join(name);
        let view = View::with(vec![(b"/a".to_vec(), root("outer")), (b"/a/mnt".to_vec(), root("inner"))]);
        assert_eq!(view.at(b"/a/mnt/b"), root("inner").join("b"));
        assert_eq!(view.at(b"/a/mntx"), root("outer").join("mntx"));
        assert!(view.stands_still(b"/a") && !view.stands_still(b"/ab"));
        assert!(view.is_root(b"/a/mnt") && !view.is_root(b"/a/mnt/b"));
        assert!(view.directory(b"/a/mnt/b").unwrap().list(|_| true).unwrap().is_empty());
        assert!(view.directory(b"/a/mnt/none").is_err());
    }

    #[test]
    fn another_volume_as_it_is_does_not_stand_still() {
        let config = BackupConfig::parse("include = [\"/a/mnt/wanted\"]").unwrap();
        let scope = Scope::new(&config, &[]).unwrap();
        let mounted = |path: &[u8]| (path == scope.ways().iter().nth(1).copied()?).then(|| "/volume".into());
        let snapshot = View::with(vec![(scope.ways().first().unwrap().to_vec(), "/snapshot".into())]);
        let view = snapshot.over_mount_points(&scope, mounted);
        let [a, mnt, wanted] = scope.ways().into_iter().collect::<Vec<_>>()[..] else { panic!("three") };
        assert!(view.stands_still(a) && !view.stands_still(mnt) && !view.stands_still(wanted));
        assert!(view.is_root(mnt) && !view.is_root(wanted));
    }
}

//! Folders as they were when a look listed them: whether names came or went in one since.

use super::reading::has_rested;
use crate::clock::now_ns;
use crate::platform::stat_path;
use crate::scan::{Names, Pending, Seen, Stat};
use crate::standstill::View;

use coffer_format::NodeId;

/// At most so many folders are remembered, with some 200 bytes each.
const FOLDERS_MAX: usize = 1_000_000;

/// The folders that a look has listed.
#[derive(Debug, Default)]
pub(super) struct SeenFolders {
    folders: Vec<Folder>,
    is_overfull: bool,
}

/// One of them. Of two that were listed at one path only the one that's there counts.
#[derive(Debug)]
struct Folder {
    path: Box<[u8]>,
    node: NodeId,
    /// Only these names were looked at.
    names: Option<Box<[Vec<u8>]>>,
    seen: Box<Seen>,
}

/// What became of a folder since.
enum Since {
    Unchanged,
    Changed,
    /// It isn't at its path any more, which its own folder tells.
    Elsewhere,
}

impl SeenFolders {
    pub(super) fn clear(&mut self) {
        *self = SeenFolders::default();
    }

    pub(super) fn add(&mut self, path: &[u8], node: NodeId, names: &Names, seen: Seen) {
        if self.folders.len() >= FOLDERS_MAX {
            self.is_overfull = true;
            return;
        }
        let names = match names {
            Names::These(names) => Some(names.clone().into_boxed_slice()),
            Names::All | Names::Here => None,
        };
        self.folders.push(Folder { path: path.into(), node, names, seen: Box::new(seen) });
    }

    /// Whether there were more than can be remembered.
    pub(super) fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Takes out those that have changed since they were listed, or so shortly before that it wouldn't show: they're to be listed
    /// again.
    pub(super) fn take_changed(&mut self, view: &View) -> Vec<Pending> {
        let mut changed = Vec::new();
        self.folders.retain(|folder| match folder.since(view) {
            Since::Unchanged => true,
            Since::Elsewhere => false,
            Since::Changed => {
                changed.push(folder.again());
                false
            }
        });
        changed
    }
}

impl Folder {
    fn since(&self, view: &View) -> Since {
        let Ok(now) = stat_path(&view.at(&self.path)).map(|now| now.numbered_as(&self.seen.stat)) else {
            return Since::Elsewhere;
        };
        match () {
            () if !now.is_same_object(&self.seen.stat) => Since::Elsewhere,
            () if is_as_seen(&self.seen, &now) => Since::Unchanged,
            () => Since::Changed,
        }
    }

    fn again(&self) -> Pending {
        let names = self.names.as_ref().map_or(Names::Here, |names| Names::These(names.to_vec()));
        Pending {
            path: self.path.to_vec(),
            node: self.node,
            from: None,
            is_mount: false,
            names,
            is_hinted: true,
        }
    }
}

/// Whether nothing can have come or gone in a folder since it was seen.
pub(super) fn is_as_seen(seen: &Seen, now: &Stat) -> bool {
    let times = |stat: &Stat| (stat.mtime_ns, stat.ctime_ns);
    times(&seen.stat) == times(now) && has_stood(seen)
}

/// A change that came shortly before it was seen hides another one right after. The time of an entry's coming or going is the
/// system's own; one in the future is of another clock.
fn has_stood(seen: &Seen) -> bool {
    let changed_ns = seen.stat.ctime_ns;
    has_rested(changed_ns, seen.at_ns) || changed_ns > now_ns()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::platform::{Directory, path_bytes};

    fn seen(path: &std::path::Path) -> Seen {
        let at_ns = now_ns();
        Seen { stat: Directory::open_path(&path_bytes(path)).unwrap().stat().unwrap(), at_ns }
    }

    #[test]
    fn a_folder_is_listed_again_once_something_came_or_went() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut folders = SeenFolders::default();
        for folder in [&one, &two] {
            fs::create_dir(folder).unwrap();
        }
        let mut node = 1;
        let mut see = |folders: &mut SeenFolders, path: &std::path::Path| {
            node += 1;
            folders.add(&path_bytes(path), NodeId(node), &Names::All, seen(path));
        };
        see(&mut folders, &one);
        let view = View::default();
        // Made a moment ago.
        let began = Instant::now();
        while folders.take_changed(&view).len() == 1 {
            assert!(began.elapsed() < Duration::from_secs(20), "a folder that nobody touches never stands");
            see(&mut folders, &one);
        }
        see(&mut folders, &two);
        if !folders.take_changed(&view).is_empty() {
            see(&mut folders, &two);
        }
        fs::write(two.join("x"), "x").unwrap();
        let changed = folders.take_changed(&view);
        assert_eq!(changed.len(), 1);
        assert_eq!((&changed[0].path, &changed[0].names), (&path_bytes(&two), &Names::Here));
        // Another folder at the same path is told of by the one that it's in.
        fs::rename(&one, dir.path().join("old")).unwrap();
        fs::create_dir(&one).unwrap();
        assert!(folders.take_changed(&view).is_empty());
        assert!(folders.folders.is_empty(), "{folders:?}");
    }
}

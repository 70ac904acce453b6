//! A watch over a scope by `ReadDirectoryChangesW`: one request per included folder, however deep.

use std::io;
use std::time::Duration;

use super::changes::{Change, changes};
use super::mount_point::mounted_at;
use super::stat::stat_path;
use super::watched_folder::{Depth, FOLDERS_MAX, Told, WatchedFolder, wait};
use crate::config::Scope;
use crate::path::{as_path, split};
use crate::watch::Noticed;
use coffer_format::node::NodeKind;

/// Buffers taken in one go; what happens meanwhile waits for the next.
const BUFFERS_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("{included} folders are included, and {FOLDERS_MAX} can be watched; include folders higher up")]
    TooManyFolders { included: usize },
    #[error("watching for changes failed")]
    Io(#[from] io::Error),
}

/// Watches every folder that a scope includes.
pub(crate) struct DirectoryWatcher {
    folders: Vec<WatchedFolder>,
    places: Vec<Place>,
}

/// What's watched.
struct Place {
    path: Vec<u8>,
    /// The included path isn't there (yet): its nearest folder is watched until it comes.
    is_waiting: bool,
}

impl DirectoryWatcher {
    /// Starts to watch everything that `scope` includes.
    pub(crate) fn start(scope: &Scope) -> Result<DirectoryWatcher, WatchError> {
        let included = scope.includes().count();
        if included > FOLDERS_MAX {
            return Err(WatchError::TooManyFolders { included });
        }
        let mut watcher = DirectoryWatcher { folders: Vec::new(), places: Vec::new() };
        for include in scope.includes() {
            watcher.add(include)?;
        }
        Ok(watcher)
    }

    fn add(&mut self, include: &[u8]) -> io::Result<()> {
        let (path, depth, is_waiting) = match stat_path(&as_path(include)) {
            Ok(stat) if stat.kind == NodeKind::Directory => (include, Depth::Tree, false),
            // Opening it opens the volume that's mounted there.
            Ok(_) if mounted_at(include).is_some() => (include, Depth::Tree, false),
            Ok(_) => (split(include).map_or(include, |(parent, _)| parent), Depth::Folder, false),
            Err(_) => (nearest(include), Depth::Folder, true),
        };
        self.folders.push(WatchedFolder::start(&as_path(path), depth)?);
        self.places.push(Place { path: path.to_vec(), is_waiting });
        Ok(())
    }

    /// Waits up to `timeout` for something to happen; returns what did, oldest first.
    pub(crate) fn wait(&mut self, scope: &Scope, timeout: Duration) -> Result<Vec<Noticed>, WatchError> {
        let mut noticed = Vec::new();
        let mut timeout = timeout;
        for _ in 0..BUFFERS_MAX {
            let Some(index) = wait(&self.folders, timeout)? else { break };
            timeout = Duration::ZERO;
            let told = self.folders[index].take()?;
            if self.places[index].is_waiting {
                // Maybe what's waited for has come: begin anew, and look at everything.
                *self = DirectoryWatcher::start(scope)?;
                return Ok(vec![Noticed::Overflow]);
            }
            self.translate(scope, index, &told, &mut noticed);
        }
        Ok(noticed)
    }

    fn translate(&self, scope: &Scope, index: usize, told: &Told, out: &mut Vec<Noticed>) {
        let changes = match told {
            Told::Overflow => None,
            Told::Records(records) => changes(records),
        };
        let Some(changes) = changes else {
            out.push(Noticed::Overflow);
            return;
        };
        for Change { path: below, has_arrived } in changes {
            let path = [&self.places[index].path[..], b"/", &below].concat();
            match split(&path) {
                // What's left out stays so below, too: the agent's own folder would tell of every capture.
                Some(_) if !scope.is_noticed(&path) || is_file_left_out(scope, &path) => {}
                // A short name of something that may be gone: only its folder knows.
                Some(_) if is_short(&below) => out.push(Noticed::Overflow),
                Some((directory, name)) => {
                    out.push(Noticed::Name { directory: directory.to_vec(), name: name.to_vec() });
                    if has_arrived && is_folder(&path) {
                        out.push(Noticed::Arrived(path));
                    }
                }
                None => {}
            }
        }
    }
}

fn is_folder(path: &[u8]) -> bool {
    stat_path(&as_path(path)).is_ok_and(|stat| stat.kind == NodeKind::Directory)
}

/// What isn't there any more may have been a folder.
fn is_file_left_out(scope: &Scope, path: &[u8]) -> bool {
    let is_file = || stat_path(&as_path(path)).is_ok_and(|stat| stat.kind == NodeKind::File);
    scope.leaves_out_file(path) && is_file()
}

/// Whether a name in the path looks like one that Windows made up for programs of the eighties: `LONGNA~1.TXT`.
fn is_short(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| {
        let stem = name.split(|byte| *byte == b'.').next().unwrap_or(name);
        let tilde = stem.iter().rposition(|byte| *byte == b'~');
        let is_numbered =
            tilde.is_some_and(|at| at + 1 < stem.len() && stem[at + 1..].iter().all(u8::is_ascii_digit));
        is_numbered && stem.len() <= 8 && name.len() <= 12
    })
}

/// The nearest folder above that's there.
fn nearest(path: &[u8]) -> &[u8] {
    let mut path = path;
    while let Some((parent, _)) = split(path).filter(|(parent, _)| !parent.is_empty()) {
        path = parent;
        if stat_path(&as_path(path)).is_ok_and(|stat| stat.kind == NodeKind::Directory) {
            break;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::config::BackupConfig;

    /// What's noticed until `last` is.
    fn noticed_until(last: &[u8], watcher: &mut DirectoryWatcher, scope: &Scope) -> Vec<Vec<u8>> {
        let (began, mut names) = (Instant::now(), Vec::new());
        while !names.iter().any(|name| name == last) {
            assert!(began.elapsed().as_secs() < 20, "only noticed {names:?}");
            for noticed in watcher.wait(scope, Duration::from_millis(200)).unwrap() {
                match noticed {
                    Noticed::Name { name, .. } => names.push(name),
                    Noticed::Arrived(path) => assert!(fs::metadata(as_path(&path)).unwrap().is_dir()),
                    noticed => panic!("{noticed:?}"),
                }
            }
        }
        names
    }

    #[test]
    fn what_is_left_out_is_not_noticed_and_the_agents_own_folder_least_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let shown = folder.display().to_string();
        let include = shown.trim_start_matches(r"\\?\");
        let config =
            BackupConfig::parse(&format!("include = ['{include}']\nexclude = ['**/CACHE']")).unwrap();
        let scope = Scope::new(&config, &[&folder.join("own")]).unwrap();
        let mut watcher = DirectoryWatcher::start(&scope).unwrap();
        fs::write(folder.join("notes.db-shm"), b"an index, and no folder").unwrap();
        for name in ["own", "cache", "kept", "archive-shm"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("file"), b"x").unwrap();
        }
        fs::write(folder.join("last"), b"x").unwrap();
        let mut names = noticed_until(b"last", &mut watcher, &scope);
        names.retain(|name| name != b"last");
        for kept in [&b"kept"[..], b"archive-shm"] {
            assert!(names.iter().any(|name| name == kept), "{names:?}");
        }
        assert!(
            names.iter().all(|name| [&b"kept"[..], b"archive-shm", b"file"].contains(&&name[..])),
            "{names:?}"
        );
    }

    #[test]
    fn a_folder_that_comes_later_is_watched_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let shown = folder.join("later").display().to_string();
        let config =
            BackupConfig::parse(&format!("include = ['{}']", shown.trim_start_matches(r"\\?\"))).unwrap();
        let scope = Scope::new(&config, &[]).unwrap();
        let mut watcher = DirectoryWatcher::start(&scope).unwrap();
        fs::create_dir(folder.join("later")).unwrap();
        let told = watcher.wait(&scope, Duration::from_secs(20)).unwrap();
        assert_eq!(told, [Noticed::Overflow]);
        fs::write(folder.join("later").join("file"), b"x").unwrap();
        noticed_until(b"file", &mut watcher, &scope);
    }

    #[test]
    fn short_names_are_known_by_their_look() {
        assert!(is_short(b"a/LONGNA~1.TXT/b"));
        assert!(is_short(b"PROGR~12"));
        assert!(!is_short(b"a/~$letter.docx"));
        assert!(!is_short(b"backup~2024-11-06.tar"));
    }
}

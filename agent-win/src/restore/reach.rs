//! The folder that somebody names to restore to: reached name by name. A link on the way is followed where none but an
//! administrator can have made it; anybody else's could lead what's restored anywhere.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::folders::not_followed;
use crate::platform::{HeldFolder, path_bytes};

/// Most links on one way.
const LINKS_MAX: usize = 40;

/// Made where it isn't there, and held.
pub(super) fn reach(to: &Path) -> io::Result<Arc<HeldFolder>> {
    let path = path_bytes(&std::path::absolute(to)?);
    let (root, rest) = HeldFolder::root_of(&path)?;
    let (mut way, mut left, mut links) = (vec![Arc::new(root)], names(rest), 0);
    while let (Some(name), Some(here)) = (left.pop_front(), way.last().cloned()) {
        if name == b".." {
            way.truncate((way.len() - 1).max(1));
            continue;
        }
        match here.child(&name) {
            Ok(child) => way.push(Arc::new(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                here.make_folder(&name, false)?;
                way.push(Arc::new(here.child(&name).map_err(not_followed)?));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && links < LINKS_MAX => {
                links += 1;
                let target = here.way_on(&name)?.ok_or_else(|| not_followed(error))?;
                let mut on = names(&target);
                if target.starts_with(b"/") {
                    let (root, rest) = HeldFolder::root_of(&target)?;
                    (way, on) = (vec![Arc::new(root)], names(rest));
                }
                on.append(&mut left);
                left = on;
            }
            Err(error) => return Err(not_followed(error)),
        }
    }
    way.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl HeldFolder {
    /// By its path bytes, without following any link.
    pub(crate) fn at(path: &[u8]) -> io::Result<HeldFolder> {
        let (root, rest) = HeldFolder::root_of(path)?;
        names(rest).iter().try_fold(root, |folder, name| folder.child(name))
    }
}

fn names(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(<[u8]>::to_vec).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;
    use crate::platform::HeldEntry;

    fn reached(to: &Path, name: &[u8]) -> io::Result<()> {
        HeldEntry::create(&reach(to)?, name, false).map(drop)
    }

    #[test]
    fn links_of_whoever_restores_are_followed_and_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("real/below")).unwrap();
        symlink(dir.path().join("real"), dir.path().join("whole")).unwrap();
        symlink("whole/below/../..//real/./below", dir.path().join("relative")).unwrap();
        reached(&dir.path().join("relative/new/newer"), b"file").unwrap();
        assert!(dir.path().join("real/below/new/newer/file").exists());
        symlink("round", dir.path().join("round")).unwrap();
        reached(&dir.path().join("round"), b"file").unwrap_err();
    }

    #[test]
    fn another_persons_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        let link = dir.path().join("link");
        symlink("real", &link).unwrap();
        lchown(&link, Some(65534), None).expect("only root can give a link away: run the tests as root");
        for to in [link.clone(), link.join("below")] {
            let refused = reached(&to, b"file").unwrap_err();
            assert!(refused.to_string().contains("isn't followed"), "{refused}");
        }
        assert_eq!(fs::read_dir(dir.path().join("real")).unwrap().count(), 0);
    }
}

//! A folder that's the agent's alone. The agent works with all rights and does what its folder says, so nobody else may have made
//! it, may write to it, or may have put anything into it: not even before the agent was there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::platform::{PrivateFolder, is_gone, make_private_folder, stranger_of};

/// Why a folder isn't the agent's alone.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    #[error("{} is a link, or no folder; name a folder itself", .0.display())]
    NoFolder(PathBuf),
    #[error(
        "{} belongs to another user ({owner}), who could have put anything there; remove it, then enrol this computer as an \
         administrator or as the agent's user",
        .path.display()
    )]
    Stranger { path: PathBuf, owner: String },
    #[error(
        "other users may write to {} and could have put anything there; remove it, then enrol this computer again",
        .0.display()
    )]
    Open(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes the folder, and those above it, where they aren't there. Only the folder itself is closed to others.
pub(crate) fn create(path: &Path) -> Result<(), NotPrivate> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if make_private_folder(path)? {
        return Ok(());
    }
    let folder = opened(path)?;
    if folder.is_open()? && fs::read_dir(path)?.next().is_some() {
        return Err(NotPrivate::Open(path.to_owned()));
    }
    folder.close()?;
    no_stranger_in(path)
}

/// Looks whether the folder is what [`create`] made of it.
pub(crate) fn check(path: &Path) -> Result<(), NotPrivate> {
    let folder = opened(path)?;
    if folder.is_open()? {
        return Err(NotPrivate::Open(path.to_owned()));
    }
    no_stranger_in(path)
}

/// The folder, which belongs to the agent's user or to one who may do everything anyway.
fn opened(path: &Path) -> Result<PrivateFolder, NotPrivate> {
    // With a slash at its end a link would be followed.
    let plain: PathBuf = path.components().collect();
    let folder = PrivateFolder::open(&plain)?.ok_or_else(|| NotPrivate::NoFolder(path.to_owned()))?;
    match folder.stranger()? {
        None => Ok(folder),
        Some(owner) => Err(NotPrivate::Stranger { path: path.to_owned(), owner }),
    }
}

/// What was put there before the folder was closed belongs to who put it there. What lies deeper lies in folders that are ours.
fn no_stranger_in(folder: &Path) -> Result<(), NotPrivate> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match stranger_of(&path) {
            Ok(None) => {}
            Ok(Some(owner)) => return Err(NotPrivate::Stranger { path, owner }),
            // An agent at work replaces files.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::open_to_everybody;

    #[test]
    fn a_new_folder_and_an_empty_one_become_the_agents_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (new, empty) = (dir.path().join("above").join("new"), dir.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        open_to_everybody(&empty);
        assert!(matches!(check(&empty), Err(NotPrivate::Open(path)) if path == empty));
        for path in [&new, &empty] {
            create(path).unwrap();
            check(path).unwrap();
            fs::write(path.join("server"), b"box:7420").unwrap();
            // Once more, as whoever enrols the computer again does.
            create(path).unwrap();
        }
    }

    #[test]
    fn a_folder_that_others_may_have_filled_is_refused_and_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let planted = dir.path().join("planted");
        fs::create_dir(&planted).unwrap();
        open_to_everybody(&planted);
        fs::write(planted.join("server"), b"their.box:7420").unwrap();
        for _again in 0..2 {
            let refused = create(&planted).unwrap_err();
            assert!(matches!(&refused, NotPrivate::Open(path) if *path == planted), "{refused}");
            assert!(refused.to_string().ends_with("remove it, then enrol this computer again"), "{refused}");
            assert!(matches!(check(&planted), Err(NotPrivate::Open(_))));
        }
    }

    #[test]
    fn a_file_in_its_place_is_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(matches!(create(&path), Err(NotPrivate::NoFolder(_))));
        assert!(matches!(check(&path), Err(NotPrivate::NoFolder(_))));
        let gone = check(&dir.path().join("none")).unwrap_err();
        assert!(matches!(&gone, NotPrivate::Io(error) if error.kind() == io::ErrorKind::NotFound), "{gone}");
    }
}

//! Files and folders for the agent's user alone. Root may do everything anyway.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::unistd::geteuid;

const FOR_US_ALONE: u32 = 0o700;
/// Others than the owner may write. A list of users and their rights (ACL) shows as the group's bits.
const OTHERS_WRITE: u32 = 0o022;

/// An open folder, reached without following a link.
pub(crate) struct PrivateFolder(File);

impl PrivateFolder {
    /// `None` where a link or something else is in its place.
    pub(crate) fn open(path: &Path) -> io::Result<Option<PrivateFolder>> {
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => Ok(None),
            opened => Ok(Some(PrivateFolder(opened?))),
        }
    }

    /// Who it belongs to, where that's another user.
    pub(crate) fn stranger(&self) -> io::Result<Option<String>> {
        Ok(stranger(self.0.metadata()?.uid(), geteuid().as_raw()))
    }

    /// Whether others may write to it.
    pub(crate) fn is_open(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.mode() & OTHERS_WRITE != 0)
    }

    /// From now on it's for us alone.
    pub(crate) fn close(&self) -> io::Result<()> {
        match self.0.metadata()?.mode() & 0o777 {
            FOR_US_ALONE => Ok(()),
            _ => self.0.set_permissions(Permissions::from_mode(FOR_US_ALONE)),
        }
    }
}

/// Makes the folder; false where there's something already.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(FOR_US_ALONE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// Who an object belongs to, where that's another user; of a link, who the link does.
pub(crate) fn stranger_of(path: &Path) -> io::Result<Option<String>> {
    Ok(stranger(path.symlink_metadata()?.uid(), geteuid().as_raw()))
}

fn stranger(owner: u32, own: u32) -> Option<String> {
    (owner != 0 && owner != own).then(|| format!("the user with the number {owner}"))
}

/// How to open a file that only the agent's user may read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(test)]
pub(crate) fn open_to_everybody(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::private_folder::{NotPrivate, check, create};

    #[test]
    fn only_root_and_the_agents_user_are_no_strangers() {
        assert_eq!((stranger(0, 1000), stranger(1000, 1000), stranger(0, 0)), (None, None, None));
        assert_eq!(stranger(1001, 1000).as_deref(), Some("the user with the number 1001"));
        assert!(stranger(1000, 0).is_some());
    }

    #[test]
    fn nobody_else_may_look_into_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (new, there) = (dir.path().join("new"), dir.path().join("there"));
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, Permissions::from_mode(0o755)).unwrap();
        for path in [new, there] {
            create(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FOR_US_ALONE, "{}", path.display());
        }
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, link) = (dir.path().join("theirs"), dir.path().join("link"));
        fs::create_dir(&theirs).unwrap();
        symlink(&theirs, &link).unwrap();
        for path in [link.clone(), link.join("")] {
            assert!(matches!(create(&path), Err(NotPrivate::NoFolder(_))), "{}", path.display());
            assert!(matches!(check(&path), Err(NotPrivate::NoFolder(_))), "{}", path.display());
        }
        assert_ne!(fs::metadata(&theirs).unwrap().mode() & 0o777, FOR_US_ALONE);
    }

    /// Which takes root, or sudo without a password.
    fn give_to_another(path: &Path) {
        let as_root = if geteuid().is_root() { &["chown"][..] } else { &["sudo", "-n", "chown"] };
        let mut command = std::process::Command::new(as_root[0]);
        let done = command.args(&as_root[1..]).arg("4242").arg(path).status().unwrap();
        assert!(done.success(), "run the tests as root, or where sudo works");
    }

    #[test]
    fn what_another_user_made_is_refused_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        fs::create_dir(&theirs).unwrap();
        create(&ours).unwrap();
        fs::create_dir(ours.join("identity")).unwrap();
        check(&ours).unwrap();
        for (folder, planted) in [(&theirs, theirs.clone()), (&ours, ours.join("identity"))] {
            give_to_another(&planted);
            for refused in [create(folder), check(folder)] {
                let is_named = matches!(&refused, Err(NotPrivate::Stranger { path, .. }) if *path == planted);
                assert!(is_named, "{refused:?}");
            }
        }
    }
}

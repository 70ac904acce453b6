//! A disk that has stopped taking writes shows it only when something is written. So now and then something is.

use std::io::{Error, Result as IoResult};
use std::path::Path;

use crate::disk::Disk;
use crate::placing::clear;
use crate::vault::Vault;
use crate::{Result, VaultError};

/// The file that is written and removed again.
const NAME: &str = ".probe";
/// What opening a vault needs at least: less is no room.
const ROOM_TO_OPEN: usize = 256 << 10;

impl Vault {
    /// Writes a small file and makes it durable. Where the disk takes no writes or fails, the vault is read-only from then on, as after any
    /// other write that failed; a full disk isn't a broken one.
    pub fn try_write(&self) -> Result<()> {
        self.check_writable()?;
        let dir = &self.reading.dir;
        let Err(error) = write_and_remove(&*self.reading.disk, dir, NAME.as_bytes()) else { return Ok(()) };
        let is_broken = is_broken(&error);
        tracing::error!(%error, path = %dir.display(), is_broken, "a small file couldn't be written to the vault's disk");
        if is_broken {
            self.poison();
        }
        Err(VaultError::io("write to", dir)(error))
    }
}

/// Whether the disk takes as much as opening a vault, a mirror or a registry in `dir` may write: SQLite maps a file there, and a program that
/// writes to what it has mapped is killed where the disk has no room for it.
pub fn try_write_to(disk: &dyn Disk, dir: &Path) -> Result<()> {
    write_and_remove(disk, dir, &[0xFF; ROOM_TO_OPEN]).map_err(VaultError::io("write to", dir))
}

fn write_and_remove(disk: &dyn Disk, dir: &Path, bytes: &[u8]) -> IoResult<()> {
    let path = dir.join(NAME);
    match clear(disk, &path) {
        Err(VaultError::Io { source, .. }) => return Err(source),
        Err(other) => return Err(Error::other(other)),
        Ok(()) => {}
    }
    let file = disk.create(&path)?;
    let written = file.write_at(0, bytes).and_then(|()| file.sync());
    written.and(disk.remove(&path))
}

/// Whether an error is the disk's or its file system's, and not a passing lack of room, memory or descriptors.
pub(crate) fn is_broken(error: &Error) -> bool {
    use nix::errno::Errno;
    let of_disk = [Errno::EROFS, Errno::EIO, Errno::EUCLEAN, Errno::ENXIO, Errno::ENODEV, Errno::ESHUTDOWN];
    error.raw_os_error().is_some_and(|code| of_disk.contains(&Errno::from_raw(code)))
}

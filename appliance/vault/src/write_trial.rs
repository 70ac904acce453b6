//! A disk that has stopped taking writes shows it only when something is written. So now and then something is.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::vault::Vault;
use crate::{Result, VaultError};

/// The file that is written and removed again.
const NAME: &str = ".probe";

impl Vault {
    /// Writes a small file and makes it durable. Where the disk takes no writes or fails, the vault is read-only from then on, as after any
    /// other write that failed; a full disk isn't a broken one.
    pub fn try_write(&self) -> Result<()> {
        self.check_writable()?;
        let path = self.reading.dir.join(NAME);
        let Err(error) = self.write_and_remove(&path) else { return Ok(()) };
        let is_broken = is_broken(&error);
        tracing::error!(%error, path = %path.display(), is_broken, "a small file couldn't be written to the vault's disk");
        if is_broken {
            self.poison();
        }
        Err(VaultError::io("write", path)(error))
    }

    fn write_and_remove(&self, path: &Path) -> std::io::Result<()> {
        let disk = &self.reading.disk;
        match disk.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(path)?;
        let written = file.write_at(0, NAME.as_bytes()).and_then(|()| file.sync());
        written.and(disk.remove(path))
    }
}

/// Whether an error is the disk's or its file system's, and not a passing lack of room, memory or descriptors.
fn is_broken(error: &Error) -> bool {
    use nix::errno::Errno;
    let of_disk = [Errno::EROFS, Errno::EIO, Errno::EUCLEAN, Errno::ENXIO, Errno::ENODEV, Errno::ESHUTDOWN];
    error.raw_os_error().is_some_and(|code| of_disk.contains(&Errno::from_raw(code)))
}

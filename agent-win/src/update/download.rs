//! An update on its way to this computer: goes on where it stopped, counts once it's whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use coffer_format::update::{UPDATE_HEAD_LEN, UpdateHead};
use coffer_format::{FileHash, from_bytes, to_bytes};
use coffer_link::{open_own_file, set_no_file_aside};

use super::UpdateError;

/// A program's bytes so far, and the head that they belong to.
#[derive(Debug)]
pub(super) struct Download {
    head: UpdateHead,
    path: PathBuf,
    file: File,
    has: u64,
}

impl Download {
    /// Goes on with what's there of this update; anything else that's there goes.
    pub(super) fn open(folder: &Path, head: UpdateHead) -> Result<Download, UpdateError> {
        let (path, noted) = (folder.join("download"), folder.join("download.head"));
        let is_same = read_head(&noted).is_some_and(|there| there == head);
        let options = OpenOptions::new().create(true).append(true).read(true).to_owned();
        set_no_file_aside(&path)?;
        set_no_file_aside(&noted)?;
        let mut file = open_own_file(&path, &options)?;
        let has = file.metadata()?.len();
        if !is_same || has > head.release.len {
            file.set_len(0)?;
            file.sync_all()?;
            fs::write(&noted, to_bytes(&head))?;
            file = open_own_file(&path, &options)?;
        }
        let has = file.metadata()?.len();
        Ok(Download { head, path, file, has })
    }

    pub(super) fn head(&self) -> &UpdateHead {
        &self.head
    }

    /// How much is here, and so where to go on.
    pub(super) fn has(&self) -> u64 {
        self.has
    }

    pub(super) fn is_complete(&self) -> bool {
        self.has == self.head.release.len
    }

    /// The next bytes. What doesn't fit where this stands isn't taken.
    pub(super) fn add(&mut self, at: u64, bytes: &[u8]) -> Result<(), UpdateError> {
        let (version, len) = (self.head.release.version, self.head.release.len);
        if at != self.has || bytes.len() as u64 > len - self.has {
            return Err(UpdateError::OtherBytes(version));
        }
        if bytes.is_empty() {
            return Err(UpdateError::Truncated { version, has: self.has, len });
        }
        self.file.write_all(bytes)?;
        self.has += bytes.len() as u64;
        Ok(())
    }

    /// The file with the program, once its bytes are those that were signed.
    pub(super) fn finish(&self) -> Result<&Path, UpdateError> {
        self.file.sync_all()?;
        match self.is_complete() && hash_of(&self.path)? == self.head.release.hash {
            true => Ok(&self.path),
            false => Err(UpdateError::OtherBytes(self.head.release.version)),
        }
    }

    /// Gives the room back.
    pub(super) fn discard(self) {
        let Download { path, file, .. } = self;
        drop(file);
        if let Err(error) = fs::remove_file(&path) {
            tracing::info!(%error, "what was fetched of an update stays for now");
        }
    }
}

fn read_head(path: &Path) -> Option<UpdateHead> {
    let mut bytes = Vec::new();
    open_own_file(path, OpenOptions::new().read(true))
        .ok()?
        .take(UPDATE_HEAD_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    from_bytes(&bytes).ok()
}

/// The BLAKE3 of a file.
pub(super) fn hash_of(path: &Path) -> io::Result<FileHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open_own_file(path, OpenOptions::new().read(true))?)?;
    Ok(FileHash(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_format::update::Release;

    fn head(program: &[u8]) -> UpdateHead {
        let release = Release {
            target: "x".parse().unwrap(),
            version: "1.2.3".parse().unwrap(),
            trial_s: 60,
            len: program.len() as u64,
            hash: FileHash(*blake3::hash(program).as_bytes()),
        };
        UpdateHead { release, signature: [0; 64] }
    }

    #[test]
    fn a_download_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"the whole program";
        let mut first = Download::open(folder.path(), head(program)).unwrap();
        first.add(0, &program[..5]).unwrap();
        drop(first);
        let mut second = Download::open(folder.path(), head(program)).unwrap();
        assert_eq!(second.has(), 5);
        assert!(matches!(second.finish(), Err(UpdateError::OtherBytes(_))), "it isn't whole");
        second.add(5, &program[5..]).unwrap();
        assert_eq!(fs::read(second.finish().unwrap()).unwrap(), program);
        drop(second);
        let other = Download::open(folder.path(), head(b"another program")).unwrap();
        assert_eq!(other.has(), 0, "bytes of another update");
    }

    #[test]
    fn bytes_that_do_not_fit_and_bytes_that_end_too_early_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut download = Download::open(folder.path(), head(b"12345")).unwrap();
        assert!(matches!(download.add(1, b"x"), Err(UpdateError::OtherBytes(_))));
        assert!(matches!(download.add(0, b"123456"), Err(UpdateError::OtherBytes(_))));
        download.add(0, b"12").unwrap();
        let told = download.add(2, b"").unwrap_err().to_string();
        assert!(told.contains("only 2 of the 5 bytes"), "{told}");
        download.add(2, b"xyz").unwrap();
        assert!(matches!(download.finish(), Err(UpdateError::OtherBytes(_))));
    }
}

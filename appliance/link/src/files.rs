//! Small files that must be whole or absent: written beside, synced, renamed, and the directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::IdentityError;

/// Largest certificate or key file we read.
const FILE_MAX: u64 = 64 << 10;

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// One file to write: its name, the tag of its PEM blocks and the DER in each. Private keys are for their owner's eyes alone.
pub(crate) struct PemFile<'a> {
    pub name: &'static str,
    pub tag: &'static str,
    pub blocks: &'a [&'a [u8]],
}

/// Writes all files to `dir` (made if missing). All are durable beside their places before the first is put
/// in place, in the order given.
pub(crate) fn write_pem_files(dir: &Path, files: &[PemFile<'_>]) -> Result<(), IdentityError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Write { path, source }
    };
    make_private_dir(dir).map_err(failed(dir))?;
    for file in files {
        let staged = staged_path(dir, file.name);
        write_synced(&staged, file).map_err(failed(&staged))?;
    }
    for file in files {
        let path = dir.join(file.name);
        fs::rename(staged_path(dir, file.name), &path).map_err(failed(&path))?;
    }
    sync_dir(dir).map_err(failed(dir))
}

/// The DER in a file's `N` PEM blocks, each of which must have the tag `tag`.
pub(crate) fn read_pem_file<const N: usize>(
    dir: &Path,
    name: &str,
    tag: &str,
) -> Result<[Vec<u8>; N], IdentityError> {
    let path = dir.join(name);
    let text = match read_bounded(&path) {
        Ok(text) => text,
        Err(source) => return Err(IdentityError::Read { path, source }),
    };
    let blocks = pem::parse_many(text).unwrap_or_default();
    let tagged = blocks.into_iter().filter(|block| block.tag() == tag).map(pem::Pem::into_contents);
    tagged.collect::<Vec<_>>().try_into().map_err(|_| IdentityError::Damaged { path })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

fn staged_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.new"))
}

fn write_synced(path: &Path, file: &PemFile<'_>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = create_new(path, file.tag == PRIVATE_KEY)?;
    for block in file.blocks {
        out.write_all(pem::encode(&pem::Pem::new(file.tag, *block)).as_bytes())?;
    }
    out.sync_all()
}

#[cfg(unix)]
fn create_new(path: &Path, private: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = if private { 0o600 } else { 0o644 };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// On Windows the directory's access list protects the key: a service's directory is its own.
#[cfg(not(unix))]
fn create_new(path: &Path, _private: bool) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Windows has no way to sync a directory; NTFS journals the rename.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

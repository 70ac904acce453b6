//! Certificates and keys on disk: PEM files of which several belong together.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::IdentityError;
use crate::durable_file::{owner_only, put_in_place, staged_beside, sync_directory, write_synced};
use crate::own_file::read_small_file;

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
/// in place, in the order given: what a cut leaves half done is brought to its end by [`read_matching`].
pub(crate) fn write_pem_files(dir: &Path, files: &[PemFile<'_>]) -> Result<(), IdentityError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Write { path, source }
    };
    make_private_dir(dir).map_err(failed(dir))?;
    for file in files {
        let staged = staged_beside(&dir.join(file.name));
        write_synced(&staged, &file.text(), &file.options()).map_err(failed(&staged))?;
    }
    sync_directory(dir).map_err(failed(dir))?;
    for file in files {
        let path = dir.join(file.name);
        put_in_place(&staged_beside(&path), &path).map_err(failed(&path))?;
    }
    sync_directory(dir).map_err(failed(dir))
}

/// Reads files that belong together with `read`. Where they don't match, a cut may have come between putting one and the next in
/// place: those that still wait are put in place, and all are read once more.
pub(crate) fn read_matching<T>(
    dir: &Path,
    names: &[&str],
    read: impl Fn() -> Result<T, IdentityError>,
) -> Result<T, IdentityError> {
    let error = match read() {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let mut finished = false;
    for name in names {
        let path = dir.join(name);
        let staged = staged_beside(&path);
        if staged.exists() {
            put_in_place(&staged, &path).map_err(|source| IdentityError::Write { path, source })?;
            finished = true;
        }
    }
    if !finished {
        return Err(error);
    }
    sync_directory(dir).map_err(|source| IdentityError::Write { path: dir.to_owned(), source })?;
    read()
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
    let bytes = read_small_file(path)?;
    if bytes.len() as u64 > FILE_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

impl PemFile<'_> {
    fn text(&self) -> Vec<u8> {
        let blocks = self.blocks.iter().map(|block| pem::encode(&pem::Pem::new(self.tag, *block)));
        blocks.collect::<String>().into_bytes()
    }

    fn options(&self) -> OpenOptions {
        if self.tag == PRIVATE_KEY { owner_only() } else { OpenOptions::new() }
    }
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

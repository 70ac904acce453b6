//! Small files that must be whole or absent: written beside their place, synced, renamed into it, and the directory synced.
//! Every program of ours writes its keys, settings and notes this way.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::own_file::set_folder_aside;

/// Writes `bytes` to `path` in place of what is there: whatever happens meanwhile, the file is the old one or the new one. When
/// it returns, the new one stays through a power cut. A folder in its place is moved aside.
///
/// `options` says who may read the file (its mode on Unix); the rest of it is set here.
pub fn write_durable_file(path: &Path, bytes: &[u8], options: &OpenOptions) -> io::Result<()> {
    let staged = staged_beside(path);
    write_synced(&staged, bytes, options)?;
    put_in_place(&staged, path)?;
    sync_directory_of(path)
}

/// How to make a file that only its owner may read. On Windows the directory's access list protects it.
pub fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[cfg(not(unix))]
    options.write(true);
    options
}

/// Where the new version of a file waits until it's whole.
pub(crate) fn staged_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Makes a new file with these bytes, durably, in place of a leftover. A leftover is removed first: it may have been made
/// readable for others.
pub(crate) fn write_synced(path: &Path, bytes: &[u8], options: &OpenOptions) -> io::Result<()> {
    set_folder_aside(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options.clone().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(not(windows))]
pub(crate) fn put_in_place(staged: &Path, path: &Path) -> io::Result<()> {
    set_folder_aside(path)?;
    fs::rename(staged, path)
}

/// Scanners and indexers hold a fresh file for a moment, and Windows doesn't rename over a file that somebody holds.
#[cfg(windows)]
pub(crate) fn put_in_place(staged: &Path, path: &Path) -> io::Result<()> {
    const TRIES: u32 = 40;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    const SHARING_VIOLATION: i32 = 32;
    set_folder_aside(path)?;
    for _ in 1..TRIES {
        match fs::rename(staged, path) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    || error.raw_os_error() == Some(SHARING_VIOLATION) =>
            {
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
    fs::rename(staged, path)
}

#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_directory(dir),
        _ => sync_directory(Path::new(".")),
    }
}

#[cfg(not(unix))]
fn sync_directory_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Windows has no way to sync a directory; NTFS journals the rename.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_leftover_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box.toml");
        fs::write(staged_beside(&path), b"half of an ear").unwrap();
        write_durable_file(&path, b"one", &OpenOptions::new()).unwrap();
        write_durable_file(&path, b"two", &OpenOptions::new()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_its_owners_alone_even_over_an_open_leftover() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(staged_beside(&path), b"").unwrap();
        write_durable_file(&path, b"secret", &owner_only()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

//! Small files that a program of ours reads back: keys, settings, notes, locks. Only regular files are opened: whatever else has the name of one
//! counts as damage, and no pipe, device or folder holds a program up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Largest file that is read whole.
const SMALL_MAX: u64 = 16 << 20;
/// Names that are tried for what is moved aside.
const ASIDE_MAX: u32 = 1000;

/// Something else than a regular file has the name of one.
#[derive(Debug, Error)]
#[error("{0} lies in its place")]
struct NoFile(&'static str);

/// Reads a small file, or the one that a link leads to.
pub fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_own_file(path, OpenOptions::new().read(true))?;
    let mut bytes = Vec::new();
    file.take(SMALL_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL_MAX { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The same of text.
pub fn read_small_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_small_file(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Opens a file of our own, or the one that a link leads to, without waiting for anybody.
pub fn open_own_file(path: &Path, options: &OpenOptions) -> io::Result<File> {
    // Before it's opened: opening a device may do something.
    match fs::metadata(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) => {}
        Ok(found) => refuse_other(&found)?,
    }
    let file = without_waiting(options.clone()).open(path)?;
    refuse_other(&file.metadata()?)?;
    Ok(file)
}

/// Opens a file that is only there to be locked, and makes it if it's missing. What lies in its place and is no file is moved aside.
pub fn open_lock_file(path: &Path, options: &OpenOptions) -> io::Result<File> {
    set_no_file_aside(path)?;
    open_own_file(path, options.clone().create(true).truncate(false).write(true))
}

/// Whether an error says that there's no such file: nothing has its name, or something else than a file.
pub fn is_no_file(error: &io::Error) -> bool {
    let is_other = || error.get_ref().is_some_and(|inner| inner.is::<NoFile>());
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
        || is_loop(error)
        || is_other()
}

/// Moves aside what lies in a file's place and neither is one nor leads to one. Returns whether something did.
pub fn set_no_file_aside(path: &Path) -> io::Result<bool> {
    set_aside_unless(path, fs::Metadata::is_file)
}

/// The same where a folder is to be.
pub fn set_no_folder_aside(path: &Path) -> io::Result<bool> {
    set_aside_unless(path, fs::Metadata::is_dir)
}

/// Makes a folder, and those above it, for what can be made again. What lies in its place and neither is one nor leads to one is moved aside.
pub fn make_own_folder(path: &Path) -> io::Result<()> {
    set_no_folder_aside(path)?;
    fs::create_dir_all(path)
}

fn set_aside_unless(path: &Path, is_right: impl Fn(&fs::Metadata) -> bool) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if is_right(&found) || fs::metadata(path).is_ok_and(|led_to| is_right(&led_to)) {
        return Ok(false);
    }
    move_aside(path, kind_of(&found))?;
    Ok(true)
}

/// Moves a folder aside that lies where a file is to be put.
pub(crate) fn set_folder_aside(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => move_aside(path, kind_of(&found)),
        _ => Ok(()),
    }
}

fn move_aside(path: &Path, what: &'static str) -> io::Result<()> {
    let kind = what.rsplit(' ').next().unwrap_or(what);
    let named = |number: u32| -> PathBuf {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{kind}{number}"));
        path.with_file_name(name)
    };
    let is_free =
        |path: &PathBuf| fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let aside = (1..ASIDE_MAX).map(named).find(is_free).ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    tracing::warn!(
        ?path,
        ?aside,
        what,
        "something else lay in the place of a file or folder; it was moved aside"
    );
    Ok(())
}

fn refuse_other(found: &fs::Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(io::Error::other(NoFile(kind_of(found)))) }
}

fn kind_of(found: &fs::Metadata) -> &'static str {
    let kind = found.file_type();
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a folder",
        () if kind.is_symlink() => "a link",
        () => kind_of_special(kind),
    }
}

#[cfg(unix)]
fn kind_of_special(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn kind_of_special(_kind: fs::FileType) -> &'static str {
    "a device"
}

/// A pipe without a writer isn't waited for.
#[cfg(unix)]
fn without_waiting(mut options: OpenOptions) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    options
}

/// No file of Windows waits for a writer.
#[cfg(not(unix))]
fn without_waiting(options: OpenOptions) -> OpenOptions {
    options
}

#[cfg(unix)]
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32)
}

#[cfg(not(unix))]
fn is_loop(_error: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "helpers of tests are test code")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{owner_only, write_durable_file};

    fn put(path: &Path, what: &str) {
        match what {
            "folder" => fs::create_dir(path).unwrap(),
            "pipe" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "link" => symlink("/nowhere/x", path).unwrap(),
            _ => symlink(path, path).unwrap(),
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for_and_gives_way() {
        for what in ["folder", "pipe", "link", "link to itself"] {
            let dir = tempfile::tempdir().unwrap();
            let (key, lock, folder) =
                (dir.path().join("a.key"), dir.path().join("lock"), dir.path().join("f"));
            put(&key, what);
            put(&lock, what);
            let error = read_small_file(&key).unwrap_err();
            assert!(is_no_file(&error), "{what}: {error}");
            if matches!(what, "folder" | "pipe") {
                assert_eq!(error.to_string(), format!("a {what} lies in its place"));
                put(&folder, "pipe");
                make_own_folder(&folder).unwrap();
            }
            write_durable_file(&key, b"key", &owner_only()).unwrap();
            assert_eq!(read_small_text(&key).unwrap(), "key", "{what}");
            open_lock_file(&lock, &owner_only()).unwrap().try_lock().unwrap();
            assert!(lock.symlink_metadata().unwrap().is_file(), "{what}");
        }
    }

    #[test]
    fn a_link_to_a_file_or_a_folder_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("there"), b"text").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("there", at("link")).unwrap();
        symlink("folder", at("way")).unwrap();
        assert_eq!(read_small_text(&at("link")).unwrap(), "text");
        assert!(!set_no_file_aside(&at("link")).unwrap());
        make_own_folder(&at("way")).unwrap();
        assert!(at("way").symlink_metadata().unwrap().is_symlink());
    }
}

//! The folder that is protected, and what was in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coffer_format::FileHash;

/// Folders that most machines have; the first ones that exist are copied until there's enough.
const SOURCES: [&str; 6] = [
    "/usr/include",
    "/usr/share/perl",
    "/usr/lib/python3",
    "/usr/share/doc",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/bin",
];
/// A large file that changes in place.
pub(super) const LARGE: &str = "ledger.db";
const LARGE_BYTES: usize = 32 << 20;

/// What was copied.
pub(super) struct Copied {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

pub(super) fn copy_some_of_this_machine(to: &Path, limit: u64) -> io::Result<Copied> {
    fs::create_dir_all(to)?;
    let mut copied = Copied { files: 1, bytes: LARGE_BYTES as u64 };
    write_large(&to.join(LARGE))?;
    for source in SOURCES.iter().map(Path::new).filter(|source| source.is_dir()) {
        let name = source.file_name().unwrap_or_default();
        copy_tree(source, &to.join(name), limit, &mut copied)?;
    }
    Ok(copied)
}

fn write_large(path: &Path) -> io::Result<()> {
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    for page in 0..(LARGE_BYTES / 8192) as u64 {
        file.write_all(&super::changes::page(page, 0))?;
    }
    file.flush()
}

fn copy_tree(from: &Path, to: &Path, limit: u64, copied: &mut Copied) -> io::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let target = to.join(entry.file_name());
            if copied.bytes >= limit {
                return Ok(());
            }
            if kind.is_dir() {
                waiting.push((entry.path(), target));
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            } else if let (true, Ok(bytes)) = (kind.is_file(), fs::copy(entry.path(), &target)) {
                copied.files += 1;
                copied.bytes += bytes;
            }
        }
    }
    Ok(())
}

/// Hash of each file and target of each link, by path below the folder.
pub(super) type Snapshot = BTreeMap<PathBuf, FileHash>;

pub(super) fn snapshot(folder: &Path) -> io::Result<Snapshot> {
    let mut found = Snapshot::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            let below = path.strip_prefix(folder).map_err(io::Error::other)?.to_owned();
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                found
                    .insert(below, FileHash(*blake3::hash(target.as_os_str().as_encoded_bytes()).as_bytes()));
            } else {
                found.insert(below, hash(&path)?);
            }
        }
    }
    Ok(found)
}

pub(super) fn hash(path: &Path) -> io::Result<FileHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(FileHash(*hasher.finalize().as_bytes()))
}

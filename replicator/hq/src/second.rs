//! Second copies of the small files that HQ can't be without: one that changed by itself is found when HQ starts, and is put back.
//!
//! They're in the folder `second`, beside `BLAKE3SUMS`: a line `HASH  PATH` for each, as `b3sum` writes it. The registry's is
//! made by the registry itself, whenever that changes.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coffer_link::{is_no_file, owner_only, read_small_file, set_no_folder_aside, write_durable_file};

use crate::{HqError, Result};

const SUMS: &str = "BLAKE3SUMS";
/// Files, and folders all of whose files are meant.
const FILES: [&str; 3] = ["organisation.toml", "chunk.key", "recovery.key"];
const FOLDERS: [&str; 2] = ["authority", "identity"];

/// Where second copies are.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("second")
}

/// Makes that folder, for its owner alone. What lies in its place and is none is moved aside.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    for path in folder.parent().into_iter().chain([folder]) {
        set_no_folder_aside(path).map_err(HqError::io("move aside", path))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(HqError::io("create", folder))
}

/// Puts back what isn't as it was when HQ last started. Returns the paths. Fails where neither a file nor its copy is as it was.
pub(crate) fn put_back(dir: &Path) -> Result<Vec<String>> {
    let sums = read(&folder(dir).join(SUMS))?.unwrap_or_default();
    let mut put_back = Vec::new();
    for (sum, name) in String::from_utf8_lossy(&sums).lines().filter_map(|line| line.split_once("  ")) {
        let (first, second) = (dir.join(name), folder(dir).join(name));
        let there = read(&first)?;
        if there.as_deref().is_some_and(|bytes| sum_of(bytes) == sum) {
            continue;
        }
        match read(&second)? {
            Some(copy) if sum_of(&copy) == sum => {
                write(&first, &copy)?;
                put_back.push(name.to_owned());
            }
            // Two that are alike outweigh a sum; and a name that nothing has is one that changed by itself. What is really missing is told by
            // whoever needs it.
            copy if there == copy => {}
            _ => return Err(HqError::Damaged { path: first }),
        }
    }
    Ok(put_back)
}

/// Makes the copies what the files are: those are known to be good.
pub(crate) fn keep(dir: &Path) -> Result<()> {
    let mut sums = String::new();
    for name in names(dir)? {
        let Some(bytes) = read(&dir.join(&name))? else { continue };
        sums.push_str(&format!("{}  {name}\n", sum_of(&bytes)));
        write_where_other(&folder(dir).join(&name), &bytes)?;
    }
    // Last: until then the copies are checked against what they were.
    write_where_other(&folder(dir).join(SUMS), sums.as_bytes())
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = FILES.iter().map(|name| (*name).to_owned()).collect();
    for folder in FOLDERS {
        let path = dir.join(folder);
        for entry in fs::read_dir(&path).map_err(HqError::io("read", &path))? {
            let name = entry.map_err(HqError::io("read", &path))?.file_name();
            // A new version that isn't in place yet begins with a dot.
            if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.sort();
    Ok(names)
}

fn sum_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// A file's bytes; `None` where there's none, or something else has its name.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match read_small_file(path) {
        Err(error) if is_no_file(&error) => Ok(None),
        other => other.map(Some).map_err(HqError::io("read", path)),
    }
}

fn write_where_other(path: &Path, bytes: &[u8]) -> Result<()> {
    // What can't be read isn't there.
    if read_small_file(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    write(path, bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    make_folder(path.parent().unwrap_or(path))?;
    write_durable_file(path, bytes, &owner_only()).map_err(HqError::io("write", path))
}

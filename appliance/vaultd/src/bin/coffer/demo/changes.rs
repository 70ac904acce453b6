//! A day's work on the protected folder.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::folder::LARGE;

/// What was changed, and how many bytes of files that touches at the least.
pub(super) struct Changed {
    /// Below the folder.
    pub(super) deleted: PathBuf,
    pub(super) edited: PathBuf,
    pub(super) bytes: u64,
    pub(super) what: Vec<String>,
}

/// A page of the large file: half of it compresses.
pub(super) fn page(number: u64, generation: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(&generation.to_le_bytes());
    let mut out = vec![0; 8192];
    hasher.finalize_xof().fill(&mut out[..4096]);
    out
}

pub(super) fn make(folder: &Path) -> io::Result<Changed> {
    let mut what = Vec::new();
    let mut bytes = 0;

    let large = fs::OpenOptions::new().write(true).open(folder.join(LARGE))?;
    let pages = (0..40u64).map(|nth| (nth * 101) % 4096);
    for number in pages.clone() {
        large.write_all_at(&page(number, 1), number * 8192)?;
        bytes += 8192;
    }
    what.push(format!("{} pages of {LARGE} in place", pages.count()));

    let mut files = plain_files(folder)?;
    files.sort();
    let mut edited = None;
    for path in files.iter().step_by((files.len() / 20).max(1)).take(20) {
        let mut content = fs::read(path)?;
        let middle = content.len() / 2;
        content.splice(middle..middle, b"a line that wasn't there before\n".iter().copied());
        bytes += 32;
        fs::write(path, content)?;
        edited = Some(path.clone());
    }
    what.push("20 insertions".into());

    let new = folder.join("new");
    fs::create_dir(&new)?;
    for number in 0..10 {
        let content = page(number, 2);
        bytes += content.len() as u64;
        fs::write(new.join(format!("report-{number}.txt")), content)?;
    }
    what.push("10 new files".into());

    let deleted = files
        .iter()
        .rev()
        .nth(3)
        .cloned()
        .ok_or_else(|| io::Error::other("the folder is too small for a demo"))?;
    fs::remove_file(&deleted)?;
    what.push("1 file deleted".into());

    let untouched = |path: &Path| {
        !deleted.starts_with(path) && !edited.as_ref().is_some_and(|edited| edited.starts_with(path))
    };
    if let Some((count, tree)) = largest_tree(folder, &untouched)? {
        let mut renamed = tree.clone().into_os_string();
        renamed.push("-renamed");
        fs::rename(&tree, renamed)?;
        what.push(format!("a tree of {count} files renamed"));
    }
    let below = |path: PathBuf| path.strip_prefix(folder).map(Path::to_owned).map_err(io::Error::other);
    let edited = edited.ok_or_else(|| io::Error::other("the folder is too small for a demo"))?;
    Ok(Changed { deleted: below(deleted)?, edited: below(edited)?, bytes, what })
}

/// The folder with the most files in it, up to two levels down.
fn largest_tree(folder: &Path, may: &dyn Fn(&Path) -> bool) -> io::Result<Option<(usize, PathBuf)>> {
    let mut largest = None;
    let mut waiting = vec![(folder.to_owned(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() || entry.file_name() == "new" {
                continue;
            }
            let count = plain_files(&entry.path())?.len();
            if may(&entry.path()) && largest.as_ref().is_none_or(|(most, _)| count > *most) {
                largest = Some((count, entry.path()));
            }
            if depth < 2 {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(largest)
}

fn plain_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => waiting.push(entry.path()),
                kind if kind.is_file() && entry.file_name() != LARGE => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

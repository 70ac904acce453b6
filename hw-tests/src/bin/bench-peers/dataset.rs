//! The files: tens of thousands of small ones like source code, and a large one of 8 KiB pages, half compressible.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const PAGE: usize = 8192;
const FILES_PER_FOLDER: u64 = 60;

/// What was changed: bytes, and what zstd makes of it at its default level.
pub(crate) struct Change {
    pub(crate) bytes: u64,
    pub(crate) zstd_bytes: u64,
}

/// Random bytes that are the same in every run.
fn random(seed: u64, generation: u64, out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&generation.to_le_bytes());
    hasher.finalize_xof().fill(out);
}

const WORDS: [&str; 64] = [
    "let ", "mut ", "fn ", "self", ".", "(", ")", ";\n", "    ", "return ", "match ", "if ", "else ", "{\n",
    "}\n", "=> ", "pub ", "struct ", "impl ", "for ", "in ", "while ", "index", "value", "result", "error",
    "buffer", "offset", "length", "count", "name", "path", "file", "read", "write", "open", "close", "Some",
    "None", "Ok", "Err", "?", "&", "*", "+ ", "- ", "== ", "!= ", "0", "1", "usize", "u64", "u8", "String",
    "Vec", "Option", "Result", "use ", "std::", "io::", "//! ", "assert", "test", "unwrap",
];

/// Text like source code: compresses to about a quarter.
fn source(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = vec![0; len];
    random(seed, 0, &mut numbers);
    let mut out = Vec::with_capacity(len + 16);
    let mut at = 0;
    while out.len() < len {
        let phrase = usize::from(numbers[at]) % 24;
        // Phrases repeat, as they do in source code.
        for word in 0..3 {
            let index = if numbers[at] < 160 {
                (phrase * 7 + word * 11) % 64
            } else {
                usize::from(numbers[at + word]) % 64
            };
            out.extend_from_slice(WORDS[index].as_bytes());
        }
        at = (at + 3) % (len.max(8) - 6);
    }
    out.truncate(len);
    out
}

fn page(number: u64, generation: u64) -> Vec<u8> {
    let mut out = vec![0; PAGE / 2];
    random(number, generation, &mut out);
    out.extend(source(number ^ generation << 40, PAGE / 2));
    out
}

fn small_path(folder: &Path, number: u64) -> PathBuf {
    let group = number / FILES_PER_FOLDER;
    folder.join(format!("src/{:02}/{:03}/unit_{number:05}.rs", group % 20, group))
}

fn small_size(number: u64) -> usize {
    let mut bytes = [0; 2];
    random(number, 7, &mut bytes);
    200 + usize::from(u16::from_le_bytes(bytes)) * 24 / 64
}

pub(crate) fn make(folder: &Path, files: u64, large: u64) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for number in 0..files {
        let path = small_path(folder, number);
        if number % FILES_PER_FOLDER == 0 {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
        }
        fs::write(path, source(number + 1_000_000, small_size(number)))?;
    }
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(folder.join("large.db"))?);
    for number in 0..large / PAGE as u64 {
        file.write_all(&page(number, 0))?;
    }
    file.flush()?;
    Ok(())
}

/// 1 % of the pages in place, an insertion into 2 % of the small files, 50 new files.
pub(crate) fn change(folder: &Path) -> Result<Change> {
    let mut pages = zstd::Encoder::new(Counter(0), 3)?;
    let mut small = zstd::Encoder::new(Counter(0), 3)?;
    let mut bytes = 0;
    let large = OpenOptions::new().write(true).open(folder.join("large.db"))?;
    let count = large.metadata()?.len() / PAGE as u64;
    for nth in 0..count / 100 {
        let number = (nth * 7919 + 13) % count;
        let content = page(number, 1);
        large.write_all_at(&content, number * PAGE as u64)?;
        pages.write_all(&content)?;
        bytes += PAGE as u64;
    }
    for number in (0..).step_by(50) {
        let path = small_path(folder, number);
        let Ok(mut content) = fs::read(&path) else { break };
        let middle = content.len() / 2;
        content.splice(middle..middle, b"// inserted\n".iter().copied());
        fs::write(&path, &content)?;
        small.write_all(&content)?;
        bytes += content.len() as u64;
    }
    for number in 0..50 {
        let content = source(number + 9_000_000, small_size(number));
        fs::write(folder.join(format!("src/new_{number:02}.rs")), &content)?;
        small.write_all(&content)?;
        bytes += content.len() as u64;
    }
    Ok(Change { bytes, zstd_bytes: pages.finish()?.0 + small.finish()?.0 })
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Compares all files of `folder` with those below `restored`, where they may lie under their full path.
pub(crate) fn compare(folder: &Path, restored: &Path) -> Result<()> {
    let inside = restored.join(folder.strip_prefix("/")?);
    let root = if inside.exists() { inside } else { restored.to_owned() };
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let other = root.join(path.strip_prefix(folder)?);
            if hash(&path)? != hash(&other)? {
                bail!("{} differs", other.display());
            }
        }
    }
    Ok(())
}

fn hash(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

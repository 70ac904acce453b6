//! A log that stays small: when the file is full it takes the place of the one before, and a new one begins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of one file; there are at most two.
const FILE_MAX: u64 = 4 << 20;

/// A log in a folder: `agent.log`, and `agent.log.old` before it.
#[derive(Debug, Clone)]
pub struct LogFile(Arc<Mutex<Current>>);

#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    pub fn open(folder: &Path) -> io::Result<LogFile> {
        Ok(LogFile(Arc::new(Mutex::new(Current::open(folder.join("agent.log"))?))))
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl Current {
    fn open(path: PathBuf) -> io::Result<Current> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(Current { path, file, len })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len >= FILE_MAX {
            // Windows moves files that are open, as long as they were opened to be moved, which Rust does.
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
            *self = Current::open(self.path.clone())?;
        }
        let count = self.file.write(bytes)?;
        self.len += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_takes_more_than_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(folder.path()).unwrap();
        for number in 0..(3 * FILE_MAX / 65_536) {
            log.write_all(&vec![number as u8; 65_536]).unwrap();
        }
        let sizes: u64 =
            fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(sizes <= 2 * (FILE_MAX + 65_536), "{sizes}");
    }
}

//! The peers: programs that are there or not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::Tool;

/// How one peer is called. `REPO`, `DATA` and `TO` stand for folders.
struct Peer {
    name: &'static str,
    init: &'static [&'static str],
    backup: &'static [&'static str],
    restore: &'static [&'static str],
    repo: PathBuf,
    data: PathBuf,
    memory_kib: u64,
}

const PEERS: [(&str, [&[&str]; 3]); 3] = [
    (
        "restic",
        [
            &["-r", "REPO", "init"],
            &["-r", "REPO", "backup", "DATA"],
            &["-r", "REPO", "restore", "latest", "--target", "TO"],
        ],
    ),
    (
        "borg",
        [&["init", "-e", "repokey-blake2", "REPO"], &["create", "REPO::{now}", "DATA"], &["extract", "LAST"]],
    ),
    (
        "rustic",
        [
            &["-r", "REPO", "init"],
            &["-r", "REPO", "backup", "DATA"],
            &["-r", "REPO", "restore", "latest", "TO"],
        ],
    ),
];

pub(crate) fn installed(dir: &Path, data: &Path) -> Vec<Box<dyn Tool>> {
    let mut found: Vec<Box<dyn Tool>> = Vec::new();
    for (name, [init, backup, restore]) in PEERS {
        match Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(_) => found.push(Box::new(Peer {
                name,
                init,
                backup,
                restore,
                repo: dir.join(format!("{name}-repo")),
                data: data.into(),
                memory_kib: 0,
            })),
            Err(_) => println!("{name} isn't installed and is left out"),
        }
    }
    found
}

impl Peer {
    fn call(&mut self, words: &[&str], to: &Path) -> Result<String> {
        let archive = format!("{}::{}", self.repo.display(), self.last_archive()?);
        let mut command = Command::new("/usr/bin/env");
        command.arg(self.name);
        for word in words {
            let word: String = word
                .replace("REPO", &self.repo.display().to_string())
                .replace("DATA", &self.data.display().to_string())
                .replace("LAST", &archive)
                .replace("TO", &to.display().to_string());
            command.arg(word);
        }
        self.environment(&mut command);
        if self.name == "borg" {
            std::fs::create_dir_all(to)?;
            command.current_dir(to);
        }
        let before = children_peak_kib()?;
        let output = command.stdin(Stdio::null()).output()?;
        self.memory_kib = self.memory_kib.max(children_peak_kib()?.max(before));
        if !output.status.success() {
            bail!("{} {words:?}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn environment(&self, command: &mut Command) {
        let cache = self.repo.with_extension("cache");
        let passwords = ["RESTIC_PASSWORD", "BORG_PASSPHRASE", "RUSTIC_PASSWORD"];
        passwords.iter().for_each(|name| {
            command.env(name, "bench");
        });
        for name in ["RESTIC_CACHE_DIR", "BORG_BASE_DIR", "RUSTIC_CACHE_DIR"] {
            command.env(name, OsStr::new(&cache));
        }
    }

    fn last_archive(&self) -> Result<String> {
        if self.name != "borg" || !self.repo.exists() {
            return Ok(String::new());
        }
        let mut command = Command::new("borg");
        command.args(["list", "--last", "1", "--short"]).arg(&self.repo);
        self.environment(&mut command);
        Ok(String::from_utf8_lossy(&command.output()?.stdout).trim().to_owned())
    }
}

impl Tool for Peer {
    fn name(&self) -> String {
        self.name.into()
    }
    fn prepare(&mut self) -> Result<()> {
        for old in [self.repo.clone(), self.repo.with_extension("cache")] {
            if old.exists() {
                std::fs::remove_dir_all(old)?;
            }
        }
        let here = self.repo.with_extension("cache");
        self.call(self.init, &here).map(|_| ())
    }
    fn backup(&mut self) -> Result<()> {
        let here = self.repo.with_extension("cache");
        self.call(self.backup, &here).map(|_| ())
    }
    fn restore(&mut self, to: &Path) -> Result<()> {
        self.call(self.restore, to).map(|_| ())
    }
    fn stored(&self) -> Result<u64> {
        size_of(&self.repo)
    }
    fn memory(&self) -> String {
        format!("{} MiB (largest child so far)", self.memory_kib >> 10)
    }
}

/// Peak memory of the largest child process so far.
fn children_peak_kib() -> Result<u64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    Ok(usage.max_rss() as u64)
}

/// Bytes of all files below a folder.
pub(crate) fn size_of(folder: &Path) -> Result<u64> {
    let mut total = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                waiting.push(entry.path());
            } else {
                total += found.len();
            }
        }
    }
    Ok(total)
}

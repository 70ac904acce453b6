//! Restoring and comparing.

use std::path::{Path, PathBuf};

use coffer_vault::query::When;

use super::database::inspect;
use super::fleet::Fleet;
use super::folder::{Snapshot, hash, snapshot};
use super::say;
use crate::Failure;

pub(super) struct Check {
    restored: PathBuf,
    count: usize,
    pub(super) failures: usize,
}

impl Check {
    pub(super) fn new(dir: &Path) -> Check {
        Check { restored: dir.join("restored"), count: 0, failures: 0 }
    }

    fn place(&mut self) -> PathBuf {
        self.count += 1;
        self.restored.join(self.count.to_string())
    }

    fn verdict(&mut self, what: &str, outcome: Result<String, String>) {
        match outcome {
            Ok(detail) => say(&format!("  same   {what} ({detail})")),
            Err(why) => {
                self.failures += 1;
                say(&format!("  DIFFERENT  {what}: {why}"));
            }
        }
    }

    /// Restores a folder and compares all of it.
    pub(super) fn whole(
        &mut self,
        fleet: &mut Fleet,
        what: &str,
        when: When,
        folder: &Path,
        expected: &Snapshot,
    ) -> Result<(), Failure> {
        let to = self.place();
        let started = std::time::Instant::now();
        let outcome = fleet.restore(when, &[folder.display().to_string()], &to)?;
        let seconds = started.elapsed().as_secs_f64();
        let found = snapshot(&below(&to, folder))?;
        let verdict = match (outcome.failed.first(), compare(expected, &found)) {
            (Some((path, why)), _) => Err(format!("{}: {why}", path.display())),
            (None, Err(why)) => Err(why),
            (None, Ok(())) => {
                Ok(format!("{} files, {}, {seconds:.1} s", found.len(), crate::show::size(outcome.bytes)))
            }
        };
        self.verdict(what, verdict);
        Ok(())
    }

    /// Lets `restore` bring one file below the protected folder, and compares it.
    pub(super) fn one(
        &mut self,
        what: &str,
        folder: &Path,
        (file, expected): (&Path, &Snapshot),
        restore: impl FnOnce(&[String], &Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let to = self.place();
        let whole = folder.join(file);
        restore(&[whole.display().to_string()], &to)?;
        let verdict = match (hash(&below(&to, &whole)), expected.get(file)) {
            (Ok(found), Some(wanted)) if found == *wanted => Ok(file.display().to_string()),
            (Ok(_), _) => Err("its bytes differ".into()),
            (Err(error), _) => Err(error.to_string()),
        };
        self.verdict(what, verdict);
        Ok(())
    }

    /// Restores the database (all its files) and opens it.
    pub(super) fn database(
        &mut self,
        fleet: &mut Fleet,
        path: &Path,
        least_rows: u64,
    ) -> Result<(), Failure> {
        let to = self.place();
        let directory = path.parent().unwrap_or(path);
        fleet.restore(When::Newest, &[directory.display().to_string()], &to)?;
        let verdict = match inspect(&below(&to, path)) {
            Ok(rows) if rows >= least_rows => {
                Ok(format!("it opens, passes its integrity check, {rows} rows"))
            }
            Ok(rows) => Err(format!("it has {rows} rows, {least_rows} were committed before the capture")),
            Err(error) => Err(format!("{error:#}")),
        };
        self.verdict("the live database", verdict);
        Ok(())
    }
}

fn below(root: &Path, absolute: &Path) -> PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

fn compare(expected: &Snapshot, found: &Snapshot) -> Result<(), String> {
    for (path, hash) in expected {
        match found.get(path) {
            None => return Err(format!("{} is missing", path.display())),
            Some(other) if other != hash => return Err(format!("{} differs", path.display())),
            Some(_) => {}
        }
    }
    match found.keys().find(|path| !expected.contains_key(*path)) {
        Some(path) => Err(format!("{} shouldn't be there", path.display())),
        None => Ok(()),
    }
}

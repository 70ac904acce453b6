//! What the robot is about to do, kept in a file while it does it.
//!
//! The file is one line of JSON, replaced whole (written beside, synced, renamed, directory synced), so that after a
//! crash there is the old one or the new one:
//!
//! ```json
//! {"format":1,"intent":{"errand":"load","barcode":"COF001L6","from":4096,"to":256},"outgoing":[]}
//! ```
//!
//! - `format`: 1.
//! - `intent`: `null`, or the errand under way: `errand` is one of `load`, `unload`, `export`, `import`, `clean`,
//!   `put_away`; `barcode` is `null` if the cartridge has none; `from` and `to` are element addresses.
//! - `outgoing`: cartridges the robot has put into a mail slot for a person to take out, each with `element`, `barcode`
//!   and `marked_anyway` (whether the changer's mark that a person put it there means nothing): these aren't taken in
//!   again while they lie there.
//!
//! Where cartridges are is never taken from here but asked of the robot. A journal that can't be read costs the
//! sentence about what was interrupted, no more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::scsi::ElementAddress;
use crate::{Barcode, TapeError};

const FORMAT: u32 = 1;
/// Longest journal that is read.
const LEN_MAX: u64 = 64 << 10;

/// Why the robot moves a cartridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    Load,
    Unload,
    Export,
    Import,
    /// Into a drive, until it's clean, and back.
    Clean,
    PutAway,
}

/// One errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    pub errand: Errand,
    pub barcode: Option<Barcode>,
    pub from: ElementAddress,
    pub to: ElementAddress,
}

/// A cartridge that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    pub element: ElementAddress,
    pub barcode: Option<Barcode>,
    /// The changer says of everything in its mail slot that a person put it there.
    pub marked_anyway: bool,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    format: u32,
    intent: Option<Intent>,
    outgoing: Vec<Outgoing>,
}

/// The journal; without a path it's kept in memory alone.
#[derive(Debug)]
pub(super) struct Journal {
    path: Option<PathBuf>,
    page: Page,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { path: None, page: Page { format: FORMAT, intent: None, outgoing: Vec::new() } }
    }
}

impl Journal {
    pub(super) fn open(path: &Path) -> Result<Journal, TapeError> {
        let mut journal = Journal { path: Some(path.to_owned()), ..Journal::default() };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => journal.save()?,
            Err(source) => return Err(failed("read", path, source)),
            Ok(found) => {
                let too_long = found.len() > LEN_MAX;
                let text = fs::read(path).map_err(|source| failed("read", path, source))?;
                let page = serde_json::from_slice::<Page>(&text).ok().filter(|page| page.format == FORMAT);
                match page.filter(|_| !too_long) {
                    Some(page) => journal.page = page,
                    None => {
                        tracing::warn!(path = %path.display(), "the library's journal is damaged and begun anew");
                        journal.save()?;
                    }
                }
            }
        }
        Ok(journal)
    }

    pub(super) fn intent(&self) -> Option<&Intent> {
        self.page.intent.as_ref()
    }

    /// Before the robot moves.
    pub(super) fn begin(&mut self, intent: Intent) -> Result<(), TapeError> {
        self.page.intent = Some(intent);
        self.save()
    }

    /// After it has.
    pub(super) fn end(&mut self) -> Result<(), TapeError> {
        self.page.intent = None;
        self.save()
    }

    pub(super) fn outgoing(&self) -> &[Outgoing] {
        &self.page.outgoing
    }

    pub(super) fn set_outgoing(&mut self, outgoing: Vec<Outgoing>) -> Result<(), TapeError> {
        if self.page.outgoing == outgoing {
            return Ok(());
        }
        self.page.outgoing = outgoing;
        self.save()
    }

    fn save(&self) -> Result<(), TapeError> {
        let Some(path) = &self.path else { return Ok(()) };
        let write = || -> io::Result<()> {
            let mut new = path.clone().into_os_string();
            new.push(".new");
            let mut file = File::create(&new)?;
            serde_json::to_writer(&mut file, &self.page)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| failed("written", path, source))
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> TapeError {
    TapeError::Journal { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_and_its_line_is_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        let mut journal = Journal::open(&path).unwrap();
        let barcode = Some("COF001L6".parse().unwrap());
        let (from, to) = (ElementAddress(4096), ElementAddress(256));
        journal.begin(Intent { errand: Errand::Load, barcode, from, to }).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"format\":1,\"intent\":{\"errand\":\"load\",\"barcode\":\"COF001L6\",\"from\":4096,\"to\":256},\"outgoing\":[]}\n"
        );
        assert_eq!(Journal::open(&path).unwrap().intent(), journal.intent());
        journal.end().unwrap();
        assert_eq!(Journal::open(&path).unwrap().intent(), None);
    }

    #[test]
    fn a_damaged_journal_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        for damage in ["", "{", "{\"format\":2,\"intent\":null,\"outgoing\":[]}", "null"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(Journal::open(&path).unwrap().intent(), None, "{damage:?}");
            assert!(Journal::open(&path).unwrap().outgoing().is_empty());
        }
    }
}

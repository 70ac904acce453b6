//! What the agent itself puts into a point besides the files: the applications' documents about a snapshot, and the
//! registry's hives. They lie in a folder of the agent's own, written only when there's a new point anyway. The hives hold
//! passwords' hashes, so they're gone again once the capture is over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coffer_format::entry::ReportLine;

use crate::capture::Target;
use crate::platform::{self, path_bytes};

const DOCUMENTS: &str = "documents";
const REGISTRY: &str = "registry";

/// What's to be enclosed in the next point.
#[derive(Debug)]
pub struct Enclosures {
    folder: PathBuf,
    documents: Vec<(String, Vec<u8>)>,
    has_registry: bool,
}

impl Enclosures {
    /// Makes the folder: it must be there before a snapshot is taken, so that a look finds it.
    pub fn prepare(folder: &Path, has_registry: bool) -> io::Result<Enclosures> {
        fs::create_dir_all(folder)?;
        let enclosures = Enclosures { folder: folder.to_owned(), documents: Vec::new(), has_registry };
        // Left by a capture that was cut off.
        enclosures.clear();
        Ok(enclosures)
    }

    /// The capture is over, whatever came of it.
    pub fn clear(&self) {
        if let Err(error) = emptied(&self.folder.join(REGISTRY), false) {
            tracing::warn!(%error, "copies of the registry are left in the agent's folder");
        }
    }

    pub fn enclose(&mut self, documents: Vec<(String, Vec<u8>)>) {
        self.documents = documents;
    }

    /// The folder is always looked at as it is.
    pub(crate) fn mount(&self) -> (Vec<u8>, PathBuf) {
        (path_bytes(&self.folder), self.folder.clone())
    }

    /// Writes everything; where to look for it, and what couldn't be enclosed.
    pub(crate) fn write(&self) -> (Target, Vec<ReportLine>) {
        let mut target = Target::nothing();
        let mut lacking = Vec::new();
        let mut part = |name: &str, written: io::Result<()>| {
            let bytes = path_bytes(&self.folder.join(name));
            target.notice(path_bytes(&self.folder), name.as_bytes().to_vec());
            match written {
                // What the point before had and this one hasn't as well.
                Ok(()) => target.notice_all(bytes),
                Err(error) => {
                    let what = format!("can't be enclosed in the point: {error}");
                    lacking.push(ReportLine { path: bytes[..].into(), what });
                }
            }
        };
        part(DOCUMENTS, self.write_documents());
        part(REGISTRY, self.write_registry());
        (target, lacking)
    }

    fn write_documents(&self) -> io::Result<()> {
        let folder = self.folder.join(DOCUMENTS);
        emptied(&folder, !self.documents.is_empty())?;
        self.documents.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
    }

    fn write_registry(&self) -> io::Result<()> {
        let folder = self.folder.join(REGISTRY);
        emptied(&folder, self.has_registry)?;
        if self.has_registry {
            platform::save_hives(&folder)?;
        }
        Ok(())
    }
}

/// Removes what's in a folder; makes it where it's wanted.
fn emptied(folder: &Path, is_wanted: bool) -> io::Result<()> {
    if folder.exists() {
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
    }
    if is_wanted {
        fs::create_dir_all(folder)?;
    }
    Ok(())
}

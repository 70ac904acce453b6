//! What the agent itself puts into a point besides the files: the applications' documents about a snapshot, and the
//! registry's hives. They lie in a folder of the agent's own, written only when there's a new point anyway. The hives hold
//! passwords' hashes, so they're gone again once the capture is over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coffer_format::entry::{Remark, RemarkKind};

use crate::capture::Target;
use crate::hives::LackingHive;
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
    pub(crate) fn write(&self) -> (Target, Vec<Remark>) {
        let mut target = Target::nothing();
        let mut lacking = Vec::new();
        let documents = self.write_documents().map(|()| Vec::new());
        for (name, written) in [(DOCUMENTS, documents), (REGISTRY, self.write_registry())] {
            let folder = self.folder.join(name);
            let bytes = path_bytes(&folder);
            target.notice(path_bytes(&self.folder), name.as_bytes().to_vec());
            match written {
                Ok(hives) => {
                    lacking.extend(hives.into_iter().map(|hive| line(&folder, hive)));
                    // What the point before had and this one hasn't as well.
                    target.notice_all(bytes);
                }
                Err(error) => lacking.push(line(&folder, LackingHive::failed("", &error))),
            }
        }
        (target, lacking)
    }

    fn write_documents(&self) -> io::Result<()> {
        let folder = self.folder.join(DOCUMENTS);
        emptied(&folder, !self.documents.is_empty())?;
        self.documents.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
    }

    fn write_registry(&self) -> io::Result<Vec<LackingHive>> {
        let folder = self.folder.join(REGISTRY);
        emptied(&folder, self.has_registry)?;
        if self.has_registry { platform::save_hives(&folder) } else { Ok(Vec::new()) }
    }
}

/// Of the hive, or of the folder where it's none alone.
fn line(folder: &Path, lacking: LackingHive) -> Remark {
    let path = if lacking.name.is_empty() { folder.to_owned() } else { folder.join(&lacking.name) };
    Remark { kind: RemarkKind::Unread, path: path_bytes(&path)[..].into(), what: lacking.what }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hive_that_is_lacking_is_named_by_its_file_and_several_by_their_folder() {
        let folder = Path::new(if cfg!(windows) { r"C:\enclosed\registry" } else { "/C:/enclosed/registry" });
        let failed = LackingHive::failed("SAM", &io::Error::other("no"));
        for (lacking, path) in [
            (failed, &b"/C:/enclosed/registry/SAM"[..]),
            (LackingHive::beyond(3, 200).unwrap(), b"/C:/enclosed/registry"),
        ] {
            let what = lacking.what.clone();
            assert_eq!(line(folder, lacking), Remark { kind: RemarkKind::Unread, path: path.into(), what });
        }
        assert_eq!(LackingHive::beyond(0, 200), None);
    }
}

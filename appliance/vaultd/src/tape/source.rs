//! Where a library is: real devices, or a simulated library's directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use coffer_tape::scsi::{ScsiTransport, SgIo};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Library, NoWaiter, SystemWaiter};

/// Where a library is.
pub enum Source {
    Devices { changer: PathBuf, drives: Vec<PathBuf> },
    Simulated(PathBuf),
}

impl Source {
    /// A real changer with its drives, or a simulated library's directory.
    pub fn new(changer: Option<&Path>, drives: &[PathBuf], simulated: Option<&Path>) -> Result<Source> {
        match (changer, simulated) {
            (Some(changer), _) => Ok(Source::Devices { changer: changer.into(), drives: drives.to_vec() }),
            (None, Some(dir)) => Ok(Source::Simulated(dir.into())),
            (None, None) => anyhow::bail!("no library was named: give its changer, such as /dev/sg3"),
        }
    }

    pub(super) fn open(&self) -> Result<(Library, Option<Simulated>)> {
        match self {
            Source::Simulated(dir) => {
                let simulated = match Simulated::exists(dir) {
                    true => Simulated::open(dir)?,
                    false => Simulated::create(dir, LibraryShape::default())?,
                };
                let library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter))?;
                Ok((library, Some(simulated)))
            }
            Source::Devices { changer, drives } => {
                let open = |path: &PathBuf| -> Result<Box<dyn ScsiTransport + Send>> {
                    let device = SgIo::open(path)
                        .with_context(|| format!("cannot open {}: is it the sg device?", path.display()))?;
                    Ok(Box::new(device))
                };
                let drives = drives.iter().map(open).collect::<Result<Vec<_>>>()?;
                Ok((Library::open(open(changer)?, drives, Arc::new(SystemWaiter))?, None))
            }
        }
    }
}

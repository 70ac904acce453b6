//! Where a library is: real devices, or a simulated library's directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::scsi::{Data, ScsiReply, ScsiTransport, SgIo};
use crate::simulator::{LibraryShape, Simulated};
use crate::{Library, NoWaiter, SystemWaiter, TapeError};

/// Where a library is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Devices {
        changer: PathBuf,
        drives: Vec<PathBuf>,
    },
    /// Made with blank cartridges if it isn't there.
    Simulated(PathBuf),
}

impl Source {
    /// A real changer with its drives, or a simulated library's directory.
    pub fn new(
        changer: Option<&Path>,
        drives: &[PathBuf],
        simulated: Option<&Path>,
    ) -> Result<Source, TapeError> {
        match (changer, simulated) {
            (Some(changer), _) => Ok(Source::Devices { changer: changer.into(), drives: drives.to_vec() }),
            (None, Some(dir)) => Ok(Source::Simulated(dir.into())),
            (None, None) => {
                Err(TapeError::Shape("no library was named: give its changer, such as /dev/sg3".into()))
            }
        }
    }

    /// Opens the library. What simulates it must be kept as long as the library is used.
    pub fn open(&self) -> Result<(Library, Option<Simulated>), TapeError> {
        match self {
            Source::Simulated(dir) => {
                let simulated = Simulated::open_or_create(dir, LibraryShape::default())?;
                let library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter))?;
                Ok((library, Some(simulated)))
            }
            Source::Devices { changer, drives } => {
                let open = |path: &PathBuf| -> Result<Box<dyn ScsiTransport + Send>, TapeError> {
                    Ok(Box::new(SgIo::open(path).map_err(|source| cannot_open(path, source))?))
                };
                let drives =
                    drives.iter().map(|path| open(path).unwrap_or_else(|why| absent(path, &why))).collect();
                Ok((Library::open(open(changer)?, drives, Arc::new(SystemWaiter))?, None))
            }
        }
    }
}

/// A drive that isn't there: whatever it's asked, the answer is why.
struct Absent {
    name: String,
    why: String,
}

impl ScsiTransport for Absent {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn execute(&mut self, _: &[u8], _: Data<'_>, _: u32) -> io::Result<ScsiReply> {
        Err(io::Error::new(io::ErrorKind::NotFound, self.why.clone()))
    }
}

fn absent(path: &Path, why: &TapeError) -> Box<dyn ScsiTransport + Send> {
    Box::new(Absent { name: path.display().to_string(), why: why.to_string() })
}

fn cannot_open(path: &Path, source: std::io::Error) -> TapeError {
    TapeError::Transport { device: path.display().to_string(), command: "opening", source }
}

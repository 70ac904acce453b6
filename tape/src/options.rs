//! Where a library is, as a command line says it.

use std::path::PathBuf;

use clap::Args;

use crate::{Source, TapeError};

/// A changer with its drives, or a simulated library.
#[derive(Debug, Args)]
pub struct LibraryOptions {
    /// The changer's device, such as /dev/sg3.
    #[arg(long, required_unless_present = "simulated")]
    changer: Option<PathBuf>,
    /// The drives' devices.
    #[arg(long)]
    drive: Vec<PathBuf>,
    /// A simulated library's directory.
    #[arg(long, conflicts_with = "changer")]
    simulated: Option<PathBuf>,
}

impl LibraryOptions {
    pub fn source(&self) -> Result<Source, TapeError> {
        Source::new(self.changer.as_deref(), &self.drive, self.simulated.as_deref())
    }
}

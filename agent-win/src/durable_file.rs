//! Small files of the agent's own folder, for the agent alone.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::platform::private_file;

/// All of it or nothing, whatever happens meanwhile.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    let mut file = private_file().create(true).truncate(true).write(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(new, path)
}

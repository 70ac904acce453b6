//! Small files of the agent's own folder, for the agent alone.

use std::io;
use std::path::Path;

use coffer_link::write_durable_file;

use crate::platform::private_file;

/// All of it or nothing, whatever happens meanwhile.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_durable_file(path, bytes, &private_file())
}

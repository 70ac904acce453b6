//! A Windows of its own under wine, which ends with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ROOT;
use crate::support::succeed;

/// Holds wine's folder, which the first program makes.
pub(crate) struct Wine {
    folder: PathBuf,
}

impl Wine {
    pub(crate) fn new(folder: PathBuf) -> Wine {
        Wine { folder }
    }

    /// Something in wine's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A Windows program, to be run here.
    pub(crate) fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(Path::new(ROOT).join("agent-win/tests/wine/run"));
        command.args(words).env("COFFER_WINE", &self.folder).env("RUST_LOG", "info");
        command
    }

    /// Ends all of Windows and starts it again.
    pub(crate) fn restart(&self) {
        // It may have ended already, with the last program.
        drop(self.end().arg("-w").status());
        succeed(&mut self.program(&["wineboot"]));
    }

    fn end(&self) -> Command {
        let mut command = Command::new("/usr/lib/wine/wineserver64");
        command.arg("-k").env("WINEPREFIX", self.path("prefix"));
        command
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        drop(self.end().status());
    }
}

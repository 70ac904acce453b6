//! Commands as the system's own shell runs them.

use std::process::Command;

/// Ready to be started.
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]);
    shell
}

//! Commands as the system's own shell runs them.

use std::os::windows::process::CommandExt;
use std::process::Command;

use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

/// Ready to be started. The command is passed on as it was written: the shell has rules of its own for quotation marks.
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd.exe");
    shell.raw_arg(format!("/d /s /c \"{command}\"")).creation_flags(CREATE_NO_WINDOW);
    shell
}

//! What stands between this computer and the answers of boxes: Windows' firewall lets in no multicast that a program didn't
//! have allowed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RULE: &str = "name=Coffer Agent finds its box";

/// Allows answers from the local network, once. Where that fails the search may find nothing, and says so.
pub(crate) fn let_answers_in() {
    let allowed = netsh(&["show", "rule", RULE]).and_then(|is_there| match is_there {
        true => Ok(true),
        false => allow(&std::env::current_exe()?),
    });
    match allowed {
        Ok(true) => {}
        Ok(false) => tracing::info!("Windows' firewall wasn't changed; an administrator can do that"),
        Err(error) => tracing::info!(%error, "Windows' firewall couldn't be asked"),
    }
}

/// Takes the rule away again.
pub(super) fn forget() {
    if let Err(error) = netsh(&["delete", "rule", RULE]) {
        tracing::info!(%error, "the rule stays in Windows' firewall");
    }
}

fn allow(program: &Path) -> io::Result<bool> {
    let program = format!("program={}", program.display());
    let words = ["dir=in", "action=allow", "protocol=udp", "localport=5353", "remoteip=localsubnet"];
    netsh(&[&["add", "rule", RULE, &program][..], &words].concat())
}

fn netsh(words: &[&str]) -> io::Result<bool> {
    let system = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let mut command = Command::new(PathBuf::from(system).join(r"System32\netsh.exe"));
    command.args(["advfirewall", "firewall"]).args(words);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().map(|status| status.success())
}

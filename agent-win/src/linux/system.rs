//! What this computer calls itself, and what the agent asks of it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The computer's own name.
pub(crate) fn computer_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().to_owned())
}

/// The system's name, such as "Debian GNU/Linux 12 (bookworm)".
pub(crate) fn system_name() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// A walk holds one open directory per level of the tree, so as many open files as allowed are asked for.
pub(crate) fn prepare() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the number of open files stays as it is");
    }
}

//! A computer whose files were damaged, and agents at work on it.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::Path;

use crate::support::{self, Running, Site, bytes, contents, said};

pub(crate) fn fill(site: &Site, files: u64, large_mib: usize) {
    for number in 0..files {
        let folder = site.data().join(format!("folder-{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file-{number}.txt")), bytes(number, 500)).unwrap();
    }
    for number in 0..4 {
        let large = site.data().join(format!("large-{number}.db"));
        fs::write(large, bytes(1000 + number, (large_mib << 20) / 4)).unwrap();
    }
    let output = site.capture();
    assert!(output.status.success(), "{}", said(&output));
}

/// As ransomware does it: every file is written over, with a length of its own.
pub(crate) fn damage(site: &Site) {
    for path in contents(&site.data()).into_keys() {
        let path = site.data().join(path);
        let len = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, bytes(4711, len + 16)).unwrap();
    }
}

/// An agent at work for a computer whose state lies there.
pub(crate) fn start_agent(state: &Path, server: &str, log: &Path) -> Running {
    let mut command = support::program("coffer-agent");
    command.args(["run", "--server", server, "--state"]).arg(state);
    Running::start_logged(&mut command, log)
}

/// The site's own agent, once the box knows of it.
pub(crate) fn connected_agent(site: &Site) -> Running {
    let agent = site.start_agent();
    site.wait_until("the agent connects", || site.is_connected("alpha"));
    agent
}

//! A headquarters beside a site, as a real process.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::{Running, Site, program, succeed, wait_until};

pub(crate) const BRANCH: &str = "leeds";

/// Its folder is `hq` in the site's.
pub(crate) struct Headquarters {
    process: Option<Running>,
    pub(crate) address: String,
}

impl Headquarters {
    /// A site whose box has joined, and the recovery key where tests look for it.
    pub(crate) fn with_site(more: &str) -> (Headquarters, Site) {
        let (hq, dir) = Headquarters::alone();
        let code = code(dir.path(), &[]);
        let site = Site::start_in(dir, more, &["--hq", &hq.address, "--code", &code]);
        (hq, site)
    }

    /// Without a site yet: the folder is for it.
    pub(crate) fn alone() -> (Headquarters, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        succeed(program("coffer-hq").args(["init", "--name", "Example", "--dir"]).arg(dir.path().join("hq")));
        fs::copy(dir.path().join("hq/recovery.key"), dir.path().join("recovery.key")).unwrap();
        let mut hq = Headquarters { process: None, address };
        hq.start(dir.path());
        (hq, dir)
    }

    pub(crate) fn start(&mut self, dir: &Path) {
        let mut serve = program("coffer-hq");
        serve.args(["serve", "--listen", &self.address, "--print-address", "--dir"]).arg(dir.join("hq"));
        let mut process = Running::start_logged(serve.stdout(Stdio::piped()), &dir.join("hq.log"));
        assert!(process.first_line().is_some(), "HQ ended at once");
        self.process = Some(process);
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Waits until HQ has all that the box has closed and made durable.
    pub(crate) fn wait_until_level(&self, site: &Site) {
        wait_until("HQ has it all", &site.path("box.log"), || {
            let status = site.status();
            status["hq"]["behind_bytes"] == 0 && status["not_at_hq"] == 0
        });
    }

    /// Waits until the newest point is whole at HQ.
    pub(crate) fn wait_until_whole(&self, site: &Site, point: u64) {
        wait_until("the point is whole at HQ", &site.path("box.log"), || self.has_whole(site, point));
    }

    pub(crate) fn has_whole(&self, site: &Site, point: u64) -> bool {
        site.status()["hq"]["whole"][0]["point"].as_u64() >= Some(point)
    }
}

/// A new code for the branch.
pub(crate) fn code(dir: &Path, words: &[&str]) -> String {
    let mut code = program("coffer-hq");
    code.args(["code", "--branch", BRANCH, "--dir"]).arg(dir.join("hq")).args(words);
    let Output { stdout, .. } = succeed(&mut code);
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

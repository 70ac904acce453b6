//! A process that's killed when it's no longer wanted.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }

    /// Nobody answers it; its log is added to what's there.
    pub(crate) fn start_logged(command: &mut Command, log: &Path) -> Running {
        let log = File::options().create(true).append(true).open(log).unwrap();
        Running::start(command.stdin(Stdio::null()).stderr(log))
    }

    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// The first line that it says where its output is a pipe; none if it ended without.
    pub(crate) fn first_line(&mut self) -> Option<String> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.map(Result::unwrap).next()
    }

    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

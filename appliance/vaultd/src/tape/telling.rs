//! Telling the branch: a program that is run with the sentence, and a file for a lamp.
//!
//! The program is run when the sentence changes, with the sentence as its only argument (empty: nothing is to be done). The
//! file holds `1` while a person is asked for something, `0` otherwise: for example the `brightness` of an LED.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Who is told, and what was told last.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    program: Option<PathBuf>,
    lamp: Option<PathBuf>,
    told: Option<String>,
    running: Option<Child>,
}

impl Teller {
    pub(crate) fn new(program: Option<PathBuf>, lamp: Option<PathBuf>) -> Teller {
        Teller { program, lamp, told: None, running: None }
    }

    /// Tells what isn't told yet; an empty sentence says that nothing is to be done.
    pub(crate) fn tell(&mut self, sentence: &str) {
        self.reap();
        if self.told.as_deref() == Some(sentence) {
            return;
        }
        self.told = Some(sentence.to_owned());
        self.light(!sentence.is_empty());
        self.stop_running();
        let Some(program) = &self.program else { return };
        let started = Command::new(program).arg(sentence).stdin(Stdio::null()).spawn();
        match started {
            Ok(child) => self.running = Some(child),
            Err(error) => tracing::error!(
                program = %program.display(), %error,
                "the program that tells the branch can't be started: correct tape.tell in box.toml"
            ),
        }
    }

    /// A program that still runs when the next sentence comes has had its time.
    fn stop_running(&mut self) {
        if let Some(mut child) = self.running.take()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::warn!(%error, "the program that tells the branch can't be stopped");
        }
    }

    fn light(&self, on: bool) {
        let Some(lamp) = &self.lamp else { return };
        if let Err(error) = std::fs::write(lamp, if on { "1\n" } else { "0\n" }) {
            tracing::error!(lamp = %lamp.display(), %error, "the lamp can't be set: correct tape.lamp in box.toml");
        }
    }

    /// Looks how the last program ended.
    fn reap(&mut self) {
        let Some(child) = &mut self.running else { return };
        match child.try_wait() {
            Ok(Some(status)) => {
                if !status.success() {
                    tracing::warn!(%status, "the program that tells the branch failed");
                }
                self.running = None;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the program that tells the branch is lost");
                self.running = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_is_told_once_and_the_lamp_shows_that_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let (program, lamp, heard) =
            (dir.path().join("tell"), dir.path().join("lamp"), dir.path().join("heard"));
        std::fs::write(&program, format!("#!/bin/sh\necho \"$1\" >> {}\n", heard.display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let mut teller = Teller::new(Some(program), Some(lamp.clone()));
        for sentence in ["Put tape COF001L6 in.", "Put tape COF001L6 in.", ""] {
            teller.tell(sentence);
            if let Some(child) = &mut teller.running {
                child.wait().unwrap();
            }
            let lit = if sentence.is_empty() { "0\n" } else { "1\n" };
            assert_eq!(std::fs::read_to_string(&lamp).unwrap(), lit);
        }
        assert_eq!(std::fs::read_to_string(&heard).unwrap(), "Put tape COF001L6 in.\n\n");
    }
}

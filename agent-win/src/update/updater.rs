//! The agent's side of an update while it works: tells the box how it stands, fetches what's offered, checks it, and hands the
//! replacement over. One message at a time, between captures.

use std::path::{Path, PathBuf};

use coffer_format::update::{Target, UpdateHead, UpdateProgress, UpdateReport, Version};
use coffer_format::wire::Message;
use coffer_format::{Blob, FileHash};
use coffer_link::ReleaseKey;

use super::download::{Download, hash_of};
use super::notes::Notes;
use super::swapper::{Swapper, tidy};
use super::{UpdateError, built_version, trusted_keys};

/// Starts the replacement: the program to run it from, and the agent's own program.
pub type Launch = Box<dyn FnMut(&Path, &Path) -> Result<(), String> + Send>;

/// What this system's programs are built for.
const TARGET: &str = if cfg!(windows) {
    if cfg!(target_arch = "aarch64") { "aarch64-pc-windows" } else { "x86_64-pc-windows" }
} else {
    concat!("x86_64", "-linux")
};

/// An agent's program and what becomes of it.
pub struct Updater {
    program: PathBuf,
    own: FileHash,
    running: Version,
    target: Target,
    notes: Notes,
    keys: Result<Vec<ReleaseKey>, String>,
    download: Option<Download>,
    progress: (UpdateProgress, Option<Version>, String),
    launch: Launch,
}

impl Updater {
    /// For the program in that file, whose agent has that state folder.
    pub fn open(program: &Path, state: &Path, launch: Launch) -> Result<Updater, UpdateError> {
        let notes = Notes::of(state)?;
        let own = hash_of(program)?;
        let running = notes.version_of(own)?.unwrap_or_else(built_version);
        let folder = program.parent().unwrap_or(Path::new("."));
        let keys = trusted_keys(folder).map_err(|error| error.to_string());
        let target = TARGET.parse().expect("the name of a target");
        let mut updater = Updater {
            program: program.to_owned(),
            own,
            running,
            target,
            notes,
            keys,
            download: None,
            progress: (UpdateProgress::Current, None, String::new()),
            launch,
        };
        updater.take_up()?;
        Ok(updater)
    }

    /// The version of the program that's at work.
    pub fn running(&self) -> Version {
        self.running
    }

    /// A replacement that was cut off goes on; what one that's over has left is taken away.
    fn take_up(&mut self) -> Result<(), UpdateError> {
        match self.notes.mark()? {
            Some(mark) => {
                let old = Swapper::beside(&self.program, "old");
                (self.launch)(&old, &self.program).map_err(UpdateError::Replacing)?;
                self.progress = (UpdateProgress::Installing, Some(mark.version), String::new());
            }
            None => tidy(&self.program),
        }
        Ok(())
    }

    /// The box has welcomed this agent: a program on trial has proven itself. Gives what to tell the box.
    pub fn welcomed(&mut self) -> Message {
        let is_over = self.notes.mark().and_then(|mark| match mark {
            Some(mark) if mark.program == self.own => self.notes.save_proof(self.own).map(|()| true),
            mark => Ok(mark.is_none() && self.progress.0 == UpdateProgress::Installing),
        });
        match is_over {
            Ok(true) => self.progress = (UpdateProgress::Current, None, String::new()),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "can't note that this version works; it will be taken back")
            }
        }
        // Where there was a line before, what was asked for on it won't come any more.
        self.download = None;
        self.report()
    }

    /// Takes what the box says about updates; gives what to answer.
    pub fn take(&mut self, message: Message) -> Vec<Message> {
        let taken = match message {
            Message::UpdateOffered { head } => self.offered(head),
            Message::UpdateBytes { at, bytes } => self.bytes(at, &bytes),
            _ => return Vec::new(),
        };
        match taken {
            Ok(answers) => answers,
            Err((of, error)) => {
                tracing::error!(version = %of, "no update: {error}");
                if let Some(download) = self.download.take() {
                    download.discard();
                }
                self.progress = (UpdateProgress::Failed, Some(of), error.to_string());
                vec![self.report()]
            }
        }
    }

    fn offered(&mut self, head: UpdateHead) -> Result<Vec<Message>, (Version, UpdateError)> {
        let version = head.release.version;
        let is_under_way = self.is_installing().map_err(|error| (version, error))?
            || self.download.as_ref().is_some_and(|download| *download.head() == head);
        if is_under_way {
            return Ok(Vec::new());
        }
        if head.release.version == self.running && self.is_trusted(&head).is_ok() {
            self.progress = (UpdateProgress::Current, None, String::new());
            return Ok(vec![self.report()]);
        }
        let begun = self
            .check(&head)
            .and_then(|()| Download::open(self.notes.folder(), head))
            .map_err(|error| (version, error))?;
        tracing::info!(%version, has = begun.has(), len = begun.head().release.len, "fetching an update");
        self.download = Some(begun);
        self.progress = (UpdateProgress::Downloading, Some(version), String::new());
        let mut answers = vec![self.report()];
        answers.extend(self.go_on().map_err(|error| (version, error))?);
        Ok(answers)
    }

    /// One that was taken back meanwhile is over.
    fn is_installing(&self) -> Result<bool, UpdateError> {
        Ok(self.progress.0 == UpdateProgress::Installing && self.notes.mark()?.is_some())
    }

    fn is_trusted(&self, head: &UpdateHead) -> Result<(), UpdateError> {
        let keys = self.keys.as_ref().map_err(|why| UpdateError::Keys(why.clone()))?;
        Ok(ReleaseKey::check(keys, head)?)
    }

    /// Everything that's known before a byte of the program is.
    fn check(&self, head: &UpdateHead) -> Result<(), UpdateError> {
        self.is_trusted(head)?;
        let (version, running) = (head.release.version, self.running);
        if head.release.target != self.target {
            let (found, own) = (head.release.target.clone(), self.target.clone());
            return Err(UpdateError::OtherTarget { version, found, own });
        }
        if version <= running {
            return Err(UpdateError::Older { version, running });
        }
        match self.notes.failure_of(version)? {
            Some(sentence) => Err(UpdateError::FailedBefore(sentence)),
            None => Ok(()),
        }
    }

    fn bytes(&mut self, at: u64, bytes: &Blob) -> Result<Vec<Message>, (Version, UpdateError)> {
        // What was asked for before the line broke.
        let Some(download) = &mut self.download else { return Ok(Vec::new()) };
        let version = download.head().release.version;
        let added = download.add(at, bytes);
        added.and_then(|()| self.go_on()).map_err(|error| (version, error))
    }

    /// Asks for more, or installs what's whole.
    fn go_on(&mut self) -> Result<Vec<Message>, UpdateError> {
        let Some(download) = &self.download else { return Ok(Vec::new()) };
        if !download.is_complete() {
            let hash = download.head().release.hash;
            return Ok(vec![Message::UpdateWanted { hash, from: download.has() }]);
        }
        let release = download.head().release.clone();
        let whole = download.finish()?;
        let old = Swapper::prepare(&self.program, &self.notes, whole, self.running, &release)?;
        if let Err(why) = (self.launch)(&old, &self.program) {
            self.notes.forget_mark()?;
            return Err(UpdateError::Replacing(why));
        }
        tracing::info!(version = %release.version, "installing an update; this service restarts");
        if let Some(download) = self.download.take() {
            download.discard();
        }
        self.progress = (UpdateProgress::Installing, Some(release.version), String::new());
        Ok(vec![self.report()])
    }

    fn report(&self) -> Message {
        let (progress, of, sentence) = self.progress.clone();
        let (target, running) = (self.target.clone(), self.running);
        Message::UpdateState { report: UpdateReport { target, running, progress, of, sentence } }
    }
}

#[cfg(test)]
#[path = "updater_tests.rs"]
mod tests;

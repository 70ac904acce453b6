//! Replaces the agent's program: looks what's next, does it, looks again. It runs from the old program's copy, as a service of
//! its own, so that neither a new program that doesn't start nor a power cut ends it for good.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coffer_format::FileHash;
use coffer_format::update::{Release, Version};

use super::UpdateError;
use super::download::hash_of;
use super::notes::{Mark, Notes, Phase, STARTS_MAX, TRIALS_MAX};
use super::swap::{Proof, Seen, Step, next};

const PART: &str = "part";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A program on trial that ended so often isn't started any more.
const PROGRAM_STARTS_MAX: u32 = 5;
/// How long a program may be kept from being replaced: scanners hold new files for a while.
const REPLACE_PATIENCE: Duration = Duration::from_secs(30);

/// Whether the agent's service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    Running,
    Stopped,
    /// Removed meanwhile.
    Gone,
}

/// What the agent's service is made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Look,
    Start,
    Stop,
}

/// The program's file and those beside it, and the notes about it.
pub struct Swapper {
    program: PathBuf,
    notes: Notes,
    /// When the trial is over, by this process's own clock.
    trial_until: Option<Instant>,
    starts: u32,
    cannot_start: bool,
}

impl Swapper {
    pub fn open(program: &Path, state: &Path) -> io::Result<Swapper> {
        let (program, notes) = (program.to_owned(), Notes::of(state)?);
        Ok(Swapper { program, notes, trial_until: None, starts: 0, cannot_start: false })
    }

    /// A file beside the program: `coffer-agent.old.exe`.
    pub(super) fn beside(program: &Path, what: &str) -> PathBuf {
        let stem = program.file_stem().unwrap_or_default().to_string_lossy();
        let ending = program.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
        program.with_file_name(format!("{stem}.{what}{}", ending.unwrap_or_default()))
    }

    /// Puts everything in place for a replacement, and notes it. The program itself stays. Gives the copy that the
    /// replacement is to be run from.
    pub(super) fn prepare(
        program: &Path,
        notes: &Notes,
        new: &Path,
        before: Version,
        &Release { version, trial_s, hash, .. }: &Release,
    ) -> Result<PathBuf, UpdateError> {
        let old = Self::beside(program, "old");
        let program_before = copy_whole(program, &old)?;
        let beside = Self::beside(program, "new");
        // The signature is of these bytes, whatever became of the download since it was checked.
        if copy_whole(new, &beside)? != hash {
            fs::remove_file(&beside)?;
            return Err(UpdateError::OtherBytes(version));
        }
        notes.forget_mark()?;
        notes.add_version(program_before, before)?;
        notes.add_version(hash, version)?;
        let mark =
            Mark { phase: Phase::Swap, version, before, program: hash, program_before, trial_s, starts: 0 };
        notes.save_mark(&mark)?;
        Ok(old)
    }

    /// Does all there is to do; returns when the program in place is there to stay. `service` acts on the agent's service.
    pub fn run(
        &mut self,
        service: &mut dyn FnMut(Service) -> io::Result<ServiceState>,
        is_stopped: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        while !is_stopped() {
            if self.step(service)? == Step::End {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The trial's time passes at once.
    #[cfg(test)]
    pub(super) fn pass_trial_if(&mut self, is_over: bool) {
        if is_over && self.trial_until.is_some() {
            self.trial_until = Some(Instant::now());
        }
    }

    pub(super) fn step(
        &mut self,
        service: &mut dyn FnMut(Service) -> io::Result<ServiceState>,
    ) -> io::Result<Step> {
        let mark = self.notes.mark()?;
        let seen = self.look(mark.as_ref(), service(Service::Look)?)?;
        let step = next(&seen);
        if !matches!(step, Step::Await | Step::End) {
            tracing::info!(?step, ?seen, "replacing the program");
        }
        match (step, mark) {
            (Step::Stop, _) => drop(service(Service::Stop)?),
            (Step::Start, mark) => self.start(mark.is_some(), service)?,
            (Step::Await, _) => std::thread::park_timeout(LOOK_EVERY),
            (Step::PutNew, Some(_)) => replace(&Self::beside(&self.program, "new"), &self.program)?,
            (Step::PutBack, Some(_)) => self.put_back()?,
            (Step::NoteTrial, Some(mark)) => self.note_trial(mark)?,
            (Step::NoteBack, Some(mark)) => self.note_back(mark)?,
            (Step::NoteFailure, Some(mark)) => self.note_failure(&mark)?,
            (Step::Forget, _) => self.notes.forget_mark()?,
            (Step::End, _) | (_, None) => {}
        }
        Ok(step)
    }

    fn look(&mut self, mark: Option<&Mark>, service: ServiceState) -> io::Result<Seen> {
        let Some(mark) = mark else {
            let (is_new, waits, can_go_back, proof) = (false, false, false, Proof::Awaited);
            return Ok(Seen { phase: None, is_new, waits, can_go_back, service, proof });
        };
        let is = |path: &Path, hash: FileHash| hash_of(path).is_ok_and(|found| found == hash);
        Ok(Seen {
            phase: Some(mark.phase),
            is_new: hash_of(&self.program)? == mark.program,
            waits: mark.phase == Phase::Swap && is(&Self::beside(&self.program, "new"), mark.program),
            can_go_back: mark.phase != Phase::Trial
                && is(&Self::beside(&self.program, "old"), mark.program_before),
            service,
            proof: if mark.phase == Phase::Trial { self.proof(mark)? } else { Proof::Awaited },
        })
    }

    /// The trial's time counts anew after each start of this process, a few times: a computer that was switched off can't
    /// have reached its box.
    fn proof(&mut self, mark: &Mark) -> io::Result<Proof> {
        if self.notes.is_proven(mark.program)? {
            return Ok(Proof::Given);
        }
        let until = match self.trial_until {
            Some(until) => until,
            None => {
                self.notes.save_mark(&Mark { starts: mark.starts.saturating_add(1), ..mark.clone() })?;
                *self.trial_until.insert(Instant::now() + Duration::from_secs(mark.trial_s.into()))
            }
        };
        let is_missed = self.cannot_start || Instant::now() >= until || mark.starts >= STARTS_MAX;
        Ok(if is_missed { Proof::Missed } else { Proof::Awaited })
    }

    /// A program on trial that can't be started has missed it. The one that's there to stay is the system's to start.
    fn start(
        &mut self,
        is_trial: bool,
        service: &mut dyn FnMut(Service) -> io::Result<ServiceState>,
    ) -> io::Result<()> {
        self.starts += 1;
        if self.starts > 1 {
            std::thread::park_timeout(LOOK_EVERY);
        }
        if is_trial && self.starts > PROGRAM_STARTS_MAX {
            tracing::warn!("the new program ends again and again");
            self.cannot_start = true;
            return Ok(());
        }
        match service(Service::Start) {
            Err(error) if is_trial => {
                tracing::warn!(%error, "the new program can't be started");
                self.cannot_start = true;
                Ok(())
            }
            started => started.map(drop),
        }
    }

    /// One that's cut off before the mark is written counts twice, which only makes for fewer trials.
    fn note_trial(&self, mark: Mark) -> io::Result<()> {
        self.notes.count_trial(mark.version)?;
        self.notes.save_mark(&Mark { phase: Phase::Trial, ..mark })
    }

    /// A program that doesn't run at all has no further trial.
    fn note_back(&self, mark: Mark) -> io::Result<()> {
        if self.cannot_start {
            self.notes.add_failure(mark.version, &doesnt_run(&mark))?;
        }
        self.notes.save_mark(&Mark { phase: Phase::Back, ..mark })
    }

    /// One that ran and wasn't welcomed may only have had no box to reach. The program before knows when there's one: it's
    /// offered this version again then, and gives it another trial.
    fn note_failure(&self, mark: &Mark) -> io::Result<()> {
        let trials = self.notes.trials_of(mark.version)?;
        let is_failed = self.notes.failure_of(mark.version)?.is_some();
        if !is_failed && trials >= TRIALS_MAX {
            self.notes.add_failure(mark.version, &wasnt_welcomed(mark))?;
        }
        tracing::warn!(version = %mark.version, trials, "the new program is taken back");
        self.notes.forget_mark()
    }

    /// The copy stays: this process runs from it.
    fn put_back(&self) -> io::Result<()> {
        let back = Self::beside(&self.program, "back");
        copy_whole(&Self::beside(&self.program, "old"), &back)?;
        replace(&back, &self.program)
    }
}

/// Takes away what a replacement that's over has left. What's still in use stays until the next start.
pub fn tidy(program: &Path) {
    let files = ["new", "old", "back"].map(|what| Swapper::beside(program, what));
    let parts = files.each_ref().map(|file| file.with_extension(PART));
    for file in files.iter().chain(&parts) {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, file = %file.display(), "a file beside the program stays for now");
            }
            _ => {}
        }
    }
}

/// Copies a file under another name than its own first: with its own name it's there whole or not at all.
fn copy_whole(from: &Path, to: &Path) -> io::Result<FileHash> {
    let part = to.with_extension(PART);
    fs::copy(from, &part)?;
    File::options().write(true).open(&part)?.sync_all()?;
    let hash = hash_of(&part)?;
    fs::rename(&part, to)?;
    Ok(hash)
}

/// One rename, tried for a while.
fn replace(new: &Path, program: &Path) -> io::Result<()> {
    let until = Instant::now() + REPLACE_PATIENCE;
    loop {
        match fs::rename(new, program) {
            Err(error) if Instant::now() < until && error.kind() != io::ErrorKind::NotFound => {
                tracing::info!(%error, "the program is still held");
                std::thread::park_timeout(LOOK_EVERY);
            }
            renamed => return renamed,
        }
    }
}

fn doesnt_run(mark: &Mark) -> String {
    let Mark { version, before, .. } = mark;
    format!(
        "version {version} doesn't start or ends again and again, so {before} is back and works on; {}",
        advice(mark)
    )
}

fn wasnt_welcomed(mark: &Mark) -> String {
    let Mark { version, before, trial_s, .. } = mark;
    format!(
        "version {version} didn't reach the box within {trial_s} s in any of {TRIALS_MAX} trials, so {before} is back and \
         works on; {}",
        advice(mark)
    )
}

fn advice(mark: &Mark) -> String {
    let version = mark.version;
    format!("{version} isn't tried again: bring another version, and report this one to its vendor")
}

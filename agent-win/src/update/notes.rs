//! What the agent notes about its own program, in the folder `update` of its state folder: each note is a small file that's
//! replaced whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use coffer_format::FileHash;
use coffer_format::update::Version;

use crate::durable_file;

/// Longest note, in bytes.
const NOTE_MAX: u64 = 64 << 10;
/// Most programs and most failures that are remembered; the oldest go first.
const REMEMBERED_MAX: usize = 16;
/// Most starts of the helper that one trial may take: a computer that's switched off over and over doesn't stay undecided.
pub(super) const STARTS_MAX: u32 = 6;
/// Most trials of one version. The box may have been away during one, but hardly during each: every one of them begins with
/// the box's offer.
pub(super) const TRIALS_MAX: u32 = 3;

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Everything is in place; the old program is still there.
    Swap,
    /// The new program is there and has to prove itself.
    Trial,
    /// It didn't: the old one comes back.
    Back,
}

/// A replacement under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub phase: Phase,
    pub version: Version,
    pub before: Version,
    /// The new program, and the one before.
    pub program: FileHash,
    pub program_before: FileHash,
    pub trial_s: u32,
    /// How often the helper began to wait for proof.
    pub starts: u32,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Notes(PathBuf);

impl Notes {
    pub(super) fn of(state: &Path) -> io::Result<Notes> {
        let folder = state.join("update");
        fs::create_dir_all(&folder)?;
        Ok(Notes(folder))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The replacement under way. One that can't be read is none: whatever program is there goes on.
    pub(super) fn mark(&self) -> io::Result<Option<Mark>> {
        Ok(self.read("mark")?.and_then(|text| Mark::parse(&text)))
    }

    pub(super) fn save_mark(&self, mark: &Mark) -> io::Result<()> {
        self.write("mark", &mark.to_text())
    }

    /// The replacement is over, one way or the other.
    pub(super) fn forget_mark(&self) -> io::Result<()> {
        self.remove("proof")?;
        self.remove("mark")
    }

    /// The program with these bytes has been welcomed by the box.
    pub(super) fn save_proof(&self, program: FileHash) -> io::Result<()> {
        self.write("proof", &program.to_string())
    }

    pub(super) fn is_proven(&self, program: FileHash) -> io::Result<bool> {
        Ok(self.read("proof")?.is_some_and(|text| text == program.to_string()))
    }

    /// The version that was signed for the program with these bytes, if it came as an update.
    pub(super) fn version_of(&self, program: FileHash) -> io::Result<Option<Version>> {
        let known = self.read("versions")?.unwrap_or_default();
        let mut own = known.lines().filter_map(|line| line.split_once(' '));
        let found = own.rfind(|(hash, _)| *hash == program.to_string());
        Ok(found.and_then(|(_, version)| version.parse().ok()))
    }

    pub(super) fn add_version(&self, program: FileHash, version: Version) -> io::Result<()> {
        self.add_line("versions", &format!("{program} {version}"))
    }

    /// How many trials of that version have begun.
    pub(super) fn trials_of(&self, version: Version) -> io::Result<u32> {
        let count = self.last_of("trials", version)?;
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    pub(super) fn count_trial(&self, version: Version) -> io::Result<()> {
        let count = self.trials_of(version)?.saturating_add(1);
        self.add_line("trials", &format!("{version} {count}"))
    }

    /// What came of that version, if it failed and isn't to be tried again.
    pub(super) fn failure_of(&self, version: Version) -> io::Result<Option<String>> {
        self.last_of("failed", version)
    }

    pub(super) fn add_failure(&self, version: Version, sentence: &str) -> io::Result<()> {
        self.add_line("failed", &format!("{version} {}", sentence.replace('\n', " ")))
    }

    /// What was noted last for that version.
    fn last_of(&self, name: &str, version: Version) -> io::Result<Option<String>> {
        let known = self.read(name)?.unwrap_or_default();
        let mut found = known.lines().filter_map(|line| line.split_once(' '));
        let own = found.rfind(|(one, _)| *one == version.to_string());
        Ok(own.map(|(_, noted)| noted.to_owned()))
    }

    fn add_line(&self, name: &str, line: &str) -> io::Result<()> {
        let text = self.read(name)?.unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().filter(|one| *one != line).collect();
        lines.push(line);
        let first = lines.len().saturating_sub(REMEMBERED_MAX);
        self.write(name, &(lines[first..].join("\n") + "\n"))
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let file = match coffer_link::open_own_file(&self.0.join(name), OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(NOTE_MAX).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        durable_file::save(&self.0.join(name), text.as_bytes())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Mark {
    fn to_text(&self) -> String {
        let Mark { phase, version, before, program, program_before, trial_s, starts } = self;
        let phase = phase.name();
        format!("{phase} {version} {before} {program} {program_before} {trial_s} {starts}\n")
    }

    fn parse(text: &str) -> Option<Mark> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [phase, version, before, program, program_before, trial_s, starts] = words.try_into().ok()?;
        Some(Mark {
            phase: [Phase::Swap, Phase::Trial, Phase::Back].into_iter().find(|one| one.name() == phase)?,
            version: version.parse().ok()?,
            before: before.parse().ok()?,
            program: program.parse().ok()?,
            program_before: program_before.parse().ok()?,
            trial_s: trial_s.parse().ok()?,
            starts: starts.parse().ok()?,
        })
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Swap => "swap",
            Phase::Trial => "trial",
            Phase::Back => "back",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_and_stay_small() {
        let state = tempfile::tempdir().unwrap();
        let notes = Notes::of(state.path()).unwrap();
        let mark = Mark {
            phase: Phase::Trial,
            version: "0.2.0".parse().unwrap(),
            before: "0.1.0".parse().unwrap(),
            program: FileHash([1; 32]),
            program_before: FileHash([2; 32]),
            trial_s: 600,
            starts: 2,
        };
        notes.save_mark(&mark).unwrap();
        assert_eq!(notes.mark().unwrap(), Some(mark));
        for patch in 0..50 {
            let version = Version { major: 1, minor: 0, patch };
            notes.add_failure(version, "it\nfailed").unwrap();
            notes.count_trial(version).unwrap();
            notes.count_trial(version).unwrap();
            notes.add_version(FileHash([patch as u8; 32]), version).unwrap();
        }
        let version = |patch| Version { major: 1, minor: 0, patch };
        assert_eq!(notes.failure_of(version(49)).unwrap().as_deref(), Some("it failed"));
        assert_eq!(notes.failure_of(version(3)).unwrap(), None, "remembered for ever");
        assert_eq!(notes.trials_of(version(49)).unwrap(), 2);
        assert_eq!(notes.version_of(FileHash([49; 32])).unwrap(), Some(version(49)));
        notes.forget_mark().unwrap();
        assert_eq!(notes.mark().unwrap(), None);
        fs::write(notes.folder().join("mark"), "garbage").unwrap();
        assert_eq!(notes.mark().unwrap(), None);
    }
}

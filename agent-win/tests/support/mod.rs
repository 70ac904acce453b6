//! A computer with files to capture, and a box in memory.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

mod fake_box;
#[cfg(target_os = "linux")]
pub mod renumbered;
pub mod tree;
#[cfg(target_os = "linux")]
pub mod volume;

use std::path::PathBuf;
use std::sync::Arc;

use coffer_agent::capture::{CaptureError, CaptureOrder, Outcome, Progress, Target};
use coffer_agent::changes::Hints;
use coffer_agent::config::{BackupConfig, Scope};
use coffer_agent::journal::Journal;
use coffer_agent::session::Session;
use coffer_agent::standstill::Stance;
use coffer_format::ConfigId;

use fake_box::{BoxState, FakeBox};

pub const KEY: [u8; 32] = [7; 32];
pub const CONFIG: ConfigId = ConfigId(1);

/// A computer with one configuration, and its box.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub state_dir: PathBuf,
    pub fake: FakeBox,
    pub toml_more: String,
    pub more_includes: Vec<String>,
    /// Included instead of the folder, below it.
    pub only_includes: Vec<String>,
    /// Made earlier, and used in the place of what's configured: links that came since aren't followed.
    pub earlier_scope: Option<Arc<Scope>>,
    /// How often the configuration was set.
    pub revision: u32,
    /// A folder that the agent fills itself.
    pub enclosed: Option<PathBuf>,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let state_dir = folder.path().join("state");
        let (toml_more, more_includes, enclosed) = (String::new(), Vec::new(), None);
        let (only_includes, earlier_scope) = (Vec::new(), None);
        Bench {
            folder,
            state_dir,
            fake: FakeBox::new(),
            toml_more,
            more_includes,
            only_includes,
            earlier_scope,
            revision: 1,
            enclosed,
        }
    }

    /// A path below the included folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn scope(&self) -> Arc<Scope> {
        if let Some(scope) = &self.earlier_scope {
            return scope.clone();
        }
        let mut includes = self.more_includes.clone();
        let only = if self.only_includes.is_empty() { &[String::new()][..] } else { &self.only_includes };
        includes.extend(only.iter().map(|name| self.path(name).to_str().unwrap().to_owned()));
        let include = format!("include = {includes:?}\n");
        let config = BackupConfig::parse(&(include + &self.toml_more)).unwrap();
        let scope = Scope::new(&config, &[&self.state_dir]).unwrap();
        Arc::new(match &self.enclosed {
            Some(folder) => scope.with_enclosed(folder),
            None => scope,
        })
    }

    pub fn capture(&self) -> Outcome {
        self.try_capture(None, Target::Everything).unwrap()
    }

    pub fn try_capture(&self, cut_after: Option<u64>, target: Target) -> Result<Outcome, CaptureError> {
        self.capture_with(cut_after, Stance::default(), target)
    }

    pub fn capture_on(&self, stance: Stance<'_>, target: Target) -> Result<Outcome, CaptureError> {
        self.capture_with(None, stance, target)
    }

    fn capture_with(
        &self,
        cut_after: Option<u64>,
        stance: Stance<'_>,
        target: Target,
    ) -> Result<Outcome, CaptureError> {
        self.over(cut_after, stance, target, &Hints::default(), &Progress::default())
    }

    pub fn capture_told(
        &self,
        stance: Stance<'_>,
        target: Target,
        hints: &Hints,
        progress: &Progress,
    ) -> Result<Outcome, CaptureError> {
        self.over(None, stance, target, hints, progress)
    }

    fn over(
        &self,
        cut_after: Option<u64>,
        stance: Stance<'_>,
        target: Target,
        hints: &Hints,
        progress: &Progress,
    ) -> Result<Outcome, CaptureError> {
        let (wire, thread) = self.fake.connect(cut_after);
        let mut session = match Session::open(wire) {
            Ok(session) => session,
            Err(error) => {
                thread.join().unwrap();
                return Err(error.into());
            }
        };
        let mut journal = Journal::open(&self.state_dir).unwrap();
        let order = CaptureOrder {
            watch: None,
            config: CONFIG,
            revision: self.revision,
            scope: self.scope(),
            stance,
            hints,
            compression: coffer_agent::config::CompressionChoice::Auto,
            chunk_key: KEY,
            target,
            progress,
        };
        let outcome = session.capture(&mut journal, order);
        drop(session);
        thread.join().unwrap();
        outcome
    }

    pub fn forget(&self) {
        std::fs::remove_dir_all(&self.state_dir).unwrap();
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, BoxState> {
        self.fake.state.lock().unwrap()
    }

    pub fn received(&self) -> u64 {
        self.state().raw_received
    }

    /// Every file below the included folder, bit for bit.
    pub fn assert_all_there(&self) {
        tree::assert_same(&self.state(), &self.path(""));
    }
}

/// Bytes that don't compress, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

pub fn closed(outcome: Outcome) -> coffer_agent::capture::Closed {
    match outcome {
        Outcome::Closed(closed) => closed,
        Outcome::Unchanged { report } => panic!("nothing was captured: {report:?}"),
    }
}

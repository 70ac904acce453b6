//! One capture, measured.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coffer_agent::capture::{CaptureOrder, Outcome, Progress, Target};
use coffer_agent::changes::Hints;
use coffer_agent::config::{BackupConfig, CompressionChoice, Scope};
use coffer_agent::journal::Journal;
use coffer_agent::session::Session;
use coffer_agent::standstill::{Claim, Stance};
use coffer_format::ConfigId;
use nix::sys::resource::{UsageWho, getrusage};

use crate::forgetful;

/// A folder, and an agent that remembers it.
pub(crate) struct Bench {
    scope: Arc<Scope>,
    journal: Journal,
    points: u64,
}

/// What a capture cost.
pub(crate) struct Cost {
    name: String,
    wall: Duration,
    cpu: Duration,
    read_bytes: u64,
    sent_bytes: u64,
}

impl Bench {
    pub(crate) fn new(folder: &Path, state: &Path) -> anyhow::Result<Bench> {
        let folder = std::fs::canonicalize(folder)?.display().to_string();
        let toml = format!("include = [{folder:?}]\nautomatic_exclusions = false");
        let config = BackupConfig::parse(&toml).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let scope = Arc::new(Scope::new(&config, &[state])?);
        Ok(Bench { scope, journal: Journal::open(state)?, points: 0 })
    }

    /// Everything, of which the box has nothing.
    pub(crate) fn first(&mut self, name: &str) -> anyhow::Result<Cost> {
        self.capture(name, Target::Everything, &Hints::default())
    }

    /// Everything is looked at.
    pub(crate) fn everything(&mut self, name: &str) -> anyhow::Result<Cost> {
        self.capture(name, Target::Everything, &Hints::recheck())
    }

    /// As from a snapshot: one look.
    pub(crate) fn capture(&mut self, name: &str, target: Target, hints: &Hints) -> anyhow::Result<Cost> {
        let progress = Progress::default();
        let (began, cpu) = (Instant::now(), cpu_time()?);
        let mut session = Session::open(forgetful::connect(self.points))?;
        let order = CaptureOrder {
            watch: None,
            revision: 1,
            config: ConfigId(1),
            scope: self.scope.clone(),
            stance: Stance { claim: Claim::Snapshot, ..Stance::default() },
            hints,
            compression: CompressionChoice::Auto,
            chunk_key: [1; 32],
            target,
            progress: &progress,
        };
        let outcome = session.capture(&mut self.journal, order)?;
        let sent_bytes = match &outcome {
            Outcome::Closed(closed) => closed.sent,
            Outcome::Unchanged { .. } => 0,
        };
        self.points += u64::from(matches!(outcome, Outcome::Closed(_)));
        Ok(Cost {
            name: name.to_owned(),
            wall: began.elapsed(),
            cpu: cpu_time()?.saturating_sub(cpu),
            read_bytes: progress.bytes.load(Ordering::Relaxed),
            sent_bytes,
        })
    }
}

impl Cost {
    pub(crate) fn print(&self) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{:<52} {:>8.2} {:>8.2} {:>12.3} {:>12.3}",
            self.name,
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            megabytes(self.read_bytes),
            megabytes(self.sent_bytes)
        );
    }

    /// Says how many times less than `other` it cost.
    pub(crate) fn print_against(&self, other: &Cost) {
        let times = |mine: f64, others: f64| others / mine.max(1e-9);
        println!(
            "{:<52} {:>8.1} {:>8.1} {:>12.1}",
            "  times less than without",
            times(self.wall.as_secs_f64(), other.wall.as_secs_f64()),
            times(self.cpu.as_secs_f64(), other.cpu.as_secs_f64()),
            times(self.read_bytes as f64, other.read_bytes as f64),
        );
    }
}

fn cpu_time() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let sum =
        |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    Ok(sum(usage.user_time()) + sum(usage.system_time()))
}

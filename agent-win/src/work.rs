//! What the agent does for its whole life: connect, fetch configurations, capture whenever one is due.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coffer_format::wire::{ConfigText, Message, RefusalCode};
use coffer_format::{ConfigId, PointSeq};
use coffer_link::{Identity, LinkError};
use tokio::runtime::Handle;

use crate::capture::{CaptureError, LOCKED, Outcome, Progress, Target};
use crate::config::{BackupConfig, Scope, When, WindowTime};
use crate::journal::Journal;
use crate::line;
use crate::restore::{RestoreError, Restored};
use crate::schedule::{Backoff, Schedule};
use crate::session::{CaptureOrder, Session};
use crate::state::{StateDir, StateError};
use crate::watch::Watch;
use crate::wire::WireError;

/// How often the box hears of a watched configuration in which nothing happens.
const TELL_EVERY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("configuration \"{name}\" can't be used: {mistakes}")]
    Config { name: String, mistakes: String },
    #[error("this computer has no configuration{}; make one on the box", .0.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default())]
    NoConfig(Option<String>),
}

/// What came of one configuration's capture.
#[derive(Debug)]
pub struct Done {
    pub name: String,
    pub outcome: Outcome,
    pub took: Duration,
}

/// An agent: a folder, a box, and the word to stop.
pub struct Agent {
    runtime: Handle,
    state: StateDir,
    identity: Identity,
    chunk_key: [u8; 32],
    server: String,
    stop: Arc<AtomicBool>,
}

impl Agent {
    /// Reads the agent's folder. `server` overrides the address that it was enrolled at.
    pub fn open(
        runtime: Handle,
        state: StateDir,
        server: Option<String>,
        stop: Arc<AtomicBool>,
    ) -> Result<Agent, WorkError> {
        crate::platform::prepare();
        let identity = match state.sealed_key()? {
            Some(key) => Identity::load_with_key(&state.identity(), &key),
            None => Identity::load(&state.identity()),
        }
        .map_err(LinkError::from)?;
        let chunk_key = state.chunk_key()?;
        let server = server.map_or_else(|| state.server(), Ok)?;
        Ok(Agent { runtime, state, identity, chunk_key, server, stop })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn session(&self) -> Result<Session, WorkError> {
        let wire = line::connect(&self.runtime, &self.server, &self.identity)?;
        Ok(Session::open(wire)?)
    }

    /// One capture of each configuration, or of the one with that name.
    pub fn capture_once(&self, only: Option<&str>) -> Result<Vec<Done>, WorkError> {
        let mut session = self.session()?;
        let wanted = |text: &ConfigText| only.is_none_or(|name| name == text.name);
        let texts: Vec<ConfigText> = session.configs()?.into_iter().filter(wanted).collect();
        if texts.is_empty() {
            return Err(WorkError::NoConfig(only.map(str::to_owned)));
        }
        let mut done = Vec::new();
        for text in &texts {
            let began = Instant::now();
            let job = Job::new(text, &self.state, false)?;
            let outcome = self.capture(&mut session, &job, Target::Everything)?;
            done.push(Done { name: text.name.clone(), outcome, took: began.elapsed() });
        }
        session.goodbye();
        Ok(done)
    }

    /// Restores a configuration's point, the newest where none is said, to below a folder.
    pub fn restore(
        &self,
        name: &str,
        point: Option<PointSeq>,
        paths: Vec<Vec<u8>>,
        to: &Path,
    ) -> Result<Restored, WorkError> {
        let mut session = self.session()?;
        let found = session.configs()?.into_iter().find(|text| text.name == name);
        let config = found.ok_or_else(|| WorkError::NoConfig(Some(name.to_owned())))?.config;
        let restored = session.restore(config, point, paths, to)?;
        session.goodbye();
        Ok(restored)
    }

    /// Works until it's stopped. Whatever passes by itself is tried again; the rest is said in the log.
    pub fn run(&self) -> Result<(), WorkError> {
        let mut backoff = Backoff::new(crate::clock::now_ns() as u64 ^ u64::from(std::process::id()));
        let mut jobs: Vec<Job> = Vec::new();
        while !self.is_stopped() {
            match self.connected(&mut jobs, &mut backoff) {
                Ok(()) => break,
                Err(error @ WorkError::State(_)) => return Err(error),
                Err(error) => {
                    let wait = backoff.next();
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "no line to the box");
                    self.wait(&mut jobs, wait);
                }
            }
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Changes are gathered while there's no line as well.
    fn wait(&self, jobs: &mut [Job], wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.is_stopped() {
            gather(jobs, POLL.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn connected(&self, jobs: &mut Vec<Job>, backoff: &mut Backoff) -> Result<(), WorkError> {
        let mut session = self.session()?;
        tracing::info!(name = session.box_name(), "connected");
        self.fetch(&mut session, jobs)?;
        // The box is there and takes us: if this line breaks, the next may be tried soon.
        backoff.reset();
        while !self.is_stopped() {
            for asked in
                session.asked(if jobs.iter().any(Job::is_watched) { Duration::ZERO } else { POLL })?
            {
                match asked {
                    Message::ConfigsChanged => self.fetch(&mut session, jobs)?,
                    Message::CaptureNow { config } => ask(jobs, config),
                    _ => return Err(WireError::Unexpected("a message out of turn").into()),
                }
            }
            if jobs.iter().any(Job::is_watched) {
                gather(jobs, POLL);
            }
            for job in jobs.iter_mut() {
                self.capture_if_due(&mut session, job)?;
                job.tell_if_quiet(&session)?;
            }
        }
        session.goodbye();
        Ok(())
    }

    /// Takes over what's new; configurations that are as before keep their watch.
    fn fetch(&self, session: &mut Session, jobs: &mut Vec<Job>) -> Result<(), WorkError> {
        let texts = session.configs()?;
        jobs.retain(|job| texts.contains(&job.text));
        for text in &texts {
            if jobs.iter().any(|job| job.text == *text) {
                continue;
            }
            match Job::new(text, &self.state, true) {
                Ok(job) => jobs.push(job),
                Err(error) => tracing::error!(%error, "configuration left out"),
            }
        }
        tracing::info!(count = jobs.len(), "configurations");
        Ok(())
    }

    fn capture_if_due(&self, session: &mut Session, job: &mut Job) -> Result<(), WorkError> {
        let now = Instant::now();
        if !job.schedule.is_due(&job.config, now, week_time()) {
            return Ok(());
        }
        let Some(target) = job.target() else { return Ok(()) };
        let (name, config) = (job.text.name.clone(), job.text.config);
        match self.capture(session, job, target) {
            Ok(outcome) => {
                log(&name, &outcome, now.elapsed());
                job.try_again(&outcome);
                job.schedule.done(now);
                job.told = Some(Instant::now());
                Ok(())
            }
            Err(error) => {
                job.told = None;
                job.look_at_everything();
                match error {
                    // A broken line has its own pace; the capture goes on as soon as there's another.
                    CaptureError::Wire(WireError::Lost) => job.schedule.interrupted(Instant::now()),
                    _ => job.schedule.failed(Instant::now()),
                }
                match error {
                    CaptureError::Stopped => Ok(()),
                    CaptureError::Wire(WireError::Refused(refusal)) => {
                        if !is_passing(refusal.code) {
                            tracing::error!(%config, name, "stopped: {}", refusal.sentence);
                            job.is_stopped = true;
                        }
                        // What the box still had to say to the broken-off capture ends with the connection.
                        Err(WireError::Refused(refusal).into())
                    }
                    error => Err(error.into()),
                }
            }
        }
    }

    fn capture(&self, session: &mut Session, job: &Job, target: Target) -> Result<Outcome, CaptureError> {
        let progress = Arc::new(Progress::new(self.stop.clone(), job.deadline()));
        let mut journal = Journal::open(&self.state.journal(job.text.config))?;
        let order = CaptureOrder {
            config: job.text.config,
            scope: job.scope.clone(),
            compression: job.config.compression,
            chunk_key: self.chunk_key,
            target,
            progress: &progress,
        };
        session.capture(&mut journal, order)
    }
}

/// One configuration at work.
struct Job {
    text: ConfigText,
    config: BackupConfig,
    scope: Arc<Scope>,
    schedule: Schedule,
    watch: Option<Watch>,
    /// When the box last heard how things stand.
    told: Option<Instant>,
    /// Refused for good: only another configuration or a restart helps.
    is_stopped: bool,
}

impl Job {
    fn new(text: &ConfigText, state: &StateDir, watched: bool) -> Result<Job, WorkError> {
        let config = BackupConfig::parse(&text.toml).map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            WorkError::Config { name: text.name.clone(), mistakes: mistakes.join("; ") }
        })?;
        let scope = Arc::new(Scope::new(&config, &[state.path()]).map_err(CaptureError::from)?);
        let is_continuous = watched && config.when == When::Continuous;
        let watch = is_continuous.then(|| Watch::start(scope.clone(), config.settle));
        let schedule = Schedule::new(config.when, Instant::now());
        Ok(Job { text: text.clone(), config, scope, schedule, watch, told: None, is_stopped: false })
    }

    fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// What to look at now; `None` while nothing has settled.
    fn target(&mut self) -> Option<Target> {
        if self.is_stopped {
            return None;
        }
        match &mut self.watch {
            Some(watch) if self.schedule.is_asked() => {
                watch.everything();
                watch.due().or(Some(Target::Everything))
            }
            Some(watch) => watch.due(),
            None => Some(Target::Everything),
        }
    }

    /// Files that were locked are looked at again soon.
    fn try_again(&mut self, outcome: &Outcome) {
        if let Some(watch) = &mut self.watch {
            let locked = outcome.report().iter().filter(|line| line.what == LOCKED);
            watch.locked(locked.map(|line| line.path.0.to_vec()));
        }
    }

    fn look_at_everything(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.everything();
        }
    }

    /// Tells the box now and then that a watched configuration is as its newest point has it. Only after a capture: what
    /// changed before the watch began is in none yet.
    fn tell_if_quiet(&mut self, session: &Session) -> Result<(), WireError> {
        let is_quiet = self.watch.as_ref().is_some_and(Watch::is_quiet);
        let is_time = self.told.is_some_and(|told| told.elapsed() >= TELL_EVERY);
        if is_quiet && is_time {
            session.up_to_date(self.text.config)?;
            self.told = Some(Instant::now());
        }
        Ok(())
    }

    /// When a capture must end because its window closes.
    fn deadline(&self) -> Option<Instant> {
        if self.config.run_to_completion || self.config.window.is_empty() || self.schedule.is_asked() {
            return None;
        }
        let now = week_time();
        let is_open = |minutes: u32| {
            let total = u32::from(now.weekday) * 1440 + u32::from(now.minute) + minutes;
            let time = WindowTime { weekday: (total / 1440 % 7) as u8, minute: (total % 1440) as u16 };
            self.config.window.iter().any(|window| window.contains(time))
        };
        let left = (0..7 * 1440).find(|minutes| !is_open(*minutes))?;
        Some(Instant::now() + Duration::from_secs(u64::from(left) * 60))
    }
}

/// Waits for changes in all watched configurations.
fn gather(jobs: &mut [Job], timeout: Duration) {
    let watched: Vec<&mut Watch> = jobs.iter_mut().filter_map(|job| job.watch.as_mut()).collect();
    if watched.is_empty() {
        std::thread::park_timeout(timeout);
        return;
    }
    let share = timeout / watched.len() as u32;
    watched.into_iter().for_each(|watch| watch.gather(share));
}

fn ask(jobs: &mut [Job], config: ConfigId) {
    for job in jobs.iter_mut().filter(|job| job.text.config == config) {
        job.schedule.ask(Instant::now());
    }
}

fn is_passing(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Busy
            | RefusalCode::DiskFull
            | RefusalCode::OutOfStep
            | RefusalCode::ReadOnly
            | RefusalCode::Internal
    )
}

fn week_time() -> WindowTime {
    let now = jiff::Zoned::now();
    let weekday = now.weekday().to_monday_zero_offset() as u8;
    WindowTime { weekday, minute: now.hour() as u16 * 60 + now.minute() as u16 }
}

fn log(name: &str, outcome: &Outcome, took: Duration) {
    let took_ms = took.as_millis() as u64;
    match outcome {
        Outcome::Unchanged { report } => {
            tracing::debug!(name, took_ms, problems = report.len(), "nothing new")
        }
        Outcome::Closed(closed) => {
            let (point, files, bytes, sent) = (closed.point.0, closed.files, closed.bytes, closed.sent);
            tracing::info!(
                name,
                point,
                files,
                bytes,
                sent,
                took_ms,
                problems = closed.report.len(),
                "captured"
            );
        }
    }
}

//! What the agent does for its whole life: connect, fetch configurations, capture whenever one is due.

mod captures;
mod contact;
mod once;
mod unwatched;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use coffer_format::wire::Message;
use coffer_format::{ConfigId, PointSeq};
use coffer_link::{Identity, LinkError};
use tokio::runtime::Handle;

use crate::capture::CaptureError;
use crate::exclusions::ListedExclusions;
use crate::find::{self, Whereabouts};
use crate::guest::Guest;
use crate::job::Job;
use crate::restore::{Goal, RestoreError, Restored};
use crate::restore_desk::{self, Inbox};
use crate::schedule::Backoff;
use crate::session::Session;
use crate::state::{StateDir, StateError};
use crate::update::Updater;
use crate::watch::Watch;
use crate::wire::WireError;
use captures::Line;
pub use once::{Done, Once};
use unwatched::Unwatched;

/// A configuration that couldn't be used may be usable after so long.
const TRY_CONFIG_AGAIN: Duration = Duration::from_secs(300);
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

/// Where the box is.
enum ServerAddress {
    /// As a person says this time.
    Given(String),
    /// As it was at enrolment, or when it was last found.
    Enrolled(String),
}

/// An agent: a folder, a box, and the word to stop.
pub struct Agent {
    runtime: Handle,
    state: StateDir,
    identity: Identity,
    server: ServerAddress,
    stop: Arc<AtomicBool>,
    guest: Arc<Guest>,
    listed: OnceLock<Arc<ListedExclusions>>,
    /// Where the program replaces itself.
    updater: Option<Mutex<Updater>>,
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
        match state.chunk_key() {
            // Everything but captures works without it, and the box is told why those don't.
            Err(error @ StateError::Damaged(_)) => tracing::error!(%error, "nothing can be captured"),
            read => drop(read?),
        }
        let server = match server {
            Some(server) => ServerAddress::Given(server),
            None => ServerAddress::Enrolled(state.server()?),
        };
        let (guest, listed, updater) = (Guest::start(), OnceLock::new(), None);
        Ok(Agent { runtime, state, identity, server, stop, guest, listed, updater })
    }

    /// Asked for once: applications take their time to answer.
    fn listed(&self) -> &Arc<ListedExclusions> {
        self.listed.get_or_init(|| Arc::new(ListedExclusions::of_this_computer()))
    }

    /// An agent whose program replaces itself.
    pub fn updating(self, updater: Updater) -> Agent {
        Agent { updater: Some(Mutex::new(updater)), ..self }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Restores a configuration's point, the newest where none is said.
    pub fn restore(
        &self,
        name: &str,
        point: Option<PointSeq>,
        paths: Vec<Vec<u8>>,
        goal: Goal,
    ) -> Result<Restored, WorkError> {
        let mut session = self.session()?;
        let found = session.configs()?.into_iter().find(|text| text.name == name);
        let config = found.ok_or_else(|| WorkError::NoConfig(Some(name.to_owned())))?.config;
        let restored = session.restore(config, point, paths, goal)?;
        session.goodbye();
        Ok(restored)
    }

    /// Works until it's stopped. Whatever passes by itself is tried again; the rest is said in the log.
    pub fn run(&self) -> Result<(), WorkError> {
        let waits = self.state.waiting_files();
        let waiting = waits.clone();
        // Beside everything else, and nobody waits for it: whoever has such a file open may keep others from it for long.
        std::thread::spawn(move || {
            if let Err(error) = waiting.put_all() {
                tracing::warn!(%error, "files that wait for this start aren't in their place");
            }
        });
        restore_desk::beside(&|| self.session(), waits, &self.stop, |inbox| self.work(inbox))
    }

    fn work(&self, inbox: &Inbox) -> Result<(), WorkError> {
        let mut backoff = Backoff::new(crate::clock::now_ns() as u64 ^ u64::from(std::process::id()));
        let mut jobs: Vec<Job> = Vec::new();
        let mut place = self.whereabouts();
        while !self.is_stopped() {
            match self.connected(&place, &mut jobs, &mut backoff, inbox) {
                Ok(()) => {}
                Err(error @ WorkError::State(_)) => return Err(error),
                Err(error) => {
                    let wait = backoff.next();
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "no line to the box");
                    if matches!(&error, WorkError::Link(error) if find::is_elsewhere(error)) {
                        place.look(&self.runtime, &self.identity);
                    }
                    self.wait(&mut place, &mut jobs, wait);
                }
            }
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn connected(
        &self,
        place: &Whereabouts,
        jobs: &mut Vec<Job>,
        backoff: &mut Backoff,
        inbox: &Inbox,
    ) -> Result<(), WorkError> {
        let mut session = self.session_at(place.address(), Some(inbox.clone()))?;
        tracing::info!(name = session.box_name(), "connected");
        let ended = self.converse(&mut session, jobs, backoff);
        match ended {
            Ok(Line::Usable) => session.goodbye(),
            // What a broken-off capture still had to say mustn't reach the box after the next one has begun. So nothing more
            // leaves this computer; what has left it already the box refuses once the next one begins.
            Ok(Line::Spent) | Err(_) => session.cut(),
        }
        ended.map(drop)
    }

    /// Works over one line until it's of no more use, or the agent is to stop.
    fn converse(
        &self,
        session: &mut Session,
        jobs: &mut Vec<Job>,
        backoff: &mut Backoff,
    ) -> Result<Line, WorkError> {
        let mut again = self.fetch(session, jobs)?;
        let mut unwatched = Unwatched::default();
        jobs.iter_mut().for_each(Job::told_nothing);
        // It may be another's, or as it was once: nothing may be due for long that would show it.
        jobs.iter().try_for_each(|job| job.remembers(session))?;
        if let Err(error) = self.state.chunk_key() {
            // None may be due for long.
            jobs.iter_mut().for_each(|job| job.failed(Some(error.to_string())));
        }
        // The box is there and takes us: if this line breaks, the next may be tried soon.
        backoff.reset();
        self.update(session, |updater| vec![updater.welcomed()])?;
        while !self.is_stopped() {
            for asked in
                session.asked(if jobs.iter().any(Job::is_watched) { Duration::ZERO } else { POLL })?
            {
                match asked {
                    // An answer to an earlier question may have been older than this, or newer.
                    Message::ConfigsChanged | Message::Configs { .. } => again = self.fetch(session, jobs)?,
                    Message::CaptureNow { config } => ask(jobs, config),
                    Message::Recall { config } => {
                        jobs.iter_mut().filter(|job| job.text.config == config).for_each(Job::recall);
                    }
                    Message::Resend { config, .. } => {
                        jobs.iter_mut().filter(|job| job.text.config == config).for_each(Job::resend);
                    }
                    message @ (Message::UpdateOffered { .. } | Message::UpdateBytes { .. }) => {
                        self.update(session, |updater| updater.take(message))?;
                    }
                    _ => return Err(WireError::Unexpected("a message out of turn").into()),
                }
            }
            let before = jobs.len();
            jobs.retain_mut(|job| !job.leads_elsewhere());
            if jobs.len() < before {
                again = self.fetch(session, jobs)?;
            }
            if again.is_some_and(|again| Instant::now() >= again) {
                again = self.fetch(session, jobs)?;
            }
            if jobs.iter().any(Job::is_watched) {
                gather(jobs, POLL);
            }
            unwatched.tell(session, jobs)?;
            for job in jobs.iter_mut() {
                job.tell_exclusions(session)?;
                if self.capture_if_due(session, job)? == Line::Spent {
                    return Ok(Line::Spent);
                }
                job.tell_failure(session)?;
                job.tell_if_quiet(session)?;
                job.tell_if_waiting(session, &self.guest)?;
            }
        }
        Ok(Line::Usable)
    }

    /// Takes over what's new; configurations that are as before keep their watch. When to try again, where one can't be used:
    /// what an application says of its files, for one, it may say later.
    fn fetch(&self, session: &mut Session, jobs: &mut Vec<Job>) -> Result<Option<Instant>, WorkError> {
        let mut again = None;
        let texts = session.configs()?;
        jobs.retain_mut(|job| texts.iter().any(|text| job.takes_over(text)));
        for text in &texts {
            if jobs.iter().any(|job| job.text == *text) {
                continue;
            }
            match Job::new(text, &self.state, self.listed(), true) {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    tracing::error!(%error, "configuration left out");
                    session.doing(text.config, &error.to_string())?;
                    session.capture_failed(text.config, &error.to_string())?;
                    again = Some(Instant::now() + TRY_CONFIG_AGAIN);
                }
            }
        }
        tracing::info!(count = jobs.len(), "configurations");
        Ok(again)
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

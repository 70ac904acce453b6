//! One configuration at work: what's due, what it's to look at, and what the box has heard of it.

mod bookmarks;
mod logs;
mod prepared;
mod ways;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer_format::entry::RemarkKind;
use coffer_format::wire::ConfigText;

use crate::capture::{CaptureError, Outcome, Target};
use crate::clock::week_time;
use crate::config::{BackupConfig, FoundFiles, Scope, When, WindowTime, included};
use crate::exclusions::ListedExclusions;
use crate::guest::{Guest, Stage, Waiting};
use crate::journal::Journal;
use crate::platform::{self, CAN_SNAPSHOT};
use crate::schedule::Schedule;
use crate::session::Session;
use crate::standstill::{NoSnapshot, StandstillWanted};
use crate::state::StateDir;
use crate::watch::Watch;
use crate::wire::WireError;
use crate::work::WorkError;
use bookmarks::Bookmarks;
use logs::Logs;
pub(crate) use prepared::Prepared;

/// How often the box hears of a watched configuration in which nothing happens.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often it's looked whether the links on the way to what's watched lead where they did: no watch tells of that.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// What a capture is made for.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Everything, standing still where it can be made to.
    Point,
    /// What was noticed, as it is.
    Changes(Target),
}

/// One configuration at work.
pub(crate) struct Job {
    pub(crate) text: ConfigText,
    pub(crate) config: BackupConfig,
    pub(crate) scope: Arc<Scope>,
    pub(crate) schedule: Schedule,
    pub(crate) watch: Option<Watch>,
    /// When the box last heard how things stand; never where what it has isn't all there is.
    pub(crate) told: Option<Instant>,
    /// Refused for good: only another configuration or a restart helps.
    pub(crate) is_stopped: bool,
    /// Stands for what the scope is made of.
    scope_id: [u8; 16],
    /// How far it had come when a capture of it last began.
    pub(crate) stage: Stage,
    /// What the box was last told about it waiting.
    told_waiting: Option<Waiting>,
    told_exclusions: bool,
    /// Why the last capture failed, and whether the box has been told over this connection.
    failure: Option<String>,
    told_failure: bool,
    state: StateDir,
    listed: Arc<ListedExclusions>,
    bookmarks: Option<Bookmarks>,
    logs: Option<Logs>,
    /// Over which paths each included path led when the scope was made, and when that was last looked at.
    ways: Vec<Vec<Vec<u8>>>,
    followed: Instant,
}

impl Job {
    pub(crate) fn new(
        text: &ConfigText,
        state: &StateDir,
        listed: &Arc<ListedExclusions>,
        watched: bool,
    ) -> Result<Job, WorkError> {
        let (config, put_right) = BackupConfig::parse_stored(&text.toml).map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            WorkError::Config { name: text.name.clone(), mistakes: mistakes.join("; ") }
        })?;
        for mistake in put_right {
            tracing::warn!(config = text.name, when = %config.when, "{mistake} Until then it's captured as said here");
        }
        if let Some(mistakes) = foreign(&config) {
            return Err(WorkError::Config { name: text.name.clone(), mistakes });
        }
        // Before the scope is made: a link that's changed meanwhile is noticed then.
        let ways = ways::ways_of(&config);
        let asked = ways::with_lost(&config, &state.journal(text.config));
        let mut job = Job {
            text: text.clone(),
            scope: Arc::new(Scope::new(&asked, &[state.path()]).map_err(CaptureError::from)?),
            scope_id: scope_id(&asked, listed, &[]),
            schedule: Schedule::new(config.when, Instant::now()),
            config,
            watch: None,
            told: None,
            is_stopped: false,
            stage: Stage::default(),
            told_waiting: None,
            told_exclusions: false,
            failure: None,
            told_failure: false,
            state: state.clone(),
            listed: listed.clone(),
            bookmarks: None,
            logs: None,
            ways,
            followed: Instant::now(),
        };
        if watched && job.config.when == When::Continuous {
            job.find_files()?;
            job.watch = Some(Watch::start(job.scope.clone(), job.config.settle));
            let every = job.config.bookmark.filter(|_| CAN_SNAPSHOT);
            job.bookmarks = every.map(|every| Bookmarks::new(every, &job.folder()));
        }
        let logs = job.config.database.as_ref().filter(|_| watched);
        job.logs = logs.and_then(|database| Logs::new(database, Instant::now()));
        Ok(job)
    }

    /// Whether `text` says the same, or only how the agent is to behave: then what was noticed so far stays.
    pub(crate) fn takes_over(&mut self, text: &ConfigText) -> bool {
        if *text == self.text {
            return true;
        }
        let parsed = BackupConfig::parse_stored(&text.toml).ok().filter(|_| text.config == self.text.config);
        let Some((config, _)) = parsed else { return false };
        let is_same = BackupConfig { manners: self.config.manners.clone(), ..config.clone() } == self.config;
        if is_same {
            self.text = text.clone();
            self.config = config;
        }
        is_same
    }

    /// Whether a link on the way to something that's watched leads elsewhere by now: then it's another scope.
    pub(crate) fn leads_elsewhere(&mut self) -> bool {
        if self.watch.is_none() || self.followed.elapsed() < FOLLOW_EVERY {
            return false;
        }
        self.followed = Instant::now();
        ways::ways_of(&self.config) != self.ways
    }

    /// Over a new line the box must be told all of it again.
    pub(crate) fn told_nothing(&mut self) {
        self.told_waiting = None;
        self.told_exclusions = false;
        self.told_failure = false;
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.state.journal(self.text.config)
    }

    fn enclosed(&self) -> PathBuf {
        self.folder().join("enclosed")
    }

    /// Asks the applications which files are theirs. Without an answer nothing is captured: what the point before had of
    /// them would be taken for removed.
    pub(crate) fn find_files(&mut self) -> Result<(), WorkError> {
        let BackupConfig { database, system_state, .. } = &self.config;
        let database = database.as_ref().filter(|database| database.tells_files());
        let mut found = Vec::new();
        if database.is_some() || *system_state {
            found =
                platform::found_files(database, *system_state).map_err(|error| self.lacks_files(error))?;
        }
        found.sort();
        let listed = self.listed.patterns().filter(|_| self.config.automatic_exclusions);
        let asked = ways::with_lost(&self.config, &self.folder());
        let scope = Scope::new(&asked, &[self.state.path()])
            .and_then(|scope| scope.with_listed(listed))
            .map(|scope| scope.with_found(&found));
        let scope = scope.map_err(CaptureError::from)?;
        self.scope_id = scope_id(&asked, &self.listed, &found);
        self.scope = Arc::new(if CAN_SNAPSHOT { scope.with_enclosed(&self.enclosed()) } else { scope });
        Ok(())
    }

    fn lacks_files(&self, error: NoSnapshot) -> WorkError {
        let sentence = match error {
            NoSnapshot::NotHere => {
                "this computer has no applications that tell of their files; name the files".to_owned()
            }
            NoSnapshot::Failed(sentence) => sentence,
        };
        WorkError::Config { name: self.text.name.clone(), mistakes: sentence }
    }

    /// What the files are to be made to stand still by.
    pub(crate) fn standstill(&self) -> StandstillWanted<'_> {
        StandstillWanted {
            config: &self.config,
            scope: self.scope.clone(),
            enclosed: self.enclosed(),
            may_wait: !self.is_watched(),
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// What to do now; `None` while nothing is due or has settled.
    pub(crate) fn errand(&mut self, now: Instant) -> Option<Errand> {
        if self.is_stopped {
            return None;
        }
        if self.schedule.is_due(&self.config, now, week_time())
            && let Some(errand) = self.due()
        {
            return Some(errand);
        }
        self.logs.as_mut()?.due(now, &self.scope).map(Errand::Changes)
    }

    fn due(&mut self) -> Option<Errand> {
        let Some(watch) = &mut self.watch else { return Some(Errand::Point) };
        let is_bookmark = self.bookmarks.as_ref().is_some_and(|bookmarks| bookmarks.is_due());
        if self.schedule.is_asked() || is_bookmark {
            // All that was noticed so far is in it.
            watch.everything();
            watch.due();
            return Some(Errand::Point);
        }
        watch.due().map(Errand::Changes)
    }

    /// A capture is done.
    pub(crate) fn done(&mut self, began: Instant, outcome: &Outcome, is_point: bool) {
        self.try_again(outcome);
        if self.is_scheduled(is_point) {
            self.schedule.done(began);
        }
        self.told = outcome.is_up_to_date().then(Instant::now);
        self.stage = Stage::Changes;
        self.told_waiting = None;
        if let Some(bookmarks) = self.bookmarks.as_mut().filter(|_| is_point) {
            bookmarks.made();
        }
    }

    /// Whether a capture was the schedule's: logs come beside it, and change nothing about when the next point is made.
    pub(crate) fn is_scheduled(&self, is_point: bool) -> bool {
        is_point || self.is_watched()
    }

    /// Files that were locked are looked at again soon.
    fn try_again(&mut self, outcome: &Outcome) {
        if let Some(watch) = &mut self.watch {
            let locked = outcome.report().iter().filter(|line| line.kind == RemarkKind::Locked);
            watch.locked(locked.map(|line| line.path.0.to_vec()));
        }
    }

    /// Tells the box which point this computer remembers as the newest.
    pub(crate) fn remembers(&self, session: &Session) -> Result<(), WireError> {
        let told = Journal::open(&self.folder())
            .map_err(CaptureError::from)
            .and_then(|journal| session.remembers(&journal, self.text.config));
        match told {
            Err(CaptureError::Wire(error)) => Err(error),
            // The next capture says what's the matter with it.
            Err(error) => {
                tracing::debug!(%error, name = self.text.name, "what's remembered can't be told");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The box doesn't have the point that this computer remembers: what it has is compared with everything, as soon as that may be.
    pub(crate) fn recall(&mut self) {
        self.told = None;
        self.look_at_everything();
        self.capture_soon();
    }

    /// The box has lost something that no copy has. As soon as that may be, a capture is made, which is told what.
    pub(crate) fn resend(&mut self) {
        self.told = None;
        if let Some(watch) = &mut self.watch {
            watch.at_once();
        }
        self.capture_soon();
    }

    /// One that failed has its own pace, and what's captured on request alone waits for that.
    fn capture_soon(&mut self) {
        if self.failure.is_none() && self.config.when != When::Manual {
            self.schedule.interrupted(Instant::now());
        }
    }

    pub(crate) fn look_at_everything(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.everything();
        }
    }

    /// Tells the box, once over each line, what's left out on this computer, for whoever administers it.
    pub(crate) fn tell_exclusions(&mut self, session: &Session) -> Result<(), WireError> {
        if !self.told_exclusions {
            session.tell_exclusions(self.text.config, self.listed.told(&self.config))?;
            self.told_exclusions = true;
        }
        Ok(())
    }

    /// Tells the box now and then that a watched configuration is as its newest point has it. Only after a capture: what
    /// changed before the watch began is in none yet.
    pub(crate) fn tell_if_quiet(&mut self, session: &Session) -> Result<(), WireError> {
        let is_quiet = self.watch.as_ref().is_some_and(Watch::is_quiet);
        let is_time = self.told.is_some_and(|told| told.elapsed() >= TELL_EVERY);
        if is_quiet && is_time {
            session.up_to_date(self.text.config)?;
            self.told = Some(Instant::now());
        }
        Ok(())
    }

    /// Why it must wait now. What a person asked for doesn't.
    pub(crate) fn waiting(&self, guest: &Guest) -> Option<Waiting> {
        let waiting = guest.waiting(self.text.config, self.stage);
        waiting.filter(|_| !self.schedule.is_asked())
    }

    /// Tells the box why nothing comes, and when that's over.
    pub(crate) fn tell_if_waiting(&mut self, session: &Session, guest: &Guest) -> Result<(), WireError> {
        let is_manual = self.config.when == When::Manual && !self.schedule.is_asked();
        let waiting = self.waiting(guest).or(is_manual.then_some(Waiting::Asked));
        if waiting != self.told_waiting {
            let doing = waiting.map_or_else(String::new, |waiting| waiting.to_string());
            session.doing(self.text.config, &doing)?;
            self.told_waiting = waiting;
        }
        Ok(())
    }

    /// A capture failed, or ended well.
    pub(crate) fn failed(&mut self, why: Option<String>) {
        self.told_failure = self.told_failure && self.failure == why;
        self.failure = why;
    }

    /// Tells the box why captures fail, and when they no longer do.
    pub(crate) fn tell_failure(&mut self, session: &Session) -> Result<(), WireError> {
        if !self.told_failure {
            session.capture_failed(self.text.config, self.failure.as_deref().unwrap_or_default())?;
            self.told_failure = true;
        }
        Ok(())
    }

    /// When a capture must end because its window closes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
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

/// What's said of what's asked for and can't be on this computer: the box doesn't know which system that runs.
fn foreign(config: &BackupConfig) -> Option<String> {
    let system = platform::system_name();
    if config.system_state && !platform::HAS_SYSTEM_STATE {
        return Some(format!(
            "system_state asks for the registry and the system's own files, which this computer, which runs {system}, doesn't have; include the \
             folders that are meant, or take system_state out"
        ));
    }
    let path = config.asked().find(|path| platform::is_foreign(path))?;
    Some(format!(
        "\"{path}\" can't be a path of this computer, which runs {system}; correct it, or give this to another computer"
    ))
}

fn scope_id(config: &BackupConfig, listed: &ListedExclusions, found: &[FoundFiles]) -> [u8; 16] {
    let BackupConfig { exclude, automatic_exclusions, .. } = config;
    let include = included(config);
    let text = format!("{include:?}\n{exclude:?}\n{automatic_exclusions}\n{listed:?}\n{found:?}");
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_another_system_is_refused_with_a_sentence() {
        let of = |include: &str| foreign(&BackupConfig::parse(&format!("include = ['{include}']")).unwrap());
        let (own, other) = if cfg!(windows) { (r"C:\data", "/srv/data") } else { ("/srv/data", r"C:\data") };
        assert_eq!(of(own), None);
        let said = of(other).unwrap();
        assert!(said.starts_with(&format!("\"{other}\" can't be a path of this computer")), "{said}");
        let with_state = format!("include = ['{own}']\nsystem_state = true");
        let said = foreign(&BackupConfig::parse(&with_state).unwrap());
        assert_eq!(said.is_some(), !cfg!(windows), "{said:?}");
    }
}

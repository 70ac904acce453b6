//! Making files stand still for a capture: by a snapshot of their volumes, by waiting until nobody writes, or not at all.
//!
//! What was done decides what the point may claim to be. Whatever fails here is said in the point's report and never
//! keeps a capture from being made.

mod after;
mod commands;
mod enclosures;
mod named_files;
mod quiet;
mod stance;
mod view;
mod wanted;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coffer_format::entry::{Remark, RemarkKind};

pub use after::After;
pub use enclosures::Enclosures;
pub use named_files::NamedFiles;
pub use stance::Stance;
pub use view::View;
pub(crate) use wanted::{NoSnapshot, SnapshotWanted, StandstillWanted};

use crate::config::{OpenFiles, Quiet};
use crate::platform::{self, CAN_SNAPSHOT, Snapshot};
use after::failed;

/// What a point may claim of the instant that its files are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A snapshot that all applications had made ready for.
    Application,
    /// A snapshot.
    Snapshot,
    /// Nobody had written for a while.
    Quiet,
    /// Nothing: a second look must show that nothing moved.
    None,
}

/// Files that stand still, as far as they can be made to, until [`Standstill::end`].
pub(crate) struct Standstill {
    pub(crate) view: Arc<View>,
    pub(crate) claim: Claim,
    /// What a person should know of it.
    pub(crate) said: Vec<Remark>,
    pub(crate) enclosures: Option<Enclosures>,
    /// What applications count on that made ready.
    named: Vec<NamedFiles>,
    snapshot: Option<Snapshot>,
    after: After,
    /// Nothing was done this time: what was said of the applications' data before still holds.
    is_beside: bool,
}

impl Standstill {
    /// Nothing is done.
    pub(crate) fn none() -> Standstill {
        Standstill {
            view: Arc::default(),
            claim: Claim::None,
            said: Vec::new(),
            enclosures: None,
            named: Vec::new(),
            snapshot: None,
            after: After::default(),
            is_beside: true,
        }
    }

    /// Does what the configuration wants. Takes as long as a snapshot or the quiet may take; `stop` ends it, but for
    /// the command after, which undoes what the one before did.
    pub(crate) fn begin(wanted: &StandstillWanted<'_>, stop: &AtomicBool) -> Standstill {
        let mut standstill = Standstill::none();
        let database = wanted.config.database.as_ref();
        standstill.is_beside = false;
        standstill.after = After::new(database.and_then(|database| database.after.clone()));
        if let Some(before) = database.and_then(|database| database.before.as_deref()) {
            standstill.said.extend(failed("before", before, stop));
        }
        standstill.enclosures = wanted.enclosures();
        match wanted.config.open_files {
            OpenFiles::Snapshot => standstill.snapshot(wanted, stop),
            OpenFiles::Quiet(quiet) => standstill.wait_for(quiet, wanted, stop),
            OpenFiles::AsTheyAre => {}
        }
        standstill
    }

    /// What a capture stands on meanwhile.
    pub(crate) fn stance(&self) -> Stance<'_> {
        Stance {
            view: self.view.clone(),
            claim: self.claim,
            said: self.said.clone(),
            enclosures: self.enclosures.as_ref(),
            named: &self.named,
            after: Some(&self.after),
            is_beside: self.is_beside,
        }
    }

    fn snapshot(&mut self, wanted: &StandstillWanted<'_>, stop: &AtomicBool) {
        match platform::take_snapshot(&wanted.snapshot(), stop) {
            Ok(snapshot) => self.taken(snapshot, wanted),
            Err(NoSnapshot::NotHere) if !CAN_SNAPSHOT => {}
            Err(NoSnapshot::NotHere) => {
                tracing::debug!("this system has no snapshots; waiting until nobody writes");
                self.wait_for(Quiet::default(), wanted, stop);
            }
            Err(NoSnapshot::Failed(sentence)) => {
                self.say(RemarkKind::NoSnapshot, b"", format!("no snapshot could be taken: {sentence}"));
                self.wait_for(Quiet::default(), wanted, stop);
            }
        }
    }

    fn taken(&mut self, snapshot: Snapshot, wanted: &StandstillWanted<'_>) {
        let refusals = snapshot.refusals();
        // A command before it that failed was to make an application ready.
        let is_ready = refusals.is_empty() && self.said.is_empty();
        self.claim = if is_ready { Claim::Application } else { Claim::Snapshot };
        for (writer, sentence) in refusals {
            self.say(RemarkKind::Application, writer.as_bytes(), sentence);
        }
        for sentence in snapshot.live() {
            self.claim = Claim::None;
            self.say(RemarkKind::NoSnapshot, b"", format!("{sentence}; it's captured as it is"));
        }
        self.named = snapshot.named_files();
        let mut mounts = snapshot.mounts();
        if let Some(enclosures) = &mut self.enclosures {
            enclosures.enclose(snapshot.documents());
            mounts.push(enclosures.mount());
        }
        let view = View::with(mounts);
        if !wanted.scope.includes().all(|include| view.stands_still(include)) {
            self.claim = Claim::None;
        }
        self.view = Arc::new(view);
        self.snapshot = Some(snapshot);
        // The snapshot stands still; the files themselves may move again.
        self.said.extend(self.after.run());
    }

    fn wait_for(&mut self, quiet: Quiet, wanted: &StandstillWanted<'_>, stop: &AtomicBool) {
        if !wanted.may_wait || stop.load(Ordering::Relaxed) {
            return;
        }
        match quiet::wait(&wanted.scope, quiet, stop) {
            Ok(true) => self.claim = Claim::Quiet,
            Ok(false) => {
                let seconds = quiet.at_most.as_secs();
                self.say(
                    RemarkKind::NoSnapshot,
                    b"",
                    format!("was written to for {seconds} s without a pause, and captured meanwhile"),
                );
            }
            Err(error) => self.say(
                RemarkKind::NoSnapshot,
                b"",
                format!("nobody could tell whether it's quiet: {error}"),
            ),
        }
    }

    fn say(&mut self, kind: RemarkKind, path: &[u8], what: String) {
        tracing::warn!(path = %String::from_utf8_lossy(path), what);
        self.said.push(Remark { kind, path: path.into(), what });
    }

    /// Lets go. `is_durable`: the box has a point of all that the applications gave, which they're told.
    pub(crate) fn end(self, is_durable: bool) {
        // Where no point came, which is told: that's said in the log.
        self.after.run();
        if let Some(enclosures) = &self.enclosures {
            enclosures.clear();
        }
        for (writer, sentence) in
            self.snapshot.map(|snapshot| snapshot.finish(is_durable)).unwrap_or_default()
        {
            tracing::warn!(writer, sentence, "after the capture");
        }
    }
}

//! Restores that the help desk has asked computers for: at most one on each computer. While one is open its computer may have
//! what it names, whoever's that is, and nothing else of others.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard};

use coffer_format::wire::{Message, ReplaceRule, RestoreReport, RestoreState};
use coffer_format::{Blob, ComputerId, ConfigId, PointSeq};

/// Reports that wait for whoever asked. Of those on the way more are dropped, never the last.
const REPORTS_MAX: usize = 16;

/// What a computer is asked to restore.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) config: ConfigId,
    pub(crate) point: PointSeq,
    pub(crate) paths: Vec<Blob>,
    /// To the place where there's none.
    pub(crate) to: Option<String>,
    pub(crate) replace: ReplaceRule,
    pub(crate) ask_user: bool,
}

struct Open {
    job: u64,
    asking: Asking,
    reports: SyncSender<RestoreReport>,
    /// Lines of what the box itself couldn't give.
    left_out: u64,
}

#[derive(Default)]
struct Jobs {
    last: u64,
    open: BTreeMap<ComputerId, Open>,
}

/// Every open one.
#[derive(Default)]
pub(crate) struct RestoreJobs(Mutex<Jobs>);

/// One open job; it's closed when this goes.
pub(crate) struct OpenJob<'a> {
    jobs: &'a RestoreJobs,
    computer: ComputerId,
    pub(crate) job: u64,
    pub(crate) reports: Receiver<RestoreReport>,
}

impl RestoreJobs {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().expect("nothing panics while it notes a restore")
    }

    /// `None` where one is open already. Numbers grow with the clock, so that a box that was restarted gives none twice.
    pub(crate) fn open(&self, computer: ComputerId, now_ms: u64, asking: Asking) -> Option<OpenJob<'_>> {
        let mut jobs = self.jobs();
        if jobs.open.contains_key(&computer) {
            return None;
        }
        let job = now_ms.max(jobs.last + 1);
        jobs.last = job;
        let (sender, reports) = sync_channel(REPORTS_MAX);
        jobs.open.insert(computer, Open { job, asking, reports: sender, left_out: 0 });
        Some(OpenJob { jobs: self, computer, job, reports })
    }

    /// What the computer is asked, if anything.
    pub(crate) fn open_on(&self, computer: ComputerId) -> Option<Message> {
        let jobs = self.jobs();
        let Open { job, asking, .. } = jobs.open.get(&computer)?;
        let Asking { config, point, paths, to, replace, ask_user } = asking.clone();
        let to = to.map(|to| to.into_bytes().into());
        Some(Message::RestoreAsked { job: *job, config, point, paths, to, replace, ask_user })
    }

    /// Whether an open job names exactly this.
    pub(crate) fn allows(
        &self,
        computer: ComputerId,
        config: ConfigId,
        point: PointSeq,
        paths: &[Blob],
    ) -> bool {
        self.jobs().open.get(&computer).is_some_and(|open| {
            let asking = &open.asking;
            (asking.config, asking.point, &asking.paths[..]) == (config, point, paths)
        })
    }

    /// Notes how much the box couldn't give a computer that it has asked.
    pub(crate) fn left_out(&self, computer: ComputerId, lines: u64) {
        if let Some(open) = self.jobs().open.get_mut(&computer) {
            open.left_out = lines;
        }
    }

    /// Passes a report on; false where nobody waits for it.
    pub(crate) fn reported(&self, computer: ComputerId, report: RestoreReport) -> bool {
        let jobs = self.jobs();
        let Some(open) = jobs.open.get(&computer).filter(|open| open.job == report.job) else { return false };
        let reports = open.reports.clone();
        drop(jobs);
        if report.state == RestoreState::Begun {
            // Another one follows.
            drop(reports.try_send(report));
            return true;
        }
        reports.send(report).is_ok()
    }
}

impl OpenJob<'_> {
    /// Lines of what the box itself couldn't give.
    pub(crate) fn left_out(&self) -> u64 {
        self.jobs.jobs().open.get(&self.computer).map_or(0, |open| open.left_out)
    }
}

impl Drop for OpenJob<'_> {
    fn drop(&mut self) {
        self.jobs.jobs().open.remove(&self.computer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_may_have_what_its_open_job_names_and_nothing_else() {
        let jobs = RestoreJobs::default();
        let (mine, other) = (ComputerId(1), ComputerId(2));
        let paths = vec![Blob(b"a".to_vec())];
        let asking = Asking {
            config: ConfigId(7),
            point: PointSeq(3),
            paths: paths.clone(),
            to: None,
            replace: ReplaceRule::Changed,
            ask_user: false,
        };
        let is_allowed = |computer, config, point, paths: &[Blob]| {
            jobs.allows(computer, ConfigId(config), PointSeq(point), paths)
        };
        assert!(!is_allowed(mine, 7, 3, &paths));
        let open = jobs.open(mine, 100, asking.clone()).unwrap();
        assert!(is_allowed(mine, 7, 3, &paths));
        assert!(!is_allowed(other, 7, 3, &paths) && !is_allowed(mine, 8, 3, &paths));
        assert!(!is_allowed(mine, 7, 2, &paths) && !is_allowed(mine, 7, 3, &[]));
        assert!(jobs.open(mine, 100, asking.clone()).is_none());
        let first = open.job;
        drop(open);
        assert!(!is_allowed(mine, 7, 3, &paths));
        assert!(jobs.open(mine, 100, asking).unwrap().job > first);
    }
}

//! What the box is told of a restore.

use coffer_format::entry::ReportLine;
use coffer_format::limits::REPORT_LINES_MAX;
use coffer_format::wire::{RestoreReport, RestoreState};

use crate::restore::{AT_RESTART, Restored};

/// Most bytes of paths and sentences: half of what a frame holds.
const LINES_BYTES_MAX: usize = 4 << 20;

/// How far it is.
pub(super) fn begun(job: u64, so_far: &Restored, sentence: &str) -> RestoreReport {
    let (files, bytes, at_restart) = (so_far.files, so_far.bytes, so_far.at_restart.len() as u64);
    let (state, sentence) = (RestoreState::Begun, sentence.to_owned());
    RestoreReport { job, state, files, bytes, at_restart, lacking: Vec::new(), sentence }
}

/// What it came to. Where there's too much to say, the rest is counted in one last line.
pub(super) fn ended(job: u64, state: RestoreState, restored: &Restored, sentence: &str) -> RestoreReport {
    let worse =
        restored.left_out.iter().chain(&restored.lacking).map(|(path, what)| (path, what.as_str(), 0));
    let later = restored.at_restart.iter().map(|path| (path, AT_RESTART, 1));
    let all = restored.left_out.len() + restored.lacking.len() + restored.at_restart.len();
    let (mut lacking, mut at_restart, mut bytes) = (Vec::new(), 0, 0);
    for (path, what, is_later) in worse.chain(later) {
        bytes += path.len() + what.len();
        if lacking.len() == REPORT_LINES_MAX - 1 || bytes > LINES_BYTES_MAX {
            let what = format!("{} more are named in the agent's log", all - lacking.len());
            lacking.push(ReportLine { path: b""[..].into(), what });
            break;
        }
        at_restart += is_later;
        lacking.push(ReportLine { path: path[..].into(), what: what.to_owned() });
    }
    let (files, bytes, sentence) = (restored.files, restored.bytes, sentence.to_owned());
    RestoreReport { job, state, files, bytes, at_restart, lacking, sentence }
}

/// Everything that there's to say, for this computer's own log.
pub(super) fn log(job: u64, report: &RestoreReport, restored: &Restored) {
    let (files, bytes, lacking) = (restored.files, restored.bytes, restored.lacking.len());
    let at_restart = restored.at_restart.len();
    match report.state {
        RestoreState::Refused => tracing::warn!(job, files, bytes, "not restored: {}", report.sentence),
        _ => tracing::info!(job, files, bytes, at_restart, lacking, "restored"),
    }
    for (path, what) in restored.left_out.iter().chain(&restored.lacking) {
        tracing::warn!(job, path = %String::from_utf8_lossy(path), "{what}");
    }
    for path in &restored.at_restart {
        tracing::warn!(job, path = %String::from_utf8_lossy(path), "{AT_RESTART}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_bounded_and_says_how_much_it_leaves_out() {
        let path = |number: usize| format!("{number}").into_bytes();
        let restored = Restored {
            lacking: (0..20).map(|number| (path(number), "is missing".to_owned())).collect(),
            at_restart: (0..5000).map(path).collect(),
            ..Restored::default()
        };
        let report = ended(1, RestoreState::Done, &restored, "");
        assert_eq!(report.lacking.len(), REPORT_LINES_MAX);
        assert_eq!(report.lacking.len() as u64 - report.at_restart, 21);
        assert_eq!(report.lacking[REPORT_LINES_MAX - 1].what, "4021 more are named in the agent's log");
        let few = Restored { lacking: Vec::new(), at_restart: vec![path(1)], ..restored };
        let report = ended(1, RestoreState::Done, &few, "");
        assert_eq!((report.lacking.len(), report.at_restart), (1, 1));
    }
}

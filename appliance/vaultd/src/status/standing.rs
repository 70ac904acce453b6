//! How a configuration stands: what a restore of its newest point would give, and how old that is.

use coffer_vault::browse::Point;
use serde::Serialize;

/// A configuration whose newest point is older than this is stale.
pub(super) const STALE_MS: u64 = 24 * 3_600_000;
/// A point that lies in the future by more than this tells of a clock that was wrong.
const FUTURE_MS: u64 = 5 * 60_000;

/// One word for a configuration, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The computer was revoked: nothing of it is captured any more.
    Revoked,
    /// No point is whole yet.
    Initial,
    /// The computer says that its captures fail, or the box takes nothing in.
    Failing,
    /// The newest point lacks something that was asked for, or holds nothing.
    Incomplete,
    /// The newest point is too old, or its age isn't known.
    Stale,
    /// The newest point holds all that was asked for.
    Protected,
}

impl Standing {
    /// As screens show it.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Revoked => "revoked",
            Standing::Initial => "initial",
            Standing::Failing => "failing",
            Standing::Incomplete => "incomplete",
            Standing::Stale => "stale",
            Standing::Protected => "protected",
        }
    }
}

/// What the points of a configuration tell. Times are milliseconds since 1970-01-01 UTC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) standing: Standing,
    /// Age of what is protected; none where it isn't known.
    pub(super) at_risk_ms: Option<u64>,
    /// What is wrong, to be put after the names of computer and configuration.
    pub(super) why: Option<String>,
}

/// What is known of a configuration besides its newest point.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Whether the newest point holds any file.
    pub(super) holds_files: bool,
    /// When the agent last found nothing new.
    pub(super) looked_ms: Option<u64>,
    /// Why captures fail.
    pub(super) failure: Option<&'a str>,
    /// Whether the box takes nothing in, which it says once for all.
    pub(super) is_shut: bool,
    /// The newest point's first remark.
    pub(super) remark: Option<&'a str>,
    /// Files of the newest point that can't be restored, from here or from a copy.
    pub(super) lost: u64,
    /// Those that can't be restored from this disk until they come back from a copy.
    pub(super) damaged: u64,
    /// Files of the newest point that are only on tapes which can't be read now.
    pub(super) unread: u64,
    /// Whether metadata from before the newest point is missing.
    pub(super) is_doubtful: bool,
    /// Whether metadata is missing that may have newer points.
    pub(super) lacks_newer: bool,
}

pub(super) fn judge(newest: Option<&Point>, known: Known<'_>, now_ms: u64) -> Judged {
    let Known {
        holds_files,
        looked_ms,
        failure,
        is_shut,
        remark,
        lost,
        damaged,
        unread,
        is_doubtful,
        lacks_newer,
    } = known;
    let fails = failure.is_some() || is_shut;
    let Some(newest) = newest else {
        let standing = if fails { Standing::Failing } else { Standing::Initial };
        return Judged { standing, at_risk_ms: None, why: None };
    };
    let is_future = newest.closed_ms > now_ms + FUTURE_MS;
    let protected_ms = newest.closed_ms.max(looked_ms.unwrap_or(0));
    // Where no file was ever held, nothing was protected since.
    let at_risk_ms = (!is_future && holds_files).then(|| now_ms.saturating_sub(protected_ms));
    let incomplete = cannot_be_restored(newest, lost)
        .or_else(|| are_on_unread(newest, unread))
        .or_else(|| come_back(newest, damaged))
        .or_else(|| is_doubtful.then(|| may_be_older(newest)))
        .or_else(|| lacks_newer.then(|| may_have_newer(newest)))
        .or_else(|| lacks(newest, holds_files, remark));
    let standing = match () {
        () if fails => Standing::Failing,
        () if incomplete.is_some() => Standing::Incomplete,
        () if at_risk_ms.is_none_or(|age| age > STALE_MS) => Standing::Stale,
        () => Standing::Protected,
    };
    let why = incomplete.or_else(|| {
        is_future.then(|| {
            format!(
                "restore point {} lies in the future, so its age isn't known: a clock was wrong. Check the box's clock and capture again",
                newest.point
            )
        })
    });
    Judged { standing, at_risk_ms, why }
}

/// What of the newest point is lost.
fn cannot_be_restored(newest: &Point, lost: u64) -> Option<String> {
    (lost > 0).then(|| {
        format!(
            "{lost} files of restore point {} can't be restored, from here or from a copy: their computer is asked for them as \
             soon as it may capture",
            newest.point
        )
    })
}

/// What of the newest point is on tapes that can't be read.
fn are_on_unread(newest: &Point, unread: u64) -> Option<String> {
    (unread > 0).then(|| {
        format!(
            "{unread} files of restore point {} are only on tapes that couldn't be read when they were needed, so they can't be restored now",
            newest.point
        )
    })
}

/// What of the newest point is damaged and comes back.
fn come_back(newest: &Point, damaged: u64) -> Option<String> {
    (damaged > 0).then(|| {
        format!(
            "{damaged} files of restore point {} can't be restored from this disk until they come back from their copies, which the box asks by itself",
            newest.point
        )
    })
}

fn may_be_older(newest: &Point) -> String {
    format!(
        "metadata from before restore point {} is missing on the box: what the point shows may be older, or lack files. The box asks its copies \
         for it",
        newest.point
    )
}

fn may_have_newer(newest: &Point) -> String {
    format!(
        "metadata is missing on the box that may be of restore points after {}: the computer compares everything at its next capture",
        newest.point
    )
}

/// What the newest point lacks.
fn lacks(newest: &Point, holds_files: bool, remark: Option<&str>) -> Option<String> {
    let point = newest.point;
    let first = remark.unwrap_or("`coffer report` shows what, and why");
    match (newest.report_lines, holds_files) {
        (1, _) => Some(format!("restore point {point} lacks something: {first}")),
        (lines @ 2.., _) => Some(format!(
            "restore point {point} lacks something ({lines} remarks, all of them in `coffer report`): {first}"
        )),
        (0, false) => {
            Some(format!("restore point {point} holds no file at all: check what the configuration includes"))
        }
        (0, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_000 * HOUR_MS;

    fn point(report_lines: u64, closed_ms: u64) -> Point {
        Point {
            config: 1,
            point: 7,
            closed_ms,
            captured_ms: closed_ms,
            consistency: "crash",
            files: 1,
            bytes: 1,
            sent: 1,
            stored: 1,
            report_lines,
            read_back_ms: None,
        }
    }

    const WHOLE: Known<'_> = Known {
        holds_files: true,
        looked_ms: None,
        failure: None,
        is_shut: false,
        remark: None,
        lost: 0,
        damaged: 0,
        unread: 0,
        is_doubtful: false,
        lacks_newer: false,
    };

    #[test]
    fn protected_is_only_what_is_whole_and_fresh() {
        let fresh = NOW_MS - HOUR_MS;
        let standing = |point: &Point, known| judge(Some(point), known, NOW_MS).standing;
        assert_eq!(judge(None, WHOLE, NOW_MS).standing, Standing::Initial);
        assert_eq!(standing(&point(0, fresh), WHOLE), Standing::Protected);
        assert_eq!(standing(&point(0, fresh), Known::default()), Standing::Incomplete);
        assert_eq!(standing(&point(2, fresh), WHOLE), Standing::Incomplete);
        assert_eq!(standing(&point(0, NOW_MS - 25 * HOUR_MS), WHOLE), Standing::Stale);
        assert_eq!(standing(&point(0, fresh), Known { lost: 1, ..WHOLE }), Standing::Incomplete);
        assert_eq!(standing(&point(0, fresh), Known { unread: 1, ..WHOLE }), Standing::Incomplete);
        assert_eq!(standing(&point(0, fresh), Known { is_doubtful: true, ..WHOLE }), Standing::Incomplete);
        assert_eq!(standing(&point(0, fresh), Known { lacks_newer: true, ..WHOLE }), Standing::Incomplete);
        assert_eq!(standing(&point(0, fresh), Known { damaged: 1, ..WHOLE }), Standing::Incomplete);
        let failing = Known { failure: Some("can't be read"), ..WHOLE };
        assert_eq!(standing(&point(0, fresh), failing), Standing::Failing);
        assert_eq!(standing(&point(0, fresh), Known { is_shut: true, ..WHOLE }), Standing::Failing);
    }

    #[test]
    fn an_agent_that_finds_nothing_new_keeps_a_point_fresh() {
        let known = Known { looked_ms: Some(NOW_MS - HOUR_MS), ..WHOLE };
        let judged = judge(Some(&point(0, NOW_MS - 100 * HOUR_MS)), known, NOW_MS);
        assert_eq!((judged.standing, judged.at_risk_ms), (Standing::Protected, Some(HOUR_MS)));
    }

    #[test]
    fn a_point_from_the_future_has_no_age() {
        let judged = judge(Some(&point(0, NOW_MS + HOUR_MS)), WHOLE, NOW_MS);
        assert_eq!((judged.standing, judged.at_risk_ms), (Standing::Stale, None));
        assert!(judged.why.unwrap().contains("in the future"));
    }
}

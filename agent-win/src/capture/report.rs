//! What a person should know of a capture: bounded, one line per path, the last word counts.

use std::collections::BTreeMap;
use std::io;

use coffer_format::entry::ReportLine;
use coffer_format::limits::REPORT_LINES_MAX;
use coffer_format::node::Attr;

use crate::platform::{POWERFUL_USER, is_locked};
use crate::scan::Attrs;

/// What's said of a file that somebody keeps to themselves.
pub(crate) const LOCKED: &str = "is locked by a program that uses it; the next point tries again";

/// Lines gathered in a pass.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: BTreeMap<Vec<u8>, String>,
    omitted: u64,
}

impl Report {
    pub(super) fn add(&mut self, path: &[u8], what: impl Into<String>) {
        if self.lines.len() < REPORT_LINES_MAX - 1 || self.lines.contains_key(path) {
            self.lines.insert(path.to_vec(), what.into());
        } else {
            self.omitted += 1;
        }
    }

    /// Takes what there is of attributes, and says what's lacking.
    pub(super) fn attrs(&mut self, path: &[u8], attrs: Attrs) -> Vec<Attr> {
        if let Some(first) = attrs.lacking.into_iter().next() {
            self.add(path, first);
        }
        attrs.list
    }

    /// Says why something couldn't be read.
    pub(super) fn unreadable(&mut self, path: &[u8], error: &io::Error) {
        self.add(path, sentence(error));
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.omitted = 0;
    }

    pub(super) fn lines(&self) -> Vec<ReportLine> {
        let line =
            |(path, what): (&Vec<u8>, &String)| ReportLine { path: path[..].into(), what: what.clone() };
        let mut lines: Vec<ReportLine> = self.lines.iter().map(line).collect();
        if self.omitted > 0 {
            let what = format!("{} more like these", self.omitted);
            lines.push(ReportLine { path: b""[..].into(), what });
        }
        lines
    }
}

fn sentence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "vanished before it could be read".to_owned(),
        _ if is_locked(error) => LOCKED.to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("may not be read; run the agent as {POWERFUL_USER} or allow it")
        }
        io::ErrorKind::Unsupported => format!("isn't captured: {error}"),
        _ => format!("can't be read ({error}); check the disk"),
    }
}

//! What a person should know of a capture: bounded, one line per path, the last word counts.

use std::collections::BTreeMap;
use std::io;

use coffer_format::entry::{Remark, RemarkKind};
use coffer_format::limits::REPORT_LINES_MAX;
use coffer_format::node::Attr;

use crate::platform::{POWERFUL_USER, is_locked};
use crate::scan::{Attrs, is_elsewhere};

/// What's said of a path.
pub(super) type Said = (RemarkKind, String);

/// Lines gathered in a pass.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: BTreeMap<Vec<u8>, Said>,
    omitted: u64,
    /// Files whose bytes lie elsewhere: there may be very many, and one line says it of all.
    elsewhere: Option<(Vec<u8>, u64)>,
}

impl Report {
    pub(super) fn add(&mut self, kind: RemarkKind, path: &[u8], what: impl Into<String>) {
        if self.lines.len() < REPORT_LINES_MAX - 1 || self.lines.contains_key(path) {
            self.lines.insert(path.to_vec(), (kind, what.into()));
        } else {
            self.omitted += 1;
        }
    }

    /// Adds something that isn't there though it was asked for: that's said however much else there is; another line gives way.
    pub(super) fn add_missing(&mut self, path: &[u8], what: impl Into<String>) {
        let is_full = self.lines.len() >= REPORT_LINES_MAX - 1 && !self.lines.contains_key(path);
        if is_full && self.lines.pop_last().is_some() {
            self.omitted += 1;
        }
        self.lines.insert(path.to_vec(), (RemarkKind::Missing, what.into()));
    }

    /// Takes what there is of attributes, and says what's lacking.
    pub(super) fn attrs(&mut self, path: &[u8], attrs: Attrs) -> Vec<Attr> {
        if let Some(first) = attrs.lacking.into_iter().next() {
            self.add(RemarkKind::Partial, path, first);
        }
        attrs.list
    }

    /// Says why something couldn't be read.
    pub(super) fn unreadable(&mut self, path: &[u8], error: &io::Error) {
        if !is_elsewhere(error) {
            let (kind, what) = sentence(error);
            return self.add(kind, path, what);
        }
        let (first, more) = self.elsewhere.get_or_insert_with(|| (path.to_vec(), 0));
        *more += u64::from(first != path);
        let (first, more) = (first.clone(), *more);
        let what = match more {
            0 => sentence(error).1,
            more => format!("{}; so it is with {more} others", sentence(error).1),
        };
        self.add(RemarkKind::Elsewhere, &first, what);
    }

    /// What was said of a path doesn't hold any more.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.lines.remove(path);
    }

    pub(super) fn said_of(&self, path: &[u8]) -> Option<Said> {
        self.lines.get(path).cloned()
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.omitted = 0;
        self.elsewhere = None;
    }

    pub(super) fn lines(&self) -> Vec<Remark> {
        let line = |(path, (kind, what)): (&Vec<u8>, &Said)| Remark {
            kind: *kind,
            path: path[..].into(),
            what: what.clone(),
        };
        let mut lines: Vec<Remark> = self.lines.iter().map(line).collect();
        if self.omitted > 0 {
            let what = format!("{} more like these", self.omitted);
            lines.push(Remark { kind: RemarkKind::More, path: b""[..].into(), what });
        }
        lines
    }
}

fn sentence(error: &io::Error) -> Said {
    let unread = |what: String| (RemarkKind::Unread, what);
    match error.kind() {
        io::ErrorKind::InvalidFilename => unread(
            "its path is longer than the system can open; move it nearer to the top, or give the folders above it shorter names".to_owned(),
        ),
        io::ErrorKind::NotFound => unread("vanished before it could be read".to_owned()),
        _ if is_locked(error) => {
            (RemarkKind::Locked, "is locked by a program that uses it; the next point tries again".to_owned())
        }
        io::ErrorKind::PermissionDenied => {
            unread(format!("may not be read; run the agent as {POWERFUL_USER} or allow it"))
        }
        io::ErrorKind::Unsupported => unread(format!("isn't captured: {error}")),
        _ => unread(format!("can't be read ({error}); check the disk")),
    }
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;
    use crate::scan::Elsewhere;

    fn elsewhere() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, Elsewhere)
    }

    #[test]
    fn however_many_files_lie_in_a_cloud_one_line_says_it() {
        let mut report = Report::default();
        for number in 0..5000 {
            report.unreadable(format!("/C:/cloud/{number}").as_bytes(), &elsewhere());
        }
        report.unreadable(b"/C:/other", &io::ErrorKind::NotFound.into());
        let lines = report.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(&lines[0].path.0[..], b"/C:/cloud/0");
        assert!(lines[0].what.ends_with("so it is with 4999 others"), "{}", lines[0].what);
        report.clear();
        report.unreadable(b"/C:/cloud/7", &elsewhere());
        assert!(!report.lines()[0].what.contains("others"));
    }
}

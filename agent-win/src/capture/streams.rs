//! Streams that are too large to lie with their file: each is a file node of its own beside it, called `file:stream`, which no
//! other name can be where files have streams. It's cut and compared like any file. Its file is what's listed, so it's looked
//! at whenever that's looked at as changed; its name goes with the file's name.

use std::collections::{HashMap, HashSet};

use coffer_format::NodeId;
use coffer_format::entry::RemarkKind;
use coffer_format::node::{Attr, AttrKind, NodeKind};
use coffer_format::op::Name;

use super::CaptureError;
use super::file_task::FileTask;
use super::pass::Pass;
use crate::journal::{JournalChange, Known, Settled};
use crate::platform::{HAS_STREAMS, SourceFile};
use crate::scan::Stat;

/// Between the file's name and the stream's.
const COLON: u8 = b':';

/// The file that streams belong to, under the name that it was looked at by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) directory: NodeId,
    pub(super) path: &'a [u8],
    pub(super) node: NodeId,
}

/// Names that this look gave to streams or took back: the journal learns of them only once the box has committed.
#[derive(Debug, Default)]
pub(super) struct StreamNames(HashMap<(NodeId, Vec<u8>), Option<NodeId>>);

type Result<T> = std::result::Result<T, CaptureError>;

/// Whether a name of a directory stands for a stream of one of its files.
pub(super) fn is_stream(name: &[u8]) -> bool {
    HAS_STREAMS && host_of(name).is_some()
}

/// The file that a stream's name (or path) belongs to.
pub(super) fn host_of(name: &[u8]) -> Option<&[u8]> {
    let start = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let colon = name[start..].iter().position(|byte| *byte == COLON)?;
    // `C:` is a drive.
    (colon > 0 && start + colon + 1 < name.len()).then(|| &name[..start + colon])
}

/// What says of a node that it's a stream, on whatever system it is restored.
pub(super) fn mark(path: &[u8]) -> Vec<Attr> {
    let name = host_of(path).map_or(path, |host| &path[host.len() + 1..]);
    vec![Attr { kind: AttrKind::NtStream, name: name.into(), value: b""[..].into() }]
}

impl Pass<'_> {
    /// A file was looked at: these are its large streams now.
    pub(super) fn streams(&mut self, host: Host<'_>, found: Vec<Vec<u8>>) -> Result<()> {
        if !HAS_STREAMS {
            return Ok(());
        }
        let Some((_, name)) = crate::path::split(host.path) else { return Ok(()) };
        let found: HashSet<Vec<u8>> = found.iter().map(|stream| beside(name, stream)).collect();
        for gone in self.streams_named(host.directory, name)? {
            if !found.contains(&gone) {
                self.take_stream_back(host.directory, &gone)?;
            }
        }
        for stream in found {
            self.stream(host, name, &stream)?;
        }
        Ok(())
    }

    /// A name of a file is gone, and those of its streams with it.
    pub(super) fn take_streams_back(&mut self, directory: NodeId, file: &[u8]) -> Result<()> {
        if !HAS_STREAMS {
            return Ok(());
        }
        for name in self.streams_named(directory, file)? {
            self.take_stream_back(directory, &name)?;
        }
        Ok(())
    }

    /// Something of a stream isn't as the box should have it: its file is looked at again the next time.
    pub(super) fn distrust_host(&mut self, host: NodeId) -> Result<()> {
        self.reading.outlet.note(JournalChange::Distrust { node: host })
    }

    fn stream(&mut self, host: Host<'_>, file: &[u8], stream: &[u8]) -> Result<()> {
        let path = beside(host.path, &stream[file.len() + 1..]);
        let Ok(name) = Name::new(stream) else {
            let what = "has a stream with a name that's too long to be kept; rename the stream";
            self.reading.report.add(RemarkKind::Partial, host.path, what);
            return Ok(());
        };
        let stat = match SourceFile::open_stream(&self.reading.view.at(&path)).and_then(|one| one.stat()) {
            Ok(stat) => stat,
            Err(error) => {
                self.reading.report.unreadable(host.path, &error);
                return self.distrust_host(host.node);
            }
        };
        let (known, link) = match self.named_stream(host.directory, stream)? {
            Some(known) => (Some(known), None),
            None => {
                let moved = self.stream_elsewhere(host, file, stream)?;
                if let Some(known) = &moved {
                    self.reading.outlet.link(host.directory, name.clone(), known.node)?;
                    self.stream_names.set(host.directory, stream, Some(known.node));
                }
                let link = moved.is_none().then_some((host.directory, name));
                (moved, link)
            }
        };
        self.read_stream(host, path, stat, known, link)
    }

    fn read_stream(
        &mut self,
        host: Host<'_>,
        path: Vec<u8>,
        stat: Stat,
        known: Option<Known>,
        link: Option<(NodeId, Name)>,
    ) -> Result<()> {
        if known.as_ref().is_some_and(|known| is_as_it_was(known, &stat)) {
            return Ok(());
        }
        let node = match &known {
            Some(known) => known.node,
            None => self.allocate(),
        };
        if let Some((directory, name)) = &link {
            self.stream_names.set(*directory, name.as_bytes(), Some(node));
        }
        let directory = host.directory;
        self.read_or_defer(FileTask {
            path,
            node,
            stat,
            known,
            link,
            had: None,
            directory,
            host: Some(host.node),
        })
    }

    /// What the box has under a stream's name.
    fn named_stream(&self, directory: NodeId, name: &[u8]) -> Result<Option<Known>> {
        match self.stream_names.get(directory, name) {
            Some(None) => Ok(None),
            Some(Some(node)) => Ok(self.reading.journal.node(node)?),
            None => Ok(self.reading.journal.child(directory, name)?),
        }
    }

    /// The same stream beside another name of its file: that was renamed, or has several names.
    fn stream_elsewhere(&self, host: Host<'_>, file: &[u8], stream: &[u8]) -> Result<Option<Known>> {
        for (directory, name) in self.reading.journal.names(host.node)? {
            let there = [name.as_bytes(), &stream[file.len()..]].concat();
            if let Some(known) = self.reading.journal.child(directory, &there)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Names of all streams of a file that the box has.
    fn streams_named(&self, directory: NodeId, file: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut names = self.reading.journal.names_from(directory, &beside(file, b""))?;
        names.retain(|name| self.stream_names.get(directory, name) != Some(None));
        Ok(names)
    }

    fn take_stream_back(&mut self, directory: NodeId, name: &[u8]) -> Result<()> {
        let Ok(stream) = Name::new(name) else { return Ok(()) };
        self.stream_names.set(directory, name, None);
        self.reading.outlet.unlink(directory, stream)
    }
}

impl StreamNames {
    fn get(&self, directory: NodeId, name: &[u8]) -> Option<Option<NodeId>> {
        self.0.get(&(directory, name.to_vec())).copied()
    }

    fn set(&mut self, directory: NodeId, name: &[u8], node: Option<NodeId>) {
        self.0.insert((directory, name.to_vec()), node);
    }

    /// The journal knows all of them by now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn beside(file: &[u8], stream: &[u8]) -> Vec<u8> {
    [file, &[COLON], stream].concat()
}

/// A file's times cover its streams: those that the box has whole, under the same times, needn't be read.
fn is_as_it_was(known: &Known, stat: &Stat) -> bool {
    known.settled == Settled::Whole
        && known.done.is_none()
        && known.stat.kind == NodeKind::File
        && !known.stat.bytes_differ(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_belongs_to_the_file_before_the_colon() {
        assert_eq!(host_of(b"f.txt:s"), Some(&b"f.txt"[..]));
        assert_eq!(host_of(b"/C:/a/f.txt:s:t"), Some(&b"/C:/a/f.txt"[..]));
        for none in [&b"f.txt"[..], b"/C:/a/f.txt", b"/C:", b"C:", b":s"] {
            assert_eq!(host_of(none), None, "{none:?}");
        }
        assert_eq!(is_stream(b"f:s"), cfg!(windows), "elsewhere a colon is a letter like any other");
        assert_eq!(&mark(b"/C:/a/f.txt:s")[0].name[..], b"s");
    }

    #[test]
    fn what_this_look_did_counts_before_what_the_journal_knows() {
        let mut names = StreamNames::default();
        assert_eq!(names.get(NodeId(1), b"f:s"), None);
        names.set(NodeId(1), b"f:s", None);
        names.set(NodeId(1), b"g:s", Some(NodeId(7)));
        assert_eq!(names.get(NodeId(1), b"f:s"), Some(None));
        assert_eq!(names.get(NodeId(1), b"g:s"), Some(Some(NodeId(7))));
        names.clear();
        assert_eq!((names.get(NodeId(1), b"g:s"), names.len()), (None, 0));
    }
}

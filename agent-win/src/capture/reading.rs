//! Reading one file: how it's cut, what the box has of it already, and whether it held still meanwhile.

use std::io;
use std::sync::Arc;

use coffer_format::limits::FILE_SIZE_MAX;
use coffer_format::manifest::Range;
use coffer_format::node::{Attr, NodeMeta};
use coffer_format::op::Name;
use coffer_format::segment::Stream;
use coffer_format::{NodeId, chunk_id};

use super::file_task::FileTask;
use super::item::{Memorize, Put, Said};
use super::outlet::Outlet;
use super::report::Report;
use super::streams::mark;
use super::{CaptureError, Progress};
use crate::changes::{ByteRun, Hints};
use crate::config::Scope;
use crate::cut::{Looks, PAGES_FROM, Style, Ticket, WHOLE_MAX, style_of};
use crate::journal::{
    ChangedPages, JournalChange, JournalReader, Known, Memory, MemoryKind, Remembered, Settled, attrs_hash,
};
use crate::platform::{SourceFile, TIMES_TELL_WRITES, attrs_of_file, is_gone, stat_path};
use crate::scan::Stat;
use crate::standstill::View;

/// Times on files are this coarse: a change so soon after another may leave no trace.
const CLOCK_GRAIN_NS: i64 = 20_000_000;
/// Bytes read at a time where a file is cut by its content.
pub(super) const WINDOW: usize = 1 << 20;

/// What's said of a file that's larger than a version can be, which only one with holes is.
const TOO_LARGE: &str = "its size is said to be more than 64 PiB; if nothing needs it to be that large, make it smaller, or exclude it";

/// What came of reading a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileRead {
    Unchanged,
    Changed,
    /// It changed while it was read.
    Torn,
    /// Another file was there than the one that was listed: nothing was sent.
    Replaced,
    Failed,
    /// It isn't there any more.
    Vanished,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the file can't be read")]
    Source(#[from] io::Error),
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// The reading side's tools.
pub(super) struct Reading<'a> {
    pub(super) outlet: Outlet<'a>,
    pub(super) journal: JournalReader,
    pub(super) chunk_key: [u8; 32],
    pub(super) scope: &'a Scope,
    pub(super) view: Arc<View>,
    pub(super) hints: &'a Hints,
    pub(super) progress: &'a Progress,
    pub(super) report: Report,
    pub(super) buffer: Vec<u8>,
    /// Where set, files stay open after they were read (see `sqlite_hold`).
    pub(super) kept_open: Option<Vec<SourceFile>>,
    link: Option<(NodeId, Name)>,
    pub(super) ticket: Option<Ticket>,
    /// Large streams of the file that was read last; `None` where it couldn't be asked for them.
    pub(super) large_streams: Option<Vec<Vec<u8>>>,
}

/// What reading a whole file came to.
pub(super) struct Content {
    pub(super) ticket: Option<Ticket>,
    pub(super) size: u64,
    pub(super) said: Said,
    pub(super) ranges: Vec<Range>,
    pub(super) memorize: Memorize,
    pub(super) memory: MemoryKind,
    /// Only what the system says has changed was read.
    pub(super) is_as_told: bool,
    /// It goes on where an earlier capture was broken off.
    pub(super) is_resumed: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        outlet: Outlet<'a>,
        journal: JournalReader,
        chunk_key: [u8; 32],
        (scope, view, hints): (&'a Scope, Arc<View>, &'a Hints),
        progress: &'a Progress,
    ) -> Reading<'a> {
        let (report, buffer) = (Report::default(), Vec::new());
        Reading {
            outlet,
            journal,
            chunk_key,
            scope,
            view,
            hints,
            progress,
            report,
            buffer,
            kept_open: None,
            link: None,
            ticket: None,
            large_streams: None,
        }
    }

    /// Reads a file and says what's new of it. A file that can't be read is reported and left as the box has it.
    pub(super) fn read_file(&mut self, mut task: FileTask) -> Result<FileRead, CaptureError> {
        self.link = task.link.take();
        self.ticket = None;
        self.large_streams = None;
        let stream = self.outlet.stream();
        if task.known.is_none() && task.stat.size >= PAGES_FROM {
            self.outlet.set_stream(Stream::Bulk)?;
        }
        let read = match self.try_file(&task) {
            Ok(read) => read,
            Err(ReadError::Capture(error)) => return Err(error),
            Err(ReadError::Source(error)) => {
                if let Some(ticket) = self.ticket.take() {
                    self.outlet.abandon(ticket)?;
                }
                let is_closed = is_gone(&error) && self.is_there(&task);
                let error = if is_closed { cannot_be_opened(&error) } else { error };
                self.report.unreadable(task.shown(), &error);
                self.distrust(task.known.take())?;
                if is_gone(&error) { FileRead::Vanished } else { FileRead::Failed }
            }
        };
        self.progress.file_done();
        self.outlet.set_stream(stream)?;
        self.outlet.breathe()?;
        Ok(read)
    }

    /// Whether the file that was listed is there still.
    fn is_there(&self, task: &FileTask) -> bool {
        stat_path(&self.view.at(&task.path)).is_ok_and(|stat| stat.is_same_object(&task.stat))
    }

    /// What couldn't be read is read whole the next time, whatever is told of it then.
    fn distrust(&mut self, known: Option<Known>) -> Result<(), CaptureError> {
        match known.filter(|known| known.settled != Settled::No) {
            Some(known) => {
                let known = Known { settled: Settled::No, ..known };
                self.outlet.note(JournalChange::Put(Box::new(Remembered { known, memory: Memory::Kept })))
            }
            None => Ok(()),
        }
    }

    fn try_file(&mut self, task: &FileTask) -> Result<FileRead, ReadError> {
        let started_ns = crate::clock::now_ns();
        let source = task.open(&self.view)?;
        let before = source.stat()?.numbered_as(&task.stat);
        if !before.is_same_object(&task.stat) {
            return Ok(FileRead::Replaced);
        }
        let mut meta = before.meta();
        meta.attrs = match task.host {
            Some(_) => mark(&task.path),
            None => self.attrs(task, &source)?,
        };
        if before.size > FILE_SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::Unsupported, TOO_LARGE).into());
        }
        let raw_size = source.raw_size()?;
        let read = Stat { size: raw_size.unwrap_or(before.size), ..before };
        let content = self.content(task, &source, &read)?;
        // What was read before a break may be of another moment than the rest.
        let is_mended = content.is_resumed && !TIMES_TELL_WRITES;
        let is_torn = is_mended || source.stat()?.bytes_differ(&before);
        if !is_torn && content.size != read.size {
            self.ticket = content.ticket;
            return Err(
                io::Error::other(format!("its size is {}, and it gave {}", read.size, content.size)).into()
            );
        }
        if let Some(kept) = &mut self.kept_open {
            kept.push(source);
        }
        meta.size = content.size;
        let has_rested = has_rested(before.mtime_ns.max(before.ctime_ns), started_ns);
        let settled = match () {
            () if is_torn || !has_rested => Settled::No,
            () if content.is_as_told => Settled::AsTold,
            () => Settled::Whole,
        };
        let is_changed = content.said != Said::Same;
        self.finish(task, before, meta, content, settled, is_torn)?;
        Ok(match (is_torn, is_changed) {
            (true, _) => FileRead::Torn,
            (false, true) => FileRead::Changed,
            (false, false) => FileRead::Unchanged,
        })
    }

    fn attrs(&mut self, task: &FileTask, source: &SourceFile) -> io::Result<Vec<Attr>> {
        let mut attrs = attrs_of_file(source.file())?;
        self.large_streams = Some(std::mem::take(&mut attrs.large_streams));
        Ok(self.report.attrs(&task.path, attrs))
    }

    fn finish(
        &mut self,
        task: &FileTask,
        stat: Stat,
        mut meta: NodeMeta,
        content: Content,
        settled: Settled,
        is_torn: bool,
    ) -> Result<(), CaptureError> {
        let attrs = attrs_hash(&meta.attrs);
        let before = task.known.as_ref();
        let known = Known {
            node: task.node,
            stat,
            attrs,
            sent_size: content.size,
            memory: content.memory,
            content: before.map(|known| known.content).unwrap_or_default(),
            settled,
            done: None,
        };
        let is_same =
            content.said == Said::Same && before.is_some_and(|before| says_the_same(before, &known));
        if is_same {
            if let Some(ticket) = content.ticket {
                self.outlet.abandon(ticket)?;
            }
            self.outlet.note(JournalChange::Put(Box::new(Remembered { known, memory: Memory::Kept })))?;
            return match self.link.take() {
                Some((parent, name)) => self.outlet.link(parent, name, task.node),
                None => Ok(()),
            };
        }
        if is_torn {
            // An agent that loses its journal must not take this version for the file's last.
            meta.ctime_ns = 0;
        }
        let Content { ticket, said, ranges, memorize, .. } = content;
        self.outlet.put(Put { ticket, meta, said, ranges, known, memorize, link: self.link.take() })
    }

    /// Says what there is so far of a large file: `done` bytes are new, and the version has `size` bytes.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn put_partial(
        &mut self,
        task: &FileTask,
        ticket: Ticket,
        stat: &Stat,
        sent_size: Option<u64>,
        (done, size): (u64, u64),
        ranges: Vec<Range>,
        changed: ChangedPages,
    ) -> Result<(), CaptureError> {
        let mut meta = stat.meta();
        meta.size = size;
        // Never to be taken for the whole file, even where the size is the same.
        meta.ctime_ns = 0;
        let known = Known {
            node: task.node,
            stat: *stat,
            attrs: [0; 16],
            sent_size: size,
            memory: MemoryKind::Pages,
            content: Default::default(),
            settled: Settled::No,
            done: Some(done),
        };
        let said = if sent_size.is_some() { Said::Change } else { Said::Whole };
        let memorize = Memorize::Pages(changed);
        self.outlet.put(Put {
            ticket: Some(ticket),
            meta,
            said,
            ranges,
            known,
            memorize,
            link: self.link.take(),
        })
    }

    /// Counts bytes read, and stops where that's wanted.
    pub(super) fn read_so_far(&self, bytes: u64) -> Result<(), CaptureError> {
        self.progress.read(bytes);
        self.progress.check()
    }

    fn content(&mut self, task: &FileTask, source: &SourceFile, stat: &Stat) -> Result<Content, ReadError> {
        let before = task.known.as_ref().and_then(|known| match known.memory {
            MemoryKind::Pages => Some(Style::Pages),
            MemoryKind::Chunks if known.sent_size > WHOLE_MAX => Some(Style::Content),
            _ => None,
        });
        let mut head = [0; 64];
        let head_len =
            if before.is_none() && stat.size > WHOLE_MAX { source.read_at(&mut head, 0)? } else { 0 };
        let looks = Looks {
            name: &task.path,
            size: stat.size,
            is_sparse: stat.is_sparse(),
            head: &head[..head_len],
            pages_wanted: self.scope.is_cut_in_pages(&task.path),
            before,
        };
        match style_of(looks) {
            Style::Whole => self.whole(task, source, stat),
            Style::Content => self.by_content(task, source, stat),
            Style::Pages => self.in_pages(task, source, stat),
        }
    }

    fn in_pages(&mut self, task: &FileTask, source: &SourceFile, stat: &Stat) -> Result<Content, ReadError> {
        let base = match &task.known {
            Some(known) => self.known_pages(known, stat)?,
            None => None,
        };
        // Where a file was written to says nothing of its encrypted form.
        let is_raw = source.raw_size()?.is_some();
        let told = self.told(task, stat, base.is_some() && !is_raw);
        let resumed = task.known.as_ref().filter(|known| base.is_some() && !known.stat.bytes_differ(stat));
        let start = resumed.and_then(|known| known.done).unwrap_or(0);
        if task.known.is_none() && stat.size >= PAGES_FROM {
            source.bypass_cache();
        } else if stat.size > WINDOW as u64 {
            source.expect_sequential();
        }
        let read = self.read_pages(task, source, stat, base, (start, told))?;
        let said = match (read.sent_size, read.is_changed) {
            (Some(_), false) => Said::Same,
            (Some(_), true) => Said::Change,
            (None, _) => Said::Whole,
        };
        let memorize = if said == Said::Same { Memorize::Kept } else { Memorize::Pages(read.changed) };
        let (ticket, size, ranges) = (Some(read.ticket), read.size, read.ranges);
        let (memory, is_as_told, is_resumed) = (MemoryKind::Pages, read.is_as_told, start > 0);
        Ok(Content { ticket, size, said, ranges, memorize, memory, is_as_told, is_resumed })
    }

    /// Where alone the file must be read; `None` where all of it must be.
    fn told(&self, task: &FileTask, stat: &Stat, has_base: bool) -> Option<Vec<ByteRun>> {
        let known = task.known.as_ref().filter(|known| has_base && known.done.is_none())?;
        let is_trusted = known.settled != Settled::No && known.stat.is_same_object(stat);
        let has_grown = stat.size >= known.sent_size;
        (is_trusted && has_grown).then(|| self.hints.runs(stat, known.sent_size)).flatten()
    }

    fn whole(&mut self, task: &FileTask, source: &SourceFile, stat: &Stat) -> Result<Content, ReadError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(WINDOW, 0);
        // What's said to be empty may hold something all the same.
        let len = source.read_at(&mut buffer[..stat.size.clamp(1, WHOLE_MAX) as usize], 0)?;
        let content = self.whole_bytes(task, &buffer[..len]);
        self.buffer = buffer;
        self.read_so_far(len as u64)?;
        Ok(content?)
    }

    fn whole_bytes(&mut self, task: &FileTask, bytes: &[u8]) -> Result<Content, CaptureError> {
        let size = bytes.len() as u64;
        let content = Content {
            ticket: None,
            size,
            said: Said::Same,
            ranges: Vec::new(),
            memorize: Memorize::Kept,
            memory: MemoryKind::Chunks,
            is_as_told: false,
            is_resumed: false,
        };
        if let Some(known) = &task.known
            && known.memory == MemoryKind::Chunks
            && known.sent_size == size
        {
            let before = self.journal.chunks(known.node)?;
            let same = match before[..] {
                [] => size == 0,
                [(_, id)] => id == chunk_id(&self.chunk_key, bytes),
                _ => false,
            };
            if same {
                return Ok(content);
            }
        }
        let mut ticket = None;
        if !bytes.is_empty() {
            let new = self.outlet.ticket();
            self.outlet.add_chunk(new, 0, bytes)?;
            ticket = Some(new);
        }
        Ok(Content { ticket, said: Said::Whole, memorize: Memorize::SentChunks, ..content })
    }
}

/// What's listed, and isn't there for whoever opens it, isn't gone.
pub(super) fn cannot_be_opened(error: &io::Error) -> io::Error {
    io::Error::other(format!("it's there, and opening it says: {error}"))
}

/// Whether a version with the same bytes needs no word at all: a change time alone is no news.
pub(super) fn says_the_same(before: &Known, now: &Known) -> bool {
    let said = |known: &Known| {
        let stat = &known.stat;
        (stat.kind, stat.mode, stat.uid, stat.gid, stat.mtime_ns, stat.rdev, known.attrs, known.sent_size)
    };
    before.done.is_none() && said(before) == said(now)
}

/// Whether a file that was last changed at that time was so long ago that a write after the reading began shows in its times. Some
/// file systems keep whole seconds alone, or every other one: there a second write within them doesn't show.
pub(super) fn has_rested(changed_ns: i64, started_ns: i64) -> bool {
    const SECOND_NS: i64 = 1_000_000_000;
    let grain_ns = if changed_ns % SECOND_NS == 0 { 2 * SECOND_NS } else { CLOCK_GRAIN_NS };
    changed_ns < started_ns - grain_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_rests_for_as_long_as_its_times_are_coarse() {
        const SECOND_NS: i64 = 1_000_000_000;
        let coarse = 100 * SECOND_NS;
        assert!(!has_rested(coarse, coarse + SECOND_NS));
        assert!(has_rested(coarse, coarse + 3 * SECOND_NS));
        assert!(has_rested(coarse + 7, coarse + SECOND_NS));
        assert!(!has_rested(coarse + 7, coarse + 8));
    }
}

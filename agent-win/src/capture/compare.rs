//! Comparing one directory entry with what the box has: which node it is, and whether anything of it is news.

use std::collections::HashSet;

use coffer_format::NodeId;
use coffer_format::entry::RemarkKind;
use coffer_format::node::{Attr, AttrKind, NodeKind};
use coffer_format::op::Name;

use super::CaptureError;
use super::file_task::FileTask;
use super::identity::{Identity, is_known_by_name, is_same_here, may_be_reused};
use super::item::{Memorize, Put, Said};
use super::pass::{Here, Pass};
use super::reading::says_the_same;
use super::streams::{Host, is_stream};
use super::unread::LateLink;
use crate::config::Verdict;
use crate::journal::{JournalChange, Known, Memory, MemoryKind, Remembered, Settled, attrs_hash};
use crate::path::{as_path, folded};
use crate::platform::{HAS_STREAMS, TIMES_TELL_WRITES, attrs_of_path, is_at_work, is_gone, stat_path};
use crate::restore::{BEGUN, is_working};
use crate::scan::{ListedEntry, Stat, Walk};

type Result<T> = std::result::Result<T, CaptureError>;

impl Pass<'_> {
    pub(super) fn entry(
        &mut self,
        walk: &mut Walk,
        here: &Here<'_>,
        present: &HashSet<u64>,
        entry: ListedEntry,
        before: Option<Known>,
        tasks: &mut Vec<FileTask>,
    ) -> Result<()> {
        let path = here.child(&entry.name);
        if is_stream(&entry.name) {
            return Ok(());
        }
        if self.is_held(&path) {
            self.met(&path);
            return Ok(());
        }
        let stat = match entry.stat {
            Ok(stat) => stat,
            // Gone since it was listed.
            Err(error) if is_gone(&error) => {
                self.vanished(&path);
                return Ok(());
            }
            Err(error) => {
                self.lacks = true;
                self.reading.report.unreadable(&path, &error);
                return Ok(());
            }
        };
        if self.is_a_restores_own(&path, &entry.name, &stat) {
            return Ok(());
        }
        let stat = self.as_mounted(&path, stat);
        let Some(stat) = self.as_expected(walk, here, (&path, &entry.name), stat, before.as_ref())? else {
            return Ok(());
        };
        let Ok(name) = Name::new(&entry.name) else {
            self.reading.report.add(
                RemarkKind::Partial,
                &path,
                "has a name that's too long to be kept; rename it",
            );
            return Ok(());
        };
        let Some(stat) = self.with_links(&path, stat, before.as_ref()) else { return Ok(()) };
        self.met(&path);
        if self.keeps_unread(&path, &stat, before.as_ref())? {
            return Ok(());
        }
        let had_name = before.as_ref().map(|known| (known.node, known.stat.kind));
        let identity = match before {
            Some(known)
                if self.is_way_anew(&path, &known, &stat) || self.is_closed_anew(&path, &known, &stat) =>
            {
                self.way_anew(known)
            }
            before => self.identity(here, (&path, &name), &stat, before, present)?,
        };
        self.met_where_kept(&path, matches!(identity, Identity::Same(_) | Identity::Successor(_)));
        if let Some((node, kind)) = had_name
            && !matches!(identity, Identity::Same(_) | Identity::Successor(_))
        {
            self.lost_a_name(node, kind)?;
            self.take_back(here.node, name.clone())?;
            self.take_streams_back(here.node, name.as_bytes())?;
        }
        let had = had_name.filter(|(_, kind)| *kind != NodeKind::Directory).map(|(node, _)| node);
        match (identity, stat.kind) {
            (Identity::AnotherName(node), _) => {
                self.late_links.push(LateLink { parent: here.node, name, node, path, had });
                Ok(())
            }
            (identity, NodeKind::Directory) => self.directory(walk, here, path, name, stat, identity),
            (identity, NodeKind::File) => {
                tasks.extend(self.file(here, (path, name), stat, identity, had)?);
                Ok(())
            }
            (identity, _) => self.bare(here, &path, name, stat, identity).map(|_| ()),
        }
    }

    /// What a restore is at work on isn't whole yet, and the mark in a folder that it has begun is nobody's. What it left behind is
    /// told from nothing else that has such a name, and is captured.
    fn is_a_restores_own(&mut self, path: &[u8], name: &[u8], stat: &Stat) -> bool {
        let is_file = stat.kind == NodeKind::File;
        if name == BEGUN && is_file {
            if stat.size > 0 {
                self.lacks = true;
                let what = "has the name of the mark that a restore leaves in a folder, and isn't captured; rename it";
                self.reading.report.add(RemarkKind::Unread, path, what);
            }
            return true;
        }
        (is_file || stat.kind == NodeKind::Directory) && is_working(name) && is_at_work(&as_path(path))
    }

    /// What another volume is mounted at is that volume's top where it leads to something included.
    fn as_mounted(&self, path: &[u8], stat: Stat) -> Stat {
        let view = &self.reading.view;
        if stat.kind != NodeKind::Symlink || !view.is_root(path) || !self.reading.scope.leads_over(path) {
            return stat;
        }
        stat_path(&view.at(path)).ok().filter(|top| top.kind == NodeKind::Directory).unwrap_or(stat)
    }

    fn directory(
        &mut self,
        walk: &mut Walk,
        here: &Here<'_>,
        path: Vec<u8>,
        name: Name,
        stat: Stat,
        identity: Identity,
    ) -> Result<()> {
        let is_known_here = match &identity {
            Identity::Same(_) => true,
            Identity::Moved(known) => self.is_in_another_case(here, known.node, &name)?,
            _ => false,
        };
        // Where files' own times don't tell of each change, their folder's do of names that came and went.
        let is_hinted = !identity.is_as_before(&stat);
        let last_name = name.as_bytes().to_vec();
        let node = self.bare(here, &path, name, stat, identity)?;
        if here.is_whole || !is_known_here {
            let is_mount =
                crate::platform::device_of(here.directory).is_none_or(|device| device != stat.device);
            self.push_directory(walk, here, &last_name, node, (is_mount, is_hinted));
        }
        Ok(())
    }

    /// Whether it had this name before, in another case: then what's in it has moved nowhere.
    fn is_in_another_case(&self, here: &Here<'_>, node: NodeId, name: &Name) -> Result<bool> {
        let is_same = |(parent, other): (NodeId, Name)| {
            parent == here.node && folded(other.as_bytes()) == folded(name.as_bytes())
        };
        Ok(self.reading.journal.names(node)?.into_iter().any(is_same))
    }

    /// Anything without bytes of its own.
    fn bare(
        &mut self,
        here: &Here<'_>,
        path: &[u8],
        name: Name,
        stat: Stat,
        identity: Identity,
    ) -> Result<NodeId> {
        let (known, is_moved) = match identity {
            Identity::Same(known) | Identity::Successor(known) => (Some(known), false),
            Identity::Moved(known) => (Some(known), true),
            Identity::AnotherName(_) | Identity::New => (None, false),
        };
        let Some(known) = known else {
            let node = self.allocate();
            let (attrs, streams) = match self.attrs(path, stat.kind) {
                Some(found) => found,
                // Without where it leads it's no link.
                None if stat.kind == NodeKind::Symlink => return Ok(node),
                None => Default::default(),
            };
            self.remember_object(&stat, node)?;
            let known = bare_known(node, stat, attrs_hash(&attrs));
            self.put_bare(known, attrs, Some((here.node, name)))?;
            self.streams(Host { directory: here.node, path, node }, streams)?;
            return Ok(node);
        };
        let node = known.node;
        let is_quiet = known.settled != Settled::No && !(is_moved && HAS_STREAMS);
        if !is_quiet || known.stat.ctime_ns != stat.ctime_ns || known.stat.device != stat.device {
            match self.attrs(path, stat.kind) {
                Some((attrs, streams)) => {
                    let now = bare_known(node, stat, attrs_hash(&attrs));
                    match () {
                        () if says_the_same(&known, &now) => self.note(now)?,
                        // The journal goes on saying what the box has: where it's included one day, it's compared with that.
                        () if self.is_old_news(path, &known, &now) => self.ways.push((now, attrs)),
                        () => self.put_bare(now, attrs, None)?,
                    }
                    self.streams(Host { directory: here.node, path, node }, streams)?;
                }
                None => return Ok(node),
            }
        }
        if is_moved {
            self.moved(node, here.node, name.clone(), path.to_vec())?;
            self.reading.outlet.link(here.node, name, node)?;
        }
        Ok(node)
    }

    /// A directory on the way to an included one has other entries, whose coming and going is no news.
    fn is_old_news(&self, path: &[u8], known: &Known, now: &Known) -> bool {
        let mut now = now.clone();
        if self.reading.scope.verdict(path) == Verdict::Toward {
            now.stat.mtime_ns = known.stat.mtime_ns;
        }
        says_the_same(known, &now)
    }

    /// Where there's a point, it has the folders on the way as they are.
    pub(super) fn put_ways(&mut self) -> Result<()> {
        for (known, attrs) in std::mem::take(&mut self.ways) {
            self.put_bare(known, attrs, None)?;
        }
        Ok(())
    }

    /// And names of large streams; `None` where they can't be read, which is reported.
    fn attrs(&mut self, path: &[u8], kind: NodeKind) -> Option<(Vec<Attr>, Vec<Vec<u8>>)> {
        match attrs_of_path(&self.reading.view.at(path), kind) {
            Ok(mut attrs) => {
                let streams = std::mem::take(&mut attrs.large_streams);
                Some((self.reading.report.attrs(path, attrs), streams))
            }
            Err(error) => {
                self.lacks = true;
                self.reading.report.unreadable(path, &error);
                None
            }
        }
    }

    fn put_bare(&mut self, known: Known, attrs: Vec<Attr>, link: Option<(NodeId, Name)>) -> Result<()> {
        let mut meta = known.stat.meta();
        meta.attrs = attrs;
        let (said, memorize, ranges) = (Said::None, Memorize::Nothing, Vec::new());
        self.reading.outlet.put(Put { ticket: None, meta, said, ranges, known, memorize, link })
    }

    fn note(&mut self, known: Known) -> Result<()> {
        let memory = Memory::Kept;
        self.reading.outlet.note(JournalChange::Put(Box::new(Remembered { known, memory })))
    }

    /// What must be read; `None` where nothing needs to.
    fn file(
        &mut self,
        here: &Here<'_>,
        (path, name): (Vec<u8>, Name),
        stat: Stat,
        identity: Identity,
        had: Option<NodeId>,
    ) -> Result<Option<FileTask>> {
        let (known, is_moved) = match identity {
            Identity::Same(known) => (known, false),
            Identity::Successor(known) => {
                self.remember_object(&stat, known.node)?;
                (known, false)
            }
            Identity::Moved(known) => (known, true),
            Identity::AnotherName(_) | Identity::New => {
                return self.new_file(here.node, (path, name), stat, had).map(Some);
            }
        };
        if is_moved {
            self.reading.outlet.link(here.node, name.clone(), known.node)?;
        } else if self.parted.contains(&known.node) {
            return self.part(here.node, (path, name), stat, known.node);
        }
        if stat.links > 1 && !self.visited.insert(known.node) {
            return Ok(None);
        }
        let may_differ =
            !here.directory.tells_changes() && (here.is_hinted || self.reread.is_due(known.node));
        if !may_differ && self.is_read_already(here.node, &path, &stat, &known, is_moved)? {
            return Ok(None);
        }
        let may_part = || !is_moved && is_same_here(&known.stat, &stat);
        if may_part()
            && self.is_kept_by_another_name((here.node, &name), &known)?
            && self.cannot_be_opened(&path).is_none()
        {
            return self.part(here.node, (path, name), stat, known.node);
        }
        let (node, directory, known) = (known.node, here.node, Some(*known));
        Ok(Some(FileTask { path, node, stat, known, link: None, had: None, directory, host: None }))
    }

    fn new_file(
        &mut self,
        directory: NodeId,
        (path, name): (Vec<u8>, Name),
        stat: Stat,
        had: Option<NodeId>,
    ) -> Result<FileTask> {
        let node = self.allocate();
        self.remember_object(&stat, node)?;
        let link = Some((directory, name));
        Ok(FileTask { path, node, stat, known: None, link, had, directory, host: None })
    }

    /// A file that has changed goes on as another one, by all names that it still has: what the box has stays with a name that it lost.
    fn part(
        &mut self,
        parent: NodeId,
        (path, name): (Vec<u8>, Name),
        stat: Stat,
        known: NodeId,
    ) -> Result<Option<FileTask>> {
        self.parted.insert(known);
        self.lost_a_name(known, NodeKind::File)?;
        self.take_back(parent, name.clone())?;
        self.take_streams_back(parent, name.as_bytes())?;
        let sent = self.new_objects.get(&(stat.device, stat.inode)).filter(|_| stat.may_have_names());
        match sent.copied().filter(|node| !self.unsent.contains_key(node)) {
            Some(node) => {
                self.late_links.push(LateLink { parent, name, node, path, had: Some(known) });
                Ok(None)
            }
            None => self.new_file(parent, (path, name), stat, Some(known)).map(Some),
        }
    }

    /// Whether the box has the file's bytes. Where a change time is another, nobody knows, whatever else explains it: a new name, other
    /// permissions or another link hide bytes that were written under the old times.
    fn is_read_already(
        &mut self,
        directory: NodeId,
        path: &[u8],
        stat: &Stat,
        known: &Known,
        is_moved: bool,
    ) -> Result<bool> {
        let before = &known.stat;
        let is_recheck = self.reading.hints.is_recheck();
        let is_settled = match known.settled {
            Settled::Whole => !(is_recheck && may_hide_writes(known.memory)),
            Settled::AsTold => !is_recheck,
            Settled::No => false,
        };
        let is_quiet = is_settled && known.done.is_none();
        if self.reading.hints.is_written(stat) {
            // A file that's open may have been written to without any sign of it in its times.
            return Ok(false);
        }
        if !is_quiet
            || !is_same_here(before, stat)
            || before.inode != stat.inode
            || is_moved && may_be_reused(stat)
            || (before.size, before.mtime_ns, before.ctime_ns) != (stat.size, stat.mtime_ns, stat.ctime_ns)
        {
            return Ok(false);
        }
        let now = Known { stat: *stat, ..known.clone() };
        // Streams go along with a name, whatever the file system thinks of that.
        if !(is_moved && HAS_STREAMS) {
            if before != stat {
                self.note(now)?;
            }
            return Ok(true);
        }
        let Some((attrs, streams)) = self.attrs(path, stat.kind) else { return Ok(true) };
        let is_raw = attrs.iter().any(|attr| attr.kind == AttrKind::NtEfsRaw);
        if is_raw || known.sent_size != stat.size {
            // It was encrypted or is no longer: the bytes are others.
            return Ok(false);
        }
        let now = Known { attrs: attrs_hash(&attrs), ..now };
        if is_known_by_name(before, stat) {
            return Ok(false);
        }
        let host = Host { directory, path, node: known.node };
        if says_the_same(known, &now) {
            self.note(now)?;
            return self.streams(host, streams).map(|()| true);
        }
        let mut meta = stat.meta();
        meta.attrs = attrs;
        let (said, memorize, ranges) = (Said::Same, Memorize::Kept, Vec::new());
        self.reading.outlet.put(Put {
            ticket: None,
            meta,
            said,
            ranges,
            known: now,
            memorize,
            link: None,
        })?;
        self.streams(host, streams).map(|()| true)
    }
}

/// Files that programs keep open for long may have changed without any sign of it.
fn may_hide_writes(memory: MemoryKind) -> bool {
    !TIMES_TELL_WRITES && matches!(memory, MemoryKind::Pages | MemoryKind::Unknown)
}

fn bare_known(node: NodeId, stat: Stat, attrs: [u8; 16]) -> Known {
    let content = Default::default();
    Known {
        node,
        stat,
        attrs,
        sent_size: 0,
        memory: MemoryKind::None,
        content,
        settled: Settled::Whole,
        done: None,
    }
}

//! One look at everything that's to be captured.
//!
//! Order of a first copy: files are read as their directories are listed, but those of 16 MiB and more wait until all
//! small ones are done and are then read newest first. So most files, and what people work on now, are safe long before
//! the big old ones; and only the big ones (few, by nature) need to be remembered meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use coffer_format::NodeId;
use coffer_format::entry::RemarkKind;
use coffer_format::node::{Attr, NodeKind};
use coffer_format::op::Name;

use super::absent::Absent;
use super::file_task::FileTask;
use super::group::{database_of, grouped};
use super::identity::is_same_here;
use super::moves::{self, Leaving};
use super::other_names::OtherNames;
use super::prefetch::{AHEAD, Prefetch};
use super::reading::{FileRead, Reading, cannot_be_opened};
use super::report::Said;
use super::reread::Reread;
use super::seen::SeenFolders;
use super::streams::{Host, StreamNames, is_stream};
use super::unread::LateLink;
use super::{CaptureError, Target};
use crate::changes::NO_HINTS;
use crate::config::{Scope, Verdict};
use crate::journal::{Known, Remarked};
use crate::path::{ends, folded};
use crate::platform::{Directory, IS_CASE_SENSITIVE, is_gone, stat_path};
use crate::scan::{Asked, Listing, Names, Pending, Walk, asked_of};
use crate::watch::Watch;

const SCAN_THREADS: usize = 3;
/// Files from this many bytes on wait for the small ones.
const DEFER_FROM: u64 = 16 << 20;
/// At most so many wait.
const DEFERRED_MAX: usize = 10_000;

/// At most so many names of large streams that changed are remembered.
const STREAM_NAMES_MAX: usize = 100_000;

/// A look in progress.
pub(super) struct Pass<'a> {
    pub(super) reading: Reading<'a>,
    pub(super) scope: Arc<Scope>,
    next_node: NodeId,
    pub(super) watch: Option<&'a mut Watch>,
    /// Only what was noticed is looked at.
    pub(super) is_partial: bool,
    /// True for the look at what the agent itself puts into the point: no other look lists that, for it's there only then.
    pub(super) encloses: bool,
    /// From the second look on, databases that were read under a hold stay as they were read.
    pub(super) held: HashSet<Vec<u8>>,
    /// New files with several names, by device and inode.
    pub(super) new_objects: HashMap<(u64, u64), NodeId>,
    /// Files with several names that were looked at under one of them.
    pub(super) visited: HashSet<NodeId>,
    /// Nodes that live on under another object that took their name.
    pub(super) taken_over: HashSet<NodeId>,
    /// Files that were met in this look under another name than they had: what has their old name by now is another file.
    pub(super) met_elsewhere: HashSet<NodeId>,
    /// Names that were taken back in the directory that's being looked at; the journal has them still.
    pub(super) taken_back: HashSet<Vec<u8>>,
    pub(super) stream_names: StreamNames,
    deferred: Vec<FileTask>,
    prefetch: Prefetch,
    /// Second names of new files, until the file itself has been sent.
    pub(super) late_links: Vec<LateLink>,
    /// Files that couldn't be read: the box has nothing of what's there now. With what's said of those that may have other names.
    pub(super) unsent: HashMap<NodeId, Option<Said>>,
    /// Nodes that stay with a name whose file can't be read.
    pub(super) kept: HashSet<NodeId>,
    /// Those whose other names are another file's from now on.
    pub(super) parted: HashSet<NodeId>,
    /// Folders on the way to what's included that are others than the box has by their times alone.
    pub(super) ways: Vec<(Known, Vec<Attr>)>,
    pub(super) torn: Vec<Vec<u8>>,
    /// Folders that weren't there when they were to be listed.
    gone: Vec<Vec<u8>>,
    /// Folders as they were listed, what wasn't met in them, and what was gone by the time that it was to be read.
    pub(super) seen: SeenFolders,
    pub(super) leaving: Leaving,
    pub(super) other_names: OtherNames,
    pub(super) vanished: HashSet<Vec<u8>>,
    /// Folders changed faster than they could be listed.
    pub(super) is_restless: bool,
    /// How much longer it's waited for folders to stand.
    pub(super) patience: Duration,
    /// Something of what was asked for couldn't be read in this look.
    pub(super) lacks: bool,
    /// Paths that were asked for by name and haven't been met in this look, by what they're compared by.
    pub(super) awaited: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) absent: Absent,
    pub(super) is_first_look: bool,
    /// What's read again though nothing tells that it has changed.
    pub(super) reread: Reread,
    /// Of the configuration.
    pub(super) revision: u32,
    /// What the newest point says of single paths.
    pub(super) remarked: Remarked,
}

type Result<T> = std::result::Result<T, CaptureError>;

impl<'a> Pass<'a> {
    pub(super) fn new(
        reading: Reading<'a>,
        (scope, revision): (Arc<Scope>, u32),
        next_node: NodeId,
        watch: Option<&'a mut Watch>,
    ) -> Pass<'a> {
        let prefetch = Prefetch::start(reading.view.clone(), reading.progress.priority());
        Pass {
            reading,
            scope,
            next_node,
            watch,
            is_partial: false,
            encloses: false,
            held: HashSet::new(),
            new_objects: HashMap::new(),
            visited: HashSet::new(),
            taken_over: HashSet::new(),
            met_elsewhere: HashSet::new(),
            taken_back: HashSet::new(),
            stream_names: StreamNames::default(),
            deferred: Vec::new(),
            prefetch,
            late_links: Vec::new(),
            unsent: HashMap::new(),
            kept: HashSet::new(),
            parted: HashSet::new(),
            ways: Vec::new(),
            torn: Vec::new(),
            gone: Vec::new(),
            seen: SeenFolders::default(),
            leaving: Leaving::new(),
            other_names: OtherNames::new(),
            vanished: HashSet::new(),
            is_restless: false,
            patience: moves::TIME,
            lacks: false,
            awaited: BTreeMap::new(),
            absent: Absent::default(),
            is_first_look: true,
            reread: Reread::default(),
            revision,
            remarked: Remarked::new(),
        }
    }

    /// Looks at the target once; returns what changed while it was read.
    pub(super) fn look(&mut self, target: &Target) -> Result<Vec<Vec<u8>>> {
        self.reading.report.clear();
        self.visited.clear();
        self.taken_over.clear();
        self.met_elsewhere.clear();
        self.kept.clear();
        self.parted.clear();
        self.ways.clear();
        self.stream_names.clear();
        self.seen.clear();
        self.leaving.clear();
        self.vanished.clear();
        (self.lacks, self.is_restless) = (false, false);
        // What the agent itself puts into the point is there.
        let target = match self.encloses {
            true => target.clone(),
            false => {
                let with_absent = self.look_for_absent(&self.with_other_names(target))?;
                self.with_remarked(with_absent)?
            }
        };
        let (view, priority) = (self.reading.view.clone(), self.reading.progress.priority());
        let mut walk = Walk::start((self.scope.clone(), view), SCAN_THREADS, priority);
        self.is_partial = matches!(target, Target::These(_));
        match &target {
            Target::Everything => walk.push(Pending { is_hinted: false, ..whole(Vec::new(), NodeId::ROOT) }),
            Target::These(dirty) => self.push_dirty(&mut walk, &dirty.directories)?,
        }
        self.walk_on(&mut walk)?;
        self.read_deferred()?;
        self.look_at_other_names(&mut walk)?;
        self.follow_moves(&mut walk)?;
        self.judge_gone();
        self.stands()?;
        if !self.encloses {
            self.say_absent()?;
        }
        // A further look finds by itself what has changed since.
        self.reading.hints = &NO_HINTS;
        self.is_first_look = false;
        self.reread.is_over();
        Ok(std::mem::take(&mut self.torn))
    }

    /// Folders that were gone when they were to be listed: gone or replaced since their parents were, which the next look sees, or
    /// missing, which may show only once their parents are listed in their turn.
    fn judge_gone(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|path| !self.is_absent(path));
        self.torn.append(&mut gone);
    }

    /// What the newest point had to say something of is looked at, too.
    fn with_remarked(&mut self, mut target: Target) -> Result<Target> {
        self.remarked = self.reading.journal.remarked()?;
        for (path, _) in self.remarked.iter().filter(|(_, said)| said.is_looked_at_again()) {
            target.look_again(path, &self.reading.journal)?;
        }
        Ok(target)
    }

    /// A removed directory takes everything below it along: each name is taken back, so that the box need not search
    /// for what nobody can reach any more. Everything before must have settled.
    pub(super) fn unlink_below_removed(&mut self) -> Result<()> {
        let mut removed = self.reading.journal.nameless()?;
        while let Some(directory) = removed.pop() {
            for (name, known) in self.reading.journal.children(directory)? {
                let is_last = self.reading.journal.names(known.node)?.len() == 1;
                if known.stat.kind == NodeKind::Directory && is_last {
                    removed.push(known.node);
                }
                if let Ok(name) = Name::new(&name) {
                    self.reading.outlet.unlink(directory, name)?;
                }
                self.reading.outlet.breathe()?;
            }
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self) -> NodeId {
        let node = self.next_node;
        self.next_node = NodeId(node.0 + 1);
        node
    }

    /// An entry with this path is there and can be captured.
    pub(super) fn met(&mut self, path: &[u8]) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&*folded(path));
        }
    }

    /// Directories in which something was noticed; one that isn't known yet is reached from the nearest that is.
    pub(super) fn push_dirty(&mut self, walk: &mut Walk, dirty: &BTreeMap<Vec<u8>, Names>) -> Result<()> {
        let mut wanted: BTreeMap<Vec<u8>, Names> = BTreeMap::new();
        let (mut known, mut no_disks) = (HashMap::new(), HashSet::new());
        let is_meant = |path: &[u8]| match self.encloses {
            true => self.scope.is_reachable(path),
            false => self.scope.is_noticed(path),
        };
        for (path, names) in dirty.iter().filter(|(path, _)| is_meant(path)) {
            if let Some((folder, name)) = self.stranger_over(path).and_then(crate::path::split) {
                merge(&mut wanted, folder.to_vec(), Names::These(vec![name.to_vec()]));
                continue;
            }
            if let Some(bare) = self.bare_over(path) {
                merge(&mut wanted, bare, Names::All);
                continue;
            }
            let no_disk = self.no_disk_over(path);
            let names = if no_disk.is_some() { Names::All } else { names.clone() };
            no_disks.extend(no_disk.clone());
            let mut path = no_disk.unwrap_or_else(|| path.clone());
            if let Some(own) = self.own_path(&path)?
                && self.is_known_there(&own, &mut known)?
            {
                merge(&mut wanted, own, names);
            }
            // Its own times have changed as well.
            while let Some((parent, name)) = crate::path::split(&path) {
                let own = self.own_path(parent)?.unwrap_or_else(|| parent.to_vec());
                merge(&mut wanted, own.clone(), Names::These(vec![name.to_vec()]));
                path = parent.to_vec();
                if self.is_known_there(&own, &mut known)? {
                    break;
                }
            }
        }
        let mut is_there = Vec::new();
        for path in wanted.keys() {
            is_there.push(self.bare_over(path).is_some() || self.is_known_there(path, &mut known)?);
        }
        let mut is_there = is_there.into_iter();
        wanted.retain(|_, _| is_there.next().unwrap_or(true));
        // All that lies below one that's looked at whole is met on the way; twice would be once too often.
        let is_all = |(path, names): (&Vec<u8>, &Names)| (*names == Names::All).then(|| path.clone());
        let all: HashSet<Vec<u8>> = wanted.iter().filter_map(is_all).collect();
        let is_met_on_the_way =
            |path: &[u8]| ends(path).chain([0]).any(|end| end < path.len() && all.contains(&path[..end]));
        wanted.retain(|path, _| !is_met_on_the_way(path));
        for (path, names) in wanted {
            if let Some(node) = self.reading.journal.find(&path)? {
                // A further look finds by itself what has changed since.
                let is_mount = no_disks.contains(&path);
                walk.push(Pending { names, is_mount, is_hinted: self.is_first_look, ..whole(path, node) });
            }
        }
        Ok(())
    }

    /// The top of what is mounted over a path and is no disk, unless the path was asked for by a name in there. It's met as it is from its parent: nothing
    /// in it is looked at.
    fn no_disk_over(&self, path: &[u8]) -> Option<Vec<u8>> {
        let is_no_disk = |over: &&[u8]| {
            let top = || self.reading.view.directory(over).and_then(|top| top.is_pseudo());
            // What can't be opened is told of when it's listed.
            self.mounts().has_volume(over) && !self.scope.asks_in(over, path) && top().unwrap_or(false)
        };
        ends(path).map(|end| &path[..end]).find(is_no_disk).map(<[u8]>::to_vec)
    }

    /// The path that a known folder has, by whatever case it was told: each is listed once.
    fn own_path(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.reading.journal.find(path)? {
            Some(node) if !IS_CASE_SENSITIVE => Ok(self.reading.journal.path(node)?),
            found => Ok(found.map(|_| path.to_vec())),
        }
    }

    /// Whether the directory at a path, and each on the way to it, is the one that the journal knows by that path. Where another
    /// took its name, what's in there isn't the known one's: it's met from the directory that both are in.
    fn is_known_there(&self, path: &[u8], known: &mut HashMap<Vec<u8>, bool>) -> Result<bool> {
        for way in ends(path).map(|end| &path[..end]) {
            let is_known = match known.get(way) {
                Some(is_known) => *is_known,
                None => {
                    let is_known = self.is_named_so(way)?;
                    known.insert(way.to_vec(), is_known);
                    is_known
                }
            };
            if !is_known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_named_so(&self, path: &[u8]) -> Result<bool> {
        let Some(node) = self.reading.journal.find(path)? else { return Ok(false) };
        if self.reading.view.is_root(path) {
            return Ok(true);
        }
        Ok(match (self.reading.journal.node(node)?, self.reading.view.directory(path)) {
            (Some(known), _) if known.stat.kind != NodeKind::Directory => false,
            (Some(known), Ok(directory)) => {
                directory.stat().is_ok_and(|stat| is_same_here(&known.stat, &stat))
            }
            // The root; and what can't be opened is told of when it's listed.
            _ => true,
        })
    }

    pub(super) fn listing(&mut self, walk: &mut Walk, listing: Listing) -> Result<()> {
        let Listing { path, node, names, is_hinted, is_by_path, entries } = listing;
        if self.stranger_over(&path).is_some() {
            return Ok(());
        }
        let (directory, seen, entries) = match entries {
            Ok((directory, _, _)) if !self.is_on_its_volume(&path, &directory, is_by_path) => {
                self.torn.push(path);
                return Ok(());
            }
            Ok(listed) => listed,
            Err(error) if is_gone(&error) && !self.is_closed(&path) => {
                self.gone.push(path);
                return Ok(());
            }
            Err(error) => {
                self.stands()?;
                let error = if is_gone(&error) { cannot_be_opened(&error) } else { error };
                self.lacks = true;
                self.reading.report.unreadable(&path, &error);
                return Ok(());
            }
        };
        let mut known = match &names {
            Names::All | Names::Here => self.reading.journal.children(node)?,
            Names::These(names) => {
                let mut known = HashMap::new();
                // Where names are folded, one that was told may be another than the entry's own.
                for name in names.iter().chain(entries.iter().map(|entry| &entry.name)) {
                    known.extend(self.reading.journal.child(node, name)?.map(|found| (name.clone(), found)));
                }
                known
            }
        };
        self.taken_back.clear();
        self.return_leaving(node, &names);
        if let Some(seen) = seen
            && !self.encloses
            && !self.reading.view.stands_still(&path)
        {
            self.seen.add(&path, node, &names, seen);
        }
        self.settle_streams()?;
        known.retain(|name, _| !is_stream(name));
        self.remember_mount(&path, &directory)?;
        let is_bare = self.bare_over(&path).is_some();
        let here = Here {
            path: &path,
            node,
            directory: &directory,
            is_whole: names == Names::All,
            is_bare,
            is_hinted,
        };
        self.take_circles_back(&here, &mut known)?;
        self.recall_mounts(&here, &known, &entries)?;
        let present = entries.iter().filter_map(|entry| Some(entry.stat.as_ref().ok()?.inode)).collect();
        if self.is_captured_in_part(&here) {
            known.retain(|name, _| self.scope.leads_over(&here.child(name)));
        }
        let in_any_case: HashSet<Vec<u8>> = match IS_CASE_SENSITIVE {
            true => HashSet::new(),
            false => entries.iter().map(|entry| folded(&entry.name).into_owned()).collect(),
        };
        let mut tasks = Vec::new();
        for entry in entries {
            let before = known.remove(&entry.name);
            self.entry(walk, &here, &present, entry, before, &mut tasks)?;
        }
        // A database that's gone has no more to hold: it may be met elsewhere.
        if !self.held.is_empty() {
            known.keys().for_each(|name| {
                self.held.remove(&here.child(name));
            });
        }
        known.retain(|name, _| !self.is_held(&here.child(name)));
        // What's there in another case isn't missing.
        known.retain(|name, _| in_any_case.contains(&*folded(name)) || !self.keeps(&here, name));
        for (name, known) in known {
            let Ok(name) = Name::new(&name) else { continue };
            self.lost_a_name(known.node, known.stat.kind)?;
            self.leave(&here, name)?;
        }
        let groups = grouped(tasks);
        for (database, tasks) in groups.databases {
            self.read_database(&here, database, tasks)?;
        }
        self.read_all(groups.single)?;
        self.link_sent()
    }

    /// Whether it's no disk, and only what's included by its name in there is captured though all of it was asked for; that's said.
    fn is_captured_in_part(&mut self, here: &Here<'_>) -> bool {
        let (path, scope) = (here.path, self.scope.clone());
        let is_asked = || scope.is_below_include(path) && scope.verdict(path) == Verdict::Within;
        if !scope.leads_over(path) || !is_asked() || !here.directory.is_pseudo().unwrap_or(false) {
            return false;
        }
        let view = &self.reading.view;
        let is_in_part =
            asked_of(&scope, path, here.directory, |path| stat_path(&view.at(path))) == Asked::Way;
        if is_in_part && self.mounts().has_volume(path) {
            self.lacks = true;
            let what = "is no disk (tmpfs or alike), and of what is in there only what is included by its name is captured; include all of it by \
                        name, or exclude it";
            self.reading.report.add(RemarkKind::Unread, path, what);
        }
        is_in_part
    }

    /// Whether a folder is there, and is gone for whoever opens it.
    fn is_closed(&self, path: &[u8]) -> bool {
        let stat = || stat_path(&self.reading.view.at(path));
        stat().is_ok_and(|stat| stat.kind == NodeKind::Directory)
            && self.reading.view.directory(path).is_err_and(|error| is_gone(&error))
            && stat().is_ok()
    }

    /// Takes a name of the directory that's being looked at back.
    pub(super) fn take_back(&mut self, directory: NodeId, name: Name) -> Result<()> {
        self.taken_back.insert(name.as_bytes().to_vec());
        self.reading.outlet.unlink(directory, name)
    }

    /// Reads the files of a directory, asking for those that come next.
    fn read_all(&mut self, tasks: Vec<FileTask>) -> Result<()> {
        let is_cold = |task: &&FileTask| task.known.is_none() && task.stat.size < DEFER_FROM;
        let ahead: Vec<Vec<u8>> = tasks.iter().filter(is_cold).map(|task| task.path.clone()).collect();
        let mut ahead = ahead.into_iter().skip(1);
        ahead.by_ref().take(AHEAD).for_each(|path| self.prefetch.soon(&path));
        for task in tasks {
            self.read_or_defer(task)?;
            ahead.by_ref().take(1).for_each(|path| self.prefetch.soon(&path));
        }
        Ok(())
    }

    /// Fails where a snapshot is gone: what seems to be missing in it may be there.
    fn stands(&self) -> Result<()> {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).trim_start_matches('/').to_owned();
        self.reading.view.lost().map_or(Ok(()), |path| Err(CaptureError::SnapshotLost(shown(path))))
    }

    /// Whether folders changed faster than they could be listed.
    pub(super) fn is_restless(&self) -> bool {
        self.is_restless
    }

    /// Whether something of what was asked for couldn't be read.
    pub(super) fn lacks(&self) -> bool {
        self.lacks
    }

    pub(super) fn is_held(&self, path: &[u8]) -> bool {
        !self.held.is_empty() && self.held.contains(database_of(path))
    }

    pub(super) fn push_directory(
        &self,
        walk: &mut Walk,
        here: &Here<'_>,
        name: &[u8],
        node: NodeId,
        (is_mount, is_hinted): (bool, bool),
    ) {
        let path = here.child(name);
        if !self.encloses && self.scope.is_enclosed(&path) {
            return;
        }
        // Asked for by name: captured whatever it lies on.
        let is_mount = is_mount && !self.scope.is_included(&path);
        let from = Some((here.directory.clone(), name.to_vec()));
        walk.push(Pending { path, node, from, is_mount, names: Names::All, is_hinted });
    }

    /// Sends the second names of files that have been sent.
    fn link_sent(&mut self) -> Result<()> {
        if self.late_links.is_empty() {
            return Ok(());
        }
        let waiting: HashSet<NodeId> = self.deferred.iter().map(|task| task.node).collect();
        for link in std::mem::take(&mut self.late_links) {
            match self.unsent.get(&link.node).cloned() {
                _ if waiting.contains(&link.node) => self.late_links.push(link),
                Some(said) => self.say_late(link, said)?,
                None => self.reading.outlet.link(link.parent, link.name, link.node)?,
            }
        }
        Ok(())
    }

    fn settle_streams(&mut self) -> Result<()> {
        if self.stream_names.len() >= STREAM_NAMES_MAX {
            self.read_deferred()?;
            self.reading.outlet.settle()?;
            self.stream_names.clear();
        }
        Ok(())
    }

    pub(super) fn read_or_defer(&mut self, task: FileTask) -> Result<()> {
        if task.stat.size < DEFER_FROM {
            return self.read_now(task).map(|_| ());
        }
        self.deferred.push(task);
        if self.deferred.len() >= DEFERRED_MAX { self.read_deferred() } else { Ok(()) }
    }

    pub(super) fn read_now(&mut self, task: FileTask) -> Result<FileRead> {
        let (path, node, is_new) = (task.path.clone(), task.node, task.known.is_none());
        let (shown, directory, host) = (task.shown().to_vec(), task.directory, task.host);
        let (stat, link, had) = (task.stat, task.link.clone(), task.had);
        // One that goes on as another file did has nothing of its own at the box.
        let is_other = task.known.as_ref().is_none_or(|known| !is_same_here(&known.stat, &stat));
        let read = self.reading.read_file(task)?;
        let is_unread = matches!(read, FileRead::Failed | FileRead::Vanished);
        if is_other && (is_unread || read == FileRead::Replaced) {
            let said = self.reading.report.said_of(&shown).filter(|_| is_unread && stat.may_have_names());
            self.unsent.insert(node, said);
        } else if is_other {
            self.unsent.remove(&node);
        }
        if read == FileRead::Failed && host.is_none() {
            match link {
                Some(link) => self.give_back(link, had)?,
                None => self.say_of_all_names(&path, node, &stat)?,
            }
        }
        if is_unread || matches!(read, FileRead::Torn | FileRead::Replaced) {
            self.stands()?;
        }
        self.lacks |= read == FileRead::Failed;
        if read == FileRead::Vanished {
            self.vanished(&shown);
        }
        if matches!(read, FileRead::Torn | FileRead::Replaced) {
            self.torn.push(shown);
        }
        match (host, self.reading.large_streams.take()) {
            (Some(host), _) if !matches!(read, FileRead::Changed | FileRead::Unchanged) => {
                self.distrust_host(host)?;
            }
            (None, Some(streams)) if !(is_new && self.unsent.contains_key(&node)) => {
                self.streams(Host { directory, path: &path, node }, streams)?;
            }
            _ => {}
        }
        Ok(read)
    }

    pub(super) fn read_deferred(&mut self) -> Result<()> {
        // A file that's read may have streams that wait in their turn; those have none.
        while !self.deferred.is_empty() {
            let mut tasks = std::mem::take(&mut self.deferred);
            tasks.sort_by_key(|task| std::cmp::Reverse(task.stat.mtime_ns));
            for task in tasks {
                self.read_now(task)?;
            }
        }
        self.link_sent()
    }
}

/// The directory that's being compared.
pub(super) struct Here<'a> {
    pub(super) path: &'a [u8],
    pub(super) node: NodeId,
    pub(super) directory: &'a Arc<Directory>,
    /// All of its entries are looked at, and everything below.
    pub(super) is_whole: bool,
    /// It belongs to a volume that's gone: what the box has of that stays.
    pub(super) is_bare: bool,
    /// Something tells that entries of it may have changed.
    pub(super) is_hinted: bool,
}

impl Here<'_> {
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        [self.path, b"/", name].concat()
    }
}

pub(super) fn whole(path: Vec<u8>, node: NodeId) -> Pending {
    Pending { path, node, from: None, is_mount: false, names: Names::All, is_hinted: true }
}

fn merge(wanted: &mut BTreeMap<Vec<u8>, Names>, path: Vec<u8>, names: Names) {
    match (wanted.get_mut(&path), names) {
        (None, names) => {
            wanted.insert(path, names);
        }
        (Some(Names::These(have)), Names::These(more)) => {
            for name in more {
                if !have.contains(&name) {
                    have.push(name);
                }
            }
        }
        (Some(have), _) => *have = Names::All,
    }
}

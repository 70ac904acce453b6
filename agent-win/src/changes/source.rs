//! From the record of changes to what a capture looks at.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use coffer_format::entry::{Remark, RemarkKind};
use coffer_format::limits::REPORT_LINES_MAX;

use super::{ByteRun, Hints, Marks, Written};
use crate::capture::Target;
use crate::config::Scope;
use crate::journal::{JournalError, JournalReader};
use crate::path::split;
use crate::platform::{VolumeJournal, volume_journals};
use crate::usn::{Changes, Extents, FileId, Mark};

/// Files that are cut in pages and have at least so many bytes: only for them it matters where they were written to.
const RANGED_FROM: u64 = 1 << 20;
/// Files that are asked to tell what's written to them so far.
const FLUSHED_MAX: usize = 10_000;

/// Files that stay open, and are looked at each time: at most so many are remembered.
const OPEN_MAX: usize = 10_000;

/// What to look at.
pub(crate) struct Look {
    pub(crate) target: Target,
    pub(crate) hints: Hints,
    is_whole: bool,
    /// Files that are still being written to, by volume and number.
    open: BTreeSet<(u64, u64)>,
}

impl Look {
    /// What was noticed.
    pub(crate) fn at(target: Target) -> Look {
        Look { target, hints: Hints::default(), is_whole: false, open: BTreeSet::new() }
    }

    fn everything(hints: Hints) -> Look {
        Look { hints, is_whole: true, ..Look::at(Target::Everything) }
    }
}

/// The journals of all volumes that a configuration lies on.
pub(crate) struct ChangeSource {
    /// None where not every volume has one.
    journals: Vec<VolumeJournal>,
    scope: [u8; 16],
    now_ms: u64,
    /// Where the next capture goes on.
    ends: BTreeMap<u64, Mark>,
}

impl ChangeSource {
    /// Before a snapshot is taken: what's written from now on is told to the next capture as well.
    pub(crate) fn open(scope: &Scope, scope_id: [u8; 16], now_ms: u64) -> ChangeSource {
        let journals = volume_journals(scope.includes()).unwrap_or_default();
        let ends = journals.iter().map(|journal| (journal.device(), journal.end())).collect();
        ChangeSource { journals, scope: scope_id, now_ms, ends }
    }

    /// After the snapshot was taken.
    pub(crate) fn look(&self, marks: &Marks, journal: &JournalReader) -> Result<Look, JournalError> {
        let is_late = marks.is_whole_look_due(self.now_ms);
        let is_followed = !self.journals.is_empty();
        Ok(match self.told(marks, journal)? {
            Tale::Whole(told) if is_late => {
                Look { open: told.open, ..Look::everything(told.hints.with_recheck()) }
            }
            Tale::Whole(told) => Look { hints: told.hints, open: told.open, ..Look::at(told.target) },
            Tale::Lost if is_late || is_followed => Look::everything(Hints::recheck()),
            Tale::Unclear if is_late => Look::everything(Hints::recheck()),
            Tale::Lost | Tale::Unclear => Look { is_whole: false, ..Look::everything(Hints::default()) },
        })
    }

    /// All that the journals tell since the marks.
    fn told(&self, marks: &Marks, journal: &JournalReader) -> Result<Tale, JournalError> {
        if self.journals.is_empty() || marks.scope != self.scope {
            return Ok(Tale::Lost);
        }
        for (path, device) in journal.large_in_pages(RANGED_FROM, FLUSHED_MAX)? {
            let on_it = self.journals.iter().filter(|one| one.device() == device);
            on_it.for_each(|one| one.bring_up_to_date(&path));
        }
        let mut told = Told::new(&marks.open);
        for volume in &self.journals {
            let device = volume.device();
            let Some(mark) = marks.volumes.get(&device) else { return Ok(Tale::Lost) };
            let changes = match volume.changes_since(*mark) {
                Ok(changes) => changes,
                Err(error) => {
                    tracing::info!(%error, "everything is looked at");
                    return Ok(Tale::Lost);
                }
            };
            if told.take(device, &changes, journal)? == Reach::Unclear {
                return Ok(Tale::Unclear);
            }
        }
        told.take_open(journal)?;
        for path in &marks.owed {
            told.target.look_again(path, journal)?;
        }
        Ok(Tale::Whole(told))
    }

    /// What's to be kept once a capture of that look is done.
    pub(crate) fn marks_after(self, look: Look, before: &Marks, report: &[Remark]) -> Option<Marks> {
        // What isn't named, or not remembered, can't be looked at again.
        let has_more = report.iter().any(|line| line.kind == RemarkKind::More);
        let is_all_kept = report.len() < REPORT_LINES_MAX && !has_more && look.open.len() <= OPEN_MAX;
        is_all_kept.then(|| Marks {
            scope: self.scope,
            whole_ms: if look.is_whole { self.now_ms } else { before.whole_ms },
            volumes: self.ends,
            owed: report.iter().map(|line| line.path.0.to_vec()).collect(),
            open: look.open,
        })
    }
}

/// What came of asking the journals.
enum Tale {
    Whole(Told),
    /// They don't reach back, or are others by now: meanwhile anything may have happened.
    Lost,
    /// They tell what can't be followed, and will again: as if there were none.
    Unclear,
}

/// Whether all that was told can be followed.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    Clear,
    Unclear,
}

/// What all journals told.
struct Told {
    target: Target,
    hints: Hints,
    open: BTreeSet<(u64, u64)>,
}

impl Told {
    /// `open` are the files that were being written to at the last look: they aren't told again until they're closed.
    fn new(open: &BTreeSet<(u64, u64)>) -> Told {
        Told { target: Target::nothing(), hints: Hints::default(), open: open.clone() }
    }

    fn take(
        &mut self,
        device: u64,
        changes: &Changes,
        journal: &JournalReader,
    ) -> Result<Reach, JournalError> {
        let mut folders: BTreeMap<FileId, Option<Vec<u8>>> = BTreeMap::new();
        for (parent, name) in changes.names() {
            // Numbers of 128 bits are another file system's than NTFS: what a listing tells there is shorter.
            let Ok(inode) = u64::try_from(parent.0) else { return Ok(Reach::Unclear) };
            if let Entry::Vacant(entry) = folders.entry(parent) {
                entry.insert(journal.directory_at(device, inode)?);
            }
            // A folder that isn't known is left out, or it's new: then its own parent tells of it.
            if let Some(Some(folder)) = folders.get(&parent) {
                self.target.notice(folder.clone(), name.to_vec());
            }
        }
        for file in changes.files() {
            let Ok(inode) = u64::try_from(file.0) else { return Ok(Reach::Unclear) };
            self.hints.insert(device, inode, written(changes.extents(file)));
            self.notice_names(device, inode, journal)?;
        }
        self.open.retain(|(on, inode)| *on != device || !changes.is_closed(FileId((*inode).into())));
        let open = changes.open().filter_map(|file| u64::try_from(file.0).ok());
        self.open.extend(open.map(|inode| (device, inode)));
        Ok(Reach::Clear)
    }

    /// What's still open may have been written to since, without another record.
    fn take_open(&mut self, journal: &JournalReader) -> Result<(), JournalError> {
        for (device, inode) in self.open.clone() {
            self.hints.insert(device, inode, Written::Somewhere);
            self.notice_names(device, inode, journal)?;
        }
        Ok(())
    }

    /// The record has one name of a file; another of its names may be the one that's captured.
    fn notice_names(&mut self, device: u64, inode: u64, journal: &JournalReader) -> Result<(), JournalError> {
        for path in journal.paths_at(device, inode)? {
            self.notice(&path);
        }
        Ok(())
    }

    /// What couldn't be read is looked at again; a folder with everything in it.
    fn notice(&mut self, path: &[u8]) {
        if let Some((folder, name)) = split(path) {
            self.target.notice(folder.to_vec(), name.to_vec());
        }
    }
}

fn written(extents: Option<Extents>) -> Written {
    match extents {
        Some(Extents::Runs(runs)) => {
            Written::Runs(runs.into_iter().map(|(at, end)| ByteRun { at, end }).collect())
        }
        _ => Written::Somewhere,
    }
}

#[cfg(test)]
mod tests {
    use coffer_format::node::{NodeKind, NodeMeta};
    use coffer_format::op::Name;
    use coffer_format::wire::Recalled;
    use coffer_format::{NodeId, VaultId};

    use super::*;
    use crate::journal::{Journal, PartAt, Position};
    use crate::usn::{Extent, Reason, Record};

    const DEVICE: u64 = 77;

    /// A journal that knows `/C:` (number 5) and `/C:/data` (number 40).
    fn journal(folder: &std::path::Path) -> Journal {
        let mut journal = Journal::open(folder).unwrap();
        let directory = |node, inode| Recalled::Put {
            node: NodeId(node),
            meta: NodeMeta { device: DEVICE, inode, ..NodeMeta::new(NodeKind::Directory) },
        };
        let link = |parent, name: &str, node| Recalled::Link {
            parent,
            name: Name::new(name.as_bytes()).unwrap(),
            node: NodeId(node),
        };
        let ops =
            vec![directory(2, 5), link(NodeId::ROOT, "C:", 2), directory(3, 40), link(NodeId(2), "data", 3)];
        let position = Position { vault: VaultId([1; 16]), at: PartAt::default(), closed: true };
        journal.recall(position, ops).unwrap();
        journal
    }

    fn named(file: u128, parent: u128, reason: Reason, name: &str) -> Record {
        Record::Name { file: FileId(file), parent: FileId(parent), reason, name: name.as_bytes().to_vec() }
    }

    fn told(records: Vec<Record>) -> (Reach, Told) {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = Changes::default();
        records.into_iter().try_for_each(|record| changes.take(record)).unwrap();
        let mut told = Told::new(&BTreeSet::new());
        let reach = told.take(DEVICE, &changes, &journal(folder.path()).reader().unwrap()).unwrap();
        (reach, told)
    }

    #[test]
    fn names_are_looked_at_in_folders_that_are_known_and_files_where_they_were_written() {
        let written = Reason(Reason::DATA_OVERWRITE.0 | Reason::CLOSE.0);
        let (reach, told) = told(vec![
            Record::Ranges {
                file: FileId(50),
                reason: written,
                remaining: 0,
                extents: vec![Extent { at: 16384, len: 100 }],
            },
            named(50, 40, written, "base.mdf"),
            named(51, 5, written, "pagefile.sys"),
            // Open still: more may have been written than is told.
            named(52, 40, Reason::DATA_EXTEND, "open.log"),
            // In a folder that's new: its own parent tells of it.
            named(60, 40, Reason(0x100), "new folder"),
            named(61, 60, written, "deep.txt"),
        ]);
        assert_eq!(reach, Reach::Clear);
        let mut expected = Target::nothing();
        for name in ["base.mdf", "new folder", "open.log"] {
            expected.notice(b"/C:/data".to_vec(), name.into());
        }
        expected.notice(b"/C:".to_vec(), b"pagefile.sys".to_vec());
        assert_eq!(format!("{:?}", told.target), format!("{expected:?}"));
        let mut hints = Hints::default();
        hints.insert(DEVICE, 50, Written::Runs(vec![ByteRun { at: 16384, end: 16484 }]));
        for somewhere in [51, 52, 61] {
            hints.insert(DEVICE, somewhere, Written::Somewhere);
        }
        assert_eq!(told.hints, hints);
        assert_eq!(told.open, BTreeSet::from([(DEVICE, 52)]));
    }

    #[test]
    fn a_file_that_stays_open_is_looked_at_each_time_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let reader = journal(folder.path()).reader().unwrap();
        let open = BTreeSet::from([(DEVICE, 40), (DEVICE, 52)]);
        let mut told = Told::new(&open);
        let mut changes = Changes::default();
        changes.take(named(52, 5, Reason(Reason::DATA_EXTEND.0 | Reason::CLOSE.0), "closed.log")).unwrap();
        told.take(DEVICE, &changes, &reader).unwrap();
        told.take_open(&reader).unwrap();
        assert_eq!(told.open, BTreeSet::from([(DEVICE, 40)]));
        // It stands for a file here: by its number its name is found.
        let Target::These(_) = &told.target else { panic!("{:?}", told.target) };
        assert!(
            format!("{:?}", told.target).contains(&format!("{:?}", b"data".to_vec())),
            "{:?}",
            told.target
        );
    }

    #[test]
    fn a_folder_that_could_not_be_listed_is_looked_at_with_everything_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let reader = journal(folder.path()).reader().unwrap();
        let mut told = Told::new(&BTreeSet::new());
        told.target.look_again(b"/C:/data", &reader).unwrap();
        let mut expected = Target::nothing();
        expected.notice(b"/C:".to_vec(), b"data".to_vec());
        expected.notice_all(b"/C:/data".to_vec());
        assert_eq!(format!("{:?}", told.target), format!("{expected:?}"));
    }

    #[test]
    fn numbers_that_a_listing_does_not_tell_whole_are_not_followed() {
        let (reach, _) =
            told(vec![named(1, u128::from(u64::MAX) + 1, Reason::CLOSE, "on another file system")]);
        assert_eq!(reach, Reach::Unclear);
    }

    #[test]
    fn marks_are_kept_until_a_report_is_too_long_to_name_what_is_owed() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        assert_eq!(journal.marks().unwrap(), Marks::default());
        let source = || ChangeSource {
            journals: Vec::new(),
            scope: [3; 16],
            now_ms: 99,
            ends: BTreeMap::from([(DEVICE, Mark { journal: 8, next: 9 })]),
        };
        let line = Remark {
            kind: RemarkKind::Locked,
            path: b"/C:/data/locked"[..].into(),
            what: "is locked".into(),
        };
        let whole = || Look::everything(Hints::recheck());
        let marks = source().marks_after(whole(), &Marks::default(), std::slice::from_ref(&line)).unwrap();
        journal.keep_marks(Some(&marks)).unwrap();
        let kept = journal.marks().unwrap();
        assert_eq!((&kept, kept.whole_ms, &kept.owed[0][..]), (&marks, 99, &b"/C:/data/locked"[..]));
        let part = Look::at(Target::nothing());
        let later = ChangeSource { now_ms: 500, ..source() }.marks_after(part, &kept, &[]).unwrap();
        assert_eq!(later.whole_ms, 99, "a look at a part counts as one at everything");
        assert!(source().marks_after(whole(), &kept, &vec![line; REPORT_LINES_MAX]).is_none());
        journal.keep_marks(None).unwrap();
        assert_eq!(journal.marks().unwrap(), Marks::default());
    }
}

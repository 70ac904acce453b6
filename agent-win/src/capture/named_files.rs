//! Whether what an application counts on is in the point: each file that it names.
//!
//! A name by itself must be there as a file. A pattern, or a folder with everything below it, stands for what a listing of the
//! folder shows: the rest of the tree is the look's to reach, which says what it couldn't.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use coffer_format::NodeId;
use coffer_format::entry::{Remark, RemarkKind};
use coffer_format::node::NodeKind;

use super::CaptureError;
use super::pass::Pass;
use crate::config::{FoundFiles, Verdict};
use crate::standstill::NamedFiles;
use crate::windows_name::upcased;

/// Files that are named of one component at most; the rest are counted.
const LINES_MAX: usize = 10;

type Result<T> = std::result::Result<T, CaptureError>;

/// What's known in a folder, by the names as they're compared.
type Known = Rc<HashMap<Vec<u8>, NodeKind>>;

/// Folders that were looked into: many files are in the same.
type Folders = RefCell<HashMap<Vec<u8>, Option<Known>>>;

impl Pass<'_> {
    /// A line for each file that an application names and a restore wouldn't bring. Everything before must have settled.
    pub(super) fn lacking_of(&self, named: &[NamedFiles]) -> Result<Vec<Remark>> {
        let (folders, mut lines) = (Folders::default(), Vec::new());
        for NamedFiles { whose, files } in named {
            let mut paths = Vec::new();
            for files in files {
                paths.extend(self.lacking_files(files, &folders)?);
            }
            let line = |path: &Vec<u8>| Remark {
                kind: RemarkKind::Application,
                path: path[..].into(),
                what: format!(
                    "belongs to {whose} and isn't in this point: the application isn't told that its data is safe; include the \
                     file, or see why the application names it"
                ),
            };
            lines.extend(paths.iter().take(LINES_MAX).map(line));
            if let Some(more) = paths.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
                let what = format!("{more} more files of {whose} aren't in this point");
                lines.push(Remark { kind: RemarkKind::Application, path: b""[..].into(), what });
            }
        }
        Ok(lines)
    }

    fn lacking_files(&self, files: &FoundFiles, folders: &Folders) -> Result<Vec<Vec<u8>>> {
        let known = self.known_in(&files.folder, folders)?;
        let at = |name: &[u8]| [&files.folder[..], b"/", name].concat();
        let kind = |name: &[u8]| known.as_ref().and_then(|known| known.get(&*upcased(name)).copied());
        if !files.has_wildcards() && !files.is_recursive {
            let is_there = kind(files.pattern.as_bytes()) == Some(NodeKind::File);
            return Ok(if is_there { Vec::new() } else { vec![at(files.pattern.as_bytes())] });
        }
        let view = &self.reading.view;
        let listed = view.directory(&files.folder).and_then(|directory| directory.list(|_| true));
        let Ok(listed) = listed else { return Ok(vec![at(files.pattern.as_bytes())]) };
        let is_meant =
            |name: &[u8], is_file: bool| files.is_recursive && !is_file || is_file && files.is_called(name);
        let meant = listed.into_iter().filter(|entry| is_meant(&entry.name, entry.is_file()));
        let lacking = meant.filter(|entry| kind(&entry.name).is_none()).map(|entry| at(&entry.name));
        Ok(lacking.filter(|path| self.is_expected(path)).collect())
    }

    /// What the agent itself or an application leaves out, nobody expects.
    fn is_expected(&self, path: &[u8]) -> bool {
        let scope = &self.reading.scope;
        let is_left_out = scope.verdict(path) == Verdict::Outside || scope.leaves_out_file(path);
        !is_left_out || scope.is_excluded_by_name(path)
    }

    fn known_in(&self, folder: &[u8], folders: &Folders) -> Result<Option<Known>> {
        let mut folders = folders.borrow_mut();
        if let Some(known) = folders.get(folder) {
            return Ok(known.clone());
        }
        let known = self.reading.journal.find(folder)?.map(|node| self.known_names(node)).transpose()?;
        folders.insert(folder.to_vec(), known.clone());
        Ok(known)
    }

    fn known_names(&self, node: NodeId) -> Result<Known> {
        let children = self.reading.journal.children(node)?;
        let known = children.into_iter().map(|(name, known)| (upcased(&name).into_owned(), known.stat.kind));
        Ok(Rc::new(known.collect()))
    }
}

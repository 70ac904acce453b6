//! Trying out what this computer offers to a backup: whoever reads the table knows what a capture of it can hold.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::node::{AttrKind, NodeKind};

use super::round_trip;
use super::service::EventLog;
use super::snapshot_trial;
use super::usn_journal::{UsnError, UsnJournal};
use super::watched_folder::{Depth, Told, WatchedFolder, wait};
use super::{
    Directory, SourceFile, attrs_of_file, attrs_of_path, changes, is_locked, path_bytes, seal, stat_path,
    unseal,
};
use crate::usn::{Changes, Extents, FileId, Gap, Mark};
use crate::vss::{Patience, VssError};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub what: &'static str,
    pub works: bool,
    pub detail: String,
}

/// Why something doesn't work here.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrialError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] UsnError),
    #[error(transparent)]
    Gap(#[from] Gap),
    #[error(transparent)]
    Snapshot(#[from] VssError),
    #[error("{0}")]
    Wrong(String),
}

pub(super) type Tried = Result<String, TrialError>;
type Trial = (&'static str, fn(&Path) -> Tried);

pub(super) fn must(is_so: bool, otherwise: impl Into<String>) -> Result<(), TrialError> {
    if is_so { Ok(()) } else { Err(TrialError::Wrong(otherwise.into())) }
}

/// How long an event may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries everything, in a folder below `parent` that's removed again. No step of a snapshot takes longer than `limit`.
pub fn run(parent: &Path, limit: Option<Duration>) -> io::Result<Vec<Row>> {
    let folder = parent.join(format!("coffer-selftest-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let trials: [Trial; 14] = [
        ("locked files are noticed", locked),
        ("changes are noticed", watched),
        ("numbers and links of files", hard_links),
        ("security descriptors", security),
        ("alternate streams", streams),
        ("short names", short_names),
        ("links and junctions", links),
        ("odd names", odd_names),
        ("a file there and back", round_trip::file),
        ("a link there and back", round_trip::link),
        ("encrypted there and back", round_trip::encrypted),
        ("change journal", journal),
        ("keys rest under DPAPI", dpapi),
        ("event log", event_log),
    ];
    let mut rows: Vec<Row> = trials.map(|(what, trial)| Row::new(what, trial(&folder))).into();
    let [snapshots, writers] = snapshot_trial::run(&folder, &patience(limit));
    rows.extend([Row::new("snapshots", snapshots), Row::new("writers", writers)]);
    fs::remove_dir_all(&folder)?;
    Ok(rows)
}

/// What the applications have that are asked before a snapshot: a line for each thing.
pub fn applications(limit: Option<Duration>) -> io::Result<Vec<String>> {
    snapshot_trial::applications(&patience(limit)).map_err(io::Error::other)
}

fn patience(limit: Option<Duration>) -> Patience {
    limit.map_or_else(Patience::default, Patience::within)
}

impl Row {
    fn new(what: &'static str, tried: Tried) -> Row {
        match tried {
            Ok(detail) => Row { what, works: true, detail },
            Err(error) => Row { what, works: false, detail: error.to_string() },
        }
    }
}

fn locked(folder: &Path) -> Tried {
    let path = folder.join("locked");
    let kept = OpenOptions::new().write(true).create_new(true).share_mode(0).open(&path)?;
    let opened = SourceFile::open(&path);
    drop(kept);
    match opened {
        Err(error) if is_locked(&error) => Ok(String::new()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(TrialError::Wrong("a file that's open for one program alone could be opened".into())),
    }
}

fn watched(folder: &Path) -> Tried {
    let mut watched = [WatchedFolder::start(folder, Depth::Tree)?];
    fs::write(folder.join("noticed"), b"x")?;
    must(wait(&watched, PATIENCE)?.is_some(), format!("no event came within {} s", PATIENCE.as_secs()))?;
    let told = watched[0].take()?;
    let Told::Records(records) = told else { return Err(TrialError::Wrong(format!("told {told:?}"))) };
    let changes = changes::changes(&records).unwrap_or_default();
    must(changes.iter().any(|change| change.path == b"noticed"), "the event is about something else")?;
    Ok(String::new())
}

fn hard_links(folder: &Path) -> Tried {
    let (one, two) = (folder.join("one"), folder.join("two"));
    fs::write(&one, b"x")?;
    fs::hard_link(&one, &two)?;
    let (first, second) = (stat_path(&one)?, stat_path(&two)?);
    must(first.is_same_object(&second) && first.links == 2, format!("{} links are counted", first.links))?;
    let root = path_bytes(&fs::canonicalize(folder)?);
    let listed = Directory::open_path(&root)?.list(|name| name == b"one")?;
    let listed = listed.iter().find_map(|entry| entry.stat.as_ref().ok().map(|stat| stat.inode));
    must(listed == Some(first.inode), "a listing gives a file another number than the file itself")?;
    must(first.inode != 0, "files have no numbers: renamed ones are sent again")?;
    Ok(String::new())
}

fn attr(path: &Path, kind: AttrKind) -> Result<Option<Vec<u8>>, TrialError> {
    let attrs = attrs_of_file(&File::open(path)?)?;
    Ok(attrs.list.into_iter().find(|attr| attr.kind == kind).map(|attr| attr.value.0.to_vec()))
}

fn security(folder: &Path) -> Tried {
    let path = folder.join("secured");
    fs::write(&path, b"x")?;
    let descriptor = attr(&path, AttrKind::NtSecurity)?.unwrap_or_default();
    must(descriptor.len() > 20, "none is kept")?;
    let has_sacl = descriptor.get(12..16).is_some_and(|at| at != [0; 4]);
    Ok(format!("{} bytes, {} what's recorded", descriptor.len(), if has_sacl { "with" } else { "without" }))
}

fn streams(folder: &Path) -> Tried {
    let path = folder.join("streamed");
    fs::write(&path, b"x")?;
    fs::write(folder.join("streamed:more"), b"of this")?;
    must(fs::read(&path)? == b"x", "the stream overwrote the file")?;
    let kept = attr(&path, AttrKind::NtStream)?;
    must(kept.as_deref() == Some(b"of this"), "it was written, but isn't listed")?;
    Ok(String::new())
}

fn short_names(folder: &Path) -> Tried {
    let path = folder.join("a rather long name.text");
    fs::write(&path, b"x")?;
    let name = attr(&path, AttrKind::NtShortName)?;
    let name = name.ok_or_else(|| TrialError::Wrong("the volume makes none".into()))?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn links(folder: &Path) -> Tried {
    let path = folder.join("link");
    std::os::windows::fs::symlink_file(folder.join("one"), &path)?;
    must(stat_path(&path)?.kind == NodeKind::Symlink, "it isn't seen to be one")?;
    let attrs = attrs_of_path(&path, NodeKind::Symlink)?.list;
    must(attrs.iter().any(|attr| attr.kind == AttrKind::NtReparse), "where it leads isn't kept")?;
    Ok(String::new())
}

fn odd_names(folder: &Path) -> Tried {
    let root = path_bytes(&fs::canonicalize(folder)?);
    // Half a surrogate pair, then a name that ends in a dot.
    for name in [&b"half-\xed\xa0\xb4"[..], b"dot."] {
        let path: PathBuf = super::as_path(&[&root[..], b"/", name].concat()).into_owned();
        fs::write(&path, b"x")?;
        let listed = Directory::open_path(&root)?.list(|listed| listed == name)?;
        must(listed.len() == 1, format!("{} isn't listed", String::from_utf8_lossy(name)))?;
    }
    Ok(String::new())
}

fn journal(folder: &Path) -> Tried {
    let root = path_bytes(&fs::canonicalize(folder)?);
    let drive = root.get(1).map(|letter| char::from(*letter)).unwrap_or('C');
    let before = UsnJournal::open(drive)?.history();
    fs::write(folder.join("journalled"), b"x")?;
    let journal = UsnJournal::open(drive)?;
    let mut changes = Changes::default();
    let mut mark = journal.history().since(Some(before.end()))?;
    while mark.next < journal.history().next {
        let (next, records): (Mark, _) = journal.read(mark)?;
        must(next.next > mark.next, "it doesn't go on")?;
        for record in records {
            changes.take(record)?;
        }
        mark = next;
    }
    let parent = changes.names().find(|(_, name)| *name == b"journalled").map(|(parent, _)| parent);
    let parent =
        parent.ok_or_else(|| TrialError::Wrong("it doesn't tell of a file that was just written".into()))?;
    must(parent.0 as u64 == stat_path(folder)?.inode, "it names another folder")?;
    let file = FileId(stat_path(&folder.join("journalled"))?.inode.into());
    let tells = match changes.extents(file) {
        Some(Extents::Runs(_)) => "tells where in a file",
        Some(Extents::Whole) => "tells which file",
        None => return Err(TrialError::Wrong("it doesn't tell that the file was written to".into())),
    };
    Ok(match before.chunk_bytes {
        Some(chunk) => format!("{tells}, in ranges of {chunk} bytes for large ones"),
        None => format!("{tells}, without ranges"),
    })
}

fn dpapi(_folder: &Path) -> Tried {
    must(unseal(&seal(b"secret")?)? == b"secret", "a secret came back changed")?;
    Ok(String::new())
}

fn event_log(_folder: &Path) -> Tried {
    EventLog::open()?.inform("The Coffer agent tries out the event log.");
    Ok("look for an entry of CofferAgent".to_owned())
}

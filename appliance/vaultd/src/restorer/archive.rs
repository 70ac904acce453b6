//! A restore as a tar stream: owners, modes, times, attributes and hard links as they were kept, whoever runs it.
//!
//! A file's pieces come in any order, so the files of the batch under way are spooled; the spool is empty after each batch.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use coffer_format::wire::{Message, RestoreNode};
use tar::{Builder, EntryType, Header};

use super::pool::{PackJob, Pool, Written};
use super::{Outcome, Sink, misplaced, paths, shown};

/// A file of the batch under way.
struct Spooled {
    name: PathBuf,
    meta: NodeMeta,
    written: Arc<Written>,
}

/// Another name of a file.
struct Link {
    index: u32,
    first: u32,
    name: PathBuf,
    meta: NodeMeta,
}

/// Takes the messages of a restore and writes a tar stream.
pub struct Archive<W: Write> {
    tar: Builder<W>,
    spool: PathBuf,
    pool: Pool,
    batch: HashMap<u32, Spooled>,
    /// Names of files in the archive, for hard links.
    names: HashMap<u32, PathBuf>,
    links: Vec<Link>,
    outcome: Outcome,
}

impl<W: Write> Archive<W> {
    /// Files of the batch under way are kept in `spool`, an empty directory.
    pub fn new(out: W, spool: &Path) -> Archive<W> {
        Archive {
            tar: Builder::new(out),
            spool: spool.to_owned(),
            pool: Pool::start(),
            batch: HashMap::new(),
            names: HashMap::new(),
            links: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Ends the stream.
    pub fn finish(mut self) -> io::Result<Outcome> {
        self.finish_batch()?;
        self.outcome.bytes = self.pool.bytes();
        self.tar.into_inner()?.flush()?;
        Ok(self.outcome)
    }

    fn begin(&mut self, node: RestoreNode) -> io::Result<()> {
        let name = match paths::relative(&node.path) {
            Ok(name) => name,
            Err(error) => {
                self.outcome.failed.push((shown(&node.path), error.to_string()));
                return Ok(());
            }
        };
        let RestoreNode { index, meta, hard_link_to, .. } = node;
        match (hard_link_to, meta.kind) {
            (Some(first), _) => self.links.push(Link { index, first, name, meta }),
            (None, NodeKind::File) => {
                let written = Written { path: self.spool.join(index.to_string()) };
                self.batch.insert(index, Spooled { name, meta, written: Arc::new(written) });
            }
            (None, NodeKind::Socket) => {
                self.outcome.failed.push((name, "a tar stream can't hold a socket: it was left out".into()));
            }
            (None, _) => {
                self.append(&name, &meta, io::empty())?;
                self.outcome.files += u64::from(meta.kind != NodeKind::Directory);
            }
        }
        Ok(())
    }

    /// The other end couldn't give all of it: its spooled bytes are written over by nobody, and go with the spool.
    fn throw_away(&mut self, index: u32) {
        self.batch.remove(&index);
        self.links.retain(|link| link.index != index);
    }

    fn finish_batch(&mut self) -> io::Result<()> {
        let mut failed: HashMap<PathBuf, String> = self.pool.wait().into_iter().collect();
        let mut batch: Vec<_> = std::mem::take(&mut self.batch).into_iter().collect();
        batch.sort_unstable_by_key(|(index, _)| *index);
        for (index, Spooled { name, meta, written }) in batch {
            if let Some(why) = failed.remove(&written.path) {
                self.outcome.failed.push((name, why));
                continue;
            }
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&written.path)?;
            file.set_len(meta.size)?;
            self.append(&name, &meta, file.take(meta.size))?;
            std::fs::remove_file(&written.path)?;
            self.names.insert(index, name);
            self.outcome.files += 1;
        }
        for Link { first, name, meta, .. } in std::mem::take(&mut self.links) {
            match self.names.get(&first).cloned() {
                Some(target) => {
                    let mut header = header(&meta, EntryType::Link);
                    self.tar.append_link(&mut header, &name, target)?;
                    self.outcome.files += 1;
                }
                None => {
                    let why = "the file that it's another name of wasn't restored";
                    self.outcome.failed.push((name, why.into()));
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, name: &Path, meta: &NodeMeta, bytes: impl Read) -> io::Result<()> {
        self.append_extensions(meta)?;
        let mut header = header(meta, entry_type(meta.kind));
        match meta.kind {
            NodeKind::Symlink => match meta.link_target().filter(|target| !target.is_empty()) {
                Some(target) => self.tar.append_link(&mut header, name, OsStr::from_bytes(target)),
                None => {
                    let why = "the point doesn't have where this link leads";
                    self.outcome.failed.push((name.to_owned(), why.into()));
                    Ok(())
                }
            },
            NodeKind::File => {
                header.set_size(meta.size);
                self.tar.append_data(&mut header, name, bytes)
            }
            _ => self.tar.append_data(&mut header, name, io::empty()),
        }
    }

    /// What a plain header has no room for: times to the nanosecond, extended attributes (pax's own names for them).
    fn append_extensions(&mut self, meta: &NodeMeta) -> io::Result<()> {
        let mut extensions = vec![("mtime".to_owned(), decimal(meta.mtime_ns).into_bytes())];
        for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
            let key = format!("SCHILY.xattr.{}", String::from_utf8_lossy(&attr.name));
            extensions.push((key, attr.value.to_vec()));
        }
        self.tar.append_pax_extensions(extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

impl<W: Write> Sink for Archive<W> {
    fn bytes(&mut self) -> u64 {
        self.pool.bytes()
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::RestoreNodes { nodes } => nodes.into_iter().try_for_each(|node| self.begin(node)),
            Message::RestorePack { compression, raw_len, placements, payload } => {
                let wanted = placements
                    .into_iter()
                    .filter_map(|at| Some((self.batch.get(&at.index)?.written.clone(), at)))
                    .collect();
                self.pool.write(PackJob { compression, raw_len, placements: wanted, payload: payload.0 });
                Ok(())
            }
            Message::RestoreBatchEnd => self.finish_batch(),
            Message::RestoreLeftOut { files } => {
                files.iter().filter_map(|file| file.index).for_each(|index| self.throw_away(index));
                self.outcome.lose(files);
                Ok(())
            }
            Message::RestoreEnd { failed, .. } => {
                self.outcome.end(failed);
                self.finish_batch()
            }
            _ => Err(misplaced()),
        }
    }
}

/// Seconds as pax writes them: the fraction has the sign of the whole.
fn decimal(ns: i64) -> String {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn entry_type(kind: NodeKind) -> EntryType {
    match kind {
        NodeKind::Directory => EntryType::Directory,
        NodeKind::Symlink => EntryType::Symlink,
        NodeKind::Fifo => EntryType::Fifo,
        NodeKind::CharDevice => EntryType::Char,
        NodeKind::BlockDevice => EntryType::Block,
        NodeKind::File | NodeKind::Socket => EntryType::Regular,
    }
}

fn header(meta: &NodeMeta, entry: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry);
    header.set_mode(meta.mode & 0o7777);
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_mtime(u64::try_from(meta.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0));
    header.set_size(0);
    if matches!(entry, EntryType::Char | EntryType::Block) {
        let (major, minor) = (nix::libc::major(meta.rdev), nix::libc::minor(meta.rdev));
        header.set_device_major(major).expect("GNU headers have devices");
        header.set_device_minor(minor).expect("GNU headers have devices");
    }
    header
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(decimal(-1_500_000_001), "-1.500000001");
        assert_eq!(decimal(-1), "-0.000000001");
        assert_eq!(decimal(1_500_000_001), "1.500000001");
    }
}

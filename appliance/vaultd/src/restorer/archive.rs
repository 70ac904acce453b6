//! A restore as a tar stream: owners, modes, times, attributes and hard links as they were kept, whoever runs it.
//!
//! A file's pieces come in any order, so the files of the batch under way are spooled; the spool is empty after each batch.
//!
//! Folders come before what is in them: a reader that gave them their times and rights then would change them again, or couldn't write into
//! them. So each is in the archive twice: bare where it comes, and with all it has at the end, deepest first.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use coffer_format::wire::{Message, RestoreNode};
use tar::{Builder, EntryType, Header};

use super::pool::{PackJob, Pool, Written};
use super::sparse::Sparse;
use super::{Outcome, Sink, misplaced, paths, posix_acl, shown};

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
    /// Names of what is in the archive and isn't a folder, for hard links.
    names: HashMap<u32, PathBuf>,
    links: Vec<Link>,
    /// Folders, whose entries are written once more at the end.
    folders: Vec<(PathBuf, NodeMeta)>,
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
            folders: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Ends the stream.
    pub fn finish(mut self) -> io::Result<Outcome> {
        self.finish_batch()?;
        self.finish_folders()?;
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
            (None, NodeKind::Directory) => {
                self.append_bare_folder(&name, &meta)?;
                self.folders.push((name, meta));
            }
            (None, NodeKind::Socket) => self.leave_out(&name, NO_SOCKETS),
            (None, _) => self.append_special(index, name, &meta)?,
        }
        Ok(())
    }

    /// What has no bytes and isn't a folder.
    fn append_special(&mut self, index: u32, name: PathBuf, meta: &NodeMeta) -> io::Result<()> {
        if meta.kind == NodeKind::Symlink && link_target(meta).is_none() {
            self.leave_out(&name, "the point doesn't have where this link leads");
            return Ok(());
        }
        self.append(&name, meta)?;
        self.names.insert(index, name);
        self.outcome.files += 1;
        Ok(())
    }

    /// A folder that can be written into, and hands nothing down to what is made in it.
    fn append_bare_folder(&mut self, name: &Path, meta: &NodeMeta) -> io::Result<()> {
        let mut header = header(meta, EntryType::Directory);
        header.set_mode(meta.mode & 0o777 | 0o700);
        self.tar.append_data(&mut header, name, io::empty())
    }

    /// Nothing is written into any folder any more.
    fn finish_folders(&mut self) -> io::Result<()> {
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by_cached_key(|(name, _)| std::cmp::Reverse(name.components().count()));
        folders.iter().try_for_each(|(name, meta)| self.append(name, meta))
    }

    fn leave_out(&mut self, name: &Path, why: &str) {
        self.outcome.failed.push((name.to_owned(), why.into()));
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
            self.append_file(&name, index, &meta, &file)?;
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
                None if meta.kind == NodeKind::Socket => self.leave_out(&name, NO_SOCKETS),
                None => self.leave_out(&name, "the file that it's another name of wasn't restored"),
            }
        }
        Ok(())
    }

    /// Holes are no bytes in the stream.
    fn append_file(&mut self, name: &Path, index: u32, meta: &NodeMeta, file: &File) -> io::Result<()> {
        let sparse = Sparse::of(file, meta.size)?;
        let Some(sparse) = sparse else {
            self.append_extensions(name, meta, &[])?;
            let mut header = header(meta, EntryType::Regular);
            header.set_size(meta.size);
            (&*file).rewind()?;
            return self.tar.append_data(&mut header, name, file.take(meta.size));
        };
        let size = meta.size.to_string();
        let of_holes: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", name.as_os_str().as_bytes()),
            ("GNU.sparse.realsize", size.as_bytes()),
        ];
        self.append_extensions(name, meta, &of_holes)?;
        // GNU tar looks for that map only behind a header of POSIX's.
        let mut header = described(Header::new_ustar(), meta, EntryType::Regular);
        header.set_size(sparse.len());
        self.tar.append_data(&mut header, Sparse::place(index), sparse.read(file))
    }

    /// What has no bytes.
    fn append(&mut self, name: &Path, meta: &NodeMeta) -> io::Result<()> {
        self.append_extensions(name, meta, &[])?;
        let mut header = header(meta, entry_type(meta.kind));
        match (meta.kind, link_target(meta)) {
            (NodeKind::Symlink, Some(target)) => {
                self.tar.append_link(&mut header, name, OsStr::from_bytes(target))
            }
            _ => self.tar.append_data(&mut header, name, io::empty()),
        }
    }

    /// What a plain header has no room for: times to the nanosecond, access lists, extended attributes. Their keywords are star's, which GNU
    /// tar reads as well.
    fn append_extensions(&mut self, name: &Path, meta: &NodeMeta, more: &[(&str, &[u8])]) -> io::Result<()> {
        let mut extensions = vec![("mtime".to_owned(), decimal(meta.mtime_ns).into_bytes())];
        for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
            match extension(&attr.name, &attr.value) {
                Ok(extension) => extensions.push(extension),
                Err(why) => self.leave_out(name, &why),
            }
        }
        let own = extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(own.chain(more.iter().copied()))
    }
}

const NO_SOCKETS: &str = "a tar stream can't hold a socket: it was left out";

fn link_target(meta: &NodeMeta) -> Option<&[u8]> {
    meta.link_target().filter(|target| !target.is_empty())
}

/// An extended attribute as a pax header has it, or why it can't be in one.
fn extension(name: &[u8], value: &[u8]) -> Result<(String, Vec<u8>), String> {
    if let Some(keyword) = posix_acl::keyword(name) {
        return match posix_acl::text(value) {
            Some(text) => Ok((keyword.to_owned(), text.into_bytes())),
            None => {
                Err(format!("its access list ({keyword}) isn't one that Linux writes: the list was left out"))
            }
        };
    }
    let Ok(plain) = std::str::from_utf8(name) else {
        let shown = name.escape_ascii();
        return Err(format!(
            "a tar stream can't hold the extended attribute \"{shown}\", whose name isn't UTF-8: it was left out"
        ));
    };
    // As GNU tar writes and reads them: the keyword ends at the first `=`.
    let coded = plain.replace('%', "%25").replace('=', "%3D");
    Ok((format!("SCHILY.xattr.{coded}"), value.to_vec()))
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
    described(Header::new_gnu(), meta, entry)
}

fn described(mut header: Header, meta: &NodeMeta, entry: EntryType) -> Header {
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
    use super::{decimal, extension};

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(decimal(-1_500_000_001), "-1.500000001");
        assert_eq!(decimal(-1), "-0.000000001");
        assert_eq!(decimal(1_500_000_001), "1.500000001");
    }

    #[test]
    fn attributes_have_the_names_that_tar_reads() {
        let keyword = |name: &[u8]| extension(name, b"").map(|(keyword, _)| keyword);
        assert_eq!(keyword(b"user.colour").unwrap(), "SCHILY.xattr.user.colour");
        assert_eq!(keyword(b"user.a=b%").unwrap(), "SCHILY.xattr.user.a%3Db%25");
        assert!(keyword(b"user.\xff").unwrap_err().contains("user.\\xff"));
        assert!(keyword(b"system.posix_acl_default").unwrap_err().contains("access list"));
    }
}

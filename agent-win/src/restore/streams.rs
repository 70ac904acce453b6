//! Streams that come as files of their own, called `file:stream`: written beside their file like any other, and given to it in the
//! end, since a file that's replaced loses what it had. Where files have no streams they are files with that name.

use std::collections::HashMap;
use std::io;

use super::growing::{Grown, Spot, discard};
use super::waiting::WAITING;
use super::write::Restoring;
use crate::path::split;
use crate::platform::{self, HeldEntry};
use crate::scan::ObjectId;

/// A whole stream that waits for its file.
pub(super) struct Stream {
    index: u32,
    entry: HeldEntry,
    /// Where the file belongs, and the stream's name.
    host: Vec<u8>,
    name: Vec<u8>,
    shown: Vec<u8>,
}

/// The file's path and the stream's name, where a path is marked as that of a stream.
pub(super) fn parted<'a>(path: &'a [u8], mark: &[u8]) -> io::Result<(&'a [u8], Vec<u8>)> {
    let host = path.strip_suffix(mark).and_then(|path| path.strip_suffix(b":"));
    match host.filter(|_| platform::is_name(mark)) {
        Some(host) => Ok((host, mark.to_vec())),
        None => {
            Err(io::Error::other("it's called otherwise than the stream that it is; restore it on the box"))
        }
    }
}

impl Restoring {
    /// All bytes of a stream are there.
    pub(super) fn keep_stream(&mut self, index: u32, grown: Grown, name: Vec<u8>) {
        let Grown { entry, spot: Spot { place, shown, .. }, .. } = grown;
        // Over another line it isn't asked for again.
        self.decided.insert(index);
        self.streams.push(Stream { index, entry, host: place, name, shown });
    }

    /// Every file has its place, or has none.
    pub(super) fn finish_streams(&mut self) {
        let streams = std::mem::take(&mut self.streams);
        if streams.is_empty() {
            return;
        }
        let placed = self.places.values().map(|placed| (placed.place.clone(), placed.object));
        let mut hosts: HashMap<Vec<u8>, ObjectId> = placed.collect();
        // A folder that was there keeps what it has where nothing is replaced.
        let folders = self.directories.iter().filter(|(_, one)| one.is_new || self.rule.replaces());
        hosts.extend(folders.filter_map(|(place, one)| Some((place.clone(), one.object?))));
        for stream in streams {
            let host = [[&stream.host[..], WAITING].concat(), stream.host].into_iter().find_map(|place| {
                let (_, name) = split(&place)?;
                Some((name.to_vec(), *hosts.get(&place)?))
            });
            let put = match host {
                Some((host, object)) => stream.entry.put_as_stream((&host, object), &stream.name),
                None => Err(io::Error::other("the file that it's a stream of wasn't restored")),
            };
            discard(stream.entry);
            match put {
                Ok(()) => self.done.files += 1,
                Err(error) => self.not_restored(stream.index, &stream.shown, &error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coffer_format::chunk::Compression;
    use coffer_format::node::{Attr, AttrKind, NodeKind, NodeMeta};
    use coffer_format::wire::{Placement, ReplaceRule, RestoreNode};

    use super::super::{Goal, Specials, WaitingFiles};
    use super::*;

    #[test]
    fn a_stream_goes_to_the_file_that_its_path_names() {
        assert_eq!(parted(b"C:/a/f.txt:s", b"s").unwrap(), (&b"C:/a/f.txt"[..], b"s".to_vec()));
        assert!(parted(b"C:/a/f.txt:s", b"t").is_err());
        assert!(parted(b"C:/a/f.txt:a/b", b"a/b").is_err());
    }

    fn node(index: u32, path: &str, size: u64, attr: (AttrKind, &[u8], &[u8])) -> RestoreNode {
        let (kind, name, value) = attr;
        let attrs = vec![Attr { kind, name: name.into(), value: value.into() }];
        let mtime_ns = 1_600_000_000_000_000_000;
        let meta = NodeMeta { size, attrs, mtime_ns, mode: 0o444, ..NodeMeta::new(NodeKind::File) };
        RestoreNode { index, path: path.as_bytes().into(), meta, hard_link_to: None }
    }

    /// Where there are no streams, the same name is that of a file: there as well, its bytes are what they were.
    #[test]
    fn a_stream_that_comes_before_its_file_ends_in_it_and_leaves_it_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let waits = WaitingFiles::new(dir.path().join("waiting"));
        let goal =
            Goal::of_agent(Some(dir.path().to_owned()), ReplaceRule::Changed, Specials::LeaveOff, waits);
        let mut restoring = Restoring::new(&goal, &[]).unwrap();
        const READ_ONLY: &[u8] = &[1, 0, 0, 0];
        restoring.begin(node(1, "f.txt:s", 6, (AttrKind::NtStream, b"s", b"")));
        restoring.begin(node(2, "gone.txt:s", 6, (AttrKind::NtStream, b"s", b"")));
        let placements = [1, 2].map(|index| Placement { index, at: 0, len: 6, offset: 0 });
        restoring.pack(Compression::Raw, 6, placements.to_vec(), b"stream".to_vec());
        restoring.finish_batch();
        restoring.begin(node(3, "f.txt", 4, (AttrKind::NtBasic, b"", READ_ONLY)));
        let placement = Placement { index: 3, at: 0, len: 4, offset: 0 };
        restoring.pack(Compression::Raw, 4, vec![placement], b"file".to_vec());
        restoring.finish_batch();
        let done = restoring.finish();

        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!((&read("f.txt")[..], &read("f.txt:s")[..]), (&b"file"[..], &b"stream"[..]));
        let file = std::fs::metadata(dir.path().join("f.txt")).unwrap();
        let age = file.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(age.as_secs(), 1_600_000_000, "writing the stream changed the file's time");
        assert!(file.permissions().readonly());
        let lacking: Vec<_> = done.lacking.iter().map(|(path, what)| (&path[..], what.as_str())).collect();
        if cfg!(windows) {
            let why = "wasn't restored: the file that it's a stream of wasn't restored";
            assert_eq!(lacking, [(&b"gone.txt:s"[..], why)]);
            assert_eq!(done.files, 2);
        } else {
            assert!(lacking.is_empty(), "{lacking:?}");
        }
        for left in std::fs::read_dir(dir.path()).unwrap() {
            let name = left.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with(".coffer"), "{name:?} is left behind");
        }
    }
}

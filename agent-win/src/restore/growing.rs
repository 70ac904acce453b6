//! A file that isn't whole yet: written under a name of its own beside its place.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use coffer_format::chunk::Compression;
use coffer_format::limits::PACK_RAW_MAX;
use coffer_format::node::NodeMeta;
use coffer_format::wire::Placement;

use super::folders::working_name;
use crate::path::split;
use crate::platform::{self, HeldEntry, HeldFolder};

/// Where something goes, and how the point calls it.
#[derive(Clone)]
pub(super) struct Spot {
    pub(super) folder: Arc<HeldFolder>,
    pub(super) name: Vec<u8>,
    /// The whole of it, below what's restored to.
    pub(super) place: Vec<u8>,
    pub(super) shown: Vec<u8>,
}

impl Spot {
    /// A name beside it that nothing has yet.
    pub(super) fn beside(mut self) -> io::Result<Spot> {
        for number in 0_u32.. {
            let end = if number == 0 { ".restored".to_owned() } else { format!(".restored-{number}") };
            let name = [&self.name[..], end.as_bytes()].concat();
            match std::fs::symlink_metadata(self.folder.place(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.place = [self.parent(), b"/", &name].concat();
                    self.name = name;
                    return Ok(self);
                }
                found => {
                    found?;
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The folder's own place.
    pub(super) fn parent(&self) -> &[u8] {
        split(&self.place).map_or(&b""[..], |(parent, _)| parent)
    }
}

/// A file under way, which several threads may write to.
pub(super) struct Growing {
    entry: HeldEntry,
    pub(super) spot: Spot,
    meta: NodeMeta,
    /// Bytes so far.
    written: AtomicU64,
    /// What went wrong first, if anything did.
    broken: Mutex<Option<(io::ErrorKind, String)>>,
}

/// A file that's whole but for its name.
pub(super) struct Grown {
    pub(super) entry: HeldEntry,
    pub(super) spot: Spot,
    pub(super) meta: NodeMeta,
    /// What couldn't be given to it.
    pub(super) lacking: Vec<String>,
}

impl Growing {
    pub(super) fn create(index: u32, spot: Spot, meta: NodeMeta) -> io::Result<Growing> {
        let entry = HeldEntry::create(&spot.folder, &working_name(index), platform::is_guarded(&meta))?;
        let growing = Growing { entry, spot, meta, written: AtomicU64::new(0), broken: Mutex::new(None) };
        match growing.entry.expect_size(&growing.meta) {
            Ok(()) => Ok(growing),
            Err(error) => {
                growing.discard();
                Err(error)
            }
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were written; none any more once it's broken.
    pub(super) fn write(&self, placement: &Placement, raw: &Result<Vec<u8>, String>) -> u64 {
        if self.broken().is_some() {
            return 0;
        }
        let from = placement.offset as usize;
        let other = |sentence: &str| io::Error::other(sentence.to_owned());
        let written = raw.as_ref().map_err(|sentence| other(sentence)).and_then(|raw| {
            let bytes = raw
                .get(from..from + placement.len as usize)
                .ok_or_else(|| other("the box sent bytes that don't fit together"))?;
            platform::write_all_at(self.entry.file(), bytes, placement.at)
        });
        if let Err(error) = written {
            self.broken().get_or_insert((error.kind(), error.to_string()));
            return 0;
        }
        self.written.fetch_add(placement.len.into(), Ordering::Relaxed);
        placement.len.into()
    }

    fn broken(&self) -> MutexGuard<'_, Option<(io::ErrorKind, String)>> {
        self.broken.lock().expect("nothing panics while it notes an error")
    }

    /// All of it is written, with what belongs to it, still under its working name and not synced.
    pub(super) fn complete(self) -> io::Result<Grown> {
        let broken = self.broken().take();
        let Growing { mut entry, spot, meta, .. } = self;
        let completed = match broken {
            Some((kind, error)) => Err(io::Error::new(kind, error)),
            None => entry.file().set_len(meta.size),
        };
        match completed.and_then(|()| entry.finish_bytes(&meta)) {
            Ok(()) => {
                let lacking = entry.put_back(&meta);
                Ok(Grown { entry, spot, meta, lacking })
            }
            Err(error) => {
                discard(entry);
                Err(error)
            }
        }
    }

    pub(super) fn discard(self) {
        discard(self.entry);
    }
}

/// There's no room for it, nor for anything else.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn discard(entry: HeldEntry) {
    if let Err(error) = entry.discard() {
        tracing::warn!(%error, "a file that couldn't be restored is left behind");
    }
}

/// The bytes of a pack, or a sentence.
pub(super) fn unpacked(compression: Compression, raw_len: u32, payload: Vec<u8>) -> Result<Vec<u8>, String> {
    let raw_len = raw_len as usize;
    if raw_len > PACK_RAW_MAX {
        return Err("the box sent more than fits a pack".to_owned());
    }
    let raw = match compression {
        Compression::Raw => payload,
        Compression::Zstd => zstd::bulk::decompress(&payload, raw_len).map_err(|error| error.to_string())?,
    };
    if raw.len() == raw_len { Ok(raw) } else { Err("a pack has another length than it says".to_owned()) }
}

//! A file that isn't whole yet: written under a name of its own beside its place.

use std::io;
use std::sync::Arc;

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
    /// The folder's own place.
    pub(super) fn parent(&self) -> &[u8] {
        split(&self.place).map_or(&b""[..], |(parent, _)| parent)
    }
}

/// A file under way.
pub(super) struct Growing {
    entry: HeldEntry,
    pub(super) spot: Spot,
    meta: NodeMeta,
    /// Bytes so far.
    pub(super) written: u64,
    /// What went wrong first, if anything did.
    broken: Option<String>,
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
        let growing = Growing { entry, spot, meta, written: 0, broken: None };
        match growing.entry.expect_size(&growing.meta) {
            Ok(()) => Ok(growing),
            Err(error) => {
                growing.discard();
                Err(error)
            }
        }
    }

    pub(super) fn write(&mut self, placement: &Placement, raw: &Result<Vec<u8>, String>) {
        let from = placement.offset as usize;
        let written = raw.as_ref().map_err(Clone::clone).and_then(|raw| {
            let bytes = raw
                .get(from..from + placement.len as usize)
                .ok_or_else(|| "the box sent bytes that don't fit together".to_owned())?;
            platform::write_all_at(self.entry.file(), bytes, placement.at).map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => self.written += u64::from(placement.len),
            Err(error) => self.broken = self.broken.take().or(Some(error)),
        }
    }

    /// All of it is on the disk, with what belongs to it, still under its working name.
    pub(super) fn complete(self) -> io::Result<Grown> {
        let Growing { mut entry, spot, meta, broken, .. } = self;
        let completed = match broken {
            Some(error) => Err(io::Error::other(error)),
            None => entry.file().set_len(meta.size).and_then(|()| entry.file().sync_all()),
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

pub(super) fn discard(entry: HeldEntry) {
    if let Err(error) = entry.discard() {
        tracing::warn!(%error, "a file that couldn't be restored is left behind");
    }
}

/// The bytes of a pack, or a sentence.
pub(super) fn unpacked(compression: Compression, raw_len: u32, payload: &[u8]) -> Result<Vec<u8>, String> {
    let raw_len = raw_len as usize;
    if raw_len > PACK_RAW_MAX {
        return Err("the box sent more than fits a pack".to_owned());
    }
    let raw = match compression {
        Compression::Raw => payload.to_vec(),
        Compression::Zstd => zstd::bulk::decompress(payload, raw_len).map_err(|error| error.to_string())?,
    };
    if raw.len() == raw_len { Ok(raw) } else { Err("a pack has another length than it says".to_owned()) }
}

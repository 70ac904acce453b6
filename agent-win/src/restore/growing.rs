//! A file that isn't whole yet: written under a name of its own beside its place.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use coffer_format::chunk::Compression;
use coffer_format::limits::PACK_RAW_MAX;
use coffer_format::node::NodeMeta;
use coffer_format::wire::Placement;

use super::existing::Existing;
use super::folders::working_name;
use super::twin::Twin;
use crate::path::split;
use crate::platform::{self, HeldEntry, HeldFolder};
use crate::scan::ObjectId;

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
    index: u32,
    /// What's written. Nothing while the file that's there already has the bytes that come.
    entry: OnceLock<HeldEntry>,
    twin: Mutex<Option<Twin>>,
    rule: Existing,
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

/// What became of it.
pub(super) enum Ended {
    Grown(Box<Grown>),
    /// What's there already is as the point has it.
    Alike(Spot, ObjectId),
    /// What's there isn't, and isn't to be replaced.
    Kept(Spot),
}

impl Growing {
    pub(super) fn create(index: u32, spot: Spot, meta: NodeMeta) -> io::Result<Growing> {
        let growing = Growing::new(index, spot, meta, None, Existing::All);
        growing.begin()?;
        Ok(growing)
    }

    /// Where a file is already that looks as the point has it.
    pub(super) fn beside_twin(index: u32, spot: Spot, meta: NodeMeta, twin: Twin, rule: Existing) -> Growing {
        Growing::new(index, spot, meta, Some(twin), rule)
    }

    fn new(index: u32, spot: Spot, meta: NodeMeta, twin: Option<Twin>, rule: Existing) -> Growing {
        Growing {
            index,
            entry: OnceLock::new(),
            twin: Mutex::new(twin),
            rule,
            spot,
            meta,
            written: AtomicU64::new(0),
            broken: Mutex::new(None),
        }
    }

    /// The file that's written to is made.
    fn begin(&self) -> io::Result<&HeldEntry> {
        let entry = HeldEntry::create(
            &self.spot.folder,
            &working_name(self.index),
            platform::is_guarded(&self.meta),
        )?;
        if let Err(error) = entry.expect_size(&self.meta) {
            discard(entry);
            return Err(error);
        }
        Ok(self.entry.get_or_init(|| entry))
    }

    /// What's written to, once these bytes aren't there already. What came before is taken from the twin.
    fn entry_for(&self, bytes: &[u8], at: u64) -> io::Result<Option<(&HeldEntry, u64)>> {
        if let Some(entry) = self.entry.get() {
            return Ok(Some((entry, 0)));
        }
        let mut twin = self.twin.lock().expect("nothing panics while it compares");
        if let Some(entry) = self.entry.get() {
            return Ok(Some((entry, 0)));
        }
        let Some(twin) = twin.as_mut() else { return Ok(Some((self.begin()?, 0))) };
        if twin.has(bytes, at)? {
            return Ok(None);
        }
        if self.rule.keeps() {
            twin.differs();
            return Ok(None);
        }
        self.part_from(twin).map(Some)
    }

    fn part_from(&self, twin: &Twin) -> io::Result<(&HeldEntry, u64)> {
        let entry = self.begin()?;
        Ok((entry, twin.copy_same(entry.file())?))
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
            let Some((entry, copied)) = self.entry_for(bytes, placement.at)? else { return Ok(0) };
            platform::write_all_at(entry.file(), bytes, placement.at)?;
            Ok(copied + u64::from(placement.len))
        });
        match written {
            Ok(written) => {
                self.written.fetch_add(written, Ordering::Relaxed);
                written
            }
            Err(error) => {
                self.broken().get_or_insert((error.kind(), error.to_string()));
                0
            }
        }
    }

    fn broken(&self) -> MutexGuard<'_, Option<(io::ErrorKind, String)>> {
        self.broken.lock().expect("nothing panics while it notes an error")
    }

    /// All of it is written, with what belongs to it, still under its working name and not synced.
    pub(super) fn complete(mut self) -> io::Result<Ended> {
        let broken = self.broken().take();
        let compared = match broken {
            Some((kind, error)) => Err(io::Error::new(kind, error)),
            None => self.compared(),
        };
        let is_beside = self.twin.get_mut().expect("nothing panics while it compares").is_some();
        let (entry, spot) = (self.entry.take(), self.spot);
        let mut entry = match (compared, entry) {
            (Ok(Some(object)), _) => return Ok(Ended::Alike(spot, object)),
            (Ok(None), None) => return Ok(Ended::Kept(spot)),
            (Ok(None), Some(entry)) => entry,
            (Err(error), entry) => {
                entry.into_iter().for_each(discard);
                return Err(error);
            }
        };
        let completed = entry.file().set_len(self.meta.size).and_then(|()| entry.finish_bytes(&self.meta));
        let spot = completed.and_then(|()| match is_beside && self.rule == Existing::Beside {
            true => spot.beside(),
            false => Ok(spot),
        });
        match spot {
            Ok(spot) => {
                let lacking = entry.put_back(&self.meta);
                Ok(Ended::Grown(Box::new(Grown { entry, spot, meta: self.meta, lacking })))
            }
            Err(error) => {
                discard(entry);
                Err(error)
            }
        }
    }

    /// The file that's there already, where it's as the point has it.
    fn compared(&self) -> io::Result<Option<ObjectId>> {
        let twin = self.twin.lock().expect("nothing panics while it compares");
        let Some(twin) = twin.as_ref().filter(|_| self.entry.get().is_none()) else { return Ok(None) };
        if !twin.is_different() && twin.is_rest_zero(self.meta.size)? {
            return Ok(Some(twin.object()));
        }
        if !self.rule.keeps() {
            self.part_from(twin)?;
        }
        Ok(None)
    }

    pub(super) fn discard(self) {
        self.entry.into_inner().into_iter().for_each(discard);
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

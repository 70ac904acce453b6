//! A vault's folder that goes on where HQ's mirror of it is: what it lacks comes from there before anything new is written, so that no
//! number that HQ knows is ever given out again.
//!
//! The folder may be empty, hold an older copy, or what came from cartridges. Where it has gone its own way since, HQ's line
//! counts, and the folder's own is set aside whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use coffer_format::segment::{RecordKind, SegmentHeader, Stream, Trailer};
use coffer_format::wire::{RefusalCode, SegmentHeld};
use coffer_format::{FileHash, SegmentId, from_bytes};
use ring::aead::LessSafeKey;

use crate::disk::{Disk, RealDisk, no_file};
use crate::identity::{read_identity, write_identity};
use crate::keys::{Opener, VaultKeys};
use crate::mending::trailer_of;
use crate::placing::{clear, make_folder, put_in_place};
use crate::seal::open_record;
use crate::segment::{FileForm, parse_name, scan, segment_path, segments_dir};
use crate::vault::{catalog_path, lock};
use crate::{Result, VaultError};

/// What the folder needs of HQ.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Segments of which the outline will do.
    pub outlines: Vec<SegmentId>,
    /// Data that is here in part.
    pub whole: Vec<SegmentId>,
    /// Files of another line than HQ's.
    apart: Vec<SegmentId>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.outlines.is_empty() && self.whole.is_empty() && self.apart.is_empty()
    }

    /// Whether the folder has gone its own way since HQ last heard of this vault.
    pub fn has_own_line(&self) -> bool {
        !self.apart.is_empty()
    }
}

/// What a folder holds that was filled with outlines, in the form that HQ tells it in.
pub fn held_in(dir: &Path) -> Result<Vec<SegmentHeld>> {
    let segments = segments_dir(dir);
    let mut held = Vec::new();
    for name in RealDisk.list(&segments).map_err(VaultError::io("list", &segments))? {
        let Some((segment, form)) = parse_name(&name) else { continue };
        let bytes = outline_in(dir, segment, form)?;
        let header: SegmentHeader = from_bytes(bytes.get(..SegmentHeader::LEN).unwrap_or_default())?;
        let end: Trailer = from_bytes(&bytes[bytes.len().saturating_sub(Trailer::LEN)..])?;
        held.push(SegmentHeld {
            segment,
            stream: header.stream,
            bytes: end.file_len,
            hash: Some(end.hash),
            salt: header.salt,
        });
    }
    held.sort_by_key(|held| held.segment);
    Ok(held)
}

/// A segment's file in such a folder.
pub fn outline_of(dir: &Path, held: &SegmentHeld) -> Result<Vec<u8>> {
    let form = if held.stream == Stream::Meta { FileForm::Whole } else { FileForm::Stub };
    outline_in(dir, held.segment, form)
}

fn outline_in(dir: &Path, segment: SegmentId, form: FileForm) -> Result<Vec<u8>> {
    let path = segment_path(dir, segment, form);
    std::fs::read(&path).map_err(VaultError::io("read", &path))
}

/// A stretch that isn't sound in a segment of which HQ hasn't all either. Offset and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    pub segment: SegmentId,
    pub offset: u64,
    pub len: u64,
}

/// A vault's folder that nobody has open.
pub struct Continuation {
    dir: PathBuf,
    opener: Opener,
    held: Vec<SegmentHeld>,
    /// Segments that are damaged at HQ, though it's known how they were closed.
    damaged: HashSet<SegmentId>,
    keys: Option<VaultKeys>,
    _lock: Option<nix::fcntl::Flock<std::fs::File>>,
}

/// A segment's file as it is here.
enum Local {
    None,
    Stub {
        header: SegmentHeader,
        hash: FileHash,
    },
    /// `end`: its trailer if it's closed.
    File {
        header: SegmentHeader,
        path: PathBuf,
        end: Option<Trailer>,
    },
    /// Not even its header can be read.
    Unreadable,
}

impl Continuation {
    /// Begins with what HQ holds.
    pub fn begin(dir: &Path, opener: Opener, held: Vec<SegmentHeld>) -> Result<Continuation> {
        let segments = segments_dir(dir);
        let lock = lock(dir)?;
        make_folder(&RealDisk, &segments)?;
        let keys = match read_identity(&RealDisk, dir) {
            Ok(identity) => Some(VaultKeys::open(&opener, &identity.keys)?),
            Err(_) => None,
        };
        let (dir, damaged) = (dir.into(), HashSet::new());
        Ok(Continuation { dir, opener, held, damaged, keys, _lock: lock })
    }

    /// Of these HQ has only what is sound, and how they were closed.
    pub fn note_damaged(&mut self, damaged: HashSet<SegmentId>) {
        self.damaged = damaged;
    }

    /// Compares the folder with what HQ holds.
    pub fn plan(&self) -> Result<Plan> {
        let mut plan = Plan::default();
        for held in &self.held {
            match self.local(held.segment)? {
                Local::None | Local::Unreadable => plan.outlines.push(held.segment),
                Local::Stub { header, .. } | Local::File { header, .. } if header.salt != held.salt => {
                    plan.apart.push(held.segment);
                }
                Local::Stub { hash, .. } => {
                    if held.hash.is_some_and(|at_hq| at_hq != hash) {
                        plan.outlines.push(held.segment);
                    }
                }
                Local::File { header, path, end } => {
                    if self.lacks_of(held, &header, &path, end)? {
                        let outline_is_all = held.hash.is_none()
                            || held.stream == Stream::Meta
                            || self.damaged.contains(&held.segment);
                        let list = if outline_is_all { &mut plan.outlines } else { &mut plan.whole };
                        list.push(held.segment);
                    }
                }
            }
        }
        // The newest first: it says whose vault it is now.
        plan.outlines.sort_by_key(|segment| std::cmp::Reverse(*segment));
        Ok(plan)
    }

    /// Sets the folder's own line aside in `to`: a whole vault of its own, which shares with this one what was before they parted. Returns
    /// how many segments were its alone.
    pub fn set_aside(&self, plan: &Plan, to: &Path) -> Result<usize> {
        let Some(first) = plan.apart.iter().min() else { return Ok(0) };
        let (from, beside) = (segments_dir(&self.dir), segments_dir(to));
        std::fs::create_dir_all(&beside).map_err(VaultError::io("create", &beside))?;
        let names = RealDisk.list(&from).map_err(VaultError::io("list", &from))?;
        for name in &names {
            let path = beside.join(name);
            match std::fs::hard_link(from.join(name), &path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(VaultError::io("link", &path)(error));
                }
                _ => {}
            }
        }
        let identity = read_identity(&RealDisk, &self.dir)?;
        if read_identity(&RealDisk, to).is_err() {
            write_identity(&RealDisk, to, &identity)?;
        }
        RealDisk.sync_dir(&beside).map_err(VaultError::io("sync", &beside))?;
        let mut count = 0;
        for name in &names {
            let Some((segment, form)) = parse_name(name).filter(|(segment, _)| segment >= first) else {
                continue;
            };
            if self.is_on_hqs_line(segment)? {
                continue;
            }
            let path = segment_path(&self.dir, segment, form);
            RealDisk.remove(&path).map_err(VaultError::io("remove", &path))?;
            count += 1;
        }
        RealDisk.sync_dir(&from).map_err(VaultError::io("sync", &from))?;
        Ok(count)
    }

    /// Puts in its place what HQ gave of a segment: its outline, all of it, or as much as there is.
    pub fn put(&mut self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        let damaged = |what: &str| VaultError::Damaged { segment, offset: 0, what: what.into() };
        let header: SegmentHeader = from_bytes(bytes.get(..SegmentHeader::LEN).unwrap_or_default())?;
        let Some(held) = self.held.iter().copied().find(|held| held.segment == segment) else {
            return Err(damaged("HQ sent what it doesn't hold"));
        };
        if header.segment != segment || header.salt != held.salt {
            return Err(damaged("HQ sent another segment"));
        }
        let (form, is_sound) = if held.hash.is_none() {
            // What is damaged at HQ is between what is sound.
            let found = scan(bytes, &self.key_of(&header)?, SegmentHeader::LEN as u64);
            (FileForm::Whole, found.end == bytes.len() as u64)
        } else if bytes.len() as u64 == held.bytes {
            let is_as_closed = hashes_to_its_end(bytes);
            let is_metadata = header.stream == Stream::Meta;
            (FileForm::Whole, is_as_closed || is_metadata && self.has_its_end(&header, bytes, held.hash)?)
        } else {
            (FileForm::Stub, header.stream != Stream::Meta && is_outline(bytes))
        };
        if !is_sound {
            return Err(damaged("what HQ sent isn't whole"));
        }
        self.take_identity(&header)?;
        if form == FileForm::Stub
            && self.damaged.contains(&segment)
            && let Local::File { header, path, .. } = self.local(segment)?
        {
            return self.put_end(&header, &path, bytes);
        }
        self.check_goes_on(segment, bytes)?;
        let tail = if held.hash.is_none() { self.open_tail(segment, bytes.len())? } else { Vec::new() };
        self.write(segment, form, &[bytes, &tail[..]].concat())
    }

    /// Puts the end that a segment was closed with behind what is here of it.
    fn put_end(&self, header: &SegmentHeader, path: &Path, stub: &[u8]) -> Result<()> {
        let segment = header.segment;
        let end: Trailer = from_bytes(&stub[stub.len() - Trailer::LEN..])?;
        let sound = self.sound_len(header, path)?.min(end.index_offset);
        let here = std::fs::read(path).map_err(VaultError::io("read", path))?;
        let mut bytes = here[..sound as usize].to_vec();
        bytes.resize(end.index_offset as usize, 0);
        bytes.extend_from_slice(&stub[SegmentHeader::LEN..]);
        self.write(segment, FileForm::Whole, &bytes)
    }

    /// What lacks in files of segments that are damaged at HQ, too.
    fn lacking(&self) -> Result<Vec<Lacking>> {
        let mut lacking = Vec::new();
        for segment in self.damaged.iter().copied() {
            let Local::File { header, path, end: Some(end) } = self.local(segment)? else { continue };
            let bytes = std::fs::read(&path).map_err(VaultError::io("read", &path))?;
            if hashes_to_its_end(&bytes) {
                continue;
            }
            let records = bytes.get(..end.index_offset as usize).unwrap_or(&bytes);
            let found = scan(records, &self.key_of(&header)?, SegmentHeader::LEN as u64);
            let behind = (found.end, records.len() as u64 - found.end);
            let stretches = found.damaged.into_iter().chain([behind]).filter(|(_, len)| *len > 0);
            lacking.extend(stretches.map(|(offset, len)| Lacking { segment, offset, len }));
        }
        Ok(lacking)
    }

    /// The folder is complete: its catalog is made anew when it's opened. Returns what isn't sound in it: the vault is to record that as damage.
    pub fn finish(self) -> Result<Vec<Lacking>> {
        let catalog = catalog_path(&self.dir);
        for ending in ["", "-wal", "-shm"] {
            let mut path = catalog.clone().into_os_string();
            path.push(ending);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(VaultError::io("remove", Path::new(&path))(error));
                }
                _ => {}
            }
        }
        RealDisk.sync_dir(&self.dir).map_err(VaultError::io("sync", &self.dir))?;
        self.lacking()
    }

    fn is_on_hqs_line(&self, segment: SegmentId) -> Result<bool> {
        let Some(held) = self.held.iter().find(|held| held.segment == segment) else { return Ok(false) };
        Ok(match self.local(segment)? {
            Local::Stub { header, .. } | Local::File { header, .. } => header.salt == held.salt,
            Local::None | Local::Unreadable => false,
        })
    }

    fn local(&self, segment: SegmentId) -> Result<Local> {
        for form in [FileForm::Whole, FileForm::Stub] {
            let path = segment_path(&self.dir, segment, form);
            let file = match RealDisk.open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) if no_file(&error).is_some() => return Ok(Local::Unreadable),
                other => other.map_err(VaultError::io("open", &path))?,
            };
            let size = file.size().map_err(VaultError::io("read", &path))?;
            let mut bytes = [0; SegmentHeader::LEN];
            let read =
                file.read_at(0, &mut bytes).ok().and_then(|()| from_bytes::<SegmentHeader>(&bytes).ok());
            let Some(header) = read else { return Ok(Local::Unreadable) };
            let mut end = [0; Trailer::LEN];
            let at = size.saturating_sub(Trailer::LEN as u64);
            let end = file.read_at(at, &mut end).ok().and_then(|()| from_bytes::<Trailer>(&end).ok());
            return Ok(match (form, end) {
                (FileForm::Stub, None) => Local::Unreadable,
                (FileForm::Stub, Some(end)) => Local::Stub { header, hash: end.hash },
                (FileForm::Whole, end) => {
                    Local::File { header, path, end: end.filter(|end| end.file_len == size) }
                }
            });
        }
        Ok(Local::None)
    }

    /// Whether HQ has of a segment what isn't here. A segment that two runs closed has another end in each, and HQ's counts.
    fn lacks_of(
        &self,
        held: &SegmentHeld,
        header: &SegmentHeader,
        path: &Path,
        end: Option<Trailer>,
    ) -> Result<bool> {
        Ok(match (held.hash, end) {
            (Some(at_hq), Some(end)) if at_hq != end.hash => true,
            // Nothing may be taken in before it's known what damaged metadata says.
            (Some(_), Some(_)) => held.stream == Stream::Meta && self.gives_better(held, path)?,
            (Some(_), None) => true,
            (None, Some(end)) => held.bytes > end.index_offset,
            (None, None) => held.bytes > self.sound_len(header, path)?,
        })
    }

    /// Whether a closed segment's file is damaged here and isn't at HQ.
    fn gives_better(&self, held: &SegmentHeld, path: &Path) -> Result<bool> {
        if self.damaged.contains(&held.segment) {
            return Ok(false);
        }
        Ok(!hashes_to_its_end(&std::fs::read(path).map_err(VaultError::io("read", path))?))
    }

    /// How far a file's records decrypt without a gap.
    fn sound_len(&self, header: &SegmentHeader, path: &Path) -> Result<u64> {
        let bytes = std::fs::read(path).map_err(VaultError::io("read", path))?;
        let found = scan(&bytes, &self.key_of(header)?, SegmentHeader::LEN as u64);
        Ok(found.damaged.first().map_or(found.end, |(offset, _)| *offset))
    }

    fn key_of(&self, header: &SegmentHeader) -> Result<LessSafeKey> {
        match &self.keys {
            Some(keys) if keys.are_of(&header.keys) => Ok(keys.segment_key(&header.salt)),
            _ => Ok(VaultKeys::open(&self.opener, &header.keys)?.segment_key(&header.salt)),
        }
    }

    /// Whether what a segment was closed with can be read, so that its damage can be told from that.
    fn has_its_end(&self, header: &SegmentHeader, bytes: &[u8], hash: Option<FileHash>) -> Result<bool> {
        let Some(trailer) = trailer_of(bytes).filter(|trailer| Some(trailer.hash) == hash) else {
            return Ok(false);
        };
        let mut index = bytes[trailer.index_offset as usize..bytes.len() - Trailer::LEN].to_vec();
        let opened = open_record(&self.key_of(header)?, &mut index);
        Ok(opened.is_some_and(|(header, _)| header.kind == RecordKind::Index))
    }

    /// The first segment of an empty folder says whose it is.
    fn take_identity(&mut self, header: &SegmentHeader) -> Result<()> {
        match read_identity(&RealDisk, &self.dir) {
            Ok(identity) if identity.vault != header.vault => Err(VaultError::refused(
                RefusalCode::OtherBox,
                "HQ's branch is another vault: ask for the right branch's code",
            )),
            Ok(_) => Ok(()),
            Err(_) => {
                let identity = SegmentHeader { segment: SegmentId(0), stream: Stream::Meta, ..*header };
                self.keys = Some(VaultKeys::open(&self.opener, &identity.keys)?);
                write_identity(&RealDisk, &self.dir, &identity)
            }
        }
    }

    /// What is here of a segment must be the beginning of what HQ sent.
    fn check_goes_on(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        let Local::File { header, path, .. } = self.local(segment)? else { return Ok(()) };
        let here = std::fs::read(&path).map_err(VaultError::io("read", &path))?;
        let found = scan(&here, &self.key_of(&header)?, SegmentHeader::LEN as u64);
        let end = found
            .index
            .records
            .last()
            .map_or(SegmentHeader::LEN as u64, |last| last.offset + last.record_len);
        let sound = found.damaged.first().map_or(end, |(offset, _)| end.min(*offset)) as usize;
        if bytes.get(..sound) == here.get(..sound) {
            return Ok(());
        }
        Err(VaultError::refused(
            RefusalCode::Conflict,
            format!("segment {segment} has gone another way here than at HQ: nothing was changed"),
        ))
    }

    /// What an open segment here has beyond what HQ has of it.
    fn open_tail(&self, segment: SegmentId, from: usize) -> Result<Vec<u8>> {
        let Local::File { path, end: None, .. } = self.local(segment)? else { return Ok(Vec::new()) };
        let here = std::fs::read(&path).map_err(VaultError::io("read", &path))?;
        Ok(here.get(from..).unwrap_or_default().to_vec())
    }

    fn write(&self, segment: SegmentId, form: FileForm, bytes: &[u8]) -> Result<()> {
        let path = segment_path(&self.dir, segment, form);
        let new = path.with_extension("new");
        clear(&RealDisk, &new)?;
        let file = RealDisk.create(&new).map_err(VaultError::io("create", &new))?;
        file.write_at(0, bytes).map_err(VaultError::io("write", &new))?;
        file.sync().map_err(VaultError::io("sync", &new))?;
        put_in_place(&RealDisk, &new, &path)?;
        if form == FileForm::Stub {
            // One whose header couldn't be read.
            let file = segment_path(&self.dir, segment, FileForm::Whole);
            clear(&RealDisk, &file)?;
        }
        let segments = segments_dir(&self.dir);
        RealDisk.sync_dir(&segments).map_err(VaultError::io("sync", &segments))
    }
}

fn hashes_to_its_end(bytes: &[u8]) -> bool {
    let (body, end) = bytes.split_at(bytes.len().saturating_sub(Trailer::LEN));
    let trailer = from_bytes::<Trailer>(end).ok().filter(|trailer| trailer.file_len == bytes.len() as u64);
    trailer.is_some_and(|trailer| trailer.hash == FileHash(*blake3::hash(body).as_bytes()))
}

fn is_outline(bytes: &[u8]) -> bool {
    let end = &bytes[bytes.len().saturating_sub(Trailer::LEN)..];
    let fits = |trailer: Trailer| {
        trailer
            .file_len
            .checked_sub(trailer.index_offset)
            .is_some_and(|tail| SegmentHeader::LEN as u64 + tail == bytes.len() as u64)
    };
    from_bytes::<Trailer>(end).is_ok_and(fits)
}

//! Who a vault is: a segment header with segment number 0, in a file of its own. Each segment's header says the same, so
//! a lost one is made again.

use std::path::{Path, PathBuf};

use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::wire::RefusalCode;
use coffer_format::{OrgId, SegmentId, VaultId, from_bytes, to_bytes};

use crate::disk::{Disk, RealDisk, no_file};
use crate::keys::{BoxKey, Opener, RecoveryKey, RecoveryPublic, VaultKeys};
use crate::placing::{clear, put_in_place};
use crate::segment::{parse_name, segments_dir};
use crate::vault::{Vault, lock};
use crate::{Result, VaultError};

fn identity_path(dir: &Path) -> PathBuf {
    dir.join("vault.id")
}

/// Writes who a vault is: a segment header with segment number 0.
pub(crate) fn write_identity(disk: &dyn Disk, dir: &Path, identity: &SegmentHeader) -> Result<()> {
    let path = identity_path(dir);
    if disk.open(&path).is_ok() {
        return Err(VaultError::refused(
            RefusalCode::Conflict,
            "there's a vault here already: choose another folder",
        ));
    }
    replace_identity(disk, dir, identity)
}

pub(crate) fn read_identity(disk: &dyn Disk, dir: &Path) -> Result<SegmentHeader> {
    let path = identity_path(dir);
    let file = disk.open(&path).map_err(VaultError::io("open", &path))?;
    let mut bytes = [0; SegmentHeader::LEN];
    file.read_at(0, &mut bytes).map_err(VaultError::io("read", &path))?;
    Ok(from_bytes(&bytes)?)
}

/// Whose vault a folder holds; `None` where nothing says it.
pub fn vault_in(dir: &Path) -> Option<(VaultId, OrgId)> {
    read_identity(&RealDisk, dir).ok().map(|identity| (identity.vault, identity.org))
}

/// As [`read_identity`]. If the file is damaged or missing, it's made again from the newest segment whose keys `opener` opens, and
/// a sentence says so.
pub(crate) fn read_or_mend_identity(
    disk: &dyn Disk,
    dir: &Path,
    opener: &Opener,
) -> Result<(SegmentHeader, Option<String>)> {
    let error = match read_identity(disk, dir) {
        Ok(identity) => return Ok((identity, None)),
        Err(error @ VaultError::Decode(_)) => error,
        Err(VaultError::Io { doing, path, source }) if is_no_identity(&source) => {
            VaultError::Io { doing, path, source }
        }
        Err(error) => return Err(error),
    };
    let Some(header) = newest_header(disk, dir, opener) else { return Err(error) };
    let identity = SegmentHeader { segment: SegmentId(0), stream: Stream::Meta, ..header };
    replace_identity(disk, dir, &identity)?;
    let sentence = format!(
        "vault.id was damaged or missing; it was made again from segment {}: nothing needs to be done",
        header.segment
    );
    Ok((identity, Some(sentence)))
}

/// Writes the file that says who a vault is again where it's gone or damaged, in a folder that has segments and isn't another vault's.
/// Returns whether it was.
pub(crate) fn keep_identity(disk: &dyn Disk, dir: &Path, identity: &SegmentHeader) -> Result<bool> {
    if disk.list(&segments_dir(dir)).is_err() {
        return Ok(false);
    }
    match read_identity(disk, dir) {
        Ok(there) if there == *identity || there.vault != identity.vault => return Ok(false),
        Ok(_) | Err(VaultError::Decode(_)) => {}
        Err(VaultError::Io { source, .. }) if is_no_identity(&source) => {}
        Err(error) => return Err(error),
    }
    replace_identity(disk, dir, identity).map(|()| true)
}

impl Vault {
    /// Writes the file that says who the vault is again where it's gone or damaged, and says so.
    pub fn keep_identity(&self) -> Result<Option<String>> {
        if !keep_identity(&*self.reading.disk, &self.reading.dir, &self.identity)? {
            return Ok(None);
        }
        let sentence = "vault.id was damaged or removed while the box ran; it was written again: find out which program changes files of \
             the vault, and keep it from doing so";
        self.audit("box", sentence)?;
        Ok(Some(format!("{sentence}.")))
    }
}

/// Wraps the vault's keys for another box; the one before can't open what is written from then on with its own key's wrap. Nothing
/// may have the vault open.
pub fn give_box_key(disk: &dyn Disk, dir: &Path, recovery: &RecoveryKey, box_key: &BoxKey) -> Result<()> {
    let opener = Opener::Organisation(recovery.clone());
    let _held = lock(dir)?;
    let (identity, mended) = read_or_mend_identity(disk, dir, &opener)?;
    if let Some(note) = mended {
        tracing::warn!(note, "before a new box takes the vault over");
    }
    let keys = VaultKeys::open(&opener, &identity.keys)?.for_box(box_key)?;
    replace_identity(disk, dir, &SegmentHeader { keys, ..identity })
}

/// Makes the vault one of another organisation: from then on its recovery key opens what is written. What was written before is as it
/// was; who has the vault's newest keys opens that too. Nothing may have the vault open.
pub fn join_organisation(
    disk: &dyn Disk,
    dir: &Path,
    box_key: &BoxKey,
    org: OrgId,
    recovery: &RecoveryPublic,
) -> Result<()> {
    let opener = Opener::Box(box_key.clone());
    let _held = lock(dir)?;
    let (identity, _) = read_or_mend_identity(disk, dir, &opener)?;
    let keys = VaultKeys::open(&opener, &identity.keys)?.for_organisation(recovery)?;
    replace_identity(disk, dir, &SegmentHeader { keys, org, ..identity })
}

/// Missing, too short, or no file.
fn is_no_identity(error: &std::io::Error) -> bool {
    let is_missing_or_short =
        matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof);
    is_missing_or_short || no_file(error).is_some()
}

fn newest_header(disk: &dyn Disk, dir: &Path, opener: &Opener) -> Option<SegmentHeader> {
    let segments = segments_dir(dir);
    let mut names: Vec<_> = disk
        .list(&segments)
        .ok()?
        .into_iter()
        .filter_map(|name| parse_name(&name).map(|(segment, _)| (segment, name)))
        .collect();
    names.sort();
    names.into_iter().rev().find_map(|(segment, name)| {
        let mut bytes = [0; SegmentHeader::LEN];
        disk.open(&segments.join(name)).ok()?.read_at(0, &mut bytes).ok()?;
        let header = from_bytes::<SegmentHeader>(&bytes).ok()?;
        (header.segment == segment && VaultKeys::open(opener, &header.keys).is_ok()).then_some(header)
    })
}

pub(crate) fn replace_identity(disk: &dyn Disk, dir: &Path, identity: &SegmentHeader) -> Result<()> {
    let path = identity_path(dir);
    let new = path.with_extension("new");
    clear(disk, &new)?;
    let file = disk.create(&new).map_err(VaultError::io("create", &new))?;
    file.write_at(0, &to_bytes(identity)).map_err(VaultError::io("write", &new))?;
    file.sync().map_err(VaultError::io("sync", &new))?;
    put_in_place(disk, &new, &path)?;
    disk.sync_dir(dir).map_err(VaultError::io("sync", dir))
}

//! Making a vault's directory from segments that came from elsewhere: cartridges, or HQ. Opening it then rebuilds the catalog.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::segment::{SegmentHeader, Stream, Trailer};
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, SegmentId, from_bytes};

use crate::disk::Disk;
use crate::identity::write_identity;
use crate::segment::{FileForm, segment_path, segments_dir};
use crate::{Result, VaultError};

/// A vault's directory that is being filled.
pub struct Adoption {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    newest: Option<SegmentHeader>,
}

impl Adoption {
    /// Begins in an empty directory.
    pub fn begin(disk: Arc<dyn Disk>, dir: &Path) -> Result<Adoption> {
        let segments = segments_dir(dir);
        disk.create_dir(&segments).map_err(VaultError::io("create", &segments))?;
        let there = disk.list(&segments).map_err(VaultError::io("list", &segments))?;
        if !there.is_empty() {
            return Err(VaultError::refused(
                RefusalCode::Conflict,
                format!("{} holds segments already: choose an empty directory", dir.display()),
            ));
        }
        Ok(Adoption { disk, dir: dir.into(), newest: None })
    }

    /// Whether nothing was taken so far.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Takes a whole segment; refuses one that isn't what was closed, or of another vault. `false`: it was there already.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let header: SegmentHeader = from_bytes(bytes.get(..SegmentHeader::LEN).unwrap_or_default())?;
        let body = bytes.len().saturating_sub(Trailer::LEN);
        let trailer: Trailer = from_bytes(&bytes[body..])?;
        let damaged =
            |what: &str| VaultError::Damaged { segment: header.segment, offset: 0, what: what.into() };
        if trailer.file_len != bytes.len() as u64
            || trailer.hash != FileHash(*blake3::hash(&bytes[..body]).as_bytes())
        {
            return Err(damaged("its bytes don't hash to what its end says"));
        }
        self.check_vault(&header)?;
        self.put(&header, FileForm::Whole, bytes)
    }

    /// Takes an outline: a whole metadata segment, or the stub of another. Its data can be imported later.
    pub fn take_outline(&mut self, bytes: &[u8]) -> Result<bool> {
        let header: SegmentHeader = from_bytes(bytes.get(..SegmentHeader::LEN).unwrap_or_default())?;
        if header.stream == Stream::Meta {
            return self.take(bytes);
        }
        let trailer: Trailer = from_bytes(&bytes[bytes.len().saturating_sub(Trailer::LEN)..])?;
        if SegmentHeader::LEN as u64 + trailer.file_len - trailer.index_offset != bytes.len() as u64 {
            let what = "its outline isn't as long as its end says".into();
            return Err(VaultError::Damaged { segment: header.segment, offset: 0, what });
        }
        self.check_vault(&header)?;
        self.put(&header, FileForm::Stub, bytes)
    }

    fn check_vault(&mut self, header: &SegmentHeader) -> Result<()> {
        let newest = self.newest.get_or_insert(*header);
        if newest.vault != header.vault {
            return Err(VaultError::refused(
                RefusalCode::OtherBox,
                "a segment of another vault was left out",
            ));
        }
        // The vault may have joined another organisation since the older ones.
        if header.segment > newest.segment {
            *newest = *header;
        }
        Ok(())
    }

    /// `false`: it was there already.
    fn put(&self, header: &SegmentHeader, form: FileForm, bytes: &[u8]) -> Result<bool> {
        let path = &segment_path(&self.dir, header.segment, form);
        let file = match self.disk.create(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return self.check_same(header, path).map(|()| false);
            }
            other => other.map_err(VaultError::io("create", path))?,
        };
        file.write_at(0, bytes).map_err(VaultError::io("write", path))?;
        file.sync().map_err(VaultError::io("sync", path))?;
        Ok(true)
    }

    /// What is there already must be the same segment, not one that another line of the vault's history gave that number.
    fn check_same(&self, header: &SegmentHeader, path: &Path) -> Result<()> {
        let file = self.disk.open(path).map_err(VaultError::io("open", path))?;
        let mut there = [0; SegmentHeader::LEN];
        file.read_at(0, &mut there).map_err(VaultError::io("read", path))?;
        if from_bytes::<SegmentHeader>(&there)?.salt == header.salt {
            return Ok(());
        }
        Err(VaultError::refused(
            RefusalCode::Conflict,
            format!(
                "segment {} is another one here: two histories of this vault gave out its number",
                header.segment
            ),
        ))
    }

    /// Makes the directory a vault.
    pub fn finish(self) -> Result<()> {
        let segments = segments_dir(&self.dir);
        self.disk.sync_dir(&segments).map_err(VaultError::io("sync", &segments))?;
        let newest = self.newest.ok_or_else(|| {
            VaultError::refused(
                RefusalCode::NoSuchPath,
                "there was no segment to make a vault of: give the cartridges of the box",
            )
        })?;
        write_identity(
            &*self.disk,
            &self.dir,
            &SegmentHeader { segment: SegmentId(0), stream: Stream::Meta, ..newest },
        )
    }
}

//! Putting a segment's file in its place, and seeing that it stays there.
//!
//! What is acknowledged has to be found by its name when the vault is opened next. So before a commit counts, the name of each file that
//! was synced for it has to stand for that very file. Where somebody removed the file meanwhile, or put something else in its place, all
//! that the open file holds is written to a new file of that name, and the vault goes on with that one.

use std::collections::BTreeSet;
use std::io::Error;
use std::path::Path;
use std::sync::Arc;

use coffer_format::SegmentId;

use crate::disk::{Disk, DiskFile, Named};
use crate::mending::read_all;
use crate::reading::Reading;
use crate::segment::{FileForm, OpenSegment, segment_path, segments_dir};
use crate::vault::{MetaState, Vault};
use crate::{Result, VaultError};

/// Writes a file so that it's there whole or not at all. What had its name before is gone, or moved aside. Returns the file.
pub(crate) fn write_whole(reading: &Reading, path: &Path, bytes: &[u8]) -> Result<Arc<dyn DiskFile>> {
    let new = path.with_extension("new");
    let disk = &*reading.disk;
    clear(disk, &new)?;
    let file = disk.create(&new).map_err(VaultError::io("create", &new))?;
    let written = file.write_at(0, bytes).map_err(VaultError::io("write", &new));
    let written = written.and_then(|()| file.sync().map_err(VaultError::io("sync", &new)));
    written.inspect_err(|_| {
        // On a full disk others need its room.
        if let Err(error) = disk.remove(&new) {
            tracing::warn!(%error, path = %new.display(), "a file that couldn't be written whole is left behind");
        }
    })?;
    put_in_place(disk, &new, path)?;
    let dir = segments_dir(&reading.dir);
    disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))?;
    Ok(file)
}

/// Gives a new file its name. What has that name and is no regular file is moved aside, and left alone.
pub(crate) fn put_in_place(disk: &dyn Disk, new: &Path, path: &Path) -> Result<()> {
    set_aside(disk, path)?;
    disk.rename(new, path).map_err(VaultError::io("rename", new))
}

/// Has nothing be in a file's place: a file is removed, what isn't one is moved aside.
pub(crate) fn clear(disk: &dyn Disk, path: &Path) -> Result<()> {
    set_aside(disk, path)?;
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VaultError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Moves aside what is in a file's place and is no regular file. Returns what it was.
pub(crate) fn set_aside(disk: &dyn Disk, path: &Path) -> Result<Option<&'static str>> {
    let Named::Other(what) = disk.look_up(path).map_err(VaultError::io("look at", path))? else {
        return Ok(None);
    };
    move_aside(disk, path, what)?;
    Ok(Some(what))
}

/// Makes a folder, and those above it. What lies in its place and is none is moved aside, but for a link: it leads to a disk that may be
/// away.
pub(crate) fn make_folder(disk: &dyn Disk, path: &Path) -> Result<()> {
    let Err(error) = disk.create_dir(path) else { return Ok(()) };
    let what = match disk.look_up(path) {
        Ok(Named::File(_)) => "a file",
        Ok(Named::Other(what @ ("a pipe" | "a socket" | "a device"))) => what,
        Ok(Named::Other("a link")) => {
            let why = "a link lies in its place, and leads to no folder: mount the disk that it's for, or remove it";
            return Err(VaultError::io("create", path)(Error::other(why)));
        }
        _ => return Err(VaultError::io("create", path)(error)),
    };
    move_aside(disk, path, what)?;
    disk.create_dir(path).map_err(VaultError::io("create", path))
}

fn move_aside(disk: &dyn Disk, path: &Path, what: &str) -> Result<()> {
    let kind = what.rsplit(' ').next().unwrap_or(what);
    let names = (1..1000).map(|number| path.with_extension(format!("{kind}{number}")));
    let mut free = names.filter(|name| matches!(disk.look_up(name), Ok(Named::Nothing)));
    let aside = free.next().unwrap_or_else(|| path.with_extension(kind));
    disk.rename(path, &aside).map_err(VaultError::io("move aside", path))?;
    tracing::warn!(
        ?path,
        ?aside,
        what,
        "something else lay in the place of a file or folder; it was moved aside"
    );
    Ok(())
}

/// Has the name of a segment stand for `file`, of which `len` bytes were written. Durable when this returns. Returns whether that had to be
/// brought about.
fn keep_in_place(
    reading: &Reading,
    segment: SegmentId,
    file: &mut Arc<dyn DiskFile>,
    len: u64,
) -> Result<bool> {
    let path = segment_path(&reading.dir, segment, FileForm::Whole);
    let mark = file.mark().map_err(VaultError::io("look at", &path))?;
    if reading.disk.look_up(&path).map_err(VaultError::io("look at", &path))? == Named::File(mark) {
        return Ok(false);
    }
    tracing::error!(%segment, "the file of a segment that is written to was removed or replaced; it's written again");
    // What the disk can't read of it is found when the segment is read back, which it's soon.
    let bytes = read_all(&**file, len);
    *file = write_whole(reading, &path, &bytes)?;
    reading.files.forget(segment);
    reading.forget_met(segment);
    reading.suspect_segment(segment);
    Ok(true)
}

impl Vault {
    /// Sees that the files of data that isn't listed as closed yet are in their places.
    pub(crate) fn keep_data_in_place(&self) -> Result<()> {
        let mut data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
        for open in data.open() {
            self.keep_header(open)?;
        }
        for (segment, len, file) in data.files() {
            self.keep(segment, file, len)?;
        }
        Ok(())
    }

    /// The same of metadata.
    pub(crate) fn keep_meta_in_place(&self, meta: &mut MetaState) -> Result<()> {
        for (row, file) in &mut meta.unsynced {
            self.keep(row.segment, file, row.bytes)?;
        }
        match &mut meta.open {
            Some(open) => {
                self.keep_header(open)?;
                self.keep(open.id(), &mut open.file, open.len)
            }
            None => Ok(()),
        }
    }

    fn keep_header(&self, open: &mut OpenSegment) -> Result<()> {
        open.keep_header()?;
        self.note_damage(open);
        Ok(())
    }

    /// Where somebody else changed the file of a segment that is written to, what else of it may be damaged is looked for at once.
    pub(crate) fn note_damage(&self, open: &mut OpenSegment) {
        if open.take_damage() {
            self.reading.files.forget(open.id());
            self.reading.suspect_segment(open.id());
        }
    }

    /// The same of one file.
    pub(crate) fn keep(&self, segment: SegmentId, file: &mut Arc<dyn DiskFile>, len: u64) -> Result<()> {
        if keep_in_place(&self.reading, segment, file, len)? {
            self.written_again.lock().map_err(|_| VaultError::ReadOnly)?.insert(segment);
        }
        Ok(())
    }

    /// Sees that all files that are written to are in their places, whether or not anything is written just now. Returns how
    /// many weren't.
    pub fn keep_files_in_place(&self) -> Result<usize> {
        self.check_writable()?;
        self.poison_unless_full(self.keep_data_in_place())?;
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        self.poison_unless_full(self.keep_meta_in_place(&mut meta))?;
        drop(meta);
        let written = self.written_again.lock().map_err(|_| VaultError::ReadOnly)?.len();
        self.tell_of_written_again();
        Ok(written)
    }

    /// Audits what happened in a batch, and which files were written again. What a read met meanwhile in their places is no damage of them any more.
    pub(crate) fn tell_of_written_again(&self) {
        let sentences = self.to_audit.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
        for sentence in sentences {
            if let Err(error) = self.audit("box", &sentence) {
                tracing::error!(sentence, %error, "that couldn't be audited");
            }
        }
        let Ok(written) = self.written_again.lock().map(|mut written| std::mem::take(&mut *written)) else {
            return;
        };
        for segment in written {
            if let Err(error) = self.try_tell(segment) {
                tracing::error!(%segment, %error, "that a segment's file was written again couldn't be audited");
            }
        }
    }

    fn try_tell(&self, segment: SegmentId) -> Result<()> {
        self.audit(
            "box",
            &format!(
                "the file of segment {segment} was removed or replaced while it was written to; it was written again from what the box \
                 had open: find out which program changes files of the vault, and keep it from doing so"
            ),
        )?;
        if self.reading.damaged_segments()?.contains(&segment) {
            self.scrub(segment, &mut |_| true)?;
        }
        Ok(())
    }
}

/// Segments whose files were written again and of which nobody was told yet.
pub(crate) type WrittenAgain = BTreeSet<SegmentId>;

//! What lies in a segment's place: its file, or what somebody has put there. A claim about bytes is one about what is found there again,
//! not about a file that is open and has no name any more.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coffer_format::SegmentId;
use nix::fcntl::Flock;

use super::append::{Tail, out_of_step};
use super::{Here, Mirror};
use crate::disk::{DiskFile, Named, file_len};
use crate::identity::keep_identity;
use crate::placing::set_aside;
use crate::segment::segments_dir;
use crate::{Result, VaultError};

impl Mirror {
    /// Whether its folder is where it was, with the file in it that keeps others out.
    pub fn is_in_place(&self) -> bool {
        let dir = &self.reading.dir;
        let is_folder = match std::fs::metadata(segments_dir(dir)) {
            Err(error) => !is_nothing(&error),
            Ok(found) => found.is_dir(),
        };
        let is_held = |lock: &Flock<File>| match std::fs::symlink_metadata(dir.join("lock")) {
            Err(error) => !is_nothing(&error),
            Ok(found) => {
                lock.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
            }
        };
        is_folder && self.lock.as_ref().is_none_or(is_held)
    }

    /// Another one is opened in its place: from now on this one changes nothing.
    pub fn leave(&self) {
        self.fail();
        self.is_left.store(true, Ordering::SeqCst);
    }

    /// Whether that is so.
    pub fn is_left(&self) -> bool {
        self.is_left.load(Ordering::SeqCst)
    }

    /// A segment's file; `None` where there's none. Whatever else lies in its place (a folder, a link) is moved aside.
    pub(super) fn open_file(&self, segment: SegmentId) -> Result<Option<Arc<dyn DiskFile>>> {
        let (disk, path) = (&self.reading.disk, self.path_of(segment));
        if set_aside(&**disk, &path)?.is_some() {
            self.reading.files.forget(segment);
        }
        match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => file.map(Some).map_err(VaultError::io("open", &path)),
        }
    }

    /// Fails where a segment's file isn't the one that was written to, or hasn't `due` bytes. What is there counts from then on.
    pub(super) fn check_tail(&self, segment: SegmentId, tail: &Tail, due: u64) -> Result<()> {
        let path = self.path_of(segment);
        let size = tail.file.size().map_err(VaultError::io("read", &path))?;
        let is_its_own = || Ok(self.reading.disk.look_up(&path)? == Named::File(tail.file.mark()?));
        if size == due && is_its_own().map_err(VaultError::io("read", &path))? {
            return Ok(());
        }
        self.settle_anew(segment)?;
        Err(out_of_step(segment, due, self.bytes_of(segment)))
    }

    /// The same of a segment that came whole, without its bytes being read.
    pub(super) fn check_place(&self, segment: SegmentId, due: u64) -> Result<()> {
        if matches!(file_len(&*self.reading.disk, &self.path_of(segment)), Ok(Some(len)) if len == due) {
            return Ok(());
        }
        self.lose(segment)?;
        Err(out_of_step(segment, due, self.bytes_of(segment)))
    }

    /// Finds out what is at the path of a segment that isn't whole here: that counts from now on, and the box hears it.
    fn settle_anew(&self, segment: SegmentId) -> Result<()> {
        let before = self.bytes_of(segment);
        self.reading.files.forget(segment);
        let tail = self.open_tail(segment)?;
        let kept = self.take_stock(segment, &*tail.file)?.due();
        if kept != before {
            self.note_news();
            tracing::error!(%segment, before, kept, "a segment's file isn't what was written; the box is asked for what is missing");
        }
        Ok(())
    }

    /// Finds out what is at the path of a segment that couldn't be read.
    pub(super) fn look_closely(&self, segment: SegmentId) -> Result<()> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_some() {
            return self.check(segment).map(drop);
        }
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        tails.remove(&segment);
        self.settle_anew(segment)
    }

    /// Looks for segments whose file is gone, and closely at those that a read met something wrong in.
    pub fn look(&self) -> Result<()> {
        // First: what comes meanwhile is there.
        let all: Vec<(SegmentId, Here)> =
            self.here().iter().map(|(segment, here)| (*segment, *here)).collect();
        let dir = segments_dir(&self.reading.dir);
        let listed = self.reading.disk.list(&dir);
        self.is_gone.store(listed.is_err(), Ordering::SeqCst);
        listed.map_err(VaultError::io("list", &dir))?;
        if !self.failed.load(Ordering::SeqCst)
            && self.is_in_place()
            && keep_identity(&*self.reading.disk, &self.reading.dir, &self.identity)?
        {
            tracing::error!(vault = %self.vault(), "a branch's vault.id was damaged or removed while HQ ran; it was written again");
        }
        let met = self.reading.suspected()?;
        // What couldn't be cut off when it was found to be damaged.
        let is_doubtful =
            |segment: &SegmentId, here: &Here| here.hash.is_some() && self.damaged().contains(segment);
        // Or not there at all. What is being written to may be longer already.
        let is_short = |segment: &SegmentId, here: &Here| {
            let len = file_len(&*self.reading.disk, &self.path_of(*segment));
            len.is_ok_and(|len| len.unwrap_or(0) < here.bytes)
        };
        let is_due = |segment: &SegmentId, here: &Here| {
            let is_amiss = met.contains_key(segment) || is_short(segment, here);
            here.bytes > 0 && is_amiss || is_doubtful(segment, here)
        };
        let mut failed = None;
        for (segment, _) in all.into_iter().filter(|(segment, here)| is_due(segment, here)) {
            self.reading.forget_met(segment);
            failed = self.look_closely(segment).err().or(failed);
        }
        failed = self.take_back_lost().err().or(failed);
        failed.map_or(Ok(()), Err)
    }
}

/// Whether an error says that there's nothing. A disk that can't say what is there hasn't lost it.
fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

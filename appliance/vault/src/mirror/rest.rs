//! What is sound behind damage was kept beside a segment once, as `<segment>.rest`, the file as it was, while the box sent what was damaged.
//! It's put back into its place when a mirror is opened; nothing writes such a file any more.

use coffer_format::SegmentId;

use super::Mirror;
use super::stock::read_what_can;
use crate::segment::segments_dir;
use crate::{Result, VaultError};

impl Mirror {
    /// Puts back what an earlier version kept.
    pub(super) fn put_rests_back(&self) -> Result<()> {
        let dir = segments_dir(&self.reading.dir);
        for name in self.reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
            let Some(segment) = parse_name(&name) else { continue };
            match self.put_rest_back(segment) {
                Err(error) if error.is_disk_full() => {
                    tracing::error!(%segment, %error, "there's no room to put a segment together; it's tried again at the next start");
                }
                put_back => put_back?,
            }
        }
        Ok(())
    }

    fn put_rest_back(&self, segment: SegmentId) -> Result<()> {
        let kept = self.path_of(segment).with_extension("rest");
        let disk = &self.reading.disk;
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_none() {
            let rest = read_what_can(&*disk.open(&kept).map_err(VaultError::io("open", &kept))?)?;
            let mut tail = self.open_tail(segment)?;
            if let Some(more) = rest.get(tail.len as usize..).filter(|more| !more.is_empty()) {
                self.write(segment, &mut tail, more)?;
                self.settle_again(segment)?;
            }
        }
        disk.remove(&kept).map_err(VaultError::io("remove", &kept))
    }
}

fn parse_name(name: &str) -> Option<SegmentId> {
    let number = name.strip_suffix(".rest").filter(|number| number.len() == 16)?;
    u64::from_str_radix(number, 16).ok().map(SegmentId)
}

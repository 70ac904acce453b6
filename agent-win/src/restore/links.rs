//! Other names of files that were restored, or are there already.

use std::io;

use super::existing::Existing;
use super::folders::working_name;
use super::growing::Spot;
use super::put::{Verdict, judge_other};
use super::write::{Placed, Restoring};
use crate::path::split;
use crate::platform::{self, HeldEntry};

/// Another name of a file.
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) first: u32,
    pub(super) spot: Spot,
}

impl Restoring {
    /// Every file of the batch has its place, or has none.
    pub(super) fn finish_links(&mut self, links: Vec<Link>) {
        for link in links {
            if self.is_full {
                continue;
            }
            let (index, shown) = (link.index, link.spot.shown.clone());
            if let Err(error) = self.link(link) {
                self.not_restored(index, &shown, &error);
            }
        }
    }

    fn link(&mut self, link: Link) -> io::Result<()> {
        let Link { index, first, mut spot } = link;
        let Placed { place: first, .. } = self.places.get(&first).cloned().ok_or_else(|| {
            io::Error::other("the file that it's another name of isn't there; restore that one as well")
        })?;
        let (parent, name) = split(&first).ok_or(io::ErrorKind::NotFound)?;
        let folder = self.folders.folder(parent)?;
        let stats =
            [folder.place(name), spot.folder.place(&spot.name)].map(|place| platform::stat_path(&place));
        let verdict = match stats {
            [Ok(first), Ok(there)] if first.is_same_object(&there) => Verdict::Alike(there.object()),
            // Another file, however alike, isn't that file's name.
            _ => judge_other(&spot.folder, &spot.name, self.rule)?,
        };
        match verdict {
            Verdict::Alike(object) => {
                self.alike(index, &spot, object);
                return Ok(());
            }
            Verdict::InTheWay if self.rule == Existing::Beside => spot = spot.beside()?,
            Verdict::InTheWay => {
                self.keep(index, &spot);
                return Ok(());
            }
            Verdict::Put => {}
        }
        let entry = HeldEntry::create_link(&spot.folder, &working_name(index), (&folder, name))?;
        self.put(index, &spot, entry, None, Vec::new())
    }
}

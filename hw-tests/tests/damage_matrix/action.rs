//! What is done to a file.

use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// One bit in the middle.
    Flip,
    /// The last third.
    Cut,
    Remove,
    /// An older copy of the same file.
    Older,
}

impl Action {
    pub(crate) const ALL: [Action; 4] = [Action::Flip, Action::Cut, Action::Remove, Action::Older];

    /// Whether it changes anything: an empty file has no bit, and an older copy may be the same.
    pub(crate) fn changes(self, file: &Path, older: &Path) -> bool {
        let bytes = fs::read(file).unwrap();
        match self {
            Action::Remove => true,
            Action::Flip | Action::Cut => !bytes.is_empty(),
            Action::Older => fs::read(older).is_ok_and(|older| older != bytes),
        }
    }

    pub(crate) fn apply(self, file: &Path, older: &Path) {
        let bytes = fs::read(file).unwrap();
        match self {
            Action::Flip => {
                let mut flipped = bytes;
                let middle = flipped.len() / 2;
                flipped[middle] ^= 0x10;
                fs::write(file, flipped).unwrap();
            }
            Action::Cut => fs::write(file, &bytes[..bytes.len() - bytes.len().div_ceil(3)]).unwrap(),
            Action::Remove => fs::remove_file(file).unwrap(),
            Action::Older => drop(fs::copy(older, file).unwrap()),
        }
    }
}

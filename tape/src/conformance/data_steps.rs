//! Steps about what is written and read.

use std::io::{self, Read};

use coffer_format::SegmentId;
use coffer_format::container::Label;

use super::{Loaded, Suite, Verdict, check, planned, scratch_segment, unsupported};
use crate::container::{
    ContainerReceipt, ContainerWriter, IndexSource, LabelPolicy, LabelState, label_cartridge, read_label,
    read_segment, scan_cartridge,
};
use crate::{Drive, MediumKind, TapeError};

impl Suite<'_> {
    /// What the drive knows of the cartridge, and that it may be written.
    pub(super) fn facts(&mut self, loaded: &Loaded) {
        self.step("facts about the cartridge", |library| {
            let medium = library.drive(loaded.index)?.medium()?;
            let what = format!("it is taken for {:?}", medium.kind);
            match medium.kind {
                MediumKind::Data => Ok(Verdict::Passed),
                MediumKind::Unknown => Ok(unsupported("the drive doesn't tell data from other cartridges")),
                _ => Ok(Verdict::Failed(what)),
            }
        });
        self.step("it may be written", |library| {
            library.drive(loaded.index)?.check_writable().map(|()| Verdict::Passed)
        });
        self.step("remaining capacity", |library| {
            let medium = library.drive(loaded.index)?.medium()?;
            Ok(match medium.remaining_mib.zip(medium.maximum_mib) {
                Some((left, all)) => check(left <= all, || format!("{left} MiB of {all} are left")),
                None => unsupported("what is left is counted from what was written"),
            })
        });
    }

    /// Label, two containers, and all of it read back. Whether there is something to go on with.
    pub(super) fn containers(&mut self, loaded: &Loaded) -> bool {
        let (index, label) = (loaded.index, &loaded.label);
        let labelled = self.step("label", |library| {
            label_cartridge(library.drive(index)?, label, LabelPolicy::Overwrite).map(|()| Verdict::Passed)
        });
        if !labelled {
            return false;
        }
        self.step("a labelled cartridge is not labelled again", |library| {
            let drive = library.drive(index)?;
            let state = read_label(drive)?;
            if state != LabelState::Ours(label.clone()) {
                return Ok(Verdict::Failed(format!("found {state:?}")));
            }
            Ok(match label_cartridge(drive, label, LabelPolicy::OnlyBlank) {
                Err(TapeError::AlreadyLabelled(_)) => Verdict::Passed,
                other => Verdict::Failed(format!("{other:?}")),
            })
        });
        let mut whole = true;
        for (step, from) in [("first container", 1), ("second container", 3)] {
            let receipt = self.value(step, |library| {
                let receipt = write_two(library.drive(index)?, label, from)?;
                let all = receipt.recorded.len() == 2;
                let verdict = check(all, || format!("not all was recorded: {receipt:?}"));
                Ok((receipt, verdict))
            });
            let Some(receipt) = receipt else {
                whole = false;
                continue;
            };
            self.step("read back", |library| {
                read_back(library.drive(index)?, label, &receipt).map(|()| Verdict::Passed)
            });
        }
        whole
    }

    pub(super) fn check_scan(&mut self, loaded: &Loaded) {
        self.step("scan", |library| {
            let contents = scan_cartridge(library.drive(loaded.index)?)?;
            if contents.label != loaded.label {
                return Ok(Verdict::Failed(format!("the label is {:?}", contents.label)));
            }
            let segments: Vec<u64> = contents.places().map(|place| place.entry.segment.0).collect();
            if segments != [1, 2, 3, 4] {
                return Ok(Verdict::Failed(format!("segments 1 to 4 were written, {segments:?} found")));
            }
            let walked = contents.containers.iter().any(|found| found.source == IndexSource::Walked);
            Ok(match walked {
                true => unsupported("indexes are read forward only: scanning takes as long as reading"),
                false => Verdict::Passed,
            })
        });
    }
}

/// Appends a container with segments `from` and `from + 1`: one longer than a block, one shorter.
fn write_two(drive: &mut Drive, label: &Label, from: u64) -> Result<ContainerReceipt, TapeError> {
    let files = [(SegmentId(from), 700_000), (SegmentId(from + 1), 5_000)];
    let files = files.map(|(segment, len)| (segment, scratch_segment(segment, len)));
    let plan: Vec<_> = files.iter().map(|(segment, bytes)| planned(*segment, bytes)).collect();
    let mut writer = ContainerWriter::open_expecting(drive, label)?;
    writer.write(&plan, &mut |wanted| {
        let found = files.iter().find(|(segment, _)| *segment == wanted);
        let (_, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>)
    })
}

/// Last to first, so that each is gone to.
fn read_back(drive: &mut Drive, label: &Label, receipt: &ContainerReceipt) -> Result<(), TapeError> {
    for recorded in receipt.recorded.iter().rev() {
        let mut place = receipt.place(recorded);
        let mut by_address = Vec::new();
        read_segment(drive, label, &place, &mut by_address)?;
        place.start = None;
        let mut by_filemarks = Vec::new();
        read_segment(drive, label, &place, &mut by_filemarks)?;
        let wanted = scratch_segment(recorded.entry.segment, by_address.len());
        if by_address != wanted || by_filemarks != wanted {
            let (container, segment) = (receipt.container, recorded.entry.segment);
            return Err(TapeError::WrongBytes { container, segment });
        }
    }
    Ok(())
}

//! Steps about the robot and what is where.

use super::{Loaded, Suite, Verdict, check, unsupported};
use crate::drive::{Performed, Support};
use crate::inventory::Whereabouts;
use crate::scsi::cdb::Removal;
use crate::scsi::{ElementAddress, ElementKind, ElementRange};
use crate::{Barcode, DriveIndex, Library, TapeError};

impl Suite<'_> {
    /// What moves nothing.
    pub(super) fn look_around(&mut self) {
        self.ask_features();
        self.step("take stock", |library| {
            let (told, asked) = (library.take_stock()?, library.inventory()?);
            Ok(check(told.barcodes() == asked.barcodes(), || "two inventories differ".to_owned()))
        });
        self.step("take stock of a range", |library| {
            let all = library.changer().elements().range(ElementKind::Slot);
            library.changer_mut().take_stock_of(ElementRange { count: 1, ..all })?;
            match library.changer().features().range_stock {
                Support::No => Ok(unsupported("the whole library is looked at, which takes longer")),
                _ => Ok(Verdict::Passed),
            }
        });
        self.step("drives are told apart", |library| {
            let inventory = library.inventory()?;
            let unknown = inventory.drives.iter().filter(|drive| drive.device.is_none()).count();
            Ok(match unknown {
                0 => Verdict::Passed,
                _ => {
                    unsupported("the changer doesn't name its drives: they are found by loading a cartridge")
                }
            })
        });
        self.step("barcodes are read", |library| {
            let inventory = library.inventory()?;
            let nameless = inventory.nameless().count();
            Ok(match (nameless, inventory.barcodes().len()) {
                (0, _) => Verdict::Passed,
                (_, 0) => unsupported(
                    "no barcode reader: cartridges are named by their place until their label is read",
                ),
                _ => Verdict::Unsupported(format!(
                    "{nameless} barcodes can't be read: load those tapes by place"
                )),
            })
        });
        self.step("the mail slot is locked and freed", |library| {
            let locked = library.lock_mail(Removal::Prevent)?;
            library.lock_mail(Removal::Allow)?;
            Ok(performed(locked, "the mail slot can be opened at any time"))
        });
        self.step("a barcode that isn't there is asked for", missing_barcode);
        self.step("a place that isn't there is refused", missing_place);
    }

    pub(super) fn ask_features(&mut self) {
        let features = self.value("features", |library| Ok((library.probe()?, Verdict::Passed)));
        self.report.features = features.or(self.report.features.take());
    }

    pub(super) fn check_whereabouts(&mut self, loaded: &Loaded) {
        self.step("inventory shows it in the drive", |library| {
            let found = library.inventory()?.find(&loaded.barcode);
            let wanted = Some(Whereabouts::Drive(loaded.index.0));
            // A cartridge named by its place has left it.
            let holds = found == wanted || loaded.barcode.place().is_some();
            Ok(check(holds, || format!("{} was loaded and is at {found:?}", loaded.barcode)))
        });
        self.step("it is loaded only once", |library| {
            let again = library.load(&loaded.barcode)?;
            Ok(check(again == loaded.index, || "it was said to be in two drives".to_owned()))
        });
        self.step("the robot goes ahead of a move", |library| {
            let to = library.changer().elements().range(ElementKind::Slot).first;
            let went = library.changer_mut().position_to(to)?;
            Ok(performed(went, "the robot isn't sent ahead"))
        });
    }

    /// The cartridge is left in the drive, as by a power cut, and put away.
    pub(super) fn recovery(&mut self, barcode: &Barcode, index: DriveIndex) {
        self.step("a tape left in a drive is put away", |library| {
            let inventory = library.inventory()?;
            if inventory.drives.iter().any(|drive| drive.full && drive.drive != index.0) {
                library.unload(index)?;
                return Ok(unsupported("not tried: another drive holds a cartridge that isn't scratch"));
            }
            let recovered = library.recover()?;
            let in_slot = matches!(library.inventory()?.find(barcode), Some(Whereabouts::Slot(_)));
            let holds = recovered.left == 0 && in_slot;
            Ok(check(holds, || format!("it was left: {}", recovered.sentences.join("; "))))
        });
    }

    /// Out to the mail slot and in again, if that is free.
    pub(super) fn mail(&mut self, barcode: &Barcode) {
        self.step("out to the mail slot and in again", |library| {
            let inventory = library.inventory()?;
            if inventory.mail_slots.is_empty() {
                return Ok(unsupported("no mail slot: tapes leave through the door"));
            }
            if inventory.mail_slots.iter().any(|place| place.full) {
                return Ok(unsupported("not tried: the mail slot is in use"));
            }
            let at = library.export(barcode)?;
            let taken = library.import_mail()?;
            if !taken.is_empty() {
                return Ok(Verdict::Failed("a tape on its way out was taken in again".to_owned()));
            }
            let found = library.inventory()?.find(barcode);
            Ok(check(found == Some(Whereabouts::MailSlot(at)), || {
                format!("it was put out and is at {found:?}")
            }))
        });
    }

    /// To the slot it came from.
    pub(super) fn send_home(&mut self, barcode: &Barcode, home: Option<Whereabouts>) {
        let Some(Whereabouts::Slot(home)) = home else { return };
        self.step("back in its slot", |library| {
            let now = library.inventory()?.find(barcode);
            match now {
                Some(Whereabouts::Slot(at)) if at == home => {}
                Some(Whereabouts::Slot(from) | Whereabouts::MailSlot(from)) => {
                    library.changer_mut().move_medium(from, home)?;
                }
                Some(Whereabouts::Drive(index)) => drop(library.unload(DriveIndex(index))?),
                _ => {}
            }
            let now = library.inventory()?.find(barcode);
            Ok(check(now == Some(Whereabouts::Slot(home)), || format!("it is at {now:?}")))
        });
    }

    /// One out, the other in.
    pub(super) fn swap(&mut self, first: &Barcode, second: &Barcode) {
        let loaded = self.value("load", |library| Ok((library.load(first)?, Verdict::Passed)));
        let Some(index) = loaded else { return };
        let swapped = self.value("swap for another", |library| {
            let index = library.swap(index, second)?;
            let inventory = library.inventory()?;
            let away = matches!(inventory.find(first), Some(Whereabouts::Slot(_)));
            let exchanged = library.changer().features().exchange == Support::Yes;
            let verdict = match (away, exchanged) {
                (false, _) => Verdict::Failed(format!("{first} is at {:?}", inventory.find(first))),
                (true, false) => unsupported("no EXCHANGE MEDIUM: two moves took its place"),
                (true, true) => Verdict::Passed,
            };
            Ok((index, verdict))
        });
        let index = swapped.unwrap_or(index);
        self.step("unload", |library| library.unload(index).map(|_| Verdict::Passed));
    }
}

pub(super) fn performed(performed: Performed, without: &str) -> Verdict {
    match performed {
        Performed::Done => Verdict::Passed,
        Performed::Unsupported => unsupported(without),
    }
}

fn missing_barcode(library: &mut Library) -> Result<Verdict, TapeError> {
    let barcode: Barcode = "ZZZZZZZZ".parse()?;
    Ok(match library.load(&barcode) {
        Err(TapeError::NotInLibrary(missing)) if missing == barcode => Verdict::Passed,
        other => Verdict::Failed(format!("{other:?}")),
    })
}

fn missing_place(library: &mut Library) -> Result<Verdict, TapeError> {
    let nowhere = ElementAddress(0xfffe);
    if !matches!(library.load_place(nowhere), Err(TapeError::NoSuchPlace(_))) {
        return Ok(Verdict::Failed("it was looked for".to_owned()));
    }
    let empty = library.inventory()?.slots.iter().find(|slot| !slot.full).map(|slot| slot.element);
    let Some(empty) = empty else { return Ok(Verdict::Passed) };
    // From a place that holds nothing to one that isn't there: nothing can move.
    Ok(match library.changer_mut().move_medium(empty, nowhere) {
        Err(TapeError::OutOfStep { .. } | TapeError::Sense { .. }) => Verdict::Passed,
        other => Verdict::Failed(format!("{other:?}")),
    })
}

//! Whether the cartridge in a drive may be written, and giving it a label. What is somebody else's is never overwritten
//! without an order.

use coffer_format::container::Label;
use coffer_format::event::{CartridgeState, Event};
use coffer_tape::container::{LabelPolicy, LabelState, label_cartridge, read_label, scan_cartridge};
use coffer_tape::{Barcode, Drive, Library, TapeError};
use coffer_vault::{Vault, VaultError};

use super::media::{Choice, Stock};
use super::mounting::Mounted;
use super::parted::{Known, is_of_other_line};
use super::trouble::{Fault, fault};
use super::{TapeJob, Trouble};

impl TapeJob {
    /// The label to write under; `None` if the cartridge isn't to be written, which is recorded then.
    pub(super) fn claim_cartridge(
        &self,
        library: &mut Library,
        vault: &Vault,
        (stock, choice, set): (&Stock, &Choice, &str),
        mounted: &Mounted,
    ) -> Result<Option<Label>, Trouble> {
        let drive = library.drive(mounted.drive)?;
        let barcode = choice.barcode();
        let found = read_label(drive)?;
        if let Choice::Append(_) = choice {
            let tape = stock.tapes.get(barcode);
            if let LabelState::Ours(label) = &found
                && is_ours(label, vault, barcode)
                && Known::of(tape).is_older_than(label)
            {
                return self.leave_to_other_line(vault, barcode, tape).map(|()| None);
            }
            return self.check_begun(vault, barcode, found);
        }
        if let Err(error) = drive.check_writable() {
            return match fault(&error, "") {
                Fault::Cartridge => Ok(set_aside(vault, barcode, &error.to_string()).map(|()| None)?),
                _ => Err(error.into()),
            };
        }
        let policy = match (&found, stock.tapes.get(barcode).and_then(|tape| tape.state)) {
            (LabelState::Blank, _) => LabelPolicy::OnlyBlank,
            (_, Some(CartridgeState::Taken)) => LabelPolicy::Overwrite,
            (LabelState::Ours(label), Some(CartridgeState::Scratch)) if is_ours(label, vault, barcode) => {
                let known = Known::of(stock.tapes.get(barcode));
                if known.is_older_than(label) || is_of_other_line(drive, vault, known)? {
                    return self.leave_to_other_line(vault, barcode, None).map(|()| None);
                }
                LabelPolicy::Overwrite
            }
            // A crash came between labelling it and recording that.
            (LabelState::Ours(label), None) if is_ours(label, vault, barcode) && is_empty(drive)? => {
                LabelPolicy::Overwrite
            }
            (LabelState::Ours(label), _) if is_ours(label, vault, barcode) => {
                return self.leave_to_other_line(vault, barcode, None).map(|()| None);
            }
            _ => {
                set_aside(vault, barcode, "it holds somebody else's data")?;
                return Ok(None);
            }
        };
        let label = new_label(vault, stock, barcode, set)?;
        match label_cartridge(drive, &label, policy) {
            Ok(()) => {}
            Err(error @ TapeError::WriteProtected) => {
                set_aside(vault, barcode, &error.to_string())?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        vault.record(vec![Event::CartridgeSet {
            barcode: label.barcode.clone(),
            state: CartridgeState::Filling,
            set: label.set.clone(),
            number: label.number,
            containers: 0,
            written: 0,
        }])?;
        Ok(Some(label))
    }

    /// A cartridge that the catalog says was begun must say so itself.
    fn check_begun(
        &self,
        vault: &Vault,
        barcode: &Barcode,
        found: LabelState,
    ) -> Result<Option<Label>, Trouble> {
        match found {
            LabelState::Ours(label) if is_ours(&label, vault, barcode) => Ok(Some(label)),
            // The label's block is there and can't be read: the cartridge's fault, or the drive's.
            LabelState::Foreign => Err(TapeError::NotLabelled.into()),
            LabelState::Ours(_) | LabelState::Blank => {
                give_up_stranger(vault, barcode)?;
                Ok(None)
            }
        }
    }
}

/// Another cartridge carries a known barcode: what was on the one before counts no more, and what is nowhere else is damage.
pub(super) fn give_up_stranger(vault: &Vault, barcode: &Barcode) -> Result<(), VaultError> {
    tracing::error!(%barcode, "another cartridge carries this barcode: what was on it is lost");
    vault.record(vec![Event::CopiesGone { barcode: barcode.to_string() }])?;
    set_aside(vault, barcode, "another cartridge carries this barcode now")?;
    vault.note_left_without_copy()
}

fn is_ours(label: &Label, vault: &Vault, barcode: &Barcode) -> bool {
    label.vault == vault.id() && label.barcode == barcode.as_str()
}

fn is_empty(drive: &mut Drive) -> Result<bool, TapeError> {
    Ok(scan_cartridge(drive)?.containers.is_empty())
}

/// Leaves a cartridge alone until it's ordered otherwise.
fn set_aside(vault: &Vault, barcode: &Barcode, why: &str) -> Result<(), VaultError> {
    tracing::warn!(%barcode, why, "a cartridge is set aside; `coffer tape take` has it used all the same");
    vault.audit("box", &format!("set tape {barcode} aside: {why}"))?;
    vault.record(vec![blank_state(barcode, CartridgeState::Foreign)])
}

/// A cartridge that holds nothing of ours.
pub(super) fn blank_state(barcode: &Barcode, state: CartridgeState) -> Event {
    Event::CartridgeSet {
        barcode: barcode.to_string(),
        state,
        set: String::new(),
        number: 0,
        containers: 0,
        written: 0,
    }
}

fn new_label(vault: &Vault, stock: &Stock, barcode: &Barcode, set: &str) -> Result<Label, Trouble> {
    let newest = stock.tapes.values().filter(|tape| tape.set == set).map(|tape| tape.number).max();
    Ok(Label {
        cartridge: coffer_vault::random()?,
        barcode: barcode.to_string(),
        vault: vault.id(),
        org: vault.org(),
        set: set.to_owned(),
        number: newest.unwrap_or(0) + 1,
        created_ms: vault.now_ms(),
    })
}

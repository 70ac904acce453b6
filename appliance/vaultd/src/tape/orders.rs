//! What a person may order of the library. Each order is audited under their name.

use coffer_format::event::CartridgeState;
use coffer_format::wire::RefusalCode;
use coffer_tape::Barcode;
use coffer_vault::{Vault, VaultError};
use serde_json::{Value, json};

use super::TapeJob;
use super::labelling::blank_state;
use super::media::{Plan, Pressure, Stock, Tried};
use super::tending::{eject, give_up_lost};

impl TapeJob {
    /// What would be done if everything were written now.
    pub fn plan(&self, vault: &Vault) -> Result<Plan, VaultError> {
        let taken = self.take_stock(&mut *self.library_when_free()?, vault)?;
        Ok(Plan::of(&taken.stock, &self.rules, Pressure::Write, &Tried::default()))
    }

    /// Moves a cartridge to the mail slot.
    pub fn order_eject(&self, vault: &Vault, who: &str, barcode: &str) -> Result<Value, VaultError> {
        let mut library = self.library_when_free()?;
        let (barcode, stock) = self.known(&mut library, vault, barcode)?;
        if stock.mail_slots == 0 {
            return Err(super::failed(coffer_tape::TapeError::NoMailSlot(barcode)));
        }
        if stock.free_mail_slots == 0 {
            return Err(super::failed(coffer_tape::TapeError::MailSlotFull(barcode)));
        }
        vault.audit(who, &format!("ordered tape {barcode} to be ejected"))?;
        eject(&mut library, vault, &barcode)?;
        Ok(json!({ "ejected": barcode }))
    }

    /// Has what is on a cartridge copied elsewhere, and the cartridge not used again.
    pub fn order_retire(&self, vault: &Vault, who: &str, barcode: &str) -> Result<Value, VaultError> {
        let mut library = self.library_when_free()?;
        let (barcode, stock) = self.known(&mut library, vault, barcode)?;
        vault.audit(who, &format!("ordered tape {barcode} to be retired"))?;
        let tape = &stock.tapes[&barcode];
        let next = match tape.holds.is_empty() {
            true => blank_state(&barcode, CartridgeState::Retired),
            false => tape.with_state(&barcode, CartridgeState::Damaged),
        };
        vault.record(vec![next])?;
        Ok(json!({ "retired": barcode, "segments_to_copy": tape.holds.len() }))
    }

    /// Counts a cartridge as lost at once.
    pub fn order_lost(&self, vault: &Vault, who: &str, barcode: &str) -> Result<Value, VaultError> {
        let mut library = self.library_when_free()?;
        let (barcode, stock) = self.known(&mut library, vault, barcode)?;
        vault.audit(who, &format!("said that tape {barcode} is lost"))?;
        give_up_lost(vault, &stock, &barcode)?;
        Ok(json!({ "lost": barcode, "segments_to_copy": stock.tapes[&barcode].holds.len() }))
    }

    /// Allows a cartridge to be overwritten, whatever is on it: somebody else's data, or another vault's.
    pub fn order_take(&self, vault: &Vault, who: &str, barcode: &str) -> Result<Value, VaultError> {
        let mut library = self.library_when_free()?;
        let (barcode, stock) = self.known(&mut library, vault, barcode)?;
        let tape = &stock.tapes[&barcode];
        if !matches!(
            tape.state,
            None | Some(CartridgeState::Foreign | CartridgeState::Retired | CartridgeState::Lost)
        ) {
            return Err(wrong(format!(
                "tape {barcode} is in use here and is overwritten by itself when nothing on it is needed: use `coffer tape retire` to have it emptied"
            )));
        }
        vault.audit(who, &format!("ordered tape {barcode} to be used, whatever is on it"))?;
        vault.record(vec![blank_state(&barcode, CartridgeState::Taken)])?;
        Ok(json!({ "taken": barcode }))
    }

    /// Cleans a drive now, whether it asked for that or not.
    pub fn order_clean(&self, vault: &Vault, who: &str, drive: usize) -> Result<Value, VaultError> {
        let mut library = self.library_when_free()?;
        vault.audit(who, &format!("ordered drive {drive} to be cleaned"))?;
        let cleaner = self.clean_now(&mut library, vault, drive)?;
        Ok(json!({ "cleaned": drive, "with": cleaner }))
    }

    /// How often cartridges, drives and cleaning cartridges were used, and failed.
    pub fn wear(&self, vault: &Vault) -> Result<Value, VaultError> {
        let reading = vault.reading();
        Ok(json!({ "drives": reading.drive_wear()?, "cleaners": reading.cleaners()? }))
    }

    /// A cartridge that the catalog knows or the robot sees.
    fn known(
        &self,
        library: &mut coffer_tape::Library,
        vault: &Vault,
        barcode: &str,
    ) -> Result<(Barcode, Stock), VaultError> {
        let barcode: Barcode = barcode.parse().map_err(|error| wrong(format!("{error}")))?;
        let stock = self.take_stock(library, vault)?.stock;
        match stock.tapes.contains_key(&barcode) {
            true => Ok((barcode, stock)),
            false => Err(wrong(format!(
                "tape {barcode} isn't known here: `coffer tape list` and `coffer tape inventory` show what is"
            ))),
        }
    }
}

fn wrong(sentence: String) -> VaultError {
    VaultError::Refused { code: RefusalCode::BadRequest, sentence }
}

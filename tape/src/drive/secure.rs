//! The drive's own encryption, and keeping it for this computer alone.

use super::{Drive, Performed};
use crate::TapeError;
use crate::scsi::cdb::{self, ReservationIn, ReservationOut};
use crate::scsi::{
    Data, EncryptionKey, EncryptionStatus, ReservationKey, SET_KEY_PAGE, decode_aes_256_index, decode_holder,
    decode_keys, encode_clear_key, encode_reservation, encode_set_key, spin,
};

/// How a drive is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    None,
    /// By RESERVE(6), until a reset.
    Classic,
    Persistent(ReservationKey),
}

/// Who may use a drive, by persistent reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// The one that has it for itself.
    pub holder: Option<ReservationKey>,
    pub registered: Vec<ReservationKey>,
}

const ALLOC: u32 = 1024;

impl Drive {
    /// Whether the drive encrypts what it's given; `None` if it can't.
    pub fn encryption(&mut self) -> Result<Option<EncryptionStatus>, TapeError> {
        let command = cdb::security_protocol_in(spin::STATUS, ALLOC);
        let page = self.device.ask(&command, ALLOC as usize)?;
        let status = page.and_then(|page| EncryptionStatus::decode(&page).ok());
        self.features.encryption.learn(status.is_some());
        Ok(status)
    }

    /// Has the drive encrypt with `key` until it's cleared, or loses power. Unsupported without AES-256, or where keys are
    /// the library's.
    pub fn set_encryption_key(&mut self, key: &EncryptionKey) -> Result<Performed, TapeError> {
        let command = cdb::security_protocol_in(spin::CAPABILITIES, ALLOC);
        let page = self.device.ask(&command, ALLOC as usize)?;
        let Some(algorithm) = page.and_then(|page| decode_aes_256_index(&page).ok()).flatten() else {
            return Ok(Performed::Unsupported);
        };
        self.send_key_page(&encode_set_key(algorithm, key))
    }

    /// Has the drive forget its key and write plainly.
    pub fn clear_encryption_key(&mut self) -> Result<Performed, TapeError> {
        self.send_key_page(&encode_clear_key())
    }

    /// Keeps the drive for this computer: by persistent reservation, else by RESERVE(6).
    pub fn reserve(&mut self, key: ReservationKey) -> Result<Reservation, TapeError> {
        let registered = self.reserve_out(ReservationOut::RegisterAnyway, ReservationKey(0), key)?;
        self.features.persistent_reservation.learn(registered == Performed::Done);
        self.reservation = if registered == Performed::Done {
            self.reserve_out(ReservationOut::Reserve, key, ReservationKey(0))?;
            Reservation::Persistent(key)
        } else {
            match self.device.done_if_known(&cdb::reserve(), Data::None)? {
                Some(_) => Reservation::Classic,
                None => Reservation::None,
            }
        };
        Ok(self.reservation)
    }

    /// Lets other computers use the drive again.
    pub fn release(&mut self) -> Result<(), TapeError> {
        match std::mem::replace(&mut self.reservation, Reservation::None) {
            Reservation::None => {}
            Reservation::Classic => drop(self.device.done(&cdb::release(), Data::None)?),
            Reservation::Persistent(key) => {
                self.reserve_out(ReservationOut::Release, key, ReservationKey(0))?;
                self.reserve_out(ReservationOut::RegisterAnyway, key, ReservationKey(0))?;
            }
        }
        Ok(())
    }

    /// Who holds the drive by persistent reservation; `None` if it knows no such thing.
    pub fn holders(&mut self) -> Result<Option<Holders>, TapeError> {
        let keys = self
            .device
            .ask(&cdb::persistent_reserve_in(ReservationIn::Keys, ALLOC as u16), ALLOC as usize)?;
        let command = cdb::persistent_reserve_in(ReservationIn::Reservation, ALLOC as u16);
        let holder = self.device.ask(&command, ALLOC as usize)?;
        self.features.persistent_reservation.learn(keys.is_some());
        let (Some(keys), Some(holder)) = (keys, holder) else { return Ok(None) };
        let registered = decode_keys(&keys).map_err(|source| self.page_error(source))?;
        let holder = decode_holder(&holder).map_err(|source| self.page_error(source))?;
        Ok(Some(Holders { holder, registered }))
    }

    fn send_key_page(&mut self, page: &[u8]) -> Result<Performed, TapeError> {
        let command = cdb::security_protocol_out(SET_KEY_PAGE, page.len() as u32);
        let known = self.device.done_if_known(&command, Data::Out(page))?;
        Ok(Performed::from_known(known))
    }

    fn reserve_out(
        &mut self,
        what: ReservationOut,
        registered: ReservationKey,
        next: ReservationKey,
    ) -> Result<Performed, TapeError> {
        let parameters = encode_reservation(registered, next);
        let command = cdb::persistent_reserve_out(what);
        let known = self.device.done_if_known(&command, Data::Out(&parameters))?;
        Ok(Performed::from_known(known))
    }
}

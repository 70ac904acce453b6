//! A simulated drive's locks: encryption, reservations, the eject button.

use crate::scsi::{Data, SET_KEY_PAGE, spin};
use crate::simulator::reply::{
    Check, Done, GOOD, INVALID_FIELD, INVALID_PARAMETER, field, field_16, field_32, field_64, give,
};

const AES_256_GCM: [u8; 4] = [0, 1, 0, 0x14];

/// State of all of them. There is one initiator, who is never shut out.
#[derive(Debug, Default)]
pub(super) struct Locks {
    encrypts: bool,
    registered: Option<u64>,
    holder: Option<u64>,
}

impl Locks {
    pub(super) fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        match field(cdb, 0) {
            0x5e => self.reservations(cdb, data),
            0x5f => self.reserve(cdb, data),
            0xa2 => self.security_in(cdb, data),
            0xb5 => self.security_out(cdb, data),
            // RESERVE(6), RELEASE(6), PREVENT ALLOW MEDIUM REMOVAL.
            _ => GOOD,
        }
    }

    fn reservations(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let key = match field(cdb, 1) & 0x1f {
            0 => self.registered,
            1 => self.holder,
            _ => return Err(Check::illegal(INVALID_FIELD)),
        };
        let mut body = key.map(|key| key.to_be_bytes().to_vec()).unwrap_or_default();
        if !body.is_empty() && field(cdb, 1) & 0x1f == 1 {
            body.extend([0, 0, 0, 0, 0, 3, 0, 0]);
        }
        let mut page = vec![0, 0, 0, 1];
        page.extend((body.len() as u32).to_be_bytes());
        page.extend(body);
        give(data, &page, field_16(cdb, 7).into())
    }

    fn reserve(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let Data::Out(parameters) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        let (mine, next) = (field_64(parameters, 0), field_64(parameters, 8));
        match field(cdb, 1) & 0x1f {
            6 => self.registered = (next != 0).then_some(next),
            1 if self.registered == Some(mine) => self.holder = Some(mine),
            2 if self.registered == Some(mine) => self.holder = None,
            _ => return Err(Check::illegal(INVALID_FIELD)),
        }
        GOOD
    }

    fn security_in(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let code = field_16(cdb, 2);
        let body = match code {
            spin::CAPABILITIES => {
                let mut body = vec![0; 16];
                body.extend([1, 0, 0, 20, 0x8a, 0, 0, 0, 0, 32, 0, 32, 0, 32, 0, 0, 0, 0, 0, 0]);
                body.extend(AES_256_GCM);
                body
            }
            spin::STATUS => {
                let mode = if self.encrypts { [2, 3] } else { [0, 0] };
                let mut body = vec![0x40, mode[0], mode[1], 1];
                body.resize(20, 0);
                body
            }
            _ => return Err(Check::illegal(INVALID_FIELD)),
        };
        let ([ph, pl], [lh, ll]) = (code.to_be_bytes(), (body.len() as u16).to_be_bytes());
        let mut page = vec![ph, pl, lh, ll];
        page.extend(body);
        give(data, &page, field_32(cdb, 6) as usize)
    }

    fn security_out(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let Data::Out(page) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        let encrypts = field(page, 6) == 2;
        let fits = field_16(cdb, 2) == SET_KEY_PAGE
            && usize::from(field_16(page, 2)) + 4 == page.len()
            && (!encrypts || field_16(page, 18) == 32);
        if !fits {
            return Err(Check::illegal(INVALID_PARAMETER));
        }
        self.encrypts = encrypts;
        GOOD
    }
}

//! The seam: one command descriptor block, one buffer, one answer.

use std::io;

/// The buffer that goes with a command, if any.
#[derive(Debug)]
pub enum Data<'a> {
    None,
    /// The device fills it.
    In(&'a mut [u8]),
    /// The device reads it.
    Out(&'a [u8]),
}

impl Data<'_> {
    pub fn len(&self) -> usize {
        match self {
            Data::None => 0,
            Data::In(buffer) => buffer.len(),
            Data::Out(buffer) => buffer.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same buffer for one more try of the same command.
    pub fn again(&mut self) -> Data<'_> {
        match self {
            Data::None => Data::None,
            Data::In(buffer) => Data::In(buffer),
            Data::Out(buffer) => Data::Out(buffer),
        }
    }
}

/// SCSI status codes (SAM-5 5.3.1).
pub mod status {
    pub const GOOD: u8 = 0x00;
    pub const CHECK_CONDITION: u8 = 0x02;
    pub const BUSY: u8 = 0x08;
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// What came back, unjudged: any part of it may be wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScsiReply {
    pub status: u8,
    /// Sense bytes as the device gave them; empty if none.
    pub sense: Vec<u8>,
    /// Bytes of the buffer not transferred, as claimed. Some devices claim more than the buffer holds.
    pub residual: i64,
    /// Of the host adapter (Linux `DID_*`); 0 is well.
    pub host_status: u16,
    /// Of the driver (Linux `DRIVER_*`); 0 is well, 8 only says that there is sense.
    pub driver_status: u16,
}

impl ScsiReply {
    /// Bytes really transferred of a buffer of `len`: the claim, held to what can be.
    pub fn transferred(&self, len: usize) -> usize {
        let residual = usize::try_from(self.residual).unwrap_or(0);
        len - residual.min(len)
    }
}

/// Executes commands on one device.
pub trait ScsiTransport {
    /// What a person knows the device by, such as `/dev/sg3`.
    fn name(&self) -> String;

    /// Runs one command to its end. An error means that the device wasn't reached; what the device itself
    /// says is in the reply.
    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_residual_is_held_to_the_buffer() {
        for (residual, transferred) in [(0, 100), (40, 60), (100, 0), (5000, 0), (-3, 100)] {
            let reply = ScsiReply { residual, ..ScsiReply::default() };
            assert_eq!(reply.transferred(100), transferred, "residual {residual}");
        }
    }
}

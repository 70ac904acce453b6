//! What is known of what a drive can do, each found out by asking.

use serde::Serialize;

/// Whether a device can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Not asked yet.
    #[default]
    Unknown,
    Yes,
    No,
}

impl Support {
    pub(crate) fn of(answered: bool) -> Support {
        if answered { Support::Yes } else { Support::No }
    }

    /// What has answered once can do it, also if it doesn't now, as without a cartridge.
    pub(crate) fn learn(&mut self, answered: bool) {
        if *self != Support::Yes {
            *self = Support::of(answered);
        }
    }
}

/// One line of a report on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Feature {
    pub name: &'static str,
    pub support: Support,
    /// What it means if the device can't.
    pub without: &'static str,
}

/// What a drive can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DriveFeatures {
    /// It lists the commands it knows.
    pub opcode_list: Support,
    pub block_limits: Support,
    /// Blocks of any length; otherwise all are of ours.
    pub variable_blocks: Support,
    /// LOCATE to a block address, in either form.
    pub locate: Support,
    pub locate_16: Support,
    pub space_16: Support,
    pub write_filemarks_16: Support,
    /// READ POSITION tells an address that moves with the tape.
    pub position: Support,
    pub position_long: Support,
    pub position_extended: Support,
    pub erase: Support,
    pub densities: Support,
    pub compression: Support,
    pub tape_alert: Support,
    pub error_counters: Support,
    pub device_status: Support,
    pub tape_capacity: Support,
    /// The cartridge's memory can be read.
    pub attributes: Support,
    pub encryption: Support,
    pub persistent_reservation: Support,
    pub removal_lock: Support,
}

impl DriveFeatures {
    /// As lines to print, each with what its absence costs.
    pub fn lines(&self) -> Vec<Feature> {
        let line = |name, support, without| Feature { name, support, without };
        vec![
            line("list of commands", self.opcode_list, "each is found out by trying it"),
            line("block limits", self.block_limits, "blocks of 256 KiB are taken for possible"),
            line("variable blocks", self.variable_blocks, "every block is written at 256 KiB"),
            line("LOCATE", self.locate, "places are found by counting filemarks, which takes longer"),
            line("LOCATE(16)", self.locate_16, "addresses end at 2^32"),
            line("SPACE(16)", self.space_16, "long ways are wound in several steps"),
            line("WRITE FILEMARKS(16)", self.write_filemarks_16, "the short form is used"),
            line("READ POSITION", self.position, "no addresses are recorded, places are found by filemarks"),
            line("READ POSITION, long", self.position_long, "addresses end at 2^32"),
            line("READ POSITION, extended", self.position_extended, "the long or short form is used"),
            line("ERASE", self.erase, "a cartridge is overwritten from its beginning"),
            line("densities", self.densities, "generations are told by name and barcode"),
            line("compression page", self.compression, "the drive compresses or not as it was set"),
            line("TapeAlert", self.tape_alert, "warnings of drive and cartridge aren't seen"),
            line("error counters", self.error_counters, "wear is only seen when it fails"),
            line("device status page", self.device_status, "cleaning is only asked for by alert or sense"),
            line("tape capacity page", self.tape_capacity, "what is left is counted from what was written"),
            line("cartridge memory", self.attributes, "loads and serial numbers of cartridges aren't known"),
            line("encryption", self.encryption, "data is sealed before it reaches the drive in any case"),
            line("persistent reservation", self.persistent_reservation, "RESERVE(6), or none"),
            line("removal lock", self.removal_lock, "a button can take a cartridge out in use"),
        ]
    }
}

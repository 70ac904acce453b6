//! What happened to a vault besides captures. The catalog is these and the parts, folded in order of their Lsn.

use crate::{Blob, ComputerId, ConfigId, FileHash, Lsn, PointSeq, SegmentId};

layout! {
    /// A run of metadata records, by number: the first and the last.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Run { pub first: Lsn, pub last: Lsn }
}

kinds! {
    /// Where a verified copy of a segment is.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Place {
        /// In tape file `container` of the cartridge, from logical block `block`.
        1 = Tape { barcode: String, container: u32, block: u64 },
        /// At headquarters, under the name HQ gave this branch.
        2 = Hq { name: String },
    }
}

kinds! {
    /// Why a segment's file left the disk.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DropReason {
        /// Nothing that a kept point needs was in it.
        1 = Dead,
        /// What was still needed has been written to a newer segment.
        2 = Compacted,
        /// Enough verified copies are elsewhere; its index stays as a stub.
        3 = Evicted,
    }
}

kinds! {
    /// What is to be done with a cartridge.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum CartridgeState {
        1 = Scratch,
        2 = Filling,
        3 = Full,
        /// It failed: what is on it is copied elsewhere, then it's retired.
        4 = Damaged,
        /// Never used again.
        5 = Retired,
        /// Most of what is on it isn't needed any more: the rest is copied elsewhere, then it's scratch.
        6 = Emptying,
        /// It isn't where it should be; its copies no longer count.
        7 = Lost,
        /// It holds somebody else's data, or can't be used here. Nothing is written on it without an order.
        8 = Foreign,
        /// A person ordered that it be used, whatever is on it.
        9 = Taken,
    }
}

kinds! {
    /// Where a cartridge was last seen.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Whereabouts {
        1 = Library,
        /// In the mail slot, for a person to take out.
        2 = Leaving,
        3 = Away,
    }
}

kinds! {
    /// One event.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Event {
        /// A one-time enrolment code was given out; only the BLAKE3 hash of its secret is kept.
        1 = CodeIssued { secret: FileHash, computer_name: String, expires_ms: u64 },
        /// A computer enrolled with that code. `certificate` is the BLAKE3 hash of its public key (SPKI, DER).
        2 = ComputerAdded { computer: ComputerId, name: String, os: String, certificate: FileHash, secret: FileHash },
        3 = ComputerRevoked { computer: ComputerId },
        /// A backup configuration in TOML; `revision` grows by one each time.
        4 = ConfigSet { config: ConfigId, computer: ComputerId, name: String, revision: u32, toml: String },
        /// Retention gave these points up.
        5 = PointsExpired { config: ConfigId, points: Vec<PointSeq> },
        6 = SegmentDropped { segment: SegmentId, reason: DropReason },
        /// The medium said the copy is durable; `hash` is the one in the segment's trailer.
        7 = CopyRecorded { segment: SegmentId, hash: FileHash, place: Place },
        8 = CopyLost { segment: SegmentId, place: Place },
        /// `set` names the media set, `number` the cartridge's place in it.
        9 = CartridgeSet { barcode: String, state: CartridgeState, set: String, number: u32, containers: u32, written: u64 },
        /// A person or part did something that matters; `previous` is the hash of the audit entry before.
        10 = Audit { who: String, what: String, previous: FileHash },
        /// An evicted segment is on disk again.
        11 = SegmentReturned { segment: SegmentId },
        /// A record that no longer decrypts: chunks in it must be stored anew when they come again.
        12 = RecordDamaged { segment: SegmentId, offset: u64, detail: Blob },
        /// No copy on this cartridge counts any more: it's about to be overwritten, or it's lost.
        13 = CopiesGone { barcode: String },
        14 = CartridgeMoved { barcode: String, whereabouts: Whereabouts },
        /// A cartridge was in a drive (named by its serial number). All numbers since it was loaded; bytes.
        15 = TapeUsed { barcode: String, drive: String, loads: u32, written: u64, read: u64, errors: u32 },
        16 = DriveCleaned { drive: String, cleaner: String },
        /// A stretch of a segment's file isn't what was written any more (bytes; all of the file where it's missing). What
        /// lies in it is still needed: a copy heals it, or its chunks when they come again.
        17 = StretchDamaged { segment: SegmentId, offset: u64, len: u64, detail: Blob },
        /// Everything was read back. `touched` versions couldn't be restored from this disk, `lost` of them from nowhere.
        18 = Verified { segments: u64, bytes: u64, touched: u64, lost: u64 },
        /// What a new box needs to go on as this one, sealed for the organisation (HPKE): only its recovery key opens it. `digest`
        /// tells whether it's still what should be kept.
        19 = Escrowed { digest: FileHash, encapsulated: [u8; 32], sealed: Blob },
        /// Another line of this vault's history was left, and this one counts: what agents know may be of the other.
        20 = LineLeft,
        /// The agent has forgotten what it knew of that line. Of boxes that didn't note without which records; now it's 23.
        21 = JournalRecalled { config: ConfigId },
        /// This cartridge is a simulated library's: a file on the box's own disk. So until it's labelled anew.
        22 = CartridgeSimulated { barcode: String },
        /// The agent has forgotten what it knew, and compares its files with what the catalog has without these records, which
        /// couldn't be read: from its next point on they don't lack any more. In order, none next to another.
        23 = JournalRecalledWithout { config: ConfigId, records: Vec<Run> },
    }
}

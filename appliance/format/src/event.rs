//! What happened to a vault besides captures. The catalog is these and the parts, folded in order of their Lsn.

use crate::{Blob, ComputerId, ConfigId, FileHash, PointSeq, SegmentId};

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
        4 = Damaged,
        5 = Retired,
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
        /// The medium said the copy is durable, and its bytes hash to `hash`.
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
    }
}

//! What the reading side of a capture hands to the sending side, in order.

use std::sync::mpsc::{Receiver, SyncSender};

use coffer_format::ChunkId;
use coffer_format::NodeId;
use coffer_format::entry::{Consistency, Remark};
use coffer_format::manifest::Range;
use coffer_format::node::NodeMeta;
use coffer_format::op::{Name, Step};
use coffer_format::segment::Stream;
use coffer_format::wire::{ChunkAt, SignatureKind};

use crate::cut::{Packed, Ticket};
use crate::journal::{ChangedPages, JournalChange, Known};

/// One thing to be sent or remembered.
pub(super) enum Item {
    /// A pack that may still be with a worker.
    Pack {
        stream: Stream,
        result: Receiver<Packed>,
    },
    /// A step that needs no bytes.
    Step {
        step: Step,
        change: Option<JournalChange>,
    },
    /// For the journal alone.
    Note(JournalChange),
    /// A version of a node; its packs went before.
    Put(Box<Put>),
    /// Nothing comes of this file.
    Abandon(Ticket),
    CutPart,
    /// Everything so far is to be sent and committed; then an answer is due.
    Settle(SyncSender<()>),
    Ask {
        node: NodeId,
        kind: SignatureKind,
        reply: SyncSender<Recollection>,
    },
    Close {
        consistency: Consistency,
        report: Vec<Remark>,
    },
}

/// What the box remembers of a version.
pub(super) enum Recollection {
    Pages { first: u64, signatures: Vec<u8> },
    Chunks(Vec<ChunkAt>),
    End { size: u64 },
}

/// How the bytes of a version are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    None,
    Same,
    Whole,
    Change,
}

/// What's to be remembered of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Memorize {
    Kept,
    Nothing,
    /// The chunks that were sent, in order.
    SentChunks,
    /// These chunks, some of which the box had.
    Chunks(Vec<(u32, ChunkId)>),
    /// The pages that were sent, and these.
    Pages(ChangedPages),
}

/// A version, complete but for what the workers know.
pub(super) struct Put {
    pub(super) ticket: Option<Ticket>,
    pub(super) meta: NodeMeta,
    pub(super) said: Said,
    /// Ranges that need no new chunk.
    pub(super) ranges: Vec<Range>,
    pub(super) known: Known,
    pub(super) memorize: Memorize,
    pub(super) link: Option<(NodeId, Name)>,
}

//! An HQ that a test plays itself: it sees every piece, and says what it likes.

use std::net::SocketAddr;
use std::time::Duration;

use coffer_format::wire::{Message, SegmentHas};
use coffer_format::{FileHash, OrgId, SegmentId};
use coffer_link::{Authority, ByteBudget, EnrolledBranch, Identity, Link, Listener, Role};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::world::LONG;

pub(crate) struct FakeHq {
    _dir: TempDir,
    listener: Listener,
    pub(crate) enrolled: EnrolledBranch,
}

/// A piece as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) closed_len: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What the box said.
#[derive(Debug)]
pub(crate) enum Said {
    Piece(Piece),
    Forgotten(u64),
    Whole,
}

impl FakeHq {
    pub(crate) async fn new() -> FakeHq {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("authority"), "fake").unwrap();
        let day = Duration::from_secs(86_400);
        let identity = Identity::issue(&authority, Role::Hq, day).unwrap();
        let branch = Identity::issue(&authority, Role::Branch("leeds".into()), day).unwrap();
        let listener = Listener::bind("127.0.0.1:0", &identity, &[], ByteBudget::for_server()).await.unwrap();
        let (_, recovery) = coffer_vault::RecoveryKey::generate().unwrap();
        let enrolled = EnrolledBranch {
            identity: branch,
            branch: "leeds".into(),
            org: OrgId([3; 16]),
            chunk_key: [4; 32],
            recovery_key: recovery.0,
        };
        FakeHq { _dir: dir, listener, enrolled }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The next connection, greeted and told what is here.
    pub(crate) async fn accept(&self, segments: Vec<SegmentHas>) -> FakeLink {
        let mut link = timeout(LONG, self.listener.accept()).await.unwrap().unwrap();
        loop {
            match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap().unwrap() {
                Message::Hello { .. } | Message::BranchVault { .. } => {}
                Message::BranchSegments => break,
                other => panic!("{other:?}"),
            }
        }
        link.sender.send(Message::BranchHas { segments }).await.unwrap();
        match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap().unwrap() {
            Message::MarksWanted { .. } => {}
            other => panic!("{other:?}"),
        }
        link.sender.send(Message::Marks { segments: Vec::new() }).await.unwrap();
        FakeLink { link }
    }
}

/// A connection of the box.
pub(crate) struct FakeLink {
    link: Link,
}

impl FakeLink {
    /// What comes next; `None` once the box has left.
    pub(crate) async fn said(&mut self) -> Option<Said> {
        let mut message = timeout(LONG, self.link.receiver.recv()).await.unwrap();
        if matches!(message, Ok(Some(Message::BranchIdentity { .. }))) {
            message = timeout(LONG, self.link.receiver.recv()).await.unwrap();
        }
        match message {
            Ok(Some(Message::SegmentBytes { segment, offset, closed_len, bytes })) => {
                Some(Said::Piece(Piece { segment: segment.0, offset, closed_len, bytes: bytes.0 }))
            }
            Ok(Some(Message::SegmentForgotten { segment })) => Some(Said::Forgotten(segment.0)),
            Ok(Some(Message::Ask { .. })) => Some(Said::Whole),
            Ok(None) | Err(_) => None,
            Ok(Some(other)) => panic!("{other:?}"),
        }
    }

    /// The next piece; questions about wholeness on the way are answered with nothing.
    pub(crate) async fn piece(&mut self) -> Option<Piece> {
        loop {
            match self.said().await? {
                Said::Piece(piece) => return Some(piece),
                Said::Whole => self.answer_whole().await,
                Said::Forgotten(segment) => panic!("segment {segment} was given up"),
            }
        }
    }

    pub(crate) async fn answer_whole(&self) {
        self.link.sender.send(Message::Answer { json: "[]".into() }).await.unwrap();
    }

    /// Says that the piece, and all before it, is durable.
    pub(crate) async fn receipt(&self, piece: &Piece, hash: Option<FileHash>) {
        let bytes = piece.offset + piece.bytes.len() as u64;
        self.receipt_of(piece.segment, bytes, hash).await;
    }

    pub(crate) async fn receipt_of(&self, segment: u64, bytes: u64, hash: Option<FileHash>) {
        let receipt = Message::Receipt { segment: SegmentId(segment), bytes, hash };
        self.link.sender.send(receipt).await.unwrap();
    }
}

pub(crate) fn has(segment: u64, bytes: u64, closed: bool) -> SegmentHas {
    SegmentHas { segment: SegmentId(segment), bytes, closed }
}

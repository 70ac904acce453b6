//! A box that commits everything at once and keeps nothing.

use std::sync::mpsc::sync_channel;

use coffer_agent::wire::{INCOMING_MAX, OUTGOING_MAX, Wire};
use coffer_format::wire::Message;
use coffer_format::{NodeId, OrgId, PointSeq, VaultId};

/// A line to one that has `head` points.
pub(crate) fn connect(head: u64) -> Wire {
    let (to_box, from_agent) = sync_channel(OUTGOING_MAX);
    let (to_agent, from_box) = sync_channel(INCOMING_MAX);
    std::thread::spawn(move || {
        while let Ok(message) = from_agent.recv() {
            if let Some(answer) = answer(message, head)
                && to_agent.send(answer).is_err()
            {
                return;
            }
        }
    });
    Wire::new(to_box, from_box)
}

fn answer(message: Message, head: u64) -> Option<Message> {
    match message {
        Message::Hello { protocol, .. } => {
            let (vault, org) = (VaultId([1; 16]), OrgId([1; 16]));
            Some(Message::Welcome { protocol, name: "none".to_owned(), vault, org, vault_ms: 0 })
        }
        Message::Begin { config } => {
            let next_node = NodeId(if head == 0 { 2 } else { 1 << 40 });
            Some(Message::Begun { config, head: PointSeq(head), draft: None, next_node })
        }
        Message::CatchupWanted { .. } => Some(Message::CatchupEnd),
        Message::Part { config, point, part, .. } => {
            Some(Message::Committed { config, point, part, closed: false, vault_ms: 0 })
        }
        Message::LastPart { config, point, part, .. } => {
            Some(Message::Committed { config, point, part, closed: true, vault_ms: 0 })
        }
        _ => None,
    }
}

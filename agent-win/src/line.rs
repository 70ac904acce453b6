//! Connecting to the box, and carrying messages between the connection and a [`Wire`].

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coffer_format::wire::Message;
use coffer_link::{EnrolmentCode, Expect, Identity, Link, LinkError};
use tokio::runtime::Handle;

use crate::state::{StateDir, StateError};
use crate::wire::{INCOMING_MAX, OUTGOING_MAX, Wire};

/// Why there's no line to the box.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Connects with this computer's certificate.
pub fn connect(runtime: &Handle, address: &str, identity: &Identity) -> Result<Wire, LinkError> {
    let link = runtime.block_on(coffer_link::connect(address, identity, Expect::AnyBox, None))?;
    Ok(wire_over(link))
}

/// Makes this computer known to the box that gave out the code.
pub fn enrol(
    runtime: &Handle,
    address: &str,
    code: &EnrolmentCode,
    name: &str,
    state: &Path,
) -> Result<(), LineError> {
    let state = StateDir::create(state)?;
    let _lock = state.lock()?;
    let system = crate::platform::system_name();
    let identity = state.identity();
    let enrolled = runtime.block_on(coffer_link::enrol_computer(address, code, name, &system, &identity))?;
    state.seal_identity()?;
    state.save_chunk_key(&enrolled.chunk_key)?;
    Ok(state.save_server(address)?)
}

/// Two threads, each ending when either side of it goes away.
fn wire_over(link: Link) -> Wire {
    let Link { sender, mut receiver, .. } = link;
    let (to_box, outgoing) = sync_channel(OUTGOING_MAX);
    let (incoming, from_box) = sync_channel(INCOMING_MAX);
    std::thread::spawn(move || {
        carry_out(&outgoing, &sender);
    });
    std::thread::spawn(move || carry_in(&mut receiver, &incoming));
    Wire::new(to_box, from_box)
}

fn carry_out(outgoing: &Receiver<Message>, sender: &coffer_link::Sender) {
    while let Ok(message) = outgoing.recv() {
        if let Err(error) = sender.blocking_send(message) {
            tracing::info!(%error, "sending to the box ended");
            return;
        }
    }
}

fn carry_in(receiver: &mut coffer_link::Receiver, incoming: &SyncSender<Message>) {
    loop {
        let message = match receiver.blocking_recv() {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(LinkError::Refused(refusal)) => Message::Refused { refusal },
            Err(error) => {
                tracing::info!(%error, "receiving from the box ended");
                return;
            }
        };
        if incoming.send(message).is_err() {
            return;
        }
    }
}

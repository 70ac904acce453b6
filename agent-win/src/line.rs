//! Connecting to the box, and carrying messages between the connection and a [`Wire`].

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coffer_format::wire::Message;
use coffer_link::{EnrolmentCode, Expect, Identity, Link, LinkError};
use tokio::runtime::Handle;

use crate::find::{self, FindError};
use crate::guest::Guest;
use crate::restore_desk::Inbox;
use crate::state::{StateDir, StateError};
use crate::wire::{INCOMING_MAX, OUTGOING_MAX, Wire};

/// Why there's no line to the box.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Connects with this computer's certificate. All that goes over the connection counts against the guest's limit, and
/// what the box says of the configurations reaches the guest at once, whatever else is under way. Where there's a desk,
/// restores that the box asks for go there at once as well.
pub(crate) fn connect(
    runtime: &Handle,
    address: &str,
    identity: &Identity,
    guest: &Arc<Guest>,
    desk: Option<Inbox>,
) -> Result<Wire, LinkError> {
    let throttle = guest.throttle();
    let connecting = coffer_link::connect(address, identity, Expect::AnyBox, Some(throttle.clone()));
    let link = runtime.block_on(connecting)?;
    Ok(wire_over(link, guest.clone(), desk).over(throttle))
}

/// Makes this computer known to the box that gave out the code: at its address, or wherever the LAN says that it is.
/// Gives the address.
pub fn enrol(
    runtime: &Handle,
    address: Option<&str>,
    code: &EnrolmentCode,
    name: &str,
    state: &Path,
) -> Result<String, LineError> {
    let state = StateDir::create(state)?;
    let _lock = state.lock()?;
    let system = crate::platform::system_name();
    let identity = state.identity();
    let enrol_at = |address: &str| {
        runtime.block_on(coffer_link::enrol_computer(address, code, name, &system, &identity))
    };
    let (enrolled, address) = match address {
        Some(address) => (enrol_at(address)?, address.to_owned()),
        None => {
            let found = find::find(code.pin, find::ENROL_PATIENCE, enrol_at)?;
            tracing::info!(name = found.name, address = found.address, "found the box on this network");
            (found.outcome, found.address)
        }
    };
    state.seal_identity()?;
    state.save_chunk_key(&enrolled.chunk_key)?;
    state.save_server(&address)?;
    Ok(address)
}

/// Two threads, each ending when either side of it goes away.
fn wire_over(link: Link, guest: Arc<Guest>, desk: Option<Inbox>) -> Wire {
    let Link { sender, mut receiver, cut, .. } = link;
    let (to_box, outgoing) = sync_channel(OUTGOING_MAX);
    let (incoming, from_box) = sync_channel(INCOMING_MAX);
    std::thread::spawn(move || {
        carry_out(&outgoing, &sender);
    });
    std::thread::spawn(move || carry_in(&mut receiver, &incoming, &guest, desk.as_ref()));
    Wire::new(to_box, from_box).cut_by(cut)
}

fn carry_out(outgoing: &Receiver<Message>, sender: &coffer_link::Sender) {
    while let Ok(message) = outgoing.recv() {
        if let Err(error) = sender.blocking_send(message) {
            tracing::info!(%error, "sending to the box ended");
            return;
        }
    }
}

fn carry_in(
    receiver: &mut coffer_link::Receiver,
    incoming: &SyncSender<Message>,
    guest: &Guest,
    desk: Option<&Inbox>,
) {
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
        if matches!(message, Message::RestoreAsked { .. }) {
            // Without a desk this isn't the agent at work, and the box asks that one as well.
            if desk.is_some_and(|desk| desk.try_send(message).is_err()) {
                tracing::warn!("too many restores are asked for at once; one isn't done");
            }
            continue;
        }
        if let Message::Configs { configs } = &message {
            guest.learn(configs);
        }
        if incoming.send(message).is_err() {
            return;
        }
    }
}

//! Serving one operator: requests, restores.

use coffer_format::Blob;
use coffer_format::entry::ReportLine;
use coffer_format::wire::{Message, RefusalCode};
use coffer_link::{Link, LinkError, Sender, refuse};
use coffer_vault::restore::Wanted;
use serde_json::Value;

use super::Appliance;
use super::agent::{Failed, stream};
use crate::{copies, operator};

pub(super) fn serve(appliance: &Appliance, mut link: Link, name: &str) -> Result<(), LinkError> {
    while let Some(message) = link.receiver.blocking_recv()? {
        let _answering = appliance.traffic.answers();
        let done = match message {
            Message::Goodbye => return Ok(()),
            Message::Ask { json } => ask(appliance, &link.sender, name, &json),
            Message::UpdateBytes { at, bytes } => appliance.updates.bring(at, &bytes).map_err(Failed::Vault),
            Message::RestoreWanted { config, point, paths } => {
                let paths = paths.into_iter().map(|path| path.0).collect();
                restore(appliance, &link.sender, &Wanted { config, point, paths, trusted: true })
            }
            _ => {
                let sentence = "an operator can't send that: use `coffer`";
                Ok(link.sender.blocking_send(refuse(RefusalCode::NotAllowed, sentence))?)
            }
        };
        match done {
            Ok(()) => {}
            Err(Failed::Link(error)) => return Err(error),
            Err(Failed::Vault(error)) => {
                link.sender.blocking_send(Message::Refused { refusal: error.refusal() })?
            }
        }
    }
    Ok(())
}

/// Whoever waits hears at once what's being read back.
fn restore(appliance: &Appliance, sender: &Sender, wanted: &Wanted) -> Result<(), Failed> {
    let mut cut = None;
    let sent = send_restore(appliance, sender, wanted, &mut |working| {
        if cut.is_none() {
            cut = sender.blocking_send(Message::Working { json: bytes(&working) }).err();
        }
    });
    cut.map_or(sent.map(drop), |error| Err(error.into()))
}

fn ask(appliance: &Appliance, sender: &Sender, name: &str, json: &[u8]) -> Result<(), Failed> {
    let asked = match serde_json::from_slice(json) {
        Ok(asked) => asked,
        Err(error) => {
            let sentence =
                format!("this box doesn't know that request ({error}): use the `coffer` of the same version");
            return Ok(sender.blocking_send(refuse(RefusalCode::BadRequest, sentence))?);
        }
    };
    let mut cut = None;
    let answer = operator::answer(appliance, name, asked, &mut |working| {
        if cut.is_none() {
            cut = sender.blocking_send(Message::Working { json: bytes(&working) }).err();
        }
    });
    match cut {
        Some(error) => Err(error.into()),
        None => Ok(sender.blocking_send(Message::Answer { json: bytes(&answer?) })?),
    }
}

fn bytes(value: &Value) -> coffer_format::Blob {
    value.to_string().into_bytes().into()
}

/// Sends what is wanted; reads back first what the disk doesn't have. Returns how many lines of what's left out there were.
pub(super) fn send_restore(
    appliance: &Appliance,
    sender: &Sender,
    wanted: &Wanted,
    working: &mut dyn FnMut(Value),
) -> Result<u64, Failed> {
    let fetched = copies::fetch_for(appliance, wanted, working)?;
    let reading = appliance.vault.reading();
    let done = stream(sender, |send| {
        let mut send = |message| {
            appliance.traffic.passes();
            send(message)
        };
        reading.restore_naming(wanted, &fetched.away, &mut send)
    })?;
    let line = |what| ReportLine { path: Blob(Vec::new()), what };
    sender.blocking_send(Message::RestoreEnd {
        nodes: done.nodes,
        bytes: done.bytes,
        failed: fetched.requests.into_iter().map(line).collect(),
    })?;
    Ok(done.left_out)
}

//! Looking for boxes on the LAN.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent};

use super::{BoxOnLan, LanError, SERVICE};
use crate::Pin;

/// Most addresses that one search gives: whoever floods the LAN with boxes doesn't keep anyone for longer.
const GIVEN_MAX: usize = 16;
/// Most names of other boxes that are remembered.
const OTHERS_MAX: usize = 8;

/// A search for the box that proves one authority. Ends when it's dropped.
pub struct Search {
    pin: Pin,
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    waiting: VecDeque<(String, SocketAddr)>,
    given: Vec<SocketAddr>,
    others: Vec<String>,
}

impl Search {
    pub fn start(pin: Pin) -> Result<Search, LanError> {
        let started = || -> Result<_, mdns_sd::Error> {
            let daemon = ServiceDaemon::new()?;
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            let events = daemon.browse(SERVICE)?;
            Ok((daemon, events))
        };
        let (daemon, events) = started().map_err(LanError::Search)?;
        let (waiting, given, others) = (VecDeque::new(), Vec::new(), Vec::new());
        Ok(Search { pin, daemon, events, waiting, given, others })
    }

    /// The next name and address that claim to be the box's, each address once; nothing where none comes in time.
    pub fn next(&mut self, until: Instant) -> Option<(String, SocketAddr)> {
        loop {
            if let Some(found) = self.waiting.pop_front() {
                return Some(found);
            }
            match self.events.recv_deadline(until).ok()? {
                ServiceEvent::ServiceResolved(service) => {
                    BoxOnLan::read(&service).into_iter().for_each(|found| self.note(found));
                }
                _ => continue,
            }
        }
    }

    /// Boxes that answered but prove another authority.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    fn note(&mut self, found: BoxOnLan) {
        if found.pin != self.pin {
            if self.others.len() < OTHERS_MAX && !self.others.contains(&found.name) {
                self.others.push(found.name);
            }
            return;
        }
        for address in found.addresses {
            if self.given.len() < GIVEN_MAX && !self.given.contains(&address) {
                self.given.push(address);
                self.waiting.push_back((found.name.clone(), address));
            }
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // The thread that listens ends by itself; nobody waits for it.
        if let Err(error) = self.daemon.shutdown() {
            tracing::debug!(%error, "the search goes on until this program ends");
        }
    }
}

//! Getting hold of the box, wherever it is by now, and what's said to it about the agent's own program.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use coffer_format::wire::Message;

use super::{Agent, Job, POLL, ServerAddress, WorkError, gather};
use crate::find::{self, Whereabouts};
use crate::line;
use crate::restore_desk::Inbox;
use crate::session::Session;
use crate::update::{Updater, built_version};
use crate::wire::WireError;

impl Agent {
    pub(super) fn whereabouts(&self) -> Whereabouts {
        match &self.server {
            ServerAddress::Given(address) => Whereabouts::new(address.clone(), true),
            ServerAddress::Enrolled(address) => Whereabouts::new(address.clone(), false),
        }
    }

    /// A session at the box's address, or where the LAN says that it is by now.
    pub(super) fn session(&self) -> Result<Session, WorkError> {
        let place = self.whereabouts();
        match self.session_at(place.address(), None) {
            Err(WorkError::Link(error)) if find::is_elsewhere(&error) && !place.is_fixed() => {
                let address = find::find_again(&self.runtime, &self.identity).map_err(|_| error)?;
                self.session_at(&address, None)
            }
            session => session,
        }
    }

    pub(super) fn session_at(&self, address: &str, desk: Option<Inbox>) -> Result<Session, WorkError> {
        let wire = line::connect(&self.runtime, address, &self.identity, &self.guest, desk)?;
        let updater =
            self.updater.as_ref().map(|updater| updater.lock().unwrap_or_else(PoisonError::into_inner));
        let version = updater.map_or_else(built_version, |updater| updater.running());
        let session = Session::open_as(wire, version)?;
        let is_given = matches!(self.server, ServerAddress::Given(_));
        if !is_given && self.state.server()? != address {
            tracing::info!(address, "the box has moved");
            self.state.save_server(address)?;
        }
        Ok(session)
    }

    /// Changes are gathered while there's no line as well.
    pub(super) fn wait(&self, place: &mut Whereabouts, jobs: &mut [Job], wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.is_stopped() && !place.is_found() {
            gather(jobs, POLL.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Does something with the updater, where there is one, and tells the box what comes of it.
    pub(super) fn update(
        &self,
        session: &Session,
        work: impl FnOnce(&mut Updater) -> Vec<Message>,
    ) -> Result<(), WireError> {
        let Some(updater) = &self.updater else { return Ok(()) };
        let told = work(&mut updater.lock().unwrap_or_else(PoisonError::into_inner));
        told.into_iter().try_for_each(|message| session.tell(message))
    }
}

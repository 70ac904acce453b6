//! Finding the box on the LAN: at enrolment, by the pin in the code; later, by that in the agent's own certificate.
//!
//! Whatever answers is only a hint. A box counts as found once TLS has proven it.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use coffer_link::{Expect, Identity, LanError, LinkError, Pin, Search};
use tokio::runtime::Handle;

/// How long the LAN is asked at enrolment: a box that is just being started needs a moment.
pub const ENROL_PATIENCE: Duration = Duration::from_secs(8);
/// How long it's asked for a box that has moved.
const MOVED_PATIENCE: Duration = Duration::from_secs(5);

/// Why no box was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Lan(#[from] LanError),
    #[error(
        "no box of this code answered on this network within {seconds} s{}; give its address with --server HOST:PORT",
        other_boxes(.others)
    )]
    NoBox { seconds: u64, others: Vec<String> },
    /// It answered, and what then went wrong.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What came of an attempt, with which box, and where.
#[derive(Debug)]
pub struct Found<T> {
    pub name: String,
    pub address: String,
    pub outcome: T,
}

/// Tries each address that claims to be the box's, until one proves to be.
pub fn find<T>(
    pin: Pin,
    patience: Duration,
    mut attempt: impl FnMut(&str) -> Result<T, LinkError>,
) -> Result<Found<T>, FindError> {
    crate::platform::let_answers_in();
    let until = Instant::now() + patience;
    let mut search = Search::start(pin)?;
    let mut failed = None;
    while let Some((name, address)) = search.next(until) {
        let address = address.to_string();
        match attempt(&address) {
            Ok(outcome) => return Ok(Found { name, address, outcome }),
            Err(error) if is_elsewhere(&error) => {
                tracing::info!(%error, name, address, "claims to be the box and isn't");
                failed = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let others = search.others().to_vec();
    Err(failed.map_or(FindError::NoBox { seconds: patience.as_secs(), others }, FindError::Link))
}

/// The address at which the box proves itself to this identity.
pub(crate) fn find_again(runtime: &Handle, identity: &Identity) -> Result<String, FindError> {
    let attempt = |address: &str| {
        runtime.block_on(coffer_link::connect(address, identity, Expect::AnyBox, None)).map(drop)
    };
    find(identity.authority_pin(), MOVED_PATIENCE, attempt).map(|found| found.address)
}

/// Whether a box that failed so may be at another address by now.
pub(crate) fn is_elsewhere(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Unreachable { .. }
            | LinkError::HandshakeTimeout { .. }
            | LinkError::OtherBox { .. }
            | LinkError::OtherRole { .. }
            | LinkError::Foreign { .. }
    )
}

/// Where the box is, and a search for it while it isn't there.
pub(crate) struct Whereabouts {
    address: String,
    /// A person said where it is, or it's this machine: it isn't looked for.
    is_fixed: bool,
    search: Option<Receiver<String>>,
}

impl Whereabouts {
    pub(crate) fn new(address: String, is_fixed: bool) -> Whereabouts {
        let is_fixed = is_fixed || address.parse().is_ok_and(|at: SocketAddr| at.ip().is_loopback());
        Whereabouts { address, is_fixed, search: None }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Begins to look for the box, unless that's under way.
    pub(crate) fn look(&mut self, runtime: &Handle, identity: &Identity) {
        if self.is_fixed || self.search.is_some() {
            return;
        }
        let (runtime, identity) = (runtime.clone(), identity.clone());
        let (tell, found) = sync_channel(1);
        std::thread::spawn(move || match find_again(&runtime, &identity) {
            // Nobody waits for it any more where the agent has stopped.
            Ok(address) => drop(tell.send(address)),
            Err(error) => tracing::info!(%error, "looked for the box on this network"),
        });
        self.search = Some(found);
    }

    /// Whether the search has found it; then its address is another.
    pub(crate) fn is_found(&mut self) -> bool {
        let Some(search) = &self.search else { return false };
        match search.try_recv() {
            Ok(address) => {
                self.address = address;
                self.search = None;
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => {
                self.search = None;
                false
            }
        }
    }
}

fn other_boxes(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(" (these did, but the code isn't theirs: {})", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_on_this_machine_or_named_by_a_person_is_not_looked_for() {
        assert!(Whereabouts::new("127.0.0.1:7420".into(), false).is_fixed());
        assert!(Whereabouts::new("10.0.0.1:7420".into(), true).is_fixed());
        assert!(!Whereabouts::new("10.0.0.1:7420".into(), false).is_fixed());
        assert!(!Whereabouts::new("box.branch:7420".into(), false).is_fixed());
    }

    #[test]
    fn who_finds_none_hears_of_the_others_and_what_to_do() {
        let error = FindError::NoBox { seconds: 8, others: vec!["leeds".into(), "york".into()] };
        let said = error.to_string();
        assert!(said.contains("leeds, york") && said.ends_with("--server HOST:PORT"), "{said}");
    }
}

//! Finding a box on the LAN: multicast DNS (RFC 6762) and service discovery over it (RFC 6763).
//!
//! What's told here proves nothing: it's a hint where to connect to. The pin picks the right box among several; that it is
//! the right one is proven by TLS.

mod advertisement;
mod advertiser;
mod search;

pub use advertisement::BoxOnLan;
pub use advertiser::Advertiser;
pub use search::Search;
use thiserror::Error;

/// The kind of service that a box is.
const SERVICE: &str = "_coffer._tcp.local.";

/// Why the LAN couldn't be asked or told.
#[derive(Debug, Error)]
pub enum LanError {
    #[error("this machine can't look for boxes on its network: give the box's address instead")]
    Search(#[source] mdns_sd::Error),
    #[error("the box can't be told to its network: computers need its address to enrol")]
    Advertise(#[source] mdns_sd::Error),
}

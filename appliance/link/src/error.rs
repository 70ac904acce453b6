//! Why a link failed or an identity couldn't be used. Each sentence ends with what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use coffer_format::DecodeError;
use coffer_format::wire::Refusal;
use thiserror::Error;

use crate::validity::{ClockLimit, at};

/// Why no link came about, or why it ended.
#[derive(Debug, Clone, Error)]
pub enum LinkError {
    /// Retry.
    #[error("nothing answers at {address}: check the address, the cable and the firewall, then try again")]
    Unreachable { address: String, source: Arc<io::Error> },
    /// Retry.
    #[error("{address} did not finish the handshake within {seconds} s: check the line, then try again")]
    HandshakeTimeout { address: String, seconds: u64 },
    /// Operator. `clock_s` is this machine's clock, in seconds of Unix time.
    #[error(
        "the certificate of {whose} {limit}, but the clock here says {now}: set the clocks on both sides, \
         or enrol again if the certificate has run out",
        now = at(*.clock_s)
    )]
    WrongClock { whose: String, limit: ClockLimit, clock_s: i64 },
    /// Operator.
    #[error(
        "{address} is not the box or HQ that this identity or code belongs to: check the address, or enrol again"
    )]
    OtherBox { address: String },
    /// Operator.
    #[error("{address} is {found}, but {expected} was expected: check the address")]
    OtherRole { address: String, expected: String, found: String },
    /// Operator.
    #[error("{address} does not accept our certificate: enrol again with a new code")]
    NotTrusted { address: String },
    /// Operator. Seen by a server.
    #[error("{address} shows a certificate of another box or HQ: enrol it here with a new code")]
    Stranger { address: String },
    /// Operator.
    #[error("{address} does not speak this protocol: check the address and the port")]
    Foreign { address: String, detail: String },
    /// As its code says.
    #[error("{}", .0.sentence)]
    Refused(Refusal),
    /// Retry.
    #[error("the connection to {address} was cut: it will be taken up again where it stopped")]
    Cut { address: String },
    /// Bug, on this side where it sends, on the other where it receives.
    #[error(
        "a message of {found} bytes is longer than the {limit} allowed: update both programs to the same version"
    )]
    TooLong { found: u64, limit: u64 },
    /// Corrupt, or a newer program at the other end.
    #[error(
        "{address} sent a message that this program can't read: update both programs to the same version"
    )]
    Decode { address: String, source: DecodeError },
    /// The peer answered with a message that doesn't belong there.
    #[error("{address} answered with an unexpected message: update both programs to the same version")]
    OutOfTurn { address: String },
    /// Operator.
    #[error("can't listen at {address}: check that the address is this machine's and that the port is free")]
    Listen { address: String, source: Arc<io::Error> },
    /// Retry.
    #[error("the connection to {address} failed: check the line, then try again")]
    Io { address: String, source: Arc<io::Error> },
    #[error(transparent)]
    Identity(Arc<IdentityError>),
}

impl From<IdentityError> for LinkError {
    fn from(error: IdentityError) -> Self {
        LinkError::Identity(Arc::new(error))
    }
}

/// Why a certificate, key or code couldn't be made, read or kept.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("can't read {}: restore it or enrol again", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("can't write {}: check the disk's space and permissions", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} already exists: choose another directory, it would replace an authority in use", path.display())]
    Exists { path: PathBuf },
    #[error("{} doesn't hold what it should: restore it or enrol again", path.display())]
    Damaged { path: PathBuf },
    #[error("the certificate and the key don't belong together: enrol again")]
    KeyMismatch,
    #[error("the certificate wasn't issued by the authority that came with it: enrol again")]
    OtherAuthority,
    #[error("a certificate can't be read: enrol again")]
    Certificate,
    #[error("{text:?} isn't a role: a name has 1 to 48 bytes and no control characters; choose another name")]
    Role { text: String },
    #[error("{text:?} isn't a pin: copy its 20 hexadecimal digits again")]
    Pin { text: String },
    #[error("the certificate request isn't valid: enrol again")]
    Request,
    #[error("a lifetime of {seconds} s leads past what a certificate can hold: choose a shorter one")]
    Lifetime { seconds: u64 },
    #[error("making a key or certificate failed: try again, and report it if that doesn't help")]
    Making { source: rcgen::Error },
    #[error("this machine gave no random numbers: restart it")]
    NoRandomness,
    #[error("TLS can't be set up with this identity: enrol again")]
    Tls { source: rustls::Error },
}

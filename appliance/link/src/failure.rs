//! Turns what the socket and TLS report into what a person can act on.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::LinkError;
use crate::validity::{ClockLimit, Validity};

/// Which side of a link we are, for the wording of what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One link as its errors speak of it.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub side: Side,
    /// The other end.
    pub address: String,
    /// Of the certificate we show, if we show one.
    pub own_validity: Option<Validity>,
}

impl Context {
    pub(crate) fn cut(&self) -> LinkError {
        LinkError::Cut { address: self.address.clone() }
    }

    /// What an I/O error of a TLS stream means.
    pub(crate) fn explain(&self, error: io::Error) -> LinkError {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            return self.explain_tls(tls);
        }
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::WriteZero
            | ErrorKind::TimedOut => self.cut(),
            _ => LinkError::Io { address: self.address.clone(), source: Arc::new(error) },
        }
    }

    fn explain_tls(&self, error: &TlsError) -> LinkError {
        let address = self.address.clone();
        match error {
            TlsError::InvalidCertificate(reason) => self.explain_certificate(reason),
            TlsError::AlertReceived(alert) => self.explain_alert(*alert),
            TlsError::NoCertificatesPresented => LinkError::NotTrusted { address },
            other => LinkError::Foreign { address, detail: other.to_string() },
        }
    }

    /// We refused the peer's certificate.
    fn explain_certificate(&self, reason: &CertificateError) -> LinkError {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet,
            NotValidYetContext, Other, UnknownIssuer,
        };
        let address = self.address.clone();
        match reason {
            ExpiredContext { time, not_after } => {
                self.peers_clock(*time, ClockLimit::NotAfter(seconds(*not_after)))
            }
            NotValidYetContext { time, not_before } => {
                self.peers_clock(*time, ClockLimit::NotBefore(seconds(*not_before)))
            }
            Expired | NotValidYet => LinkError::Foreign { address, detail: reason.to_string() },
            // A certificate for another purpose is a computer's or an operator's, posing as a server.
            UnknownIssuer | BadSignature | InvalidPurpose | InvalidPurposeContext { .. } => {
                self.other_authority()
            }
            Other(verdict) => match verdict.0.downcast_ref::<LinkError>() {
                Some(error) => error.clone(),
                None => LinkError::Foreign { address, detail: reason.to_string() },
            },
            _ => LinkError::Foreign { address, detail: reason.to_string() },
        }
    }

    fn peers_clock(&self, now: UnixTime, limit: ClockLimit) -> LinkError {
        LinkError::WrongClock { whose: self.address.clone(), limit, clock_s: seconds(now) }
    }

    pub(crate) fn other_authority(&self) -> LinkError {
        let address = self.address.clone();
        match self.side {
            Side::Client => LinkError::OtherBox { address },
            Side::Server => LinkError::Stranger { address },
        }
    }

    /// The peer refused something of ours.
    fn explain_alert(&self, alert: AlertDescription) -> LinkError {
        let address = self.address.clone();
        match (alert, self.own_validity) {
            (AlertDescription::CertificateExpired, Some(validity)) => {
                let clock_s = clock_s();
                let whose = "this program".to_owned();
                LinkError::WrongClock { whose, limit: validity.refused_at(clock_s), clock_s }
            }
            (
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
                _,
            ) => LinkError::NotTrusted { address },
            (AlertDescription::UserCanceled | AlertDescription::CloseNotify, _) => self.cut(),
            (other, _) => LinkError::Foreign { address, detail: format!("alert {other:?}") },
        }
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// This machine's clock, for an error's sentence.
fn clock_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

//! A box tells its LAN that it's there.

use std::net::SocketAddr;
use std::time::Duration;

use coffer_format::VaultId;
use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use super::advertisement::{PIN, VAULT, label};
use super::{LanError, SERVICE};
use crate::Pin;

/// How long the LAN is given to hear that the box goes.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Answers who asks for boxes, until it's withdrawn.
pub struct Advertiser {
    daemon: ServiceDaemon,
    instance: String,
}

impl Advertiser {
    /// Tells the LAN of a box that listens at `address`: everywhere, or on the one network that has that address. What
    /// listens on loopback is for this machine alone: nobody is told.
    pub fn start(
        name: &str,
        vault: VaultId,
        pin: Pin,
        address: SocketAddr,
    ) -> Result<Option<Advertiser>, LanError> {
        if address.ip().is_loopback() {
            return Ok(None);
        }
        let told = || -> Result<Advertiser, mdns_sd::Error> {
            let daemon = ServiceDaemon::new()?;
            choose_networks(&daemon, address)?;
            let properties = [(PIN, pin.to_string()), (VAULT, vault.to_string())];
            let host = format!("coffer-{vault}.local.");
            let info = ServiceInfo::new(SERVICE, label(name), &host, "", address.port(), &properties[..])?;
            let info = info.enable_addr_auto();
            let instance = info.get_fullname().to_owned();
            daemon.register(info)?;
            Ok(Advertiser { daemon, instance })
        };
        told().map(Some).map_err(LanError::Advertise)
    }

    /// Tells the LAN that the box goes, so that nobody waits for it.
    pub fn withdraw(self) {
        let said = self.daemon.unregister(&self.instance).map(|said| said.recv_timeout(FAREWELL_MAX));
        let ended = self.daemon.shutdown().map(|ended| ended.recv_timeout(FAREWELL_MAX));
        tracing::debug!(?said, ?ended, "the box is no longer told to its network");
    }
}

/// Addresses that nothing listens at aren't told.
fn choose_networks(daemon: &ServiceDaemon, address: SocketAddr) -> Result<(), mdns_sd::Error> {
    if !address.ip().is_unspecified() {
        daemon.disable_interface(IfKind::All)?;
        return daemon.enable_interface(address.ip());
    }
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    if address.is_ipv4() { daemon.disable_interface(IfKind::IPv6) } else { Ok(()) }
}

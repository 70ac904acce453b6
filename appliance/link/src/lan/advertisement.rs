//! What a box says of itself on the LAN.

use std::net::{IpAddr, SocketAddr};

use coffer_format::VaultId;
use mdns_sd::{ResolvedService, ScopedIp};

use super::SERVICE;
use crate::Pin;

/// Longest name of an instance, in bytes (a DNS label).
pub(super) const NAME_MAX: usize = 63;
/// Most addresses of one box that are tried.
const ADDRESSES_MAX: usize = 4;
pub(super) const VAULT: &str = "vault";
pub(super) const PIN: &str = "pin";

/// A box as the LAN tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxOnLan {
    pub name: String,
    pub vault: VaultId,
    /// Of the authority that the box must prove.
    pub pin: Pin,
    /// Where it listens: IPv4 first, at most four.
    pub addresses: Vec<SocketAddr>,
}

impl BoxOnLan {
    /// Nothing where it isn't a box's, or has no address that could be connected to.
    pub(super) fn read(service: &ResolvedService) -> Option<BoxOnLan> {
        let pin = service.get_property_val_str(PIN)?.parse().ok()?;
        let vault = service.get_property_val_str(VAULT)?.parse().ok()?;
        let mut addresses: Vec<SocketAddr> = service
            .addresses
            .iter()
            .map(ScopedIp::to_ip_addr)
            .filter(is_reachable)
            .map(|ip| (ip, service.port).into())
            .collect();
        addresses.sort();
        addresses.truncate(ADDRESSES_MAX);
        let name = service.fullname.strip_suffix(SERVICE)?.trim_end_matches('.').replace('\\', "");
        (!addresses.is_empty()).then_some(BoxOnLan { name, vault, pin, addresses })
    }
}

/// Link-local addresses of IPv6 mean nothing without the interface that they were heard on, which changes.
fn is_reachable(ip: &IpAddr) -> bool {
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !is_link_local && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback()
}

/// A name that fits in a label, cut where a character ends.
pub(super) fn label(name: &str) -> &str {
    let end =
        name.char_indices().map(|(at, one)| at + one.len_utf8()).take_while(|end| *end <= NAME_MAX).last();
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mdns_sd::ServiceInfo;

    fn told(properties: &[(&str, &str)], addresses: &str) -> Option<BoxOnLan> {
        let info =
            ServiceInfo::new(SERVICE, "branch 7", "coffer.local.", addresses, 7420, properties).unwrap();
        BoxOnLan::read(&info.as_resolved_service())
    }

    #[test]
    fn a_box_is_read_from_what_it_says() {
        let (pin, vault) = (Pin([7; 10]), VaultId([9; 16]));
        let words = [(PIN, pin.to_string()), (VAULT, vault.to_string())];
        let words = [(words[0].0, words[0].1.as_str()), (words[1].0, words[1].1.as_str())];
        let found = told(&words, "fe80::1,fd00::5,10.1.2.3,127.0.0.1").unwrap();
        let addresses = vec!["10.1.2.3:7420".parse().unwrap(), "[fd00::5]:7420".parse().unwrap()];
        assert_eq!(found, BoxOnLan { name: "branch 7".into(), vault, pin, addresses });
        assert_eq!(told(&words, "fe80::1"), None, "an address that can't be used");
        assert_eq!(told(&words[..1], "10.1.2.3"), None, "no vault");
        assert_eq!(told(&[words[1], (PIN, "0707")], "10.1.2.3"), None, "half a pin");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(label("branch"), "branch");
        let cut = label("ß".repeat(40).as_str()).to_owned();
        assert_eq!(cut, "ß".repeat(31));
    }
}

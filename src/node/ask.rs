//! The question to a host whether it has an address that is bound to it: an ARP request or a Neighbour Solicitation from
//! its router, to its MAC address alone (RFC 1122 §2.3.2.1, RFC 4861 §7.3.1).

use super::exchange::Frame;
use crate::net::ndp::{self, Envelope};
use crate::net::{Mac, arp};
use crate::table::{AttachmentKey, Tables};
use std::net::IpAddr;

/// The question. `None`: no router of the host can ask for such an address.
#[must_use]
pub fn question(at: AttachmentKey, address: IpAddr, tables: &Tables) -> Option<Frame> {
    let tenant = tables.networks.tenant(at.port, at.vlan, at.mac);
    let network = tenant.and_then(|tenant| tables.networks.get(tenant.network));
    let port = tables.ports.get(usize::from(at.port.0))?;
    match (address, network) {
        (IpAddr::V4(address), Some(network)) => {
            let gateway = network.ipv4_gateway(address.to_bits())?;
            let mut frame = [0; arp::MAX_FRAME];
            let router = (network.mac, gateway);
            let length = arp::request(&mut frame, router, at.vlan, address.to_bits(), Some(at.mac));
            Frame::new(at.port, frame.get(..length)?)
        }
        (IpAddr::V4(_), None) => None,
        (IpAddr::V6(address), Some(network)) => {
            solicitation(at, address.to_bits(), (network.mac, network.link_local()))
        }
        (IpAddr::V6(address), None) => solicitation(at, address.to_bits(), (port.mac, port.link_local)),
    }
}

fn solicitation(at: AttachmentKey, target: u128, (from_mac, source): (Mac, u128)) -> Option<Frame> {
    let mut frame = [0; ndp::MAX_FRAME];
    let to = Envelope { to_mac: at.mac, from_mac, vlan: at.vlan, source, destination: target };
    let length = ndp::solicitation(&mut frame, to, target);
    Frame::new(at.port, frame.get(..length)?)
}

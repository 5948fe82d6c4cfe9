//! Neighbour Discovery frames that the node sends unasked: solicitations, unsolicited neighbour and
//! router advertisements (RFC 4861 §6.2.4, §7.2.2, §7.2.6).

use super::exchange::Frame;
use super::neighbour::Key;
use crate::config::PortAddress;
use crate::net::ipv6::{ALL_NODES, solicited_node};
use crate::net::ndp::{self, Advert, Envelope};
use crate::net::{Mac, ipv6};
use crate::table::{Networks, Port, PortId};

/// A Neighbour Solicitation: to `to`, or to the target's solicited-node group.
///
/// It comes from the port's address on the target's subnet, or else from the link-local address (§7.2.2).
#[must_use]
pub fn solicitation(
    port: &Port,
    addresses: &[PortAddress],
    vlan: u16,
    key: Key,
    to: Option<Mac>,
) -> Option<Frame> {
    let covering = addresses.iter().find(|own| own.prefix.contains(key.address));
    let source = match covering {
        Some(own) if !ipv6::is_link_local(key.address) => own.address,
        _ => port.link_local,
    };
    let group = solicited_node(key.address);
    let (to_mac, destination) = match to {
        Some(mac) => (mac, key.address),
        None => (Mac::of_ipv6_multicast(group), group),
    };
    let envelope = Envelope { to_mac, from_mac: port.mac, vlan, source, destination };
    build(key.port, |frame| ndp::solicitation(frame, envelope, key.address))
}

/// Probes for duplicates of the port's addresses: Neighbour Solicitations from `::` (RFC 4862 §5.4.2).
pub fn probes(id: PortId, port: &Port) -> impl Iterator<Item = Frame> + '_ {
    let addresses = port.addresses.iter().copied().chain([port.link_local]);
    addresses.flat_map(move |address| {
        port.vlans.iter().filter_map(move |&vlan| {
            let destination = solicited_node(address);
            let to_mac = Mac::of_ipv6_multicast(destination);
            let envelope = Envelope { to_mac, from_mac: port.mac, vlan, source: 0, destination };
            build(id, |frame| ndp::solicitation(frame, envelope, address))
        })
    })
}

/// Unsolicited Neighbour Advertisements of all the port's addresses, to all nodes, which update their caches
/// (§7.2.6).
pub fn advertisements<'t>(
    id: PortId,
    port: &'t Port,
    networks: &'t Networks,
) -> impl Iterator<Item = Frame> + 't {
    let addresses = port.addresses.iter().copied().chain([port.link_local]);
    addresses.flat_map(move |address| {
        vlans(id, port, networks).filter_map(move |vlan| {
            let envelope = to_all(port, vlan, address);
            build(id, |frame| ndp::advertisement(frame, envelope, address, false, true))
        })
    })
}

/// The VLANs on which the port speaks for itself. Tenants hear nothing of it: their router is their network's.
fn vlans<'t>(id: PortId, port: &'t Port, networks: &'t Networks) -> impl Iterator<Item = u16> + 't {
    port.vlans.iter().copied().filter(move |vlan| !networks.has_tenants(id, *vlan))
}

/// Router Advertisements to all nodes, if the port sends any.
pub fn router_advertisements<'t>(
    id: PortId,
    port: &'t Port,
    networks: &'t Networks,
) -> impl Iterator<Item = Frame> + 't {
    advertise(id, port, networks, port.advert)
}

/// The final Router Advertisements of a port, with lifetime 0: it is no default router any more
/// (RFC 4861 §6.2.5).
pub fn final_router_advertisements<'t>(
    id: PortId,
    port: &'t Port,
    networks: &'t Networks,
) -> impl Iterator<Item = Frame> + 't {
    let last = |advert: Advert| Advert { lifetime_s: 0, ..advert };
    advertise(id, port, networks, port.advert.map(last))
}

fn advertise<'t>(
    id: PortId,
    port: &'t Port,
    networks: &'t Networks,
    advert: Option<Advert>,
) -> impl Iterator<Item = Frame> + 't {
    advert.into_iter().flat_map(move |advert| {
        vlans(id, port, networks).filter_map(move |vlan| {
            let envelope = to_all(port, vlan, port.link_local);
            build(id, |frame| ndp::router_advertisement(frame, envelope, advert))
        })
    })
}

fn to_all(port: &Port, vlan: u16, source: u128) -> Envelope {
    let to_mac = Mac::of_ipv6_multicast(ALL_NODES);
    Envelope { to_mac, from_mac: port.mac, vlan, source, destination: ALL_NODES }
}

fn build(port: PortId, write: impl FnOnce(&mut [u8; ndp::MAX_FRAME]) -> usize) -> Option<Frame> {
    let mut frame = [0; ndp::MAX_FRAME];
    let length = write(&mut frame);
    Frame::new(port, frame.get(..length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ndp::Message;
    use crate::net::{Ipv6Prefix, ethernet};
    use crate::table::Role;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: u128 = 0xfd00_0001 << 96 | 1;

    fn port() -> Port {
        let mut port = Port::new(Role::Access, OURS, vec![0, 10], vec![ADDRESS], None);
        port.advert = Some(Advert { lifetime_s: 1800, mtu: 1500, prefix: None });
        port
    }

    fn message(frame: &Frame) -> (u16, u128, u128, Message) {
        let link = ethernet::parse(&frame.bytes).unwrap();
        let packet = &frame.bytes[link.header..];
        let header = ipv6::Ipv6::of(packet).unwrap();
        (link.vlan, header.source(), header.destination(), ndp::parse(packet).unwrap())
    }

    #[test]
    fn a_solicitation_comes_from_the_address_on_the_targets_subnet() {
        let own = [PortAddress { address: ADDRESS, prefix: Ipv6Prefix::covering(ADDRESS, 64) }];
        let near = Key { port: PortId(0), address: ADDRESS + 1 };
        let (vlan, source, destination, said) = message(&solicitation(&port(), &own, 7, near, None).unwrap());
        assert_eq!((vlan, source, destination), (7, ADDRESS, solicited_node(near.address)));
        assert_eq!(said, Message::Solicitation { target: near.address, source_mac: Some(OURS) });
        let far = Key { address: 0xfe80 << 112 | 9, ..near };
        let frame = solicitation(&port(), &own, 0, far, Some(Mac([2, 0, 0, 0, 0, 9]))).unwrap();
        let (vlan, source, destination, _) = message(&frame);
        assert_eq!((vlan, source, destination), (0, OURS.link_local(), far.address));
        assert_eq!(frame.bytes[..6], [2, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn rfc_4862_5_4_2_a_probe_comes_from_nowhere_and_names_no_mac() {
        let said: Vec<_> = probes(PortId(3), &port()).map(|frame| message(&frame)).collect();
        let target = |address| Message::Solicitation { target: address, source_mac: None };
        let of = |vlan, address| (vlan, 0, solicited_node(address), target(address));
        let own = OURS.link_local();
        assert_eq!(said, [of(0, ADDRESS), of(10, ADDRESS), of(0, own), of(10, own)]);
    }

    #[test]
    fn advertisements_tell_every_address_on_every_vlan() {
        let said: Vec<_> =
            advertisements(PortId(3), &port(), &Networks::default()).map(|frame| message(&frame)).collect();
        assert_eq!(said.len(), 4);
        assert!(said.iter().all(|(_, source, to, message)| *to == ALL_NODES
            && matches!(message, Message::Advertisement { target, solicited: false, override_flag: true, .. }
                if target == source)));
        let routers: Vec<_> =
            router_advertisements(PortId(3), &port(), &Networks::default()).map(|f| message(&f)).collect();
        assert_eq!(routers.iter().map(|said| said.0).collect::<Vec<_>>(), [0, 10]);
        assert!(routers.iter().all(|said| said.1 == OURS.link_local()));
    }
}

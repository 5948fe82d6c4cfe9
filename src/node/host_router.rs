//! The router of one host as frames that only this host gets: Router Advertisements, unsolicited Neighbour
//! Advertisements and ARP announcements.
//!
//! What a tenant caches of its router comes from its network and is the same at every node. A link may carry tenants
//! of several networks, so a multicast frame goes to one MAC address (RFC 6085).

use super::exchange::Frame;
use crate::net::ipv6::ALL_NODES;
use crate::net::ndp::{self, Advert, Envelope};
use crate::net::{Mac, arp};
use crate::table::{AttachmentKey, Network, Port, Tenant};

/// What a host is told of its router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRouter {
    mac: Mac,
    /// Its IPv6 addresses, the link-local one first; none for a host without IPv6.
    ipv6: Vec<u128>,
    /// Its IPv4 addresses.
    ipv4: Vec<u32>,
    advert: Option<Advert>,
}

impl HostRouter {
    /// The router of a tenant: the gateway of its network, in the families that the tenant has addresses of.
    #[must_use]
    pub fn of_tenant(network: &Network, tenant: &Tenant) -> Self {
        let advert = network.advert().filter(|_| !tenant.ipv6.is_empty());
        let gateway = network.ipv6.and_then(|vnet| vnet.gateway);
        let ipv6 = advert.iter().flat_map(|_| [network.link_local()].into_iter().chain(gateway)).collect();
        let mut ipv4: Vec<u32> =
            tenant.ipv4.iter().filter_map(|address| network.ipv4_gateway(*address)).collect();
        ipv4.sort_unstable();
        ipv4.dedup();
        HostRouter { mac: network.mac, ipv6, ipv4, advert }
    }

    /// The router of a task on `port`.
    #[must_use]
    pub fn of_task(port: &Port) -> Self {
        let ipv6 = [port.link_local].into_iter().chain(port.addresses.iter().copied()).collect();
        HostRouter { mac: port.mac, ipv6, ipv4: Vec::new(), advert: port.advert }
    }

    /// Whether the host has it as its default router by advertisement.
    #[must_use]
    pub fn is_advertised(&self) -> bool {
        self.advert.is_some_and(|advert| advert.lifetime_s > 0)
    }

    /// Whether a host that was told of `self` must hear that this router is none any more, before it is told of `new`.
    #[must_use]
    pub fn ends_before(&self, new: Option<&HostRouter>) -> bool {
        self.is_advertised() && new.is_none_or(|new| new.mac != self.mac || !new.is_advertised())
    }

    /// All that the host may have cached of another router: MAC address, link-local address, default route.
    pub fn announcement(&self, to: AttachmentKey) -> impl Iterator<Item = Frame> {
        let ipv6 = self.ipv6.iter().filter_map(move |&address| {
            let envelope = self.envelope(to, address);
            neighbour(to, |frame| ndp::advertisement(frame, envelope, address, false, true))
        });
        let ipv4 = self.ipv4.iter().filter_map(move |&address| {
            let mut frame = [0; arp::MAX_FRAME];
            let length = arp::request(&mut frame, (self.mac, address), to.vlan, address, Some(to.mac));
            Frame::new(to.port, frame.get(..length)?)
        });
        self.advertisement(to).into_iter().chain(ipv6).chain(ipv4)
    }

    /// The Router Advertisement, if the host gets any.
    #[must_use]
    pub fn advertisement(&self, to: AttachmentKey) -> Option<Frame> {
        self.advertise(to, self.advert?)
    }

    /// The Router Advertisement with lifetime 0: this is no default router any more (RFC 4861 §6.2.5).
    #[must_use]
    pub fn withdrawal(&self, to: AttachmentKey) -> Option<Frame> {
        self.advertise(to, Advert { lifetime_s: 0, ..self.advert? })
    }

    fn advertise(&self, to: AttachmentKey, advert: Advert) -> Option<Frame> {
        let envelope = self.envelope(to, self.mac.link_local());
        neighbour(to, |frame| ndp::router_advertisement(frame, envelope, advert))
    }

    fn envelope(&self, to: AttachmentKey, source: u128) -> Envelope {
        Envelope { to_mac: to.mac, from_mac: self.mac, vlan: to.vlan, source, destination: ALL_NODES }
    }
}

fn neighbour(to: AttachmentKey, write: impl FnOnce(&mut [u8; ndp::MAX_FRAME]) -> usize) -> Option<Frame> {
    let mut frame = [0; ndp::MAX_FRAME];
    let length = write(&mut frame);
    Frame::new(to.port, frame.get(..length)?)
}

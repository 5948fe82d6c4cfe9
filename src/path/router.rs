//! The router that a host sees on its link: its MAC address and its link-local address.
//!
//! A tenant sees the router of its network, which is the same at every node, and never the port. Every other host sees
//! the port, whose MAC address on access ports is that of the SIR domain (`docs/tenants.md`).

use crate::net::{Mac, ipv6};
use crate::table::{Network, NetworkId, Port, Tables};

/// The router that the sender of a packet sees.
#[derive(Clone, Copy)]
pub(in crate::path) struct Router<'t> {
    port: &'t Port,
    network: Option<&'t Network>,
}

impl<'t> Router<'t> {
    /// The router that hosts on `port` see: tenants of a network that of the network.
    #[inline]
    pub(in crate::path) fn of(port: &'t Port, from: Option<NetworkId>, tables: &'t Tables) -> Self {
        Router { port, network: from.and_then(|id| tables.networks.get(id)) }
    }

    /// The router that tenants of `network` see.
    #[inline]
    pub(in crate::path) fn of_network(port: &'t Port, network: &'t Network) -> Self {
        Router { port, network: Some(network) }
    }

    /// Its MAC address.
    #[inline]
    pub(in crate::path) fn mac(self) -> Mac {
        self.network.map_or(self.port.mac, |network| network.mac)
    }

    /// Its link-local address.
    #[inline]
    pub(in crate::path) fn link_local(self) -> u128 {
        self.network.map_or(self.port.link_local, Network::link_local)
    }

    /// Source of ICMPv6 errors. A tenant hears of no address of the node: they come from the gateway of its network, or
    /// from the link-local address if it has none.
    pub(in crate::path) fn error_source(self) -> u128 {
        let Some(network) = self.network else { return self.port.error_source };
        network.ipv6.and_then(|vnet| vnet.gateway).unwrap_or(network.link_local())
    }

    /// Whether `address` is the router's. The address of a network's gateway, which only serves echo, is told apart.
    #[inline]
    pub(in crate::path) fn owns(self, address: u128) -> bool {
        match self.network {
            Some(network) => address == network.link_local(),
            None => self.port.owns(address),
        }
    }

    /// Whether the router is in the group: that of all nodes, of all routers, or a solicited-node group of its
    /// addresses.
    pub(in crate::path) fn is_in_group(self, group: u128) -> bool {
        let Some(network) = self.network else { return self.port.is_in_group(group) };
        let gateway = network.ipv6.and_then(|vnet| vnet.gateway);
        let mut own = [network.link_local()].into_iter().chain(gateway);
        group == ipv6::ALL_NODES
            || group == ipv6::ALL_ROUTERS
            || own.any(|address| ipv6::solicited_node(address) == group)
    }
}

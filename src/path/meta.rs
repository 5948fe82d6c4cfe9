//! Metadata of the packets of a burst: what the stages know of a packet beyond its bytes.

use super::verdict::DropReason;
use crate::ila::Identifier;
use crate::net::icmp6;
use crate::siit::Refused;
use crate::table::{ActionId, DomainId, NetworkId, Quarantine, Tenant};

/// Most packets of a burst.
pub const BURST: usize = 64;

/// What a packet's destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// Not classified yet, or decided already.
    #[default]
    None,
    /// Under a SIR prefix, or a tenant's own address in this domain: translate to a locator, or deliver here.
    Sir(DomainId),
    /// Under a locator of ours: translate back to SIR and deliver.
    Ila(DomainId),
    /// A group of tenants in this domain: copy to its members.
    Group(DomainId),
    /// Any other address: plain IPv6 routing.
    Route,
    /// This node itself.
    Local,
}

/// The tenant that sent a packet, as far as the policer must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policed {
    /// Its [`TenantHandle::slot`](crate::table::TenantHandle::slot).
    pub slot: u16,
    /// Whether the tenant is under quarantine, so that its requests are not answered.
    pub quarantined: bool,
}

impl Policed {
    pub(super) fn of(tenant: &Tenant) -> Self {
        Policed { slot: tenant.handle.slot, quarantined: tenant.quarantine != Quarantine::None }
    }
}

/// What was done with a packet because its receiver moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It left through a tunnel.
    Tunnelled,
    /// It left with another locator.
    Retranslated,
    /// It came out of a tunnel and was delivered.
    Decapsulated,
}

/// The metadata of one packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct PacketMeta {
    /// Destination address, as received or as this node wrote it.
    pub destination: u128,
    /// The identifier that is looked up, C-bit 0; for a packet to a group, the group's identifier. Meaningless for the
    /// classes `None`, `Route` and `Local`.
    pub identifier: Identifier,
    /// The action that the lookup found; 0 for none.
    pub action: ActionId,
    /// What the destination is.
    pub class: Class,
    /// Whether the mapping that the packet uses is about to expire.
    pub expiring: bool,
    /// Whether the packet is more than plain TCP or UDP: the IPv6 next header is an extension header, ICMPv6 or another
    /// protocol.
    pub unusual: bool,
    /// Whether the packet may be fragmented: as IPv4 it has or would have no DF, and it is not ICMP; or it is an answer
    /// of this node.
    pub splits: bool,
    /// Whether this node made the packet, as an answer or an error. Its hop limit is not lowered, and it is never
    /// answered.
    pub ours: bool,
    /// Whether the packet came as IPv4 from a tenant attached here. Its first bytes are kept in
    /// [`super::original::Original`], and its sender is told of a loss by ICMPv4.
    pub came_as_ipv4: bool,
    /// Network of the sender, if that is a tenant attached here.
    pub from: Option<NetworkId>,
    /// The sender for the policer, if it is a tenant attached here.
    pub policed: Option<Policed>,
    /// Network of the receiver, if that is a tenant.
    pub to: Option<NetworkId>,
    /// What neutral mapping adds to the low word beyond the locator's adjustment: see [`crate::table::network::Vnet`].
    pub checksum_delta: u16,
    /// MTU that the error for `packet_too_big` reports, in bytes, for the packet in the form in which it is dropped.
    pub mtu: u16,
    /// If the packet is dropped as `untranslatable`: why RFC 7915 gives no translation.
    pub refused: Option<Refused>,
    /// If a packet to this node is dropped for a header that the node does not understand: the ICMPv6 error that is due.
    pub problem: Option<icmp6::Error>,
    /// If the buffer holds an ICMP error: the reason for which the reported packet was lost.
    pub answered: Option<DropReason>,
    /// If this node made the packet: the network that the answered packet counted for.
    pub charged: Option<NetworkId>,
    /// What was done with it because its receiver moves.
    pub moved: Option<Moved>,
    /// Length of the frame that a tenant sent, in bytes; 0 for all other packets.
    pub bytes: u16,
}

impl PacketMeta {
    /// The network that the packet counts for: that of the answered packet, or else the sender's, or else the
    /// receiver's.
    #[inline]
    #[must_use]
    pub fn accounted_network(&self) -> Option<NetworkId> {
        self.charged.or(self.from).or(self.to)
    }
}

/// The metadata of all packets of a burst, by index.
pub type BurstMeta = [PacketMeta; BURST];

/// The stages that a burst still needs. A stage that no packet needs is not entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingWork {
    /// Some packet needs a mapping.
    pub lookups: bool,
    /// Some packet goes to a group.
    pub groups: bool,
    /// Some packet needs a route.
    pub routes: bool,
    /// Some packet goes to this node.
    pub local: bool,
    /// Some packet was dropped, or a tenant's packet needs a neighbour that is not known. The stages `fragment` and
    /// `icmp_error` look at these.
    pub drops: bool,
}

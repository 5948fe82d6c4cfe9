//! What the stages know of a packet beyond its bytes: one lane per packet of the burst.

use super::policer::Policed;
use super::verdict::DropReason;
use crate::ila::Identifier;
use crate::table::{ActionId, DomainId, NetworkId};

/// Packets in a burst at most.
pub const BURST: usize = 64;

/// Where a packet goes by its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// Not known yet, or decided already.
    #[default]
    None,
    /// Under a SIR prefix, or a tenant's own address in this domain: translate or deliver.
    Sir(DomainId),
    /// Under a locator of ours: translate back and deliver.
    Ila(DomainId),
    /// To a group of tenants in this domain: copy.
    Group(DomainId),
    /// Plain IPv6 routing.
    Route,
    /// To this node itself.
    Local,
}

/// One packet's lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct PacketMeta {
    /// Destination address, as the packet came or as this node made it.
    pub destination: u128,
    /// The identifier that is looked up, C-bit 0; for a group, that of the group. Means nothing where none is.
    pub identifier: Identifier,
    /// What the lookup found; 0 for nothing.
    pub action: ActionId,
    /// What the destination is.
    pub class: Class,
    /// Anything but plain TCP or UDP: an extension header, ICMPv6 or another protocol comes first.
    pub unusual: bool,
    /// Fragments may be made of it: as IPv4 it has or would have no DF.
    pub splits: bool,
    /// Made here (an answer or an error): its hop limit is not lowered, and it is never answered.
    pub ours: bool,
    /// The sender's network, if it is a tenant attached here.
    pub from: Option<NetworkId>,
    /// The sender itself, if it is a tenant attached here.
    pub policed: Option<Policed>,
    /// The network of the tenant that it goes to.
    pub to: Option<NetworkId>,
    /// Added to the low word beyond the locator's adjustment: see [`crate::table::network::Vnet`].
    pub checksum_delta: u16,
    /// MTU to report with `packet_too_big`, in bytes.
    pub mtu: u16,
    /// The loss that the answer in this buffer reports.
    pub answered: Option<DropReason>,
    /// Of an answer: the network whose packet it answers.
    pub charged: Option<NetworkId>,
    /// Bytes of the frame that a tenant sent; 0 for all other packets.
    pub bytes: u16,
}

impl PacketMeta {
    /// The network whose packet it is or was: of its sender, or of whom it goes to.
    #[inline]
    #[must_use]
    pub fn accounted_network(&self) -> Option<NetworkId> {
        self.charged.or(self.from).or(self.to)
    }
}

/// The lanes of a burst.
pub type BurstMeta = [PacketMeta; BURST];

/// What is left to do in a burst, so that stages with nothing to do are not even entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingWork {
    /// Some packet waits for its mapping.
    pub lookups: bool,
    /// Some packet is for a group.
    pub groups: bool,
    /// Some packet is to be routed.
    pub routes: bool,
    /// Some packet is to this node.
    pub local: bool,
    /// Some packet was dropped, and its sender may have to be told.
    pub drops: bool,
}

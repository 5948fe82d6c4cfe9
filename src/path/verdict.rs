//! The verdicts, and the one list of drop reasons. A packet has exactly one verdict, and a lost packet exactly one
//! reason.

use crate::net::icmp6;
use crate::table::{HoldId, HopId, PortId};

/// The decision on one packet.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet: the next stage decides.
    Continue,
    /// Send the packet on through a port.
    Forward(PortId),
    /// Send through a port: the buffer holds the answer to the packet.
    Reply(PortId),
    /// Hand the packet to the control thread.
    Punt,
    /// The next hop's neighbour is not known. The packet is unchanged, and the worker keeps it until the neighbour is
    /// known (RFC 4861 §7.2.2).
    AwaitNextHop(HopId),
    /// The destination is a neighbour on this port that is not known. The packet is unchanged, and the worker keeps it
    /// until the neighbour is known (RFC 4861 §7.2.2).
    AwaitNeighbour(PortId),
    /// Its VM or task is about to arrive, and the worker holds it in this queue until then. The packet is unchanged.
    Hold(HoldId),
    /// Drop the packet for this reason.
    Drop(DropReason),
}

impl Verdict {
    /// Whether no stage has decided the packet yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Verdict::Continue)
    }
}

macro_rules! reasons {
    ($($(#[doc = $sentence:literal])+ $variant:ident = $label:literal $(=> $error:expr)?;)+) => {
        /// Why a packet was dropped. One list gives variant, metric label, operator's sentence and the ICMPv6 error, if
        /// one is due.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $sentence])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];

            /// The label in metrics and output.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$variant => $label,)+ }
            }

            /// The operator's sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($sentence),+).trim_ascii(),)+ }
            }

            /// The ICMPv6 error that tells the sender, for reasons that have one (RFC 4443 §3). For `packet_too_big`
            /// the stage `icmp_error` fills in the MTU. For `untranslatable` it sends the error of RFC 7915, if there
            /// is one, and for `extension_headers` that of RFC 8200. An IPv4 tenant is sent the ICMP error that says the same.
            #[must_use]
            pub const fn icmp(self) -> Option<icmp6::Error> {
                match self { $($(DropReason::$variant => Some($error),)?)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Frame too short for its Ethernet header.
    ShortFrame = "short_frame";
    /// Destination MAC address is neither this port's nor a group this node listens to.
    NotOurMac = "not_our_mac";
    /// Source MAC address is a group address.
    SourceMacGroup = "source_mac_group";
    /// VLAN identifier is not configured on this port.
    UnknownVlan = "unknown_vlan";
    /// Ethertype is not one that this node handles.
    UnknownEthertype = "unknown_ethertype";
    /// Source MAC address belongs to no tenant of this link.
    UnknownTenant = "unknown_tenant";
    /// Source address does not belong to the sender.
    SpoofedSource = "spoofed_source";
    /// Packet from an external port to an address under a locator or to the infrastructure.
    ExternalToFabric = "external_to_fabric";
    /// ICMPv6 error from an external port about a packet that cannot have left through it.
    ForeignError = "foreign_error";
    /// Packet of a tenant or task to a locator, or of a tenant to this fabric's own addresses.
    TenantToFabric = "tenant_to_fabric" => icmp6::Error::Prohibited;
    /// Tenant under quarantine: it abused this node for too long.
    Quarantined = "quarantined";
    /// More ARP messages or IGMP reports of a tenant than its limit.
    ArpRate = "arp_rate";
    /// More Neighbour Discovery messages or MLD reports of a tenant than its limit.
    NdRate = "nd_rate";
    /// More RARP requests of a tenant than its limit.
    RarpRate = "rarp_rate";
    /// More questions of a tenant whether an address is in use than its limit.
    DadRate = "dad_rate";
    /// More packets of a tenant to unknown destinations than its limit.
    UnknownRate = "unknown_rate";
    /// More copies of a tenant's multicast and broadcast than its limit.
    CopyRate = "copy_rate";
    /// More copies of other nodes' multicast and broadcast than the limit of the virtual network.
    ReceivedCopyRate = "received_copy_rate";
    /// Router Advertisement or Redirect of a tenant: only this node is its router.
    TenantRouter = "tenant_router";
    /// Multicast listener query or IGMP query of a tenant: only this node asks.
    TenantQuery = "tenant_query";
    /// DHCP server's message of a tenant: its addresses come from this fabric.
    TenantDhcp = "tenant_dhcp";
    /// RARP reply of a tenant: its addresses come from this fabric.
    TenantRarp = "tenant_rarp";
    /// Fragmented Neighbour Discovery message of a tenant (RFC 6980).
    NdFragment = "nd_fragment";
    /// No policy permits packets between source and destination across the edge of a virtual network.
    NoPolicy = "no_policy" => icmp6::Error::Prohibited;
    /// ARP message that RFC 826 or RFC 5227 tells to discard.
    ArpInvalid = "arp_invalid";
    /// Valid ARP message that needs no answer from this node.
    ArpNotForUs = "arp_not_for_us";
    /// IPv4 packet that RFC 791 or RFC 1122 tells to discard.
    Ipv4Invalid = "ipv4_invalid";
    /// IPv4 packet, or IPv6 packet to an IPv4 tenant, that RFC 7915 does not translate.
    Untranslatable = "untranslatable" => icmp6::Error::Prohibited;
    /// IPv4 destination that the tenant's network does not know.
    Ipv4NoRoute = "ipv4_no_route" => icmp6::Error::NoRoute;
    /// IPv6 header is cut short.
    Ipv6Truncated = "ipv6_truncated";
    /// IP version is not 6.
    Ipv6Version = "ipv6_version";
    /// IPv6 payload length is more than the frame holds.
    Ipv6Length = "ipv6_length";
    /// Extension headers are cut short or too many, a first fragment lacks some, or they hold what this node does not
    /// understand in a packet to itself.
    ExtensionHeaders = "extension_headers" => icmp6::Error::ParameterProblem { code: 2, pointer: 0 };
    /// Source address is multicast, unspecified, loopback or IPv4-mapped.
    MartianSource = "martian_source";
    /// Destination address is unspecified, loopback or IPv4-mapped.
    MartianDestination = "martian_destination";
    /// Link-local address in a packet that would have to be routed.
    LinkLocal = "link_local";
    /// Multicast group that this node neither listens to nor copies: those of tenants whose scope is wider than their
    /// link are.
    Multicast = "multicast";
    /// Group or broadcast address of a tenant's network that has no member anywhere.
    NoMembers = "no_members";
    /// IPv6 group other than ff0X::0 to ff0X::fff:ffff, or group ending in ffff (as IPv4 in 255.255), which neutral
    /// mapping cannot keep.
    GroupUnmappable = "group_unmappable";
    /// Tenant's packet to a group with hop limit 1, which keeps it on the sender's own link: nobody gets a copy.
    GroupHopLimit = "group_hop_limit";
    /// MLD or IGMP message of a tenant that is malformed, or a query, which only the gateway sends.
    MembershipInvalid = "membership_invalid";
    /// Hop limit ran out.
    HopLimit = "hop_limit" => icmp6::Error::HopLimitExceeded;
    /// C-bit is set in a SIR address.
    SirCBit = "sir_c_bit";
    /// SIR form of a tenant's IPv6 address or of a group: these are met at their own addresses.
    SirTenant = "sir_tenant";
    /// Identifier type 5 to 7 is reserved.
    ReservedIdentifier = "reserved_identifier";
    /// No mapping for the identifier.
    NoMapping = "no_mapping" => icmp6::Error::AddressUnreachable;
    /// Identifier under our locator is not attached here: stale or misdelivered.
    NotLocal = "not_local" => icmp6::Error::AddressUnreachable;
    /// Mapping says: discard.
    Blackhole = "blackhole";
    /// No route to the destination or to its locator.
    NoRoute = "no_route" => icmp6::Error::NoRoute;
    /// Locator lies on a subnet of ours, where nobody answers for ILA addresses: it needs a route with a next hop.
    LocatorOnLink = "locator_on_link" => icmp6::Error::NoRoute;
    /// Route says: discard.
    RouteBlackhole = "route_blackhole";
    /// Packet is larger than the MTU of the outgoing port.
    PacketTooBig = "packet_too_big" => icmp6::Error::PacketTooBig(0);
    /// Next hop's neighbour does not answer.
    NeighbourUnreachable = "neighbour_unreachable" => icmp6::Error::AddressUnreachable;
    /// Next hop's neighbour is not known yet, and no more packets can wait for it.
    NeighbourUnresolved = "neighbour_unresolved";
    /// Outgoing port's link is down.
    LinkDown = "link_down" => icmp6::Error::NoRoute;
    /// Neighbour Discovery message that RFC 4861 §6.1 or §7.1 tells to discard.
    NdInvalid = "nd_invalid";
    /// Valid Neighbour Discovery message that does not concern this node.
    NdNotForUs = "nd_not_for_us";
    /// Packet to one of our addresses for a protocol or port that this node does not serve.
    NotServed = "not_served" => icmp6::Error::PortUnreachable;
    /// Fragment to one of our addresses: this node does not reassemble.
    FragmentForUs = "fragment_for_us";
    /// Packet to one of our addresses whose checksum is wrong.
    Checksum = "checksum";
    /// Buffer has several segments or is shared.
    BufferShape = "buffer_shape";
    /// Copy or fragment of a packet that there was no room for.
    CopyRoom = "copy_room";
    /// More messages for the control thread than the limit of the port and of this kind of sender.
    PuntRate = "punt_rate";
    /// Queue to the control thread is full.
    PuntQueueFull = "punt_queue_full";
    /// Transmit port is not there.
    NoPort = "no_port";
    /// VM or task has moved to another node, and this packet is not sent on there. Its sender is told if so configured.
    Departed = "departed" => icmp6::Error::AddressUnreachable;
    /// Sender is attached here, but its VM or task has moved to another node.
    NotHere = "not_here";
    /// More packets for a VM or task that is about to arrive than are held.
    HoldFull = "hold_full";
    /// VM or task did not arrive while its packet was held.
    HoldExpired = "hold_expired";
    /// VXLAN packet that RFC 7348 tells to discard, or whose frame holds no IP packet.
    VxlanInvalid = "vxlan_invalid";
    /// VXLAN packet from a node, for a network or to an address that no move named.
    VxlanForeign = "vxlan_foreign";
    /// Frame from a tunnel that its receiver's link does not take, because it is too long or the link is down; or copy
    /// to a group that its receiver gets without the tunnel by now.
    VxlanUndelivered = "vxlan_undelivered";
    /// Frame from a tunnel whose receiver has moved on: no frame passes two tunnels.
    TunnelledTwice = "tunnelled_twice";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_metric_label_values_and_sentences_end() {
        let mut seen = HashSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(seen.insert(reason.label()));
            assert!(
                reason.label().bytes().all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit())
            );
            assert!(reason.sentence().ends_with('.') && !reason.sentence().starts_with(' '));
        }
    }
}

//! Wire formats: Ethernet, ARP, IPv4, IPv6, ICMP, Neighbour Discovery, IGMP, MLD, UDP and
//! VXLAN.
//!
//! Each module parses and writes one protocol. None of them knows ILA, tables or devices; none keeps state or reads a
//! clock. The header views ([`ipv4::Ipv4`], [`ipv6::Ipv6`]) wrap a byte array of the header's length, so that their
//! accessors cannot panic.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod extension;
pub mod fragment;
pub mod icmp4;
pub mod icmp6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod mac;
pub mod membership;
pub mod mld;
pub mod ndp;
pub mod offload;
pub mod prefix;
pub mod prefix4;
pub mod udp;
pub mod vxlan;

pub use mac::Mac;
pub use prefix::Ipv6Prefix;
pub use prefix4::Ipv4Prefix;

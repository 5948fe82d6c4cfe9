//! Wire formats as views over byte arrays. Knows nothing of ILA, tables or devices.
//!
//! A view is made from a slice that has been proven long enough, so its accessors cannot panic.

pub mod arp;
pub mod checksum;
pub mod ethernet;
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
pub mod prefix;
pub mod prefix4;

pub use mac::Mac;
pub use prefix::Ipv6Prefix;
pub use prefix4::Ipv4Prefix;

//! Wire formats as views over byte arrays. Knows nothing of ILA, tables or devices.
//!
//! A view is made from a slice that has been proven long enough, so its accessors cannot panic.

pub mod checksum;
pub mod ethernet;
pub mod icmp6;
pub mod ipv6;
pub mod mac;
pub mod ndp;
pub mod prefix;
pub mod prefix4;

pub use mac::Mac;
pub use prefix::Ipv6Prefix;
pub use prefix4::Ipv4Prefix;

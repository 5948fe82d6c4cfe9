//! What may come in from a tenant: whose source it is, what only the node itself may say, and how IPv4 and groups enter.

pub(super) mod group;
pub(super) mod ipv4;
pub(super) mod ra_dhcp_guard;
pub(super) mod source;

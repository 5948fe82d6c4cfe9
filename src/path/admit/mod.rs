//! Admission of tenants' packets: source checks, the RA and DHCP guard, and how IPv4 and groups enter the pipeline
//! (ILA draft §6, VMM draft §10).
//!
//! Stage `arrive` calls these before the destination is looked up. They send nothing.

pub(super) mod group;
pub(super) mod ipv4;
pub(super) mod ra_dhcp_guard;
pub(super) mod source;

//! Admission: who may say what, source checks of tenants, the RA and DHCP guard, and how IPv4 and groups enter the
//! pipeline (ILA draft §6, VMM draft §10).
//!
//! Stage `arrive` calls these before the destination is looked up. They send nothing.

mod chain;
pub(super) mod group;
mod ingress;
pub(super) mod ipv4;
pub(super) mod presence;
pub(super) mod ra_dhcp_guard;
pub(super) mod source;

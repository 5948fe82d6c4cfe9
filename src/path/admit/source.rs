//! Source checks of tenants: a frame's addresses must be bound to its attachment (ILA draft §6, VMM draft §10).
//!
//! They come before anything else is done with a frame.

use super::{ingress, ra_dhcp_guard};
use crate::net::{Mac, ethernet, ipv6};
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::meta::Policed;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::stage::parse::{Header, Link};
use crate::path::verdict::DropReason;
use crate::table::{Network, NetworkId, Port, Quarantine, Tenant};

/// The tenant that sent a frame.
#[derive(Clone, Copy)]
pub(in crate::path) struct Sender<'t> {
    pub(in crate::path) id: NetworkId,
    pub(in crate::path) network: &'t Network,
    pub(in crate::path) tenant: &'t Tenant,
    pub(in crate::path) mac: Mac,
    pub(in crate::path) vlan: u16,
}

/// Finds the tenant that sent the frame, and notes it in `meta`. `None` on links without tenants.
///
/// # Errors
/// * [`DropReason::UnknownTenant`] if the link has tenants and none of them has the frame's source MAC address.
/// * [`DropReason::NotOurMac`] if a tenant's frame does not go to the router of its network, or another one not to the port.
/// * [`DropReason::Quarantined`] if the tenant is under quarantine and may not even send data.
/// * [`DropReason::ShortFrame`] if the frame has no Ethernet header.
#[inline]
pub(in crate::path) fn admit<'t>(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    link: &Link,
    port: &Port,
    policer: &Policer,
    ctx: &Ctx<'t>,
) -> Result<Option<Sender<'t>>, DropReason> {
    let sender = if port.tenants { find(packet, link.vlan, ctx)? } else { None };
    let is_to_router = match &sender {
        Some(sender) => sender.network.mac == link.destination || link.destination.is_multicast(),
        None => link.is_to_port,
    };
    if !is_to_router {
        return Err(DropReason::NotOurMac);
    }
    if let Some(sender) = &sender {
        meta.from = Some(sender.id);
        meta.bytes = packet.len() as u16;
        let policed = Policed::of(sender.tenant);
        meta.policed = Some(policed);
        if sender.tenant.quarantine == Quarantine::All {
            policer.silenced(policed);
            return Err(DropReason::Quarantined);
        }
    }
    Ok(sender)
}

/// The tenant with the frame's source MAC address on its link.
///
/// # Errors
/// [`DropReason::UnknownTenant`] or [`DropReason::ShortFrame`], as [`admit`].
pub(in crate::path) fn find<'t>(
    packet: &Packet<'_>,
    vlan: u16,
    ctx: &Ctx<'t>,
) -> Result<Option<Sender<'t>>, DropReason> {
    let networks = &ctx.tables.networks;
    let mac = ethernet::source(packet.frame()).ok_or(DropReason::ShortFrame)?;
    let Some(tenant) = networks.tenant(packet.port, vlan, mac) else {
        return if networks.has_tenants(packet.port, vlan) {
            Err(DropReason::UnknownTenant)
        } else {
            Ok(None)
        };
    };
    let network = networks.get(tenant.network).ok_or(DropReason::UnknownTenant)?;
    Ok(Some(Sender { id: tenant.network, network, tenant, mac, vlan }))
}

/// Checks the source of an IPv6 packet. A packet that is decided again passed this check before.
///
/// # Errors
/// * [`DropReason::SpoofedSource`] if the tenant has no right to the source.
/// * Every error of [`ingress::admit`] for packets that no tenant sent.
/// * [`DropReason::ExtensionHeaders`], [`DropReason::TenantDhcp`], [`DropReason::TenantRouter`],
///   [`DropReason::TenantQuery`] and [`DropReason::NdFragment`] from [`ra_dhcp_guard::ipv6`].
#[inline]
pub(in crate::path) fn admit_ipv6(
    packet: &Packet<'_>,
    meta: &mut PacketMeta,
    sender: Option<&Sender<'_>>,
    link: &Link,
    header: &Header,
    port: &Port,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    if packet.admitted {
        // Only those answers of this node got a fragment header that may be fragmented.
        meta.splits = header.next_header == ipv6::next::FRAGMENT && ctx.tables.own.contains(&header.source);
        return Ok(());
    }
    match sender {
        Some(sender) => {
            sender.may_send(header.source, header.destination)?;
            ra_dhcp_guard::ipv6(packet.frame().get(link.bytes..header.end).unwrap_or(&[]))
        }
        None => {
            let mac = ethernet::source(packet.frame()).ok_or(DropReason::ShortFrame)?;
            ingress::admit(packet, mac, link, header, port, ctx.tables)
        }
    }
}

impl Sender<'_> {
    /// Checks that the tenant may send an IPv6 packet with these addresses.
    ///
    /// A link-local source other than the router's is allowed on the link only. The unspecified source is allowed here;
    /// stage `classify` restricts it to address requests and group reports. The SIR form of the tenant's IPv4 address
    /// is not allowed: only this node writes it.
    ///
    /// # Errors
    /// [`DropReason::SpoofedSource`] if the tenant has no right to the source.
    fn may_send(&self, source: u128, destination: u128) -> Result<(), DropReason> {
        let on_link = ipv6::is_link_local(destination) || ipv6::is_multicast(destination);
        let own = self.tenant.ipv6.contains(&source)
            || source == 0
            || on_link && ipv6::is_link_local(source) && source != self.network.link_local();
        if own { Ok(()) } else { Err(DropReason::SpoofedSource) }
    }
}

//! What a tenant may say: its frames are held against the bindings of its attachment before anything else is done with
//! them (ILA draft §6, VMM draft §10).

use super::ra_dhcp_guard;
use crate::net::{Mac, ethernet, ipv6};
use crate::path::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::policer::{Policed, Policer};
use crate::path::stage::parse::{Header, Link};
use crate::path::verdict::DropReason;
use crate::table::{Network, NetworkId, Port, Quarantine, Role, Tenant};

/// The sender of a frame.
#[derive(Clone, Copy)]
pub(in crate::path) struct Sender<'t> {
    pub(in crate::path) id: NetworkId,
    pub(in crate::path) network: &'t Network,
    pub(in crate::path) tenant: &'t Tenant,
    pub(in crate::path) mac: Mac,
    pub(in crate::path) vlan: u16,
}

/// Finds the tenant that sent the frame, and notes it in `meta`; `None` on links without tenants.
///
/// # Errors
/// [`DropReason::UnknownTenant`] on a link with tenants none of which has the frame's source address;
/// [`DropReason::NotOurMac`] when the frame goes neither to the port nor to the gateway of the tenant's network;
/// [`DropReason::Quarantined`] when nothing of the tenant is taken.
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
    if !link.is_to_port && sender.is_none_or(|sender| sender.network.mac != link.destination) {
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

fn find<'t>(packet: &Packet<'_>, vlan: u16, ctx: &Ctx<'t>) -> Result<Option<Sender<'t>>, DropReason> {
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

/// Judges the source of an IPv6 packet. A packet that is tried again was judged before.
///
/// # Errors
/// [`DropReason::SpoofedSource`], or what [`ra_dhcp_guard::ipv6`] says of a tenant's packet.
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
        // What came as IPv4 has a fragment header only if it may be fragmented.
        meta.splits = header.next_header == ipv6::next::FRAGMENT
            && sender.is_some_and(|sender| sender.is_own_ipv4(header.source, ctx));
        return Ok(());
    }
    match sender {
        Some(sender) => {
            sender.may_send(header.source, header.destination, port)?;
            ra_dhcp_guard::ipv6(packet.frame().get(link.bytes..header.end).unwrap_or(&[]))
        }
        // Tenants are at their attachments, and their packets come over the fabric: neither a task nor anybody outside may
        // send in a tenant's name.
        None if port.role != Role::Fabric && ctx.tables.is_tenants(header.source) => {
            Err(DropReason::SpoofedSource)
        }
        None => Ok(()),
    }
}

impl Sender<'_> {
    /// Whether the tenant may send an IPv6 packet with these addresses.
    ///
    /// From its link-local address, which is not that of its router, it may send on its link only. From the unspecified
    /// address it may ask for an address and report its groups; `parse` judges that. The SIR form of its IPv4 address is
    /// only for this node to write.
    ///
    /// # Errors
    /// [`DropReason::SpoofedSource`] when the source is not the tenant's.
    fn may_send(&self, source: u128, destination: u128, port: &Port) -> Result<(), DropReason> {
        let on_link = ipv6::is_link_local(destination) || ipv6::is_multicast(destination);
        let own = self.tenant.ipv6.contains(&source)
            || source == 0
            || on_link && ipv6::is_link_local(source) && !port.owns(source);
        if own { Ok(()) } else { Err(DropReason::SpoofedSource) }
    }

    /// Whether an address is the SIR form of the tenant's IPv4 address.
    fn is_own_ipv4(&self, source: u128, ctx: &Ctx<'_>) -> bool {
        let domain = ctx.tables.domain(self.network.domain);
        let low = source as u32;
        self.tenant.ipv4.contains(&low)
            && domain.is_some_and(|domain| domain.sir.with(self.network.ipv4_identifier(low)) == source)
    }
}

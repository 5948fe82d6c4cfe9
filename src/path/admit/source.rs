//! What a tenant may say: its frames are held against the bindings of its attachment before anything else is done with
//! them (ILA draft §6, VMM draft §10).

use crate::net::{Mac, ethernet, ipv6};
use crate::path::Ctx;
use crate::path::packet::Packet;
use crate::path::verdict::DropReason;
use crate::table::{Network, NetworkId, Port, Tenant};

/// The sender of a frame.
#[derive(Clone, Copy)]
pub(in crate::path) struct Sender<'t> {
    pub(in crate::path) id: NetworkId,
    pub(in crate::path) network: &'t Network,
    pub(in crate::path) tenant: &'t Tenant,
    pub(in crate::path) mac: Mac,
    pub(in crate::path) vlan: u16,
}

/// Who sent the frame; `None` on links without tenants.
///
/// # Errors
/// A link with tenants, and none of them has the frame's source address.
pub(in crate::path) fn sender<'t>(
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

impl Sender<'_> {
    /// Whether the tenant may send an IPv6 packet with these addresses.
    ///
    /// From its link-local address, which is not that of its router, it may send on its link only. From the unspecified
    /// address it may ask for an address and report its groups; `parse` judges that. The SIR form of its IPv4 address is
    /// only for this node to write.
    ///
    /// # Errors
    /// [`DropReason::SpoofedSource`] when the source is not the tenant's.
    pub(in crate::path) fn may_send(
        &self,
        source: u128,
        destination: u128,
        port: &Port,
    ) -> Result<(), DropReason> {
        let on_link = ipv6::is_link_local(destination) || ipv6::is_multicast(destination);
        let own = self.tenant.ipv6.contains(&source)
            || source == 0
            || on_link && ipv6::is_link_local(source) && !port.owns(source);
        if own { Ok(()) } else { Err(DropReason::SpoofedSource) }
    }

    /// Whether an address is the SIR form of the tenant's IPv4 address.
    pub(in crate::path) fn is_own_ipv4(&self, source: u128, ctx: &Ctx<'_>) -> bool {
        let domain = ctx.tables.domain(self.network.domain);
        let low = source as u32;
        self.tenant.ipv4.contains(&low)
            && domain.is_some_and(|domain| domain.sir.with(self.network.ipv4_identifier(low)) == source)
    }
}

//! Triangular packets: they come from the fabric to this node as an ILA router, although their sender's node could send
//! them direct (ILA draft §4.6). A worker looks at a packet now and then, and never at each.

use crate::ila::{Identifier, IdentifierType};
use crate::net::ethernet;
use crate::net::ipv6::Ipv6;
use crate::table::{Action, DomainId, PortId, Role, Tables};

/// The identifiers of a triangular packet, in one SIR domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triangle {
    /// The SIR domain.
    pub domain: DomainId,
    /// Who sends, C-bit 0.
    pub source: Identifier,
    /// Where the packet goes, C-bit 0.
    pub destination: Identifier,
}

/// The identifiers of a received frame if it is triangular: it comes from the fabric, and who sends and who receives are at
/// other nodes.
#[must_use]
pub fn triangle(frame: &[u8], port: PortId, tables: &Tables) -> Option<Triangle> {
    tables.ports.get(usize::from(port.0)).filter(|port| port.role == Role::Fabric)?;
    let link = ethernet::parse(frame).filter(|link| link.ethertype == ethernet::IPV6)?;
    let header = Ipv6::of(frame.get(link.header..)?)?;
    let (domain, destination) = elsewhere(header.destination(), tables)?;
    let (home, source) = elsewhere(header.source(), tables)?;
    (home == domain).then_some(Triangle { domain, source, destination })
}

/// The identifier of an address as its sender wrote it, if it is mapped to other nodes.
fn elsewhere(address: u128, tables: &Tables) -> Option<(DomainId, Identifier)> {
    let (domain, identifier) = match tables.networks.of_address(address) {
        Some(network) => {
            let network = tables.networks.get(network)?;
            (network.domain, Identifier::tenant_ipv6(network.vnid, address as u32))
        }
        None => {
            let domain = tables.prefixes.of((address >> 64) as u64)?.sir?;
            let identifier = Identifier::of_address(address);
            let is_senders =
                matches!(identifier.kind(), IdentifierType::LocallyUnique | IdentifierType::TenantIpv4);
            (domain, Some(identifier).filter(|it| is_senders && !it.neutral())?)
        }
    };
    let action = tables.action(tables.domain(domain)?.mappings.lookup(identifier.0)?)?;
    matches!(action, Action::Remote(_) | Action::NexthopGroup(_)).then_some((domain, identifier))
}

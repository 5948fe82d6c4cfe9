//! Who may say what where no tenant is attached: which sources come in, and where their packets may go (BCP 38, BCP 84,
//! ILA draft §6).
//!
//! * A fabric port is believed: the nodes there filter at their own edges.
//! * An external port is not: nothing comes in from a source that is inside, or to a destination under a locator or in
//!   the infrastructure.
//! * A task on an access port speaks from its link-local address and from what is bound to its attachment.
//!
//! `docs/security.md` has the whole table, and a test walks it. Martians and link-local addresses that would have to be
//! routed are dropped everywhere, by stage `classify`.

use super::chain;
use crate::ila::{Identifier, IdentifierType, quote};
use crate::net::ipv6::{self, Ipv6};
use crate::net::{Mac, icmp6};
use crate::path::packet::Packet;
use crate::path::stage::parse::{Header, Link};
use crate::path::verdict::DropReason;
use crate::table::{AttachmentKey, Exceptions, Ingress, Port, Tables};

/// Checks source and destination of a packet that no tenant of this port sent.
///
/// # Errors
/// * [`DropReason::SpoofedSource`] if the source cannot come in here.
/// * [`DropReason::ExternalToFabric`] if an external port's packet goes to the fabric.
/// * [`DropReason::NoPolicy`] if it goes to an IPv4 address of a network that is not known here.
/// * [`DropReason::ForeignError`] if it is an ICMPv6 error about a packet that cannot have left through an external
///   port.
/// * [`DropReason::ExtensionHeaders`] if it came in there and its headers cannot be read.
/// * [`DropReason::TenantToFabric`] if a task's packet goes to an address in ILA form.
#[inline]
pub(in crate::path) fn admit(
    packet: &Packet<'_>,
    mac: Mac,
    link: &Link,
    header: &Header,
    port: &Port,
    tables: &Tables,
) -> Result<(), DropReason> {
    match &port.ingress {
        Ingress::Fabric => Ok(()),
        Ingress::Open => refuse_own(header.source, tables),
        Ingress::Strict(exceptions) => {
            refuse_inside(header.source, exceptions, tables)?;
            refuse_fabric(header.destination, exceptions, port, tables)?;
            let packet = packet.frame().get(link.bytes..header.end).unwrap_or(&[]);
            refuse_foreign_error(packet, exceptions, tables)
        }
        Ingress::Tasks => {
            let task = AttachmentKey { port: packet.port, vlan: link.vlan, mac };
            admit_task(&task, header.source, header.destination, port, tables)
        }
    }
}

/// Whether stage `classify` alone judges a source: it is link-local, unspecified or a martian.
const fn is_special(source: u128) -> bool {
    ipv6::is_link_local(source) || ipv6::is_multicast(source) || ipv6::is_ipv4_in_ipv6(source)
}

/// Refuses the sources of this node and of tenants.
fn refuse_own(source: u128, tables: &Tables) -> Result<(), DropReason> {
    let spoofed = tables.own.contains(&source) || tables.is_tenants(source);
    if spoofed { Err(DropReason::SpoofedSource) } else { Ok(()) }
}

/// Refuses the sources that are inside, for an external port.
fn refuse_inside(source: u128, exceptions: &Exceptions, tables: &Tables) -> Result<(), DropReason> {
    if is_special(source) {
        return Ok(());
    }
    refuse_own(source, tables)?;
    if tables.is_inside(source) && !exceptions.sources.contains(source) {
        return Err(DropReason::SpoofedSource);
    }
    Ok(())
}

/// Refuses the destinations that only the fabric sends to, for an external port.
fn refuse_fabric(
    destination: u128,
    exceptions: &Exceptions,
    port: &Port,
    tables: &Tables,
) -> Result<(), DropReason> {
    if port.owns(destination) || exceptions.destinations.contains(destination) {
        return Ok(());
    }
    // An interface identifier under a locator is a node of the fabric.
    if tables.is_under_locator(destination) || tables.inside.destinations.contains(destination) {
        return Err(DropReason::ExternalToFabric);
    }
    let identifier = Identifier::of_address(destination);
    let domain = tables.prefixes.of((destination >> 64) as u64).and_then(|info| info.sir);
    match domain {
        // Nobody but a node that knows the network can tell whether a policy allows it.
        Some(domain)
            if identifier.kind() == IdentifierType::TenantIpv4
                && tables.networks.of_identifier(domain, identifier).is_none() =>
        {
            Err(DropReason::NoPolicy)
        }
        _ => Ok(()),
    }
}

/// Refuses ICMPv6 errors about packets that cannot have left through an external port: their sender quotes something
/// that it has never seen (RFC 4443 §5.2). A packet to a source that `exceptions` admits can have left there.
///
/// `packet` is an IPv6 packet.
///
/// # Errors
/// * [`DropReason::ForeignError`] for such an error.
/// * [`DropReason::ExtensionHeaders`] for a packet that may be one, because its headers cannot be read.
fn refuse_foreign_error(packet: &[u8], exceptions: &Exceptions, tables: &Tables) -> Result<(), DropReason> {
    let header = Ipv6::of(packet).ok_or(DropReason::Ipv6Truncated)?;
    let upper = chain::upper(packet)?;
    let is_error = upper.protocol == ipv6::next::ICMP6
        && !upper.later_fragment
        && packet.get(upper.offset).is_some_and(|kind| icmp6::is_error(*kind));
    if !is_error {
        return Ok(());
    }
    let quoted = quote::position(packet, &upper).and_then(|at| Ipv6::of(packet.get(at..)?));
    let Some(quoted) = quoted else { return Err(DropReason::ForeignError) };
    let to = quoted.destination();
    let left = quoted.source() == header.destination()
        && !is_special(to)
        && to != 0
        && refuse_own(to, tables).is_ok()
        && (!tables.is_inside(to) || exceptions.sources.contains(to));
    let assigned = packet.get(upper.offset).is_some_and(|kind| icmp6::is_assigned_error(*kind));
    if left && assigned { Ok(()) } else { Err(DropReason::ForeignError) }
}

/// Admits what a task may send.
fn admit_task(
    task: &AttachmentKey,
    source: u128,
    destination: u128,
    port: &Port,
    tables: &Tables,
) -> Result<(), DropReason> {
    if port.owns(source) || tables.own.contains(&source) {
        return Err(DropReason::SpoofedSource);
    }
    // Nobody but a task speaks here, not even from a link-local address.
    let sources = tables.tasks.get(task);
    // What an absent task sends is decided behind this.
    let sources = sources.or_else(|| tables.moves.absent(task)?.task.as_ref());
    let sources = sources.ok_or(DropReason::SpoofedSource)?;
    if !is_special(source) && (!sources.has(source) || tables.is_ila_form(source)) {
        return Err(DropReason::SpoofedSource);
    }
    if tables.is_ila_form(destination) { Err(DropReason::TenantToFabric) } else { Ok(()) }
}

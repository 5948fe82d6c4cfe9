//! Prefetches the mappings that tenants' ARP requests and Neighbour Solicitations look up, before the first of them is
//! decided. So the cache misses of a burst overlap here as they do for data. Decides nothing.

use crate::ila::Identifier;
use crate::net::{arp, ethernet, icmp6::kind, ipv6};
use crate::path::fast::bytes::be4;
use crate::path::meta::BURST;
use crate::path::packet::Packet;
use crate::path::stage::lookup::{self, Job};
use crate::table::bindings::{Binding, SourceBindings};
use crate::table::mapping::{Key, Probe};
use crate::table::network::NetworkHot;
use crate::table::{DomainId, Tables};
use arrayvec::ArrayVec;

/// Length of the Ethernet header and an ARP message, in bytes.
const ASKED: usize = ethernet::HEADER + arp::LENGTH;
/// Length of the Ethernet and IPv6 headers and a solicitation up to the end of its target, in bytes.
const SOLICITED: usize = ethernet::HEADER + ipv6::HEADER + 24;

/// The lookup of an address that a tenant asks for.
struct Asked<'t> {
    key: Key,
    probe: Probe<'t>,
    domain: DomainId,
}

impl<'t> Job<'t> for Asked<'t> {
    fn key(&self) -> Key {
        self.key
    }

    fn probe(&self) -> Probe<'t> {
        self.probe
    }

    fn domain(&self) -> DomainId {
        self.domain
    }
}

/// Prefetches for every undecided packet of a burst that was received on a port with tenants.
#[inline]
pub(in crate::path) fn run(burst: &[Packet<'_>], tables: &Tables) {
    let Some(first) = burst.first() else { return };
    let Some(bindings) = tables.networks.bindings(first.port) else { return };
    let mut jobs: ArrayVec<Asked<'_>, BURST> = ArrayVec::new();
    for packet in burst.iter().filter(|packet| packet.verdict.is_undecided()) {
        if let Some((network, identifier)) = question(packet.frame(), bindings, tables)
            && let Some(domain) = tables.domain(network.domain)
        {
            let key = Key::of(identifier.0);
            let _ = jobs.try_push(Asked { key, probe: domain.mappings.probe(key), domain: network.domain });
        }
    }
    // The buckets that are prefetched here are read when the requests are decided.
    let _ = lookup::probe_primary(&jobs, &mut [(); BURST], tables, |action| {
        let _ = tables.prefetch(action);
    });
}

/// The network and the identifier that an untagged ARP request or Neighbour Solicitation asks for.
#[inline]
fn question<'t>(
    frame: &[u8],
    bindings: &SourceBindings,
    tables: &'t Tables,
) -> Option<(&'t NetworkHot, Identifier)> {
    let mac = u64::from_le_bytes(*frame.get(6..)?.first_chunk()?);
    let hot = |binding| tables.networks.hot(bindings.find(binding)?);
    match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
        ethernet::ARP => {
            let frame: &[u8; ASKED] = frame.first_chunk()?;
            let network = hot(Binding::ipv4(mac, be4(frame, 28)))?;
            Some((network, Identifier::tenant_ipv4(network.vnid, be4(frame, 38))))
        }
        ethernet::IPV6 => {
            let frame: &[u8; SOLICITED] = frame.first_chunk()?;
            if frame[20] != ipv6::next::ICMP6 || frame[54] != kind::NEIGHBOUR_SOLICITATION {
                return None;
            }
            let network = hot(Binding::ipv6(mac, be4(frame, 34)))?;
            Some((network, Identifier::tenant_ipv6(network.vnid, be4(frame, 74))))
        }
        _ => None,
    }
}

//! Limits what each port hands to the control thread, so that no port and no class of senders stalls the others
//! (RFC 6192 §3).
//!
//! Messages about neighbours in use have a limit of their own: a flood of others cannot make a next hop fall silent.

use super::ctx::Ctx;
use super::packet::Packet;
use crate::net::icmp6::kind;
use crate::net::ipv6;
use crate::table::Rate;
use crate::table::port::MAX_PORTS;

/// Who hands something over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Class {
    /// A neighbour that the tables hold.
    Neighbour,
    /// A tenant. Each has limits of its own, too.
    Tenant,
    /// Anybody else.
    Other,
}

/// Messages of one port and worker, by class.
const RATES: [Rate; 3] = [Rate::new(1000, 64), Rate::new(1000, 64), Rate::new(200, 32)];

/// One worker's token buckets.
#[derive(Debug)]
pub(super) struct Punts {
    /// By port and class: the time, in nanoseconds, at which the bucket will be full again.
    spent: Vec<[u64; RATES.len()]>,
}

impl Default for Punts {
    fn default() -> Self {
        Punts { spent: vec![[0; RATES.len()]; MAX_PORTS] }
    }
}

impl Punts {
    /// Charges a packet of a tenant or of somebody else that is to be handed over; returns whether it may be.
    pub(super) fn take(&mut self, packet: &Packet<'_>, is_tenants: bool, ctx: &Ctx<'_>) -> bool {
        let class = if is_tenants { Class::Tenant } else { class(packet, ctx) } as usize;
        let Some(spent) = self.spent.get_mut(usize::from(packet.port.0)) else { return false };
        RATES[class].spend(&mut spent[class], (1, 1), ctx.now_ms)
    }
}

/// Who sent the packet, if that is no tenant.
fn class(packet: &Packet<'_>, ctx: &Ctx<'_>) -> Class {
    match speaker(packet.l3()) {
        Some(speaker) if ctx.tables.neighbours.contains_key(&(packet.port, speaker)) => Class::Neighbour,
        _ => Class::Other,
    }
}

/// The neighbour that a Neighbour Advertisement or a Neighbour Solicitation speaks for.
fn speaker(l3: &[u8]) -> Option<u128> {
    let at = match *l3.get(ipv6::HEADER)? {
        kind::NEIGHBOUR_ADVERTISEMENT => ipv6::HEADER + 8,
        kind::NEIGHBOUR_SOLICITATION => 8,
        _ => return None,
    };
    l3.get(at..)?.first_chunk().map(|address| u128::from_be_bytes(*address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mac;
    use crate::table::{Hop, HopId, Port, PortId, Role, Tables};

    /// A Neighbour Advertisement of `target` behind a link header, without checksum.
    fn advertisement(target: u128) -> Vec<u8> {
        let mut frame = vec![0; 14 + 40 + 24];
        frame[14] = 0x60;
        frame[54] = kind::NEIGHBOUR_ADVERTISEMENT;
        frame[62..78].copy_from_slice(&target.to_be_bytes());
        frame
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_neighbours_in_use_and_for_other_ports() {
        let port = || Port::new(Role::Fabric, Mac([2; 6]), vec![0], vec![], None);
        let mut tables = Tables { ports: vec![port(), port()], ..Tables::default() };
        let hop = Hop::ready(PortId(0), Mac([2; 6]), Mac([2; 6]), 0, 1500, HopId(1));
        tables.neighbours.insert((PortId(0), 7), hop);
        let mut punts = Punts::default();
        let mut passed = [0u32; 3];
        for now_ms in 0..1000 {
            let ctx = Ctx { tables: &tables, now_ms };
            let mut take = |port: u16, target: u128| {
                let mut room = advertisement(target);
                let end = room.len() as u16;
                let mut packet = Packet::new(&mut room, 0, end, PortId(port));
                packet.l3 = 14;
                u32::from(punts.take(&packet, false, &ctx))
            };
            // 100,000 a second of strangers, and ten a second each of a neighbour and of another port.
            passed[0] += (0..100).map(|n| take(0, 1000 + n)).sum::<u32>();
            if now_ms % 100 == 0 {
                passed[1] += take(0, 7);
                passed[2] += take(1, 9);
            }
        }
        assert!((200..=240).contains(&passed[0]), "{passed:?}");
        assert_eq!(&passed[1..], &[10, 10]);
    }
}

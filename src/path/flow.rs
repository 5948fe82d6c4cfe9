//! The flow hash. It picks one of several locators or next hops, the same for every packet of a flow.

use crate::net::ipv6::{self, Ipv6};

/// Hash of a packet from its IPv6 header on: 32 uniform bits. It covers the addresses, and protocol and ports unless
/// the packet is one of several fragments. 0 without an IPv6 header. Who does not know `seed` cannot choose flows that
/// hash alike.
#[must_use]
pub(super) fn hash(packet: &[u8], seed: u64) -> u32 {
    let Some(header) = Ipv6::of(packet) else { return 0 };
    let mut state = header.source_high() ^ seed;
    for word in
        [header.source_low(), header.destination_high(), header.destination_low(), upper_words(packet)]
    {
        let wide = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        state = (wide >> 64) as u64 ^ (wide as u64).rotate_left(23);
    }
    (state >> 32) as u32 ^ state as u32
}

/// Protocol and ports as one word; 0 for fragments. All fragments of a packet must hash alike, and only the first one
/// has the ports and names the protocol behind extension headers in its fragmentable part (RFC 8200 §4.5).
fn upper_words(packet: &[u8]) -> u64 {
    let Ok(upper) = ipv6::upper(packet) else { return 0 };
    if upper.piece {
        return 0;
    }
    let protocol = u64::from(upper.protocol) << 32;
    let has_ports = matches!(upper.protocol, ipv6::next::TCP | ipv6::next::UDP);
    match packet.get(upper.offset..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(ports) if has_ports => protocol | u64::from(u32::from_be_bytes(*ports)),
        _ => protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::{hash as seeded, *};

    fn hash(packet: &[u8]) -> u32 {
        seeded(packet, 7)
    }

    fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; ipv6::HEADER];
        Ipv6::of_mut(&mut bytes).unwrap().write(rest.len() as u16, next_header, 64, 1, 2);
        [bytes, rest.to_vec()].concat()
    }

    // RFC 8200 §4.5: only the first fragment has the upper-layer header.
    #[test]
    fn all_fragments_of_a_packet_hash_alike() {
        let options = [ipv6::next::UDP, 0, 1, 4, 0, 0, 0, 0];
        let datagram = [0x9c, 0x40, 0, 53, 0, 24, 0, 0];
        for (named, first) in
            [(ipv6::next::UDP, datagram.to_vec()), (ipv6::next::DESTINATION, [options, datagram].concat())]
        {
            let fragment = |offset: u8, data: &[u8]| {
                packet(ipv6::next::FRAGMENT, &[&[named, 0, 0, offset, 0, 0, 0, 9], data].concat())
            };
            let whole = hash(&fragment(1, &first));
            assert_eq!(whole, hash(&fragment(0x10, &[7; 16])), "{named}");
            // Options cut off in the first fragment change nothing.
            assert_eq!(whole, hash(&fragment(1, &first[..4])), "{named}");
        }
    }

    #[test]
    fn a_fragment_header_around_a_whole_packet_changes_nothing() {
        let datagram = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
        let atomic = [&[ipv6::next::UDP, 0, 0, 0, 0, 0, 0, 9][..], &datagram].concat();
        assert_eq!(hash(&packet(ipv6::next::FRAGMENT, &atomic)), hash(&packet(ipv6::next::UDP, &datagram)));
    }

    #[test]
    fn ports_and_protocol_tell_flows_apart() {
        let tcp = hash(&packet(ipv6::next::TCP, &[0x9c, 0x40, 0, 53, 0, 0, 0, 0]));
        assert_ne!(tcp, hash(&packet(ipv6::next::UDP, &[0x9c, 0x40, 0, 53, 0, 0, 0, 0])));
        assert_ne!(tcp, hash(&packet(ipv6::next::TCP, &[0x9c, 0x41, 0, 53, 0, 0, 0, 0])));
    }

    #[test]
    fn flows_that_are_chosen_to_hash_alike_under_one_seed_do_not_under_another() {
        let slot = |packet: &[u8], seed| seeded(packet, seed) as usize % 64;
        let ports = |port: u16| {
            let [high, low] = port.to_be_bytes();
            packet(ipv6::next::UDP, &[high, low, 0, 53, 0, 8, 0, 0])
        };
        let addresses = |n: u16| {
            let mut packet = packet(ipv6::next::UDP, &[0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
            packet[22..24].copy_from_slice(&n.to_be_bytes());
            packet
        };
        for flows in [(0..u16::MAX).map(ports).collect::<Vec<_>>(), (0..u16::MAX).map(addresses).collect()] {
            let alike: Vec<_> = flows.iter().filter(|packet| slot(packet, 1) == 5).collect();
            assert!(alike.len() > 500, "{}", alike.len());
            for seed in [2, 3, u64::MAX, 1 << 63] {
                let mut slots = [0; 64];
                alike.iter().for_each(|packet| slots[slot(packet, seed)] += 1);
                assert!(slots.iter().all(|count| *count < alike.len() / 10), "{seed} {slots:?}");
            }
        }
    }
}

//! The flow hash that picks one of several locators or next hops, the same for every packet of a flow.

use crate::net::ipv6::{self, Ipv6};

/// Hash over addresses, protocol and, when present and the packet is no fragment, ports. 32 uniform bits.
#[must_use]
pub(super) fn hash(packet: &[u8]) -> u32 {
    let Some(header) = Ipv6::of(packet) else { return 0 };
    let mut state = header.source_high() ^ 0x243f_6a88_85a3_08d3;
    for word in
        [header.source_low(), header.destination_high(), header.destination_low(), upper_words(packet)]
    {
        let wide = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        state = (wide >> 64) as u64 ^ (wide as u64).rotate_left(23);
    }
    (state >> 32) as u32 ^ state as u32
}

/// Protocol and ports. All fragments of a flow hash alike, since only the first has ports.
fn upper_words(packet: &[u8]) -> u64 {
    let Ok(upper) = ipv6::upper(packet) else { return 0 };
    let protocol = u64::from(upper.protocol) << 32;
    let has_ports = matches!(upper.protocol, ipv6::next::TCP | ipv6::next::UDP) && !upper.fragment;
    match packet.get(upper.offset..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(ports) if has_ports => protocol | u64::from(u32::from_be_bytes(*ports)),
        _ => protocol,
    }
}

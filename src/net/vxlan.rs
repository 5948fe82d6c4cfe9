//! VXLAN (RFC 7348): Ethernet frames in UDP datagrams.

use super::udp;

/// Length of the header in bytes.
pub const HEADER: usize = 8;
/// The port that datagrams go to (RFC 7348 §5).
pub const PORT: u16 = 4789;
/// The largest VXLAN Network Identifier (VNI): it has 24 bits.
pub const MAX_VNI: u32 = 0xff_ffff;
/// Bytes from the IPv6 header on that a frame gets before it: IPv6, UDP and VXLAN headers.
pub const OVERHEAD: usize = udp::HEADERS + HEADER;

/// The flag of a header with a valid VNI (RFC 7348 §5).
const VALID_VNI: u8 = 0x08;

/// The header of a VNI, of which only 24 bits count. Reserved bits are zero (RFC 7348 §5).
#[must_use]
pub const fn header(vni: u32) -> [u8; HEADER] {
    let [_, a, b, c] = vni.to_be_bytes();
    [VALID_VNI, 0, 0, 0, a, b, c, 0]
}

/// The VNI of a header. `None` when it is cut short or has no valid VNI. Reserved bits are ignored (RFC 7348 §5).
#[must_use]
pub fn vni(header: &[u8]) -> Option<u32> {
    let [flags, _, _, _, a, b, c, _] = *header.first_chunk::<HEADER>()?;
    (flags & VALID_VNI != 0).then_some(u32::from_be_bytes([0, a, b, c]))
}

/// The source port of a flow with this hash: from 49152 to 65535, so that routers spread flows over their paths
/// (RFC 7348 §5).
#[must_use]
pub const fn source_port(flow: u32) -> u16 {
    0xc000 | (flow ^ flow >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // RFC 7348 §5
        #[test]
        fn rfc_7348_section_5_a_vni_written_is_a_vni_read_whatever_reserved_bits_say(
            number in 0..=MAX_VNI, reserved: u64,
        ) {
            let written = u64::from_be_bytes(header(number));
            prop_assert_eq!(written & !0xffff_ff00, 0x08 << 56);
            let others = 0xf7ff_ffff_0000_00ff;
            prop_assert_eq!(vni(&(written | reserved & others).to_be_bytes()), Some(number));
            prop_assert_eq!(vni(&(written & !(0x08 << 56)).to_be_bytes()), None);
        }

        // RFC 7348 §5
        #[test]
        fn rfc_7348_section_5_source_ports_are_dynamic_ones(flow: u32) {
            prop_assert!(source_port(flow) >= 49152);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            prop_assert!(vni(&bytes).is_none_or(|vni| vni <= MAX_VNI && bytes.len() >= HEADER));
        }
    }
}

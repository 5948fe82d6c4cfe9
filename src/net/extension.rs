//! IPv6 extension headers (RFC 8200 §4): which there are, and how long each is.
//!
//! Every walk over the headers of a packet asks this file, so that no two walks disagree about where the upper layer
//! begins.

use super::ipv6::next;

/// Whether a walk passes over a header of type `kind`. ESP hides what follows it. Mobility, HIP and SHIM6 headers are
/// the last ones of a packet that hosts understand (RFC 6275 §6.1.1, RFC 7401 §5.1), so that a walk takes them for the
/// upper layer.
#[inline]
#[must_use]
pub const fn is_walked(kind: u8) -> bool {
    matches!(kind, next::HOP_BY_HOP | next::ROUTING | next::FRAGMENT | next::DESTINATION | next::AH)
}

/// Whether `kind` is an extension header whose next header can be read: all but ESP.
#[inline]
#[must_use]
pub const fn is_known(kind: u8) -> bool {
    is_walked(kind) || matches!(kind, next::MOBILITY | next::HIP | next::SHIM6)
}

/// Length in bytes of an extension header that a walk passes over, from its type and its first 8 bytes: at least 8.
#[inline]
#[must_use]
pub const fn length(kind: u8, header: &[u8; 8]) -> usize {
    match kind {
        next::FRAGMENT => 8,
        // RFC 4302 §2.2: in units of 4 bytes, less 2.
        next::AH => 8 + 4 * header[1] as usize,
        _ => 8 + 8 * header[1] as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8200 §4.2, RFC 8200 §4.5, RFC 4302 §2.2
    #[test]
    fn each_header_has_its_unit_of_length() {
        let header = [59, 4, 0, 0, 0, 0, 0, 0];
        let lengths = [next::HOP_BY_HOP, next::ROUTING, next::DESTINATION, next::AH, next::FRAGMENT];
        assert_eq!(lengths.map(|kind| length(kind, &header)), [40, 40, 40, 24, 8]);
    }

    #[test]
    fn a_walk_passes_over_what_hosts_pass_over() {
        let walked: Vec<u8> = (0..=255).filter(|kind| is_walked(*kind)).collect();
        assert_eq!(walked, [0, 43, 44, 51, 60]);
        let known: Vec<u8> = (0..=255).filter(|kind| is_known(*kind)).collect();
        assert_eq!(known, [0, 43, 44, 51, 60, 135, 139, 140]);
    }
}

//! The header chain of a packet that is admitted by its upper layer: it must be there and readable (RFC 7112).
//!
//! What cannot be read could be anything, and a receiver that walks further than this node would read it.

use crate::net::extension;
use crate::net::ipv6::{self, Upper, next};
use crate::path::verdict::DropReason;

/// The upper layer of an IPv6 packet. A fragment other than the first has no header of it.
///
/// # Errors
/// [`DropReason::ExtensionHeaders`] if the chain is cut short or longer than this node reads, if a first fragment does
/// not hold all of it, or if a header that this node does not pass over names one that hosts read behind it.
pub(super) fn upper(packet: &[u8]) -> Result<Upper, DropReason> {
    let upper = ipv6::upper(packet).map_err(|_| DropReason::ExtensionHeaders)?;
    if upper.later_fragment {
        return Ok(upper);
    }
    let rest = packet.get(upper.offset..).unwrap_or(&[]);
    let is_cut = upper.piece && rest.len() < least(upper.protocol);
    // Mobility, HIP and SHIM6 headers have the next header first, as all that a walk passes over.
    let is_last = extension::is_known(upper.protocol) && !extension::is_walked(upper.protocol);
    let hides = |next: &u8| extension::is_known(*next) || *next == next::ICMP6;
    if is_cut || is_last && rest.first().is_none_or(hides) {
        return Err(DropReason::ExtensionHeaders);
    }
    Ok(upper)
}

/// Length in bytes of the shortest header of an upper layer.
const fn least(protocol: u8) -> usize {
    match protocol {
        next::NONE => 0,
        next::TCP => 20,
        next::UDP | next::ESP => 8,
        next::ICMP6 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ipv6::Ipv6;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; ipv6::HEADER];
        if let Some(mut header) = Ipv6::of_mut(&mut bytes) {
            header.write(rest.len() as u16, first, 64, 1, 2);
        }
        [&bytes, rest].concat()
    }

    // RFC 7112 §5
    #[test]
    fn a_first_fragment_holds_the_whole_chain() {
        for (protocol, least) in [(6, 20), (17, 8), (50, 8), (58, 4), (132, 1), (59, 0)] {
            for length in 0..24 {
                let upper_layer = [&[protocol, 0, 0, 1, 0, 0, 0, 9][..], &vec![0; length]].concat();
                assert_eq!(upper(&packet(44, &upper_layer)).is_ok(), length >= least, "{protocol} {length}");
                // Whoever sends it whole hides nothing.
                let whole = [&[protocol, 0, 0, 0, 0, 0, 0, 9][..], &vec![0; length]].concat();
                assert!(upper(&packet(44, &whole)).is_ok());
            }
            let later = packet(44, &[protocol, 0, 0, 8, 0, 0, 0, 9, 1]);
            assert!(upper(&later).is_ok_and(|upper| upper.later_fragment));
        }
    }

    #[test]
    fn what_a_walk_does_not_pass_over_names_nothing_that_others_read_behind_it() {
        for last in [135, 139, 140] {
            for (named, is_read) in
                [(59, true), (6, true), (17, true), (58, false), (60, false), (44, false), (139, false)]
            {
                let header = packet(last, &[named, 0, 0, 0, 0, 0, 0, 0]);
                assert_eq!(upper(&header).is_ok(), is_read, "{last} names {named}");
            }
            assert!(upper(&packet(last, &[])).is_err());
        }
        // The data of ESP names nothing.
        assert!(upper(&packet(50, &[58; 8])).is_ok());
    }
}

//! Targets of headers: what is read and written again is what stood there, and no length goes beyond the input.

use ilagate::net::ethernet::{self, Link, VLAN};
use ilagate::net::fragment::{self, Fragment};
use ilagate::net::ipv4::{self, BadOption, Ipv4, option};
use ilagate::net::ipv6::{self, Ipv6, MAX_EXTENSIONS, WalkError, next};

/// Ethernet with at most one tag.
pub fn ethernet(frame: &[u8]) {
    let Some(link) = ethernet::parse(frame) else {
        let tagged = frame.get(12..14) == Some(&VLAN.to_be_bytes());
        return assert!(frame.len() < if tagged { ethernet::TAGGED_HEADER } else { ethernet::HEADER });
    };
    assert!(link.header <= frame.len() && link.vlan < 0x1000);
    assert!(matches!(link.header, ethernet::HEADER | ethernet::TAGGED_HEADER));
    let (to, from) = (ethernet::destination(frame), ethernet::source(frame));
    let (Some(to), Some(from)) = (to, from) else { panic!("a header without addresses") };
    // Behind a tag stands what a second one would be: it is read as a tag when it is written without the first.
    if link.ethertype == VLAN && link.vlan == 0 {
        return;
    }
    let (bytes, length) = ethernet::header_of(to, from, link.vlan, link.ethertype);
    assert_eq!(ethernet::parse(&bytes[..length]), Some(Link { header: length, ..link }));
    // All but priority and drop eligibility, of which nothing is kept, and the tag that has nothing else.
    if length == link.header {
        let mut came = frame[..length].to_vec();
        if length == ethernet::TAGGED_HEADER {
            came[14] &= 0x0f;
        }
        assert_eq!(bytes[..length], came);
    }
    assert_eq!(ethernet::parse(&frame[..link.header]), Some(link));
}

/// IPv4 headers, options and checksum.
pub fn ipv4(packet: &[u8]) {
    let Some(view) = Ipv4::of(packet) else { return assert!(packet.len() < ipv4::HEADER) };
    let mut again = [0xa5; ipv4::HEADER];
    if let Some(mut to) = Ipv4::of_mut(&mut again) {
        to.write(view.total_length(), view.protocol(), view.ttl(), view.source(), view.destination());
        to.set_header_length(view.header_length());
        to.set_tos(view.tos());
        to.set_identification(view.identification());
        to.set_fragment(view.dont_fragment(), view.more_fragments(), view.fragment_offset());
        to.set_checksum(view.checksum());
    }
    // All but the version, which is known, and the flag that is reserved.
    let mut came = packet[..ipv4::HEADER].to_vec();
    came[0] = 0x40 | came[0] & 0xf;
    came[6] &= 0x7f;
    assert_eq!(again[..], came);

    let Some(header) = ipv4::header(packet) else {
        return assert!(view.header_length() < ipv4::HEADER || view.header_length() > packet.len());
    };
    assert_eq!(header.len(), view.header_length());
    assert!((ipv4::HEADER..=ipv4::MAX_HEADER).contains(&header.len()));
    let mut sealed = header.to_vec();
    ipv4::seal(&mut sealed);
    assert!(ipv4::is_intact(&sealed));
    sealed[10..12].copy_from_slice(&header[10..12]);
    assert_eq!(sealed, header);
    options(header);
}

/// Options stand one behind the other and fill the header up to their end.
fn options(header: &[u8]) {
    let mut at = ipv4::HEADER;
    let mut options = ipv4::options(header);
    for found in options.by_ref() {
        match found {
            Ok(option) => {
                assert_eq!((option.at, header.get(at..at + option.bytes.len())), (at, Some(option.bytes)));
                assert_eq!(option.kind(), option.bytes[0]);
                assert!(option.bytes.len() == 1 || usize::from(option.bytes[1]) == option.bytes.len());
                at += option.bytes.len();
            }
            Err(BadOption(bad)) => {
                let bad = usize::from(bad);
                assert!(bad < header.len() && (bad == at || bad == at + 1));
                at = header.len();
            }
        }
    }
    assert!(options.next().is_none());
    assert!(at == header.len() || header[at] == option::END);
}

/// IPv6 headers, and the fragment header behind them.
pub fn ipv6(packet: &[u8]) {
    let Some(view) = Ipv6::of(packet) else { return assert!(packet.len() < ipv6::HEADER) };
    for halves in [false, true] {
        let mut again = packet[..ipv6::HEADER].to_vec();
        again[4..].fill(0xa5);
        if let Some(mut to) = Ipv6::of_mut(&mut again) {
            to.set_traffic_class(view.traffic_class());
            to.set_payload_length(view.payload_length());
            to.set_next_header(view.next_header());
            to.set_hop_limit(view.hop_limit());
            to.set_source(view.source());
            if halves {
                to.set_destination_halves(view.destination_high(), view.destination_low());
            } else {
                to.set_destination(view.destination());
            }
        }
        let mut came = packet[..ipv6::HEADER].to_vec();
        came[0] = 0x60 | came[0] & 0xf;
        assert_eq!(again, came);
    }
    let (source, destination) = (view.source(), view.destination());
    let mut written = [0xa5; ipv6::HEADER];
    if let Some(mut to) = Ipv6::of_mut(&mut written) {
        to.write(view.payload_length(), view.next_header(), view.hop_limit(), source, destination);
    }
    assert_eq!((written[..4].to_vec(), &written[4..]), (vec![0x60, 0, 0, 0], &packet[4..ipv6::HEADER]));

    let Some(bytes) = packet[ipv6::HEADER..].first_chunk() else { return };
    let (next, fragment) = Fragment::read(bytes);
    let mut again = [0xa5; fragment::HEADER];
    fragment.write(&mut again, next);
    // All but what is reserved.
    let mut came = *bytes;
    came[1] = 0;
    came[3] &= !0b110;
    assert_eq!(again, came);
}

/// The walk over extension headers.
pub fn upper(packet: &[u8]) {
    let found = match ipv6::upper(packet) {
        Ok(found) => found,
        // Bytes at the end can only help.
        Err(WalkError::Truncated) => return,
        Err(WalkError::TooMany) => {
            assert!(packet.len() >= ipv6::HEADER + 8 * MAX_EXTENSIONS);
            let longer = [packet, &[0; 8]].concat();
            return assert_eq!(ipv6::upper(&longer), Err(WalkError::TooMany));
        }
    };
    assert!(found.offset == ipv6::HEADER || (found.offset > ipv6::HEADER && found.offset <= packet.len()));
    assert!(found.offset <= ipv6::HEADER + MAX_EXTENSIONS * 2048);
    assert!(found.fragment || !found.later_fragment);
    // What lies behind the upper layer's header plays no part.
    let kept = packet.len().min(found.offset + 8);
    assert_eq!(ipv6::upper(&packet[..kept]), Ok(found));
    // The headers lead from one to the next, and the last of them to the upper layer.
    let (mut at, mut kind, mut fragments, mut routes) = (ipv6::HEADER, packet[6], 0, 0);
    for _ in 0..=MAX_EXTENSIONS {
        if at == found.offset {
            break;
        }
        let header = &packet[at..at + 8];
        let units = usize::from(header[1]);
        at += match kind {
            next::FRAGMENT => 8,
            next::AH => 8 + 4 * units,
            _ => 8 + 8 * units,
        };
        fragments += usize::from(kind == next::FRAGMENT);
        routes += usize::from(kind == next::ROUTING && header[3] > 0);
        kind = header[0];
    }
    assert_eq!((at, kind), (found.offset, found.protocol));
    assert_eq!((found.fragment, found.source_routed), (fragments > 0, routes > 0));
}

/// Inputs of [`ethernet`].
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let to = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let kinds: [&[u8]; 5] = [
        &[0x86, 0xdd, 0x60],
        &[0x08, 0x00],
        &[0x81, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60],
        &[0x81, 0x00, 0xe0, 0x00, 0x08, 0x06],
        &[0x81, 0x00, 0x0f, 0xff, 0x81, 0x00, 0x00, 0x01, 0x08, 0x00],
    ];
    kinds.map(|kind| [&to[..], kind].concat()).to_vec()
}

/// Inputs of [`ipv4`].
pub(crate) fn headers4() -> Vec<Vec<u8>> {
    let options: [&[u8]; 5] = [
        &[],
        &[148, 4, 0, 0],
        &[1, 131, 7, 4, 192, 0, 2, 9],
        &[1, 1, 7, 3, 4, 0, 9, 9],
        &[[7, 39, 4].as_slice(), &[1; 37]].concat(),
    ];
    let of = |options: &[u8]| {
        let mut packet = [&[0xa5; ipv4::HEADER], options, &[1, 2, 3, 4]].concat();
        let length = ipv4::HEADER + options.len();
        if let Some(mut view) = Ipv4::of_mut(&mut packet) {
            view.write(length as u16 + 4, 17, 64, 0xc000_0201, 0xc633_640a);
            view.set_header_length(length);
            view.set_fragment(options.is_empty(), !options.is_empty(), 7);
        }
        ipv4::seal(&mut packet[..length]);
        packet
    };
    options.map(of).to_vec()
}

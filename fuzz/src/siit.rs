//! Translation between IPv4 and IPv6, and the splitting of what comes out.

use ilagate::net::ipv4::{self, Ipv4};
use ilagate::net::ipv6::{self, Ipv6};
use ilagate::siit::{HEADROOM, Options, Refused, To4, To6, fragment, to_v4, to_v6};
use std::ops::Range;

const FRONT: usize = 2 * HEADROOM;
const BACK: usize = 8;
pub(crate) const ENDS4: (u32, u32) = (0xc000_0201, 0xc633_640a);
pub(crate) const ENDS6: (u128, u128) = (0x2001_0db8 << 96 | 1, 0x2001_0db8_ffff << 80 | 2);

/// Translates in a room with guards; what came out and all that is not the window stays as it was.
fn guarded(
    bytes: &[u8],
    translate: impl FnOnce(&mut [u8], Range<usize>) -> Result<Range<usize>, Refused>,
) -> Option<Vec<u8>> {
    let mut room = [&[0xa5; FRONT][..], bytes, &[0x5a; BACK]].concat();
    let before = room.clone();
    match translate(&mut room, FRONT..FRONT + bytes.len()) {
        Ok(at) => {
            assert!(at.start >= FRONT - HEADROOM && at.end <= FRONT + bytes.len());
            assert_eq!(room[..at.start], before[..at.start]);
            assert_eq!(room[FRONT + bytes.len()..], before[FRONT + bytes.len()..]);
            Some(room[at].to_vec())
        }
        Err(refused) => {
            assert_eq!(room, before, "{refused:?}");
            None
        }
    }
}

pub(crate) fn into_v6(bytes: &[u8]) -> Option<Vec<u8>> {
    let to = To6 { source: ENDS6.0, destination: ENDS6.1 };
    guarded(bytes, |room, at| to_v6(room, at, &to, |_, _| Some(ENDS6), &Options::default()))
}

pub(crate) fn into_v4(bytes: &[u8]) -> Option<Vec<u8>> {
    let to = To4 { source: ENDS4.0, destination: ENDS4.1, identification: 1 };
    guarded(bytes, |room, at| to_v4(room, at, &to, |_, _| Some(ENDS4), &Options::default()))
}

fn pieces<'p>(pieces: impl Iterator<Item = fragment::Piece<'p>>, mtu: usize) {
    let mut buffer = [0; 1500];
    for piece in pieces {
        assert!(piece.len() <= mtu.min(buffer.len()) && piece.write(&mut buffer) == Some(piece.len()));
    }
}

/// A packet of either family: refused and left alone, or translated into a packet whose header fits its length; what
/// came from IPv4 goes back to it.
pub fn siit(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    // A wrong header checksum would end everything here.
    let header = ipv4::header(&bytes).map_or(0, <[u8]>::len);
    if bytes.first().is_some_and(|first| first >> 4 == 4) {
        ipv4::seal(&mut bytes[..header]);
    }
    if let Some(six) = into_v6(&bytes) {
        let claimed = Ipv6::of(&six).map(|view| ipv6::HEADER + usize::from(view.payload_length()));
        assert_eq!(claimed, Some(six.len()));
        // §5.1.1 refuses what IPv6 takes for extension headers behind a fragment header, in quotes too; the rest comes
        // back.
        let refused = match six.get(6) {
            Some(44) => six.get(40).is_some_and(|next| matches!(next, 51 | 135 | 139 | 140)),
            Some(58) => six.get(40).is_some_and(|kind| *kind < 128) && six.get(54) == Some(&44),
            _ => false,
        };
        assert!(refused || into_v4(&six).is_some());
        if let Ok(found) = fragment::v6(&six, 1280, 1) {
            pieces(found, 1280);
        }
    }
    if let Some(four) = into_v4(&bytes) {
        assert_eq!(Ipv4::of(&four).map(|view| usize::from(view.total_length())), Some(four.len()));
        assert!(ipv4::header(&four).is_some_and(ipv4::is_intact));
        if let Ok(found) = fragment::v4(&four, 576) {
            pieces(found, 576);
        }
    }
}

fn four(protocol: u8, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv4::HEADER];
    if let Some(mut view) = Ipv4::of_mut(&mut packet) {
        view.write((ipv4::HEADER + payload.len()) as u16, protocol, 64, ENDS4.0, ENDS4.1);
        view.set_fragment(false, more, 0);
    }
    [packet, payload.to_vec()].concat()
}

fn six(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; ipv6::HEADER];
    if let Some(mut view) = Ipv6::of_mut(&mut packet) {
        view.write(payload.len() as u16, next, 64, ENDS6.0, ENDS6.1);
    }
    [packet, payload.to_vec()].concat()
}

/// Each kind of packet that is told apart, errors with and without extension objects.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let udp = [&[0, 9, 0, 9, 0, 128, 1, 2][..], &[7; 120]].concat();
    let echo = |kind| [&[kind, 0, 0, 0, 0, 1, 0, 2][..], &[7; 24]].concat();
    let objects = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0x11, 0xff];
    let error4 = |kind, code, words| {
        [&[kind, code, 0, 0, 0, words, 5, 0][..], &four(17, false, &udp), &objects].concat()
    };
    let error6 =
        |kind, code, words| [&[kind, code, 0, 0, words, 0, 5, 0][..], &six(17, &udp), &objects].concat();
    let chain =
        [&[43, 0, 1, 4, 0, 0, 0, 0][..], &[44, 0, 4, 0, 0, 0, 0, 0], &[17, 0, 0, 1, 0, 0, 0, 9], &udp]
            .concat();
    vec![
        four(6, false, &[5; 40]),
        four(17, true, &udp),
        four(17, false, &[0; 1400]),
        four(1, false, &echo(8)),
        four(1, false, &error4(11, 0, 37)),
        four(1, false, &error4(3, 4, 0)),
        four(1, false, &error4(12, 0, 0)),
        six(6, &[5; 40]),
        six(0, &chain),
        six(58, &echo(128)),
        six(58, &error6(3, 0, 21)),
        six(58, &error6(2, 0, 0)),
    ]
}

//! Capture files of all kinds, whole and cut.

use super::*;
use proptest::prelude::*;

#[test]
fn what_is_written_is_read() {
    for time_ns in [1_700_000_000_123_456_000, 1_700_000_000_123_456_789] {
        let frames = vec![(time_ns, vec![1, 2, 3]), (time_ns, vec![])];
        let read = read(&write(&frames)).unwrap();
        assert_eq!(read.truncated, None);
        let back: Vec<_> = read.frames.into_iter().map(|frame| (frame.time_ns, frame.bytes)).collect();
        assert_eq!(back, frames);
    }
}

#[test]
fn a_file_cut_short_is_read_up_to_the_cut_and_says_where() {
    let file = write(&[(1000, vec![7; 60]), (2000, vec![8; 60])]);
    let cut = read(&file[..file.len() - 1]).unwrap();
    assert_eq!(cut.frames, [Frame { time_ns: 1000, bytes: vec![7; 60], cut: false }]);
    let why = cut.truncated.unwrap().to_string();
    assert_eq!(why, "at byte 116: packet 2 needs 60 bytes but the file has 59 left; it is cut short");
    // Wherever it is cut.
    for length in 24..file.len() {
        let whole = [24, 100].contains(&length);
        let cut = read(&file[..length]).unwrap();
        assert_eq!((cut.frames.len(), cut.truncated.is_none()), ((length - 24) / 76, whole), "{length}");
    }
    for length in 0..24 {
        assert!(read(&file[..length]).is_err(), "{length}");
    }
}

/// A pcapng file of these blocks.
fn blocks(blocks: &[(u32, &[u32])]) -> Vec<u8> {
    let words = blocks.iter().flat_map(|(kind, body)| {
        let length = 12 + 4 * body.len() as u32;
        [*kind, length].into_iter().chain(body.iter().copied()).chain([length])
    });
    words.flat_map(u32::to_le_bytes).collect()
}

const HEAD: (u32, &[u32]) = (SECTION, &[BYTE_ORDER, 1, u32::MAX, u32::MAX]);
const WIRE: (u32, &[u32]) = (INTERFACE, &[ETHERNET, 0]);

#[test]
fn a_pcapng_file_cut_short_is_read_up_to_the_cut() {
    let packet: (u32, &[u32]) = (ENHANCED_PACKET, &[0, 0, 5, 4, 4, 0x0403_0201]);
    let file = blocks(&[HEAD, WIRE, packet, packet]);
    for length in 28..file.len() {
        let read = read(&file[..length]).unwrap();
        let whole = [28, 48, 84].contains(&length);
        assert_eq!(
            (read.frames.len(), read.truncated.is_none()),
            ((length.max(48) - 48) / 36, whole),
            "{length}"
        );
    }
    assert!((0..28).all(|length| read(&file[..length]).is_err()));
}

#[test]
fn frame_check_sequences_are_taken_off() {
    let frame = |file: &[u8]| {
        let read = read(file).unwrap();
        let [frame] = read.frames.try_into().unwrap();
        (frame.bytes.len(), frame.cut)
    };
    // Length of the sequences in units of 2 bytes, and the bit that says that it counts; other bits say nothing.
    for (word, captured, length, left) in [
        (0x2400_0001_u32, 64, 64, (60, false)),
        (0x2000_0001, 64, 64, (64, false)),
        (0x0bff_0001, 64, 64, (64, false)),
        (0x2400_0001, 62, 64, (60, false)),
        (0x2400_0001, 60, 64, (60, false)),
        (0x2400_0001, 59, 64, (59, true)),
        (0xf400_0001, 4, 4, (0, false)),
    ] {
        let mut file = write(&[(0, vec![7; captured])]);
        file[20..24].copy_from_slice(&word.to_le_bytes());
        file[36..40].copy_from_slice(&(length as u32).to_le_bytes());
        assert_eq!(frame(&file), left, "{word:x} {captured} {length}");
    }
    // pcapng: of the interface, in bytes or bits, and of the packet, which comes first.
    let option = |value: u32| [ETHERNET, 0, 1 << 16 | u32::from(FCS_LENGTH), value, 0];
    let plain: (u32, &[u32]) = (ENHANCED_PACKET, &[0, 0, 5, 8, 8, 1, 2]);
    let flagged: (u32, &[u32]) = (ENHANCED_PACKET, &[0, 0, 5, 8, 8, 1, 2, 4 << 16 | 2, 4 << 5, 0]);
    for (interface, packet, left) in [
        (&[ETHERNET, 0][..], plain, 8),
        (&option(4), plain, 4),
        (&option(32), plain, 4),
        (&option(0), flagged, 4),
        (&option(2), flagged, 4),
        (&option(4), (SIMPLE_PACKET, &[8, 1, 2][..]), 4),
    ] {
        assert_eq!(frame(&blocks(&[HEAD, (INTERFACE, interface), packet])), (left, false), "{interface:?}");
    }
}

#[test]
fn a_section_cut_before_its_magic_is_refused_at_a_place_in_the_file() {
    for length in 4..12 {
        let refused = read(&[10, 13, 13, 10, 28, 0, 0, 0, 0, 0, 0, 0][..length]).unwrap_err();
        assert_eq!((refused.at, refused.why.contains("cut short")), (0, true), "{length}");
    }
}

#[test]
fn another_link_type_is_refused() {
    for (link, words) in [(101, "link type 101"), (113, "in place of `any`"), (276, "in place of `any`")] {
        let mut file = write(&[]);
        file[20..24].copy_from_slice(&u32::to_le_bytes(link));
        assert!(read(&file).unwrap_err().to_string().contains(words), "{link}");
        let packet: (u32, &[u32]) = (SIMPLE_PACKET, &[4, 1]);
        let why = read(&blocks(&[HEAD, (INTERFACE, &[link, 0]), packet])).unwrap_err().to_string();
        assert!(why.contains(words), "{link}: {why}");
    }
}

#[test]
fn both_byte_orders_are_read() {
    let mut file = Vec::new();
    for word in [MICROSECONDS, 0x0002_0004, 0, 0, 65535, ETHERNET, 3, 4, 2, 5] {
        file.extend_from_slice(&word.to_be_bytes());
    }
    file.extend_from_slice(&[9, 9]);
    let frame = Frame { time_ns: 3_000_004_000, bytes: vec![9, 9], cut: true };
    assert_eq!(read(&file).unwrap(), Capture { frames: vec![frame], truncated: None });
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), ng: bool) {
        let _ = read(&bytes);
        if bytes.len() > 12 {
            bytes[..4].copy_from_slice(&(if ng { SECTION } else { MICROSECONDS }).to_le_bytes());
            bytes[8..12].copy_from_slice(&BYTE_ORDER.to_le_bytes());
            let _ = read(&bytes);
        }
    }
}

//! Capture files: reads pcap (microseconds or nanoseconds) and pcapng, writes pcap.
//!
//! Every length in a file is checked against the bytes that the file has.

use std::fmt;

/// Link type of Ethernet.
const ETHERNET: u32 = 1;
/// Magic numbers of pcap, read in little-endian order.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Types of pcapng blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Byte-order magic of a pcapng section.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Options of a pcapng interface.
const END_OF_OPTIONS: u16 = 0;
const TIME_RESOLUTION: u16 = 9;

/// One captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The bytes that were captured.
    pub bytes: Vec<u8>,
    /// Whether the capture truncated it.
    pub cut: bool,
}

/// Why a file cannot be read, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {why}")]
pub struct CaptureError {
    /// Offset in the file in bytes.
    pub at: usize,
    /// What is wrong, with a remedy.
    pub why: String,
}

fn error<T>(at: usize, why: impl fmt::Display) -> Result<T, CaptureError> {
    Err(CaptureError { at, why: why.to_string() })
}

/// Reads a whole capture file.
///
/// # Errors
/// [`CaptureError`] when the file is neither pcap nor pcapng, is truncated or damaged, or has another link type than
/// Ethernet.
pub fn read(bytes: &[u8]) -> Result<Vec<Frame>, CaptureError> {
    let mut file = Cursor { bytes, at: 0, big: false };
    match file.peek() {
        Some(SECTION) => pcapng(&mut file),
        Some(first) => {
            for (magic, big) in [(first, false), (first.swap_bytes(), true)] {
                if magic == MICROSECONDS || magic == NANOSECONDS {
                    file.big = big;
                    return pcap(&mut file, if magic == MICROSECONDS { 1000 } else { 1 });
                }
            }
            error(0, "neither a pcap nor a pcapng file; write one, for example with tcpdump -w")
        }
        None => error(0, format!("{} bytes are no capture file", bytes.len())),
    }
}

/// A position in a file, and the byte order of the file.
struct Cursor<'f> {
    bytes: &'f [u8],
    at: usize,
    big: bool,
}

impl<'f> Cursor<'f> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'f [u8], CaptureError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        match rest.get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => error(
                self.at,
                format!("{what} needs {length} bytes but the file has {} left; it is cut short", rest.len()),
            ),
        }
    }

    fn number(&mut self, what: &str) -> Result<u32, CaptureError> {
        let word = *self.take(4, what)?.first_chunk().unwrap_or(&[0; 4]);
        Ok(if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    fn short(&mut self, what: &str) -> Result<u16, CaptureError> {
        let word = *self.take(2, what)?.first_chunk().unwrap_or(&[0; 2]);
        Ok(if self.big { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
    }

    /// The next word in little-endian order. The position does not change.
    fn peek(&self) -> Option<u32> {
        self.bytes.get(self.at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
    }

    fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

fn ethernet_only(at: usize, link: u32) -> Result<(), CaptureError> {
    if link == ETHERNET {
        return Ok(());
    }
    error(
        at,
        format!("link type {link}, but only Ethernet (1) can be replayed; capture on an Ethernet device"),
    )
}

fn pcap(file: &mut Cursor<'_>, unit_ns: u64) -> Result<Vec<Frame>, CaptureError> {
    file.take(20, "the file header")?;
    // The lower 28 bits are the link type. The upper ones tell whether frames have a frame check sequence.
    let link = file.number("the file header")? & 0x0fff_ffff;
    ethernet_only(20, link)?;
    let mut frames = Vec::new();
    while !file.done() {
        let what = format!("the header of packet {}", frames.len() + 1);
        let seconds = file.number(&what)?;
        let fraction = file.number(&what)?;
        let captured = file.number(&what)?;
        let length = file.number(&what)?;
        let bytes = file.take(captured as usize, &format!("packet {}", frames.len() + 1))?.to_vec();
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit_ns;
        frames.push(Frame { time_ns, bytes, cut: captured < length });
    }
    Ok(frames)
}

/// An interface that a pcapng section describes.
struct Interface {
    link: u32,
    snap_length: u32,
    units_per_second: u128,
}

fn pcapng(file: &mut Cursor<'_>) -> Result<Vec<Frame>, CaptureError> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut frames = Vec::new();
    let mut last_ns = 0;
    while !file.done() {
        let start = file.at;
        if file.peek() == Some(SECTION) {
            interfaces.clear();
            let magic = file.bytes.get(start + 8..).and_then(|rest| rest.first_chunk::<4>());
            file.big = match magic.map(|magic| u32::from_le_bytes(*magic)) {
                Some(BYTE_ORDER) => false,
                Some(magic) if magic.swap_bytes() == BYTE_ORDER => true,
                None => return error(start, "a section needs 12 bytes or more; the file is cut short"),
                Some(_) => {
                    return error(start + 8, "a section without byte-order magic; the file is damaged");
                }
            };
        }
        let kind = file.number("a block")?;
        let length = file.number("a block")? as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return error(start + 4, format!("a block cannot have {length} bytes; the file is damaged"));
        }
        let body = file.take(length - 8, "a block")?;
        let mut block = Cursor { bytes: &body[..body.len() - 4], at: 0, big: file.big };
        let read = match kind {
            INTERFACE => interface(&mut block).map(|new| interfaces.push(new)),
            ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => {
                packet(&mut block, kind, &interfaces, last_ns).map(|frame| {
                    last_ns = frame.time_ns;
                    frames.push(frame);
                })
            }
            _ => Ok(()),
        };
        if let Err(inner) = read {
            return error(start + 8 + inner.at, inner.why);
        }
    }
    Ok(frames)
}

fn interface(block: &mut Cursor<'_>) -> Result<Interface, CaptureError> {
    let what = "an interface";
    let link = u32::from(block.short(what)?);
    block.short(what)?;
    let snap_length = block.number(what)?;
    let mut units_per_second = 1_000_000;
    while !block.done() {
        let (code, length) = (block.short("an option")?, usize::from(block.short("an option")?));
        if code == END_OF_OPTIONS {
            break;
        }
        let value = block.take(length, "an option")?;
        let padding = length.next_multiple_of(4) - length;
        block.take(padding, "an option's padding")?;
        if let (TIME_RESOLUTION, Some(exponent)) = (code, value.first()) {
            let power = u32::from(exponent & 0x7f);
            let base: u128 = if exponent & 0x80 == 0 { 10 } else { 2 };
            units_per_second = match base.checked_pow(power) {
                Some(units) => units,
                None => {
                    return error(block.at, format!("a time resolution of {base}^-{power} s is too fine"));
                }
            };
        }
    }
    Ok(Interface { link, snap_length, units_per_second })
}

fn packet(
    block: &mut Cursor<'_>,
    kind: u32,
    interfaces: &[Interface],
    last_ns: u64,
) -> Result<Frame, CaptureError> {
    let what = "a packet";
    let index = match kind {
        ENHANCED_PACKET => block.number(what)?,
        OBSOLETE_PACKET => {
            let index = block.short(what)?;
            block.short(what)?;
            u32::from(index)
        }
        _ => 0,
    };
    let Some(from) = interfaces.get(index as usize) else {
        return error(0, format!("a packet of interface {index}, which the file does not describe"));
    };
    ethernet_only(0, from.link)?;
    if kind == SIMPLE_PACKET {
        let length = block.number(what)?;
        let limit = if from.snap_length == 0 { u32::MAX } else { from.snap_length };
        let captured = length.min(limit);
        let bytes = block.take(captured as usize, what)?.to_vec();
        // A simple packet has no time. It gets that of the packet before.
        return Ok(Frame { time_ns: last_ns, bytes, cut: captured < length });
    }
    let units = (u64::from(block.number(what)?) << 32) | u64::from(block.number(what)?);
    let captured = block.number(what)?;
    let length = block.number(what)?;
    let bytes = block.take(captured as usize, what)?.to_vec();
    let time_ns = u128::from(units).saturating_mul(1_000_000_000) / from.units_per_second;
    Ok(Frame { time_ns: u64::try_from(time_ns).unwrap_or(u64::MAX), bytes, cut: captured < length })
}

/// Writes frames, each with its time in nanoseconds, as a pcap file. The file has nanoseconds if a time needs them,
/// else microseconds.
#[must_use]
pub fn write(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let fine = frames.iter().any(|(time_ns, _)| time_ns % 1000 != 0);
    let (magic, unit_ns) = if fine { (NANOSECONDS, 1) } else { (MICROSECONDS, 1000) };
    let mut file = Vec::with_capacity(24 + frames.iter().map(|(_, bytes)| 16 + bytes.len()).sum::<usize>());
    file.extend_from_slice(&magic.to_le_bytes());
    file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&262_144u32.to_le_bytes());
    file.extend_from_slice(&ETHERNET.to_le_bytes());
    for (time_ns, bytes) in frames {
        let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let fraction = (time_ns % 1_000_000_000 / unit_ns) as u32;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for word in [seconds, fraction, length, length] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for time_ns in [1_700_000_000_123_456_000, 1_700_000_000_123_456_789] {
            let frames = vec![(time_ns, vec![1, 2, 3]), (time_ns, vec![])];
            let read = read(&write(&frames)).unwrap();
            let back: Vec<_> = read.into_iter().map(|frame| (frame.time_ns, frame.bytes)).collect();
            assert_eq!(back, frames);
        }
    }

    #[test]
    fn a_file_cut_short_says_where() {
        let file = write(&[(0, vec![7; 60])]);
        let why = read(&file[..file.len() - 1]).unwrap_err().to_string();
        assert_eq!(why, "at byte 40: packet 1 needs 60 bytes but the file has 59 left; it is cut short");
        assert!(read(&file[..30]).is_err() && read(&file[..23]).is_err() && read(&[]).is_err());
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
        let mut file = write(&[]);
        file[20] = 101;
        assert!(read(&file).unwrap_err().to_string().contains("link type 101"));
    }

    #[test]
    fn both_byte_orders_are_read() {
        let mut file = Vec::new();
        for word in [MICROSECONDS, 0x0002_0004, 0, 0, 65535, ETHERNET, 3, 4, 2, 5] {
            file.extend_from_slice(&word.to_be_bytes());
        }
        file.extend_from_slice(&[9, 9]);
        let frame = Frame { time_ns: 3_000_004_000, bytes: vec![9, 9], cut: true };
        assert_eq!(read(&file).unwrap(), [frame]);
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
}

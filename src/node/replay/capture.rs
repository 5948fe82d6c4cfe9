//! Capture files: reads pcap (microseconds or nanoseconds) and pcapng, writes pcap.
//!
//! Every length in a file is checked against the bytes that the file has.

use std::fmt;

/// Link type of Ethernet.
const ETHERNET: u32 = 1;
/// Link types of Linux cooked captures, as of the interface `any`.
const COOKED: u32 = 113;
const COOKED_2: u32 = 276;
/// Bit of a pcap file's link type: the length of frame check sequences is known.
const FCS_PRESENT: u32 = 1 << 26;
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
/// Options of pcapng: of all blocks, of interfaces, and of packets (draft-ietf-opsawg-pcapng section 4).
const END_OF_OPTIONS: u16 = 0;
const TIME_RESOLUTION: u16 = 9;
const FCS_LENGTH: u16 = 13;
const PACKET_FLAGS: u16 = 2;

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

/// What a capture file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Its frames, in their order.
    pub frames: Vec<Frame>,
    /// Where the file ends in the middle of something, if it does: `frames` are those before.
    pub truncated: Option<CaptureError>,
}

/// Reads a whole capture file. Of a file that is cut short it reads what is there.
///
/// # Errors
/// [`CaptureError`] when the file is neither pcap nor pcapng, is damaged, is cut within its first header, or has another
/// link type than Ethernet.
pub fn read(bytes: &[u8]) -> Result<Capture, CaptureError> {
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
    let why = match link {
        ETHERNET => return Ok(()),
        COOKED | COOKED_2 => {
            "link type Linux cooked, which has no Ethernet headers; capture on one interface in place of `any`".into()
        }
        other => {
            format!("link type {other}, but only Ethernet (1) can be replayed; capture on an Ethernet device")
        }
    };
    error(at, why)
}

/// A frame of which `captured` bytes are there and that had `length` bytes, the last `fcs` of them a frame check
/// sequence, which the pipeline does not know.
fn frame(time_ns: u64, captured: &[u8], length: usize, fcs: usize) -> Frame {
    let length = length.saturating_sub(fcs);
    let kept = captured.get(..length).unwrap_or(captured);
    Frame { time_ns, bytes: kept.to_vec(), cut: kept.len() < length }
}

fn pcap(file: &mut Cursor<'_>, unit_ns: u64) -> Result<Capture, CaptureError> {
    file.take(20, "the file header")?;
    // The lower 16 bits are the link type. The highest 4 are the length of frame check sequences in units of 2 bytes,
    // if the bit for it is set (draft-ietf-opsawg-pcap section 4).
    let word = file.number("the file header")?;
    ethernet_only(20, word & 0xffff)?;
    let fcs = if word & FCS_PRESENT == 0 { 0 } else { (word >> 28) as usize * 2 };
    let mut frames = Vec::new();
    while !file.done() {
        match pcap_packet(file, frames.len() + 1, unit_ns, fcs) {
            Ok(frame) => frames.push(frame),
            Err(truncated) => return Ok(Capture { frames, truncated: Some(truncated) }),
        }
    }
    Ok(Capture { frames, truncated: None })
}

/// The next packet, the `number`th; it fails only where the file is cut short.
fn pcap_packet(
    file: &mut Cursor<'_>,
    number: usize,
    unit_ns: u64,
    fcs: usize,
) -> Result<Frame, CaptureError> {
    let what = format!("the header of packet {number}");
    let seconds = file.number(&what)?;
    let fraction = file.number(&what)?;
    let captured = file.number(&what)?;
    let length = file.number(&what)?;
    let bytes = file.take(captured as usize, &format!("packet {number}"))?;
    let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit_ns;
    Ok(frame(time_ns, bytes, length as usize, fcs))
}

/// An interface that a pcapng section describes.
struct Interface {
    link: u32,
    snap_length: u32,
    units_per_second: u128,
    /// Bytes of the frame check sequence at the end of each frame.
    fcs: usize,
}

fn pcapng(file: &mut Cursor<'_>) -> Result<Capture, CaptureError> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut frames = Vec::new();
    let mut last_ns = 0;
    while !file.done() {
        let start = file.at;
        let (kind, body) = match block(file) {
            Ok(block) => block,
            Err(Stop::Damaged(why)) => return Err(why),
            Err(Stop::Cut(why)) if start == 0 => return Err(why),
            Err(Stop::Cut(why)) => return Ok(Capture { frames, truncated: Some(why) }),
        };
        let mut block = Cursor { bytes: body, at: 0, big: file.big };
        let read = match kind {
            SECTION => {
                interfaces.clear();
                Ok(())
            }
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
    Ok(Capture { frames, truncated: None })
}

/// Why there is no next block.
enum Stop {
    /// The file is cut short.
    Cut(CaptureError),
    /// What is there makes no sense.
    Damaged(CaptureError),
}

/// Kind and body of the next block. A section sets the byte order of the file.
fn block<'f>(file: &mut Cursor<'f>) -> Result<(u32, &'f [u8]), Stop> {
    let start = file.at;
    let damaged = |at, why: String| Err(Stop::Damaged(CaptureError { at, why }));
    if file.peek() == Some(SECTION) {
        let magic = file.bytes.get(start + 8..).and_then(|rest| rest.first_chunk::<4>());
        file.big = match magic.map(|magic| u32::from_le_bytes(*magic)) {
            Some(BYTE_ORDER) => false,
            Some(magic) if magic.swap_bytes() == BYTE_ORDER => true,
            None => {
                let why = "a section needs 12 bytes or more; the file is cut short".to_owned();
                return Err(Stop::Cut(CaptureError { at: start, why }));
            }
            Some(_) => {
                return damaged(start + 8, "a section without byte-order magic; the file is damaged".into());
            }
        };
    }
    let kind = file.number("a block").map_err(Stop::Cut)?;
    let length = file.number("a block").map_err(Stop::Cut)? as usize;
    if length < 12 || !length.is_multiple_of(4) {
        return damaged(start + 4, format!("a block cannot have {length} bytes; the file is damaged"));
    }
    let body = file.take(length - 8, "a block").map_err(Stop::Cut)?;
    Ok((kind, &body[..body.len() - 4]))
}

/// Reads options up to their end, each by code and value.
fn options(
    block: &mut Cursor<'_>,
    mut each: impl FnMut(u16, &[u8]) -> Result<(), String>,
) -> Result<(), CaptureError> {
    while !block.done() {
        let (code, length) = (block.short("an option")?, usize::from(block.short("an option")?));
        if code == END_OF_OPTIONS {
            break;
        }
        let value = block.take(length, "an option")?;
        block.take(length.next_multiple_of(4) - length, "an option's padding")?;
        each(code, value).map_err(|why| CaptureError { at: block.at, why })?;
    }
    Ok(())
}

fn interface(block: &mut Cursor<'_>) -> Result<Interface, CaptureError> {
    let what = "an interface";
    let link = u32::from(block.short(what)?);
    block.short(what)?;
    let snap_length = block.number(what)?;
    let mut interface = Interface { link, snap_length, units_per_second: 1_000_000, fcs: 0 };
    options(block, |code, value| {
        match (code, value.first()) {
            (TIME_RESOLUTION, Some(exponent)) => {
                let power = u32::from(exponent & 0x7f);
                let base: u128 = if exponent & 0x80 == 0 { 10 } else { 2 };
                let units = base.checked_pow(power);
                interface.units_per_second =
                    units.ok_or_else(|| format!("a time resolution of {base}^-{power} s is too fine"))?;
            }
            // Some programs write bytes and some bits; no link has a sequence of more than 8 bytes.
            (FCS_LENGTH, Some(length @ ..=8)) => interface.fcs = usize::from(*length),
            (FCS_LENGTH, Some(bits)) => interface.fcs = usize::from(*bits) / 8,
            _ => {}
        }
        Ok(())
    })?;
    Ok(interface)
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
        let bytes = block.take(length.min(limit) as usize, what)?;
        // A simple packet has no time. It gets that of the packet before.
        return Ok(frame(last_ns, bytes, length as usize, from.fcs));
    }
    let units = (u64::from(block.number(what)?) << 32) | u64::from(block.number(what)?);
    let captured = block.number(what)? as usize;
    let length = block.number(what)? as usize;
    let bytes = block.take(captured, what)?;
    let time_ns = u128::from(units).saturating_mul(1_000_000_000) / from.units_per_second;
    let big = block.big;
    let mut fcs = from.fcs;
    block.take(captured.next_multiple_of(4) - captured, "a packet's padding")?;
    options(block, |code, value| {
        if let (PACKET_FLAGS, Some(flags)) = (code, value.first_chunk()) {
            let flags = if big { u32::from_be_bytes(*flags) } else { u32::from_le_bytes(*flags) };
            // Bits 5 to 8, in bytes; 0: not known.
            let length = (flags >> 5 & 0xf) as usize;
            fcs = if length > 0 { length } else { fcs };
        }
        Ok(())
    })?;
    Ok(frame(u64::try_from(time_ns).unwrap_or(u64::MAX), bytes, length, fcs))
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
mod tests;

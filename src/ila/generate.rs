//! Making identifiers for tasks: both methods of appendix A of the ILA draft, and the odds of a collision.
//!
//! Pure arithmetic on the entropy that the caller gives: no clock is read here, nothing is remembered but the last
//! stamp of a [`Block`].
//!
//! No identifier made here ends in 0x0000 or 0xffff. Neutral mapping cannot tell these two apart
//! ([`Identifier::zero_alias`]), so that the second of a pair would have to be refused, and peers that turn 0x0000 into 0xffff
//! lose the first. Both methods pass over them and go on with the next stamp: of 60 bits this costs less than
//! 0.00005 bit, and no registry ever has to refuse what was made here for its twin.

use super::Identifier;
use crate::net::Mac;
use crate::net::mac::MacError;
use sha1::{Digest, Sha1};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bits of a locally unique identifier (§3.5).
pub const BITS: u32 = 60;
/// Bits of a registrar block (appendix A.2).
pub const REGISTRAR_BITS: u32 = 24;
/// Bits of a stamp within a block (appendix A.2).
pub const STAMP_BITS: u32 = 36;
/// Milliseconds of a stamp: appendix A.2 allows 100 identifiers a second, which lasts 21.8 years.
pub const TICK_MS: u64 = 10;

/// The type bits of a locally unique identifier; the C-bit is clear.
const LOCALLY_UNIQUE: u64 = 1 << 61;
/// Seconds from 1900, where NTP starts, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// A time in the 64-bit format of NTP: seconds since 1900 modulo 2^32, and a fraction of 2^32 (RFC 5905 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The time that is this long after 1970.
    #[must_use]
    pub const fn of_unix(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs().wrapping_add(NTP_TO_UNIX_S);
        let fraction = ((since_1970.subsec_nanos() as u64) << 32) / 1_000_000_000;
        // The shift drops the era.
        NtpTime((seconds << 32) | fraction)
    }
}

/// A machine's EUI-64, or the modified EUI-64 of its MAC address (RFC 4193 §3.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Eui64(pub u64);

impl From<Mac> for Eui64 {
    fn from(mac: Mac) -> Self {
        Eui64(mac.modified_eui_64())
    }
}

impl fmt::Display for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.to_be_bytes().iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Eui64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an EUI-64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither an EUI-64 nor a MAC address; write for example 02:00:00:ff:fe:00:00:0a or 02:00:00:00:00:0a"
)]
pub struct Eui64Error(String);

impl FromStr for Eui64 {
    type Err = Eui64Error;

    /// Eight hexadecimal bytes, or the six of a MAC address.
    fn from_str(text: &str) -> Result<Self, Eui64Error> {
        let wrong = || Eui64Error(text.to_owned());
        if text.split([':', '-']).count() == 6 {
            return text.parse::<Mac>().map(Eui64::from).map_err(|_: MacError| wrong());
        }
        let mut value = 0u64;
        let mut bytes = 0;
        for part in text.split([':', '-']) {
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            value = (value << 8) | u64::from_str_radix(part, 16).map_err(|_| wrong())?;
            bytes += 1;
        }
        if bytes == 8 { Ok(Eui64(value)) } else { Err(wrong()) }
    }
}

/// The 60 bits as an identifier, unless it would have a twin.
fn without_zero_alias(bits: u64) -> Option<Identifier> {
    let identifier = Identifier(LOCALLY_UNIQUE | bits & ((1 << BITS) - 1));
    if identifier.zero_alias().is_some() { None } else { Some(identifier) }
}

/// Identifiers by the method of globally unique identifiers (appendix A.1): the low 60 bits of the SHA-1 digest of a time
/// in NTP format and an EUI-64, as RFC 4193 §3.2.2 takes the low 40 for a prefix.
///
/// Each identifier takes a time of its own, 2^-32 s after the one before: faster than they can be hashed, so that
/// later calls with a clock that goes forward never meet the same time. It does not end.
#[derive(Debug, Clone)]
pub struct Hashed {
    time: u64,
    host: u64,
}

impl Hashed {
    /// Starts at `time` on machine `host`.
    #[must_use]
    pub const fn new(time: NtpTime, host: Eui64) -> Self {
        Hashed { time: time.0, host: host.0 }
    }
}

impl Iterator for Hashed {
    type Item = Identifier;

    fn next(&mut self) -> Option<Identifier> {
        loop {
            let digest = Sha1::new()
                .chain_update(self.time.to_be_bytes())
                .chain_update(self.host.to_be_bytes())
                .finalize();
            self.time = self.time.wrapping_add(1);
            // One in 32768 is passed over.
            if let Some(identifier) =
                without_zero_alias(digest.last_chunk().map_or(0, |low| u64::from_be_bytes(*low)))
            {
                return Some(identifier);
            }
        }
    }
}

/// A registrar block: 24 bits that one agent, say a host, has for itself (appendix A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registrar(u32);

impl Registrar {
    /// The block with this number; `None` above 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number >> REGISTRAR_BITS == 0 { Some(Registrar(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Why a text is not a registrar block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a registrar block; write a number from 0 to 16777215, for example 42 or 0x00002a")]
pub struct RegistrarError(String);

impl FromStr for Registrar {
    type Err = RegistrarError;

    /// A decimal number, or a hexadecimal one after `0x`.
    fn from_str(text: &str) -> Result<Self, RegistrarError> {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
        // A sign would be accepted otherwise.
        let plain = digits.bytes().all(|c| c.is_ascii_hexdigit());
        let number = if plain { u32::from_str_radix(digits, radix).ok() } else { None };
        number.and_then(Registrar::new).ok_or_else(|| RegistrarError(text.to_owned()))
    }
}

/// Identifiers by the method of universally unique identifiers (appendix A.2): 24 bits of registrar block, 36 bits of
/// stamp, which counts hundredths of a second.
///
/// Within a block no stamp is given twice for 21.8 years: whoever draws faster than the clock borrows from the future,
/// and a clock that goes back is not followed. After a restart the block must be [resumed](Block::resume), or not be
/// used before [`Block::busy_until`]. Stamps count from 1970: the seconds of NTP start again in 2036, and stamps
/// counted from them would then repeat those of the years before.
#[derive(Debug, Clone)]
pub struct Block {
    registrar: Registrar,
    /// The first tick that is free, counted from 1970 in full.
    free: u64,
}

impl Block {
    /// A block of which no identifier was drawn yet.
    #[must_use]
    pub const fn new(registrar: Registrar) -> Self {
        Block { registrar, free: 0 }
    }

    /// A block that was in use until `busy_until`, a time since 1970.
    #[must_use]
    pub const fn resume(registrar: Registrar, busy_until: Duration) -> Self {
        Block { registrar, free: ticks(busy_until) }
    }

    /// The time since 1970 when the last stamp given is over.
    #[must_use]
    pub const fn busy_until(&self) -> Duration {
        Duration::from_millis(self.free.saturating_mul(TICK_MS))
    }

    /// The next identifier at the time `now` since 1970.
    #[must_use]
    pub fn draw(&mut self, now: Duration) -> Identifier {
        let mut tick = self.free.max(ticks(now));
        loop {
            let stamp = tick & ((1 << STAMP_BITS) - 1);
            tick = tick.wrapping_add(1);
            // At most two in a row are passed over: 0xffff and the 0x0000 after it.
            if let Some(identifier) = without_zero_alias((u64::from(self.registrar.0) << STAMP_BITS) | stamp)
            {
                self.free = tick;
                return identifier;
            }
        }
    }
}

/// Ticks in `time`.
const fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK_MS as u128) as u64
}

/// The probability that among `population` identifiers of `bits` random bits two are the same.
///
/// `P = 1 - exp(-N² / 2^(L+1))` (appendix A.1, as in RFC 4193 §3.2.3): an approximation for `N` well below `2^L`, a
/// little too high for small `N`. Small odds keep all their digits: they are not taken from 1.
#[must_use]
pub fn collision_odds(population: u64, bits: u32) -> f64 {
    let n = population as f64;
    -(-(n * n) / f64::from(bits + 1).exp2()).exp_m1()
}

#[cfg(test)]
mod tests;

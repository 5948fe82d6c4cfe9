//! Generates identifiers for tasks by both methods of ILA draft appendix A, and computes the odds of a collision.
//!
//! Pure arithmetic on the time and host that the caller passes. The module reads no clock. It keeps no state but the
//! next time of a [`Hashed`] and the next free stamp of a [`Block`].
//!
//! No generated identifier ends in 0x0000 or 0xffff. Neutral mapping cannot tell these two apart
//! ([`Identifier::zero_alias`]): a registry would have to refuse the second of such a pair, and a peer that turns
//! 0x0000 into 0xffff would lose the first. Both methods skip such an identifier and go on with the next time or
//! stamp. This costs less than 0.00005 of the 60 bits, and no registry has to refuse a generated identifier because
//! of its zero alias.

use super::{Identifier, IdentifierType};
use crate::net::Mac;
use crate::net::mac::MacError;
use sha1::{Digest, Sha1};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bits of a locally unique identifier (ILA draft §3.5).
pub const BITS: u32 = 60;
/// Bits of a registrar block (ILA draft appendix A.2).
pub const REGISTRAR_BITS: u32 = 24;
/// Bits of a stamp within a block (ILA draft appendix A.2).
pub const STAMP_BITS: u32 = 36;
/// Length of one stamp in milliseconds. ILA draft appendix A.2 allows 100 identifiers a second, which lasts 21.8 years.
pub const TICK_MS: u64 = 10;

/// The type bits of a locally unique identifier; the C-bit is clear.
const LOCALLY_UNIQUE: u64 = 1 << 61;
/// Seconds from 1900, the NTP epoch, to 1970, the Unix epoch.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// A time in the 64-bit format of NTP: seconds since 1900 modulo 2^32, and a fraction of 2^32 (RFC 5905 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The time `since_1970` after the Unix epoch.
    #[must_use]
    pub const fn of_unix(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs().wrapping_add(NTP_TO_UNIX_S);
        let fraction = ((since_1970.subsec_nanos() as u64) << 32) / 1_000_000_000;
        // The shift drops the bits above 32: the NTP era number.
        NtpTime((seconds << 32) | fraction)
    }
}

/// The EUI-64 of a machine, or the modified EUI-64 of its MAC address (RFC 4193 §3.2.2).
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

    /// Reads eight hexadecimal bytes, or the six of a MAC address, separated by colons or hyphens.
    ///
    /// # Errors
    /// [`Eui64Error`] for any other text.
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

/// The low 60 bits of `bits` as a locally unique identifier; `None` when it would have a zero alias.
fn without_zero_alias(bits: u64) -> Option<Identifier> {
    let identifier = Identifier(LOCALLY_UNIQUE | bits & ((1 << BITS) - 1));
    if identifier.zero_alias().is_some() { None } else { Some(identifier) }
}

/// Generates globally unique identifiers (ILA draft appendix A.1).
///
/// An identifier is the low 60 bits of the SHA-1 digest of a time in NTP format and an EUI-64. RFC 4193 §3.2.2 takes
/// the low 40 bits of the same digest for a prefix. Each identifier uses its own time, 2^-32 s after the previous
/// one. No machine hashes that fast, so that a later start with a clock that went forward never reuses a time. The
/// iterator does not end.
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
            // One digest in 32768 is skipped.
            if let Some(identifier) =
                without_zero_alias(digest.last_chunk().map_or(0, |low| u64::from_be_bytes(*low)))
            {
                return Some(identifier);
            }
        }
    }
}

/// A registrar block: 24 bits that are assigned to one agent, for example a host (ILA draft appendix A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registrar(u32);

impl Registrar {
    /// The block with this number; `None` when the number has more than 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number >> REGISTRAR_BITS == 0 { Some(Registrar(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The block that an identifier of a task is in; `None` for identifiers of other types.
    #[must_use]
    pub const fn of(identifier: Identifier) -> Option<Self> {
        match identifier.kind() {
            IdentifierType::LocallyUnique => Some(Registrar((identifier.0 << 4 >> 4 >> STAMP_BITS) as u32)),
            _ => None,
        }
    }

    /// Its first and its last identifier.
    #[must_use]
    pub const fn range(self) -> (Identifier, Identifier) {
        let first = LOCALLY_UNIQUE | (self.0 as u64) << STAMP_BITS;
        (Identifier(first), Identifier(first | ((1 << STAMP_BITS) - 1)))
    }
}

impl fmt::Display for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}

/// Why a text is not a registrar block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a registrar block; write a number from 0 to 16777215, for example 42 or 0x00002a")]
pub struct RegistrarError(String);

impl FromStr for Registrar {
    type Err = RegistrarError;

    /// Reads a decimal number, or a hexadecimal one after `0x`.
    ///
    /// # Errors
    /// [`RegistrarError`] for any other text and for numbers above 16777215.
    fn from_str(text: &str) -> Result<Self, RegistrarError> {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
        // `from_str_radix` accepts a sign; this check does not.
        let plain = digits.bytes().all(|c| c.is_ascii_hexdigit());
        let number = if plain { u32::from_str_radix(digits, radix).ok() } else { None };
        number.and_then(Registrar::new).ok_or_else(|| RegistrarError(text.to_owned()))
    }
}

/// Generates universally unique identifiers (ILA draft appendix A.2): 24 bits of registrar block, then 36 bits of
/// stamp.
///
/// A stamp counts hundredths of a second. Within a block no stamp repeats for 21.8 years. A caller that draws faster
/// than the clock receives stamps of future times; a clock that goes back is ignored. After a restart the caller must
/// [resume](Block::resume) the block, or not use it before [`Block::busy_until`]. Stamps count from 1970, not from the
/// NTP epoch: NTP seconds wrap in 2036, and stamps counted from them would then repeat earlier ones.
#[derive(Debug, Clone)]
pub struct Block {
    registrar: Registrar,
    /// The first free tick, counted from 1970 and not cut to [`STAMP_BITS`].
    free: u64,
}

impl Block {
    /// A block from which no identifier was drawn yet.
    #[must_use]
    pub const fn new(registrar: Registrar) -> Self {
        Block { registrar, free: 0 }
    }

    /// A block that was in use until `busy_until`, a time since 1970.
    #[must_use]
    pub const fn resume(registrar: Registrar, busy_until: Duration) -> Self {
        Block { registrar, free: ticks(busy_until) }
    }

    /// A block of which identifiers up to this one were in use before `now`, a time since 1970. Stamps wrap: of all times
    /// that the stamp may mean it is the one nearest to `now`.
    #[must_use]
    pub const fn after(registrar: Registrar, last: Identifier, now: Duration) -> Self {
        let wrap = 1 << STAMP_BITS;
        let now = ticks(now);
        let ahead = last.0.wrapping_add(1).wrapping_sub(now) & (wrap - 1);
        let free = if ahead < wrap / 2 { now + ahead } else { now.saturating_sub(wrap - ahead) };
        Block { registrar, free }
    }

    /// Draws the next identifier whose stamp is over at `now`, a time since 1970, and at most `back` before it: so much may
    /// be drawn at once, and nothing is drawn of times to come. `None` if there is none.
    #[must_use]
    pub fn draw_past(&mut self, now: Duration, back: Duration) -> Option<Identifier> {
        let mut next = self.clone();
        let identifier = next.draw(now.saturating_sub(back));
        (next.free <= ticks(now)).then(|| {
            *self = next;
            identifier
        })
    }

    /// The time since 1970 at which the last drawn stamp ends.
    #[must_use]
    pub const fn busy_until(&self) -> Duration {
        Duration::from_millis(self.free.saturating_mul(TICK_MS))
    }

    /// Draws the next identifier. `now` is the time since 1970.
    #[must_use]
    pub fn draw(&mut self, now: Duration) -> Identifier {
        let mut tick = self.free.max(ticks(now));
        loop {
            let stamp = tick & ((1 << STAMP_BITS) - 1);
            tick = tick.wrapping_add(1);
            // The loop skips at most two stamps in a row: 0xffff and the 0x0000 after it.
            if let Some(identifier) = without_zero_alias((u64::from(self.registrar.0) << STAMP_BITS) | stamp)
            {
                self.free = tick;
                return identifier;
            }
        }
    }
}

/// Number of whole ticks in `time`.
const fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK_MS as u128) as u64
}

/// The probability that two of `population` identifiers with `bits` random bits are equal.
///
/// The formula is `P = 1 - exp(-N² / 2^(L+1))` (ILA draft appendix A.1, RFC 4193 §3.2.3). It approximates for `N` well
/// below `2^L` and is a little too high for small `N`. Small odds keep their precision, because the code computes
/// `exp(x) - 1` and never subtracts from 1.
#[must_use]
pub fn collision_odds(population: u64, bits: u32) -> f64 {
    let n = population as f64;
    -(-(n * n) / f64::from(bits + 1).exp2()).exp_m1()
}

#[cfg(test)]
mod tests;

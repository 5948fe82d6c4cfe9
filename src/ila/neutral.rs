//! Checksum-neutral mapping (ILA draft §4.4.1; step 3 has the sign of later revisions of the draft and of Linux).
//!
//! Outward, `low16' = low16 +' (Σ SIR prefix -' Σ locator) +' 0xefff`, and the C-bit is set. Inward, the sign is the
//! opposite, the constant is `+' 0x1000`, and the C-bit is cleared. `+'`, `-'` and `Σ` are one's complement
//! operations on 16-bit words. The adjustment is fixed for each pair of SIR prefix and locator.
//!
//! One's complement has two zeros: low words 0x0000 and 0xffff map to the same value on the wire. back(there(i)) is
//! therefore `i` or its [`Identifier::zero_alias`]. The receiver finds out which by looking both up among its local
//! identifiers.

use super::identifier::{C_BIT, Identifier};
use super::prefix::{Locator, SirPrefix};
use crate::net::checksum::{add, sub, sum_of_half};

/// How translation treats transport checksums. The names are those of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumMode {
    /// Neutral mapping, marked by the C-bit.
    #[default]
    NeutralMap,
    /// Neutral mapping without the C-bit: sender and receiver are configured alike.
    NeutralMapAuto,
    /// The TCP, UDP or ICMPv6 checksum in the packet is corrected.
    AdjTransport,
    /// No change: the checksum stays that over the SIR address.
    NoAction,
}

impl ChecksumMode {
    /// Every mode, in the order of the documentation.
    pub const ALL: [ChecksumMode; 4] = [
        ChecksumMode::NeutralMap,
        ChecksumMode::NeutralMapAuto,
        ChecksumMode::AdjTransport,
        ChecksumMode::NoAction,
    ];

    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ChecksumMode::NeutralMap => "neutral-map",
            ChecksumMode::NeutralMapAuto => "neutral-map-auto",
            ChecksumMode::AdjTransport => "adj-transport",
            ChecksumMode::NoAction => "no-action",
        }
    }

    /// Whether the low word of the identifier changes on the wire, so that an identifier can have a zero alias.
    #[must_use]
    pub const fn changes_identifier(self) -> bool {
        matches!(self, ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto)
    }
}

/// The adjustment of one (SIR prefix, locator) pair: `Σ SIR prefix -' Σ locator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Adjustment(pub u16);

impl Adjustment {
    /// Computes the adjustment of a pair. Callers do so once per mapping, not per packet.
    #[must_use]
    pub const fn of(sir: SirPrefix, locator: Locator) -> Self {
        Adjustment(sub(sum_of_half(sir.0), sum_of_half(locator.0)))
    }

    /// The adjustment when translation changes more than SIR prefix and locator (identifiers of type 3). `delta` is the
    /// one's complement sum of the additional change.
    #[inline]
    #[must_use]
    pub const fn with(self, delta: u16) -> Self {
        Adjustment(add(self.0, delta))
    }

    /// The value to add to the low word from SIR address to wire. With `sets_c` it also compensates the C-bit.
    #[inline]
    #[must_use]
    pub const fn outward(self, sets_c: bool) -> u16 {
        if sets_c { add(self.0, 0xefff) } else { self.0 }
    }

    /// The value to add to the low word from wire to SIR address. With `clears_c` it also compensates the C-bit.
    #[inline]
    #[must_use]
    pub const fn inward(self, clears_c: bool) -> u16 {
        if clears_c { add(!self.0, 0x1000) } else { !self.0 }
    }
}

/// Adds `value` to the identifier's low word in one's complement.
#[inline]
#[must_use]
pub const fn add_low(identifier: u64, value: u16) -> u64 {
    (identifier & !0xffff) | add(identifier as u16, value) as u64
}

/// Maps the identifier of a SIR address to the identifier on the wire.
#[inline]
#[must_use]
pub const fn there(identifier: Identifier, adjustment: Adjustment, mode: ChecksumMode) -> Identifier {
    match mode {
        ChecksumMode::NeutralMap => Identifier(add_low(identifier.0, adjustment.outward(true)) | C_BIT),
        ChecksumMode::NeutralMapAuto => Identifier(add_low(identifier.0, adjustment.outward(false))),
        ChecksumMode::AdjTransport | ChecksumMode::NoAction => identifier,
    }
}

/// Whether neutral mapping has changed an identifier on the wire, so that it may stand for an identifier or its zero
/// alias.
#[inline]
#[must_use]
pub const fn was_mapped(wire: Identifier, mode: ChecksumMode) -> bool {
    wire.neutral() || matches!(mode, ChecksumMode::NeutralMapAuto)
}

/// The value to add to the low word of an identifier on the wire to undo neutral mapping. A set C-bit is honoured in
/// every mode (ILA draft §4.2.2, step 3).
#[inline]
#[must_use]
pub const fn inverse(adjustment: Adjustment, mode: ChecksumMode, c_bit: bool) -> u16 {
    match mode {
        _ if c_bit => adjustment.inward(true),
        ChecksumMode::NeutralMapAuto => adjustment.inward(false),
        ChecksumMode::NeutralMap | ChecksumMode::AdjTransport | ChecksumMode::NoAction => 0,
    }
}

/// Maps the identifier on the wire back to that of the SIR address, or to its zero alias
/// ([`Identifier::zero_alias`]). The C-bit of the result is 0.
#[inline]
#[must_use]
pub const fn back(wire: Identifier, adjustment: Adjustment, mode: ChecksumMode) -> Identifier {
    Identifier(add_low(wire.0 & !C_BIT, inverse(adjustment, mode, wire.neutral())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::checksum::sum_of_address;
    use proptest::prelude::*;

    // ILA draft §4.4.1
    #[test]
    fn as_linux_sends_it() {
        let sir: SirPrefix = "2001:db8:0:1::/64".parse().unwrap();
        let locator: Locator = "fd00:1:2:3::/64".parse().unwrap();
        let wire =
            there(Identifier(0x2000_0000_0000_0001), Adjustment::of(sir, locator), ChecksumMode::NeutralMap);
        assert_eq!(std::net::Ipv6Addr::from(locator.with(wire)).to_string(), "fd00:1:2:3:3000::20b4");
    }

    fn same_or_zero_alias(a: Identifier, b: Identifier) -> bool {
        a == b || a.zero_alias() == Some(b)
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_identity_up_to_the_twin(sir: u64, locator: u64, value: u64, auto: bool) {
            let mode = if auto { ChecksumMode::NeutralMapAuto } else { ChecksumMode::NeutralMap };
            let id = Identifier(value & !C_BIT);
            let adjustment = Adjustment::of(SirPrefix(sir), Locator(locator));
            let round = back(there(id, adjustment, mode), adjustment, mode);
            prop_assert!(same_or_zero_alias(id, round), "{id} {round}");
            if id.zero_alias().is_none() { prop_assert_eq!(id, round); }
        }

        #[test]
        fn the_address_sum_does_not_change(sir: u64, locator: u64, value: u64, auto: bool) {
            let mode = if auto { ChecksumMode::NeutralMapAuto } else { ChecksumMode::NeutralMap };
            let id = Identifier(value & !C_BIT);
            let (sir, locator) = (SirPrefix(sir), Locator(locator));
            let wire = there(id, Adjustment::of(sir, locator), mode);
            let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
            prop_assert_eq!(zero(sum_of_address(sir.with(id))), zero(sum_of_address(locator.with(wire))));
        }

        #[test]
        fn twins_meet_on_the_wire(sir: u64, locator: u64, value: u64) {
            let id = Identifier(value & !C_BIT & !0xffff);
            let adjustment = Adjustment::of(SirPrefix(sir), Locator(locator));
            let wire = |id| {
                let low = there(id, adjustment, ChecksumMode::NeutralMap).0;
                if low as u16 == 0xffff { low & !0xffff } else { low }
            };
            prop_assert_eq!(wire(id), wire(id.zero_alias().unwrap()));
        }
    }
}

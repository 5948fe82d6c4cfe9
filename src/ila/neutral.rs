//! Checksum-neutral mapping (ILA draft §4.4.1, with the sign of step 3 as later revisions and Linux have it).
//!
//! `low16' = low16 +' (Σ SIR prefix -' Σ locator) +' 0xefff`, then the C-bit is set; backwards with the
//! opposite sign and `+' 0x1000`. The adjustment is fixed per (SIR prefix, locator).
//!
//! One's complement has two zeros: 0x0000 and 0xffff as a low word map to the same value on the wire.
//! The law of the round trip is therefore: back(there(i)) is `i` or its [`Identifier::zero_alias`], and who
//! knows the local identifiers tells them apart.

use super::identifier::{C_BIT, Identifier};
use super::prefix::{Locator, SirPrefix};
use crate::net::checksum::{add, sub, sum_of_half};

/// What happens to transport checksums under translation, by the names that Linux uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumMode {
    /// Neutral mapping, marked by the C-bit.
    #[default]
    NeutralMap,
    /// Neutral mapping without a mark: sender and receiver know.
    NeutralMapAuto,
    /// The TCP, UDP or ICMPv6 checksum in the packet is corrected.
    AdjTransport,
    /// Nothing: the checksum stays that of the SIR address.
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

    /// Whether the identifier's low word changes on the wire, so that two identifiers can be twins.
    #[must_use]
    pub const fn changes_identifier(self) -> bool {
        matches!(self, ChecksumMode::NeutralMap | ChecksumMode::NeutralMapAuto)
    }
}

/// The adjustment of one (SIR prefix, locator) pair: `Σ SIR prefix -' Σ locator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Adjustment(pub u16);

impl Adjustment {
    /// Computes the pair's adjustment; done once per mapping, never per packet.
    #[must_use]
    pub const fn of(sir: SirPrefix, locator: Locator) -> Self {
        Adjustment(sub(sum_of_half(sir.0), sum_of_half(locator.0)))
    }

    /// The adjustment where `extra` more changes than SIR prefix and locator (identifiers of type 3).
    #[inline]
    #[must_use]
    pub const fn with(self, delta: u16) -> Self {
        Adjustment(add(self.0, delta))
    }

    /// What is added to the low word on the way out, the C-bit's weight included when it is set.
    #[inline]
    #[must_use]
    pub const fn outward(self, sets_c: bool) -> u16 {
        if sets_c { add(self.0, 0xefff) } else { self.0 }
    }

    /// What is added to the low word on the way back, the C-bit's weight included when it is cleared.
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

/// The identifier on the wire.
#[inline]
#[must_use]
pub const fn there(identifier: Identifier, adjustment: Adjustment, mode: ChecksumMode) -> Identifier {
    match mode {
        ChecksumMode::NeutralMap => Identifier(add_low(identifier.0, adjustment.outward(true)) | C_BIT),
        ChecksumMode::NeutralMapAuto => Identifier(add_low(identifier.0, adjustment.outward(false))),
        ChecksumMode::AdjTransport | ChecksumMode::NoAction => identifier,
    }
}

/// Whether an identifier on the wire was changed by neutral mapping, so that it may stand for either of two twins.
#[inline]
#[must_use]
pub const fn was_mapped(wire: Identifier, mode: ChecksumMode) -> bool {
    wire.neutral() || matches!(mode, ChecksumMode::NeutralMapAuto)
}

/// What is added to the low word of an identifier on the wire to undo neutral mapping, by its C-bit. A set C-bit is
/// honoured in every mode (§4.2.2 step 3).
#[inline]
#[must_use]
pub const fn inverse(adjustment: Adjustment, mode: ChecksumMode, c_bit: bool) -> u16 {
    match mode {
        _ if c_bit => adjustment.inward(true),
        ChecksumMode::NeutralMapAuto => adjustment.inward(false),
        ChecksumMode::NeutralMap | ChecksumMode::AdjTransport | ChecksumMode::NoAction => 0,
    }
}

/// The identifier of the SIR address, up to its zero alias (see [`Identifier::zero_alias`]). Its C-bit is 0.
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

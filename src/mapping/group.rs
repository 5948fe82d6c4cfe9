//! Rules for mappings of groups: which identifiers can be groups, and where their copies go.

use super::LocatorChoice;
use crate::ila::group::{ipv4_leaves_link, is_group, leaves_link, yields_to_zero_alias};
use crate::ila::{Identifier, IdentifierType};

/// Judges the locators of a group's mapping: every one gets a copy, so priorities and weights mean nothing.
/// Locators of other identifiers pass.
///
/// # Errors
/// A locator with priority or weight.
pub fn judge_group_choices(identifier: Identifier, choices: &[LocatorChoice]) -> Result<(), String> {
    let chosen = choices.iter().find(|choice| choice.priority != 0 || choice.weight != 1);
    match chosen.filter(|_| is_group(identifier)) {
        Some(choice) => Err(format!(
            "{} has priority or weight, but every locator of a group gets a copy; leave them out",
            choice.locator
        )),
        None => Ok(()),
    }
}

/// Judges the identifier of a group. `zero_aliases`: the domain's checksum mode changes identifiers, so that
/// two that differ only in a low word of 0000 or ffff cannot be told apart on the wire.
///
/// # Errors
/// A group that never leaves its link, an IPv4 address that is no group's, or the second of two zero aliases.
pub fn judge_group_identifier(identifier: Identifier, zero_aliases: bool) -> Result<(), String> {
    let low = identifier.0 as u32;
    let multicast = identifier.kind() == IdentifierType::TenantMulticast;
    if multicast && !leaves_link((low >> 28) as u8) {
        return Err(format!(
            "is a group of scope {:x}, which never leaves its link; write 3 to e",
            low >> 28
        ));
    }
    if !multicast && low != u32::MAX && !ipv4_leaves_link(low) {
        return Err(
            "is an IPv4 address that never leaves its link, or nobody's; write a group from 224.0.1.0 to \
                    239.255.255.255, or 255.255.255.255"
                .to_owned(),
        );
    }
    if zero_aliases && yields_to_zero_alias(identifier) {
        return Err("ends in ffff, which neutral mapping cannot tell from 0000; use another group".to_owned());
    }
    Ok(())
}

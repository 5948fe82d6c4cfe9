//! Keys and locators as they stand in files.

use crate::ila::Locator;
use crate::nva::model::{Choice, Key, MAX_LOCATORS};

/// The order of keys is that of their bytes.
pub(in crate::nva) fn write_key(key: Key) -> [u8; 16] {
    (u128::from(key.sir_prefix) << 64 | u128::from(key.identifier)).to_be_bytes()
}

pub(in crate::nva) fn read_key(bytes: [u8; 16]) -> Key {
    let bits = u128::from_be_bytes(bytes);
    Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 }
}

/// Appends the locators with priority and weight.
pub(in crate::nva) fn write_choices(choices: &[Choice], bytes: &mut Vec<u8>) {
    for Choice { locator, priority, weight } in choices {
        bytes.extend(locator.0.to_be_bytes());
        bytes.push(*priority);
        bytes.extend(weight.to_be_bytes());
    }
}

/// What [`write_choices`] wrote; `None` for anything else.
pub(in crate::nva) fn read_choices(bytes: &[u8]) -> Option<Vec<Choice>> {
    let (choices, cut) = bytes.as_chunks::<11>();
    let choice = |[a, b, c, d, e, f, g, h, priority, i, j]: &[u8; 11]| Choice {
        locator: Locator(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        priority: *priority,
        weight: u16::from_be_bytes([*i, *j]),
    };
    (cut.is_empty() && choices.len() <= MAX_LOCATORS).then(|| choices.iter().map(choice).collect())
}

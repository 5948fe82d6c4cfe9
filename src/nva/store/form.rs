//! The form in which embedded stores and their backups write keys and records.

use crate::ila::Locator;
use crate::nva::model::{Choice, Key, MAX_LOCATORS, Record};

/// The form of a record; another release may write another one.
const VERSION: u8 = 1;

pub(super) fn write_key(key: Key) -> [u8; 16] {
    (u128::from(key.sir_prefix) << 64 | u128::from(key.identifier)).to_be_bytes()
}

pub(super) fn read_key(bytes: [u8; 16]) -> Key {
    let bits = u128::from_be_bytes(bytes);
    Key { sir_prefix: (bits >> 64) as u64, identifier: bits as u64 }
}

/// Version, sequence, length of the owner's name, the name, and the locators with priority and weight.
pub(super) fn write_record(record: &Record) -> Vec<u8> {
    let name = record.owner.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    let mut bytes = vec![VERSION];
    bytes.extend(record.sequence.to_be_bytes());
    bytes.push(name.len() as u8);
    bytes.extend(name);
    for Choice { locator, priority, weight } in &record.choices {
        bytes.extend(locator.0.to_be_bytes());
        bytes.push(*priority);
        bytes.extend(weight.to_be_bytes());
    }
    bytes
}

pub(super) fn read_record(bytes: &[u8]) -> Option<Record> {
    let (version, rest) = bytes.split_first()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (choices, cut) = rest.as_chunks::<11>();
    if *version != VERSION || !cut.is_empty() || choices.len() > MAX_LOCATORS {
        return None;
    }
    let choice = |[a, b, c, d, e, f, g, h, priority, i, j]: &[u8; 11]| Choice {
        locator: Locator(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        priority: *priority,
        weight: u16::from_be_bytes([*i, *j]),
    };
    Some(Record {
        choices: choices.iter().map(choice).collect(),
        owner: String::from_utf8(name.to_vec()).ok()?,
        sequence: u64::from_be_bytes(*sequence),
    })
}

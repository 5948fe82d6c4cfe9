//! The form in which embedded stores and their backups write records.

use super::bytes::{read_choices, write_choices};
use crate::nva::model::Record;

/// The form of a record; another release may write another one.
const VERSION: u8 = 1;

/// Version, sequence, length of the owner's name, the name, and the locators with priority and weight.
pub(super) fn write_record(record: &Record) -> Vec<u8> {
    let name = record.owner.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    let mut bytes = vec![VERSION];
    bytes.extend(record.sequence.to_be_bytes());
    bytes.push(name.len() as u8);
    bytes.extend(name);
    write_choices(&record.choices, &mut bytes);
    bytes
}

pub(super) fn read_record(bytes: &[u8]) -> Option<Record> {
    let (version, rest) = bytes.split_first()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    if *version != VERSION {
        return None;
    }
    Some(Record {
        choices: read_choices(rest)?,
        owner: String::from_utf8(name.to_vec()).ok()?,
        sequence: u64::from_be_bytes(*sequence),
    })
}

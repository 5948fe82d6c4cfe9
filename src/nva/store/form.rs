//! The form in which embedded stores and their backups write records.

use super::bytes::{read_choices, write_choices};
use crate::config::ObjectName;
use crate::net::Mac;
use crate::nva::model::{Object, ObjectKey, Record};

/// The form of a record without a MAC address, and of one with it; another release may write another one. The first one
/// is what releases wrote that knew no MAC addresses.
const VERSION: u8 = 1;
const VERSION_WITH_MAC: u8 = 2;

/// Version, MAC address if there is one, sequence, length of the owner's name, the name, and the locators with priority
/// and weight.
pub(super) fn write_record(record: &Record) -> Vec<u8> {
    let name = record.owner.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    let mut bytes = match record.mac {
        None => vec![VERSION],
        Some(Mac(mac)) => [&[VERSION_WITH_MAC][..], &mac].concat(),
    };
    bytes.extend(record.sequence.to_be_bytes());
    bytes.push(name.len() as u8);
    bytes.extend(name);
    write_choices(&record.choices, &mut bytes);
    bytes
}

pub(super) fn read_record(bytes: &[u8]) -> Option<Record> {
    let (mac, rest) = match bytes.split_first()? {
        (&VERSION, rest) => (None, rest),
        (&VERSION_WITH_MAC, rest) => {
            let (mac, rest) = rest.split_first_chunk::<6>()?;
            (Some(Mac(*mac)), rest)
        }
        _ => return None,
    };
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some(Record {
        choices: read_choices(rest)?,
        owner: String::from_utf8(name.to_vec()).ok()?,
        sequence: u64::from_be_bytes(*sequence),
        mac,
    })
}

/// The form of an object.
const OBJECT_VERSION: u8 = 1;
/// No name has it.
const BETWEEN: char = '\0';

/// Kind, NVE and name.
pub(in crate::nva) fn write_object_key(key: &ObjectKey) -> String {
    let (kind, first, second) = match &key.name {
        ObjectName::Network(name) => ('n', name, ""),
        ObjectName::Policy { from, to } => ('p', from, to.as_str()),
        ObjectName::Attachment(name) => ('a', name, ""),
    };
    format!("{kind}{BETWEEN}{}{BETWEEN}{first}{BETWEEN}{second}", key.nve)
}

pub(in crate::nva) fn read_object_key(text: &str) -> Option<ObjectKey> {
    let parts: Vec<&str> = text.split(BETWEEN).collect();
    let (nve, name) = match parts[..] {
        ["n", "", name, ""] => ("", ObjectName::Network(name.to_owned())),
        ["p", "", from, to] => ("", ObjectName::Policy { from: from.to_owned(), to: to.to_owned() }),
        ["a", nve, name, ""] => (nve, ObjectName::Attachment(name.to_owned())),
        _ => return None,
    };
    Some(ObjectKey { nve: nve.to_owned(), name })
}

/// Version, sequence, and what the operator wrote.
pub(super) fn write_object(object: &Object) -> Vec<u8> {
    let mut bytes = vec![OBJECT_VERSION];
    bytes.extend(object.sequence.to_be_bytes());
    bytes.extend(object.document.as_bytes());
    bytes
}

pub(super) fn read_object(bytes: &[u8]) -> Option<Object> {
    let (version, rest) = bytes.split_first()?;
    let (sequence, document) = rest.split_first_chunk::<8>()?;
    if *version != OBJECT_VERSION {
        return None;
    }
    let document = String::from_utf8(document.to_vec()).ok()?;
    Some(Object { document, sequence: u64::from_be_bytes(*sequence) })
}

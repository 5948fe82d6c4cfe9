//! The form in which embedded stores and their backups write records.

use super::bytes::{read_choices, write_choices};
use crate::config::ObjectName;
use crate::ila::Locator;
use crate::ila::generate::Registrar;
use crate::net::Mac;
use crate::nva::model::{Allocation, AllocationKey, Object, ObjectKey, Record, Resource};

/// The form of a record without a MAC address, of one with it, and of one that changed since it has it; another release may
/// write another one. The first one is what releases wrote that knew no MAC addresses.
const VERSION: u8 = 1;
const VERSION_WITH_MAC: u8 = 2;
const VERSION_WITH_MAC_SINCE: u8 = 3;

/// Version, MAC address if there is one, since when if that is not the sequence, sequence, length of the owner's name, the
/// name, and the locators with priority and weight.
pub(super) fn write_record(record: &Record) -> Vec<u8> {
    let name = record.owner.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    let mut bytes = match record.mac {
        None => vec![VERSION],
        Some(Mac(mac)) if record.since == record.sequence => [&[VERSION_WITH_MAC][..], &mac].concat(),
        Some(Mac(mac)) => [&[VERSION_WITH_MAC_SINCE][..], &mac, &record.since.to_be_bytes()].concat(),
    };
    bytes.extend(record.sequence.to_be_bytes());
    bytes.push(name.len() as u8);
    bytes.extend(name);
    write_choices(&record.choices, &mut bytes);
    bytes
}

pub(super) fn read_record(bytes: &[u8]) -> Option<Record> {
    let (mac, since, rest) = match bytes.split_first()? {
        (&VERSION, rest) => (None, None, rest),
        (&VERSION_WITH_MAC, rest) => {
            let (mac, rest) = rest.split_first_chunk::<6>()?;
            (Some(Mac(*mac)), None, rest)
        }
        (&VERSION_WITH_MAC_SINCE, rest) => {
            let (mac, rest) = rest.split_first_chunk::<6>()?;
            let (since, rest) = rest.split_first_chunk::<8>()?;
            (Some(Mac(*mac)), Some(u64::from_be_bytes(*since)), rest)
        }
        _ => return None,
    };
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let sequence = u64::from_be_bytes(*sequence);
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some(Record {
        choices: read_choices(rest)?,
        owner: std::str::from_utf8(name).ok()?.into(),
        sequence,
        mac,
        since: since.unwrap_or(sequence),
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

/// The form of an allocation, and of one without the time of its lease.
const ALLOCATION_VERSION: u8 = 2;
const ALLOCATION_VERSION_WITHOUT_LEASE: u8 = 1;

/// Kind, SIR prefix, and the number of a block or the upper half of a locator.
pub(in crate::nva) fn write_allocation_key(key: &AllocationKey) -> String {
    let (kind, number) = match key.resource {
        Resource::Block(block) => ('b', u64::from(block.number())),
        Resource::Locator(locator) => ('l', locator.0),
    };
    format!("{kind}{:016x}{number:016x}", key.sir_prefix)
}

pub(in crate::nva) fn read_allocation_key(text: &str) -> Option<AllocationKey> {
    let (kind, rest) = text.split_at_checked(1)?;
    let (sir_prefix, number) = rest.split_at_checked(16).filter(|(_, number)| number.len() == 16)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    let resource = match kind {
        "b" => Resource::Block(Registrar::new(u32::try_from(number).ok()?)?),
        "l" => Resource::Locator(Locator(number)),
        _ => return None,
    };
    Some(AllocationKey { sir_prefix: u64::from_str_radix(sir_prefix, 16).ok()?, resource })
}

/// Version, the time of the lease, sequence, the identifier that was reached, whether it was returned, and the owner's name.
pub(super) fn write_allocation(allocation: &Allocation) -> Vec<u8> {
    let Allocation { owner, sequence, reached, returned, lease_ms } = allocation;
    let mut bytes = vec![ALLOCATION_VERSION];
    bytes.extend(lease_ms.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(reached.to_be_bytes());
    bytes.push(u8::from(*returned));
    bytes.extend(owner.as_bytes());
    bytes
}

pub(super) fn read_allocation(bytes: &[u8]) -> Option<Allocation> {
    let (lease_ms, rest) = match bytes.split_first()? {
        (&ALLOCATION_VERSION, rest) => {
            let (lease_ms, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*lease_ms), rest)
        }
        (&ALLOCATION_VERSION_WITHOUT_LEASE, rest) => (0, rest),
        _ => return None,
    };
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (reached, rest) = rest.split_first_chunk::<8>()?;
    let (returned, owner) = rest.split_first()?;
    if *returned > 1 {
        return None;
    }
    Some(Allocation {
        owner: String::from_utf8(owner.to_vec()).ok()?,
        sequence: u64::from_be_bytes(*sequence),
        reached: u64::from_be_bytes(*reached),
        returned: *returned == 1,
        lease_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ila::Locator;
    use crate::nva::model::Choice;

    fn record(mac: Option<Mac>) -> Record {
        let choices = vec![Choice { locator: Locator(0xfd00 << 48), priority: 1, weight: 2 }];
        Record { choices, owner: "nve1".into(), sequence: 9, mac, since: 9 }
    }

    #[test]
    fn a_record_of_an_earlier_release_is_read_and_one_without_a_mac_address_is_written_as_that_reads_it() {
        let before = [&[1, 0, 0, 0, 0, 0, 0, 0, 9, 4][..], b"nve1", &[0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]];
        let before = before.concat();
        assert_eq!(read_record(&before), Some(record(None)));
        assert_eq!(write_record(&record(None)), before);
    }

    #[test]
    fn a_mac_address_there_and_back_and_nothing_that_is_cut_is_read() {
        let mac = record(Some(Mac([2, 0, 0, 0, 0, 7])));
        for record in [mac.clone(), Record { since: 3, ..mac }] {
            let bytes = write_record(&record);
            assert_eq!(read_record(&bytes), Some(record));
            // A record may have no locators: it was released.
            let whole = [bytes.len() - 11, bytes.len()];
            for length in 0..=bytes.len() {
                assert_eq!(
                    read_record(&bytes[..length]).is_some(),
                    whole.contains(&length),
                    "{length} bytes"
                );
            }
            assert_eq!(read_record(&[&[4], &bytes[1..]].concat()), None);
        }
    }

    #[test]
    fn allocations_are_read_as_they_were_written_and_nothing_else_is_one() {
        let block = Resource::Block(Registrar::new(0x00ab_cdef).unwrap());
        for resource in [block, Resource::Locator(Locator(u64::MAX))] {
            let key = AllocationKey { sir_prefix: 0x2001_0db8_dddd_0000, resource };
            assert_eq!(read_allocation_key(&write_allocation_key(&key)), Some(key));
        }
        for bad in
            ["", "b", "x00000000000000000000000000000000", "b000000000000000000000000010000000", "b0", "é"]
        {
            assert_eq!(read_allocation_key(bad), None, "{bad}");
        }
        let (owner, reached) = ("nve1".to_owned(), u64::MAX);
        let one = Allocation { owner, sequence: 7, reached, returned: true, lease_ms: 3_600_000 };
        let bytes = write_allocation(&one);
        assert_eq!(read_allocation(&bytes), Some(one.clone()));
        assert_eq!((read_allocation(&bytes[..25]), read_allocation(&[])), (None, None));
        // One that was written before leases were.
        let before = [&[ALLOCATION_VERSION_WITHOUT_LEASE], &bytes[9..]].concat();
        assert_eq!(read_allocation(&before), Some(Allocation { lease_ms: 0, ..one }));
    }
}

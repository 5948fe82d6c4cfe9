//! The parts that MLD and IGMP share: changes of interest in a group, group records, and the codes of times
//! (RFC 3376 §4, RFC 3810 §5).
//!
//! Sources are counted, never filtered: a host that wants a group from some sources receives the whole group.

/// The interest of a host in a group, from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It wants the group from at least one source.
    Join,
    /// It no longer wants the group.
    Leave,
    /// It wants fewer sources than before, perhaps none. A host that wanted only some sources leaves with such a
    /// record. A receiver that keeps no source lists has to query the group to learn whether the host left.
    Fewer,
}

/// One change of interest, from a record of a report or from a message of an older version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<A> {
    /// The group: `u128` for IPv6, `u32` for IPv4.
    pub group: A,
    /// The host's interest in it.
    pub interest: Interest,
    /// Number of sources that the record names; 0 in messages of older versions.
    pub sources: u16,
}

/// A group address as a record holds it: `u32` for IGMP, `u128` for MLD.
pub trait Group: Copy {
    /// Length of the address in bytes.
    const BYTES: usize;
    /// Reads it from the start of `bytes`; `None` when cut short.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Whether it is a multicast address.
    fn is_group(self) -> bool;
    /// Whether hosts report it. They never report the all-hosts group nor groups of interface-local scope.
    fn is_reported(self) -> bool;
}

/// Iterates over the changes of one message, in its order. The constructors have checked every record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<'a, A> {
    one: Option<Change<A>>,
    records: &'a [u8],
    left: u16,
}

/// Bytes of a record before its group.
const RECORD_HEADER: usize = 4;

/// Type, group, number of sources and length in bytes of the record at the start of `bytes`; `None` when cut short.
fn record<A: Group>(bytes: &[u8]) -> Option<(u8, A, u16, usize)> {
    let &[kind, auxiliary_words, high, low] = bytes.first_chunk::<RECORD_HEADER>()?;
    let group = A::read(bytes.get(RECORD_HEADER..)?)?;
    let sources = u16::from_be_bytes([high, low]);
    let length = RECORD_HEADER + A::BYTES * (1 + usize::from(sources)) + 4 * usize::from(auxiliary_words);
    (length <= bytes.len()).then_some((kind, group, sources, length))
}

/// The meaning of a record of type `kind` (RFC 3376 §4.2.12, RFC 3810 §5.2.12). `some` tells whether it names sources.
const fn interest(kind: u8, some: bool) -> Option<Interest> {
    match (kind, some) {
        // The filter mode is include, or changes to it. Include of no sources means leave.
        (1 | 3, true) => Some(Interest::Join),
        (1 | 3, false) => Some(Interest::Leave),
        // The filter mode is exclude, or changes to it: all sources but those named.
        (2 | 4, _) => Some(Interest::Join),
        (5, true) => Some(Interest::Join),
        (6, true) => Some(Interest::Fewer),
        // An allow or block record without sources changes nothing. Unknown types must be ignored.
        _ => None,
    }
}

impl<'a, A: Group> Changes<'a, A> {
    /// The single change of a message of IGMP version 1 or 2 or MLD version 1; `None` when `group` is not multicast.
    pub(super) fn one(group: A, interest: Interest) -> Option<Self> {
        let change = Change { group, interest, sources: 0 };
        group.is_group().then_some(Changes { one: Some(change), records: &[], left: 0 })
    }

    /// The changes of `count` records; `None` when one is cut short or its group is not multicast.
    pub(super) fn of(count: u16, records: &'a [u8]) -> Option<Self> {
        let mut rest = records;
        for _ in 0..count {
            let (_, group, _, length) = record::<A>(rest)?;
            rest = rest.get(length..)?;
            if !group.is_group() {
                return None;
            }
        }
        Some(Changes { one: None, records, left: count })
    }
}

impl<A: Group> Iterator for Changes<'_, A> {
    type Item = Change<A>;

    fn next(&mut self) -> Option<Change<A>> {
        if let Some(change) = self.one.take()
            && change.group.is_reported()
        {
            return Some(change);
        }
        while self.left > 0 {
            self.left -= 1;
            let (kind, group, sources, length) = record::<A>(self.records)?;
            self.records = self.records.get(length..)?;
            if let Some(interest) = interest(kind, sources > 0)
                && group.is_reported()
            {
                return Some(Change { group, interest, sources });
            }
        }
        None
    }
}

/// The value of an 8-bit code: itself below 128, else 4 bits of mantissa and 3 of exponent (RFC 3376 §4.1.1,
/// RFC 3376 §4.1.7).
#[must_use]
pub const fn value_of_8(code: u8) -> u32 {
    if code < 128 { code as u32 } else { ((code & 0xf) as u32 | 0x10) << ((code >> 4 & 7) + 3) }
}

/// The code of the largest value that is not above `value`; at most 31744.
#[must_use]
pub const fn code_of_8(value: u32) -> u8 {
    if value < 128 {
        return value as u8;
    }
    let value = if value > 0x1f << 10 { 0x1f << 10 } else { value };
    // The highest bit of the value is the implicit leading one of the mantissa.
    let exponent = value.ilog2() - 4;
    0x80 | ((exponent - 3) << 4) as u8 | (value >> exponent) as u8 & 0xf
}

/// The value of a 16-bit code: itself below 32768, else 12 bits of mantissa and 3 of exponent (RFC 3810 §5.1.3).
#[must_use]
pub const fn value_of_16(code: u16) -> u32 {
    if code < 0x8000 { code as u32 } else { ((code & 0xfff) as u32 | 0x1000) << ((code >> 12 & 7) + 3) }
}

/// The code of the largest value that is not above `value`; at most 8387584.
#[must_use]
pub const fn code_of_16(value: u32) -> u16 {
    if value < 0x8000 {
        return value as u16;
    }
    let value = if value > 0x1fff << 10 { 0x1fff << 10 } else { value };
    let exponent = value.ilog2() - 12;
    0x8000 | ((exponent - 3) << 12) as u16 | (value >> exponent) as u16 & 0xfff
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3376 §4.2.12, RFC 3810 §5.2.12
    #[test]
    fn rfc_3376_section_4_2_12_what_each_record_type_says() {
        let said = |kind| (interest(kind, false), interest(kind, true));
        assert_eq!(said(1), (Some(Interest::Leave), Some(Interest::Join)));
        assert_eq!(said(2), (Some(Interest::Join), Some(Interest::Join)));
        assert_eq!(said(3), (Some(Interest::Leave), Some(Interest::Join)));
        assert_eq!(said(4), (Some(Interest::Join), Some(Interest::Join)));
        assert_eq!(said(5), (None, Some(Interest::Join)));
        assert_eq!(said(6), (None, Some(Interest::Fewer)));
        for unknown in [0, 7, 255] {
            assert_eq!(said(unknown), (None, None));
        }
    }

    // RFC 3376 §4.1.1, RFC 3376 §4.1.7, RFC 3810 §5.1.3
    #[test]
    fn every_code_is_the_code_of_its_value() {
        for code in 0..=u8::MAX {
            assert_eq!(code_of_8(value_of_8(code)), code);
        }
        for code in 0..=u16::MAX {
            assert_eq!(code_of_16(value_of_16(code)), code);
        }
    }

    #[test]
    fn a_code_never_says_more_than_was_meant_and_at_most_a_sixteenth_less() {
        for value in 0..40_000 {
            let (said, most) = (value_of_8(code_of_8(value)), value.min(31_744));
            assert!(said <= most && said + most / 16 >= most, "{value} {said}");
        }
        assert_eq!(value_of_8(code_of_8(u32::MAX)), 31_744);
        assert_eq!(value_of_16(code_of_16(u32::MAX)), 8_387_584);
    }
}

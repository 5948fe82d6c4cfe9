//! What a destination is, by its upper 64 bits and its identifier type; starts the lookup where one is needed.

use super::lane::{Class, Lane, Todo};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use crate::ila::{Adjustment, ChecksumMode, Identifier, IdentifierType, neutral};
use crate::table::mapping::{Key, MappingTable};
use crate::table::realms::Realm;
use crate::table::{Domain, DomainId, Tables};

/// The last realm that was looked up: packets of a burst often share it.
#[derive(Default)]
pub(super) struct Memo<'t> {
    high: u64,
    meaning: Option<Meaning<'t>>,
}

#[derive(Clone, Copy)]
enum Meaning<'t> {
    Sir(DomainId, &'t MappingTable),
    Ila(DomainId, &'t MappingTable, ChecksumMode, Adjustment),
    Subnet,
}

impl<'t> Memo<'t> {
    #[inline(always)]
    fn meaning(&mut self, high: u64, tables: &'t Tables) -> Option<Meaning<'t>> {
        if self.high != high {
            self.high = high;
            self.meaning = tables.realms.of(high).map(|realm| Self::of(realm, tables));
        }
        self.meaning
    }

    fn of(realm: &Realm, tables: &'t Tables) -> Meaning<'t> {
        let domain = |id: DomainId| -> Option<&'t Domain> { tables.domains.get(usize::from(id.0)) };
        if let Some((id, domain)) = realm.sir.and_then(|id| Some((id, domain(id)?))) {
            Meaning::Sir(id, &domain.mappings)
        } else if let Some((id, adjustment, domain)) =
            realm.local.and_then(|(id, a)| Some((id, a, domain(id)?)))
        {
            Meaning::Ila(id, &domain.mappings, domain.checksum, adjustment)
        } else {
            Meaning::Subnet
        }
    }
}

/// Classifies the destination in `lane`.
///
/// # Errors
/// The reason to drop the packet.
#[inline(always)]
pub(super) fn class_of<'t>(
    lane: &mut Lane,
    memo: &mut Memo<'t>,
    tables: &'t Tables,
) -> Result<Class, DropReason> {
    let identifier = Identifier(lane.low);
    match memo.meaning(lane.high, tables) {
        Some(Meaning::Sir(domain, mappings)) if translated(identifier) => {
            if identifier.neutral() {
                return Err(DropReason::SirCBit);
            }
            let _ = mappings.probe(Key::of(lane.low));
            Ok(Class::Sir(domain))
        }
        Some(Meaning::Ila(domain, mappings, mode, adjustment)) if translated(identifier) => {
            lane.low = neutral::back(identifier, adjustment, mode).0;
            let _ = mappings.probe(Key::of(lane.low));
            Ok(Class::Ila(domain))
        }
        Some(meaning) => untranslated(lane, meaning, tables),
        None => Ok(Class::Route),
    }
}

/// Types 1 to 4.
#[inline(always)]
const fn translated(identifier: Identifier) -> bool {
    (identifier.0 >> 61).wrapping_sub(1) < 4
}

#[cold]
fn untranslated(lane: &Lane, meaning: Meaning<'_>, tables: &Tables) -> Result<Class, DropReason> {
    let identifier = Identifier(lane.low);
    if !matches!(meaning, Meaning::Subnet) && matches!(identifier.kind(), IdentifierType::Reserved(_)) {
        return Err(DropReason::ReservedIdentifier);
    }
    let address = (u128::from(lane.high) << 64) | u128::from(lane.low);
    Ok(if tables.own.contains(&address) { Class::Own } else { Class::Route })
}

/// Writes the outcome down.
#[inline(always)]
pub(super) fn note(
    outcome: Result<Class, DropReason>,
    packet: &mut Packet<'_>,
    lane: &mut Lane,
    todo: &mut Todo,
) {
    match outcome {
        Ok(class) => {
            lane.class = class;
            todo.lookups |= matches!(class, Class::Sir(_) | Class::Ila(_));
            todo.routes |= class == Class::Route;
            todo.own |= class == Class::Own;
        }
        Err(reason) => {
            packet.verdict = Verdict::Drop(reason);
            todo.drops = true;
        }
    }
}

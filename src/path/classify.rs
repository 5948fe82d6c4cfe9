//! Second stage: what the destination is, by its upper 64 bits and its identifier type.

use super::Ctx;
use super::lane::{Class, Lane, Lanes};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use crate::ila::{Identifier, IdentifierType, neutral};
use crate::table::Tables;

/// Classifies every undecided packet and starts the lookup of those that need a mapping.
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) {
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict != Verdict::Continue || lane.class != Class::None {
            continue;
        }
        match class_of(lane, ctx.tables) {
            Ok(class) => lane.class = class,
            Err(reason) => packet.verdict = Verdict::Drop(reason),
        }
    }
}

#[inline(always)]
fn class_of(lane: &mut Lane, tables: &Tables) -> Result<Class, DropReason> {
    let Some(realm) = tables.realms.of(lane.high) else { return Ok(Class::Route) };
    let identifier = Identifier(lane.low);
    if let Some(domain) = realm.sir {
        match identifier.kind() {
            IdentifierType::Interface => {}
            IdentifierType::Reserved(_) => return Err(DropReason::ReservedIdentifier),
            _ if identifier.neutral() => return Err(DropReason::SirCBit),
            _ => {
                if let Some(domain) = tables.domains.get(usize::from(domain.0)) {
                    lane.probe = domain.mappings.hint(lane.low);
                }
                return Ok(Class::Sir(domain));
            }
        }
    } else if let Some((domain_id, adjustment)) = realm.local {
        match identifier.kind() {
            IdentifierType::Interface => {}
            IdentifierType::Reserved(_) => return Err(DropReason::ReservedIdentifier),
            _ => {
                if let Some(domain) = tables.domains.get(usize::from(domain_id.0)) {
                    lane.low = neutral::back(identifier, adjustment, domain.checksum).0;
                    lane.probe = domain.mappings.hint(lane.low);
                }
                return Ok(Class::Ila(domain_id, adjustment));
            }
        }
    }
    let address = (u128::from(lane.high) << 64) | u128::from(lane.low);
    Ok(if realm.own && tables.own.contains(&address) { Class::Own } else { Class::Route })
}

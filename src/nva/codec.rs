//! Messages of the wire to those of the cores, and back. What a peer sends is judged here before a core sees it.

mod bindings;
mod fields;
mod groups;
mod moves;

pub use super::malformed::Malformed;

use super::catalogue::Seen;
use super::malformed::{MAX_NAME, malformed};
use super::message::{Down, Encoded, Provision, QUERY_KEYS, REFUSED, TRIANGLES, Told, Triangle, Up};
use super::model::{Choice, Key, Known, MAX_LOCATORS, Record};
use super::v1::{self, down, up};
use crate::config::{Entry, ObjectName, RefusedEntry};
use crate::ila::Locator;
use crate::ila::generate::Registrar;
use crate::mapping::{Digest, MAX_SCOPES, PARTS, Parts, Scope, Scopes};
use crate::net::Mac;
use fields::{MAX_OBJECT_NAME, MAX_WHY, read_key, shortened, write_key};
pub(super) use moves::{read_kept_move, write_kept_move};
use prost::Message;
use prost::bytes::BytesMut;
use std::sync::Arc;

/// Longest epoch in bytes.
const MAX_EPOCH: usize = 64;

/// Parts of mappings that one message names, at most: those of 32 domains.
const MAX_PARTS: usize = 32 * PARTS;

/// Reads a message of an NVE.
///
/// # Errors
/// [`Malformed`] for a message without content, without a key, with too many locators or with numbers out of range.
pub fn read_up(message: v1::Up) -> Result<Up, Malformed> {
    Ok(match message.message {
        None => return malformed("an empty message"),
        Some(up::Message::Hello(v1::Hello { versions, nve, boot, asks, digests, moves, groups })) => {
            if nve.is_empty() || nve.len() > MAX_NAME || versions.len() > 16 {
                return malformed(format!("Hello: a name of 1 to {MAX_NAME} bytes and at most 16 versions"));
            }
            let moves = moves::read_modes(&moves);
            Up::Hello { versions, nve, boot, asks, digests, moves, groups }
        }
        Some(up::Message::Register(v1::Register { id, key, locators, known_sequence: known, mac })) => {
            let mac = (mac != 0).then(|| bindings::read_mac(mac)).transpose()?;
            Up::Register { id, key: read_key(key)?, choices: read_choices(&locators)?, known, mac }
        }
        Some(up::Message::Unregister(v1::Unregister { id, key })) => {
            Up::Unregister { id, key: read_key(key)? }
        }
        Some(up::Message::Subscribe(v1::Subscribe { epoch, applied, scopes })) => {
            if epoch.len() > MAX_EPOCH {
                return malformed(format!(
                    "Subscribe: an epoch of {} bytes; at most {MAX_EPOCH}",
                    epoch.len()
                ));
            }
            let known = Known { epoch: epoch.into(), revision: applied };
            Up::Subscribe((!known.epoch.is_empty()).then_some(known), read_scopes(&scopes)?)
        }
        Some(up::Message::Applied(v1::Applied { revision })) => Up::Applied(revision),
        Some(up::Message::Beat(v1::Beat {})) => Up::Beat,
        Some(up::Message::Complete(v1::Complete {})) => Up::Complete,
        Some(up::Message::Query(v1::Query { id, keys })) => {
            if keys.is_empty() || keys.len() > QUERY_KEYS {
                return malformed(format!("Query: {} identifiers; name 1 to {QUERY_KEYS}", keys.len()));
            }
            let keys = keys.into_iter().map(|key| read_key(Some(key))).collect::<Result<_, _>>()?;
            Up::Query { id, keys }
        }
        Some(up::Message::Triangular(v1::Triangular { triangles })) => {
            if triangles.is_empty() || triangles.len() > TRIANGLES {
                return malformed(format!(
                    "Triangular: {} triangles; name 1 to {TRIANGLES}",
                    triangles.len()
                ));
            }
            let read = |one: v1::Triangle| {
                Ok(Triangle { source: read_key(one.source)?, destination: read_key(one.destination)? })
            };
            Up::Triangular(triangles.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        Some(up::Message::TakeProvision(v1::TakeProvision {})) => Up::Provision,
        Some(up::Message::Provisioned(v1::Provisioned { revision, refused })) => {
            if refused.len() > REFUSED {
                return malformed(format!("Provisioned: {} refused; name at most {REFUSED}", refused.len()));
            }
            let read = |v1::RefusedObject { name, why }| match why.len() {
                // It is shown on terminals.
                0..=MAX_WHY => {
                    let why = why.replace(char::is_control, " ");
                    Ok(read_name(name)?.map(|name| RefusedEntry { name, why }))
                }
                length => {
                    malformed(format!("Provisioned: {length} bytes of a reason; write at most {MAX_WHY}"))
                }
            };
            let refused = refused.into_iter().filter_map(|it| read(it).transpose());
            Up::Provisioned { revision, refused: refused.collect::<Result<_, _>>()? }
        }
        Some(up::Message::Drift(v1::Drift { mappings, objects })) => {
            Up::Drift { parts: read_parts(mappings)?, objects }
        }
        Some(up::Message::LeaseBlock(v1::LeaseBlock { id, sir_prefix, block })) => {
            Up::LeaseBlock { id, sir_prefix, had: block.map(read_block).transpose()? }
        }
        Some(up::Message::AllocateAddress(asked)) => bindings::read_asked(asked)?,
        Some(up::Message::FindMacs(find)) => bindings::read_find(find)?,
        Some(up::Message::AttachedNetworks(attached)) => Up::Attached(bindings::read_attached(attached)?),
        Some(up::Message::MoveReport(report)) => Up::Move(moves::read_report(report)?),
    })
}

/// Reads a message of the authority.
///
/// # Errors
/// [`Malformed`], as [`read_up`].
pub fn read_down(message: v1::Down) -> Result<Down, Malformed> {
    read_down_and_count(message, &mut 0)
}

/// The same, and counts mappings that cannot be read: they are left out, and do not stop the rest. Of what a later release
/// may tell, the NVE has no mapping then.
///
/// # Errors
/// [`Malformed`], as [`read_up`].
pub fn read_down_and_count(message: v1::Down, odd: &mut u64) -> Result<Down, Malformed> {
    let mut read_mappings = |encoded| read_mappings(encoded, odd);
    Ok(match message.message {
        None => return malformed("an empty message"),
        Some(down::Message::Welcome(v1::Welcome {
            version,
            epoch,
            revision,
            lease_ms,
            router,
            bindings,
            blocks,
            addresses,
        })) => {
            if epoch.is_empty() || epoch.len() > MAX_EPOCH {
                return malformed(format!("Welcome: an epoch of {} bytes; 1 to {MAX_EPOCH}", epoch.len()));
            }
            let epoch = epoch.into();
            Down::Welcome { version, epoch, revision, lease_ms, router, bindings, blocks, addresses }
        }
        Some(down::Message::Registered(v1::Registered { id, sequence, revision })) => {
            Down::Registered { id, sequence, revision }
        }
        Some(down::Message::Refused(v1::Refused { id, owner, sequence, why, temporary })) => {
            let owner = (!owner.is_empty()).then_some(owner);
            Down::Refused { id, owner, sequence, why, temporary }
        }
        Some(down::Message::Resumed(v1::Resumed { revision })) => Down::Resumed(revision),
        Some(down::Message::Resync(v1::Resync { why })) => Down::Resync(why),
        Some(down::Message::Page(v1::Page { mappings })) => Down::Page(read_mappings(mappings)?),
        Some(down::Message::SnapshotEnd(v1::SnapshotEnd { revision })) => Down::SnapshotEnd(revision),
        Some(down::Message::Delta(v1::Delta { revision, mappings })) => {
            Down::Delta(revision, read_mappings(mappings)?)
        }
        Some(down::Message::Progress(v1::Progress { revision })) => Down::Progress(revision),
        Some(down::Message::Error(v1::Error { why })) => Down::Error(why),
        Some(down::Message::Answer(v1::Answer {
            id,
            revision,
            mappings,
            lifetime_ms,
            negative_lifetime_ms,
        })) => {
            let mappings = read_mappings(mappings)?;
            Down::Answer { id, revision, mappings, lifetime_ms, negative_lifetime_ms }
        }
        Some(down::Message::Redirect(v1::Redirect { revision, mappings, lifetime_ms })) => {
            Down::Redirect { revision, mappings: read_mappings(mappings)?, lifetime_ms }
        }
        Some(down::Message::Digest(v1::Digest { revision, mappings, objects })) => {
            let read = |v1::DomainDigest { sir_prefix, parts }| match <Box<[u64; PARTS]>>::try_from(parts) {
                Ok(parts) => Ok((sir_prefix, Digest::new(parts))),
                Err(parts) => malformed(format!("Digest: {} parts; there are {PARTS}", parts.len())),
            };
            let read_all =
                |all: v1::MappingsDigest| all.domains.into_iter().map(read).collect::<Result<_, _>>();
            let mappings = mappings.map(read_all).transpose()?;
            Down::Digest { revision, mappings, objects }
        }
        Some(down::Message::Repair(v1::Repair { mappings })) => Down::Repair(read_parts(mappings)?),
        Some(down::Message::BlockLeased(v1::BlockLeased { id, block, reached, lease_ms })) => {
            Down::BlockLeased { id, block: read_block(block)?, reached, lease_ms }
        }
        Some(down::Message::Moves(part)) => Down::Moves(moves::read_part(part)?),
        Some(down::Message::Groups(part)) => Down::Groups(groups::read_part(part)?),
        Some(down::Message::Provision(v1::Provision { revision, whole, last, objects, deleted })) => {
            let mut part = Provision { revision, whole, last, ..Provision::default() };
            for v1::Object { name, sequence, sir_prefix, document } in objects {
                let Some(name) = read_name(name)? else { continue };
                match Entry::named(&name, &document) {
                    Ok(entry) => {
                        part.objects.push(Seen { name, sequence, sir_prefix, entry: Arc::new(entry) })
                    }
                    // One of a later release does not keep back the others.
                    Err(why) => part.unread.push(RefusedEntry { name, why }),
                }
            }
            let deleted = deleted.into_iter().filter_map(|name| read_name(Some(name)).transpose());
            part.deleted = deleted.collect::<Result<_, _>>()?;
            Down::Provision(part)
        }
        Some(down::Message::FoundMacs(found)) => bindings::read_found(found)?,
    })
}

fn read_block(number: u32) -> Result<Registrar, Malformed> {
    Registrar::new(number).map_or_else(|| malformed(format!("block {number:#x}; a block has 24 bits")), Ok)
}

/// The name of an object; none if it is of a kind that a later release has.
fn read_name(name: Option<v1::ObjectName>) -> Result<Option<ObjectName>, Malformed> {
    use v1::object_name::Kind;
    let short = |text: String| match text.len() {
        1..=MAX_OBJECT_NAME => Ok(text),
        length => malformed(format!("a name of {length} bytes; 1 to {MAX_OBJECT_NAME}")),
    };
    let Some(name) = name else { return malformed("an object without a name") };
    Ok(Some(match name.kind {
        None => return Ok(None),
        Some(Kind::Network(name)) => ObjectName::Network(short(name)?),
        Some(Kind::Policy(v1::Ends { from, to })) => {
            ObjectName::Policy { from: short(from)?, to: short(to)? }
        }
        Some(Kind::Attachment(name)) => ObjectName::Attachment(short(name)?),
    }))
}

fn write_name(name: ObjectName) -> Option<v1::ObjectName> {
    use v1::object_name::Kind;
    let kind = match name {
        ObjectName::Network(name) => Kind::Network(name),
        ObjectName::Policy { from, to } => Kind::Policy(v1::Ends { from, to }),
        ObjectName::Attachment(name) => Kind::Attachment(name),
    };
    Some(v1::ObjectName { kind: Some(kind) })
}

fn read_parts(all: Vec<v1::Parts>) -> Result<Parts, Malformed> {
    let count: usize = all.iter().map(|one| one.parts.len()).sum();
    if count > MAX_PARTS {
        return malformed(format!("{count} parts of mappings; name at most {MAX_PARTS}"));
    }
    let named = |one: v1::Parts| one.parts.into_iter().map(move |part| (one.sir_prefix, part));
    let read = |(sir_prefix, part): (u64, u32)| match u8::try_from(part) {
        Ok(part) => Ok((sir_prefix, part)),
        Err(_) => malformed(format!("part {part} of mappings; 0 to {}", PARTS - 1)),
    };
    all.into_iter().flat_map(named).map(read).collect()
}

fn write_parts(parts: &Parts) -> Vec<v1::Parts> {
    let mut all: Vec<v1::Parts> = Vec::new();
    for (sir_prefix, part) in parts {
        match all.last_mut().filter(|last| last.sir_prefix == *sir_prefix) {
            Some(last) => last.parts.push(u32::from(*part)),
            None => all.push(v1::Parts { sir_prefix: *sir_prefix, parts: vec![u32::from(*part)] }),
        }
    }
    all
}

fn read_choices(locators: &[v1::Locator]) -> Result<Vec<Choice>, Malformed> {
    if locators.len() > MAX_LOCATORS {
        return malformed(format!("{} locators; at most {MAX_LOCATORS}", locators.len()));
    }
    let read = |one: &v1::Locator| match (u8::try_from(one.priority), u16::try_from(one.weight)) {
        (Ok(priority), Ok(weight)) => Ok(Choice { locator: Locator(one.prefix), priority, weight }),
        _ => malformed(format!("priority {} and weight {}", one.priority, one.weight)),
    };
    locators.iter().map(read).collect()
}

fn read_mappings(encoded: Encoded, odd: &mut u64) -> Result<Vec<Told>, Malformed> {
    let mut read = |v1::Mapping { key, locators, sequence }| {
        let choices = read_choices(&locators).unwrap_or_else(|_| {
            *odd += 1;
            Vec::new()
        });
        let key = read_key(key).inspect_err(|_| *odd += 1).ok()?;
        Some(Told { key, choices, sequence })
    };
    match v1::Mappings::decode(encoded) {
        Ok(v1::Mappings { mappings }) => Ok(mappings.into_iter().filter_map(&mut read).collect()),
        Err(why) => malformed(format!("mappings that cannot be read: {why}")),
    }
}

/// Encodes records, so that every session may be told of them.
#[must_use]
pub fn encode<'r>(records: impl IntoIterator<Item = (&'r Key, &'r Record)>) -> Encoded {
    let mut all = BytesMut::new();
    for (key, record) in records {
        append(&mut all, *key, record);
    }
    all.freeze()
}

/// The same, and where each record ends.
#[must_use]
pub fn encode_apart<'r>(records: impl IntoIterator<Item = (&'r Key, &'r Record)>) -> (Encoded, Box<[Ended]>) {
    let mut all = BytesMut::new();
    let ended = records.into_iter().map(|(key, record)| {
        append(&mut all, *key, record);
        Ended { key: *key, end: all.len() }
    });
    let ended = ended.collect();
    (all.freeze(), ended)
}

/// A record among others that are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whose it is.
    pub key: Key,
    /// Where the next one begins.
    pub end: usize,
}

/// Number of the field of [`v1::Mappings`].
const MAPPINGS_TAG: u32 = 1;

/// Appends one mapping to a [`v1::Mappings`].
fn append(all: &mut BytesMut, key: Key, record: &Record) {
    let mapping = v1::Mapping {
        key: write_key(key),
        locators: write_choices(&record.choices),
        sequence: record.sequence,
    };
    prost::encoding::message::encode(MAPPINGS_TAG, &mapping, all);
}

fn read_scopes(scopes: &[v1::Scope]) -> Result<Scopes, Malformed> {
    if scopes.len() > MAX_SCOPES {
        return malformed(format!("Subscribe: {} scopes; name at most {MAX_SCOPES}", scopes.len()));
    }
    if let Some(wrong) = scopes.iter().find(|scope| scope.first > scope.last) {
        return malformed(format!("Subscribe: a scope from {:x} to {:x}", wrong.first, wrong.last));
    }
    let read = |&v1::Scope { sir_prefix, first, last }: &v1::Scope| Scope { sir_prefix, first, last };
    Ok(Scopes::new(scopes.iter().map(read).collect()))
}

fn write_choices(choices: &[Choice]) -> Vec<v1::Locator> {
    let write = |choice: &Choice| v1::Locator {
        prefix: choice.locator.0,
        priority: choice.priority.into(),
        weight: choice.weight.into(),
    };
    choices.iter().map(write).collect()
}

/// Writes a message of an NVE.
#[must_use]
pub fn write_up(up: Up) -> v1::Up {
    let message = match up {
        Up::Hello { versions, nve, boot, asks, digests, moves, groups } => {
            let moves = moves::write_modes(moves);
            up::Message::Hello(v1::Hello { versions, nve, boot, asks, digests, moves, groups })
        }
        Up::Register { id, key, choices, known, mac } => {
            let (key, locators) = (write_key(key), write_choices(&choices));
            let mac = mac.map_or(0, Mac::bits);
            up::Message::Register(v1::Register { id, key, locators, known_sequence: known, mac })
        }
        Up::Unregister { id, key } => up::Message::Unregister(v1::Unregister { id, key: write_key(key) }),
        Up::Subscribe(known, scopes) => {
            let Known { epoch, revision } = known.unwrap_or_default();
            let scopes = scopes.list().iter().map(|Scope { sir_prefix, first, last }| v1::Scope {
                sir_prefix: *sir_prefix,
                first: *first,
                last: *last,
            });
            let scopes = scopes.collect();
            up::Message::Subscribe(v1::Subscribe { epoch: epoch.into(), applied: revision, scopes })
        }
        Up::Applied(revision) => up::Message::Applied(v1::Applied { revision }),
        Up::Beat => up::Message::Beat(v1::Beat {}),
        Up::Complete => up::Message::Complete(v1::Complete {}),
        Up::Query { id, keys } => {
            up::Message::Query(v1::Query { id, keys: keys.into_iter().filter_map(write_key).collect() })
        }
        Up::Triangular(triangles) => {
            let write = |one: Triangle| v1::Triangle {
                source: write_key(one.source),
                destination: write_key(one.destination),
            };
            up::Message::Triangular(v1::Triangular { triangles: triangles.into_iter().map(write).collect() })
        }
        Up::Provision => up::Message::TakeProvision(v1::TakeProvision {}),
        Up::Provisioned { revision, refused } => {
            let write = |RefusedEntry { name, why }| v1::RefusedObject {
                name: write_name(name),
                why: shortened(why, MAX_WHY),
            };
            let refused = refused.into_iter().take(REFUSED).map(write).collect();
            up::Message::Provisioned(v1::Provisioned { revision, refused })
        }
        Up::Drift { parts, objects } => {
            up::Message::Drift(v1::Drift { mappings: write_parts(&parts), objects })
        }
        Up::LeaseBlock { id, sir_prefix, had } => {
            up::Message::LeaseBlock(v1::LeaseBlock { id, sir_prefix, block: had.map(Registrar::number) })
        }
        Up::AllocateAddress { id, attachment } => {
            up::Message::AllocateAddress(v1::AllocateAddress { id, attachment })
        }
        Up::FindMacs { id, network: (sir_prefix, vnid), macs } => {
            let macs = macs.into_iter().map(Mac::bits).collect();
            up::Message::FindMacs(v1::FindMacs { id, sir_prefix, vnid, macs })
        }
        Up::Attached(attached) => up::Message::AttachedNetworks(bindings::write_attached(attached)),
        Up::Move(report) => up::Message::MoveReport(moves::write_report(report)),
    };
    v1::Up { message: Some(message) }
}

/// Writes a message of the authority.
#[must_use]
pub fn write_down(down: Down<Encoded>) -> v1::Down {
    let message = match down {
        Down::Welcome { version, epoch, revision, lease_ms, router, bindings, blocks, addresses } => {
            let epoch = epoch.into();
            let welcome =
                v1::Welcome { version, epoch, revision, lease_ms, router, bindings, blocks, addresses };
            down::Message::Welcome(welcome)
        }
        Down::Registered { id, sequence, revision } => {
            down::Message::Registered(v1::Registered { id, sequence, revision })
        }
        Down::Refused { id, owner, sequence, why, temporary } => {
            let owner = owner.unwrap_or_default();
            down::Message::Refused(v1::Refused { id, owner, sequence, why, temporary })
        }
        Down::Resumed(revision) => down::Message::Resumed(v1::Resumed { revision }),
        Down::Resync(why) => down::Message::Resync(v1::Resync { why }),
        Down::Page(mappings) => down::Message::Page(v1::Page { mappings }),
        Down::SnapshotEnd(revision) => down::Message::SnapshotEnd(v1::SnapshotEnd { revision }),
        Down::Delta(revision, mappings) => down::Message::Delta(v1::Delta { revision, mappings }),
        Down::Progress(revision) => down::Message::Progress(v1::Progress { revision }),
        Down::Error(why) => down::Message::Error(v1::Error { why }),
        Down::Answer { id, revision, mappings, lifetime_ms, negative_lifetime_ms } => {
            down::Message::Answer(v1::Answer { id, revision, mappings, lifetime_ms, negative_lifetime_ms })
        }
        Down::Redirect { revision, mappings, lifetime_ms } => {
            down::Message::Redirect(v1::Redirect { revision, mappings, lifetime_ms })
        }
        Down::Digest { revision, mappings, objects } => {
            let write = |(sir_prefix, digest): (u64, Digest)| v1::DomainDigest {
                sir_prefix,
                parts: digest.parts().to_vec(),
            };
            let write_all =
                |all: Vec<_>| v1::MappingsDigest { domains: all.into_iter().map(write).collect() };
            down::Message::Digest(v1::Digest { revision, mappings: mappings.map(write_all), objects })
        }
        Down::FoundMacs { id, revision, found, negative_lifetime_ms, why } => {
            let found = found.into_iter().map(bindings::write_found).collect();
            let why = shortened(why.unwrap_or_default(), MAX_WHY);
            down::Message::FoundMacs(v1::FoundMacs { id, revision, found, negative_lifetime_ms, why })
        }
        Down::Repair(parts) => down::Message::Repair(v1::Repair { mappings: write_parts(&parts) }),
        Down::BlockLeased { id, block, reached, lease_ms } => {
            let block = block.number();
            down::Message::BlockLeased(v1::BlockLeased { id, block, reached, lease_ms })
        }
        Down::Moves(part) => down::Message::Moves(moves::write_part(part)),
        Down::Groups(part) => down::Message::Groups(groups::write_part(part)),
        Down::Provision(Provision { revision, whole, last, objects, deleted, unread: _ }) => {
            let object = |Seen { name, sequence, sir_prefix, entry }| v1::Object {
                name: write_name(name),
                sequence,
                sir_prefix,
                document: Entry::written(&entry).to_owned(),
            };
            let objects = objects.into_iter().map(object).collect();
            let deleted = deleted.into_iter().filter_map(write_name).collect();
            down::Message::Provision(v1::Provision { revision, whole, last, objects, deleted })
        }
    };
    v1::Down { message: Some(message) }
}

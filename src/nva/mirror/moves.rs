//! A node's part in moves over its own restart.

use crate::config::{Entry, ObjectName};
use crate::nva::codec::{read_kept_move, write_kept_move};
use crate::nva::message::{MoveTold, Sign};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's part in a move, by the name of the move.
pub(super) const MOVES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("moves");
/// The form of an entry; what another release wrote is left out, and the authority tells it again.
const FORM: u8 = 1;

const HAS_ENTRY: u8 = 1;
const IS_ALONE: u8 = 2;
const HAS_LEFT: u8 = 4;

/// A node's part in a move, as it is kept. It is without the token: whoever proves an arrival has a session, in which the
/// authority tells it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMove {
    /// What the authority told.
    pub told: MoveTold,
    /// The entry of the attachment that is in force here.
    pub entry: Option<Arc<Entry>>,
    /// When its state began here, and until when packets in flight are sent on: milliseconds since 1970.
    pub since_ms: u64,
    /// See there.
    pub until_ms: u64,
    /// What was seen of it at the new node.
    pub arrived: Option<Sign>,
    /// It arrived, and is served without the authority's word.
    pub alone: bool,
    /// It was seen to leave the old node.
    pub left: bool,
}

impl KeptMove {
    fn write(&self) -> Vec<u8> {
        let flags = [(self.told.entry.is_some(), HAS_ENTRY), (self.alone, IS_ALONE), (self.left, HAS_LEFT)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        let sign = self.arrived.map_or("", Sign::word);
        let mut bytes = vec![FORM, flags, sign.len() as u8];
        bytes.extend(sign.as_bytes());
        bytes.extend(self.since_ms.to_be_bytes());
        bytes.extend(self.until_ms.to_be_bytes());
        let told = MoveTold { entry: self.entry.clone(), token: None, ..self.told.clone() };
        bytes.extend(write_kept_move(told));
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let ([FORM, flags, length], rest) = bytes.split_first_chunk::<3>()? else { return None };
        let (sign, rest) = rest.split_at_checked(usize::from(*length))?;
        let (since_ms, rest) = rest.split_first_chunk::<8>()?;
        let (until_ms, rest) = rest.split_first_chunk::<8>()?;
        let mut told = read_kept_move(rest)?;
        let entry = told.entry.take();
        told.entry = entry.clone().filter(|_| flags & HAS_ENTRY != 0);
        Some(KeptMove {
            told,
            entry,
            since_ms: u64::from_be_bytes(*since_ms),
            until_ms: u64::from_be_bytes(*until_ms),
            arrived: std::str::from_utf8(sign).ok().and_then(Sign::of_word),
            alone: flags & IS_ALONE != 0,
            left: flags & HAS_LEFT != 0,
        })
    }

    /// The name of its attachment's entry.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        ObjectName::Attachment(self.told.attachment.clone())
    }
}

/// Writes what differs.
pub(super) fn write(table: &mut Table<'_, u64, &[u8]>, moves: &[KeptMove]) -> Result<(), redb::Error> {
    let wanted: BTreeMap<u64, Vec<u8>> = moves.iter().map(|one| (one.told.id.0, one.write())).collect();
    let mut gone = Vec::new();
    for entry in table.iter()? {
        let (id, _) = entry?;
        gone.extend(Some(id.value()).filter(|id| !wanted.contains_key(id)));
    }
    for id in gone {
        table.remove(id)?;
    }
    for (id, value) in wanted {
        let is_there = table.get(id)?.is_some_and(|held| held.value() == value);
        if !is_there {
            table.insert(id, &value[..])?;
        }
    }
    Ok(())
}

/// Reads all of them.
pub(super) fn read(begun: &ReadTransaction) -> Result<Vec<KeptMove>, redb::Error> {
    let table = match begun.open_table(MOVES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(why) => return Err(why.into()),
    };
    let mut moves = Vec::new();
    for entry in table.iter()? {
        let (_, value) = entry?;
        moves.extend(KeptMove::read(value.value()));
    }
    Ok(moves)
}

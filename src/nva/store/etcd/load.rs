//! Reads everything that the store held at one revision of etcd.

use super::layout::{
    Claim, Layout, Place, allocation, end_of, group, object, one_move, read_claim, read_head, read_mark,
    record, write_head,
};
use super::link::{Failure, answer};
use crate::nva::owner::Owners;
use crate::nva::store::interface::{Progress, Stored};
use crate::nva::store::sequencer::Head;
use etcd_client::{Client, Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp};

/// Records, or sessions, of one answer: far below the 4 MiB that an answer may have.
const PAGE: i64 = 5_000;
/// Objects of one answer: each may have 256 KiB.
const OBJECTS: i64 = 12;

/// Parts of the records.
const SHARDS: usize = 1 << u8::BITS;

/// Everything at one moment.
pub(super) struct Loaded {
    pub(super) head: Head,
    /// Revision of etcd.
    pub(super) at: i64,
    pub(super) stored: Stored,
    pub(super) claims: Vec<(String, Claim)>,
}

/// Reads everything, and tells how far it is. Makes a registry with the head `new` if there is none.
///
/// # Errors
/// There is nothing, what is there is damaged, or etcd does not answer.
pub(super) async fn load(
    client: &mut Client,
    layout: &Layout,
    new: Option<&Head>,
    progress: &mut Progress<'_>,
) -> Result<Loaded, Failure> {
    let mut got = answer(client.get(layout.head(), None)).await?;
    // An etcd that is full makes nothing, and what is there is read.
    if let (Some(new), true) = (new, got.kvs().is_empty()) {
        create(client, layout, new).await?;
        got = answer(client.get(layout.head(), None)).await?;
    }
    let at = got.header().map_or(0, |header| header.revision());
    let Some(value) = got.kvs().first() else {
        return Err(Failure::Refused(format!("there is no registry: {} is not there", layout.head())));
    };
    if let Some(mark) = read_mark(value.value()) {
        let why = format!(
            "a copy of {} into {} did not end: make it again, or delete what is there",
            mark.file,
            layout.prefix()
        );
        return Err(Failure::Refused(why));
    }
    let head = read_head(value.value()).ok_or_else(|| {
        let value = value.value().escape_ascii();
        Failure::Refused(format!("{} is `{value}`, which this release cannot read", layout.head()))
    })?;
    let (mut records, mut objects, mut claims) = (Vec::new(), Vec::new(), Vec::new());
    let mut owners = Owners::default();
    for shard in 0..=u8::MAX {
        progress("reading", shard.into(), SHARDS);
        for value in range(client, &layout.shard(shard), PAGE, at).await? {
            let Place::Record(key) = layout.place(value.key()) else { continue };
            let (key, mut record) = record(key, value.value()).map_err(Failure::Refused)?;
            owners.share(&mut record.owner);
            records.push((key, record));
        }
    }
    for value in range(client, &layout.objects(), OBJECTS, at).await? {
        let Place::Object(key) = layout.place(value.key()) else { continue };
        objects.push(object(key, value.value()).map_err(Failure::Refused)?);
    }
    let mut allocations = Vec::new();
    for value in range(client, &layout.allocations(), PAGE, at).await? {
        let Place::Allocation(key) = layout.place(value.key()) else { continue };
        allocations.push(allocation(key, value.value()).map_err(Failure::Refused)?);
    }
    allocations.sort_unstable_by_key(|(key, _)| *key);
    let mut moves = Vec::new();
    for value in range(client, &layout.moves(), OBJECTS, at).await? {
        let Place::Move(id) = layout.place(value.key()) else { continue };
        moves.push(one_move(id, value.value()).map_err(Failure::Refused)?);
    }
    let mut groups = Vec::new();
    for value in range(client, &layout.groups(), OBJECTS, at).await? {
        let Place::Group(name) = layout.place(value.key()) else { continue };
        groups.push(group(&name, value.value()).map_err(Failure::Refused)?);
    }
    for value in range(client, &layout.session(""), PAGE, at).await? {
        if let (Place::Session(nve), Some(claim)) = (layout.place(value.key()), read_claim(value.value())) {
            claims.push((nve, claim));
        }
    }
    records.sort_unstable_by_key(|(key, _)| *key);
    objects.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let restored = !range(client, &layout.restored(), PAGE, at).await?.is_empty();
    let mut completed = Vec::new();
    for value in range(client, &layout.completed(""), PAGE, at).await? {
        let Place::Completed(nve) = layout.place(value.key()) else { continue };
        completed.push(nve);
    }
    progress("reading", SHARDS, SHARDS);
    let (epoch, revision) = (head.epoch, head.revision);
    let stored =
        Stored { epoch, revision, restored, completed, records, objects, moves, groups, allocations };
    Ok(Loaded { head, at, stored, claims })
}

/// Makes a registry if there is none.
async fn create(client: &mut Client, layout: &Layout, head: &Head) -> Result<(), Failure> {
    let is_missing = Compare::create_revision(layout.head(), CompareOp::Equal, 0);
    let made = Txn::new().when([is_missing]).and_then([TxnOp::put(layout.head(), write_head(head), None)]);
    let made = answer(client.txn(made)).await?;
    if made.succeeded() {
        tracing::info!(key = layout.head(), "a new registry");
    }
    Ok(())
}

async fn range(client: &mut Client, prefix: &str, page: i64, at: i64) -> Result<Vec<KeyValue>, Failure> {
    let mut from = prefix.as_bytes().to_vec();
    let mut all = Vec::new();
    loop {
        let options = GetOptions::new().with_range(end_of(prefix)).with_limit(page).with_revision(at);
        let mut got = answer(client.get(from, Some(options))).await?;
        let is_more = got.more();
        all.append(&mut got.take_kvs());
        match all.last() {
            Some(last) if is_more => {
                from = last.key().to_vec();
                // The next one.
                from.push(0);
            }
            _ => return Ok(all),
        }
    }
}

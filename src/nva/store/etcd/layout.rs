//! The keys below the prefix, and what stands there. All of it is text or the form of stores, and `etcdctl` shows it.
//!
//! * `head`: form, epoch, revision and token of the last transaction. While a copy fills the prefix, a [`Mark`] instead,
//!   which no authority takes for a head.
//! * `a/KEY`: what is allocated to NVEs.
//! * `o/KEY`: what operators want at NVEs.
//! * `g/GROUP`: a group of NVEs for an attachment.
//! * `m/MOVE`: an attachment that moves from one NVE to another.
//! * `r/SHARD/KEY`: a record. Shards make ranges of a bounded size for reading everything.
//! * `restored`: the registry was filled, and waits for NVEs to say what they have.
//! * `c/NVE`: an NVE that said so since then.
//! * `v/AUTHORITY`: the revision up to which all NVEs with a session there have applied what they are waited for; with its
//!   lease.
//! * `w/INSTANCE`: an authority whose offers lost, and that wishes to go first; with its lease.
//! * `s/NVE`: the authority at which an NVE has its session, and the token of the transaction that opened it; with the
//!   lease of the authority.

use super::turns::Instance;
use crate::config::ObjectName;
use crate::nva::failover::Group;
use crate::nva::mobility::{Move, MoveId};
use crate::nva::model::{Allocation, AllocationKey, Key, Object, ObjectKey, Record, Transaction};
use crate::nva::store::bytes::{read_key, write_key};
use crate::nva::store::form::{
    read_allocation, read_allocation_key, read_object, read_object_key, read_record, write_allocation,
    write_allocation_key, write_object, write_object_key, write_record,
};
use crate::nva::store::group_form::{read_group, write_group};
use crate::nva::store::interface::EPOCH;
use crate::nva::store::move_form::{read_move, write_move};
use crate::nva::store::sequencer::{Head, Offer, TOKEN};
use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, TxnOp};
use std::sync::Arc;

/// The form of the head; another release may write another one.
const FORM: &str = "1";
/// Records of one transaction: etcd takes 128 operations, unless it is told otherwise, and one is the head.
pub(super) const BATCH: usize = 120;

/// Who says that it has the session of an NVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Name of the authority.
    pub(super) authority: String,
    /// Of the transaction that opened the session.
    pub(super) token: [u8; TOKEN],
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Ends with `/`.
    prefix: String,
}

/// What a key is of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Head,
    Record(Key),
    Object(ObjectKey),
    Allocation(AllocationKey),
    Move(MoveId),
    Group(String),
    Session(String),
    Restored,
    Completed(Arc<str>),
    Wish(Instance),
    Applied(String),
    Other,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Layout { prefix: format!("{prefix}/") }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn head(&self) -> String {
        format!("{}head", self.prefix)
    }

    pub(super) fn record(&self, key: Key) -> String {
        let bytes = write_key(key);
        let shard = bytes.iter().fold(0, |shard, byte| shard ^ byte);
        format!("{}r/{shard:02x}/{:032x}", self.prefix, u128::from_be_bytes(bytes))
    }

    /// What the keys of the records of a shard begin with.
    pub(super) fn shard(&self, shard: u8) -> String {
        format!("{}r/{shard:02x}/", self.prefix)
    }

    /// What the keys of each sixteenth of the records begin with.
    pub(super) fn sixteenths(&self) -> impl Iterator<Item = String> + '_ {
        (0..16_u8).map(|digit| format!("{}r/{digit:x}", self.prefix))
    }

    /// What the keys of all objects begin with.
    pub(super) fn objects(&self) -> String {
        format!("{}o/", self.prefix)
    }

    fn object(&self, key: &ObjectKey) -> String {
        format!("{}{}", self.objects(), write_object_key(key))
    }

    /// What the keys of all allocations begin with.
    pub(super) fn allocations(&self) -> String {
        format!("{}a/", self.prefix)
    }

    fn allocation(&self, key: &AllocationKey) -> String {
        format!("{}{}", self.allocations(), write_allocation_key(key))
    }

    /// What the keys of all moves begin with.
    pub(super) fn moves(&self) -> String {
        format!("{}m/", self.prefix)
    }

    /// What the keys of all groups begin with.
    pub(super) fn groups(&self) -> String {
        format!("{}g/", self.prefix)
    }

    fn group(&self, name: &str) -> String {
        format!("{}{name}", self.groups())
    }

    fn one_move(&self, id: MoveId) -> String {
        format!("{}{:016x}", self.moves(), id.0)
    }

    pub(super) fn restored(&self) -> String {
        format!("{}restored", self.prefix)
    }

    pub(super) fn completed(&self, nve: &str) -> String {
        format!("{}c/{nve}", self.prefix)
    }

    pub(super) fn session(&self, nve: &str) -> String {
        format!("{}s/{nve}", self.prefix)
    }

    /// What is at a key.
    pub(super) fn place(&self, key: &[u8]) -> Place {
        let text = std::str::from_utf8(key).ok().and_then(|text| text.strip_prefix(&self.prefix));
        let Some(text) = text else { return Place::Other };
        match text.split_once('/') {
            None if text == "head" => Place::Head,
            None if text == "restored" => Place::Restored,
            Some(("c", nve)) => Place::Completed(nve.into()),
            Some(("a", key)) => read_allocation_key(key).map_or(Place::Other, Place::Allocation),
            Some(("o", key)) => read_object_key(key).map_or(Place::Other, Place::Object),
            Some(("m", hex)) => {
                u64::from_str_radix(hex, 16).map_or(Place::Other, |id| Place::Move(MoveId(id)))
            }
            Some(("g", name)) => Place::Group(name.to_owned()),
            Some(("s", nve)) => Place::Session(nve.to_owned()),
            Some(("v", authority)) => Place::Applied(authority.to_owned()),
            Some(("w", hex)) => {
                u64::from_str_radix(hex, 16).map_or(Place::Other, |it| Place::Wish(it.to_be_bytes()))
            }
            Some(("r", rest)) => rest
                .split_once('/')
                .filter(|(_, hex)| hex.len() == 32)
                .and_then(|(_, hex)| u128::from_str_radix(hex, 16).ok())
                .map_or(Place::Other, |bits| Place::Record(read_key(bits.to_be_bytes()))),
            _ => Place::Other,
        }
    }

    /// What an offer of the authority of this name does. The head comes last, so that whoever follows knows that it is
    /// whole.
    pub(super) fn operations(&self, offer: &Offer, authority: &str, lease: i64) -> Vec<TxnOp> {
        let claim = write_claim(&Claim { authority: authority.to_owned(), token: offer.head.token });
        let lease = PutOptions::new().with_lease(lease);
        let opened = offer.commit.opened.iter();
        let opened = opened.map(|nve| TxnOp::put(self.session(nve), claim.clone(), Some(lease.clone())));
        let Transaction { writes, deletes, objects, moves, groups, ends_restoration, completed, allocations } =
            &offer.commit.transaction;
        let writes = writes.iter().map(|(key, record)| self.put_record(*key, record));
        let deletes = deletes.iter().map(|key| TxnOp::delete(self.record(*key), None));
        let objects = objects.iter().map(|(key, object)| match object {
            Some(object) => self.put_object(key, object),
            None => TxnOp::delete(self.object(key), None),
        });
        let allocations = allocations.iter().map(|(key, allocation)| match allocation {
            Some(allocation) => self.put_allocation(key, allocation),
            None => TxnOp::delete(self.allocation(key), None),
        });
        let moves = moves.iter().map(|(id, one)| match one {
            Some(one) => TxnOp::put(self.one_move(*id), write_move(one), None),
            None => TxnOp::delete(self.one_move(*id), None),
        });
        let groups = groups.iter().map(|(name, group)| match group {
            Some(group) => self.put_group(group),
            None => TxnOp::delete(self.group(name), None),
        });
        let completed = completed.iter().map(|nve| TxnOp::put(self.completed(nve), "", None));
        let all_completed = || TxnOp::delete(self.completed(""), Some(DeleteOptions::new().with_prefix()));
        let ends = ends_restoration.then(|| [TxnOp::delete(self.restored(), None), all_completed()]);
        let head = TxnOp::put(self.head(), write_head(&offer.head), None);
        let changes = opened.chain(writes).chain(deletes).chain(objects).chain(moves).chain(allocations);
        changes.chain(groups).chain(completed).chain(ends.into_iter().flatten()).chain([head]).collect()
    }

    /// What must be so, besides the head, for an offer to take effect: an attachment that comes to its new NVE is at the
    /// old one and not there yet. Whoever else wrote there, also without a transaction, makes no attachment of two or none.
    pub(super) fn conditions(&self, offer: &Offer) -> Vec<Compare> {
        let moves = offer.commit.transaction.moves.iter().filter_map(|(_, one)| one.as_ref());
        let commits = moves.filter(|one| one.committed == offer.head.revision);
        let place = |nve: &String, attachment: &String| {
            let name = ObjectName::Attachment(attachment.clone());
            self.object(&ObjectKey { nve: nve.clone(), name })
        };
        let pair = |Move { attachment, from, to, .. }: &Move| {
            let source = Compare::create_revision(place(from, attachment), CompareOp::Greater, 0);
            let target = Compare::create_revision(place(to, attachment), CompareOp::Equal, 0);
            [source, target]
        };
        commits.flat_map(pair).collect()
    }

    /// What an offer leaves that loses.
    pub(super) fn wish(&self, by: Instance, lease: i64) -> TxnOp {
        let key = format!("{}w/{:016x}", self.prefix, u64::from_be_bytes(by));
        TxnOp::put(key, "", Some(PutOptions::new().with_lease(lease)))
    }

    /// Where an authority says what is applied.
    pub(super) fn applied(&self, authority: &str) -> String {
        format!("{}v/{authority}", self.prefix)
    }

    pub(super) fn put_record(&self, key: Key, record: &Record) -> TxnOp {
        TxnOp::put(self.record(key), write_record(record), None)
    }

    pub(super) fn put_object(&self, key: &ObjectKey, object: &Object) -> TxnOp {
        TxnOp::put(self.object(key), write_object(object), None)
    }

    pub(super) fn put_group(&self, group: &Group) -> TxnOp {
        TxnOp::put(self.group(&group.name), write_group(group), None)
    }

    pub(super) fn put_allocation(&self, key: &AllocationKey, allocation: &Allocation) -> TxnOp {
        TxnOp::put(self.allocation(key), write_allocation(allocation), None)
    }
}

/// A record as it stands in the store.
pub(super) fn record(key: Key, bytes: &[u8]) -> Result<(Key, Record), String> {
    read_record(bytes).map(|record| (key, record)).ok_or_else(|| format!("the record of {key} is damaged"))
}

/// An object as it stands in the store.
pub(super) fn object(key: ObjectKey, bytes: &[u8]) -> Result<(ObjectKey, Object), String> {
    match read_object(bytes) {
        Some(object) => Ok((key, object)),
        None => Err(format!("{key} is damaged")),
    }
}

/// An allocation as it stands in the store.
pub(super) fn allocation(key: AllocationKey, bytes: &[u8]) -> Result<(AllocationKey, Allocation), String> {
    read_allocation(bytes).map(|it| (key, it)).ok_or_else(|| format!("the allocation of {key} is damaged"))
}

/// A move as it stands in the store.
pub(super) fn one_move(id: MoveId, bytes: &[u8]) -> Result<(MoveId, Move), String> {
    read_move(id, bytes).map(|one| (id, one)).ok_or_else(|| format!("move {} is damaged", id.0))
}

/// A group as it stands in the store.
pub(super) fn group(name: &str, bytes: &[u8]) -> Result<Group, String> {
    read_group(name, bytes).ok_or_else(|| format!("the group {} is damaged", name.escape_debug()))
}

pub(super) fn write_head(Head { epoch, revision, token }: &Head) -> String {
    let (epoch, token) = (u128::from_be_bytes(*epoch), u128::from_be_bytes(*token));
    format!("{FORM} {epoch:032x} {revision} {token:032x}")
}

/// What [`write_head`] wrote.
pub(super) fn read_head(bytes: &[u8]) -> Option<Head> {
    let mut words = std::str::from_utf8(bytes).ok()?.split(' ');
    let hex = |word: &str| u128::from_str_radix(word, 16).ok().map(u128::to_be_bytes);
    let (form, epoch, revision, token) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if form != FORM || words.next().is_some() {
        return None;
    }
    Some(Head { epoch: hex(epoch)?, revision: revision.parse().ok()?, token: hex(token)? })
}

/// What stands at the head while a copy fills the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of this attempt: what an earlier one sent and etcd takes late has no effect.
    pub(super) run: [u8; EPOCH],
    /// Of the registry that is to be.
    pub(super) epoch: [u8; EPOCH],
    /// Of the registry that is copied.
    pub(super) source: [u8; EPOCH],
    /// Where that is, for people.
    pub(super) file: String,
}

const FILLING: &str = "filling";

pub(super) fn write_mark(Mark { run, epoch, source, file }: &Mark) -> String {
    let [run, epoch, source] = [run, epoch, source].map(|it| u128::from_be_bytes(*it));
    format!("{FILLING} {run:032x} {epoch:032x} {source:032x} {file}")
}

/// What [`write_mark`] wrote.
pub(super) fn read_mark(bytes: &[u8]) -> Option<Mark> {
    let mut words = std::str::from_utf8(bytes).ok()?.splitn(5, ' ');
    let is_mark = words.next() == Some(FILLING);
    let mut hex = || u128::from_str_radix(words.next()?, 16).ok().map(u128::to_be_bytes);
    let (run, epoch, source) = (hex()?, hex()?, hex()?);
    let file = words.next()?.to_owned();
    is_mark.then_some(Mark { run, epoch, source, file })
}

pub(super) fn write_claim(Claim { authority, token }: &Claim) -> String {
    format!("{authority} {:032x}", u128::from_be_bytes(*token))
}

/// What [`write_claim`] wrote.
pub(super) fn read_claim(bytes: &[u8]) -> Option<Claim> {
    let (authority, token) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    let token = u128::from_str_radix(token, 16).ok()?.to_be_bytes();
    Some(Claim { authority: authority.to_owned(), token })
}

/// The end of the range of keys that begin with `prefix`, which is not empty and ends with an ASCII character.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let layout = Layout::new("/ilagate/lab");
        let key = Key { sir_prefix: 0x2001_0db8_dddd_0000, identifier: 0x2000_0000_0000_0001 };
        assert_eq!(layout.record(key), "/ilagate/lab/r/b5/20010db8dddd00002000000000000001");
        assert_eq!(layout.place(layout.record(key).as_bytes()), Place::Record(key));
        assert!(layout.record(key).starts_with(&layout.shard(0xb5)));
        assert_eq!(layout.place(layout.head().as_bytes()), Place::Head);
        assert_eq!(layout.place(layout.session("nve1").as_bytes()), Place::Session("nve1".to_owned()));
        let applied = layout.applied("nva1");
        assert_eq!(layout.place(applied.as_bytes()), Place::Applied("nva1".to_owned()));
        assert_eq!(layout.one_move(MoveId(0x1f)), "/ilagate/lab/m/000000000000001f");
        assert_eq!(layout.place(layout.one_move(MoveId(0x1f)).as_bytes()), Place::Move(MoveId(0x1f)));
        assert_eq!(layout.place(layout.group("db").as_bytes()), Place::Group("db".to_owned()));
        assert_eq!(layout.place(layout.restored().as_bytes()), Place::Restored);
        assert_eq!(layout.place(layout.completed("nve1").as_bytes()), Place::Completed("nve1".into()));
        let mark = Mark {
            run: [9; EPOCH],
            epoch: [7; EPOCH],
            source: [8; EPOCH],
            file: "/var/lib/my nva.redb".to_owned(),
        };
        assert_eq!(read_mark(write_mark(&mark).as_bytes()), Some(mark.clone()));
        assert_eq!((read_head(write_mark(&mark).as_bytes()), read_mark(b"1 07 08 x")), (None, None));
        for other in ["/ilagate/lab2/head", "/ilagate/lab/r/b5/1", "/ilagate/lab/x", "\u{e4}"] {
            assert_eq!(layout.place(other.as_bytes()), Place::Other);
        }
        let head = Head { epoch: [7; 16], revision: u64::MAX, token: [0; 16] };
        assert_eq!(read_head(write_head(&head).as_bytes()), Some(head));
        for bad in ["", "2 07 1 00", "1 07 1", "1 07 1 00 ", "1 x 1 00"] {
            assert_eq!(read_head(bad.as_bytes()), None);
        }
        let claim = Claim { authority: "nva1".to_owned(), token: [9; TOKEN] };
        assert_eq!(read_claim(write_claim(&claim).as_bytes()), Some(claim));
        assert_eq!(end_of("/r/00/"), b"/r/000");
    }
}

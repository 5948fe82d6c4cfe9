//! Follows the store: transactions of all authorities as wholes, in their order, and sessions.

use super::layout::{
    Claim, Layout, Place, allocation, group, object, one_move, read_claim, read_head, record,
};
use super::link::{CONNECT, Failure, Link, answer, in_words};
use super::turns::Instance;
use crate::config::EtcdConfig;
use crate::nva::model::Transaction;
use crate::nva::store::sequencer::Head;
use etcd_client::{Event, EventType, WatchOptions, WatchStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Time before a member is asked anew.
const PAUSE: Duration = Duration::from_millis(200);

/// What the store tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A transaction, and the revision of etcd after it.
    Transaction(Box<Whole>, i64),
    /// An NVE has no session any more.
    Left(String),
    /// All NVEs with a session at this authority have applied what they are waited for up to this revision; none: it is gone.
    Applied(String, Option<u64>),
    /// An authority wishes to go first.
    Wish(Instance),
    /// What came next is not kept any more: everything is to be read.
    Compacted,
    /// What is there cannot be understood.
    Damaged(String),
    /// Nobody can be asked, and why.
    Away(String),
    /// Somebody answers.
    Following,
}

/// A transaction as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) head: Head,
    pub(super) transaction: Transaction,
    /// NVEs that opened a session, and where.
    pub(super) opened: Vec<(String, Claim)>,
}

/// Puts transactions together.
#[derive(Debug, Default)]
struct Assembler {
    revision: i64,
    transaction: Transaction,
    opened: Vec<(String, Claim)>,
}

impl Assembler {
    fn is_empty(&self) -> bool {
        self.transaction.is_empty() && self.opened.is_empty()
    }

    /// The next event. The head of a transaction comes last.
    fn event(&mut self, layout: &Layout, event: &Event) -> Option<Item> {
        let value = event.kv()?;
        if value.mod_revision() != self.revision {
            if !self.is_empty() {
                return Some(Item::Damaged(
                    "records changed and the head did not: who writes there?".to_owned(),
                ));
            }
            self.revision = value.mod_revision();
        }
        let is_put = event.event_type() == EventType::Put;
        match layout.place(value.key()) {
            Place::Head if is_put => Some(match read_head(value.value()) {
                Some(head) => {
                    let transaction = std::mem::take(&mut self.transaction);
                    let opened = std::mem::take(&mut self.opened);
                    Item::Transaction(Box::new(Whole { head, transaction, opened }), self.revision)
                }
                None => Item::Damaged("a head that this release cannot read".to_owned()),
            }),
            Place::Head => Some(Item::Damaged("the head was deleted".to_owned())),
            Place::Record(key) if is_put => match record(key, value.value()) {
                Ok(record) => {
                    self.transaction.writes.push(record);
                    None
                }
                Err(why) => Some(Item::Damaged(why)),
            },
            Place::Record(key) => {
                self.transaction.deletes.push(key);
                None
            }
            Place::Object(key) if is_put => match object(key, value.value()) {
                Ok((key, object)) => {
                    self.transaction.objects.push((key, Some(object)));
                    None
                }
                Err(why) => Some(Item::Damaged(why)),
            },
            Place::Object(key) => {
                self.transaction.objects.push((key, None));
                None
            }
            Place::Allocation(key) if is_put => match allocation(key, value.value()) {
                Ok((key, allocation)) => {
                    self.transaction.allocations.push((key, Some(allocation)));
                    None
                }
                Err(why) => Some(Item::Damaged(why)),
            },
            Place::Allocation(key) => {
                self.transaction.allocations.push((key, None));
                None
            }
            Place::Move(id) if is_put => match one_move(id, value.value()) {
                Ok((id, one)) => {
                    self.transaction.moves.push((id, Some(one)));
                    None
                }
                Err(why) => Some(Item::Damaged(why)),
            },
            Place::Move(id) => {
                self.transaction.moves.push((id, None));
                None
            }
            Place::Group(name) if is_put => match group(&name, value.value()) {
                Ok(group) => {
                    self.transaction.groups.push((name, Some(group)));
                    None
                }
                Err(why) => Some(Item::Damaged(why)),
            },
            Place::Group(name) => {
                self.transaction.groups.push((name, None));
                None
            }
            Place::Session(nve) if is_put => match read_claim(value.value()) {
                Some(claim) => {
                    self.opened.push((nve, claim));
                    None
                }
                None => Some(Item::Damaged(format!("the session of {nve} is damaged"))),
            },
            Place::Session(nve) => Some(Item::Left(nve)),
            Place::Restored => {
                self.transaction.ends_restoration |= !is_put;
                None
            }
            Place::Completed(nve) => {
                // They go with the end of the restoration.
                self.transaction.completed.extend(is_put.then_some(nve));
                None
            }
            Place::Applied(authority) => {
                // What a later release writes otherwise says nothing.
                let revision = std::str::from_utf8(value.value()).ok().and_then(|text| text.parse().ok());
                Some(Item::Applied(authority, revision.filter(|_| is_put)))
            }
            Place::Wish(by) => is_put.then_some(Item::Wish(by)),
            Place::Other => None,
        }
    }
}

/// Follows from a revision of etcd on, until nobody listens or what is next is not there.
pub(super) async fn follow(config: Arc<EtcdConfig>, layout: Layout, mut from: i64, tell: mpsc::Sender<Item>) {
    let members = config.endpoints.len();
    let (mut link, mut failed) = (Link::new(config), 0);
    loop {
        let why = match open(&mut link, &layout, from).await {
            Ok(mut stream) => match read(&mut stream, &layout, &mut from, &mut failed, &tell).await {
                Ok(why) => why,
                // Nobody listens, or there is nothing more to be told.
                Err(()) => return,
            },
            Err(why) => why.why(),
        };
        let why = format!("{}: {why}", link.endpoint());
        tracing::debug!(why, "the watch ends");
        failed += 1;
        // One that ended may begin anew at once.
        if failed > members && tell.send(Item::Away(why)).await.is_err() {
            return;
        }
        link.failed();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(link: &mut Link, layout: &Layout, from: i64) -> Result<WatchStream, Failure> {
    let mut client = link.client().await?;
    let options =
        WatchOptions::new().with_prefix().with_start_revision(from).with_progress_notify().with_fragment();
    answer(client.watch(layout.prefix(), Some(options))).await
}

/// Reads a stream to its end, and says why it ended.
async fn read(
    stream: &mut WatchStream,
    layout: &Layout,
    from: &mut i64,
    failed: &mut usize,
    tell: &mpsc::Sender<Item>,
) -> Result<String, ()> {
    // Each stream begins with a whole revision.
    let mut assembler = Assembler::default();
    let mut is_first = true;
    loop {
        let next = stream.message();
        // The first message comes at once, and then as there is something to tell; a connection that is dead ends itself.
        let next = if is_first {
            match tokio::time::timeout(CONNECT, next).await {
                Ok(next) => next,
                Err(_) => return Ok("no answer".to_owned()),
            }
        } else {
            next.await
        };
        let message = match next {
            Ok(Some(message)) => message,
            Ok(None) => return Ok("the stream ended".to_owned()),
            Err(why) => return Ok(in_words(&why)),
        };
        if message.compact_revision() > 0 {
            let _ = tell.send(Item::Compacted).await;
            return Err(());
        }
        if message.canceled() {
            return Ok(format!("canceled: {}", message.cancel_reason()));
        }
        if is_first {
            (is_first, *failed) = (false, 0);
            tell.send(Item::Following).await.map_err(|_| ())?;
        }
        for event in message.events() {
            if let Some(item) = assembler.event(layout, event) {
                let is_last = matches!(item, Item::Damaged(_));
                tell.send(item).await.map_err(|_| ())?;
                if is_last {
                    return Err(());
                }
            }
            // What follows of the same revision may be in the next message: it is read again, and known then.
            *from = (*from).max(assembler.revision);
        }
        // Nothing of it is on its way any more.
        if message.events().is_empty() && !message.created() && assembler.is_empty() {
            *from = (*from).max(message.header().map_or(0, |header| header.revision() + 1));
        }
    }
}

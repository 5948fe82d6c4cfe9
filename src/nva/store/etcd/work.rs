//! The store at work: offers transactions, follows those of all authorities, and tells of sessions.

use super::layout::{Claim, Layout, read_head, write_claim, write_head};
use super::lease::{self, Lent};
use super::link::{Failure, Link, PAUSE, answer};
use super::load::{Loaded, load};
use super::turns::Turns;
use super::watch::{Item, Whole, follow};
use crate::config::EtcdConfig;
use crate::nva::store::interface::StoreError;
use crate::nva::store::running::{Order, Report};
use crate::nva::store::sequencer::{Answer, Head, Offer, Seen, Sequencer, TOKEN};
use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Items of the watch that wait. Beyond them etcd waits.
const ITEMS: usize = 64;
/// Time before an offer without an answer is made again.
const AGAIN: Duration = Duration::from_millis(100);
/// Time in which the watch tells who came first. Then it is begun anew.
const LAG: Duration = Duration::from_secs(2);
/// Shortest time between two words of what is applied.
const APPLIED: Duration = Duration::from_millis(20);
/// Revisions of etcd that are kept for authorities that lag behind, and transactions between two compactions.
const KEPT: i64 = 10_000;
const COMPACTED: u64 = 1_000;

/// What became of an offer, and the revision of etcd after it.
type Offered = (Offer, Answer, Option<(Client, i64)>);
/// A session that ended, and why etcd was not told of it.
type Told = (Session, Result<(), String>);
/// An NVE and the token of the transaction that opened its session here.
type Session = (Arc<str>, [u8; TOKEN]);
type Call<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Waits for a call, if there is one.
async fn done_of<T>(call: &mut Call<T>) -> T {
    match call {
        Some(call) => call.await,
        None => pending().await,
    }
}

/// Waits until then, if ever.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => pending().await,
    }
}

/// The store of one authority of several.
pub(super) struct Work {
    config: Arc<EtcdConfig>,
    layout: Layout,
    /// Of this authority.
    name: String,
    link: Link,
    sequencer: Sequencer,
    turns: Turns,
    /// Sessions here that etcd was told of, or is being told of.
    here: BTreeMap<Arc<str>, [u8; TOKEN]>,
    /// Sessions that ended, of which etcd is to be told.
    left: VecDeque<Session>,
    /// What is said of sessions here ends with it.
    lease: Lent,
    reports: mpsc::UnboundedSender<Report>,
    items: mpsc::Receiver<Item>,
    follower: Option<JoinHandle<()>>,
    offering: Call<Offered>,
    telling: Call<Told>,
    /// Up to which revision all is applied here, until the others are told.
    applied: Option<u64>,
    marking: Call<Result<(), String>>,
    /// When they may be told the next time.
    marked: Option<Instant>,
    /// When what is not settled is offered again.
    again: Option<Instant>,
    /// When etcd is told again that sessions ended.
    retold: Option<Instant>,
    /// Another authority came first, and the watch did not tell of it yet.
    is_behind: bool,
    is_away: bool,
    /// The revision of etcd up to which everything is known at least.
    known: i64,
}

/// The store is of no use any more, and why.
struct Broken(String);

impl Work {
    /// After what was read.
    pub(super) fn new(
        config: Arc<EtcdConfig>,
        layout: Layout,
        name: &str,
        (head, known): (Head, i64),
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        let mut instance = [0; 8];
        rand::fill(&mut instance[..]);
        Work {
            name: name.to_owned(),
            link: Link::new(config.clone()),
            sequencer: Sequencer::new(head, instance),
            turns: Turns::new(instance),
            here: BTreeMap::new(),
            left: VecDeque::new(),
            lease: Err(None),
            items: mpsc::channel(1).1,
            follower: None,
            offering: None,
            telling: None,
            applied: None,
            marking: None,
            marked: None,
            again: None,
            retold: None,
            is_behind: false,
            is_away: false,
            known,
            config,
            layout,
            reports,
        }
    }

    /// Works as long as somebody gives orders.
    pub(super) async fn run(
        mut self,
        claims: Vec<(String, Claim)>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        self.follow(self.known + 1);
        self.report_elsewhere(claims);
        let (lends, mut lease) = watch::channel(Err(None));
        let keeper = tokio::spawn(lease::keep(self.config.clone(), lends));
        loop {
            self.offer().await;
            self.tell().await;
            self.mark().await;
            let mut done = Ok(());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                offered = done_of(&mut self.offering) => done = self.offered(offered),
                (session, told) = done_of(&mut self.telling) => self.told(session, told),
                item = self.items.recv() => done = self.learn(item).await,
                marked = done_of(&mut self.marking) => self.marked(marked),
                () = at(self.marked) => self.marked = None,
                () = at(self.again) => self.offer_again(),
                () = at(self.retold) => self.retold = None,
                Ok(()) = lease.changed() => {
                    let lent = lease.borrow_and_update().clone();
                    self.lend(lent);
                }
            }
            if let Err(Broken(why)) = done {
                self.report(Report::Broken(why));
                break;
            }
        }
        keeper.abort();
        self.follower.iter().for_each(JoinHandle::abort);
        // What this authority said of sessions ends with it.
        if let (Ok(id), Ok(mut client)) = (&self.lease, self.link.client().await) {
            let _ = tokio::time::timeout(PAUSE, client.lease_revoke(*id)).await;
        }
    }

    /// Nobody may listen any more; then there are no orders, either.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Commit(commit) => {
                if let Some(offer) = self.sequencer.commit(commit) {
                    let token = offer.head.token;
                    self.here.extend(offer.commit.opened.iter().map(|nve| (nve.clone(), token)));
                    self.forget_offer();
                }
            }
            Order::Left(nve) => self.left.extend(self.here.remove_entry(&nve)),
            Order::Applied(revision) => self.applied = Some(revision),
            Order::Snapshot(tell) => {
                let why = "the registry is in etcd; `ila-nva backup` copies it into a file";
                let _ = tell.send(Err(StoreError(why.to_owned())));
            }
        }
    }

    /// Nothing is on its way any more that could settle what is offered.
    fn forget_offer(&mut self) {
        (self.offering, self.again, self.is_behind) = (None, None, false);
    }

    /// Offers what is not settled, if it is time.
    async fn offer(&mut self) {
        if self.offering.is_some() || self.again.is_some() {
            return;
        }
        let Some(offer) = self.sequencer.offer().cloned() else { return };
        let lease = match &self.lease {
            Ok(lease) => *lease,
            // It is there soon, or etcd is not.
            Err(None) => return,
            Err(Some(why)) => {
                let refused = Answer::Refused(format!("etcd gives no lease: {why}"));
                self.offering = Some(Box::pin(async move { (offer, refused, None) }));
                return;
            }
        };
        if let Some(until) = self.turns.waits_until(Instant::now()) {
            self.again = Some(until);
            return;
        }
        match self.link.client().await {
            Ok(client) => {
                let writes = match offer.head == offer.follows {
                    true => Vec::new(),
                    false => self.layout.operations(&offer, &self.name, lease),
                };
                let wish = self.turns.may_wish().then(|| self.layout.wish(self.turns.own(), lease));
                let (head, conditions) = (self.layout.head(), self.layout.conditions(&offer));
                self.offering = Some(Box::pin(offered(client, head, offer, (conditions, writes, wish))));
            }
            Err(why) => {
                tracing::warn!(why = why.why(), "etcd cannot be asked");
                self.link.failed();
                self.again = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn offer_again(&mut self) {
        self.again = None;
        if std::mem::take(&mut self.is_behind) {
            tracing::warn!(
                "another authority came first, and the watch does not tell of it: it is begun anew"
            );
            self.follow(self.known + 1);
        }
    }

    fn offered(&mut self, (offer, answer, at): Offered) -> Result<(), Broken> {
        self.offering = None;
        match &answer {
            Answer::Unknown => {
                self.link.failed();
                self.again = Some(Instant::now() + AGAIN);
            }
            Answer::Lost(_) => {
                self.is_behind = true;
                self.again = Some(Instant::now() + LAG);
            }
            Answer::Refused(_) => {
                self.turns.settled();
                self.again = Some(Instant::now() + PAUSE);
            }
            Answer::Taken => {}
        }
        let answered = self.sequencer.answered(&offer, answer).map_err(Broken)?;
        let Some(report) = answered else { return Ok(()) };
        self.forget_offer();
        self.turns.settled();
        if report == Report::Durable && offer.head.revision.is_multiple_of(COMPACTED) {
            self.compact(at);
        }
        self.report(report);
        Ok(())
    }

    /// Forgets what happened long ago. Whoever made a transaction of a round number does it, so that one does.
    fn compact(&mut self, at: Option<(Client, i64)>) {
        let Some((mut client, revision)) = at.filter(|(_, revision)| *revision > KEPT) else { return };
        tokio::spawn(async move {
            if let Err(why) = answer(client.compact(revision - KEPT, None)).await {
                tracing::warn!(why = why.why(), "etcd cannot be compacted");
            }
        });
    }

    /// What was said with an earlier lease is forgotten, and said again.
    fn lend(&mut self, lent: Lent) {
        if lent.is_ok() && self.lease != lent && !self.here.is_empty() {
            self.report(Report::Forgotten);
        }
        self.lease = lent;
    }

    /// Tells etcd of a session that ended, if it is time.
    async fn tell(&mut self) {
        if self.telling.is_some() || self.retold.is_some() {
            return;
        }
        // One that is being opened is told of once that is settled: else etcd would hear of its end first.
        let offered = self.sequencer.offer().map(|offer| offer.head.token);
        let next = self.left.iter().position(|(_, token)| Some(*token) != offered);
        let Some((nve, token)) = next.and_then(|next| self.left.remove(next)) else { return };
        let claim = write_claim(&Claim { authority: self.name.clone(), token });
        let key = self.layout.session(&nve);
        // A later session has another claim.
        let is_own = Compare::value(key.clone(), CompareOp::Equal, claim);
        let told = Txn::new().when([is_own]).and_then([TxnOp::delete(key, None)]);
        let client = self.link.client().await;
        self.telling = Some(Box::pin(async move {
            let done = match client {
                Ok(mut client) => answer(client.txn(told)).await,
                Err(why) => Err(why),
            };
            ((nve, token), done.map(|_| ()).map_err(Failure::why))
        }));
    }

    fn told(&mut self, session: Session, told: Result<(), String>) {
        self.telling = None;
        if let Err(why) = told {
            tracing::debug!(why, "etcd was not told that a session ended");
            self.left.push_front(session);
            self.retold = Some(Instant::now() + PAUSE);
            self.link.failed();
        }
    }

    /// Tells the other authorities what is applied here, if it is time: it is no transaction, and the last word counts.
    async fn mark(&mut self) {
        if self.marking.is_some() || self.marked.is_some() {
            return;
        }
        let (Some(applied), Ok(lease)) = (self.applied, &self.lease) else { return };
        let (key, lease) = (self.layout.applied(&self.name), PutOptions::new().with_lease(*lease));
        self.applied = None;
        self.marked = Some(Instant::now() + APPLIED);
        let client = self.link.client().await;
        self.marking = Some(Box::pin(async move {
            let done = match client {
                Ok(mut client) => answer(client.put(key, applied.to_string(), Some(lease))).await,
                Err(why) => Err(why),
            };
            done.map(|_| ()).map_err(Failure::why)
        }));
    }

    /// One that was not heard is not said again: the next one says more, and without one moves take their time.
    fn marked(&mut self, marked: Result<(), String>) {
        self.marking = None;
        if let Err(why) = marked {
            tracing::debug!(why, "the other authorities were not told what is applied here");
            self.link.failed();
        }
    }

    /// Tells which sessions are elsewhere. Those of this run of this authority are here, or ended.
    fn report_elsewhere(&self, claims: Vec<(String, Claim)>) {
        let elsewhere = claims.into_iter().filter(|(_, claim)| !self.sequencer.is_own(claim.token));
        self.report(Report::AtOthers(elsewhere.map(|(nve, claim)| (nve, claim.authority)).collect()));
    }

    /// Follows from a revision of etcd on.
    fn follow(&mut self, from: i64) {
        self.follower.iter().for_each(JoinHandle::abort);
        let (tell, items) = mpsc::channel(ITEMS);
        self.items = items;
        let following = follow(self.config.clone(), self.layout.clone(), from, tell);
        self.follower = Some(tokio::spawn(following));
    }

    async fn learn(&mut self, item: Option<Item>) -> Result<(), Broken> {
        match item {
            Some(Item::Transaction(whole, at)) => {
                let Whole { head, transaction, opened } = *whole;
                self.known = self.known.max(at);
                let opened = opened.into_iter().map(|(nve, claim)| (nve, claim.authority)).collect();
                self.turns.went(head.token);
                match self.sequencer.seen(head, transaction, opened).map_err(Broken)? {
                    Seen::Known => {}
                    Seen::Next(report) => {
                        match report {
                            Report::Others(..) if self.offering.is_some() || self.is_behind => {
                                self.turns.lost()
                            }
                            Report::Others(..) => {}
                            _ => self.turns.settled(),
                        }
                        self.forget_offer();
                        self.report(report);
                    }
                    Seen::Gap => self.read_anew().await?,
                }
            }
            Some(Item::Applied(authority, revision)) if authority != self.name => {
                self.report(Report::AppliedAt(authority, revision));
            }
            Some(Item::Applied(..)) => {}
            Some(Item::Wish(by)) => self.turns.wished(by, Instant::now()),
            Some(Item::Left(nve)) => self.report(Report::Nowhere(nve)),
            Some(Item::Away(why)) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    self.report(Report::Away(Some(why)));
                }
            }
            Some(Item::Following) => {
                if std::mem::take(&mut self.is_away) {
                    self.report(Report::Away(None));
                }
            }
            Some(Item::Damaged(why)) => return Err(Broken(why)),
            Some(Item::Compacted) | None => self.read_anew().await?,
        }
        Ok(())
    }

    /// Reads everything, when the watch cannot tell what happened.
    async fn read_anew(&mut self) -> Result<(), Broken> {
        let Loaded { head, at, stored, claims } = loop {
            let read = match self.link.client().await {
                Ok(mut client) => load(&mut client, &self.layout, None, &mut |_, _, _| ()).await,
                Err(why) => Err(why),
            };
            match read {
                Ok(loaded) => break loaded,
                Err(Failure::Refused(why)) => return Err(Broken(why)),
                // It may have taken longer than what it read was kept.
                Err(Failure::Unknown(why)) => {
                    tracing::warn!(why, "the store cannot be read anew; it is tried again");
                    self.link.failed();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        if self.sequencer.replaced(head).map_err(Broken)? {
            self.forget_offer();
            self.report(Report::Replaced(stored));
        }
        self.report_elsewhere(claims);
        self.known = at;
        self.follow(at + 1);
        Ok(())
    }
}

/// What became of an offer for which etcd has no room. It says so also of the one with which its room ends, and which took
/// effect: the head tells.
async fn full(client: &mut Client, head: String, offer: &Offer, why: String) -> Answer {
    let Ok(got) = answer(client.get(head, None)).await else { return Answer::Unknown };
    match got.kvs().first().and_then(|value| read_head(value.value())) {
        Some(head) if head == offer.follows => Answer::Refused(why),
        Some(head) if head == offer.head => Answer::Taken,
        head => Answer::Lost(head),
    }
}

/// Offers a transaction to etcd.
async fn offered(
    mut client: Client,
    head: String,
    offer: Offer,
    (conditions, writes, wish): (Vec<Compare>, Vec<TxnOp>, Option<TxnOp>),
) -> Offered {
    let is_head = Compare::value(head.clone(), CompareOp::Equal, write_head(&offer.follows));
    let is_conditional = !conditions.is_empty();
    let transaction =
        Txn::new().when([is_head].into_iter().chain(conditions).collect::<Vec<_>>()).and_then(writes);
    let transaction =
        transaction.or_else([TxnOp::get(head.clone(), None)].into_iter().chain(wish).collect::<Vec<_>>());
    match answer(client.txn(transaction)).await {
        Ok(answered) => {
            let revision = answered.header().map_or(0, |header| header.revision());
            let answer = match answered.succeeded() {
                true => Answer::Taken,
                false => {
                    Answer::Lost(answered.op_responses().into_iter().find_map(|response| match response {
                        TxnOpResponse::Get(got) => {
                            got.kvs().first().and_then(|value| read_head(value.value()))
                        }
                        _ => None,
                    }))
                }
            };
            let answer = match answer {
                // The head is what it follows: something else is not so.
                Answer::Lost(Some(head)) if is_conditional && head == offer.follows => Answer::Refused(
                    "an attachment is not at the NVE that it leaves, or at the one that it comes to already: who writes \
                     below the prefix?"
                        .to_owned(),
                ),
                answer => answer,
            };
            (offer, answer, Some((client, revision)))
        }
        Err(Failure::Refused(why)) if why.contains("database space exceeded") => {
            let answer = full(&mut client, head, &offer, why).await;
            (offer, answer, None)
        }
        Err(Failure::Refused(why)) => (offer, Answer::Refused(why), None),
        Err(Failure::Unknown(why)) => {
            tracing::warn!(
                why,
                "etcd does not say whether a transaction is there; it is settled by its token"
            );
            (offer, Answer::Unknown, None)
        }
    }
}

//! The order of transactions in a store that several authorities share, as one of them sees it.
//!
//! The store holds one [`Head`]: the number of the last transaction and the token of who made it. An [`Offer`] takes
//! effect as a whole, and only while the head is the one that it follows. So of all offers to follow one head at most one
//! takes effect, and the token tells which. An offer whose answer was lost is made again as it was: if the first copy took
//! effect, the second one cannot, and either way the token settles it. What comes late follows a head that is gone.

use super::interface::EPOCH;
use super::running::Report;
use crate::nva::commits::Commit;
use crate::nva::model::Transaction;
use std::sync::Arc;

/// Length of a token in bytes.
pub(in crate::nva) const TOKEN: usize = 16;

/// The last transaction of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nva) struct Head {
    /// Name of this history of the registry.
    pub(in crate::nva) epoch: [u8; EPOCH],
    /// Number of transactions so far.
    pub(in crate::nva) revision: u64,
    /// Who made the last one.
    pub(in crate::nva) token: [u8; TOKEN],
}

/// A transaction that is offered to the store. It takes effect only while the head is `follows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::nva) struct Offer {
    /// The head before it.
    pub(in crate::nva) follows: Head,
    /// The head after it; the same if it changes nothing.
    pub(in crate::nva) head: Head,
    /// What it changes.
    pub(in crate::nva) commit: Arc<Commit>,
}

/// How the store answered an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::nva) enum Answer {
    /// It took effect.
    Taken,
    /// The head was another one: this.
    Lost(Option<Head>),
    /// It did not take effect, and why.
    Refused(String),
    /// There was no answer: it took effect, or not, or will.
    Unknown,
}

/// What became of a transaction that the store tells of.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::nva) enum Seen {
    /// It was known.
    Known,
    /// It is the next one.
    Next(Report),
    /// Transactions before it are missing.
    Gap,
}

#[derive(Debug)]
struct Flight {
    offer: Offer,
    /// Whether a copy of it may still take effect.
    is_doubtful: bool,
}

/// The order of transactions.
#[derive(Debug)]
pub(in crate::nva) struct Sequencer {
    head: Head,
    /// The last transaction that the store told of.
    told: Head,
    instance: [u8; 8],
    offers: u64,
    flight: Option<Flight>,
}

impl Sequencer {
    /// The order of transactions after this head. No other run of an authority has the same `instance`.
    #[must_use]
    pub(in crate::nva) fn new(head: Head, instance: [u8; 8]) -> Self {
        Sequencer { head, told: head, instance, offers: 0, flight: None }
    }

    /// What is offered and not settled.
    #[must_use]
    pub(in crate::nva) fn offer(&self) -> Option<&Offer> {
        self.flight.as_ref().map(|flight| &flight.offer)
    }

    /// Whether a token is of this run of this authority.
    pub(in crate::nva) fn is_own(&self, token: [u8; TOKEN]) -> bool {
        token.starts_with(&self.instance)
    }

    /// Makes an offer. None if it does not follow what is known here: its authority will hear of what came before it.
    pub(in crate::nva) fn commit(&mut self, commit: Commit) -> Option<Offer> {
        if commit.revision != self.head.revision + 1 {
            return None;
        }
        let mut head = self.head;
        if !commit.is_empty() {
            self.offers += 1;
            head.revision = commit.revision;
            let (instance, number) = head.token.split_at_mut(self.instance.len());
            instance.copy_from_slice(&self.instance);
            number.copy_from_slice(&self.offers.to_be_bytes());
        }
        let offer = Offer { follows: self.head, head, commit: Arc::new(commit) };
        self.flight = Some(Flight { offer: offer.clone(), is_doubtful: false });
        Some(offer)
    }

    /// An offer was answered. Without a report, what is not settled yet is to be offered again, or the store tells of what
    /// came first.
    ///
    /// # Errors
    /// The store has another history than this authority, or one that is shorter.
    pub(in crate::nva) fn answered(
        &mut self,
        offer: &Offer,
        answer: Answer,
    ) -> Result<Option<Report>, String> {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.offer == *offer) else {
            return Ok(None);
        };
        let is_own = match answer {
            Answer::Taken => true,
            Answer::Lost(None) => return Err("the head of the store is gone".to_owned()),
            Answer::Lost(Some(head)) if head == offer.head => true,
            // Whoever came first followed what this follows.
            Answer::Lost(Some(head)) => {
                judge(offer.follows, head)?;
                false
            }
            // A copy before it may have taken effect, or will.
            Answer::Refused(_) if flight.is_doubtful => false,
            Answer::Refused(why) => {
                self.flight = None;
                return Ok(Some(Report::Refused(why)));
            }
            Answer::Unknown => {
                // What writes nothing does no harm wherever it is.
                flight.is_doubtful = offer.head != offer.follows;
                false
            }
        };
        Ok(is_own.then(|| self.settle()))
    }

    /// The store tells of a transaction.
    ///
    /// # Errors
    /// The store has another history than this authority.
    pub(in crate::nva) fn seen(
        &mut self,
        head: Head,
        transaction: Transaction,
        opened: Vec<(String, String)>,
    ) -> Result<Seen, String> {
        judge(self.told, head)?;
        self.told = head;
        if head.revision == self.head.revision {
            judge(self.head, head)?;
        }
        if head.revision <= self.head.revision {
            return Ok(Seen::Known);
        }
        if head.revision > self.head.revision + 1 {
            return Ok(Seen::Gap);
        }
        if self.offer().is_some_and(|offer| offer.head == head) {
            return Ok(Seen::Next(self.settle()));
        }
        if self.is_own(head.token) {
            return Err(format!("the store has a revision {} that it had refused", head.revision));
        }
        (self.head, self.flight) = (head, None);
        Ok(Seen::Next(Report::Others(transaction, opened)))
    }

    /// The store was read anew, and this is its head. Gives whether that is news.
    ///
    /// # Errors
    /// The store has another history than this authority, or one that is shorter.
    pub(in crate::nva) fn replaced(&mut self, head: Head) -> Result<bool, String> {
        judge(self.head, head)?;
        self.told = head;
        let is_news = head != self.head;
        if is_news {
            (self.head, self.flight) = (head, None);
        }
        Ok(is_news)
    }

    /// The offer took effect.
    fn settle(&mut self) -> Report {
        match self.flight.take() {
            Some(flight) if flight.offer.head != flight.offer.follows => {
                self.head = flight.offer.head;
                Report::Durable
            }
            _ => Report::Current,
        }
    }
}

/// Whether `head` goes on from `known`, or is the same.
fn judge(known: Head, head: Head) -> Result<(), String> {
    judge_epoch(known, head)?;
    if head.revision < known.revision {
        return Err(format!(
            "the store is at revision {}, and this authority has seen {}: was an older copy of it restored?",
            head.revision, known.revision
        ));
    }
    if head.revision == known.revision && head.token != known.token {
        return Err(format!("the store has another revision {} than this authority", head.revision));
    }
    Ok(())
}

fn judge_epoch(known: Head, head: Head) -> Result<(), String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if head.epoch != known.epoch {
        let (now, before) = (hex(&head.epoch), hex(&known.epoch));
        return Err(format!("the store holds another history: epoch {now} instead of {before}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(revision: u64, token: u8) -> Head {
        Head { epoch: [7; EPOCH], revision, token: [token; TOKEN] }
    }

    fn opening(revision: u64) -> Commit {
        Commit { revision, opened: vec!["nve1".into()], ..Commit::default() }
    }

    fn hears(sequencer: &mut Sequencer, head: Head) -> Result<Seen, String> {
        sequencer.seen(head, Transaction::default(), Vec::new())
    }

    #[test]
    fn a_store_that_goes_back_is_of_no_use() {
        let mut sequencer = Sequencer::new(head(5, 5), [1; 8]);
        let offer = sequencer.commit(opening(6)).unwrap();
        for (answer, why) in [
            (Answer::Lost(Some(head(4, 4))), "older copy"),
            (Answer::Lost(Some(head(5, 9))), "another revision 5"),
            (Answer::Lost(Some(Head { epoch: [8; EPOCH], ..head(9, 9) })), "another history"),
            (Answer::Lost(None), "is gone"),
        ] {
            let told = sequencer.answered(&offer, answer).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        // Another authority came first.
        assert_eq!(sequencer.answered(&offer, Answer::Lost(Some(head(6, 6)))), Ok(None));
        assert!(matches!(hears(&mut sequencer, head(6, 6)), Ok(Seen::Next(Report::Others(..)))));
        assert_eq!(hears(&mut sequencer, head(6, 6)), Ok(Seen::Known));
        assert!(hears(&mut sequencer, head(5, 5)).unwrap_err().contains("older copy"));
    }

    #[test]
    fn what_was_told_late_is_no_step_back() {
        let mut sequencer = Sequencer::new(head(5, 5), [1; 8]);
        let made = [6, 7].map(|revision| {
            let offer = sequencer.commit(opening(revision)).unwrap();
            assert_eq!(sequencer.answered(&offer, Answer::Taken), Ok(Some(Report::Durable)));
            offer
        });
        for offer in made {
            assert_eq!(hears(&mut sequencer, offer.head), Ok(Seen::Known));
        }
    }

    #[test]
    fn what_was_refused_and_is_there_is_not_taken_for_that_of_another_authority() {
        let mut sequencer = Sequencer::new(head(5, 5), [1; 8]);
        let offer = sequencer.commit(opening(6)).unwrap();
        let refused = Report::Refused("full".to_owned());
        assert_eq!(sequencer.answered(&offer, Answer::Refused("full".to_owned())), Ok(Some(refused)));
        assert!(hears(&mut sequencer, offer.head).unwrap_err().contains("refused"));
    }
}

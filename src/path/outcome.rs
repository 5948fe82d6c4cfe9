//! The outcome of one packet, without its bytes.

use super::meta::BURST;
use super::verdict::Verdict;
use arrayvec::ArrayVec;

/// The outcome of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub verdict: Verdict,
    /// Start of the frame in its buffer, in bytes.
    pub start: u16,
    /// End of the frame in its buffer, in bytes.
    pub end: u16,
}

impl Outcome {
    /// Length of the frame in bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.end.saturating_sub(self.start))
    }
}

/// The outcomes of a burst, by index.
pub type Outcomes = ArrayVec<Outcome, BURST>;

//! How long a node without a session counts what it knows as good (stale service): a period from the end of the last
//! session, over restarts.

/// What is to happen at the end of the grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// Its length in milliseconds.
    pub period_ms: u64,
    /// Whether the mappings go then.
    pub forgets: bool,
}

/// The grace period of a client.
#[derive(Debug)]
pub(super) struct GraceTimer {
    grace: Grace,
    /// When it ends; there was no session since.
    until_ms: u64,
    /// Whether it has ended.
    pub(super) is_over: bool,
}

impl GraceTimer {
    /// The last session ended so long before the start.
    pub(super) fn since(grace: Grace, ago_ms: u64) -> Self {
        GraceTimer { grace, until_ms: grace.period_ms.saturating_sub(ago_ms), is_over: false }
    }

    /// Whether the mappings went.
    pub(super) fn forgot(&self) -> bool {
        self.is_over && self.grace.forgets
    }

    /// There is a session, and the authority told all that there is.
    pub(super) fn live(&mut self) {
        self.is_over = false;
    }

    /// Such a session ended.
    pub(super) fn ended(&mut self, now_ms: u64) {
        self.until_ms = now_ms.saturating_add(self.grace.period_ms);
    }

    /// There is no session: says once when that has been too long, and whether the mappings go.
    pub(super) fn ends(&mut self, now_ms: u64) -> Option<bool> {
        let ends = !self.is_over && now_ms >= self.until_ms;
        self.is_over |= ends;
        ends.then_some(self.grace.forgets)
    }
}

//! VMs and tasks that move: what workers saw of those who are not here.

use super::{Control, Effect, ForAuthority};
use crate::path::{PathMtu, Sign};
use crate::table::{AttachmentKey, PortId};
use std::net::Ipv6Addr;
use std::sync::atomic::Ordering;

impl Control {
    /// Nothing waits any more behind what was held, once that has left every worker. Those that have not seen the present
    /// snapshot may still hold some.
    pub(super) fn end_releases(&mut self) {
        if !self.rib.is_releasing() {
            return;
        }
        let number = self.publisher.number();
        let has_none = |worker: &crate::node::stats::WorkerStats| {
            worker.polls.released.load(Ordering::Acquire) >= number
        };
        let all = !self.rib.needs_snapshot() && self.stats.workers.iter().all(has_none);
        self.rib.end_releases(all);
    }

    /// A VM or task that is not here sent a frame here.
    pub(super) fn seen(&mut self, at: AttachmentKey, sign: Sign) {
        self.effects.push(Effect::ForAuthority(ForAuthority::Seen(at, sign)));
    }

    /// Whether a VM or task is expected here.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.rib.expects()
    }

    /// A router says how large the packets are that the path of a tunnel takes.
    pub(super) fn take_path_mtu(&mut self, path: PathMtu) {
        let to = Ipv6Addr::from(path.to);
        if self.rib.lower_path_mtu(path) {
            tracing::info!(%to, mtu = path.mtu, "tunnels take smaller packets on their path");
        }
    }

    /// The link of a port came up or went down: who was about to leave through it has left, if it stays down.
    pub(super) fn tell_of_link(&mut self, port: PortId, up: bool) {
        self.effects.push(Effect::ForAuthority(ForAuthority::Link(port, up)));
    }
}

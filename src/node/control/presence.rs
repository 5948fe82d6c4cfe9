//! VMs and tasks that move: what workers saw of those who are not here.

use super::{Control, Effect, ForAuthority};
use crate::path::Sign;
use crate::table::{AttachmentKey, PortId};

impl Control {
    /// A VM or task that is not here sent a frame here.
    pub(super) fn seen(&mut self, at: AttachmentKey, sign: Sign) {
        self.effects.push(Effect::ForAuthority(ForAuthority::Seen(at, sign)));
    }

    /// Whether a VM or task is expected here.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.rib.expects()
    }

    /// The link of a port came up or went down: who was about to leave through it has left, if it stays down.
    pub(super) fn tell_of_link(&mut self, port: PortId, up: bool) {
        self.effects.push(Effect::ForAuthority(ForAuthority::Link(port, up)));
    }
}

//! VMs and tasks that move: what workers saw of those who are not here.

use super::{Control, Effect, ForAuthority};
use crate::path::Sign;
use crate::table::{AttachmentKey, PortId};

impl Control {
    /// A VM or task that is not here sent a frame here.
    pub(super) fn seen(&mut self, at: AttachmentKey, sign: Sign) {
        self.effects.push(Effect::ForAuthority(ForAuthority::Seen(at, sign)));
    }

    /// The link of a port went down: who was about to leave through it has left.
    pub(super) fn link_down(&mut self, port: PortId) {
        self.effects.push(Effect::ForAuthority(ForAuthority::LinkDown(port)));
    }
}

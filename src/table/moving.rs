//! Attachments whose VM or task moves (VMM draft §4.2, §5): what becomes of packets for it, where tunnels to it end, and
//! that it may not send yet, or any more.
//!
//! A packet of anybody else meets none of it but an empty list.

use super::{ActionId, AttachmentKey, Local, NetworkId, TaskSources};
use crate::ila::Identifier;
use crate::net::Mac;

/// Names the queue of packets that are held for an attachment. No two arrivals at a node share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HoldId(pub u32);

/// What becomes of packets for the identifiers of one domain at an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The delivery to the attachment.
    pub local: Local,
    /// The same for a frame that goes into a tunnel: untagged, whatever the attachment's link does.
    pub inner: Local,
    /// The mappings of lower origin that lead to other nodes. Those who are attached here send by these.
    pub elsewhere: Vec<(Identifier, ActionId)>,
    /// What becomes of all other packets.
    pub in_flight: InFlight,
    /// The queue whose packets leave before any that comes now: it waits behind them.
    pub behind: Option<HoldId>,
}

impl Moving {
    /// The action of the mapping of lower origin, if it leads to another node.
    #[must_use]
    pub fn elsewhere(&self, identifier: Identifier) -> Option<ActionId> {
        self.elsewhere.iter().find(|(known, _)| *known == identifier).map(|(_, action)| *action)
    }
}

/// What becomes of packets in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// Workers hold them as they came.
    Hold(HoldId),
    /// They are delivered here.
    Deliver,
    /// They go to the other node: through the tunnel if there is one and they fit, otherwise to the locator if that is
    /// allowed.
    Onward {
        /// The tunnel.
        tunnel: Option<Tunnel>,
        /// The action of the new locator.
        locator: Option<ActionId>,
    },
    /// They follow the mapping of lower origin; the authority is asked for one that is missing.
    Follow,
    /// They are dropped.
    Drop,
}

/// A tunnel to another node, for the frames of one attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// VXLAN Network Identifier.
    pub vni: u32,
    /// The address of this node.
    pub from: u128,
    /// The address of the other node.
    pub to: u128,
    /// The largest packet that its path takes, as far as is known beyond the next hop: in bytes, from the IPv6 header on.
    pub mtu: u16,
}

/// Where a tunnel to an attachment of this node ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelEnd {
    /// VXLAN Network Identifier.
    pub vni: u32,
    /// MAC address of the attachment.
    pub mac: Mac,
    /// The address of this node that the tunnel leads to.
    pub to: u128,
    /// The addresses that it comes from.
    pub from: Vec<u128>,
    /// The network of the attachment.
    pub network: Option<NetworkId>,
    /// What becomes of the frames.
    pub then: Then,
    /// The queue whose packets leave before any that comes now: it waits behind them.
    pub behind: Option<HoldId>,
}

/// What becomes of frames from a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Workers hold them as they came.
    Hold(HoldId),
    /// They are delivered.
    Deliver(Local),
    /// The VM has left again. Those that were held go through this tunnel, others are dropped: none passes two tunnels.
    Left(Option<Tunnel>),
}

/// What becomes of packets that come from an attachment whose VM or task is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// They wait in this queue until it is here.
    Hold(HoldId),
    /// They are forwarded: it leaves, and nobody else has its identifiers yet.
    Pass,
    /// They are dropped.
    Drop,
}

/// An attachment whose VM or task is not here, or has just arrived or been given up, so that what was held still leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The attachment.
    pub at: AttachmentKey,
    /// What becomes of packets that come from it.
    pub sends: Sends,
    /// The queue whose packets leave now. What it sends, if it is here, waits behind them.
    pub released: Option<HoldId>,
    /// It is here.
    pub arrived: bool,
    /// What it may send from, if it is a task.
    pub task: Option<TaskSources>,
    /// The tunnel for its copies of packets to groups while they are in flight, and the delivery of frames in it.
    pub copies: Option<(Local, Tunnel)>,
}

/// All attachments whose VM or task moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// By the index in [`super::Action::Moving`].
    pub moving: Vec<Moving>,
    /// Those that tunnels may lead to, in the order of [`TunnelEnd::key`].
    pub ends: Vec<TunnelEnd>,
    /// Those whose VM or task is not here, in the order of their keys.
    pub absent: Vec<Absent>,
    /// The queues whose packets leave now.
    pub released: Vec<HoldId>,
    /// Whether senders are told of packets that are dropped because their receiver has left.
    pub tells: bool,
}

impl TunnelEnd {
    /// By what it is found: a MAC address is that of few ends.
    #[must_use]
    pub fn key(&self) -> (Mac, u32) {
        (self.mac, self.vni)
    }
}

impl Moves {
    /// What becomes of packets with the action [`super::Action::Moving`].
    #[must_use]
    pub fn moving(&self, index: u32) -> Option<&Moving> {
        self.moving.get(index as usize)
    }

    /// The end of a tunnel with these addresses, for frames to a MAC address.
    #[must_use]
    pub fn end(&self, vni: u32, mac: Mac, (from, to): (u128, u128)) -> Option<&TunnelEnd> {
        let first = self.ends.partition_point(|end| end.key() < (mac, vni));
        let same = self.ends.get(first..)?.iter().take_while(|end| end.key() == (mac, vni));
        let mut same = same.filter(|end| end.to == to && end.from.contains(&from));
        same.next()
    }

    /// The attachment with this key, if its VM or task is not here.
    #[must_use]
    pub fn absent(&self, key: &AttachmentKey) -> Option<&Absent> {
        let at = self.absent.binary_search_by(|absent| absent.at.cmp(key)).ok()?;
        self.absent.get(at)
    }

    /// Whether packets in this queue are to be held on.
    #[must_use]
    pub fn holds(&self, id: HoldId) -> bool {
        self.absent.iter().any(|absent| absent.sends == Sends::Hold(id))
    }

    /// Whether packets in this queue leave in their order, and later ones wait behind them.
    #[must_use]
    pub fn releases(&self, id: HoldId) -> bool {
        self.released.contains(&id)
    }
}

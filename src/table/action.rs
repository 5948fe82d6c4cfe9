//! Actions: what a mapping or a route does with a packet. An action is one cache line and holds all that the rewrite
//! needs.
//!
//! Actions never change within a snapshot.

use super::{ActionId, DomainId, HopId, PortId};
use crate::ila::neutral::{Adjustment, ChecksumMode};
use crate::ila::prefix::{Locator, SirPrefix};
use crate::net::{Mac, checksum, ethernet};

/// The state of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HopState {
    /// Packets can leave: the link header is ready.
    Ready,
    /// The neighbour's MAC address is not known yet.
    Unresolved,
    /// The neighbour does not answer.
    Unreachable,
    /// The port's link is down.
    LinkDown,
    /// No route leads there.
    NoRoute,
    /// The destination is a locator on a subnet of ours. Every ILA address would have to be a neighbour there, and no
    /// node answers for ILA addresses.
    OnLink,
}

/// A next hop with its link header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Link header; `link_length` bytes of it count.
    pub link: [u8; ethernet::TAGGED_HEADER],
    /// Length of the link header in bytes: 14, or 18 with a VLAN tag.
    pub link_length: u8,
    /// Whether packets can leave through it.
    pub state: HopState,
    /// Port to leave through.
    pub port: PortId,
    /// MTU: largest packet in bytes, from the network header on.
    pub mtu: u16,
    /// Largest frame in bytes that the fast path may send: an untagged link header, and only addresses change. 0 if the
    /// hop is not ready, its link is tagged, or more than addresses must change.
    pub fast_bytes: u16,
    /// The neighbour's identity for the control thread.
    pub id: HopId,
}

impl Hop {
    /// A ready hop from MAC address `from` to `to`, with a tag if `vlan` is not 0. `mtu` is in bytes.
    #[must_use]
    pub fn ready(port: PortId, to: Mac, from: Mac, vlan: u16, mtu: u16, id: HopId) -> Self {
        let (link, length) = ethernet::header(to, from, vlan);
        let fast_bytes = if vlan == 0 { mtu.saturating_add(ethernet::HEADER as u16) } else { 0 };
        Hop { link, link_length: length as u8, state: HopState::Ready, port, mtu, fast_bytes, id }
    }

    /// A hop that no packet can leave through, in the given state.
    #[must_use]
    pub fn not_ready(port: PortId, state: HopState, mtu: u16, id: HopId) -> Self {
        let link = [0; ethernet::TAGGED_HEADER];
        Hop { link, link_length: ethernet::HEADER as u8, state, port, mtu, fast_bytes: 0, id }
    }

    /// The bytes of the link header.
    #[inline]
    #[must_use]
    pub fn link(&self) -> &[u8] {
        self.link.get(..usize::from(self.link_length)).unwrap_or(&self.link)
    }
}

/// Translates SIR → ILA towards one locator. All that depends on the pair of SIR prefix and locator is computed
/// beforehand (ILA draft §4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The locator, big endian as in a frame.
    pub locator_bytes: [u8; 8],
    /// The next hop of the locator.
    pub hop: Hop,
    /// Added to the identifier's low word in one's complement; 0 if the mode does not change the identifier.
    pub add: u16,
    /// `add`, big endian as in a frame.
    pub add_bytes: [u8; 2],
    /// One's complement sum of the SIR prefix's words, for mode `adj-transport`.
    pub sir_sum: u16,
    /// One's complement sum of the locator's words.
    pub locator_sum: u16,
    /// Upper 16 bits to set in the identifier on the wire: the C-bit in mode `neutral-map`, else 0.
    pub mark: u16,
    /// How transport checksums stay right.
    pub mode: ChecksumMode,
    /// The SIR domain.
    pub domain: DomainId,
    /// Whether packets that use it are told of, because its mapping is about to expire.
    pub expiring: bool,
}

impl Remote {
    /// Computes the action of a domain's SIR prefix and a locator, behind `hop`.
    #[must_use]
    pub fn new(domain: DomainId, sir: SirPrefix, mode: ChecksumMode, locator: Locator, mut hop: Hop) -> Self {
        let adjustment = Adjustment::of(sir, locator);
        let (add, mark) = match mode {
            ChecksumMode::NeutralMap => {
                (adjustment.outward(true), (crate::ila::identifier::C_BIT >> 48) as u16)
            }
            ChecksumMode::NeutralMapAuto => (adjustment.outward(false), 0),
            ChecksumMode::NoAction => (0, 0),
            ChecksumMode::AdjTransport => {
                // The transport checksum changes, too, which the fast path does not do.
                hop.fast_bytes = 0;
                (0, 0)
            }
        };
        Remote {
            locator_bytes: locator.0.to_be_bytes(),
            hop,
            add,
            add_bytes: add.to_be_bytes(),
            sir_sum: checksum::sum_of_half(sir.0),
            locator_sum: checksum::sum_of_half(locator.0),
            mark,
            mode,
            domain,
            expiring: false,
        }
    }

    /// The same for mappings that are about to expire. The fast path leaves their packets to the stages, which tell.
    #[must_use]
    pub fn expiring(mut self) -> Remote {
        self.expiring = true;
        self.hop.fast_bytes = 0;
        self
    }
}

impl Remote {
    /// All ones if the mode changes the identifier's low word, otherwise 0.
    #[inline]
    #[must_use]
    pub const fn identifier_changes(&self) -> u16 {
        if self.mode.changes_identifier() { 0xffff } else { 0 }
    }

    /// The locator.
    #[inline]
    #[must_use]
    pub fn locator(&self) -> Locator {
        Locator(u64::from_be_bytes(self.locator_bytes))
    }
}

/// Delivers to an attachment of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Index of the attachment in the configuration's order.
    pub attachment: u32,
    /// The attachment's port, MTU and link header.
    pub hop: Hop,
}

/// What to do with a packet. One cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub enum Action {
    /// Discard.
    Blackhole,
    /// Translate towards a locator and send.
    Remote(Remote),
    /// Deliver to an attachment of this node.
    Local(Local),
    /// Send unchanged to a next hop.
    Forward(Hop),
    /// The destination is a neighbour on this port.
    Connected(PortId),
    /// Use one of several actions, chosen by flow: index into [`super::Tables::nexthop_groups`].
    NexthopGroup(u32),
    /// Send a copy to each of several locators: index into [`super::Tables::groups`].
    Group(u32),
    /// Deliver to an attachment of this node whose VM or task moves: index into [`super::Moves::moving`].
    Moving(u32),
}

impl Action {
    /// The delivery to an attachment of this node, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn local(&self) -> Option<&Local> {
        match self {
            Action::Local(local) => Some(local),
            Action::Blackhole
            | Action::Remote(_)
            | Action::Forward(_)
            | Action::Connected(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_) => None,
        }
    }

    /// The translation to a locator, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self) -> Option<&Remote> {
        match self {
            Action::Remote(remote) => Some(remote),
            Action::Blackhole
            | Action::Local(_)
            | Action::Forward(_)
            | Action::Connected(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_) => None,
        }
    }

    /// The next hop of packets that are sent unchanged, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn forward(&self) -> Option<&Hop> {
        match self {
            Action::Forward(hop) => Some(hop),
            Action::Blackhole
            | Action::Remote(_)
            | Action::Local(_)
            | Action::Connected(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_) => None,
        }
    }

    /// The port of a connected subnet, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn connected(&self) -> Option<PortId> {
        match self {
            Action::Connected(port) => Some(*port),
            Action::Blackhole
            | Action::Remote(_)
            | Action::Local(_)
            | Action::Forward(_)
            | Action::NexthopGroup(_)
            | Action::Group(_)
            | Action::Moving(_) => None,
        }
    }

    /// The index of a nexthop group, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn nexthop_group(&self) -> Option<u32> {
        match self {
            Action::NexthopGroup(index) => Some(*index),
            Action::Blackhole
            | Action::Remote(_)
            | Action::Local(_)
            | Action::Forward(_)
            | Action::Connected(_)
            | Action::Group(_)
            | Action::Moving(_) => None,
        }
    }

    /// Whether an identifier with this action is in use, here or at another node.
    #[inline]
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        match self {
            Action::Local(_) | Action::Remote(_) | Action::NexthopGroup(_) | Action::Moving(_) => true,
            Action::Blackhole | Action::Forward(_) | Action::Connected(_) | Action::Group(_) => false,
        }
    }
}

/// Slots of a nexthop group: a power of two.
pub const NEXTHOP_SLOTS: usize = 64;

/// A weighted choice among actions (ECMP), the same for all packets of a flow.
///
/// Each slot takes the member with the highest weighted rendezvous score, independently of the other slots. So the loss
/// of a member moves only the flows that used it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NexthopGroup {
    slots: [ActionId; NEXTHOP_SLOTS],
}

impl NexthopGroup {
    /// A group of `members`: identity, weight, action. The identity must not change when other members do. A weight of
    /// 0 takes no part. Without any member every slot has action 0, which discards.
    #[must_use]
    pub fn new(members: &[(u64, u16, ActionId)]) -> Self {
        let mut slots = [ActionId(0); NEXTHOP_SLOTS];
        for (index, slot) in slots.iter_mut().enumerate() {
            let score = |identity: u64, weight: u16| {
                let mixed = mix(identity ^ mix(index as u64 + 1));
                // Weighted rendezvous: -weight / ln(u), u uniform in (0, 1).
                let uniform = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                -f64::from(weight) / uniform.ln()
            };
            let best = members
                .iter()
                .filter(|member| member.1 > 0)
                .max_by(|a, b| score(a.0, a.1).total_cmp(&score(b.0, b.1)));
            if let Some(member) = best {
                *slot = member.2;
            }
        }
        NexthopGroup { slots }
    }

    /// The action of the flow with this hash.
    #[inline]
    #[must_use]
    pub fn choose(&self, flow: u32) -> ActionId {
        self.slots[flow as usize % NEXTHOP_SLOTS]
    }
}

/// Mixes all bits of `value` (the finalizer of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_one_cache_line() {
        assert_eq!((size_of::<Action>(), align_of::<Action>()), (64, 64));
    }

    #[test]
    fn a_nexthop_group_follows_weights_roughly() {
        let nexthop_group =
            NexthopGroup::new(&[(11, 3, ActionId(1)), (22, 1, ActionId(2)), (33, 0, ActionId(3))]);
        let count = |id| nexthop_group.slots.iter().filter(|slot| **slot == ActionId(id)).count();
        assert!((36..=60).contains(&count(1)), "{}", count(1));
        assert_eq!((count(1) + count(2), count(3)), (NEXTHOP_SLOTS, 0));
    }

    #[test]
    fn losing_a_member_moves_only_its_own_flows() {
        let all = NexthopGroup::new(&[(11, 1, ActionId(1)), (22, 1, ActionId(2)), (33, 1, ActionId(3))]);
        let fewer = NexthopGroup::new(&[(11, 1, ActionId(1)), (33, 1, ActionId(3))]);
        for flow in 0..NEXTHOP_SLOTS as u32 {
            let before = all.choose(flow);
            assert!(before == ActionId(2) || before == fewer.choose(flow));
        }
        assert_eq!(NexthopGroup::new(&[]).choose(5), ActionId(0));
    }
}

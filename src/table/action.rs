//! What a mapping or a route does with a packet, with everything needed to do it in one cache line.

use super::{ActionId, DomainId, HopId, PortId};
use crate::ila::neutral::{Adjustment, ChecksumMode};
use crate::ila::prefix::{Locator, SirPrefix};
use crate::net::{Mac, checksum, ethernet};

/// Whether packets can leave through a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HopState {
    /// Its link header is ready.
    Ready,
    /// The neighbour's MAC address is being asked for.
    Unresolved,
    /// The neighbour does not answer.
    Unreachable,
    /// The port's link is down.
    LinkDown,
    /// No route leads there.
    NoRoute,
    /// A locator whose addresses would all be neighbours, and nobody answers for ILA addresses.
    OnLink,
}

/// A next hop with its ready link header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Link header, of which `link_length` bytes count.
    pub link: [u8; ethernet::TAGGED_HEADER],
    /// 14, or 18 with a tag.
    pub link_length: u8,
    /// Whether it can be used.
    pub state: HopState,
    /// Port to leave through.
    pub port: PortId,
    /// Largest packet in bytes, from the IPv6 header on.
    pub mtu: u16,
    /// Largest frame in bytes that may be sent with an untagged header and nothing but addresses changed; 0 when
    /// the hop is not ready, its link is tagged, or more than addresses must change.
    pub fast_bytes: u16,
    /// The neighbour, for the control thread.
    pub id: HopId,
}

impl Hop {
    /// A hop that is ready.
    #[must_use]
    pub fn ready(port: PortId, to: Mac, from: Mac, vlan: u16, mtu: u16, id: HopId) -> Self {
        let (link, length) = ethernet::header(to, from, vlan);
        let fast_bytes = if vlan == 0 { mtu.saturating_add(ethernet::HEADER as u16) } else { 0 };
        Hop { link, link_length: length as u8, state: HopState::Ready, port, mtu, fast_bytes, id }
    }

    /// A hop that cannot be used.
    #[must_use]
    pub fn not_ready(port: PortId, state: HopState, mtu: u16, id: HopId) -> Self {
        let link = [0; ethernet::TAGGED_HEADER];
        Hop { link, link_length: ethernet::HEADER as u8, state, port, mtu, fast_bytes: 0, id }
    }

    /// The link header's bytes.
    #[inline]
    #[must_use]
    pub fn link(&self) -> &[u8] {
        self.link.get(..usize::from(self.link_length)).unwrap_or(&self.link)
    }
}

/// SIR → ILA towards one locator, everything that depends on (SIR prefix, locator) computed beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Locator, the upper half on the wire, as a frame has it.
    pub locator_bytes: [u8; 8],
    /// Where the locator leads.
    pub hop: Hop,
    /// Added to the identifier's low word in one's complement; 0 where the mode leaves the identifier alone.
    pub add: u16,
    /// The same as a frame has it.
    pub add_bytes: [u8; 2],
    /// Sum of the SIR prefix's words, for correcting transport checksums.
    pub sir_sum: u16,
    /// Sum of the locator's words.
    pub locator_sum: u16,
    /// Set in the identifier on the wire: the C-bit in mode `neutral-map`. Stored as the upper 16 bits.
    pub mark: u16,
    /// What happens to transport checksums.
    pub mode: ChecksumMode,
    /// The domain.
    pub domain: DomainId,
}

impl Remote {
    /// Computes what the pair needs.
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
                // The transport checksum changes too.
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
        }
    }
}

impl Remote {
    /// All ones where the mode changes the identifier's low word, otherwise 0.
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

/// Delivery to an attachment of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Index of the attachment in the configuration's order.
    pub attachment: u32,
    /// The attachment's port and link header.
    pub hop: Hop,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub enum Action {
    /// Discard.
    Blackhole,
    /// Translate towards a locator and send.
    Remote(Remote),
    /// Deliver here.
    Local(Local),
    /// Send unchanged to a next hop.
    Forward(Hop),
    /// The destination is a neighbour on this port.
    Connected(PortId),
    /// One of several, by flow: index into the snapshot's spreads.
    NexthopGroup(u32),
    /// A copy for each of several: index into the snapshot's groups.
    Group(u32),
}

impl Action {
    /// The attachment of this node, if it is one.
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
            | Action::Group(_) => None,
        }
    }

    /// The locator of another node, if it is one.
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
            | Action::Group(_) => None,
        }
    }

    /// The next hop that packets are sent to unchanged, if it is one.
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
            | Action::Group(_) => None,
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
            | Action::Group(_) => None,
        }
    }

    /// The index of a weighted choice, if it is one.
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
            | Action::Group(_) => None,
        }
    }

    /// Whether an identifier with this action is in use: here, or at another node.
    #[inline]
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        match self {
            Action::Local(_) | Action::Remote(_) | Action::NexthopGroup(_) => true,
            Action::Blackhole | Action::Forward(_) | Action::Connected(_) | Action::Group(_) => false,
        }
    }
}

/// Slots of a weighted choice: a power of two.
pub const NEXTHOP_SLOTS: usize = 64;

/// A weighted choice among actions, the same for all packets of a flow.
///
/// Each slot independently takes the member with the highest weighted rendezvous score, so that the loss of a member
/// moves only the flows that used it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NexthopGroup {
    slots: [ActionId; NEXTHOP_SLOTS],
}

impl NexthopGroup {
    /// Spreads over `members`: identity (stable over changes of others), weight (0 takes no part), action.
    ///
    /// Without any member every slot is action 0, which discards.
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
    fn a_spread_follows_weights_roughly() {
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

//! What the node answers by itself, for its own addresses and by proxy for others: ARP, RARP, Neighbour Discovery and
//! echo; and the group membership reports that it takes.
//!
//! Nothing of it is ever flooded (VMM draft §4.2, VMM draft §4.3).

pub(super) mod arp;
pub(super) mod echo;
pub(super) mod late;
pub(super) mod membership;
pub(super) mod ndp;
pub(super) mod prefetch;

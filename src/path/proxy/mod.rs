//! What the node answers itself, for its own addresses and in the name of others: ARP, Neighbour Discovery, group
//! membership and echo. Nothing of it is ever flooded (VMM draft §4.2, §4.3).

pub(super) mod arp;
pub(super) mod echo;
pub(super) mod membership;
pub(super) mod ndp;
pub(super) mod prefetch;

//! What a mapping is and how it changes: the vocabulary that the configuration, the node and the authority
//! share.
//!
//! Plain values and the rules that they keep by themselves. What depends on a configuration (which SIR
//! domains exist, which locators are ours) is judged by `config`; what depends on other mappings is judged
//! where mappings are held.

mod batch;
mod change;
mod digest;
pub mod group;
mod held;
mod origin;
mod presence;
mod record;
mod scope;

pub use batch::{Applied, Batch, Refusal};
pub use change::Change;
pub use digest::{Digest, PARTS, Parts, part_of};
pub use held::{Held, HeldTarget};
pub use origin::Origin;
pub use presence::{Departure, InFlight, Presence, TunnelEnds, Tunnels};
pub use record::{
    LocatorChoice, MAX_LOCATORS, MAX_REPLICAS, MAX_WEIGHT, MappingRecord, MappingTarget, max_locators,
};
pub use scope::{MAX_SCOPES, Scope, Scopes};

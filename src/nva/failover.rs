//! Hot failover (VMM draft §8): groups of NVEs that operators declare for one attachment, which of them has it, when an NVE
//! counts as lost, the brake, what an NVE is told, and the NVE's half of it.
//!
//! The [registry](super::registry) judges by these what operators want and what is lost, and what is durable is here
//! afterwards.

mod brake;
mod groups;
mod model;
mod node;
mod silence;
mod told;

pub use brake::{Brake, BrakeRules, Braked};
pub(in crate::nva) use brake::{Turn as BrakeTurn, Vanished};
pub use groups::{GroupCounts, Groups};
pub use model::{
    Cause, Group, GroupKind, GroupPart, GroupRequest, GroupRules, GroupTold, GroupWish, GroupsPart, Member,
    MemberRequest, MemberState, NodeGroups,
};
pub use node::ToldGroups;
pub use silence::Silence;
pub use told::Grouping;

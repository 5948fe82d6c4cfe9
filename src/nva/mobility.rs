//! Moves of attachments from one NVE to another (VMM draft §4-§8): what a move is, which state follows which, all of them
//! with their timers, who has not heard of one yet, what an NVE is told, and the NVE's half of it.
//!
//! The [registry](super::registry) judges by these what NVEs and operators say, and what is durable is here afterwards.

mod machine;
mod model;
mod moves;
mod node;
mod spreading;
mod told;

pub use machine::{Fact, Next, Stamp};
pub use model::{
    InFlight, Mode, Modes, Moment, Move, MoveId, MoveRules, MoveState, Role, Said, Sign, TOKEN_BYTES, Token,
};
pub use moves::{MoveCounts, Moves};
pub use node::{NodeMoves, Sight, Sightings};
pub use spreading::Spreading;
pub use told::Moving;

//! What operators see: plain data whose field names `ilactl --json` shows as they are.

mod mapping;
mod network;
mod node;
mod route;

pub use mapping::*;
pub use network::*;
pub use node::*;
pub use route::*;

//! The running node: workers, the control thread that owns every write, and the ways in for operators.
//!
//! `rib` turns configuration and mappings into [`crate::table::Tables`]; `control` is its only caller while the node
//! runs, and `replay` without a device; `shell` feeds `control` with time, signals, requests, devices and files;
//! `worker` runs the pipeline; `handle` is how the admin API reaches the control thread; `run` starts and stops it all.
//! `nva` is the node's half of a session with an authority, `identifiers` what it makes from blocks that it leases, and
//! `embedded` an authority in the node itself.

pub mod admin;
pub mod announce;
pub mod ask;
pub mod control;
pub mod embedded;
pub mod events;
pub mod exchange;
pub mod handle;
#[cfg(feature = "dpdk")]
pub mod hardware;
pub mod health;
pub mod hold;
pub mod host_router;
pub mod identifiers;
pub mod log;
pub mod membership;
pub mod metrics;
pub mod neighbour;
pub mod nva;
pub mod pace;
pub mod provision;
pub mod quarantine;
pub mod quiet;
pub mod replay;
pub mod rib;
#[cfg(feature = "dpdk")]
pub mod run;
pub mod scan;
pub mod seed;
pub mod shell;
pub mod source;
pub mod stats;
#[cfg(feature = "dpdk")]
mod underlay;
pub mod waiting;
pub mod watch;
#[cfg(feature = "dpdk")]
pub mod worker;

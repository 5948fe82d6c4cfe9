//! The running node: workers, the control thread that owns every write, and the ways in for operators.
//!
//! `rib` turns configuration and mappings into [`crate::table::Tables`]; `control` is its only caller while the node
//! runs; `worker` runs the pipeline; `handle` is how the admin API, metrics and signals reach the control thread.

pub mod admin;
pub mod exchange;
pub mod handle;
pub mod http;
pub mod metrics;
pub mod neighbour;
pub mod rib;
pub mod source;
pub mod stats;
pub mod waiting;

//! The DPDK boundary: the environment, buffers, ports and bursts. The only unsafe code of the crate is here.
//!
//! What owns what: [`Eal`] is the process's DPDK. A [`Mempool`] lends buffers, a [`Port`] is one device, and its
//! [`RxQueue`]s and [`TxQueue`]s are taken from it once each, so that no two threads share a queue. A [`Burst`] owns
//! the buffers it received until it settles them. Whatever is held keeps the environment alive: the last one dropped
//! releases the pools and ends DPDK. No handle that frees is `Clone`.
//!
//! Never here: a decision about a packet. A buffer in several segments, shared, or over foreign memory never reaches
//! the pipeline.

mod burst;
mod eal;
mod log;
mod open;
mod pool;
mod port;
mod preflight;
mod refused;
mod sys;
mod tx;

pub use burst::{BURST, Burst, Received, Settled};
pub use eal::{CoreLease, Eal, EalConfig, EalError, Memory, Worker};
pub use pool::{Mbuf, Mempool, PoolConfig, PoolError};
pub use port::{Link, Port, PortStats, Promiscuous, Reception, Rss, RxQueue, TxQueue};
pub use preflight::Refusal;
pub use refused::{PortConfig, PortError};
pub use tx::{TxCounts, TxSet};

/// The words for an error number, positive or negative.
fn words(code: i32) -> String {
    let errno = nix::errno::Errno::from_raw(code.abs());
    format!("{} ({errno:?})", errno.desc())
}

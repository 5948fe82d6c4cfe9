//! The DPDK boundary: the environment (EAL), mempools, ports and bursts.
//!
//! All `unsafe` code of the crate is here, in `table/mem.rs` and in `table/bucket.rs`.
//!
//! Ownership: [`Eal`] is the DPDK of the process. A [`Mempool`] lends buffers. A [`Port`] is one device. Each of its
//! [`RxQueue`]s and [`TxQueue`]s can be taken from it once, so that no two threads share a queue. A [`Burst`] owns the
//! buffers that it received until it settles them. Every handle keeps the environment alive; the last one to be dropped
//! frees the pools and ends DPDK. No handle that frees something is `Clone`.
//!
//! This layer never decides about a packet. A buffer that has several segments, is shared or uses external memory never
//! reaches the pipeline.

mod abort;
mod burst;
mod device;
mod eal;
mod gate;
mod interface;
mod log;
mod open;
mod pool;
mod port;
mod preflight;
mod refused;
mod reopen;
mod repeats;
mod requirements;
mod stale;
mod sys;
mod tx;

pub use abort::before_abort;
pub use burst::{BURST, Burst, Received, Settled};
pub use eal::{CoreLease, Eal, EalConfig, EalError, Memory, Worker};
pub use pool::{Mbuf, Mempool, PoolConfig, PoolError};
pub use port::{Link, Port, PortStats, Promiscuous, Reception, Rss, RxQueue, TxQueue};
pub use preflight::Refusal;
pub use refused::{PortConfig, PortError};
pub use tx::{TxCounts, TxSet};

/// The text for an error number, positive or negative.
fn words(code: i32) -> String {
    let errno = nix::errno::Errno::from_raw(code.abs());
    format!("{} ({errno:?})", errno.desc())
}

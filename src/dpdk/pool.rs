//! Buffers: pools of them, and one held outside of a burst.

#![allow(unsafe_code)]

use super::eal::{Eal, Environment, OwnedPool};
use super::{log, sys, words};
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a pool is made of.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Name, at most 24 bytes, unique in the process.
    pub name: String,
    /// Number of buffers; one less than a power of two wastes least.
    pub mbufs: u32,
    /// Buffers that each worker keeps at hand, at most 512.
    pub cache: u32,
    /// Bytes of each buffer, headroom (128 bytes) included.
    pub data_bytes: u16,
    /// NUMA node of the memory; `None`: any.
    pub socket: Option<u32>,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
#[error("mempool {name}: {mbufs} mbufs of {data_bytes} bytes, cache {cache}: {cause}; {way_out}{said}")]
pub struct PoolError {
    name: String,
    mbufs: u32,
    data_bytes: u16,
    cache: u32,
    cause: String,
    way_out: String,
    said: String,
}

/// A pool of buffers. Its memory is released with the environment.
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    mbufs: u32,
    data_bytes: u16,
    environment: Arc<Environment>,
}

// SAFETY: a pool belongs to no thread; counting, allocating and freeing are safe from any (DPDK's default ring is
// multi-producer and multi-consumer, its caches are one per thread number).
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Allocates the buffers.
    ///
    /// # Errors
    /// No memory for them, or a shape that DPDK does not make.
    pub fn new(eal: &Eal, config: &PoolConfig) -> Result<Mempool, PoolError> {
        let refuse = |cause: String, way_out: &str, said: String| PoolError {
            name: config.name.clone(),
            mbufs: config.mbufs,
            data_bytes: config.data_bytes,
            cache: config.cache,
            cause,
            way_out: way_out.into(),
            said,
        };
        let headroom = sys::RTE_PKTMBUF_HEADROOM as u16;
        if config.data_bytes <= headroom {
            return Err(refuse(
                "no room beside the headroom of 128 bytes".into(),
                "raise data_bytes",
                String::new(),
            ));
        }
        if config.cache > 512 || u64::from(config.cache) * 3 > u64::from(config.mbufs) * 2 {
            let way_out = "cache at most 512 and two thirds of the mbufs";
            return Err(refuse("cache is too large".into(), way_out, String::new()));
        }
        let name = CString::new(config.name.as_str())
            .ok()
            .filter(|name| (1..=24).contains(&name.count_bytes()))
            .ok_or_else(|| {
                refuse("name is unusable".into(), "1 to 24 bytes, none of them zero", String::new())
            })?;
        let socket = config.socket.map_or(-1, |socket| socket as i32);
        log::forget();
        // SAFETY: the environment is started, `name` is a C string that outlives the call.
        let pool = unsafe {
            sys::rte_pktmbuf_pool_create(
                name.as_ptr(),
                config.mbufs,
                config.cache,
                0,
                config.data_bytes,
                socket,
            )
        };
        let Some(pool) = NonNull::new(pool) else {
            // SAFETY: reads a thread-local number.
            let code = unsafe { sys::ilagate_errno() };
            let way_out = match code {
                libc::ENOMEM => {
                    "raise memory_mib (about data_bytes + 192 bytes for each mbuf), or lower mbufs"
                }
                libc::EEXIST => "give each pool its own name",
                _ => "check mbufs and cache",
            };
            return Err(refuse(words(code), way_out, log::said()));
        };
        eal.environment().keep(OwnedPool(pool));
        Ok(Mempool {
            pool,
            mbufs: config.mbufs,
            data_bytes: config.data_bytes,
            environment: eal.environment().clone(),
        })
    }

    /// Number of buffers in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.mbufs
    }

    /// Buffers that are free, caches included. Exact when no other thread uses the pool.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as the environment that `self` holds.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// Buffers that somebody holds: rings of ports, bursts, queues.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.mbufs.saturating_sub(self.available())
    }

    /// Bytes of each buffer, headroom included.
    #[must_use]
    pub fn data_bytes(&self) -> u16 {
        self.data_bytes
    }

    /// A buffer that holds `frame`; `None` when the pool is empty or the frame does not fit behind the headroom.
    #[must_use]
    pub fn mbuf(&self, frame: &[u8]) -> Option<Mbuf> {
        if frame.len() > usize::from(self.data_bytes).checked_sub(sys::RTE_PKTMBUF_HEADROOM as usize)? {
            return None;
        }
        // SAFETY: the pool lives as long as the environment that `self` holds.
        let mbuf = NonNull::new(unsafe { sys::rte_pktmbuf_alloc(self.pool.as_ptr()) })?;
        // SAFETY: a fresh buffer is ours alone, one segment, with `data_off` at the headroom, so the length checked
        // above fits behind it.
        unsafe {
            let head = mbuf.as_ptr();
            let room = (*head).buf_addr.cast::<u8>().add(usize::from((*head).data_off));
            std::ptr::copy_nonoverlapping(frame.as_ptr(), room, frame.len());
            (*head).data_len = frame.len() as u16;
            (*head).pkt_len = frame.len() as u32;
        }
        Some(Mbuf { mbuf, environment: self.environment.clone() })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }

    pub(super) fn environment(&self) -> &Arc<Environment> {
        &self.environment
    }
}

/// One buffer with one frame, held outside of a burst: punted, waiting, or made by the control thread. Like those in a
/// burst it has one segment, one owner and its own memory. Dropping it returns it to its pool.
pub struct Mbuf {
    mbuf: NonNull<sys::rte_mbuf>,
    environment: Arc<Environment>,
}

// SAFETY: a buffer belongs to no thread, and this is its only handle.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` gives only reads of the frame.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// Takes over a buffer.
    ///
    /// # Safety
    /// `mbuf` is owned by the caller, who forgets it; has one segment and one reference, is neither indirect nor
    /// external, and its `data_off + data_len` is at most its `buf_len`.
    pub(super) unsafe fn own(mbuf: NonNull<sys::rte_mbuf>, environment: Arc<Environment>) -> Mbuf {
        Mbuf { mbuf, environment }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        // SAFETY: the buffer is ours alone, and the frame lies inside its room: promised to `own`, or made so by
        // `Mempool::mbuf`; nothing writes to it while `self` is borrowed.
        unsafe {
            let head = self.mbuf.as_ptr();
            let start = (*head).buf_addr.cast::<u8>().add(usize::from((*head).data_off));
            std::slice::from_raw_parts(start, usize::from((*head).data_len))
        }
    }

    /// Gives the buffer up to whoever calls, who frees it.
    pub(super) fn into_raw(self) -> *mut sys::rte_mbuf {
        let mbuf = self.mbuf.as_ptr();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped or used again, so the environment is moved out once.
        drop(unsafe { std::ptr::read(&this.environment) });
        mbuf
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: `own` was promised that the buffer is ours, and `self` ends here.
        unsafe { free(&mut [self.mbuf.as_ptr()]) };
    }
}

/// Returns buffers to their pools.
///
/// # Safety
/// The caller owns the buffers, holds the environment, and does not use the buffers again.
pub(super) unsafe fn free(mbufs: &mut [*mut sys::rte_mbuf]) {
    if !mbufs.is_empty() {
        // SAFETY: what the caller promised.
        unsafe { sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr(), mbufs.len() as u32) };
    }
}

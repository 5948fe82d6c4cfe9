//! Mempools, and a single buffer (mbuf) that is held outside of a burst.

#![allow(unsafe_code)]

use super::eal::{Eal, Environment, OwnedPool};
use super::{log, sys, words};
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

/// Size and place of a mempool.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Name, at most 24 bytes, unique in the process.
    pub name: String,
    /// Number of buffers. One less than a power of two wastes the least memory.
    pub mbufs: u32,
    /// Size of each worker's cache in buffers: at most 512, and at most two thirds of `mbufs`.
    pub cache: u32,
    /// Size of each buffer in bytes, headroom (128 bytes) included.
    pub data_bytes: u16,
    /// NUMA node of the memory; `None` for any.
    pub socket: Option<u32>,
}

/// Why a mempool could not be made: its parameters, the cause, and a remedy.
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

/// A mempool. The environment owns its memory and frees it when DPDK ends.
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    mbufs: u32,
    data_bytes: u16,
    environment: Arc<Environment>,
}

// SAFETY: a mempool belongs to no thread. Counting, allocating and freeing are safe from any thread: DPDK's default
// ring is multi-producer and multi-consumer, and each lcore has its own cache.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Creates the pool and allocates its buffers.
    ///
    /// # Errors
    /// [`PoolError`] when `data_bytes` is not more than the headroom, the cache is too large, the name is not 1 to 24
    /// bytes or holds a zero byte, another pool has the name, or there is not enough memory.
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

    /// Number of buffers of the pool.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.mbufs
    }

    /// Number of free buffers, caches included. It is exact while no other thread uses the pool.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as the environment that `self` holds.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// Number of buffers in use: in rings of ports, bursts and queues.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.mbufs.saturating_sub(self.available())
    }

    /// Size of each buffer in bytes, headroom included.
    #[must_use]
    pub fn data_bytes(&self) -> u16 {
        self.data_bytes
    }

    /// Allocates a buffer and copies `frame` into it; `None` when the pool is empty or the frame does not fit after the
    /// headroom.
    #[must_use]
    pub fn mbuf(&self, frame: &[u8]) -> Option<Mbuf> {
        if frame.len() > usize::from(self.data_bytes).checked_sub(sys::RTE_PKTMBUF_HEADROOM as usize)? {
            return None;
        }
        // SAFETY: the pool lives as long as the environment that `self` holds.
        let mbuf = NonNull::new(unsafe { sys::rte_pktmbuf_alloc(self.pool.as_ptr()) })?;
        // SAFETY: DPDK returned a fresh buffer: it has one segment and one owner, this function, and `data_off` is at
        // the headroom. The length check at the top of this function makes the frame fit after it.
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

/// One buffer with one frame, held outside of a burst: punted, waiting for a resolution, or made by the control thread.
///
/// Like those in a burst it has one segment, one owner and its own memory. Dropping it returns it to its pool.
pub struct Mbuf {
    mbuf: NonNull<sys::rte_mbuf>,
    environment: Arc<Environment>,
}

// SAFETY: a buffer belongs to no thread, and `Mbuf` is its only handle.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only allows reads of the frame.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// Takes ownership of a buffer.
    ///
    /// # Safety
    /// The caller owns `mbuf` and does not use it again. The buffer has one segment and one reference, is neither
    /// indirect nor external, and its `data_off + data_len` is at most its `buf_len`.
    pub(super) unsafe fn own(mbuf: NonNull<sys::rte_mbuf>, environment: Arc<Environment>) -> Mbuf {
        Mbuf { mbuf, environment }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        // SAFETY: `self` is the only handle of the buffer, and the frame lies within its memory: the caller of `own`
        // promised it, or `Mempool::mbuf` made it so. Nothing writes to it while `self` is borrowed.
        unsafe {
            let head = self.mbuf.as_ptr();
            let start = (*head).buf_addr.cast::<u8>().add(usize::from((*head).data_off));
            std::slice::from_raw_parts(start, usize::from((*head).data_len))
        }
    }

    /// Releases the buffer to the caller, who must free it.
    pub(super) fn into_raw(self) -> *mut sys::rte_mbuf {
        let mbuf = self.mbuf.as_ptr();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped nor used again (`ManuallyDrop`), so that the environment is moved out once.
        drop(unsafe { std::ptr::read(&this.environment) });
        mbuf
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: `self` owns the buffer (by the contract of `own`, or from `Mempool::mbuf`) and ends here.
        unsafe { free(&mut [self.mbuf.as_ptr()]) };
    }
}

/// Returns buffers to their pools.
///
/// # Safety
/// The caller owns the buffers, holds the environment, and does not use the buffers again.
pub(super) unsafe fn free(mbufs: &mut [*mut sys::rte_mbuf]) {
    if !mbufs.is_empty() {
        // SAFETY: the caller owns the buffers and does not use them again (contract of this function).
        unsafe { sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr(), mbufs.len() as u32) };
    }
}

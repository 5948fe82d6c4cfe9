//! DPDK's environment abstraction layer (EAL): started once in a process, ended when the last handle is dropped.
//!
//! DPDK starts no worker threads. The node starts them; each enters a [`CoreLease`], which pins the thread to a core
//! and registers it with DPDK as an lcore, so that mempools keep a cache for it.

#![allow(unsafe_code)]

use super::preflight::{self, Refusal};
use super::{log, sys, words};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The kind of memory for buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// Ordinary pages, which need no setup of the machine: for tests and virtual ports.
    Ordinary,
    /// Hugepages from a mounted hugetlbfs: one that DPDK finds by itself, or the one at this directory.
    Huge(Option<PathBuf>),
}

/// How DPDK is started.
#[derive(Debug, Clone)]
pub struct EalConfig {
    /// The node's name: DPDK's file prefix, unique among the processes of the machine.
    pub name: String,
    /// Cores for the control thread and DPDK's own threads; empty for every core that this process may use.
    pub control_cores: Vec<u32>,
    /// Cores of the workers. [`Eal::lease`] leases each of them once.
    pub worker_cores: Vec<u32>,
    /// Memory for all buffers, in MiB.
    pub memory_mib: u32,
    /// Kind of that memory.
    pub memory: Memory,
    /// PCI addresses that ports will use, each followed by its device arguments if it has any. DPDK does not scan the
    /// PCI bus when the list is empty.
    pub pci: Vec<String>,
    /// DPDK's log level, 1 (emergency) to 8 (debug); 5 is warning.
    pub log_level: u8,
    /// Further EAL arguments, one string for each word of a command line.
    pub extra: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> Self {
        EalConfig {
            name: "ilagate".into(),
            control_cores: Vec::new(),
            worker_cores: Vec::new(),
            memory_mib: 256,
            memory: Memory::Huge(None),
            pci: Vec::new(),
            log_level: 5,
            extra: Vec::new(),
        }
    }
}

/// Why DPDK did not start, or a thread did not become a worker.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// DPDK starts once in a process.
    #[error("dpdk was already started in this process; it starts only once, so restart the process")]
    AlreadyStarted,
    /// The machine lacks something that DPDK needs.
    #[error(transparent)]
    Machine(#[from] Refusal),
    /// An argument holds a zero byte.
    #[error("argument {0:?} for dpdk holds a zero byte; remove it")]
    Argument(String),
    /// DPDK itself refused.
    #[error("dpdk did not start with `{args}`: {cause}{way_out}{said}")]
    Init {
        /// The arguments.
        args: String,
        /// The error number in words.
        cause: String,
        /// What may help; empty if there is no advice.
        way_out: String,
        /// What DPDK logged.
        said: String,
    },
    /// The core is not one of `worker_cores`, or it is leased already.
    #[error("core {0} is not free; list it in worker_cores, once for each worker")]
    NoLease(u32),
    /// The operating system did not pin the thread.
    #[error("thread does not run on core {core}: {cause}; see the cpuset of the service or container")]
    Pin {
        /// The core.
        core: u32,
        /// The error number in words.
        cause: String,
    },
    /// DPDK did not register the thread as an lcore.
    #[error("dpdk does not register the worker of core {core}: {cause}{said}")]
    Register {
        /// The core.
        core: u32,
        /// The error number in words.
        cause: String,
        /// What DPDK logged.
        said: String,
    },
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// A mempool that lives as long as the environment.
pub(super) struct OwnedPool(pub(super) NonNull<sys::rte_mempool>);

// SAFETY: a mempool belongs to no thread; DPDK's operations on it are safe from any thread.
unsafe impl Send for OwnedPool {}

/// The started environment. Everything that holds a buffer, a queue or a port holds one of these.
pub(super) struct Environment {
    pools: Mutex<Vec<OwnedPool>>,
    /// DPDK's numbers of the ports that are open.
    ports: Mutex<Vec<u16>>,
    /// Locked while a device is plugged in or removed: DPDK's device lists allow one thread at a time.
    pub(super) plugging: Mutex<()>,
}

impl Environment {
    /// Takes ownership of a pool, to free it when DPDK ends.
    pub(super) fn keep(&self, pool: OwnedPool) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Claims a port for one owner; `false` when it has an owner already.
    pub(super) fn claim(&self, port: u16) -> bool {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !ports.contains(&port);
        if free {
            ports.push(port);
        }
        free
    }

    /// Releases a closed port, which can then be claimed again.
    pub(super) fn release(&self, port: u16) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).retain(|&taken| taken != port);
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        for OwnedPool(pool) in pools.drain(..) {
            // SAFETY: `Mempool::new` made the pool with `rte_pktmbuf_pool_create`, and only this line frees it. Every
            // handle of a buffer or a queue holds this environment, so that none is left.
            unsafe { sys::rte_mempool_free(pool.as_ptr()) };
        }
        // SAFETY: `rte_eal_init` succeeded in `Eal::start`. No port, queue or registered thread is left, because each
        // holds this environment, and the loop above freed the pools.
        let code = unsafe { sys::rte_eal_cleanup() };
        if code != 0 {
            tracing::warn!("dpdk did not clean up: {}", words(code));
        }
    }
}

/// The DPDK of this process.
pub struct Eal {
    environment: Arc<Environment>,
    free_cores: Mutex<Vec<u32>>,
}

impl Eal {
    /// Starts DPDK. The calling thread and the threads that it spawns are pinned to `control_cores`, unless that is
    /// empty.
    ///
    /// # Errors
    /// [`EalError::AlreadyStarted`] at a second start; [`EalError::Machine`] when the machine lacks something, which is
    /// checked before DPDK starts; [`EalError::Argument`] for an argument with a zero byte; [`EalError::Pin`] when the
    /// thread cannot run on `control_cores`; [`EalError::Init`] when DPDK itself does not start.
    pub fn start(config: &EalConfig) -> Result<Eal, EalError> {
        if STARTED.load(Ordering::Acquire) {
            return Err(EalError::AlreadyStarted);
        }
        preflight::check(config)?;
        let args = arguments(config)?;
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        log::redirect();
        log::forget();
        if !config.control_cores.is_empty() {
            pin(&config.control_cores)?;
        }
        let mut pointers: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
        let count = pointers.len() as i32;
        pointers.push(std::ptr::null_mut());
        // SAFETY: `pointers` holds `count` valid C strings and a null pointer, which outlive the call. DPDK copies
        // what it keeps and only permutes the pointers. The swap of `STARTED` above makes this the only start.
        let code = log::without_output(|| unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) });
        if config.control_cores.is_empty() {
            // DPDK pins the calling thread. Without `control_cores` the thread gets its previous affinity back.
            let _ = sched_setaffinity(Pid::from_raw(0), &allowed);
        }
        if code < 0 {
            // SAFETY: reads a thread-local number.
            let errno = unsafe { sys::ilagate_errno() };
            let args: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
            let way_out = match config.extra.as_slice() {
                [] => String::new(),
                extra if errno == libc::EINVAL => {
                    format!(
                        "; correct dpdk.extra_args ({}): the arguments are those of DPDK's EAL",
                        extra.join(" ")
                    )
                }
                _ => "; it may start without dpdk.extra_args".into(),
            };
            return Err(EalError::Init {
                args: args.join(" "),
                cause: words(errno),
                way_out,
                said: log::said(),
            });
        }
        Ok(Eal {
            environment: Arc::new(Environment {
                pools: Mutex::default(),
                ports: Mutex::default(),
                plugging: Mutex::default(),
            }),
            free_cores: Mutex::new(config.worker_cores.clone()),
        })
    }

    /// Leases `core` to one worker. The lease is moved to the worker's thread, which calls [`CoreLease::enter`].
    ///
    /// # Errors
    /// [`EalError::NoLease`] when the core is not one of `worker_cores` or is leased already.
    pub fn lease(&self, core: u32) -> Result<CoreLease, EalError> {
        let mut free = self.free_cores.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.iter().position(|&free| free == core).ok_or(EalError::NoLease(core))?;
        Ok(CoreLease { core: free.swap_remove(at), environment: self.environment.clone() })
    }

    /// DPDK's name and version.
    #[must_use]
    pub fn version() -> String {
        // SAFETY: returns a C string that lives as long as the library.
        unsafe { std::ffi::CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }

    pub(super) fn environment(&self) -> &Arc<Environment> {
        &self.environment
    }
}

/// The lease of one core: the right to run one worker thread on it.
pub struct CoreLease {
    core: u32,
    environment: Arc<Environment>,
}

impl CoreLease {
    /// Pins the calling thread to the core and registers it with DPDK until the [`Worker`] is dropped.
    ///
    /// # Errors
    /// [`EalError::Pin`] when the operating system does not pin the thread; [`EalError::Register`] when DPDK has no
    /// lcore number left.
    pub fn enter(self) -> Result<Worker, EalError> {
        pin(&[self.core])?;
        log::forget();
        // SAFETY: `self` holds the started environment. DPDK leaves a thread alone that is registered already.
        // `Worker` is not `Send`, so that the thread that unregisters is this one.
        if unsafe { sys::rte_thread_register() } < 0 {
            // SAFETY: reads a thread-local number.
            let cause = words(unsafe { sys::ilagate_errno() });
            return Err(EalError::Register { core: self.core, cause, said: log::said() });
        }
        Ok(Worker { core: self.core, _environment: self.environment, _thread: PhantomData })
    }
}

/// Proof that the calling thread is a worker: pinned to a core and registered with DPDK.
///
/// The thread drops it after all its bursts and queues.
pub struct Worker {
    core: u32,
    _environment: Arc<Environment>,
    _thread: PhantomData<*const ()>,
}

impl Worker {
    /// The core of this thread.
    #[must_use]
    pub fn core(&self) -> u32 {
        self.core
    }

    /// The lcore number of this thread; `None` when DPDK gave it none, and mempools then have no cache for it.
    #[must_use]
    pub fn lcore(&self) -> Option<u32> {
        // SAFETY: reads a thread-local number.
        let lcore = unsafe { sys::rte_lcore_id() };
        (lcore != u32::MAX).then_some(lcore)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SAFETY: `CoreLease::enter` registered this thread, and `Worker` is neither `Send` nor `Clone`.
        unsafe { sys::rte_thread_unregister() };
    }
}

fn pin(cores: &[u32]) -> Result<(), EalError> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core as usize).map_err(|e| EalError::Pin { core, cause: e.to_string() })?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|e| EalError::Pin { core: cores.first().copied().unwrap_or(0), cause: e.to_string() })
}

fn arguments(config: &EalConfig) -> Result<Vec<CString>, EalError> {
    let control = if config.control_cores.is_empty() {
        preflight::allowed_cores()
    } else {
        config.control_cores.clone()
    };
    let control: Vec<String> = control.iter().map(u32::to_string).collect();
    let mut args = vec![
        "ilagate".to_owned(),
        format!("--file-prefix={}", config.name),
        // There is one EAL thread, lcore 0: the caller. The node starts the worker threads itself.
        format!("--lcores=0@({})", control.join(",")),
        "-m".into(),
        config.memory_mib.to_string(),
        format!("--log-level={}", config.log_level),
    ];
    match &config.memory {
        Memory::Ordinary => args.push("--no-huge".into()),
        // DPDK unlinks the files of its pages, so that the pages return to the system however the process ends.
        Memory::Huge(dir) => {
            args.push("--huge-unlink".into());
            if let Some(dir) = dir {
                args.push(format!("--huge-dir={}", dir.display()));
            }
        }
    }
    if config.pci.is_empty() {
        args.push("--no-pci".into());
    }
    for address in &config.pci {
        args.extend(["-a".to_owned(), address.clone()]);
    }
    args.extend(config.extra.iter().cloned());
    args.into_iter().map(|arg| CString::new(arg.clone()).map_err(|_| EalError::Argument(arg))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_memory_bus_and_cores() {
        let config = EalConfig {
            name: "n1".into(),
            control_cores: vec![0, 2],
            memory: Memory::Huge(Some("/mnt/huge".into())),
            pci: vec!["0000:3b:00.1".into()],
            extra: vec!["--vdev=net_null0".into()],
            ..EalConfig::default()
        };
        let line: Vec<_> =
            arguments(&config).unwrap().iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(
            line.join(" "),
            "ilagate --file-prefix=n1 --lcores=0@(0,2) -m 256 --log-level=5 --huge-unlink --huge-dir=/mnt/huge \
             -a 0000:3b:00.1 --vdev=net_null0"
        );
        let ordinary = EalConfig { memory: Memory::Ordinary, pci: vec![], ..config };
        assert!(arguments(&ordinary).unwrap().iter().any(|arg| arg.as_c_str() == c"--no-huge"));
        assert!(arguments(&ordinary).unwrap().iter().any(|arg| arg.as_c_str() == c"--no-pci"));
        let bad = EalConfig { extra: vec!["a\0b".into()], ..ordinary };
        assert!(matches!(arguments(&bad), Err(EalError::Argument(_))));
    }
}

//! A port: one DPDK device, opened by its PCI address or virtual device string.
//!
//! Opening configures and starts the device; dropping the last handle closes it. One thread calls the control
//! operations. Each queue belongs to one worker.

#![allow(unsafe_code)]

use super::device::Device;
use super::open;
use super::pool::Mempool;
use super::refused::{PortConfig, PortError};
use super::requirements::{connects_to, mac_way_out};
use super::stale;
use super::sys;
use crate::net::Mac;
use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::Arc;

/// Which frames a port should accept besides those to its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promiscuous {
    /// All multicast, which Neighbour Discovery needs. Promiscuous if the device has no all-multicast mode.
    #[default]
    Auto,
    /// Promiscuous: every frame.
    On,
    /// All multicast if the device has that mode; never promiscuous.
    Off,
}

/// Whether the device spreads received packets over the queues by a hash of their flow (receive side scaling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rss {
    /// It hashes by these IPv6 types (`RTE_ETH_RSS_*` bits).
    Active(u64),
    /// It does not, for this reason.
    Off(&'static str),
}

/// Which frames a port accepts besides those to its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// Every frame.
    Promiscuous,
    /// All multicast.
    AllMulticast,
    /// The device's default: it supports neither mode, or the configuration forbids the one that it supports.
    AsIs,
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Its speed in Mbit/s; `None` if the device does not know it.
    pub speed_mbps: Option<u32>,
}

/// Counters of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because no receive descriptor was free: the workers are too slow.
    pub rx_missed: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets lost because the mempool was empty.
    pub rx_no_mbuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
}

/// An open, started port.
pub struct Port {
    pub(super) config: PortConfig,
    pub(super) device: Arc<Device>,
    pub(super) shape: Shape,
    free_rx: Vec<u16>,
    free_tx: Vec<u16>,
    /// One thread at a time calls the control operations: this field makes the type not `Sync`.
    _one_thread: PhantomData<Cell<()>>,
}

/// The properties of a device that opening it found out.
pub(super) struct Shape {
    pub(super) driver: String,
    pub(super) mac: Mac,
    pub(super) mtu: u16,
    pub(super) socket: Option<u32>,
    pub(super) rss: Rss,
    pub(super) reception: Reception,
    pub(super) tx_checksums: bool,
    pub(super) interface: Option<u32>,
}

macro_rules! queue {
    ($(#[$doc:meta])+ $name:ident) => {
        $(#[$doc])+
        pub struct $name {
            device: Arc<Device>,
            queue: u16,
            /// Its place in the gate of the device.
            place: u16,
            _one_thread: PhantomData<Cell<()>>,
        }

        impl $name {
            #[inline]
            pub(super) fn port(&self) -> u16 {
                self.device.id()
            }

            /// Runs `work` if the device is there, which it stays until `work` is done; otherwise gives `absent`.
            #[inline]
            pub(super) fn with_device<T>(&self, absent: T, work: impl FnOnce() -> T) -> T {
                let Some(gate) = &self.device.gate else { return work() };
                match gate.enter(usize::from(self.place)) {
                    Some(_inside) => work(),
                    None => absent,
                }
            }

            /// The number of the queue within its port.
            #[inline]
            #[must_use]
            pub fn queue(&self) -> u16 {
                self.queue
            }
        }
    };
}

queue! {
    /// The only handle of one receive queue.
    RxQueue
}
queue! {
    /// The only handle of one transmit queue.
    TxQueue
}

impl Port {
    /// Opens, configures and starts the device. It receives into buffers of `pool`. One that connects to a peer that is
    /// not there yet is opened later, by [`Port::meet_peer`].
    ///
    /// # Errors
    /// [`PortError::MtuBuffer`], [`PortError::MtuDevice`] or [`PortError::MtuInterface`] when the MTU does not fit;
    /// [`PortError::DeviceString`], [`PortError::Machine`], [`PortError::Probe`] or [`PortError::InUse`] when the
    /// device cannot be taken; [`PortError::Queues`] when it has too few queues; [`PortError::Step`] when a later
    /// step fails.
    pub fn open(config: &PortConfig, pool: &Mempool) -> Result<Port, PortError> {
        let absent = connects_to(&config.device).is_some_and(|path| !stale::somebody_listens(path));
        let (device, shape) = if absent { open::later(config, pool)? } else { open::open(config, pool)? };
        Ok(Port {
            config: config.clone(),
            device: Arc::new(device),
            shape,
            free_rx: (0..config.rx_queues).rev().collect(),
            free_tx: (0..config.tx_queues).rev().collect(),
            _one_thread: PhantomData,
        })
    }

    /// Takes the next receive queue; `None` when all are taken.
    pub fn take_rx(&mut self) -> Option<RxQueue> {
        let queue = self.free_rx.pop()?;
        Some(RxQueue { device: self.device.clone(), queue, place: queue, _one_thread: PhantomData })
    }

    /// Takes the next transmit queue; `None` when all are taken.
    pub fn take_tx(&mut self) -> Option<TxQueue> {
        let queue = self.free_tx.pop()?;
        let place = self.config.rx_queues + queue;
        Some(TxQueue { device: self.device.clone(), queue, place, _one_thread: PhantomData })
    }

    /// The port's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The name of its driver, for example `net_ixgbe`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.shape.driver
    }

    /// Sets its MAC address.
    ///
    /// # Errors
    /// [`PortError::Step`] when the driver cannot change the address or refuses this one.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), PortError> {
        if mac == self.shape.mac {
            return Ok(());
        }
        super::log::forget();
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        let code = if self.device.hold().closed {
            // No driver of those that are opened later can set it.
            -libc::EOPNOTSUPP
        } else {
            // SAFETY: `self.device` keeps the port open. DPDK copies the address.
            unsafe { sys::rte_eth_dev_default_mac_addr_set(self.device.id(), &mut address) }
        };
        if code < 0 {
            return Err(PortError::Step {
                port: self.config.name.clone(),
                step: "setting its MAC address",
                cause: super::words(code),
                way_out: mac_way_out(&self.config.device, mac),
                said: super::log::said(),
            });
        }
        self.shape.mac = mac;
        Ok(())
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.shape.mac
    }

    /// MTU: the largest IP packet in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.shape.mtu
    }

    /// Its NUMA node; `None` if it has none.
    #[must_use]
    pub fn socket(&self) -> Option<u32> {
        self.shape.socket
    }

    /// Whether the device spreads flows over the receive queues.
    #[must_use]
    pub fn rss(&self) -> Rss {
        self.shape.rss
    }

    /// Which frames it accepts besides those to its own address.
    #[must_use]
    pub fn reception(&self) -> Reception {
        self.shape.reception
    }

    /// The kernel's number of the interface that the device works on or made; `None` if it has none.
    #[must_use]
    pub fn interface(&self) -> Option<u32> {
        self.shape.interface
    }

    /// Whether the device could compute TCP and UDP checksums. The node does not use this: it computes them in
    /// software.
    #[must_use]
    pub fn offers_tx_checksums(&self) -> bool {
        self.shape.tx_checksums
    }

    /// The state of the link. The call does not wait for a link that is coming up.
    #[must_use]
    pub fn link(&self) -> Link {
        if !self.is_started() {
            return Link { up: false, speed_mbps: None };
        }
        let mut link = sys::rte_eth_link::default();
        // SAFETY: `self.device` keeps the port open, and `link` has room for the answer.
        let code = unsafe { sys::rte_eth_link_get_nowait(self.device.id(), &mut link) };
        let known = link.link_speed != 0 && link.link_speed != u32::MAX;
        Link { up: code == 0 && link.link_status() != 0, speed_mbps: known.then_some(link.link_speed) }
    }

    /// The device's counters since it was opened; zero if the driver has none.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        if self.device.hold().closed {
            return PortStats::default();
        }
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: `self.device` keeps the port open, and `stats` has room for the answer.
        unsafe { sys::rte_eth_stats_get(self.device.id(), &mut stats) };
        PortStats {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            rx_no_mbuf: stats.rx_nombuf,
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        }
    }

    /// The driver's extended counters by the driver's names; empty if it has none.
    #[must_use]
    pub fn xstats(&self) -> Vec<(String, u64)> {
        let id = self.device.id();
        if self.device.hold().closed {
            return Vec::new();
        }
        // SAFETY: `self.device` keeps the port open. With a null pointer and size 0 the call only returns the count.
        let count = unsafe { sys::rte_eth_xstats_get(id, std::ptr::null_mut(), 0) };
        let count = usize::try_from(count).unwrap_or(0);
        let mut names = vec![sys::rte_eth_xstat_name::default(); count];
        let mut values = vec![sys::rte_eth_xstat::default(); count];
        // SAFETY: `self.device` keeps the port open, and each vector has room for `count` entries.
        let (named, valued) = unsafe {
            (
                sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), count as u32),
                sys::rte_eth_xstats_get(id, values.as_mut_ptr(), count as u32),
            )
        };
        if named != valued || usize::try_from(valued) != Ok(count) {
            return Vec::new();
        }
        values
            .iter()
            .filter_map(|stat| {
                let name = names.get(stat.id as usize)?.name.map(|byte| byte as u8);
                let name = CStr::from_bytes_until_nul(&name).ok()?;
                Some((name.to_string_lossy().into_owned(), stat.value))
            })
            .collect()
    }
}

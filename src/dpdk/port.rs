//! A port: one DPDK device, opened by its PCI address or virtual device string, configured, started, and closed when
//! the last of its handles is gone. Control operations are for one thread; queues are for one worker each.

#![allow(unsafe_code)]

use super::eal::Environment;
use super::open;
use super::pool::Mempool;
use super::refused::{PortConfig, PortError};
use super::sys;
use crate::net::Mac;
use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};

/// What a port accepts beside its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Promiscuous {
    /// All multicast, which Neighbour Discovery needs; everything where the device cannot do that.
    #[default]
    Auto,
    /// Everything.
    On,
    /// All multicast, where the device can do that; never everything.
    Off,
}

/// Whether received packets are spread over the queues by a hash of their flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rss {
    /// NexthopGroup by these IPv6 hash types (DPDK's bits).
    Active(u64),
    /// Not spread, and why.
    Off(&'static str),
}

/// What the port accepts beside its own address, as it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// Everything.
    Promiscuous,
    /// All multicast.
    AllMulticast,
    /// Whatever the device accepts by itself; it knows neither setting, or was told to leave it.
    AsIs,
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Its speed in Mbit/s; `None` where the device does not know.
    pub speed_mbps: Option<u32>,
}

/// Counters of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because no descriptor was free: the workers are too slow.
    pub rx_missed: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets lost because the pool was empty.
    pub rx_no_mbuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
}

/// What is closed when nobody needs it any more: the port and its queues share it.
pub(super) struct Device {
    pub(super) id: u16,
    /// DPDK's device, when we plugged it in and are to unplug it.
    pub(super) plugged: Option<Plugged>,
    pub(super) started: bool,
    pub(super) environment: Arc<Environment>,
}

pub(super) struct Plugged(pub(super) *mut sys::rte_device);

// SAFETY: only handed to `rte_dev_remove`, once, by whoever drops the last handle.
unsafe impl Send for Plugged {}
// SAFETY: as above; shared, it is not read.
unsafe impl Sync for Plugged {}

impl Drop for Device {
    fn drop(&mut self) {
        let plugging = self.environment.plugging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the port was claimed in `open`, so it is ours, and no queue handle is left that could use it.
        unsafe {
            if self.started {
                sys::rte_eth_dev_stop(self.id);
            }
            sys::rte_eth_dev_close(self.id);
            if let Some(Plugged(device)) = &self.plugged {
                sys::rte_dev_remove(*device);
            }
        }
        drop(plugging);
        self.environment.release(self.id);
    }
}

/// An open, started port.
pub struct Port {
    name: String,
    device: Arc<Device>,
    shape: Shape,
    free_rx: Vec<u16>,
    free_tx: Vec<u16>,
    /// Control operations are for one thread at a time: not `Sync`.
    _one_thread: PhantomData<Cell<()>>,
}

/// What opening a device found out.
pub(super) struct Shape {
    pub(super) driver: String,
    pub(super) mac: Mac,
    pub(super) mtu: u16,
    pub(super) socket: Option<u32>,
    pub(super) rss: Rss,
    pub(super) reception: Reception,
    pub(super) tx_checksums: bool,
}

macro_rules! queue {
    ($(#[$doc:meta])+ $name:ident) => {
        $(#[$doc])+
        pub struct $name {
            device: Arc<Device>,
            queue: u16,
            _one_thread: PhantomData<Cell<()>>,
        }

        impl $name {
            #[inline]
            pub(super) fn port(&self) -> u16 {
                self.device.id
            }

            /// Its number in the port.
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
    /// Opens, configures and starts the device; received packets come in buffers of `pool`.
    ///
    /// # Errors
    /// There is no such device, or it does not do what is asked.
    pub fn open(config: &PortConfig, pool: &Mempool) -> Result<Port, PortError> {
        let (device, shape) = open::open(config, pool)?;
        Ok(Port {
            name: config.name.clone(),
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
        Some(RxQueue { device: self.device.clone(), queue, _one_thread: PhantomData })
    }

    /// Takes the next transmit queue; `None` when all are taken.
    pub fn take_tx(&mut self) -> Option<TxQueue> {
        let queue = self.free_tx.pop()?;
        Some(TxQueue { device: self.device.clone(), queue, _one_thread: PhantomData })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its driver's name, as `net_ixgbe`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.shape.driver
    }

    /// Gives it another MAC address.
    ///
    /// # Errors
    /// Its driver does not do that, or not with this address.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), PortError> {
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: an open port, and an address that DPDK copies.
        let code = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.device.id, &mut address) };
        if code < 0 {
            return Err(PortError::Step {
                port: self.name.clone(),
                step: "setting its MAC address",
                cause: super::words(code),
                way_out: "leave `mac` out, and set it where the device comes from",
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

    /// Largest IP packet, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.shape.mtu
    }

    /// Its NUMA node, where it has one.
    #[must_use]
    pub fn socket(&self) -> Option<u32> {
        self.shape.socket
    }

    /// Whether flows are spread over the receive queues.
    #[must_use]
    pub fn rss(&self) -> Rss {
        self.shape.rss
    }

    /// What it accepts beside its own address.
    #[must_use]
    pub fn reception(&self) -> Reception {
        self.shape.reception
    }

    /// Whether the device could fill in TCP and UDP checksums. It is not asked to: ours are right before they get here.
    #[must_use]
    pub fn offers_tx_checksums(&self) -> bool {
        self.shape.tx_checksums
    }

    /// State of the link, without waiting for it to settle.
    #[must_use]
    pub fn link(&self) -> Link {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: an open port, and room for the answer.
        let code = unsafe { sys::rte_eth_link_get_nowait(self.device.id, &mut link) };
        let known = link.link_speed != 0 && link.link_speed != u32::MAX;
        Link { up: code == 0 && link.link_status() != 0, speed_mbps: known.then_some(link.link_speed) }
    }

    /// The device's counters since it was opened; zero where the driver has none.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: an open port, and room for the answer.
        unsafe { sys::rte_eth_stats_get(self.device.id, &mut stats) };
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

    /// The driver's own counters, by the driver's names; empty where it has none.
    #[must_use]
    pub fn xstats(&self) -> Vec<(String, u64)> {
        let id = self.device.id;
        // SAFETY: an open port; with no room for an answer, both calls only say how much is needed.
        let count = unsafe { sys::rte_eth_xstats_get(id, std::ptr::null_mut(), 0) };
        let count = usize::try_from(count).unwrap_or(0);
        let mut names = vec![sys::rte_eth_xstat_name::default(); count];
        let mut values = vec![sys::rte_eth_xstat::default(); count];
        // SAFETY: an open port, and room for `count` of each.
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

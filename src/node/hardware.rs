//! The ports and packet buffers of a node, opened by its configuration.

use super::control::LinkState;
use super::quiet::{Quiet, QuietError};
use super::shell::Devices;
use super::stats::DeviceCounters;
use super::underlay::Underlay;
use crate::config::{self, Config, device};
use crate::dpdk::{
    Eal, Mempool, PoolConfig, PoolError, Port, PortConfig, PortError, Promiscuous, Rss, RxQueue, TxSet,
};
use crate::table::PortId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Why the hardware of a node did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no memory for packets.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A port did not open.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The kernel is not quiet on the interface that a port made.
    #[error(transparent)]
    Quiet(#[from] QuietError),
    /// The driver of AF_XDP kept too many buffers.
    #[error(
        "port {port}: the driver of AF_XDP kept the buffers of the interfaces before, and {free} are left of the \
             {needed} that it takes to open another one; restart the node, and raise mbufs.count"
    )]
    Kept {
        /// The port.
        port: String,
        /// Buffers that are free.
        free: u32,
        /// Buffers that must be free.
        needed: u32,
    },
}

/// The open ports and their pools.
pub(super) struct Hardware {
    pub(super) ports: Vec<Port>,
    /// One for each NUMA node in use; the first is that of the first port.
    pub(super) pools: Vec<Arc<Mempool>>,
    /// The interfaces under the ports that work on one.
    underlays: Vec<Option<Underlay>>,
    /// Pools of the ports, as indices of `pools`.
    port_pools: Vec<usize>,
    upkeep_due: Instant,
    /// The last warning of the upkeep about each port; empty when it is well.
    warned: Vec<String>,
    quiet: Quiet,
    /// Buffers that drivers keep when their ports close, at most.
    kept_mbufs: Arc<AtomicU32>,
    /// As at the start. A reload changes nothing of a port that concerns its device.
    config: Arc<Config>,
}

/// Time between two attempts to bring devices back.
const UPKEEP: Duration = Duration::from_millis(500);
/// Descriptors of each ring of an AF_XDP socket; the driver does not take another number.
const AF_XDP_RING: u32 = 2048;

impl Hardware {
    pub(super) fn open(eal: &Eal, config: &Arc<Config>, quiet: Quiet) -> Result<Self, OpenError> {
        let mut hardware = Hardware {
            ports: Vec::new(),
            pools: Vec::new(),
            underlays: Vec::new(),
            port_pools: Vec::new(),
            upkeep_due: Instant::now(),
            warned: vec![String::new(); config.ports.len()],
            quiet,
            kept_mbufs: Arc::default(),
            config: config.clone(),
        };
        let mut by_node: HashMap<Option<u32>, Arc<Mempool>> = HashMap::new();
        for port in &config.ports {
            let socket = numa_node(&port.device);
            let pool = match by_node.get(&socket) {
                Some(pool) => pool.clone(),
                None => {
                    let name = socket.map_or("mbufs".to_owned(), |socket| format!("mbufs{socket}"));
                    let pool = Arc::new(Mempool::new(
                        eal,
                        &PoolConfig {
                            name,
                            mbufs: config.mbufs.count,
                            cache: u32::from(config.mbufs.cache),
                            data_bytes: config.mbufs.data_bytes,
                            socket,
                        },
                    )?);
                    hardware.pools.push(pool.clone());
                    by_node.insert(socket, pool.clone());
                    pool
                }
            };
            let place = hardware.pools.iter().position(|known| Arc::ptr_eq(known, &pool)).unwrap_or(0);
            hardware.port_pools.push(place);
            let mut open = Port::open(
                &PortConfig {
                    name: port.name.clone(),
                    device: port.device.clone(),
                    rx_queues: port.queues,
                    tx_queues: config.dpdk.workers.len() as u16,
                    rx_desc: port.descriptors,
                    tx_desc: port.descriptors,
                    mtu: port.mtu,
                    promiscuous: promiscuous(port),
                },
                &pool,
            )?;
            if open.driver() == "net_af_xdp" {
                hardware.kept_mbufs.fetch_add(kept_by_af_xdp(port, config), Ordering::Relaxed);
            }
            if let Some(index) = open.interface().filter(|_| open.driver() == "net_tap") {
                hardware.quiet.hush_made(&port.name, index)?;
            }
            if let Some(mac) = port.mac {
                open.set_mac(mac)?;
            }
            let (driver, mac, rss) = (open.driver(), open.mac(), rss_words(open.rss()));
            tracing::info!(port = open.name(), device = port.device, driver, %mac, rss, "port");
            hardware.underlays.push(underlay(port, &open));
            hardware.ports.push(open);
        }
        Ok(hardware)
    }

    /// Receive queues and transmit queues of each worker: queue q of every port goes to worker q modulo
    /// workers.
    pub(super) fn queues(&mut self, config: &Config) -> Vec<(Vec<(PortId, RxQueue)>, TxSet)> {
        let mut workers: Vec<_> = config.dpdk.workers.iter().map(|_| (Vec::new(), TxSet::new())).collect();
        let count = workers.len();
        for (n, port) in self.ports.iter_mut().enumerate() {
            let id = PortId(n as u16);
            let mut q = 0;
            while let Some(rx) = port.take_rx() {
                workers[q % count].0.push((id, rx));
                q += 1;
            }
            for (_, tx) in &mut workers {
                if let Some(queue) = port.take_tx() {
                    tx.insert(id, queue);
                }
            }
        }
        workers
    }

    /// How many buffers drivers keep when all ports are closed, at most: that of AF_XDP gives none of its rings back.
    /// It grows when a port is opened again.
    pub(super) fn kept_mbufs(&self) -> Arc<AtomicU32> {
        self.kept_mbufs.clone()
    }

    /// Writes a warning about a port, but not the same one again and again.
    fn warn(&mut self, n: usize, text: String) {
        if let Some(warned) = self.warned.get_mut(n).filter(|warned| **warned != text) {
            tracing::warn!("{text}");
            *warned = text;
        }
    }

    /// Opens a port anew: on the interface that has now the name of the one that it was opened on, or with an
    /// interface that it makes.
    fn reopen(&mut self, n: usize) -> Result<(), OpenError> {
        let (port, open) = (&self.config.ports[n], &mut self.ports[n]);
        for interface in device::kernel_interfaces(&port.device) {
            self.quiet.add(&port.name, interface)?;
        }
        let pool = &self.pools[self.port_pools[n]];
        if open.driver() == "net_af_xdp" {
            // Its fill rings, and as many for what the port receives and for others.
            let (free, needed) = (pool.total() - pool.in_use(), 2 * AF_XDP_RING * u32::from(port.queues));
            if free < needed {
                return Err(OpenError::Kept { port: port.name.clone(), free, needed });
            }
            if open.is_started() {
                self.kept_mbufs.fetch_add(kept_by_af_xdp(port, &self.config), Ordering::Relaxed);
            }
        }
        if let Some(underlay) = &mut self.underlays[n] {
            underlay.let_go();
        }
        open.reopen(pool)?;
        if let Some(index) = open.interface().filter(|_| open.driver() == "net_tap") {
            self.quiet.hush_made(&port.name, index)?;
        }
        self.underlays[n] = underlay(port, open);
        tracing::info!(port = port.name, device = port.device, "opened again");
        Ok(())
    }

    fn port(&self, port: PortId) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }
}

impl Devices for Hardware {
    fn upkeep(&mut self) {
        if Instant::now() < self.upkeep_due {
            return;
        }
        self.upkeep_due = Instant::now() + UPKEEP;
        for n in 0..self.ports.len() {
            if !self.ports[n].can_reopen() {
                continue;
            }
            if self.underlays[n].as_ref().is_some_and(Underlay::can_be_replaced) {
                match self.reopen(n) {
                    Ok(()) => self.warned[n].clear(),
                    Err(why) => self.warn(n, why.to_string()),
                }
                continue;
            }
            self.warned[n].clear();
            if !self.ports[n].link().up {
                // While its peer is not there this fails, and the port says so.
                let _ = self.ports[n].meet_peer(&self.pools[self.port_pools[n]]);
            }
        }
    }

    fn link(&self, port: PortId) -> LinkState {
        let Some(open) = self.port(port) else { return LinkState::default() };
        let link = open.link();
        let n = usize::from(port.0);
        let underlay = self.underlays.get(n).and_then(Option::as_ref);
        let (usable, problem) = underlay.map_or((true, ""), Underlay::state);
        // The driver of a TAP asks for the link by name, in the namespace of this process.
        let linked = if underlay.is_some_and(Underlay::is_made) { open.is_started() } else { link.up };
        let mut problem = match (linked, problem) {
            (false, "") => no_link(open.driver()).to_owned(),
            (_, problem) => problem.to_owned(),
        };
        if let Some(why) = self.warned.get(n).filter(|why| !why.is_empty()) {
            problem = format!("{problem}: {why}");
        } else if !open.can_reopen() && underlay.is_some_and(Underlay::can_be_replaced) {
            problem += "; restart the node";
        }
        LinkState { up: linked && usable, speed_mbps: link.speed_mbps.unwrap_or(0), problem }
    }

    fn counters(&self, port: PortId) -> DeviceCounters {
        let stats = self.port(port).map(Port::stats).unwrap_or_default();
        DeviceCounters {
            rx_packets: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            rx_no_mbuf: stats.rx_no_mbuf,
            tx_packets: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            tx_errors: stats.tx_errors,
        }
    }

    fn xstats(&self, port: PortId) -> Vec<(String, u64)> {
        self.port(port).map(Port::xstats).unwrap_or_default()
    }

    fn rss(&self, port: PortId) -> String {
        self.port(port).map_or("", |port| rss_words(port.rss())).to_owned()
    }

    fn mbufs(&self) -> (u64, u64) {
        let sum = |what: fn(&Mempool) -> u32| self.pools.iter().map(|pool| u64::from(what(pool))).sum();
        (sum(Mempool::in_use), sum(Mempool::total))
    }
}

/// The interfaces of the kernel that ports use, each with the name of its port.
pub(super) fn interfaces(config: &Config) -> Vec<(String, String)> {
    let of = |port: &config::Port| {
        let interfaces = device::kernel_interfaces(&port.device).into_iter();
        interfaces.map(|interface| (port.name.clone(), interface.to_owned())).collect::<Vec<_>>()
    };
    config.ports.iter().flat_map(of).collect()
}

/// The interface of the kernel under a port, or the one that it made.
fn underlay(port: &config::Port, open: &Port) -> Option<Underlay> {
    match device::kernel_interfaces(&port.device).first() {
        Some(interface) => Underlay::of(interface, port.mtu),
        None => {
            let made = open.interface().filter(|_| open.driver() == "net_tap");
            made.and_then(|index| Underlay::made(index, port.mtu))
        }
    }
}

/// Buffers that the driver of AF_XDP keeps when it closes a port, at most: what waits in its fill rings, and what was
/// sent and not yet taken back.
fn kept_by_af_xdp(port: &config::Port, config: &Config) -> u32 {
    AF_XDP_RING * (u32::from(port.queues) + config.dpdk.workers.len() as u32)
}

/// Which frames a port accepts. Tenants send to the MAC addresses of their networks, which a device does not
/// know and a reload may change.
fn promiscuous(port: &config::Port) -> Promiscuous {
    match (port.promiscuous, port.role) {
        (config::Promiscuous::Auto, config::Role::Access) | (config::Promiscuous::On, _) => Promiscuous::On,
        (config::Promiscuous::Auto, _) => Promiscuous::Auto,
        (config::Promiscuous::Off, _) => Promiscuous::Off,
    }
}

fn rss_words(rss: Rss) -> &'static str {
    match rss {
        Rss::Active(_) => "active",
        Rss::Off(why) => why,
    }
}

/// Why a device of this driver has no link.
fn no_link(driver: &str) -> &'static str {
    match driver {
        "net_memif" | "net_vhost" | "net_virtio_user" => {
            "its peer is not connected; the port comes up when it is"
        }
        _ => "its device has no link",
    }
}

/// The NUMA node of a PCI device, where it has one.
fn numa_node(device: &str) -> Option<u32> {
    let address = device::pci_address(device)?;
    let text = std::fs::read_to_string(format!("/sys/bus/pci/devices/{address}/numa_node")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_port_hears_what_is_sent_to_the_mac_addresses_of_networks() {
        let of = |role: &str, word: &str| {
            let text = format!(
                "node: {{name: n}}\ndpdk: {{workers: [1]}}\n\
                 ports: [{{name: p, device: net_null_d0, role: {role}, promiscuous: {word}}}]\n"
            );
            promiscuous(&Config::parse(&text, "t.yaml").unwrap().ports[0])
        };
        assert_eq!(of("access", "auto"), Promiscuous::On);
        assert_eq!((of("fabric", "auto"), of("external", "auto")), (Promiscuous::Auto, Promiscuous::Auto));
        assert_eq!((of("access", "off"), of("fabric", "on")), (Promiscuous::Off, Promiscuous::On));
    }
}

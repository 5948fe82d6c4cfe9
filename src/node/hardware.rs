//! The ports and packet buffers of a node, opened by its configuration.

use super::quiet::{Quiet, QuietError};
use super::shell::Devices;
use super::stats::DeviceCounters;
use crate::config::{self, Config, device};
use crate::dpdk::{
    Eal, Mempool, PoolConfig, PoolError, Port, PortConfig, PortError, Promiscuous, Rss, RxQueue, TxSet,
};
use crate::table::PortId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
}

/// The open ports and their pools.
pub(super) struct Hardware {
    pub(super) ports: Vec<Port>,
    /// One for each NUMA node in use; the first is that of the first port.
    pub(super) pools: Vec<Arc<Mempool>>,
    /// Files in which the kernel shows a port's link, for devices whose driver does not read it.
    carriers: Vec<Option<PathBuf>>,
}

impl Hardware {
    pub(super) fn open(eal: &Eal, config: &Config, quiet: &Quiet) -> Result<Self, OpenError> {
        let mut hardware = Hardware { ports: Vec::new(), pools: Vec::new(), carriers: Vec::new() };
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
            if let Some(index) = open.interface().filter(|_| open.driver() == "net_tap") {
                quiet.hush_made(&port.name, index)?;
            }
            if let Some(mac) = port.mac {
                open.set_mac(mac)?;
            }
            let (driver, mac, rss) = (open.driver(), open.mac(), rss_words(open.rss()));
            tracing::info!(port = open.name(), device = port.device, driver, %mac, rss, "port");
            hardware.carriers.push(carrier_file(&port.device));
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

    fn port(&self, port: PortId) -> Option<&Port> {
        self.ports.get(usize::from(port.0))
    }
}

impl Devices for Hardware {
    fn link(&self, port: PortId) -> (bool, u32) {
        let Some(open) = self.port(port) else { return (false, 0) };
        let link = open.link();
        let kernels = self.carriers.get(usize::from(port.0)).and_then(Option::as_deref).and_then(carrier);
        (link.up && kernels.unwrap_or(true), link.speed_mbps.unwrap_or(0))
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

/// Where the kernel tells of the link under an AF_PACKET port.
fn carrier_file(text: &str) -> Option<PathBuf> {
    let interface =
        device::argument(text, "iface").filter(|_| device::driver(text) == Some("net_af_packet"))?;
    (!interface.contains('/')).then(|| Path::new("/sys/class/net").join(interface).join("carrier"))
}

/// Whether the kernel sees a link; `None` when it does not say.
fn carrier(file: &Path) -> Option<bool> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text.trim() == "1"),
        // An interface that is down has no carrier.
        Err(why) if why.raw_os_error() == Some(libc::EINVAL) => Some(false),
        // The interface is gone.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
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
    fn the_kernels_link_is_looked_for_under_af_packet_only() {
        let file = carrier_file("net_af_packet0,qpairs=2,iface=fab0");
        assert_eq!(file, Some(PathBuf::from("/sys/class/net/fab0/carrier")));
        assert_eq!(carrier_file("net_tap0,iface=tap0"), None);
        assert_eq!(carrier_file("net_af_packet0,iface=../x"), None);
    }

    #[test]
    fn an_interface_that_is_gone_has_no_link() {
        assert_eq!(carrier(Path::new("/sys/class/net/no-such-port/carrier")), Some(false));
        assert_eq!(carrier(Path::new("/sys/class/net/lo/carrier")), Some(true));
    }

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

//! Starting and stopping a node: DPDK, pools, ports, workers, services; and everything back in its place at the end.

use super::admin::{Service, Socket, SocketError};
use super::control;
use super::exchange::Exchange;
use super::http::{self, ListenError};
use super::shell::{ControlError, Devices, Ended, Parts, Shell, Signals};
use super::stats::{DeviceCounters, PortFacts, Stats};
use super::watch::Fingerprint;
use super::worker::{Worker, WorkerSetup};
use crate::config::{self, Config, ConfigErrors, DpdkLogLevel, LogFormat, LogLevel, mappings};
use crate::dpdk::{
    Burst, CoreLease, Eal, EalConfig, EalError, Memory, Mempool, PoolConfig, PoolError, Port, PortConfig,
    PortError, Promiscuous, Rss, RxQueue, TxSet,
};
use crate::table::PortId;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use sd_notify::NotifyState;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

/// Why a node did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration or the mapping file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// There is no memory for packets.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A port did not open.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The control thread did not start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no admin socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no metrics endpoint.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refuses something.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
    /// A worker ended by itself.
    #[error("worker {0} came to an end by itself; see the log above")]
    WorkerLost(usize),
    /// Packet buffers did not come back.
    #[error("{0} mbufs did not come back to their pools when the node stopped: this is a bug")]
    Leaked(u32),
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// What kept it from starting, or from ending well.
pub fn run(path: &Path) -> Result<(), RunError> {
    let config = Arc::new(Config::load(path)?);
    let set_level = start_log(&config);
    let mappings = match &config.mappings {
        Some(file) => {
            let seen = Fingerprint::of(&file.file);
            Some((mappings::load(&file.file, &config)?, seen))
        }
        None => None,
    };
    tracing::info!(node = config.node.name, config = %path.display(), "starting, {}", Eal::version());
    let eal = Eal::start(&eal_config(&config))?;
    let mut hardware = Hardware::open(&eal, &config)?;
    let leases = config
        .dpdk
        .workers
        .iter()
        .map(|&core| eal.lease(u32::from(core)))
        .collect::<Result<Vec<CoreLease>, EalError>>()?;
    let networks = config.counted_networks();
    let stats = Stats::new(config.node.name.clone(), port_facts(&config), &config.dpdk.workers, networks);
    let stats = Arc::new(stats);
    let exchanges: Vec<_> = leases.iter().map(|_| Exchange::new()).collect();
    let queues = hardware.queues(&config);
    let pools = hardware.pools.clone();
    let macs = hardware.ports.iter().map(Port::mac).collect();
    let mut shell = Shell::new(Parts {
        path: path.to_owned(),
        config: config.clone(),
        macs,
        mappings,
        stats: stats.clone(),
        exchanges: exchanges.clone(),
        devices: Box::new(hardware),
        set_level,
        table_seed: rand::random(),
        timer_seed: rand::random(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| RunError::System("start the control thread", why))?;
    // From here on a signal ends or reloads the node in order, even one that comes before it forwards.
    let signals = {
        let _around = runtime.enter();
        Signals::listen()?
    };
    let services = Services::start(&config, &shell, &stats)?;
    let mut threads = Vec::new();
    for (number, (lease, (queues, tx))) in leases.into_iter().zip(queues).enumerate() {
        let setup = WorkerSetup {
            number,
            queues,
            tx,
            burst: Burst::new(&eal),
            pool: pools[0].clone(),
            reader: shell.reader(),
            exchange: exchanges[number].clone(),
            stats: stats.clone(),
            idle: config.dpdk.idle,
            settings: control::settings(&config, exchanges.len()),
        };
        threads.push(start_worker(lease, setup)?);
    }
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(
        node = config.node.name,
        workers = threads.len(),
        ports = config.ports.len(),
        "forwarding"
    );
    let ended = runtime.block_on(shell.run(signals));
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    runtime.block_on(shell.finish());
    exchanges.iter().for_each(|exchange| exchange.stop());
    let mut panicked = threads.into_iter().map(JoinHandle::join).enumerate().filter(|(_, end)| end.is_err());
    let panicked = panicked.next().map(|(number, _)| number);
    services.stop();
    // The shell holds the ports. They are closed here, and give their buffers back.
    drop(shell);
    let leaked: u32 = pools.iter().map(|pool| pool.in_use()).sum();
    drop(pools);
    drop(eal);
    match (ended, panicked) {
        (Ended::WorkerLost(number), _) | (_, Some(number)) => Err(RunError::WorkerLost(number)),
        _ if leaked > 0 => Err(RunError::Leaked(leaked)),
        (Ended::Asked, None) => {
            tracing::info!("stopped, every mbuf is back");
            Ok(())
        }
    }
}

/// Writes the log to standard error; gives the way to change its level.
fn start_log(config: &Config) -> Box<dyn Fn(LogLevel)> {
    let (filter, handle) = reload::Layer::<Targets, Registry>::new(targets(config.log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let written = match config.log.format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(io::stderr);
            registry.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr);
            registry.with(lines).try_init()
        }
    };
    if let Err(why) = written {
        // A log that somebody else set up is left alone.
        tracing::warn!(%why, "log is set up already");
    }
    Box::new(move |level| {
        let _ = handle.reload(targets(level));
    })
}

/// Our own messages and DPDK's by level; of libraries only warnings.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_target("ilagate", level)
        .with_target("dpdk", level)
        .with_default(LevelFilter::WARN.min(level))
}

fn eal_config(config: &Config) -> EalConfig {
    let dpdk = &config.dpdk;
    let worker_cores: Vec<u32> = dpdk.workers.iter().map(|&core| u32::from(core)).collect();
    let control_cores = match dpdk.control_core {
        Some(core) => vec![u32::from(core)],
        None => other_cores(&worker_cores),
    };
    EalConfig {
        name: config.node.name.clone(),
        control_cores,
        worker_cores,
        memory_mib: dpdk.memory_mib,
        memory: if dpdk.huge { Memory::Huge(None) } else { Memory::Ordinary },
        // With their arguments: DPDK takes a PCI device's only here.
        pci: config
            .ports
            .iter()
            .map(|port| &port.device)
            .filter(|device| pci_address(device).is_some())
            .cloned()
            .collect(),
        log_level: match dpdk.log_level {
            DpdkLogLevel::Error => 4,
            DpdkLogLevel::Warning => 5,
            DpdkLogLevel::Notice => 6,
            DpdkLogLevel::Info => 7,
            DpdkLogLevel::Debug => 8,
        },
        extra: dpdk.extra_args.clone(),
    }
}

/// The cores that this process may use and no worker does; none when workers use all.
fn other_cores(workers: &[u32]) -> Vec<u32> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    let count = nix::sched::CpuSet::count() as u32;
    let is_allowed = |core: &u32| allowed.is_set(*core as usize).unwrap_or(false);
    (0..count).filter(|core| is_allowed(core) && !workers.contains(core)).collect()
}

/// The PCI address that a device string begins with, if it does.
fn pci_address(device: &str) -> Option<&str> {
    let name = device.split(',').next()?;
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|c| c.is_ascii_hexdigit());
    let [domain, bus, slot] = name.split(':').collect::<Vec<_>>().try_into().ok()?;
    let (slot, function) = slot.split_once('.')?;
    (digits(domain, 4) && digits(bus, 2) && digits(slot, 2) && digits(function, 1)).then_some(name)
}

/// The NUMA node of a PCI device, where it has one.
fn numa_node(device: &str) -> Option<u32> {
    let address = pci_address(device)?;
    let text = std::fs::read_to_string(format!("/sys/bus/pci/devices/{address}/numa_node")).ok()?;
    text.trim().parse().ok()
}

/// Where the kernel tells of the link under an AF_PACKET port.
fn carrier_file(device: &str) -> Option<PathBuf> {
    let (driver, arguments) = device.split_once(',')?;
    let interface = arguments.split(',').find_map(|argument| argument.strip_prefix("iface="))?;
    let named = driver.starts_with("net_af_packet") || driver.starts_with("eth_af_packet");
    (named && !interface.contains('/')).then(|| Path::new("/sys/class/net").join(interface).join("carrier"))
}

/// Whether the kernel sees a link; `None` when it does not say.
fn carrier(file: &Path) -> Option<bool> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text.trim() == "1"),
        // An interface that is down has no carrier to tell of.
        Err(why) if why.raw_os_error() == Some(libc::EINVAL) => Some(false),
        // The interface is gone.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

fn port_facts(config: &Config) -> Vec<PortFacts> {
    let facts = |port: &config::Port| PortFacts {
        name: port.name.clone(),
        device: port.device.clone(),
        role: control::views::role_name(port.role),
    };
    config.ports.iter().map(facts).collect()
}

/// The open ports and their pools.
struct Hardware {
    ports: Vec<Port>,
    /// One for each NUMA node in use; the first is that of the first port.
    pools: Vec<Arc<Mempool>>,
    /// Where the kernel tells of a port's link, for devices whose driver does not ask it.
    carriers: Vec<Option<PathBuf>>,
}

impl Hardware {
    fn open(eal: &Eal, config: &Config) -> Result<Self, RunError> {
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

    /// Receive queues and transmit queues of each worker: queue q of every port goes to worker q modulo workers.
    fn queues(&mut self, config: &Config) -> Vec<(Vec<(PortId, RxQueue)>, TxSet)> {
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

/// What a port is to accept. Tenants speak to the MAC addresses of their networks, which change by a reload and which a
/// device knows nothing of.
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

/// Tells the control thread when a worker's thread ends, however it does.
struct End(Arc<Exchange>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set_stopped();
    }
}

fn start_worker(lease: CoreLease, setup: WorkerSetup) -> Result<JoinHandle<()>, RunError> {
    let number = setup.number;
    let work = move || {
        let _end = End(setup.exchange.clone());
        match lease.enter() {
            Ok(lease) => {
                tracing::info!(worker = number, core = lease.core(), "worker");
                Worker::new(setup).run();
                drop(lease);
            }
            Err(why) => tracing::error!(worker = number, %why, "worker does not start"),
        }
    };
    std::thread::Builder::new()
        .name(format!("ilagate-w{number}"))
        .spawn(work)
        .map_err(|why| RunError::System("start a worker", why))
}

/// What serves operators, on a thread of its own: nothing that they ask for keeps the control thread from its work.
struct Services {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Services {
    fn start(config: &Config, shell: &Shell, stats: &Arc<Stats>) -> Result<Self, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|why| RunError::System("start the services", why))?;
        let socket = {
            let _around = runtime.enter();
            Socket::bind(&config.admin.socket)?
        };
        let metrics = match config.metrics {
            Some(metrics) => Some(runtime.block_on(http::listen(metrics.listen))?),
            None => None,
        };
        let service = Service::new(shell.handle(), shell.config());
        let (stop, stopping) = watch::channel(false);
        let until = |mut stopping: watch::Receiver<bool>| async move {
            // A sender that is gone says the same.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let stats = stats.clone();
        let serve = move || {
            runtime.block_on(async {
                let scrapes = async {
                    if let Some(listener) = metrics {
                        http::serve(listener, stats, until(stopping.clone())).await;
                    }
                };
                let (served, ()) =
                    tokio::join!(super::admin::serve(socket, service, until(stopping.clone())), scrapes);
                if let Err(why) = served {
                    tracing::error!(%why, "admin socket fails");
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("ilagate-admin".into())
            .spawn(serve)
            .map_err(|why| RunError::System("start the services", why))?;
        Ok(Services { stop, thread })
    }

    fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the services came to an end by themselves");
        }
    }
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
    fn arguments_of_a_pci_device_reach_dpdk() {
        let text = r#"
node: {name: n}
dpdk: {workers: [1]}
ports:
  - {name: a, device: "0000:3b:00.0", role: fabric}
  - {name: b, device: "0000:3b:00.1,mprq_en=1", role: fabric}
  - {name: c, device: "net_null0,no-rx=1", role: fabric}
"#;
        let config = Config::parse(text, "t.yaml").unwrap();
        assert_eq!(eal_config(&config).pci, ["0000:3b:00.0", "0000:3b:00.1,mprq_en=1"]);
    }

    #[test]
    fn an_access_port_hears_what_is_sent_to_the_mac_addresses_of_networks() {
        let of = |role: &str, word: &str| {
            let text = format!(
                "node: {{name: n}}\ndpdk: {{workers: [1]}}\n\
                 ports: [{{name: p, device: d0, role: {role}, promiscuous: {word}}}]\n"
            );
            promiscuous(&Config::parse(&text, "t.yaml").unwrap().ports[0])
        };
        assert_eq!(of("access", "auto"), Promiscuous::On);
        assert_eq!((of("fabric", "auto"), of("external", "auto")), (Promiscuous::Auto, Promiscuous::Auto));
        assert_eq!((of("access", "off"), of("fabric", "on")), (Promiscuous::Off, Promiscuous::On));
    }

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        assert_eq!(pci_address("0000:3b:00.1"), Some("0000:3b:00.1"));
        assert_eq!(pci_address("0000:3b:00.1,arg=1"), Some("0000:3b:00.1"));
        for other in ["net_af_packet0,iface=fab0", "3b:00.1", "0000:3b:00", "net_x:1:2.3"] {
            assert_eq!(pci_address(other), None, "{other}");
        }
    }
}

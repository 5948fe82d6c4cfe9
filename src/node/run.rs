//! Starts and stops a node: DPDK, ports, workers and services, and the end in which every buffer comes back.

use super::admin::{Service, Socket, SocketError};
use super::control;
use super::embedded::{Embedded, EmbeddedError};
use super::exchange::Exchange;
use super::hardware::{self, Hardware, OpenError};
use super::hold;
use super::identifiers::Identifiers;
use super::log::Log;
use super::nva::{Before, Nva};
use super::provision::Provision;
use super::quiet::{Quiet, QuietError};
use super::seed;
use super::shell::{ControlError, Ended, Parts, Shell, Signals};
use super::stats::{PortFacts, Stats};
use super::worker::{Worker, WorkerSetup};
use crate::config::{self, Config, ConfigErrors, DpdkLogLevel, Source, device, mappings};
use crate::dpdk::{Burst, CoreLease, Eal, EalConfig, EalError, Memory, Port, before_abort};
use crate::nva::mirror;
use crate::telemetry::http::{self, Limits, ListenError};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use sd_notify::NotifyState;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Why a node did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration or the mapping file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// An interface is not the node's alone.
    #[error(transparent)]
    Quiet(#[from] QuietError),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// There is no memory for packets, or a port did not open.
    #[error(transparent)]
    Hardware(#[from] OpenError),
    /// The control thread did not start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no admin socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no metrics endpoint.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The authority in this node has a wrong configuration.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// What the authority told cannot be kept.
    #[error(transparent)]
    State(#[from] mirror::OpenError),
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
/// A wrong configuration, hardware or a socket that does not open, a worker that ended by itself, or buffers
/// that did not come back.
pub fn run(path: &Path) -> Result<(), RunError> {
    let (source, config) = Source::load(path)?;
    let config = Arc::new(config);
    let eal = eal_config(&config);
    // Dropped last, so that it has every line.
    let log =
        Log::start(&config.log, &eal.control_cores).map_err(|why| RunError::System("start the log", why))?;
    before_abort(log.last_lines());
    let mappings = match &config.mappings {
        Some(file) => {
            let (records, seen) = mappings::read(&file.file, &config)?;
            Some((records, Some(seen)))
        }
        None => None,
    };
    tracing::info!(node = config.node.name, config = %path.display(), "starting, {}", Eal::version());
    let embedded = config.nva.as_ref().and_then(|nva| nva.embedded.as_ref());
    let embedded = embedded.map(|path| Embedded::load(path, &config.node.name)).transpose()?;
    let mut before = Before::read(&config)?;
    let provision = config.nva.as_ref().is_some_and(|nva| nva.provision);
    let (presences, objects) = before.resume(&config);
    let provision = provision.then(|| Provision::new(Arc::new(source), config.clone(), objects));
    if let Some(objects) = provision.as_ref().map(|it| it.objects.all.len()).filter(|objects| *objects > 0) {
        tracing::warn!(
            objects,
            "the node begins with what operators wanted at it before the start, not confirmed yet"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| RunError::System("start the control thread", why))?;
    // From here on the node serves signals, even before it forwards: one that ends it now would leave interfaces
    // changed.
    let signals = {
        let _around = runtime.enter();
        Signals::listen()?
    };
    let quiet = Quiet::start(&config.node.name, &hardware::interfaces(&config))?;
    let eal = Eal::start(&eal)?;
    let mut hardware = Hardware::open(&eal, &config, quiet)?;
    let leases = config
        .dpdk
        .workers
        .iter()
        .map(|&core| eal.lease(u32::from(core)))
        .collect::<Result<Vec<CoreLease>, EalError>>()?;
    let networks = config.counted_networks();
    let mut stats = Stats::new(config.node.name.clone(), port_facts(&config), &config.dpdk.workers, networks);
    stats.log_lines_lost = log.lost();
    let stats = Arc::new(stats);
    let exchanges: Vec<_> = leases.iter().map(|_| Exchange::new()).collect();
    let queues = hardware.queues(&config);
    let pools = hardware.pools.clone();
    let kept = hardware.kept_mbufs();
    let macs = hardware.ports.iter().map(Port::mac).collect();
    let mut shell = Shell::new(Parts {
        path: path.to_owned(),
        config: config.clone(),
        provision,
        macs,
        mappings,
        learned: before.changes(&config, &stats),
        presences,
        stats: stats.clone(),
        exchanges: exchanges.clone(),
        devices: Box::new(hardware),
        set_level: log.set_level(),
        table_seed: table_seed(&config),
        timer_seed: rand::random(),
    })?;
    before.keep_own(&shell.config().borrow());
    let identifiers = Arc::<Identifiers>::default();
    let services = Services::start(&config, &shell, &stats, identifiers.clone())?;
    let mut authorities = config.nva.clone();
    if let (Some(nva), Some(embedded)) = (&mut authorities, &embedded) {
        nva.endpoints = vec![embedded.endpoint()];
    }
    let embedded = embedded.map(Embedded::start).transpose();
    let embedded = embedded.map_err(|why| RunError::System("start the embedded authority", why))?;
    let nva = authorities.map(|nva| {
        let told = (shell.config(), shell.provisioned(), shell.for_authority());
        let (handle, workers) = (shell.handle(), (exchanges.clone(), identifiers.clone()));
        let started = Nva::start(nva, handle, told, stats.clone(), before, workers);
        started.map_err(|why| RunError::System("start the client of the authority", why))
    });
    let nva = nva.transpose()?;
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
            hold_room: hold::room(config.mbufs.count, exchanges.len()),
        };
        threads.push(start_worker(lease, setup)?);
    }
    // Without systemd this does nothing.
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
    if let Some(nva) = nva {
        nva.stop();
    }
    if let Some(embedded) = embedded {
        embedded.stop();
    }
    // The shell holds the ports. They are closed here, and give their buffers back.
    drop(shell);
    let leaked: u32 = pools.iter().map(|pool| pool.in_use()).sum();
    drop(pools);
    drop(eal);
    let kept = kept.load(Ordering::Relaxed);
    match (ended, panicked) {
        (Ended::WorkerLost(number), _) | (_, Some(number)) => Err(RunError::WorkerLost(number)),
        _ if leaked > kept => Err(RunError::Leaked(leaked - kept)),
        (Ended::Asked, None) if leaked > 0 => {
            tracing::info!(
                "stopped, every mbuf is back but {leaked} in rings of AF_XDP, whose driver keeps them"
            );
            Ok(())
        }
        (Ended::Asked, None) => {
            tracing::info!("stopped, every mbuf is back");
            Ok(())
        }
    }
}

/// The seed of the tables, the same after a restart where something is kept.
fn table_seed(config: &Config) -> u64 {
    let new = rand::random();
    let Some(directory) = &config.node.state_dir else { return new };
    seed::kept(directory, &config.node.name, new).unwrap_or_else(|why| {
        let directory = directory.display();
        tracing::warn!(%directory, %why, "the seed of the tables is not kept: after a restart flows may take other locators");
        new
    })
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
            .filter(|device| device::pci_address(device).is_some())
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

fn port_facts(config: &Config) -> Vec<PortFacts> {
    let facts = |port: &config::Port| PortFacts {
        name: port.name.clone(),
        device: port.device.clone(),
        role: control::views::role_name(port.role),
    };
    config.ports.iter().map(facts).collect()
}

/// Notes the end of a worker's thread, even when it panics.
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

/// The admin API and metrics, on a thread of their own, so that they never hold up the control thread.
struct Services {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Services {
    fn start(
        config: &Config,
        shell: &Shell,
        stats: &Arc<Stats>,
        identifiers: Arc<Identifiers>,
    ) -> Result<Self, RunError> {
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
        let service = Service::new(shell.handle(), shell.config()).making(identifiers);
        let (stop, stopping) = watch::channel(false);
        let until = |mut stopping: watch::Receiver<bool>| async move {
            // A sender that is gone means stop, too.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let stats = stats.clone();
        let serve = move || {
            runtime.block_on(async {
                let scrapes = async {
                    if let Some(listener) = metrics {
                        http::serve(listener, stats, Limits::default(), until(stopping.clone())).await;
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
}

//! Opens a port in steps. Each step has its own error ([`PortError`]).

#![allow(unsafe_code)]

use super::device::{Device, Plugged};
use super::gate::Gate;
use super::pool::Mempool;
use super::port::{Promiscuous, Reception, Rss, Shape};
use super::refused::{PortConfig, PortError};
use super::{log, sys, words};
use super::{requirements, stale};
use crate::net::Mac;
use std::ffi::{CStr, CString};
use std::sync::PoisonError;

/// Bytes of a frame besides the MTU: Ethernet header and one VLAN tag.
const LINK_BYTES: u32 = 14 + 4;

/// Opens, configures and starts the device of `config`.
pub(super) fn open(config: &PortConfig, pool: &Mempool) -> Result<(Device, Shape), PortError> {
    log::forget();
    let opening = Opening { config, pool };
    opening.check_buffers()?;
    let device = opening.probe()?;
    let info = opening.info(&device)?;
    let driver = driver(&info);
    opening.check_queues(&info, &driver)?;
    let rss = opening.rss(&info);
    let mtu = opening.configure(&device, &info, &driver, rss)?;
    opening.set_up_queues(&device, &info)?;
    // SAFETY: `probe` claimed the port for this process; the lines above configured it and set up all its queues.
    let code = unsafe { sys::rte_eth_dev_start(device.id()) };
    if code < 0 && requirements::waits_for_peer(&config.device) {
        tracing::info!(port = config.name, "its peer is not there yet");
    } else {
        opening.step("starting it", "see what dpdk says", code)?;
        device.hold().started = true;
        if let Some(gate) = &device.gate {
            gate.open();
        }
    }
    let mut address = sys::rte_ether_addr::default();
    // SAFETY: `device` keeps the port open, and `address` has room for one address.
    let socket = unsafe {
        sys::rte_eth_macaddr_get(device.id(), &mut address);
        sys::rte_eth_dev_socket_id(device.id())
    };
    let checksums = sys::ILAGATE_TX_TCP_CKSUM | sys::ILAGATE_TX_UDP_CKSUM;
    let shape = Shape {
        driver,
        mac: Mac(address.addr_bytes),
        mtu,
        socket: u32::try_from(socket).ok(),
        rss,
        reception: accept(device.id(), config.promiscuous),
        tx_checksums: info.tx_offload_capa & checksums == checksums,
        interface: (info.if_index != 0).then_some(info.if_index),
    };
    Ok((device, shape))
}

/// A device that is opened when its peer is there. Until then it is closed, and has the MAC address that it will have.
pub(super) fn later(config: &PortConfig, pool: &Mempool) -> Result<(Device, Shape), PortError> {
    let opening = Opening { config, pool };
    opening.check_buffers()?;
    opening.check_machine()?;
    tracing::info!(port = config.name, "its peer is not there yet");
    // DPDK numbers no port so.
    let device = Device::new(u16::MAX, opening.gate(), pool.environment().clone());
    device.hold().closed = true;
    let mac = requirements::given_mac(&config.device).unwrap_or_else(|| {
        let [_, bytes @ ..]: [u8; 6] = rand::random();
        // Locally administered, and of one station.
        Mac([2, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
    });
    let shape = Shape {
        driver: "net_virtio_user".into(),
        mac,
        mtu: config.mtu,
        socket: None,
        rss: Rss::Off("its peer is not there yet"),
        reception: Reception::AsIs,
        tx_checksums: false,
        interface: None,
    };
    Ok((device, shape))
}

struct Opening<'a> {
    config: &'a PortConfig,
    pool: &'a Mempool,
}

impl Opening<'_> {
    fn port(&self) -> String {
        self.config.name.clone()
    }

    fn step(&self, step: &'static str, way_out: &'static str, code: i32) -> Result<(), PortError> {
        if code >= 0 {
            return Ok(());
        }
        Err(PortError::Step {
            port: self.port(),
            step,
            cause: words(code),
            way_out: way_out.into(),
            said: log::said(),
        })
    }

    /// Checks that a frame fits one buffer. The pipeline takes no frames in several segments.
    fn check_buffers(&self) -> Result<(), PortError> {
        let (mtu, data_bytes) = (self.config.mtu, self.pool.data_bytes());
        let needed = u32::from(mtu) + LINK_BYTES + sys::RTE_PKTMBUF_HEADROOM;
        if needed > u32::from(data_bytes) {
            return Err(PortError::MtuBuffer { port: self.port(), mtu, data_bytes, needed });
        }
        Ok(())
    }

    fn check_machine(&self) -> Result<(), PortError> {
        let checked = requirements::check(&self.config.device);
        checked.map_err(|refusal| PortError::Machine { port: self.port(), refusal })
    }

    fn gate(&self) -> Option<Gate> {
        let queues = usize::from(self.config.rx_queues) + usize::from(self.config.tx_queues);
        requirements::can_reopen(&self.config.device).then(|| Gate::new(queues))
    }

    /// Finds and claims the device. DPDK knows it from its start (PCI), or this function plugs it in.
    fn probe(&self) -> Result<Device, PortError> {
        let string = self.config.device.as_str();
        let wrong = || PortError::DeviceString { port: self.port(), device: string.to_owned() };
        let name = string.split(',').next().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
        let (c_name, c_string) =
            (CString::new(name).map_err(|_| wrong())?, CString::new(string).map_err(|_| wrong())?);
        self.check_machine()?;
        stale::remove(string);
        let environment = self.pool.environment().clone();
        let plugging = environment.plugging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = 0;
        // SAFETY: the pool holds the started environment, `c_name` is a C string, and `id` has room for the answer. The
        // `plugging` lock keeps other threads from changing DPDK's device list.
        let known = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &mut id) } == 0;
        if !known {
            // SAFETY: as above; DPDK copies the string.
            let mut code = unsafe { sys::rte_dev_probe(c_string.as_ptr()) };
            if code >= 0 {
                // SAFETY: as above.
                code = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &mut id) };
            }
            if code < 0 {
                let said = log::said();
                return Err(PortError::Probe {
                    port: self.port(),
                    device: string.to_owned(),
                    // Drivers give -1 for anything, and it is no error number.
                    cause: if code == -1 { "its driver refuses".into() } else { words(code) },
                    way_out: requirements::probe_way_out(name, &said),
                    said,
                });
            }
        }
        drop(plugging);
        if !environment.claim(id) {
            return Err(PortError::InUse { port: self.port(), device: name.to_owned() });
        }
        let device = Device::new(id, self.gate(), environment);
        if !known {
            let plugged = Some(Plugged(self.info(&device)?.device));
            device.hold().plugged = plugged;
        }
        Ok(device)
    }

    fn info(&self, device: &Device) -> Result<sys::rte_eth_dev_info, PortError> {
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: `probe` claimed the port, and `info` has room for the answer.
        let code = unsafe { sys::rte_eth_dev_info_get(device.id(), &mut info) };
        self.step("asking what it can do", "see what dpdk says", code)?;
        Ok(info)
    }

    fn check_queues(&self, info: &sys::rte_eth_dev_info, driver: &str) -> Result<(), PortError> {
        for (direction, asked, offered) in [
            ("receive", self.config.rx_queues, info.max_rx_queues),
            ("transmit", self.config.tx_queues, info.max_tx_queues),
        ] {
            if asked == 0 || asked > offered {
                return Err(PortError::Queues {
                    port: self.port(),
                    direction,
                    asked,
                    offered,
                    driver: driver.to_owned(),
                    way_out: queues_way_out(driver, direction),
                });
            }
        }
        Ok(())
    }

    fn rss(&self, info: &sys::rte_eth_dev_info) -> Rss {
        let hashes = info.flow_type_rss_offloads & sys::ILAGATE_RSS_IPV6;
        match (self.config.rx_queues, hashes) {
            (0 | 1, _) => Rss::Off("there is one receive queue"),
            (_, 0) => {
                Rss::Off("the device does not hash IPv6; it spreads packets over its queues by its own rule")
            }
            _ => Rss::Active(hashes),
        }
    }

    /// Configures the number of queues and the MTU; returns the MTU in bytes.
    fn configure(
        &self,
        device: &Device,
        info: &sys::rte_eth_dev_info,
        driver: &str,
        rss: Rss,
    ) -> Result<u16, PortError> {
        let mtu = self.config.mtu;
        let kernels = driver == "net_af_packet";
        let most = if kernels { largest_ring_mtu(&self.config.device) } else { largest_mtu(info) };
        if mtu < info.min_mtu || mtu > most {
            let hint = if kernels {
                "; raise framesz= and blocksz= of the device, both 2^n, the second not less"
            } else {
                ""
            };
            let (port, driver) = (self.port(), driver.to_owned());
            return Err(PortError::MtuDevice { port, mtu, driver, least: info.min_mtu, most, hint });
        }
        if let Some((interface, has)) =
            requirements::interface_mtu(&self.config.device).filter(|(_, has)| *has < u32::from(mtu))
        {
            return Err(PortError::MtuInterface { port: self.port(), mtu, has, interface });
        }
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(mtu.min(largest_mtu(info)));
        if let Rss::Active(hashes) = rss {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = hashes;
        }
        let (rx, tx) = (self.config.rx_queues, self.config.tx_queues);
        // SAFETY: `probe` claimed the port, which is not started yet; `conf` outlives the call.
        let code = unsafe { sys::rte_eth_dev_configure(device.id(), rx, tx, &conf) };
        self.step("configuring it", "lower mtu or queues", code)?;
        // The MTU of a kernel interface stays as it is, because others use the interface too.
        if !kernels {
            // SAFETY: as above.
            let code = unsafe { sys::rte_eth_dev_set_mtu(device.id(), mtu) };
            if code != -libc::ENOTSUP {
                self.step("setting its mtu", "lower mtu", code)?;
            }
        }
        Ok(mtu)
    }

    fn set_up_queues(&self, device: &Device, info: &sys::rte_eth_dev_info) -> Result<(), PortError> {
        let (id, config) = (device.id(), self.config);
        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        // SAFETY: `configure` configured the port, which is not started yet. All pointers outlive the calls. The pool
        // outlives the device: the environment, which the device holds, owns it.
        unsafe {
            let code = sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_desc, &mut tx_desc);
            self.step("fitting its descriptors", "change descriptors", code)?;
            let socket = sys::rte_eth_dev_socket_id(id) as u32;
            for queue in 0..config.rx_queues {
                let pool = self.pool.as_ptr();
                let code =
                    sys::rte_eth_rx_queue_setup(id, queue, rx_desc, socket, &info.default_rxconf, pool);
                self.step("setting up a receive queue", "lower descriptors or raise mbufs.count", code)?;
            }
            for queue in 0..config.tx_queues {
                let code = sys::rte_eth_tx_queue_setup(id, queue, tx_desc, socket, &info.default_txconf);
                self.step("setting up a transmit queue", "lower descriptors", code)?;
            }
        }
        Ok(())
    }
}

/// The largest MTU in bytes, by the rule of DPDK's own check. The overhead of a frame is the difference of
/// `max_rx_pktlen` and `max_mtu` if the driver gives both, otherwise Ethernet header and frame check sequence.
fn largest_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    let max_mtu = u32::from(info.max_mtu);
    let beside = if info.max_mtu != u16::MAX && info.max_rx_pktlen > max_mtu {
        info.max_rx_pktlen - max_mtu
    } else {
        14 + 4
    };
    max_mtu.min(info.max_rx_pktlen.saturating_sub(beside)) as u16
}

/// The largest MTU in bytes of an AF_PACKET ring. Its driver always reports 1500, so that the size of the ring's frames
/// counts, less 66 bytes that the kernel puts before each packet.
fn largest_ring_mtu(device: &str) -> u16 {
    let framesz = device
        .split(',')
        .find_map(|argument| argument.strip_prefix("framesz=")?.parse().ok())
        .unwrap_or(2048u32);
    framesz.saturating_sub(66 + LINK_BYTES).min(u32::from(u16::MAX)) as u16
}

fn driver(info: &sys::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return "device".into();
    }
    // SAFETY: the pointer is not null (checked above); it points to a C string of the driver, which is never unloaded.
    unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
}

/// Sets which frames the port accepts, as far as the device can; returns the mode that it has then.
fn accept(id: u16, promiscuous: Promiscuous) -> Reception {
    // SAFETY: the caller, `open`, claimed and started the port.
    unsafe {
        match promiscuous {
            Promiscuous::Auto | Promiscuous::Off if sys::rte_eth_allmulticast_enable(id) == 0 => {
                Reception::AllMulticast
            }
            Promiscuous::Auto | Promiscuous::On if sys::rte_eth_promiscuous_enable(id) == 0 => {
                Reception::Promiscuous
            }
            _ => Reception::AsIs,
        }
    }
}

fn queues_way_out(driver: &str, direction: &str) -> &'static str {
    match (driver, direction) {
        ("net_af_packet", _) => "add qpairs=N to the device",
        ("net_af_xdp", _) => "add queue_count=N to the device",
        ("net_pcap", "receive") => "repeat rx_pcap=FILE, or rx_iface=NAME, once for each queue",
        ("net_pcap", _) => "repeat tx_pcap=FILE, or tx_iface=NAME, once for each queue",
        ("net_virtio" | "net_virtio_user", _) => "give the device more queues (queues=N)",
        _ => "configure at least one and at most so many, with as many workers",
    }
}

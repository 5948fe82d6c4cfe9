//! The configuration of a port, and the errors of opening one. Each error names the port, the value and a remedy.

use super::port::Promiscuous;
use super::preflight::Refusal;

/// The configuration of a port.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// Name in the configuration, for messages.
    pub name: String,
    /// PCI address (`0000:3b:00.1`) or virtual device (`net_af_packet0,iface=eth1`), with the driver's arguments.
    pub device: String,
    /// Receive queues, one for each worker.
    pub rx_queues: u16,
    /// Transmit queues, one for each worker.
    pub tx_queues: u16,
    /// Descriptors of each receive queue.
    pub rx_desc: u16,
    /// Descriptors of each transmit queue.
    pub tx_desc: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Which frames to accept besides those to its own address.
    pub promiscuous: Promiscuous,
}

/// Why a port did not open.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The machine lacks something that the device needs.
    #[error("port {port}: {refusal}")]
    Machine {
        /// The port.
        port: String,
        /// What is missing.
        refusal: Refusal,
    },
    /// The device string is empty or holds a zero byte.
    #[error(
        "port {port}: device {device:?} is neither a pci address nor a virtual device as in net_tap0,iface=tap0"
    )]
    DeviceString {
        /// The port.
        port: String,
        /// The string.
        device: String,
    },
    /// Another port of this process uses the device.
    #[error("port {port}: device {device} is in use by another port of this process; give each its own")]
    InUse {
        /// The port.
        port: String,
        /// The device's name.
        device: String,
    },
    /// A worker does not leave the device.
    #[error(
        "port {port}: a worker hangs in its driver; the node tries again, and restarting it frees the device"
    )]
    Busy {
        /// The port.
        port: String,
    },
    /// DPDK has no such device, or its driver refused.
    #[error("port {port}: device {device} does not open: {cause}; {way_out}{said}")]
    Probe {
        /// The port.
        port: String,
        /// The device string.
        device: String,
        /// The error number in words.
        cause: String,
        /// What may help.
        way_out: String,
        /// What DPDK logged.
        said: String,
    },
    /// More queues than the device has, or none.
    #[error("port {port}: {asked} {direction} queues asked for, {driver} offers {offered}: {way_out}")]
    Queues {
        /// The port.
        port: String,
        /// "receive" or "transmit".
        direction: &'static str,
        /// Queues asked for.
        asked: u16,
        /// Queues that the device has.
        offered: u16,
        /// The device's driver.
        driver: String,
        /// How to get more queues.
        way_out: &'static str,
    },
    /// The MTU does not fit the buffers.
    #[error(
        "port {port}: mtu {mtu} does not fit an mbuf of {data_bytes} bytes; raise mbufs.data_bytes to {needed} or lower the mtu"
    )]
    MtuBuffer {
        /// The port.
        port: String,
        /// MTU asked for.
        mtu: u16,
        /// Size of a buffer in bytes.
        data_bytes: u16,
        /// Size in bytes that this MTU needs.
        needed: u32,
    },
    /// The device does not support the MTU.
    #[error("port {port}: mtu {mtu} is outside of what {driver} does, {least} to {most}{hint}")]
    MtuDevice {
        /// The port.
        port: String,
        /// MTU asked for.
        mtu: u16,
        /// The device's driver.
        driver: String,
        /// Smallest MTU of the device.
        least: u16,
        /// Largest MTU of the device.
        most: u16,
        /// How to get a larger one; empty if there is no advice.
        hint: &'static str,
    },
    /// The kernel's interface under the port has a smaller MTU.
    #[error(
        "port {port}: mtu {mtu} is more than the {has} of interface {interface}: ip link set {interface} mtu {mtu}, or lower the mtu"
    )]
    MtuInterface {
        /// The port.
        port: String,
        /// MTU asked for.
        mtu: u16,
        /// MTU of the interface.
        has: u32,
        /// Its name.
        interface: String,
    },
    /// A step of the device's configuration failed.
    #[error("port {port}: {step} failed: {cause}; {way_out}{said}")]
    Step {
        /// The port.
        port: String,
        /// Which step.
        step: &'static str,
        /// The error number in words.
        cause: String,
        /// What may help.
        way_out: String,
        /// What DPDK logged.
        said: String,
    },
}

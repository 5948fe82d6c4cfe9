//! What a port is asked to be, and why it is refused.

use super::port::Promiscuous;
use super::preflight::Refusal;

/// What a port is made of.
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
    /// What to accept.
    pub promiscuous: Promiscuous,
}

/// Why a port did not open.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Something the machine lacks.
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
    /// The device is a port already.
    #[error("port {port}: device {device} is in use by another port of this process; give each its own")]
    InUse {
        /// The port.
        port: String,
        /// The device's name.
        device: String,
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
        way_out: &'static str,
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
        /// Queues that there are.
        offered: u16,
        /// The device's driver.
        driver: String,
        /// What gives more.
        way_out: &'static str,
    },
    /// The MTU does not fit the buffers.
    #[error(
        "port {port}: mtu {mtu} does not fit an mbuf of {data_bytes} bytes; raise data_bytes to {needed} or lower the mtu"
    )]
    MtuBuffer {
        /// The port.
        port: String,
        /// MTU asked for.
        mtu: u16,
        /// Size of a buffer.
        data_bytes: u16,
        /// Size that would do.
        needed: u32,
    },
    /// The MTU is not one of the device's.
    #[error("port {port}: mtu {mtu} is outside of what {driver} does, {least} to {most}{hint}")]
    MtuDevice {
        /// The port.
        port: String,
        /// MTU asked for.
        mtu: u16,
        /// The device's driver.
        driver: String,
        /// Smallest.
        least: u16,
        /// Largest.
        most: u16,
        /// What gives more.
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
        way_out: &'static str,
        /// What DPDK logged.
        said: String,
    },
}

//! Brings a device back while workers go on: opened again on another interface, or started again for its peer.

#![allow(unsafe_code)]

use super::pool::Mempool;
use super::port::Port;
use super::refused::{PortConfig, PortError};
use super::{log, open, requirements, stale, sys, words};

impl Port {
    /// Whether the device can be taken away and opened again while its queues are in use.
    #[must_use]
    pub fn can_reopen(&self) -> bool {
        self.device.gate.is_some()
    }

    /// Whether the device is open and started. One that waits for its peer is not.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.device.hold().started
    }

    /// Closes the device and opens it again with all its queues, for an interface that was made anew. Workers find no
    /// packets and send none meanwhile. It keeps its MAC address.
    ///
    /// # Errors
    /// As of [`Port::open`]. The device stays closed then, and this can be tried again. A device that cannot be
    /// reopened stays as it is.
    pub fn reopen(&mut self, pool: &Mempool) -> Result<(), PortError> {
        let device = self.device.clone();
        let Some(gate) = &device.gate else { return Ok(()) };
        if !gate.close() {
            return Err(PortError::Busy { port: self.config.name.clone() });
        }
        // SAFETY: the gate is closed, and no worker is inside. It is opened below, when the device is there again.
        unsafe { device.close() };
        requirements::set_interface_mac(&self.config.device, self.shape.mac).map_err(|why| {
            PortError::Step {
                port: self.config.name.clone(),
                step: "giving the new interface the MAC address of the old one",
                cause: why.to_string(),
                way_out: "see ip link".into(),
                said: String::new(),
            }
        })?;
        let device_string = requirements::with_mac(&self.config.device, self.shape.mac);
        let (new, shape) = open::open(&PortConfig { device: device_string, ..self.config.clone() }, pool)?;
        device.take_over(new);
        let mac = std::mem::replace(&mut self.shape, shape).mac;
        let set = self.set_mac(mac);
        // Where it is refused the next attempt must not take another one for its own.
        self.shape.mac = mac;
        set?;
        if self.is_started() {
            gate.open();
        }
        Ok(())
    }

    /// Looks for the peer of a device that has lost it or has not met it yet.
    ///
    /// # Errors
    /// [`PortError`] while the peer is not there; this can be tried again.
    pub fn meet_peer(&mut self, pool: &Mempool) -> Result<(), PortError> {
        match requirements::connects_to(&self.config.device) {
            Some(path) if stale::somebody_listens(path) => self.reopen(pool),
            None if self.driver() == "net_memif" => self.restart(),
            _ => Ok(()),
        }
    }

    /// Stops the device and starts it again.
    fn restart(&mut self) -> Result<(), PortError> {
        let device = self.device.clone();
        let Some(gate) = &device.gate else { return Ok(()) };
        let mut hold = device.hold();
        if hold.closed {
            return Ok(());
        }
        if !gate.close() {
            return Err(PortError::Busy { port: self.config.name.clone() });
        }
        log::forget();
        // SAFETY: `self.device` keeps the port open. The gate is closed, and no worker is inside.
        let code = unsafe {
            if hold.started {
                sys::rte_eth_dev_stop(device.id());
            }
            sys::rte_eth_dev_start(device.id())
        };
        hold.started = code >= 0;
        if code < 0 {
            return Err(PortError::Step {
                port: self.config.name.clone(),
                step: "starting it",
                cause: words(code),
                way_out: "start its peer".into(),
                said: log::said(),
            });
        }
        gate.open();
        Ok(())
    }
}

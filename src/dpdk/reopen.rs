//! Brings a device back while workers go on: opened again on another interface, or started again for its peer.

#![allow(unsafe_code)]

use super::pool::Mempool;
use super::port::Port;
use super::refused::PortError;
use super::{log, open, sys, words};

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
    /// packets and send none meanwhile. It keeps its MAC address if its driver can set one.
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
        let (new, shape) = open::open(&self.config, pool)?;
        if new.id != device.id {
            // Another port has its number. Dropping `new` closes it.
            return Err(PortError::InUse {
                port: self.config.name.clone(),
                device: self.config.device.clone(),
            });
        }
        *device.hold() = std::mem::take(&mut *new.hold());
        // What `new` held is taken over: nothing of it is closed.
        new.hold().closed = true;
        drop(new);
        let mac = std::mem::replace(&mut self.shape, shape).mac;
        if mac != self.shape.mac {
            self.set_mac(mac)?;
        }
        if self.is_started() {
            gate.open();
        }
        Ok(())
    }

    /// Stops the device and starts it again, for a device whose peer is gone or was not there.
    ///
    /// # Errors
    /// [`PortError::Step`] while the peer is not there; this can be tried again.
    pub fn restart(&mut self) -> Result<(), PortError> {
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
                sys::rte_eth_dev_stop(device.id);
            }
            sys::rte_eth_dev_start(device.id)
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

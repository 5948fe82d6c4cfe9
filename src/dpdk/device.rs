//! A DPDK device that this process holds: closed when nobody uses it any more.

#![allow(unsafe_code)]

use super::eal::Environment;
use super::gate::Gate;
use super::sys;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open DPDK port. [`Port`] and its queues share it; it is closed when the last of them is dropped.
pub(super) struct Device {
    /// DPDK's number of it. One that is opened again may get another one.
    id: AtomicU16,
    pub(super) hold: Mutex<Hold>,
    /// For devices that are taken away from workers while these run; others are there as long as the port.
    pub(super) gate: Option<Gate>,
    pub(super) environment: Arc<Environment>,
}

/// What of a device this process holds. Only the thread of the port changes it.
#[derive(Default)]
pub(super) struct Hold {
    /// DPDK's device, if this process plugged it in and has to unplug it.
    pub(super) plugged: Option<Plugged>,
    pub(super) started: bool,
    /// It was closed, and is not there.
    pub(super) closed: bool,
}

pub(super) struct Plugged(pub(super) *mut sys::rte_device);

// SAFETY: the pointer is only passed to `rte_dev_remove`, once, by `Device::drop`, under the `plugging` lock.
unsafe impl Send for Plugged {}
// SAFETY: as above; nothing reads the pointer through a shared reference.
unsafe impl Sync for Plugged {}

impl Device {
    /// The device of this number, which is claimed for it.
    pub(super) fn new(id: u16, gate: Option<Gate>, environment: Arc<Environment>) -> Self {
        Device { id: id.into(), hold: Mutex::default(), gate, environment }
    }

    /// DPDK's number of it. The gate orders it: it changes only while no worker is inside.
    #[inline]
    pub(super) fn id(&self) -> u16 {
        self.id.load(Ordering::Relaxed)
    }

    /// Takes over what `new` holds, which then holds nothing. Nothing of this device is in use.
    pub(super) fn take_over(&self, new: Device) {
        self.id.store(new.id(), Ordering::Relaxed);
        let mut left = new.hold();
        *self.hold() = std::mem::take(&mut *left);
        left.closed = true;
    }

    /// What is held of it now.
    pub(super) fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the device and gives up its number.
    ///
    /// # Safety
    /// No queue of it is in use, and none is used until the device is there again.
    pub(super) unsafe fn close(&self) {
        let plugging = self.environment.plugging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hold = self.hold();
        if hold.closed {
            return;
        }
        // SAFETY: `Opening::probe` claimed the port, so that this `Device` is its only owner. No queue is in use, by
        // the contract of this function.
        unsafe {
            if hold.started {
                sys::rte_eth_dev_stop(self.id());
            }
            sys::rte_eth_dev_close(self.id());
            if let Some(Plugged(device)) = &hold.plugged {
                sys::rte_dev_remove(*device);
            }
        }
        *hold = Hold { plugged: None, started: false, closed: true };
        drop(hold);
        drop(plugging);
        self.environment.release(self.id());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: every queue handle holds the `Device`, so that none is left that could use the port.
        unsafe { self.close() };
    }
}

//! What is done before this process aborts: DPDK and its drivers give their reason in the log, and abort.

#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use std::sync::OnceLock;

static WORK: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Has `work` done before an abort, of whichever thread. It runs in a signal handler: it reads and writes atomic
/// variables, asks for the time and sleeps, and nothing else. Of several calls the first one counts.
pub fn before_abort(work: impl Fn() + Send + Sync + 'static) {
    if WORK.set(Box::new(work)).is_err() {
        return;
    }
    let action = SigAction::new(SigHandler::Handler(aborts), SaFlags::SA_RESETHAND, SigSet::empty());
    // SAFETY: `aborts` calls only what a signal handler may call, by the contract of this function.
    if let Err(why) = unsafe { sigaction(Signal::SIGABRT, &action) } {
        tracing::warn!(%why, "the last words before an abort may be lost");
    }
}

extern "C" fn aborts(_: libc::c_int) {
    if let Some(work) = WORK.get() {
        work();
    }
    // Nobody handles it now, and it ends the process when this function returns: also if it came from outside.
    let _ = raise(Signal::SIGABRT);
}

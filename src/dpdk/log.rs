//! Passes DPDK's log on to `tracing`, and keeps its latest lines for error messages.

#![allow(unsafe_code)]

use super::repeats::Repeats;
use super::sys;
use nix::unistd::dup2_stdout;
use std::collections::VecDeque;
use std::ffi::c_char;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::time::Instant;

const KEPT: usize = 16;

static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static REPEATS: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Routes DPDK's log to `tracing` for the life of the process.
pub(super) fn redirect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let functions = sys::cookie_io_functions_t { write: Some(write), ..Default::default() };
        // SAFETY: `write` is a static function and needs no cookie. Nobody closes the stream, so that it stays valid
        // for DPDK's threads, which write to it until the process ends. On failure DPDK keeps its own stream.
        unsafe {
            let stream = sys::fopencookie(std::ptr::null_mut(), c"w".as_ptr(), functions);
            if !stream.is_null() {
                sys::rte_openlog_stream(stream);
            }
        }
    });
}

/// Does `work` while nothing reaches standard output: DPDK prints its whole usage there when an argument is wrong.
pub(super) fn without_output<T>(work: impl FnOnce() -> T) -> T {
    let null = File::options().write(true).open("/dev/null");
    let kept = io::stdout().as_fd().try_clone_to_owned();
    let (Ok(null), Ok(kept)) = (null, kept) else { return work() };
    // SAFETY: a null pointer flushes all streams of C; DPDK, which is called by this thread only, keeps none locked.
    let flush = || unsafe { sys::fflush(std::ptr::null_mut()) };
    flush();
    if dup2_stdout(&null).is_err() {
        return work();
    }
    let done = work();
    flush();
    if let Err(why) = dup2_stdout(&kept) {
        tracing::warn!(%why, "standard output is lost");
    }
    done
}

/// Forgets the lines so far. The lines that follow belong to the next operation.
pub(super) fn forget() {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The lines that DPDK logged since [`forget`], in the form that error messages append; empty when there are none.
pub(super) fn said() -> String {
    let lines = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.is_empty() {
        return String::new();
    }
    format!("; DPDK says: {}", lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | "))
}

unsafe extern "C" fn write(_: *mut std::ffi::c_void, text: *const c_char, bytes: usize) -> i64 {
    // SAFETY: stdio passes `bytes` readable bytes at `text`, which stay valid until this function returns.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
    // SAFETY: reads a thread-local number of the calling thread.
    let level = unsafe { sys::rte_log_cur_msg_loglevel() };
    for line in String::from_utf8_lossy(text).lines().map(str::trim).filter(|line| !line.is_empty()) {
        let now_ms = STARTED.elapsed().as_millis() as u64;
        let again = REPEATS.lock().unwrap_or_else(PoisonError::into_inner).write(line, now_ms);
        match level {
            _ if again.is_none() => tracing::debug!(target: "dpdk", "{line}"),
            0..=4 => tracing::error!(target: "dpdk", "{line}"),
            5 => tracing::warn!(target: "dpdk", "{line}"),
            6 | 7 => tracing::info!(target: "dpdk", "{line}"),
            _ => tracing::debug!(target: "dpdk", "{line}"),
        }
        if let Some(times) = again.filter(|times| *times > 0) {
            tracing::info!(target: "dpdk", times, "the line before came again meanwhile");
        }
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(line.to_owned());
    }
    bytes as i64
}
